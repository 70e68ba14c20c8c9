"""Processes that are killed at one step of what they do, for the kits of rotations and rotators."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

__all__ = ["Death", "was_killed"]


class Death:
    """Kills this process before or after one of the calls that are counted by it.

    Args:
        step: The number of that call, from 1 on.
        after: Whether the call is made before the process ends.
    """

    def __init__(self, step: int, *, after: bool) -> None:
        self._left = step
        self._after = after

    def counted(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """Return `method` with its calls counted."""

        def call(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            last = self._left == 0  # a call inside of this one counts too
            if last and not self._after:
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return method(*args, **kwargs)
            finally:
                if last:
                    os.kill(os.getpid(), signal.SIGKILL)

        return call


def was_killed(work: Callable[[], object]) -> bool:
    """Do `work` in a process of its own; return whether it was killed, and not already done.

    Raises:
        AssertionError: It failed; its error is on standard error.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except Exception:  # noqa: BLE001  # whatever it is, the author has to read it
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0, "the rotation itself failed; its error is on standard error"
    return False
