# SPDX-License-Identifier: Apache-2.0
"""Start the detector: configured, activated, and with everything it needs around it.

    ros2 launch imkd_ros detector.launch.py                       # the model of the package
    ros2 launch imkd_ros detector.launch.py model:=DIR bag:=DIR   # play a bag into it
    ros2 launch imkd_ros detector.launch.py sensors:=FILE params:=FILE namespace:=front

Node, player and RViz live and die together: when one ends, all end. With respawn:=true the node is
started again whenever it dies or hangs (imkd_ros/keeper.py). End it with Ctrl-C (SIGINT).
"""

import sys
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    Shutdown,
    TimerAction,
)
from launch.event_handlers import OnProcessExit
from launch.events import matches_action
from launch.logging import launch_config
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from lifecycle_msgs.msg import Transition

from imkd_core.errors import ImkdError
from imkd_core.resources import bundle_folder
from imkd_ros.graph.dds_profile import DdsProfile, choose_profile, named_profile
from imkd_ros.graph.options import GraphOptions, input_topics
from imkd_ros.graph.processes import LEAN_PROCESS

SHARE = Path(get_package_share_directory("imkd_ros"))
CONFIG = SHARE / "config"

#: name -> (default, description)
ARGUMENTS = {
    "model": ("", "folder of the model bundle; empty = the model of the package"),
    "sensors": ("", "YAML file of the sensor set; empty = config/sensors.yaml"),
    "params": (str(CONFIG / "detector.param.yaml"), "parameter file of the node"),
    "namespace": ("", "namespace of the node and its topics"),
    "bag": ("", "bag to play (folder or file); empty = sensors are live"),
    "rate": ("1.0", "speed of the bag"),
    "loop": ("1", "how often the bag is played; 0 = until interrupted"),
    "respawn": ("false", "start the node again when it dies or hangs; for live sensors, not a bag"),
    "rviz": ("false", "start RViz with the shipped layout"),
    "use_sim_time": ("auto", "true, false, or auto: true with a bag"),
    "dds_profile": (
        "auto",
        "DDS profile for all that is started: auto = the package's for the middleware in "
        "RMW_IMPLEMENTATION, fitted to this machine, unless the environment names one; "
        "none; or a file, taken as it is",
    ),
}


def generate_launch_description() -> LaunchDescription:
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list:
    """Return all actions, with the arguments' values at hand."""
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    choose(given, "rviz", ("true", "false"))
    choose(given, "respawn", ("true", "false"))
    if given["respawn"] == "true" and given["bag"]:
        raise RuntimeError("respawn:=true is for live sensors; leave it out with bag:=")
    choose(given, "use_sim_time", ("auto", "true", "false"))
    for name in ("sensors", "params", "bag"):
        if given[name] and not Path(given[name]).expanduser().exists():
            raise RuntimeError(f"{name}:={given[name]} does not exist")
    try:
        model = bundle_folder(given["model"])
    except ImkdError as error:
        raise RuntimeError(f"{error} (launch argument model:=FOLDER)") from None
    if given["respawn"] == "true":
        return [*dds_profile(given["dds_profile"]), *kept(given, model)]
    node = detector(given, model)
    return [*dds_profile(given["dds_profile"]), *around(node, given), node]


def choose(given: dict[str, str], name: str, words: tuple[str, ...]) -> None:
    given[name] = given[name].lower()
    if given[name] not in words:
        raise RuntimeError(f"{name}:={given[name]} must be one of {', '.join(words)}")


def dds_profile(given: str) -> list:
    """Return what sets the DDS profile, and says what the machine lacks for it."""
    profile = chosen_profile(given)
    remarks = [LogInfo(msg=profile.remark)] if profile.remark else []
    return [*remarks, *(SetEnvironmentVariable(*pair) for pair in profile.variables.items())]


def chosen_profile(given: str) -> DdsProfile:
    if given in ("", "none"):
        return DdsProfile()
    if given == "auto":
        return choose_profile(Path(launch_config.log_dir), config=CONFIG)
    path = Path(given).expanduser()
    if not path.is_file():
        raise RuntimeError(f"dds_profile:={given} must be auto, none or a file that exists")
    return named_profile(path)


