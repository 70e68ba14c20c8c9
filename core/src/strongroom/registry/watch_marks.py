"""Reading what a watch compares secrets by: versions, or keyed hashes of values.

A source that refuses one key must not hide the changes of the others.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from strongroom.errors import SecretNotFoundError, StrongroomError, UnsupportedOperationError
from strongroom.keys import is_reserved
from strongroom.pipeline import describe_many, read_many
from strongroom.providers.call_hints import describing_versions_alone
from strongroom.registry.watch_trouble import OF_ALL_KEYS, note_refused_keys
from strongroom.registry.watched import Mark, WatchedGroup

__all__ = ["MarkReader", "keys_of"]


class MarkReader:
    """Reads marks. Hashes of one reader are equal if the values are; they mean nothing outside of it."""

    def __init__(self) -> None:
        self._secret = os.urandom(32)

    def marks_of(self, group: WatchedGroup, keys: list[str], *, all_or_none: bool) -> dict[str, Mark]:
        """Return the marks of those of `keys` that are there.

        Args:
            group: What answers them.
            keys: The secrets.
            all_or_none: Whether a refused key makes the call fail; else that key keeps its mark.

        Raises:
            StrongroomError: The source cannot be asked.
        """
        if not group.by_value:
            try:
                marks = {key: group.mark_of(found) for key, found in _described(group, keys).items()}
            except UnsupportedOperationError:  # as KV version 1 does, which is known only now
                group.by_value = True
                if group.known:
                    group.marks, group.known, group.rescan = {}, False, True
            except StrongroomError as error:
                if all_or_none or isinstance(error, OF_ALL_KEYS):
                    raise
                return _one_by_one(group, keys, lambda key: group.mark_of(_described(group, [key])[key]))
            else:
                note_refused_keys(group, keys, {})
                return marks
        try:
            hashes = {key: self._hash(value) for key, value in _read(group, keys).items()}
        except StrongroomError as error:
            if all_or_none or isinstance(error, OF_ALL_KEYS):
                raise
        else:
            note_refused_keys(group, keys, {})
            return dict[str, Mark](hashes)
        return _one_by_one(group, keys, lambda key: self._hash(group.chain.get_secret(key)))

    def _hash(self, value: str) -> bytes:
        return hashlib.blake2b(value.encode(errors="surrogatepass"), key=self._secret).digest()


def keys_of(group: WatchedGroup) -> list[str]:
    """Return the keys that are watched: those that were named, and those that the prefixes list now."""
    keys = dict.fromkeys(group.exact)
    for prefix in group.prefixes:
        keys |= dict.fromkeys(
            key for key in group.chain.list_secrets(prefix) if not is_reserved(key) and group.owned(key)
        )
    return list(keys)


def _one_by_one(group: WatchedGroup, keys: list[str], mark_of: Callable[[str], Mark]) -> dict[str, Mark]:
    """Return the marks of `keys`, asked one by one; a refused key keeps its old mark."""
    marks: dict[str, Mark] = {}
    refused: dict[str, StrongroomError] = {}
    for key in keys:
        with suppress(SecretNotFoundError, KeyError):  # absent; a batch leaves it out
            try:
                marks[key] = mark_of(key)
            except (SecretNotFoundError, *OF_ALL_KEYS):
                raise
            except StrongroomError as error:
                refused[key] = error
                if key in group.marks:
                    marks[key] = group.marks[key]
    note_refused_keys(group, keys, refused)
    return marks


def _described(group: WatchedGroup, keys: list[str]) -> dict[str, Any]:
    with describing_versions_alone():
        if len(keys) == 1 and not group.batched:
            try:
                return {keys[0]: group.chain.describe_secret(keys[0])}
            except SecretNotFoundError:
                return {}
        return describe_many(group.chain, keys) if keys else {}


def _read(group: WatchedGroup, keys: list[str]) -> dict[str, str]:
    try:
        if len(keys) != 1:
            return read_many(group.chain, keys)
    except SecretNotFoundError:
        pass
    values = {}
    for key in keys:  # one of them is disabled or deleted, which counts as absent here
        with suppress(SecretNotFoundError):
            values[key] = group.chain.get_secret(key)
    return values
