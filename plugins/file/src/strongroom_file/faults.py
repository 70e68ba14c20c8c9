"""The store's own errors; importing this needs no sqlite3."""

from __future__ import annotations

from strongroom.errors import DecryptionError, TamperedError

__all__ = ["TYPE_NAME", "StaleSessionError", "tampered", "wrong_key"]

TYPE_NAME = "file"
_DAMAGED_HINT = "restore a backup; `strongroom doctor` lists what is wrong"


class StaleSessionError(Exception):
    """The file behind the session is another one by now, or under another key; it is opened anew."""


def tampered(what: str, key: str | None = None) -> TamperedError:
    """Return the error for stored data that is not as it was written."""
    return TamperedError(f"the store was changed: {what}", key=key, provider=TYPE_NAME, hint=_DAMAGED_HINT)


def wrong_key(path: object) -> DecryptionError:
    """Return the error for a key that does not open the store."""
    return DecryptionError(
        f"wrong key for {path}",
        provider=TYPE_NAME,
        hint="give the key the store was made with; if it is that one, the store's header was changed",
    )
