"""Refuses to replace an existing file: any without leave, and strongroom's own ones always."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom.cli import errors
from strongroom.encryption.keyfiles import MAX_BYTES
from strongroom.errors import ConfigurationError

if TYPE_CHECKING:
    from strongroom.spec.plan import Plan

__all__ = ["is_same", "refuse_existing", "refuse_key", "refuse_own_files", "refuse_store"]

_BESIDE = ("", "-journal", "-wal", "-shm", ".key", ".head", ".next", ".next-all")
"""What a name has behind it where a store, an audit log or a key file keeps a file beside its own."""
_OLD_KEY = ".old-"
_STORE_BEGINS = b"SQLite format 3\0"


def refuse_existing(path: Path, *, overwrite: bool, hint: str) -> None:
    """Raise `UsageError` with the exit code of a conflict if `path` exists, unless `overwrite`."""
    if not overwrite and os.path.lexists(path):
        raise errors.UsageError(f"{path} is there already", code=errors.CONFLICT, hint=hint)


def refuse_own_files(plan: Plan, target: Path, what: str) -> None:
    """Refuse to replace what strongroom needs: the spec, and every file that it names, in any profile.

    Args:
        plan: The plan of the spec.
        target: The file that would be replaced.
        what: What would replace it, such as "a backup".

    Raises:
        UsageError: `target` exists, and is one of these, or a file that is kept beside one.
    """
    if not target.is_file():
        return
    for place, named in _own_files(plan):
        whole = os.path.realpath(named)
        is_old_key = os.path.realpath(target).startswith(whole + _OLD_KEY)
        if is_old_key or any(is_same(target, whole + ending) for ending in _BESIDE):
            raise errors.UsageError(
                f"{target} is {place}, which {what} never replaces", hint="name another file"
            )


def refuse_store(target: Path, what: str) -> None:
    """Refuse to replace an encrypted store, of whatever spec.

    Raises:
        UsageError: `target` is one.
    """
    if _beginning(target, len(_STORE_BEGINS)) == _STORE_BEGINS:
        raise errors.UsageError(f"{target} is a store, which {what} never replaces", hint="name another file")


def refuse_key(target: Path, what: str) -> None:
    """Refuse to replace a generated key, of whatever spec; a passphrase is like any other text.

    Raises:
        UsageError: `target` holds one.
    """
    from strongroom.encryption.keys import read_key

    with suppress(ConfigurationError, UnicodeDecodeError):
        if read_key(_beginning(target, MAX_BYTES).decode().strip(), older=True).kind != "passphrase":
            raise errors.UsageError(
                f"{target} holds a key, which {what} never replaces", hint="name another file"
            )


def _beginning(path: Path, most: int) -> bytes:
    """Return the first bytes of an ordinary file; of a pipe nothing may be read here."""
    with suppress(OSError):
        if path.is_file():
            with path.open("rb") as file:
                return file.read(most)
    return b""


def _own_files(plan: Plan) -> Iterator[tuple[str, str | Path]]:
    """Yield what each file is, and its path."""
    if plan.origin == "own":
        from strongroom.spec.locate import own_store

        yield from zip(("your own store", "the key of your own store"), own_store(), strict=True)
    elif plan.digest:  # it has a file
        from strongroom.spec.key_uses import named_files

        yield "the spec", plan.source
        for place, named in named_files(plan.again()):
            yield f"the file of {place}", named


def is_same(target: Path, other: str) -> bool:
    """Return whether both are names of one file that is there."""
    with suppress(OSError, ValueError):  # it is not there, or not for this user to see
        return target.samefile(other)
    return False
