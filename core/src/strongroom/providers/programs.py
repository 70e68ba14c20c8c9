"""Programs that a provider runs: without a shell, with a deadline, and with nothing left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from strongroom.deadlines import Deadline, DeadlineExceededError
from strongroom.errors import ConfigurationError, show_key
from strongroom.runtime.forks import forks_wait, renew_after_fork

__all__ = [
    "Ended",
    "Started",
    "close_pipes",
    "end_program",
    "environment_for_programs",
    "kill_program",
    "refuse_lost_codes",
    "run_program",
    "start_program",
]

_SETTLE_SECONDS: Final = 5.0
"""How long the pipes of a program that was killed may stay open."""
_OURS: Final = frozenset({"STRONGROOM_ENCRYPTION_KEY", "STRONGROOM_AUDIT_KEY"})


class Ended(NamedTuple):
    """The result of a program: its exit code (below 0: the signal), and its output."""

    code: int
    out: bytes
    err: bytes

    def __repr__(self) -> str:
        # What it wrote may be a value.
        return f"<Ended {self.code}, {len(self.out)} and {len(self.err)} bytes>"


Started = subprocess.Popen[bytes]
"""A program that runs, with pipes for its three streams."""


class _Running:
    """The programs under way. A forked child closes its copies of their pipes, which would else stay open."""

    def __init__(self) -> None:
        self.programs: dict[int, Started] = {}
        renew_after_fork(self, _Running.leave)

    def leave(self) -> None:
        programs, self.programs = self.programs, {}
        for program in programs.values():
            program.returncode = 0  # it is the parent's to wait for
            close_pipes(program)


_running = _Running()


def is_running(pid: int) -> bool:
    """Return whether a program with this number was started here, and its end was not asked for yet."""
    return any(one.pid == pid and one.returncode is None for one in list(_running.programs.values()))


def environment_for_programs(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's variables without strongroom's own keys, and `more` over them."""
    return {**{name: value for name, value in os.environ.items() if name not in _OURS}, **(more or {})}


def refuse_lost_codes(program: str) -> None:
    """Raise `ConfigurationError` if the system drops the exit codes of the programs of this process.

    It does so where SIGCHLD is ignored; `subprocess` then reports 0, and a failure would count as a success.

    Args:
        program: The program to start, for the message.
    """
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        raise ConfigurationError(
            f"{show_key(program)} is not started: with SIGCHLD ignored nobody can know how it ends",
            hint="start it with the default action (in Python `signal.signal(SIGCHLD, SIG_DFL)`)",
        )


def start_program(
    command: Sequence[str],
    *,
    provider: str,
    environment: Mapping[str, str] | None = None,
    folder: str | os.PathLike[str] | None = None,
    merged: bool = False,
) -> Started:
    """Start a program in its own process group, with unbuffered pipes for its three streams.

    Args:
        command: The program and its arguments, which every user of this machine can read.
        provider: The type name, for errors.
        environment: Its variables; by default what `environment_for_programs` returns.
        folder: Where it runs.
        merged: Whether its standard error goes into its output.

    Raises:
        ConfigurationError: It cannot be started.
    """
    reason: str
    hint = "install it, or give its whole path"
    try:
        # A child forked in the middle of this would have the pipes, and nobody would know of them.
        with forks_wait():
            program = subprocess.Popen(  # noqa: S603  # running what the set-up names is the purpose
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if merged else subprocess.PIPE,
                bufsize=0,
                cwd=folder,
                env=environment_for_programs() if environment is None else dict(environment),
                start_new_session=True,
            )
            _running.programs[id(program)] = program
            return program
    except FileNotFoundError:
        if folder is None or Path(folder).is_dir():
            reason = "there is no such program"
        else:
            reason = "its folder is not there"
            hint = "make that folder, or correct its path"
    except PermissionError as error:
        reason = error.strerror or type(error).__name__
        hint = "see that it is a program that you may run: chmod +x"
    except OSError as error:
        reason = error.strerror or type(error).__name__
    except ValueError:
        reason = "NUL in an argument"
    raise ConfigurationError(
        f"{provider}: {show_key(command[0])} cannot be started: {reason}",
        provider=provider,
        hint=hint,
    )


def run_program(
    command: Sequence[str],
    deadline: Deadline,
    *,
    provider: str,
    given: bytes = b"",
    environment: Mapping[str, str] | None = None,
    folder: str | os.PathLike[str] | None = None,
    merged: bool = False,
) -> Ended:
    """Run a program to its end and return its result.

    Args:
        command: See `start_program`.
        deadline: When it is killed, with its whole process group.
        provider: See `start_program`.
        given: What it reads on its standard input.
        environment: See `start_program`.
        folder: See `start_program`.
        merged: See `start_program`; the result has no error output then.

    Raises:
        ConfigurationError: It cannot be started, or nobody can know how it ends.
        DeadlineExceededError: It took too long.
    """
    refuse_lost_codes(command[0])
    remaining = deadline.remaining()
    program = start_program(command, provider=provider, environment=environment, folder=folder, merged=merged)
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):  # whose error holds what was printed
            out, err = program.communicate(given, timeout=min(remaining, 1e6))
            return Ended(program.returncode, out, err or b"")
    finally:
        end_program(program)
    raise DeadlineExceededError


def end_program(program: Started, *, grace: float = 0.0) -> None:
    """Close a program's pipes, and kill it and its process group if it still runs after `grace` seconds."""
    kill_program(program, grace=grace)
    close_pipes(program)


def kill_program(program: Started, *, grace: float = 0.0) -> None:
    """Kill a program and its process group if it still runs after `grace` seconds; its pipes stay open.

    This is for a caller that reads from a pipe on another thread, which closes the pipe at its end.
    """
    _running.programs.pop(id(program), None)
    if grace and program.returncode is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(grace)
    # Before it is reaped: afterwards the number may be another's.
    if program.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(program.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        program.wait(_SETTLE_SECONDS)


def close_pipes(program: Started) -> None:
    """Close this process's ends of a program's pipes."""
    for stream in (program.stdin, program.stdout, program.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
