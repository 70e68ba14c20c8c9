"""Searches the Secret Service (GNOME Keyring, KWallet 6, KeePassXC), which the keyring library cannot do."""

from __future__ import annotations

from contextlib import closing
from typing import Any

__all__ = ["drop_twins", "is_searchable", "names"]

_CLASS = "keyring.backends.SecretService.Keyring"


def is_searchable(backend: object) -> bool:
    """Return whether `backend` speaks to a Secret Service, which can list."""
    return any(f"{cls.__module__}.{cls.__qualname__}" == _CLASS for cls in type(backend).__mro__)


def names(backend: Any, service: str) -> set[str]:
    """Return the user names that the Secret Service has for `service`, whichever tool wrote them."""
    scheme = backend.schemes[backend.scheme]
    collection = backend.get_preferred_collection()
    with closing(collection.connection):
        found = list(filter(None, map(_attributes, collection.search_items({scheme["service"]: service}))))
    return {attributes[scheme["username"]] for attributes in found if scheme["username"] in attributes}


def drop_twins(backend: Any, service: str, name: str) -> None:
    """Delete entries of the same name by other tools, which a read might return instead of ours.

    The keyring library adds an attribute of its own (`application`), so that beside an item of `secret-tool`,
    which has not got it, it makes a second one. The other way round GNOME Keyring replaces: an item that is
    stored with fewer attributes replaces one that has these and more.
    """
    scheme = backend.schemes[backend.scheme]
    collection = backend.get_preferred_collection()
    with closing(collection.connection):
        items = list(collection.search_items({scheme["service"]: service, scheme["username"]: name}))
        if len(items) > 1:
            for item in items:
                attributes = _attributes(item)
                if attributes is not None and attributes.get("application") != backend.appid:
                    item.delete()


def _attributes(item: Any) -> dict[str, str] | None:
    """Return an item's attributes; None if another tool has deleted it since the search."""
    from secretstorage.exceptions import ItemNotFoundException

    try:
        found: dict[str, str] = item.get_attributes()
    except ItemNotFoundException:
        return None
    return found
