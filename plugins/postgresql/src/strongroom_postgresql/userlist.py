"""The `auth_file` of pgbouncer: a line for each user, with a password or its verifier.

Source: pgbouncer's documentation of configuration, "Authentication file format".
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from strongroom.errors import RotationError
from strongroom.providers.files import replace_file

__all__ = ["check_password", "remove_user", "write_user"]

_LINE: Final = re.compile(r'^\s*"((?:[^"]|"")*)"\s+"((?:[^"]|"")*)"')
_NOT_IN_A_LINE: Final = re.compile(r"[\n\r\0]")
_DERIVED: Final = ("SCRAM-SHA-256$", "md5")


def check_password(path: Path, password: str) -> None:
    """Raise `RotationError` if a line of the file cannot hold such a password."""
    if _NOT_IN_A_LINE.search(password):
        raise RotationError(
            f"the auth_file {path} cannot hold a password with a line end or a NUL",
            hint="let `rotate` make another one",
        )


def write_user(path: Path, user: str, *, password: str, verifier: str) -> None:
    """Give `user` another password: plain if the line has a plain one, else as the server's verifier.

    Args:
        path: The file.
        user: The user, who is added if there is no line yet.
        password: The password.
        verifier: The server's own verifier: pgbouncer can log in there only with the very same.

    Raises:
        RotationError: The file cannot be read or written, or cannot hold such a password.
    """
    check_password(path, password)

    def changed(lines: list[str]) -> list[str]:
        written = False
        for at, line in enumerate(lines):
            match = _LINE.match(line)
            if match is not None and match[1].replace('""', '"') == user:
                clear = not match[2].startswith(_DERIVED)
                lines[at] = _line(user, password if clear else verifier)
                written = True
        return lines if written else [*lines, _line(user, verifier)]

    _rewrite(path, changed)


def remove_user(path: Path, user: str) -> None:
    """Take the lines of `user` out.

    Raises:
        RotationError: As `write_user`.
    """

    def kept(lines: list[str]) -> list[str]:
        return [one for one in lines if (m := _LINE.match(one)) is None or m[1].replace('""', '"') != user]

    _rewrite(path, kept)


def _line(user: str, secret: str) -> str:
    quoted = [one.replace('"', '""') for one in (user, secret)]
    return f'"{quoted[0]}" "{quoted[1]}"\n'


def _rewrite(path: Path, change: object) -> None:
    assert callable(change)  # noqa: S101  # both callers are above
    failure: str
    try:
        with _alone(path):
            text = path.read_text(encoding="utf-8")
            # At line ends alone: `splitlines` would part a password at other characters.
            lines = [f"{line}\n" for line in text.removesuffix("\n").split("\n")] if text else []
            replace_file(path.resolve(), "".join(change(lines)).encode())
    except (OSError, UnicodeDecodeError) as error:
        failure = getattr(error, "strerror", None) or type(error).__name__
    else:
        return
    raise RotationError(f"the auth_file {path} cannot be changed: {failure}")


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock of the file: several rotations of this host may change lines in it."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
