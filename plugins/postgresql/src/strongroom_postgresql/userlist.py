"""The `auth_file` of pgbouncer: a line for each user, with a password or its verifier.

Source: pgbouncer's documentation of configuration, "Authentication file format".
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from strongroom.errors import BackendUnavailableError, RotationError
from strongroom.providers.files import folder_locked, replace_file

__all__ = ["check_password", "remove_user", "write_user"]

_LINE: Final = re.compile(r'^\s*"((?:[^"]|"")*)"\s+"((?:[^"]|"")*)"')
_NOT_IN_A_LINE: Final = re.compile(r"[\n\r\0]")
_DERIVED: Final = ("SCRAM-SHA-256$", "md5")
_WAIT_SECONDS: Final = 30.0


def check_password(path: Path, password: str) -> None:
    """Raise `RotationError` if a line of the file cannot hold such a password."""
    if _NOT_IN_A_LINE.search(password):
        raise RotationError(
            f"the auth_file {path} cannot hold a password with a line end or a NUL",
            hint="let `rotate` make another one",
        )


def write_user(
    path: Path, user: str, *, password: str, verifier: str, seconds: float = _WAIT_SECONDS
) -> None:
    """Give `user` another password: plain if the line has a plain one, else as the server's verifier.

    Args:
        path: The file.
        user: The user, who is added if there is no line yet.
        password: The password.
        verifier: The server's own verifier: pgbouncer can log in there only with the very same.
        seconds: How long to wait for others that change the file.

    Raises:
        RotationError: The file cannot be read or written, or not in time, or cannot hold such a password.
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

    _rewrite(path, changed, seconds)


def remove_user(path: Path, user: str, *, seconds: float = _WAIT_SECONDS) -> None:
    """Take the lines of `user` out.

    Raises:
        RotationError: See `write_user`.
    """

    def kept(lines: list[str]) -> list[str]:
        return [one for one in lines if (m := _LINE.match(one)) is None or m[1].replace('""', '"') != user]

    _rewrite(path, kept, seconds)


def _line(user: str, secret: str) -> str:
    quoted = [one.replace('"', '""') for one in (user, secret)]
    return f'"{quoted[0]}" "{quoted[1]}"\n'


def _rewrite(path: Path, change: Callable[[list[str]], list[str]], seconds: float) -> None:
    failure: str
    try:
        target = Path(os.path.realpath(path))
        # Several rotations of this host may change lines in it.
        with folder_locked(target.parent, seconds=seconds, provider="postgresql"):
            text = target.read_text(encoding="utf-8")
            # At line ends alone: `splitlines` would part a password at other characters.
            lines = [f"{line}\n" for line in text.removesuffix("\n").split("\n")] if text else []
            replace_file(target, "".join(change(lines)).encode())
    except BackendUnavailableError:  # an OSError for Python as well
        failure = f"another process has been changing files beside it for {seconds:g} s"
    except (OSError, UnicodeDecodeError) as error:
        failure = getattr(error, "strerror", None) or type(error).__name__
    else:
        return
    raise RotationError(f"the auth_file {path} cannot be changed: {failure}")
