"""The queries of a store; importing this needs neither sqlite3 nor cryptography."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from strongroom.errors import DecryptionError, SecretNotFoundError, show_key
from strongroom.keys import is_reserved

from strongroom_file.integrity import TYPE_NAME
from strongroom_file.store import version_history as packed_history
from strongroom_file.store.format import ENTRY, HISTORY, STATES, VALUE, Entry, StoredVersion, version_id
from strongroom_file.store.write_buffer import replayed

if TYPE_CHECKING:
    from strongroom.providers import SecretMetadata, SecretVersion, VersionState

    from strongroom_file.store.session import Snapshot

__all__ = [
    "describe",
    "describe_many",
    "find_version",
    "get",
    "get_many",
    "get_version",
    "list_keys",
    "list_versions",
    "microseconds",
    "no_such_version",
    "not_found",
    "read_history",
]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def microseconds(time: datetime) -> int:
    """Return an aware time in stored form."""
    return (time - _EPOCH) // _MICROSECOND


def _time(stored: int) -> datetime:
    return _EPOCH + stored * _MICROSECOND


def not_found(key: str) -> SecretNotFoundError:
    """Return the error for a key that the store does not have."""
    return SecretNotFoundError(key, provider=TYPE_NAME)


def no_such_version(key: str) -> SecretNotFoundError:
    """Return the error for a version that a secret does not have."""
    return SecretNotFoundError(key, f"secret {show_key(key)} has no such version", provider=TYPE_NAME)


def get(view: Snapshot, key: str) -> str:
    """Return the value of `key`.

    Raises:
        SecretNotFoundError: There is none.
    """
    value = _find(view, key)
    if value is None:
        raise not_found(key)
    return value


def get_many(view: Snapshot, keys: Iterable[str]) -> dict[str, str]:
    """Return the values of those of `keys` that are there."""
    values: dict[str, str] = {}
    for key in keys:
        try:
            value = _find(view, key)
        except DecryptionError as error:
            error.key = key
            raise
        if value is not None:
            values[key] = value
    return values


def _find(view: Snapshot, key: str) -> str | None:
    name = key.encode()
    writes = view.root.recent.writes.get(name)
    entry = writes[-1] if writes else view.entry(name)
    if entry is None or not entry.value:
        return None
    value = view.value(name, entry.value, entry.tag)
    view.state.remember(key, (entry.value, entry.tag, view.sealer.bound(VALUE, entry.value, name)))
    return value


def _known(view: Snapshot, name: bytes) -> tuple[Entry | None, bytes]:
    """Return the entry of a key and its other versions, including recent writes that are only in the root."""
    entry = view.entry(name)
    packed = read_history(view, name, entry) if entry is not None else b""
    return replayed(entry, packed, view.root.recent.writes.get(name, ()))[:2]


def list_keys(view: Snapshot, prefix: str) -> list[str]:
    """Return the keys that begin with `prefix`, sorted, without reserved ones."""
    keys: list[str] = []
    for leaf in view.leaves(prefix.encode()):  # in the order of UTF-8, which is that of Python's text
        keys += [
            name
            for name, entry in zip(leaf.keys, ENTRY.iter_unpack(leaf.items), strict=True)
            if entry[1] and name.startswith(prefix) and not is_reserved(name)
        ]
    return _with_recent(keys, view, prefix)


def _with_recent(keys: list[str], view: Snapshot, prefix: str) -> list[str]:
    """Return sorted names with those that are only in the root."""
    before = len(keys)
    for written in view.root.recent.writes:
        name = written.decode()
        if name.startswith(prefix) and not is_reserved(name):
            place = bisect_left(keys, name, 0, before)
            if place == before or keys[place] != name:
                keys.append(name)
    if len(keys) > before:
        keys.sort()  # two runs in order, which takes no longer than looking at each name
    return keys


def describe(view: Snapshot, key: str) -> SecretMetadata:
    """Return the version and the times of `key`.

    Raises:
        SecretNotFoundError: There is no such secret.
    """
    name = key.encode()
    entry, *_ = replayed(view.entry(name), b"", view.root.recent.writes.get(name, ()))
    if entry is None or not entry.value:
        raise not_found(key)
    version = version_id(entry.epoch, entry.value)
    # Loaded late: a plain read needs neither this nor its module.
    from strongroom.providers import SecretMetadata

    return SecretMetadata(key, version, _time(entry.created), _time(entry.updated))


def describe_many(view: Snapshot, keys: Iterable[str]) -> dict[str, SecretMetadata]:
    """Return what `describe` does, for those of `keys` that are there."""
    described: dict[str, SecretMetadata] = {}
    for key in keys:
        with suppress(SecretNotFoundError):
            described[key] = describe(view, key)
    return described


def list_versions(view: Snapshot, key: str) -> list[SecretVersion]:
    """Return the versions of `key`, the newest first, also after its deletion.

    Raises:
        SecretNotFoundError: Nothing is known of such a secret.
    """
    name = key.encode()
    entry, packed = _known(view, name)
    if entry is None:
        raise not_found(key)
    listed = packed_history.versions(packed)
    states: dict[int, VersionState] = {version.value: STATES[version.state] for version in listed}
    if entry.value:
        listed.append(_current(entry))
        states[entry.value] = "current"
    from strongroom.providers import SecretVersion

    return [
        SecretVersion(version_id(version.epoch, version.value), _time(version.made), states[version.value])
        for version in sorted(listed, key=lambda version: version.value, reverse=True)
    ]


def get_version(view: Snapshot, key: str, version: str) -> str:
    """Return the value of a version of `key`.

    Raises:
        SecretNotFoundError: There is no such secret, or it has no such version.
    """
    name = key.encode()
    entry, packed = _known(view, name)
    if entry is None:
        raise not_found(key)
    found = find_version(entry, packed, version)
    if found is None:
        raise no_such_version(key)
    return view.value(name, found.value, found.tag)


def read_history(view: Snapshot, name: bytes, entry: Entry) -> bytes:
    """Return the packed versions of a key besides the current one."""
    if not entry.history:
        return b""
    body = view.body("history", entry.history)
    bound = view.sealer.bound(HISTORY, entry.history, name)
    return view.sealer.open_row(body, bound, entry.history_tag, "the history of a secret")


def find_version(entry: Entry, packed: bytes, version: str) -> StoredVersion | None:
    """Return the version with the id `version`; it may be the current one."""
    if entry.value and version_id(entry.epoch, entry.value) == version:
        return _current(entry)
    for found in packed_history.versions(packed):
        if version_id(found.epoch, found.value) == version:
            return found
    return None


def _current(entry: Entry) -> StoredVersion:
    return StoredVersion(entry.epoch, entry.value, entry.tag, entry.made, packed_history.PREVIOUS)
