# SPDX-License-Identifier: Apache-2.0
"""Every fault that is to be tested, with the place where it is: facts for `docs/reliability.md`.

A place is a test file below `tests/` or the name of a scenario of the suite.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One fault.

    Attributes:
        number: of the requirement.
        fault: what is injected.
        must: what must happen.
        scenarios: of the suite.
        tests: files below `tests/`.
        remark: what is not tested, and why; "" where all is.
    """

    number: int
    fault: str
    must: str
    scenarios: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    remark: str = ""


_NODE, _PROCESS = "ros/test_detector_node.py", "ros/test_detector_process.py"
_CONVERT, _BAD_INPUT = "ros/bridge/test_convert.py", "ros/test_bad_input.py"
_CALIBRATION, _SYNC = "ros/bridge/test_calibration.py", "core/runtime/test_synchronizer.py"
_CLOUD, _BUNDLE = "ros/bridge/test_point_cloud2.py", "core/runtime/test_bundle.py"
_ENGINES, _FOLDERS = (
    "core/runtime/tensorrt/test_engine_cache.py",
    "core/runtime/tensorrt/test_bad_folders.py",
)
_STATUS, _TIME = "ros/test_frame_status.py", "ros/bridge/test_pipeline_time.py"
_HEALTH = ("core/health/test_camera.py", "core/health/test_radar.py")

#: The scenario that runs the test files of rows that no other one plays.
NAMED_TESTS = "named_tests"

_NO_SECURITY = "the wheels' Fast DDS has no DDS Security; the policy is held against the real graph"

