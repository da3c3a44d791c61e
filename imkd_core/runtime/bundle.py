# SPDX-License-Identifier: Apache-2.0
"""Model bundles: a folder with ONNX files and `bundle.json`, the one owner of the weights' facts.

    {"schema_version": 1, "name": ..., "created": ..., "producer": {...},
     "inputs": InputSpec, "head": HeadSpec, "thresholds": Thresholds,
     "files": {role: {"file": ..., "sha256": ..., "bytes": ...}}, "provenance": {...}}

Nothing of a bundle is used before every file's size and hash agree. Pickles are never loaded.
"""

import hashlib
import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from imkd_core.config import HeadSpec, InputSpec
from imkd_core.errors import BundleError, ConfigError
from imkd_core.mapping import from_mapping, to_mapping
from imkd_core.postprocess import Thresholds

SCHEMA_VERSION = 1
MANIFEST = "bundle.json"

#: Files that Python would unpickle, which runs whatever code is in them.
PICKLE_SUFFIXES = (".pth", ".pt", ".pkl", ".pickle", ".ckpt", ".bin")

#: A manifest is a few kilobytes; a larger one is no manifest.
_MAX_MANIFEST_BYTES = 1 << 20

#: Bytes of a path inside a bundle; no disk takes names of thousands.
_LONGEST_NAME = 200
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class BundleFile:
    """One file of a bundle.

    Attributes:
        file: its path inside the bundle, with forward slashes.
        sha256: of its content, lower-case hexadecimal.
        bytes: its size.

    Raises:
        BundleError: a pickle, a path that leaves the bundle, or an impossible hash or size.
    """

    file: str
    sha256: str
    bytes: int

    def __post_init__(self) -> None:
        """Check path, hash and size."""
        _refuse_pickle(Path(self.file))
        path = PurePosixPath(self.file)
        name_bytes = len(self.file.encode("utf-8", "surrogatepass"))
        if name_bytes > _LONGEST_NAME:
            raise BundleError(
                f"bundle file '{self.file[:40]}...' has a name of {name_bytes} bytes; at most "
                f"{_LONGEST_NAME} are taken"
            )
        if path.is_absolute() or ".." in path.parts or "\\" in self.file or not path.name:
            raise BundleError(
                f"bundle file '{self.file}' leaves the bundle's folder; only files inside it may "
                "be named"
            )
        if not _SHA256.fullmatch(self.sha256) or self.bytes < 1:
            raise BundleError(
                f"bundle file '{self.file}': sha256 must be 64 hexadecimal digits and bytes "
                "positive; export the model again"
            )


