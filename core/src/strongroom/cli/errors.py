"""Errors as lines on stderr and as exit codes. No line ever holds a value.

The message of a strongroom error holds no value, and is shown. Of any other exception only the type is
shown, because its message may hold anything.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import TracebackType

from strongroom import errors

__all__ = ["UsageError", "exit_code", "print_error", "print_note", "print_warning", "with_hint"]

UNEXPECTED, USAGE, NOT_FOUND, DENIED, UNAVAILABLE, DECRYPTION, FOUND_SOMETHING, CONFLICT = range(1, 9)

# The first class that fits counts; other exceptions are unexpected.
_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (errors.SecretNotFoundError, NOT_FOUND),
    (errors.ConfigurationError, USAGE),
    (errors.InvalidKeyError, USAGE),
    (errors.InvalidTenantError, USAGE),
    (errors.SecretTooLargeError, USAGE),
    (errors.ValidationError, USAGE),
    (errors.PermissionDeniedError, DENIED),
    (errors.AuthenticationError, DENIED),
    (errors.ReadOnlyError, DENIED),
    (errors.TenantContextError, DENIED),
    (errors.BackendUnavailableError, UNAVAILABLE),
    (errors.EncryptionError, DECRYPTION),
    (errors.ConflictError, CONFLICT),
    (errors.UnsupportedOperationError, USAGE),
    (FileNotFoundError, USAGE),
    (IsADirectoryError, USAGE),
    (NotADirectoryError, USAGE),
    (FileExistsError, CONFLICT),
    (PermissionError, DENIED),
)
_OF_A_BACKEND = (
    *(errors.BackendUnavailableError, errors.AuthenticationError, errors.PermissionDeniedError),
    *(errors.ConfigurationError, errors.ReadOnlyError, errors.UnsupportedOperationError),
)
_NEXT_STEPS = {
    errno.ENOENT: "make it, or correct the path",
    errno.ENOTDIR: "correct the path",
    errno.EISDIR: "name a file in it",
    errno.ELOOP: "correct the path",
    errno.ENAMETOOLONG: "correct the path",
    errno.EACCES: "let this user have the right, or run as one who has it",
}
"""What a user can do about the system's refusals."""
_WRONG_PATHS = frozenset({errno.ELOOP, errno.ENAMETOOLONG})


class UsageError(errors.StrongroomError):
    """The command was not understood, or cannot be carried out as it was given."""

    def __init__(self, message: str, *, code: int = USAGE, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


def the_one_of(flags: Mapping[str, bool]) -> str | None:
    """Return the name of the one flag that was given, or None.

    Raises:
        UsageError: There are several, of which each asks for something else.
    """
    given = [name for name, on in flags.items() if on]
    if len(given) > 1:
        raise UsageError(f"--{given[0]} and --{given[1]} ask for different things", hint="give one of them")
    return given[0] if given else None


def exit_code(error: BaseException) -> int:
    """Return the exit code that `error` stands for."""
    if isinstance(error, UsageError):
        return error.code
    if isinstance(error, OSError) and error.errno in _WRONG_PATHS:  # they have no class of their own
        return USAGE
    return next((code for kind, code in _CODES if isinstance(error, kind)), UNEXPECTED)


def print_error(error: BaseException, *, as_json: bool, debug: bool) -> int:
    """Write `error` to stderr and return its exit code."""
    if debug:
        for line in _traceback(error):
            _write(line)
    name, message, hint = _described(error)
    if as_json:
        import json

        _write(json.dumps({"error": {"type": name, "message": message, "hint": hint}}))
    else:
        for line in _lines(error, message, hint):
            _write(line)
    return exit_code(error)


def print_warning(message: str, *, as_json: bool) -> None:
    """Write a warning to stderr."""
    if as_json:
        import json

        _write(json.dumps({"warning": {"message": message}}))
    else:
        _write(f"warning: {_one_line(message)}")


def print_note(message: str) -> None:
    """Write a line to stderr for the user."""
    _write(_one_line(message))


def _described(error: BaseException) -> tuple[str, str, str | None]:
    name = type(error).__name__
    if isinstance(error, errors.StrongroomError):
        return name, _of_key(error) + error.message + _of_pipeline(error), error.hint
    if isinstance(error, OSError) and error.filename is not None:
        # Paths and the messages of the system hold no value.
        return name, f"{error.filename}: {error.strerror}", _NEXT_STEPS.get(error.errno or 0)
    if isinstance(error, FileNotFoundError) and error.errno is not None:
        return name, "the current folder is no longer there", None
    if isinstance(error, OSError) and error.errno is not None:
        return name, os.strerror(error.errno), None
    compiled = _damaged_module(error)
    if compiled is not None:
        return name, f"{compiled} is damaged, as by a full disk", "remove it: Python makes it again"
    return name, f"unexpected {name}", "run it again with --debug to see where"


def _damaged_module(error: BaseException) -> str | None:
    """Return the path of the compiled module that Python cannot read; None if that is not what failed.

    A full disk leaves the first part of one (python/cpython#126606), and then every call fails with it.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or trace.tb_frame.f_code.co_name != "_compile_bytecode":
        return None
    path = trace.tb_frame.f_locals.get("bytecode_path")
    return path if isinstance(path, str) else None


def _of_key(error: errors.StrongroomError) -> str:
    """Return the key of a value that cannot be decrypted, because a command may read many."""
    unnamed = isinstance(error, errors.EncryptionError) and error.message.startswith("the value ")
    return f"{errors.show_key(error.key)}: " if unnamed and error.key else ""


def _of_pipeline(error: errors.StrongroomError) -> str:
    """Return the pipeline whose backend fails, because a spec may have many."""
    return f" (pipeline {error.pipeline})" if isinstance(error, _OF_A_BACKEND) and error.pipeline else ""


def _lines(error: BaseException, message: str, hint: str | None) -> Iterator[str]:
    if isinstance(error, errors.SpecError):
        # Editors can jump to `file:line:column` at the start of a line.
        yield from map(_one_line, error.problems)
    else:
        yield f"error: {_one_line(with_hint(message, hint))}"


def with_hint(message: str, hint: str | None) -> str:
    """Return a message and what to do next as one text."""
    # A message of another library may end in a full stop.
    return f"{message.removesuffix('.')}; {hint}" if hint else message


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _write(line: str) -> None:
    """Write to stderr; a command does its work, and ends with its own code, even if that is full."""
    with suppress(OSError):
        try:
            sys.stderr.write(line + "\n")
        except UnicodeEncodeError:  # a lone surrogate, out of a path or an argument
            sys.stderr.write(ascii(line) + "\n")
        sys.stderr.flush()


def _traceback(error: BaseException) -> Iterator[str]:
    """Yield the traceback of `error` and its causes: places and names, never code or values."""
    if error.__cause__ is not None:
        yield from _traceback(error.__cause__)
        yield "which led to:"
    elif error.__context__ is not None and not error.__suppress_context__:
        yield from _traceback(error.__context__)
        yield "and while that was handled:"
    yield "Traceback (most recent call last):"
    yield from _places(error.__traceback__)
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    yield f"{name}: {_one_line(str(error))}" if isinstance(error, errors.StrongroomError) else name


def _places(trace: TracebackType | None) -> Iterator[str]:
    while trace is not None:
        code = trace.tb_frame.f_code
        yield f'  File "{code.co_filename}", line {trace.tb_lineno}, in {code.co_qualname}'
        trace = trace.tb_next
