"""The store's own errors; importing this needs no sqlite3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.errors import DecryptionError, TamperedError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["TYPE_NAME", "StaleSessionError", "name_file", "tampered", "wrong_key"]

TYPE_NAME = "file"
_UNNAMED = "the store was changed: "
_DAMAGED_HINT = "restore a backup; `strongroom doctor` lists what is wrong"


class StaleSessionError(Exception):
    """The file of the session was replaced, or has another key; it has to be opened again."""


def tampered(what: str) -> TamperedError:
    """Return the error for stored data that was changed; `name_file` adds the file."""
    return TamperedError(f"{_UNNAMED}{what}", provider=TYPE_NAME, hint=_DAMAGED_HINT)


def name_file(error: TamperedError, file: str, *, hint: str = _DAMAGED_HINT) -> None:
    """Add to the message of `error` which `file` it is about, such as `the store secrets.enc`."""
    if error.message.startswith(_UNNAMED):
        error.message = f"{file} was changed: {error.message.removeprefix(_UNNAMED)}"
        error.args = (error.message,)
        error.hint = hint


def wrong_key(path: object, key_id: str, old: Path | None) -> DecryptionError:
    """Return the error for a key that does not open the store; it names the one that does.

    Args:
        path: The store, for the message.
        key_id: The id of the key that it needs.
        old: Where a rekey has left that key.
    """
    hint = "give the key the store was made with; if you did, the store's header was changed"
    if old is not None:
        hint = f"that key is in {old}: a rekey left it there"
    return DecryptionError(f"wrong key for {path}: it needs the key {key_id}", provider=TYPE_NAME, hint=hint)
