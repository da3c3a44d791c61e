# SPDX-License-Identifier: Apache-2.0
"""What the supervisor starts: options, the command lines made of them, and the result. No ROS."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imkd_core.data.bags.recording import open_bag
from imkd_core.errors import ConfigError, DataError
from imkd_core.resources import sensors_file, share_folder
from imkd_ros.bridge.sensors import load_sensor_set

#: What the recorder takes of the node: private topics, and /diagnostics.
OUTPUTS = (
    "output/detections",
    "output/objects",
    "output/label_info",
    "output/status",
    "debug/latency",
)


@dataclass(frozen=True, kw_only=True)
class GraphOptions:
    """What is started, and how.

    Attributes:
        bag: the bag to play.
        recording: the bag to make of the node's outputs.
        bundle: folder of the model; None = the parameters' or the package's.
        sensors: sensor file; None = the package's.
        parameters: parameter file of the node; None = the package's.
        overrides: parameters by dotted name, after the file.
        namespace: of the detector, such as "/front"; "" = none.
        rate: of the player.
        passes: how often the bag is played.
        overwrite: replace `recording` where it is a bag.
        ready_timeout_s: for everything up to the first message.
        quiet_s: the run is over when no answer came for so long after the last message.
        log_folder: logs of all processes; None = a new temporary folder.
        domain_id: ROS domain; None = ROS_DOMAIN_ID, or a free one.
        sent_log: where the player says when it sent each message; None = it does not.
        player: module of the player; one that takes the same arguments.
        player_options: arguments of the player before the others.
    """

    bag: Path
    recording: Path
    bundle: Path | None = None
    sensors: Path | None = None
    parameters: Path | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    namespace: str = ""
    rate: float = 1.0
    passes: int = 1
    overwrite: bool = False
    ready_timeout_s: float = 60.0
    quiet_s: float = 2.0
    log_folder: Path | None = None
    domain_id: int | None = None
    sent_log: Path | None = None
    player: str = "imkd_ros.player"
    player_options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse impossible numbers and names."""
        if not self.rate > 0 or self.passes < 1:
            raise ConfigError(f"rate ({self.rate}) and passes ({self.passes}) must be above 0")
        parts = self.namespace.strip("/").split("/")
        if self.namespace and not all(part.isidentifier() for part in parts):
            raise ConfigError(f"'{self.namespace}' is no ROS namespace; write for example /front")

    @property
    def node(self) -> str:
        """Full name of the detector node."""
        namespace = self.namespace.strip("/")
        return f"/{namespace}/imkd_detector" if namespace else "/imkd_detector"


@dataclass(frozen=True, kw_only=True)
class GraphResult:
    """How a run ended.

    Attributes:
        failure: what went wrong and what to do; "" when nothing did.
        exit_codes: process -> exit code; -N is signal N.
        played, recorded: topic -> number of messages.
        lost: topic -> messages that the middleware reported as lost to the recorder.
        answers: detections that arrived while the bag played and until it was quiet.
        log_tails: process -> the end of its log, after a failure.
        log_folder: where the whole logs are.
        wall_s: from start to end.
    """

    failure: str
    exit_codes: Mapping[str, int]
    played: Mapping[str, int]
    recorded: Mapping[str, int]
    lost: Mapping[str, int]
    answers: int
    log_tails: Mapping[str, str]
    log_folder: Path
    wall_s: float

    @property
    def is_ok(self) -> bool:
        """Whether everything ran to its end."""
        return not self.failure

    def as_mapping(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        plain = {key: getattr(self, key) for key in self.__dataclass_fields__}
        plain |= {key: dict(value) for key, value in plain.items() if isinstance(value, Mapping)}
        return {**plain, "log_folder": str(self.log_folder)}


def input_topics(options: GraphOptions) -> list[str]:
    """Return the sensor topics that the bag has and the sensor file names."""
    sensors = load_sensor_set(sensors_file(str(options.sensors or "")))
    wanted = {
        topic for s in sensors.cameras.values() for topic in (s.raw_topic, s.compressed_topic)
    }
    wanted |= {source.points for source in sensors.radars.values()}
    with open_bag(options.bag) as bag:
        found = sorted(wanted & set(bag.topics))
        if not found:
            raise DataError(
                f"the bag {options.bag} has none of the sensor topics of the sensor file; it has "
                f"{', '.join(sorted(bag.topics))}. Name its topics in a sensor file of your own"
            )
    return found


def detector_arguments(options: GraphOptions, log_folder: Path) -> list[str]:
    """Return the node's arguments; what is overruled goes into a file in `log_folder`.

    Raises:
        ConfigError: the parameter file is missing.
    """
    import yaml

    given = options.parameters or share_folder() / "config" / "detector.param.yaml"
    if not given.is_file():
        raise ConfigError(f"there is no parameter file {given}; name one with --params")
    overrides = {"use_sim_time": True, **options.overrides}
    if options.bundle is not None:
        overrides["model.bundle"] = str(options.bundle.absolute())
    if options.sensors is not None:
        overrides["sensors_file"] = str(options.sensors.absolute())
    path = log_folder / "overrides.param.yaml"
    path.write_text(yaml.safe_dump({"/**": {"ros__parameters": overrides}}), encoding="utf-8")
    arguments = ["--ros-args", "--params-file", str(given), "--params-file", str(path)]
    namespace = options.namespace.strip("/")
    return arguments + (["-r", f"__ns:=/{namespace}"] if namespace else [])


def recorder_arguments(options: GraphOptions, outputs: Sequence[str]) -> list[str]:
    """Return the recorder's arguments."""
    overwrite = ["--overwrite"] if options.overwrite else []
    topics = [*outputs, "/diagnostics"]
    return [str(options.recording), "--topics", *topics, "--use-sim-time", *overwrite]


def player_arguments(options: GraphOptions, topics: Sequence[str]) -> list[str]:
    """Return the player's arguments; it starts when all `topics` are heard."""
    # /clock runs on for a second, so that the last frame's deadline passes.
    sent = [] if options.sent_log is None else ["--sent-log", str(options.sent_log)]
    return [
        *options.player_options,
        *(str(options.bag), "--rate", str(options.rate), "--loop", str(options.passes)),
        *("--wait-timeout", str(options.ready_timeout_s), "--delay", "0.5", "--linger", "1.0"),
        *(*sent, "--wait-for", *topics, "/clock"),
    ]
