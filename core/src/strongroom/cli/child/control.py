"""`strongroom run --watch`: passing changes on to the child, by a restart or a signal."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from strongroom.cli.errors import UsageError

if TYPE_CHECKING:
    from strongroom.declarations.resolution import Resolution

__all__ = ["ChildControl", "signal_of"]

RESTART: Final = "restart"
_SHORT_SECONDS: Final = 10.0
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
_EARLIER: Final = 32
"""The most sets of former values that are masked: a child that runs for months may get thousands."""


def signal_of(name: str) -> int | None:
    """Return the number of a signal such as `HUP`; None for `restart`.

    Raises:
        UsageError: There is no such signal, or a child cannot get it.
    """
    if name == RESTART:
        return None
    found = getattr(signal, f"SIG{name.upper().removeprefix('SIG')}", None)
    if isinstance(found, signal.Signals) and found not in {signal.SIGKILL, signal.SIGSTOP}:
        return int(found)
    raise UsageError(
        f"--on-change takes `restart` or a signal's name, not {name!r}", hint="for example --on-change HUP"
    )


class ChildControl:
    """The link between a watch, whose thread reads new values, and the loop that looks after the child.

    Args:
        read: Reads the child's secrets.
        number: The signal that the child gets; None to restart it.
        stop_timeout: Seconds between SIGTERM and SIGKILL.
        renew_files: Writes the files of secrets again; returns the names of changed ones without a file.
        warn: Warns the user.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        read: Callable[[], Mapping[str, Resolution]],
        *,
        number: int | None,
        stop_timeout: float,
        renew_files: Callable[[Mapping[str, str], Mapping[str, str]], Sequence[str]],
        warn: Callable[[str], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self.number, self.stop_timeout = number, stop_timeout
        self._renew_files, self._warn, self._clock = renew_files, warn, clock
        self.resolutions: Mapping[str, Resolution] = {}
        """The secrets that the child has, or gets at its next start."""
        self.earlier: deque[Mapping[str, Resolution]] = deque(maxlen=_EARLIER)
        """Earlier secrets of the child, whose values it may still print."""
        self._lock = threading.Lock()
        self._warned = False
        self._pending = False
        self._pause = 0.0
        self._restarted = False
        self._started = 0.0
        self.met: list[int] = []
        """Signals that came while there was no child, which ask for an end."""
        self._begun = threading.Event()
        self._stopped = threading.Event()
        self.reader, self._writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.set_blocking(self._writer, False)

    def begin(self, resolutions: Mapping[str, Resolution]) -> None:
        """Take the secrets that the child gets first; a change that was heard of before is looked at now.

        They are read once the watch has begun: a change between the two would otherwise never be reported.
        """
        self.resolutions = dict(resolutions)
        self._renew_files({}, texts_of(resolutions))
        self._begun.set()

    def changed(self, _changes: object) -> None:
        """Read the values again, on the thread of the watch, and let the child get them if they differ.

        In an outage, if the login or access is refused, or if a file cannot be written, it is tried again,
        after a pause that doubles: the change is not reported twice.
        """
        from strongroom.errors import (
            AuthenticationError,
            BackendUnavailableError,
            PermissionDeniedError,
            StrongroomError,
        )

        self._begun.wait()
        pause = _FIRST_PAUSE
        while not self._stopped.is_set():
            try:
                resolutions = self._read()
            except StrongroomError as error:
                away = isinstance(
                    error, BackendUnavailableError | AuthenticationError | PermissionDeniedError
                )
                problem = str(error)
            else:
                failure = self._pass_on(resolutions)
                if failure is None:
                    return
                away, problem = True, f"a file cannot be written: {failure}"
            if pause == _FIRST_PAUSE or not away:
                self._warn(f"the program keeps the secrets that it has: {problem}")
            if not away:
                return
            self._stopped.wait(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _pass_on(self, resolutions: Mapping[str, Resolution]) -> OSError | None:
        """Let the child get these secrets if they differ; return what kept a file from being written."""
        before, after = texts_of(self.resolutions), texts_of(resolutions)
        if before == after or self._stopped.is_set():  # it may have ended during a slow read
            return None
        try:
            fixed = self._renew_files(before, after)
        except OSError as error:
            return error
        with self._lock:
            self.earlier.append(self.resolutions)
            self.resolutions = dict(resolutions)
            self._pending = True
            with suppress(BlockingIOError, OSError):  # enough is in it, or it is closed
                os.write(self._writer, b"!")
        if fixed and self.number is not None and not self._warned:
            self._warned = True
            self._warn(
                f"{', '.join(fixed)} changed, and the program has the old value in its environment: "
                "only secrets with `as_file` reach it by a signal"
            )
        return None

    def take(self) -> bool:
        """Return whether there are changes that the child has not got yet."""
        with suppress(BlockingIOError):
            while os.read(self.reader, 4096):
                pass
        with self._lock:
            pending, self._pending = self._pending, False
        return pending

    def started(self) -> None:
        """Note that the child has started with the present values."""
        self._started = self._clock()

    def pause_before_restart(self) -> float:
        """Return the seconds to wait: 0, unless further changes have soon ended a restarted child."""
        short = self._restarted and self._clock() - self._started < _SHORT_SECONDS
        self._pause = min(max(self._pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE) if short else 0.0
        self._restarted = True
        return self._pause

    def stop(self) -> None:
        """Pass on no changes from now on, and stop trying to read values that could not be read."""
        self._stopped.set()
        self._begun.set()

    def close(self) -> None:
        """Close the pipe."""
        with self._lock:
            os.close(self.reader)
            os.close(self._writer)
            self.reader = self._writer = -1


def texts_of(found: Mapping[str, Resolution]) -> dict[str, str]:
    """Return the texts that a child gets, by name."""
    return {one.plan.name: one.text for one in found.values() if one.text is not None}
