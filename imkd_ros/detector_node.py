# SPDX-License-Identifier: Apache-2.0
"""The lifecycle node: ROS transitions, parameters and services -> a `Session`.

    configure   checks all parameters, loads sensor file and bundle, listens to TF and CameraInfo
    activate    listens to sensors, starts the inference thread
    deactivate  stops both; cleanup gives the model back; shutdown does whatever is left

A transition that is refused says in the log what to do, and the node stays where it was. Why
configure was refused is also said on /diagnostics, until one works.
"""

import sys
import traceback
from collections.abc import Callable
from typing import Any

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from imkd_core.errors import ImkdError
from imkd_ros.bridge.heap import keep_heap, trim_heap
from imkd_ros.bridge.parameters import NodeSettings
from imkd_ros.graph.stream_executor import StreamExecutor
from imkd_ros.node.parameter_store import ParameterStore
from imkd_ros.node.refusal import Refusal
from imkd_ros.node.session import Session
from imkd_ros.node.tidy_group import TidyGroup

NODE_NAME = "imkd_detector"

_SUCCESS = TransitionCallbackReturn.SUCCESS
_FAILURE = TransitionCallbackReturn.FAILURE


class DetectorNode(LifecycleNode):
    """Camera images and radar points in, 3D boxes out."""

    def __init__(self, **arguments: Any) -> None:
        self._tidy_group = TidyGroup()
        super().__init__(
            NODE_NAME, automatically_declare_parameters_from_overrides=True, **arguments
        )
        self._session: Session | None = None
        self._refusal = Refusal(self)
        self._store = ParameterStore(self, lambda: self._session is not None, self._on_parameters)
        self._reset_service = self.create_service(Trigger, "~/reset", self._on_reset)

    @property
    def default_callback_group(self) -> TidyGroup:
        """What all callbacks are in, unless they say otherwise; one at a time."""
        return self._tidy_group

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """Set all or none; a refusal names the parameter and what is allowed."""
        try:
            admitted = self._store.admitted(parameter_list)
        except ImkdError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return super().set_parameters_atomically(admitted)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Check everything, load the model, listen to calibration."""
        return self._guarded(self._configure, super().on_configure, state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Enable the publishers, listen to sensors and infer."""
        result = super().on_activate(state)
        return result if result != _SUCCESS else self._guarded(self._activate, None, state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening and inferring."""
        return self._guarded(self._deactivate, super().on_deactivate, state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give the model and all topics back."""
        return self._guarded(self.release, super().on_cleanup, state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give back whatever is left."""
        return self._guarded(self._shut_down, super().on_shutdown, state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give back whatever is left after an error; the node is unconfigured then."""
        return self._guarded(self.release, None, state)

    def release(self) -> None:
        """Close the session, if there is one, and give its memory back."""
        session, self._session = self._session, None
        if session is not None:
            session.close()
            del session
            trim_heap()

    def _configure(self) -> None:
        try:
            self._open_session()
        except ImkdError as error:
            self._refusal.tell(str(error))
            raise
        except Exception as error:
            self._refusal.tell(f"a bug, please report it with the node's log: {error!r}")
            raise
        self._refusal.withdraw()

    def _open_session(self) -> None:
        settings = self._store.checked()
        if settings.flag("memory.keep_heap"):
            keep_heap()
        self._session = Session(self, settings)
        self.get_logger().info(f"configured: {self._session.description}")

    def _shut_down(self) -> None:
        self._refusal.close()
        self.release()

    def _activate(self) -> None:
        if self._session is not None:
            self._session.activate()

    def _deactivate(self) -> None:
        if self._session is not None:
            self._session.deactivate()

    def _guarded(
        self,
        step: Callable[[], None],
        inherited: Callable[[LifecycleState], TransitionCallbackReturn] | None,
        state: LifecycleState,
    ) -> TransitionCallbackReturn:
        """Run one transition; rclpy says nothing of what is raised in it, so it is said here."""
        try:
            step()
        except ImkdError as error:
            self.get_logger().error(f"refused: {error}")
            return _FAILURE
        except Exception:
            self.get_logger().fatal(f"a bug, please report it:\n{traceback.format_exc()}")
            raise
        return _SUCCESS if inherited is None else inherited(state)

    def _on_parameters(self, settings: NodeSettings) -> None:
        if self._session is not None:
            self._session.apply(settings)

    def _on_reset(self, _request: Any, response: Any) -> Any:
        """Answer `~/reset`: forget readings, ego motion and earlier frames."""
        response.success = self._session is not None
        response.message = "reset" if response.success else "the node is not configured"
        if self._session is not None:
            self._session.reset()
        return response


def main(arguments: list[str] | None = None) -> int:
    """Run the node until it is told to stop (SIGINT, SIGTERM) or breaks."""
    rclpy.init(args=arguments)
    executor = StreamExecutor()
    node = DetectorNode()
    executor.add_node(node)
    try:
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    except RuntimeError:
        # A signal that ends the context while the executor prepares to wait surfaces as rclpy's
        # own error about an invalid context; with a valid one it is an error like any other.
        if rclpy.ok():
            raise
        return 0
    finally:
        node.release()
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