@dataclass(frozen=True, kw_only=True)
class _Manifest:
    """`bundle.json` as it stands in the file."""

    schema_version: int
    name: str
    created: str
    inputs: InputSpec
    head: HeadSpec
    files: Mapping[str, BundleFile]
    thresholds: Thresholds = field(default_factory=Thresholds)


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A verified model bundle.

    Attributes:
        name: of the model.
        root: the bundle's folder.
        inputs: what the model expects.
        head: what it gives.
        files: role ("fp32", "fp16") -> file.
        thresholds: defaults of what is reported.
        created: time of the export, ISO 8601.
        producer: tool -> version (and opset) that wrote it.
        provenance: training data, licence, steps: whatever a user must know of the weights.
    """

    name: str
    root: Path
    inputs: InputSpec
    head: HeadSpec
    files: Mapping[str, BundleFile]
    thresholds: Thresholds = field(default_factory=Thresholds)
    created: str = ""
    producer: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Freeze the mappings."""
        for name in ("files", "producer", "provenance"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def path(self, role: str) -> Path:
        """Return the path of a role's file.

        Raises:
            BundleError: the bundle has no such role.
        """
        if role not in self.files:
            raise BundleError(
                f"bundle '{self.name}' has no '{role}' model; it has {', '.join(self.files)}"
            )
        return self.root / self.files[role].file


def load_bundle(path: Path) -> Bundle:
    """Load and verify a bundle.

    Args:
        path: the bundle's folder, or its `bundle.json`.

    Raises:
        BundleError: anything is missing, altered, unknown or unsafe; it names the file and the
            remedy.
    """
    _refuse_pickle(path)
    manifest_path = path if path.name == MANIFEST else path / MANIFEST
    root = manifest_path.parent
    raw = _read_manifest(manifest_path)
    version = raw.get("schema_version")
    if version != SCHEMA_VERSION:
        raise BundleError(
            f"{manifest_path}: schema_version {version!r} is not {SCHEMA_VERSION}; export the "
            "model with this version of the software"
        )
    facts = {key: raw.pop(key, {}) for key in ("producer", "provenance")}
    if not all(isinstance(value, dict) for value in facts.values()):
        raise BundleError(f"{manifest_path}: producer and provenance must be mappings")
    try:
        manifest = from_mapping(_Manifest, raw)
        manifest.thresholds.check_classes(manifest.head.class_names)
    except ConfigError as error:
        raise BundleError(f"{manifest_path}: {error}; export the model again") from None
    if not manifest.files:
        raise BundleError(f"{manifest_path} names no model file; export the model again")
    for file in manifest.files.values():
        _verify(root, file)
    return Bundle(
        name=manifest.name,
        root=root,
        inputs=manifest.inputs,
        head=manifest.head,
        files=manifest.files,
        thresholds=manifest.thresholds,
        created=manifest.created,
        **facts,
    )


def write_bundle(
    root: Path,
    *,
    name: str,
    inputs: InputSpec,
    head: HeadSpec,
    files: Mapping[str, str],
    provenance: Mapping[str, Any],
    producer: Mapping[str, Any],
    thresholds: Thresholds | None = None,
    created: str | None = None,
) -> Bundle:
    """Write `bundle.json` beside model files that already stand in `root`, and load it back.

    The manifest appears at once or not at all: it is written beside and moved into place.

    Args:
        root: the bundle's folder.
        name: of the model.
        inputs: what it expects.
        head: what it gives.
        files: role -> file name inside `root`.
        provenance: training data, licence, steps, anything JSON can say.
        producer: tool -> version.
        thresholds: defaults of what is reported.
        created: ISO 8601 time; now when None.

    Raises:
        BundleError: no file is named, or one is missing, empty, a pickle or outside `root`.
        ConfigError: a threshold names a class that the model does not know.
    """
    thresholds = thresholds or Thresholds()
    thresholds.check_classes(head.class_names)
    if not files:
        raise BundleError(f"a bundle in {root} needs at least one model file")
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "created": created or datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "producer": dict(producer),
        "inputs": to_mapping(inputs),
        "head": to_mapping(head),
        "thresholds": _plain(thresholds),
        "files": {role: _describe(root, file) for role, file in files.items()},
        "provenance": dict(provenance),
    }
    text = json.dumps(manifest, indent=2, allow_nan=False) + "\n"
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=root, prefix=f".{MANIFEST}.", delete=False
    ) as stream:
        stream.write(text)
    temporary = Path(stream.name)
    temporary.chmod(0o644)
    temporary.replace(root / MANIFEST)
    return load_bundle(root)


def _plain(thresholds: Thresholds) -> dict[str, Any]:
    """Return what is set of thresholds, as plain mappings."""
    values = {item.name: getattr(thresholds, item.name) for item in fields(thresholds)}
    return {
        name: dict(value) if isinstance(value, Mapping) else value
        for name, value in values.items()
        if value is not None
    }


def _refuse_pickle(path: Path) -> None:
    if path.suffix.lower() in PICKLE_SUFFIXES:
        raise BundleError(
            f"{path}: pickled checkpoints can run code and are never loaded here; train or "
            "convert with `imkd export`, which writes a bundle of ONNX files"
        )


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_MANIFEST_BYTES:
            raise BundleError(f"{path} is larger than {_MAX_MANIFEST_BYTES} bytes: no manifest")
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(
            f"no model bundle at {path} ({error.strerror}); give a folder with a {MANIFEST}, as "
            "`imkd export` writes it"
        ) from None
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not JSON ({error}); export the model again") from None
    if not isinstance(raw, dict):
        raise BundleError(f"{path} must hold a mapping, got {type(raw).__name__}")
    return raw


def _verify(root: Path, file: BundleFile) -> None:
    """Check that a file is there, inside the bundle, complete and unaltered."""
    actual = _describe(root, file.file)
    if actual["bytes"] != file.bytes:
        raise BundleError(
            f"{root / file.file} has {actual['bytes']} bytes instead of {file.bytes} (an "
            "interrupted copy, or a Git LFS pointer?); copy or export it again"
        )
    if actual["sha256"] != file.sha256:
        raise BundleError(
            f"{root / file.file} was altered: sha256 {actual['sha256'][:12]}... instead of "
            f"{file.sha256[:12]}...; copy or export it again"
        )


def _describe(root: Path, name: str) -> dict[str, Any]:
    """Return file, sha256 and bytes of a file that lies in a bundle."""
    path = root / name
    _refuse_pickle(path)
    if not path.is_file():
        raise BundleError(f"model file {path} is missing; copy it there or export the model again")
    if not path.resolve().is_relative_to(root.resolve()):
        raise BundleError(f"{path} leads out of the bundle's folder; copy the file into it")
    size = path.stat().st_size
    if size == 0:
        raise BundleError(f"model file {path} is empty; copy or export it again")
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return {"file": PurePosixPath(name).as_posix(), "sha256": digest.hexdigest(), "bytes": size}
