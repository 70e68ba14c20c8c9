"""Starting a program as a shell would: where it is found, and which exit code says that it is not."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from strongroom.cli.errors import UsageError

__all__ = ["refuse_start", "replace_by", "start"]

CANNOT_EXECUTE, NO_SUCH_COMMAND = 126, 127
_SHELL = "/bin/sh"
# Python ignores these for itself, and a program would inherit that.
_IGNORED_BY_PYTHON = ("SIGPIPE", "SIGXFZ", "SIGXFSZ")


def start(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    streams: Mapping[str, Any],
    group: int | None,
    prepare: Callable[[], object] | None = None,
) -> subprocess.Popen[bytes]:
    """Start `command` and return its process.

    Args:
        command: The program, looked up in the `PATH` of `environment`, and its arguments.
        environment: Its variables.
        streams: `stdin`, `stdout` and `stderr` as `Popen` takes them; what is left out is inherited.
        group: 0 for a process group of its own, None for ours.
        prepare: Called in the new process just before the program.

    Raises:
        OSError: It cannot be started.
    """

    def run(words: Sequence[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603  # running what the user names is the purpose
            words,
            env=environment,
            close_fds=False,  # what was handed to us, such as a socket, is meant for the child
            process_group=group,
            preexec_fn=prepare,  # noqa: PLW1509  # only system calls
            **streams,
        )

    try:
        return run(command)
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
    # A script without `#!` is one of the shell's, as every `execvp` has it.
    return run([_SHELL, _found(command[0], environment), *command[1:]])


def replace_by(command: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Become `command`.

    Raises:
        OSError: It cannot be started.
    """
    for name in _IGNORED_BY_PYTHON:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execvpe(command[0], list(command), dict(environment))  # noqa: S606  # as above
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
    path = _found(command[0], environment)
    os.execve(_SHELL, [_SHELL, path, *command[1:]], dict(environment))  # noqa: S606  # as above


def refuse_start(name: str, environment: Mapping[str, str], number: int) -> NoReturn:
    """Raise what a shell would say where a program could not be started with the error `number`.

    Raises:
        UsageError: With the code 127 where there is no such program, else 126.
    """
    if number == errno.ENOENT and not os.path.lexists(_found(name, environment)):
        raise UsageError(f"{name}: command not found", code=NO_SUCH_COMMAND)
    if number == errno.E2BIG:
        raise UsageError(
            f"{name}: {_too_large(environment)}",
            hint="declare a large secret with `as_file: true`; the variable then holds the path of a file",
            code=CANNOT_EXECUTE,
        )
    what = "its interpreter is missing" if number == errno.ENOENT else os.strerror(number)
    raise UsageError(f"{name}: {what}", code=CANNOT_EXECUTE)


def _too_large(environment: Mapping[str, str]) -> str:
    """Return which variables are too large, with their sizes and the system's limit."""
    sizes = {name: len(os.fsencode(text)) for name, text in environment.items()}
    if sys.platform == "linux":
        limit = 32 * os.sysconf("SC_PAGE_SIZE")  # MAX_ARG_STRLEN: of `NAME=value` and the byte that ends it
        alone = [f"{name} has {size} bytes" for name, size in sizes.items() if _entry(name, size) > limit]
        if alone:
            return f"{', '.join(alone)}; the system allows a variable {limit} bytes, with its name"
    largest = max(sizes, key=lambda name: sizes[name], default="")
    return (
        "its variables and arguments are larger together than the system allows "
        f"({os.sysconf('SC_ARG_MAX')} bytes); the largest is {largest}, {sizes.get(largest, 0)} bytes"
    )


def _entry(name: str, size: int) -> int:
    return len(os.fsencode(name)) + size + len("=\0")


def _found(name: str, environment: Mapping[str, str]) -> str:
    import shutil  # a script without `#!` is rare

    return shutil.which(name, path=environment.get("PATH", os.defpath)) or name
