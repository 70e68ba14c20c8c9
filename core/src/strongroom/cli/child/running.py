"""Running a program as if it had been started directly: its streams, its signals, its exit code."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from strongroom.cli.child.supervisor import STDOUT, Job, Supervisor
from strongroom.cli.errors import UNEXPECTED, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from strongroom.cli.child.signals import Typed
    from strongroom.cli.child.supervisor import Control
    from strongroom.masking import Masker

__all__ = ["Outcome", "StoppedForRestart", "run_child"]


class StoppedForRestart(Exception):  # noqa: N818  # the child's end is expected
    """The child was ended so that it starts again."""


class Outcome:
    """How a child ended."""

    __slots__ = ("code", "typed")

    def __init__(self, code: int, typed: Typed | None) -> None:
        self.code = code
        """Its exit code, or 128+N after signal N."""
        self.typed = typed
        """A typed signal that the job must get after the cleanup."""

    def end(self) -> int:
        """Return the code, or end by the same typed signal as the child."""
        if self.typed is not None:
            self.typed.act()
        return self.code


def run_child(
    command: Sequence[str],
    environment: Mapping[str, str],
    masker: Callable[[], Masker] | None,
    control: Control | None = None,
) -> Outcome:
    """Run `command` and return how it ended.

    Without a `masker`, which is called when there is something to mask, the child has our own streams. With
    one, its output goes through us: on a terminal it has a terminal of its own, elsewhere pipes. Processes
    that outlive the child are not waited for; a process that we leave behind passes on what they print.

    With a `control` the child gets a signal or is ended when its secrets change.

    Raises:
        UsageError: It cannot be started; its code is 126 or 127, as in a shell. Or its output could not be
            written, as on a full disk.
        StoppedForRestart: It was ended because `control` asked for it.
    """
    job = Job(list(command), dict(environment), masker, control)
    child = _kind(on_terminal=masker is not None and os.isatty(STDOUT))(job)
    code = child.run()
    if child.stopping:
        raise StoppedForRestart
    shown = 128 - code if code < 0 else code
    for relay in child.relays:
        if relay.failure is not None:
            raise UsageError(
                f"not everything that {command[0]} printed could be written: {os.strerror(relay.failure)}",
                code=shown or UNEXPECTED,
            )
    return Outcome(shown, child.typed_signal(code))


def _kind(*, on_terminal: bool) -> type[Supervisor]:
    if not on_terminal:
        return Supervisor
    from strongroom.cli.child.on_terminal import TerminalSupervisor

    return TerminalSupervisor
