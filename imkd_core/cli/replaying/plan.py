# SPDX-License-Identifier: Apache-2.0
"""What is replayed, how, and into which folder; and what a finished result hangs on.

FOLDER/
  figures.json, tables.txt     of all recordings; drives/ is for `imkd compare`
  <bag>/                       see `imkd_core.evaluation.replay_report_files`; there appears
                               truth.jsonl as well, where the truth is known, and run.json:
                               what this run took, which differs run by run
  online/                      the same of runs through the ROS graph
  .partial/                    recordings in hand; nothing in there counts
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from imkd_core import errors
from imkd_core.errors import ConfigError, DataError
from imkd_core.resources import bundle_folder, sensors_file
from imkd_core.runtime.bundle import load_bundle
from imkd_ros.bridge import parameters
from imkd_ros.bridge.parameters import NodeSettings, Value
from imkd_ros.bridge.recorded_truth import TruthTopics

#: Parameters that no box hangs on.
_IDLE_PARAMETERS = (
    "model.bundle",
    "model.threads",
    "model.allow_spinning",
    "model.engine_folder",
    "decode.threads",
    "sensors_file",
)

#: Names in the folder of a report that no recording may have.
RESERVED = ("online", "drives", "pictures", ".partial")

#: In a folder of results when it is complete; written last.
SUMMARY = "summary.json"


@dataclass(frozen=True, kw_only=True)
class TruthChoice:
    """Where true boxes come from.

    Attributes:
        beside: a nuScenes folder, a bag, or a folder of bags with the recordings' names; None =
            the recordings themselves.
        version: table folder of a nuScenes folder; the only one where None.
        topics: of bags.
    """

    beside: Path | None = None
    version: str | None = None
    topics: TruthTopics = field(default_factory=TruthTopics)


@dataclass(frozen=True, kw_only=True)
class ReplayPlan:
    """How recordings are replayed.

    Attributes:
        output: folder of the results.
        values: parameters of the node, all of them.
        truth: where true boxes come from.
        pictures_every: a picture of every so many frames; 0 = none.
        rate: of playing through the ROS graph; None = offline.

    Raises:
        ConfigError: an impossible number.
    """

    output: Path
    values: Mapping[str, Value]
    truth: TruthChoice = field(default_factory=TruthChoice)
    pictures_every: int = 0
    rate: float | None = None

    def __post_init__(self) -> None:
        """Refuse impossible numbers."""
        if self.pictures_every < 0:
            raise ConfigError(f"--pictures-every must be 0 or more, got {self.pictures_every}")
        if self.rate is not None and not 0 < self.rate <= 100:
            raise ConfigError(f"--rate must be above 0 and at most 100, got {self.rate:g}")

    @property
    def settings(self) -> NodeSettings:
        """The node's parameters, checked."""
        return NodeSettings(values=self.values)

    @property
    def mode(self) -> str:
        """How messages reach the detector."""
        return "offline" if self.rate is None else "online"

    def folder(self, name: str) -> Path:
        """Return the folder of a recording's results."""
        return self.output / name

    def partial(self, name: str) -> Path:
        """Return the folder in which a recording's results grow."""
        return self.output / ".partial" / name


def refuse_names(bags: Mapping[str, Path]) -> None:
    """Refuse names that a report needs for itself.

    Raises:
        ConfigError: naming the recording.
    """
    for name, path in bags.items():
        if name in RESERVED or name.startswith("."):
            raise ConfigError(
                f"a recording cannot be called '{name}' in a report ({path}): rename it"
            )


@dataclass(frozen=True, kw_only=True)
class Keys:
    """Hashes of what results hang on; equal ones mean equal results.

    Attributes:
        boxes: what boxes hang on: recording, model, sensor file, parameters, program.
        results: the same, truth, pictures, and how messages reach the detector.
    """

    boxes: str
    results: str


def common_keys(plan: ReplayPlan) -> Keys:
    """Return the keys of what the results of every recording hang on.

    Raises:
        ImkdError: the bundle or the sensor file is refused.
    """
    settings = plan.settings
    bundle = load_bundle(bundle_folder(settings.text("model.bundle")))
    sensors = sensors_file(settings.text("sensors_file"))
    boxes = _hash_of(
        {
            "model": _sha256((bundle.root / "bundle.json").read_bytes()),
            "sensors": _sha256(sensors.read_bytes()),
            "parameters": {
                name: value
                for name, value in settings.values.items()
                if name not in _IDLE_PARAMETERS
            },
            "code": code_key(),
        }
    )
    truth = [str(plan.truth.beside), plan.truth.version, repr(plan.truth.topics)]
    results = {"boxes": boxes, "truth": truth, "pictures": plan.pictures_every, "rate": plan.rate}
    return Keys(boxes=boxes, results=_hash_of(results))


def recording_keys(common: Keys, bag: Path) -> Keys:
    """Return the keys of everything that the results of one recording hang on.

    Args:
        common: of `common_keys`.
        bag: folder or file; its files count by name, size and time of change.

    Raises:
        DataError: there is none.
    """
    if not bag.exists():
        raise DataError(f"there is no bag at {bag}; give the folder that holds its metadata.yaml")
    files = sorted(path for path in bag.iterdir() if path.is_file()) if bag.is_dir() else [bag]
    stats = [(path.name, path.stat()) for path in files]
    told = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    return Keys(boxes=_hash_of([common.boxes, told]), results=_hash_of([common.results, told]))


def code_key() -> str:
    """Return the hash of this program's own source files."""
    digest = hashlib.sha256()
    for root in (Path(errors.__file__).parent, Path(parameters.__file__).parents[1]):
        for path in sorted(root.rglob("*.py")):
            digest.update(f"{path.relative_to(root)}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _hash_of(facts: object) -> str:
    return _sha256(json.dumps(facts, sort_keys=True).encode())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
