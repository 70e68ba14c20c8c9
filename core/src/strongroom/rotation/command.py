"""Rotators that are programs: the values come on their standard input, not in arguments or variables."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from strongroom.deadlines import Deadline, DeadlineExceededError
from strongroom.errors import ConfigurationError, RotationError
from strongroom.providers.programs import run_program
from strongroom.rotation.attempts import marking
from strongroom.rotation.redaction import redact

__all__ = ["CommandRotator"]


class CommandRotator:
    """Runs a program as the `apply` or the `verify` of a `SecretRotation`.

    The program reads one JSON object from its standard input: `step` (`apply` or `verify`), `key`, `new`, and
    for `apply` also `old`. The exit code 0 means success. If it fails, its output is the error, without the
    values. It runs in a process group of its own, which is killed at the deadline. If this process is killed
    meanwhile, nobody goes on with the rotation before the program has ended, either.

    Args:
        command: The program and its arguments. A name with a `/` is relative to `folder`, any other is
            looked up in `PATH`.
        timeout_seconds: How long it may take.
        folder: Where it runs; without it the current folder.
        environment: Its variables; without them those of this process.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        timeout_seconds: float = 60,
        folder: str | os.PathLike[str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        if not command or isinstance(command, str) or timeout_seconds <= 0:
            raise ConfigurationError("a rotator needs a program with its arguments as a list, and a timeout")
        self._folder = Path.cwd() if folder is None else Path(folder)
        program = str(self._folder / command[0]) if "/" in command[0] else command[0]
        self._command = [program, *command[1:]]
        self._timeout = timeout_seconds
        self._environment = environment

    def __repr__(self) -> str:
        return f"<CommandRotator {self._command[0]}>"

    def apply(self, key: str, old: str, new: str) -> None:
        """Run the program to change the target system.

        Raises:
            RotationError: It cannot be started, failed, or took too long.
        """
        self._run({"step": "apply", "key": key, "old": old, "new": new})

    def verify(self, key: str, new: str) -> None:
        """Run the program to find out whether `new` works.

        Raises:
            RotationError: See `apply`.
        """
        self._run({"step": "verify", "key": key, "new": new})

    def _run(self, message: Mapping[str, str]) -> None:
        name = self._command[0]
        hint = None
        try:
            ended = run_program(
                self._command,
                Deadline(self._timeout),
                provider="rotator",
                given=json.dumps(message).encode() + b"\n",
                environment={**(os.environ if self._environment is None else self._environment), **marking()},
                folder=self._folder,
                merged=True,
            )
        except DeadlineExceededError:
            problem = f"{name} took longer than {self._timeout:g} s"
        except ConfigurationError as error:
            problem, hint = error.message, error.hint
        else:
            if ended.code == 0:
                return
            how = f"exit code {ended.code}" if ended.code > 0 else f"signal {-ended.code}"
            problem = f"{name} ended with {how}"
            output = redact(
                (message[one] for one in ("old", "new") if one in message), ended.out.decode(errors="replace")
            )
            if output:
                problem += f": {output}"
        raise RotationError(problem, hint=hint)