ROWS: tuple[Row, ...] = (
    Row(
        1,
        "one camera never publishes",
        "active without it, a warning",
        ("never_there",),
        (_NODE, _SYNC),
    ),
    Row(2, "three cameras lost in mid-run", "the output goes on", ("sensor_loss",)),
    Row(3, "all cameras lost", "the policy is applied", ("sensor_loss",)),
    Row(4, "one radar, all radars lost", "cameras alone", ("sensor_loss", "loss_table")),
    Row(5, "a sensor returns", "all in use again", ("sensor_loss",)),
    Row(6, "half, nine tenths of a camera's messages lost", "no stall", ("message_loss",)),
    Row(7, "a camera late by 50 to 400 ms", "used or left out by rule", ("late",), (_SYNC,)),
    Row(
        8,
        "stamps 1 s off, 0, of 2106, broken nanoseconds",
        "dropped, counted, a warning each 5 s",
        ("stamps",),
        (_BAD_INPUT, _CONVERT, _STATUS, _TIME),
    ),
    Row(9, "stamps out of order and twice", "ignored, bounded", ("stamps",), (_SYNC, _STATUS)),
    Row(
        10,
        "a bag loops, the clock jumps back",
        "all starts afresh",
        ("clock",),
        (_SYNC, _TIME, "core/runtime/test_memory.py", "ros/test_replay.py"),
        "over DDS frames are counted, not boxes: that a memory of frames before the jump makes no "
        "ghosts is held by unit tests; the model that ships has no memory",
    ),
    Row(
        11, "sim time without /clock", "explained, no busy loop", ("middleware_load",), (_PROCESS,)
    ),
    Row(12, "TF missing at the start, then there", "waits, then runs", ("tf",), (_NODE,)),
    Row(
        13, "TF disappears", "degraded, told within a second", ("tf",), ("ros/node/test_health.py",)
    ),
    Row(14, "CameraInfo changes in mid-run", "geometry anew", ("camera_info_change",), (_NODE,)),
    Row(
        15,
        "extrinsics turned by 0.5 to 5 degrees",
        "a warning from 2 degrees on",
        ("calibration",),
        ("core/health/test_calibration_rig.py", "core/health/test_calibration_tracks.py"),
    ),
    Row(
        16,
        "left and right cameras swapped",
        "told",
        ("doctor_faults", "calibration"),
        ("core/health/test_calibration_tracks.py",),
        "exchanged transforms are planted on a running graph as well; exchanged cables only in a "
        "recording: they are told from how pictures move, and five seconds of a graph are too few",
    ),
    Row(
        17,
        "K of zeros, negative, NaN; odd D",
        "refused with the reason",
        ("fuzz",),
        (_CALIBRATION,),
    ),
    Row(18, "every encoding of images", "converted or refused", ("fuzz",), (_CONVERT,)),
    Row(
        19,
        "image data too short, too long, 0 x 0, huge",
        "refused before a copy",
        ("fuzz",),
        (_CONVERT,),
    ),
    Row(
        20,
        "truncated and corrupt JPEG, bombs",
        "refused, bounded memory",
        ("bad_data", "fuzz"),
        ("core/test_encoded_image.py", "ros/bridge/test_decoding.py"),
    ),
    Row(
        21,
        "PointCloud2 of any malformed layout",
        "refused or capped",
        ("fuzz",),
        (_CLOUD, _CONVERT),
    ),
    Row(22, "radar of NaN, infinity, absurd values", "filtered", ("bad_data", "fuzz"), (_CONVERT,)),
    Row(
        23,
        "radar in wrong units",
        "told by imkd doctor",
        ("doctor_faults",),
        (),
        "PointCloud2 alone: messages of radar_msgs are not read",
    ),
    Row(
        24,
        "black, white, frozen, covered, blurred camera; noise",
        "told, masked",
        ("health", "bad_data"),
        _HEALTH,
        "no check looks for noise: frames are answered, and it need not be told",
    ),
    Row(
        25,
        "QoS that does not fit",
        "works, or is explained",
        ("middleware_qos",),
        (_NODE, "ros/graph/test_stream_executor.py"),
    ),
    Row(26, "a slow or absent listener", "no back-pressure", ("middleware_load",), (_NODE,)),
    Row(
        27,
        "unknown, out-of-range, wrong-type parameters",
        "configure refused by name",
        ("middleware_parameters",),
        ("ros/bridge/test_parameters.py", _NODE),
    ),
    Row(
        28,
        "a read-only parameter set at run time",
        "rejected with the reason",
        ("middleware_parameters",),
        (_NODE,),
    ),
    Row(
        29,
        "model missing, empty, truncated, changed",
        "configure refused, the file named",
        (NAMED_TESTS, "transitions"),
        (_BUNDLE, "core/runtime/test_backends.py", _NODE),
        "a node that is configured keeps its model and refuses another model.bundle; after cleanup "
        "the old one is closed, a bad one leaves the node unconfigured, and the next good one runs",
    ),
    Row(
        30,
        "engine truncated, flipped, of another GPU, of others",
        "never read back, built again",
        (NAMED_TESTS,),
        (_ENGINES, "core/runtime/tensorrt/test_private_store.py"),
        "on a real GPU: tests/core/runtime/tensorrt/test_on_gpu.py, skipped without one",
    ),
    Row(31, "a pickle in a bundle", "refused", (NAMED_TESTS,), (_BUNDLE,)),
    Row(
        32,
        "cache read-only, disk full, two builders",
        "works; one builds; no partial file",
        (NAMED_TESTS,),
        (_ENGINES, _FOLDERS),
    ),
    Row(
        33,
        "GPU absent, out of memory, failing",
        "the CPU takes over, or an error",
        (NAMED_TESTS,),
        ("ros/node/test_session.py", "core/runtime/test_standby.py"),
        "with a stand-in for the GPU; a real one is not part of this suite",
    ),
    Row(
        34,
        "the model returns NaN or infinity",
        "no box of it, the memory is reset",
        (NAMED_TESTS,),
        ("ros/test_nonsense_model.py", "core/runtime/test_detector.py"),
    ),
    Row(
        35,
        "the node is killed, or hangs",
        "it comes back",
        ("middleware_respawn",),
        ("ros/test_supervisor.py",),
    ),
    Row(36, "configured and cleaned up 1000 times", "no leak", ("transitions",), (_PROCESS,)),
    Row(37, "twice the rate", "newest wins, bounded latency", ("overload",), (_NODE,)),
    Row(
        38,
        "hours of replay",
        "no growth, no drift",
        ("soak",),
        (),
        "an hour instead of 24: `python -m tests.faults --output DIR --only soak --seconds 86400` "
        "runs a day",
    ),
    Row(39, "others want the processor", "degraded by rule, told", ("middleware_load",)),
    Row(40, "SROS 2 enforced, our policy", "works", ("middleware_security",), remark=_NO_SECURITY),
    Row(
        41,
        "SROS 2: an unlisted publisher",
        "rejected",
        ("middleware_security",),
        remark=_NO_SECURITY,
    ),
    Row(42, "random bytes as messages", "no crash", ("fuzz",), (_CLOUD, _CONVERT)),
    Row(43, "a ladder of camera and radar faults", "NDS for each step", ("ladder",)),
    Row(44, "paths that leave an archive or bundle", "refused", (NAMED_TESTS,), (_BUNDLE,)),
    Row(45, "malformed bags, missing topics", "a clear error", ("fuzz",), ("ros/test_replay.py",)),
    Row(
        46,
        "two instances in two namespaces",
        "no cross-talk",
        ("middleware_two_nodes",),
        (_PROCESS,),
    ),
    Row(47, "the same bag twice", "the same boxes", (NAMED_TESTS,), ("ros/test_replay.py",)),
)