def detector(given: dict[str, str], model: Path) -> LifecycleNode:
    is_simulated = given["use_sim_time"] == "true" or (
        given["use_sim_time"] == "auto" and bool(given["bag"])
    )
    overrides = {"model.bundle": str(model.absolute()), "use_sim_time": is_simulated}
    if given["sensors"]:
        overrides["sensors_file"] = str(Path(given["sensors"]).expanduser().absolute())
    return LifecycleNode(
        package="imkd_ros",
        executable="detector_node",
        name="imkd_detector",
        namespace=given["namespace"],
        parameters=[given["params"], overrides],
        additional_env=LEAN_PROCESS,
        output="screen",
    )


def kept(given: dict[str, str], model: Path) -> list:
    """Return the keeper, which starts the node and starts it again, and RViz."""
    command = [sys.executable, "-m", "imkd_ros.keeper", "--bundle", str(model.absolute())]
    command += ["--params", given["params"], "--namespace", given["namespace"]]
    if given["sensors"]:
        command += ["--sensors", str(Path(given["sensors"]).expanduser().absolute())]
    if given["use_sim_time"] == "true":
        command += ["--sim-time"]
    keeper = ExecuteProcess(cmd=command, name="keeper", output="screen")
    end = OnProcessExit(target_action=keeper, on_exit=ending("the keeper"))
    return [RegisterEventHandler(end), keeper, *rviz_node(given)]


def around(node: LifecycleNode, given: dict[str, str]) -> list:
    """Return the handlers that bring the node up, and what lives and dies with it."""
    player, rviz = bag_player(given), rviz_node(given)
    change = {
        name: EmitEvent(
            event=ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=transition)
        )
        for name, transition in (
            ("configure", Transition.TRANSITION_CONFIGURE),
            ("activate", Transition.TRANSITION_ACTIVATE),
        )
    }
    handlers = [
        OnStateTransition(
            target_lifecycle_node=node, goal_state="inactive", entities=[change["activate"]]
        ),
        OnStateTransition(
            target_lifecycle_node=node,
            start_state="configuring",
            goal_state="unconfigured",
            entities=[OpaqueFunction(function=refuse)],
        ),
        OnStateTransition(
            target_lifecycle_node=node, goal_state="active", entities=[*player, *rviz]
        ),
        OnProcessExit(target_action=node, on_exit=ending("the detector")),
    ]
    handlers += [
        OnProcessExit(
            target_action=item,
            # the last frames are still to be answered
            on_exit=[TimerAction(period=1.0, actions=ending(name))],
        )
        for name, items in (("the player", player), ("RViz", rviz))
        for item in items
    ]
    return [*(RegisterEventHandler(handler) for handler in handlers), change["configure"]]


def refuse(_context: LaunchContext) -> list:
    raise RuntimeError("the detector refused to configure; its message above says why")


def ending(name: str) -> list:
    """Return what ends everything, unless everything is ending already."""

    def end(context: LaunchContext) -> list:
        return [] if context.is_shutdown else [Shutdown(reason=f"{name} ended")]

    return [OpaqueFunction(function=end)]


def bag_player(given: dict[str, str]) -> list[Node]:
    """Return the player; it begins when the node hears the bag's sensor topics."""
    if not given["bag"]:
        return []
    bag = Path(given["bag"]).expanduser().absolute()
    sensors = Path(given["sensors"]).expanduser() if given["sensors"] else None
    try:
        topics = input_topics(GraphOptions(bag=bag, recording=bag, sensors=sensors))
    except ImkdError as error:
        raise RuntimeError(f"bag:={bag}: {error}") from None
    loop = ["--loop", given["loop"]] if given["loop"] != "0" else ["--loop"]
    arguments = [str(bag), "--rate", given["rate"], *loop]
    arguments += ["--delay", "0.5", "--linger", "1.0", "--wait-for", *topics]
    return [Node(package="imkd_ros", executable="bag_player", arguments=arguments, output="screen")]


def rviz_node(given: dict[str, str]) -> list[Node]:
    if given["rviz"] == "false":
        return []
    layout = str(CONFIG / "detector.rviz")
    return [Node(package="rviz2", executable="rviz2", arguments=["-d", layout], output="screen")]
