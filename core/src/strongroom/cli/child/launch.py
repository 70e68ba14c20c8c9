"""Starting a program as a shell does: where it is looked for, and the exit code if it cannot be started."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence

from strongroom.cli.errors import UsageError
from strongroom.errors import ValidationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["fork", "refuse_start", "refuse_too_large", "replace_by", "start"]

CANNOT_EXECUTE, NO_SUCH_COMMAND = 126, 127
_SMALLER = "declare a large secret with `as_file: true`; the variable then holds the path of a file"
_POINTER = 8
"""Bytes that the system counts for each variable and argument besides its text."""
_SHELL = "/bin/sh"
_STREAMS, _FIRST_FREE = ("stdin", "stdout", "stderr"), 3
# Python ignores these for itself, and a program would inherit that.
_IGNORED_BY_PYTHON = ("SIGPIPE", "SIGXFZ", "SIGXFSZ")


def start(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    streams: Mapping[str, int | None],
    group: int | None,
    prepare: Callable[[], object] | None = None,
) -> int:
    """Start `command` and return the number of its process, which the caller waits for.

    `subprocess` could do it, but its import takes half as long as opening a store.

    Args:
        command: The program, looked up in the `PATH` of `environment`, and its arguments.
        environment: Its variables.
        streams: Descriptors for `stdin`, `stdout` and `stderr`; what is left out, or None, is inherited.
        group: 0 for its own process group, None for ours.
        prepare: Called in the new process just before the program.

    Raises:
        OSError: It cannot be started.
    """

    def begin() -> None:
        _take(streams)
        if group is not None:
            os.setpgid(0, group)
        if prepare is not None:
            prepare()

    name = command[0]
    folders = [""] if os.path.dirname(name) else os.get_exec_path(environment)  # noqa: PTH120  # no pathlib here
    paths = [os.path.join(folder, name) for folder in folders]  # noqa: PTH118  # as above
    try:
        return _start_first(paths, command, environment, begin)
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
    # A script without `#!` is run by the shell, as `execvp` does.
    return _start_first([_SHELL], [_SHELL, _found(name, environment), *command[1:]], environment, begin)


def fork() -> int:
    """Fork a process that only waits, or becomes a program, as `strongroom.runtime.forks.fork_aside` does."""
    forks = sys.modules.get("strongroom.runtime.forks")
    pid: int = os.fork() if forks is None else forks.fork_aside()  # without it there is nothing to renew
    return pid


def _start_first(
    paths: Sequence[str], words: Sequence[str], environment: Mapping[str, str], begin: Callable[[], object]
) -> int:
    """Start the first of the programs at `paths` that can be started, and return its process.

    Raises:
        OSError: None of them can.
    """
    reader, writer = os.pipe()  # a program that is started closes it
    with open(reader, "rb") as report:  # noqa: PTH123  # a descriptor
        try:
            pid = fork()
            if pid == 0:
                _become(paths, words, environment, begin, writer)
        finally:
            os.close(writer)
        number = int(report.read() or 0)
    if number:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
        raise OSError(number, os.strerror(number))
    return pid


def _become(
    paths: Sequence[str],
    words: Sequence[str],
    environment: Mapping[str, str],
    begin: Callable[[], object],
    writer: int,
) -> NoReturn:
    """Become one of the programs in a new process, or write an error number to `writer` and end."""
    number = errno.EINVAL
    try:
        writer = fcntl.fcntl(writer, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE)
        _restore_signals()
        begin()
        number = _exec(paths, words, environment)
    except OSError as error:
        number = error.errno or number
    finally:
        # The copy must not do what the original process does at its end.
        os.write(writer, b"%d" % number)
        os._exit(CANNOT_EXECUTE)


def _exec(paths: Sequence[str], words: Sequence[str], environment: Mapping[str, str]) -> int:
    """Become the first of the programs that can be started; return the error's number if none can."""
    number = 0
    for path in paths:
        try:
            os.execve(path, list(words), dict(environment))  # noqa: S606  # running what the user names is the purpose
        except OSError as error:
            last = error.errno or errno.EINVAL
            if not number and last not in {errno.ENOENT, errno.ENOTDIR}:
                number = last
    return number or errno.ENOENT


def _take(streams: Mapping[str, int | None]) -> None:
    """Make the descriptors the standard streams of this process."""
    apart = {
        number: fcntl.fcntl(given, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE)  # one may have the number of another
        for number, name in enumerate(_STREAMS)
        if (given := streams.get(name)) is not None
    }
    for number, descriptor in apart.items():
        os.dup2(descriptor, number)


def _restore_signals() -> None:
    for name in _IGNORED_BY_PYTHON:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)


def replace_by(command: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Become `command`.

    Raises:
        OSError: It cannot be started.
    """
    _restore_signals()
    try:
        os.execvpe(command[0], list(command), dict(environment))  # noqa: S606  # as above
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
    path = _found(command[0], environment)
    os.execve(_SHELL, [_SHELL, path, *command[1:]], dict(environment))  # noqa: S606  # as above


def refuse_start(name: str, environment: Mapping[str, str], number: int) -> NoReturn:
    """Raise the error that a shell would print for a program that failed to start with the error `number`.

    Raises:
        UsageError: With the code 127 if there is no such program, else 126.
    """
    if not name or (number == errno.ENOENT and not os.path.lexists(_found(name, environment))):
        raise UsageError(f"{name}: command not found", code=NO_SUCH_COMMAND)
    if number == errno.E2BIG:
        raise UsageError(
            f"{name}: {_too_large(environment)}",
            hint=_SMALLER,
            code=CANNOT_EXECUTE,
        )
    what = "its interpreter is missing" if number == errno.ENOENT else os.strerror(number)
    raise UsageError(f"{name}: {what}", code=CANNOT_EXECUTE)


def refuse_too_large(words: Sequence[str], environment: Mapping[str, str]) -> None:
    """Raise `ValidationError` if the system would refuse to start a program with so large an environment."""
    sizes = _sizes(environment)
    texts = [_entry(name, size) for name, size in sizes.items()] + [
        len(os.fsencode(one)) + 1 for one in words
    ]
    whole = sum(texts) + _POINTER * len(texts)
    if _alone(sizes) or whole > os.sysconf("SC_ARG_MAX"):
        raise ValidationError(_too_large(environment), hint=_SMALLER)


def _sizes(environment: Mapping[str, str]) -> dict[str, int]:
    return {name: len(os.fsencode(text)) for name, text in environment.items()}


def _alone(sizes: Mapping[str, int]) -> str:
    """Return which variables are each too large for the system, with its limit; empty if none is."""
    if sys.platform != "linux":
        return ""
    limit = 32 * os.sysconf("SC_PAGE_SIZE")  # MAX_ARG_STRLEN: of `NAME=value` and the byte that ends it
    alone = [f"{name} has {size} bytes" for name, size in sizes.items() if _entry(name, size) > limit]
    return f"{', '.join(alone)}; the system allows a variable {limit} bytes, with its name" if alone else ""


def _too_large(environment: Mapping[str, str]) -> str:
    """Return which variables are too large, with their sizes and the system's limit."""
    sizes = _sizes(environment)
    alone = _alone(sizes)
    if alone:
        return alone
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
