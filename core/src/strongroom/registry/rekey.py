"""A new key for everything in a spec that uses one key file: stores, what ciphers wrote, and audit logs.

The order makes every crash harmless. The next key is beside the key file, as `<key_file>.next-all`, and a
copy of the old one as `<key_file>.old-<id>`. Then one store and one pipeline after the other is put under the
next key; stores that name the file can be opened with either. At last the next key replaces the key file.
Until then the same call goes on where an earlier one stopped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from strongroom.audit.rekey import moved_aside
from strongroom.encryption import keyfiles
from strongroom.encryption.key_ring import KeyRing
from strongroom.encryption.keys import generate_key, read_key
from strongroom.errors import ConfigurationError, ConflictError, DecryptionError, TamperedError
from strongroom.middleware import EncryptionMiddleware
from strongroom.pipeline import Pipeline
from strongroom.pipeline.maintenance import (
    Progress,
    operate,
    refuse_early,
    refuse_staged,
    refuse_unreadable,
    rekey_values,
    store_of,
)
from strongroom.providers.base import innermost, layers
from strongroom.registry.registry import SecretProviderRegistry
from strongroom.sealed import SealedSecretProvider
from strongroom.spec.key_uses import KeyUse, OwnStore
from strongroom.spec.references import instead

__all__ = ["Rekeyed", "refuse_other_uses", "rekey_all"]


class Rekeyed(NamedTuple):
    """What was put under the new key, and where the old one is."""

    places: list[str]
    old: list[Path]
    logs: list[Path]


def refuse_other_uses(own: OwnStore, uses: Sequence[KeyUse]) -> None:
    """Raise if the spec uses the key file of the store `own` for something else as well.

    Raises:
        ConfigurationError: It does; the message names the places.
    """
    others = [use.place for use in uses if use.of != own.of]
    if others:
        raise ConfigurationError(
            f"the key in {own.key_file} is also used by {', '.join(others)}: what is encrypted there could "
            "not be read any more",
            hint="give --all to put all of them under the new key, or give them their own key file first",
        )


def rekey_all(
    spec: str,
    key_file: Path,
    uses: Sequence[KeyUse],
    *,
    new_key: str | None = None,
    all_tenants: bool = False,
    progress: Progress | None = None,
) -> Rekeyed:
    """Put everything that uses `key_file` under a new key, which replaces the file at the end.

    Args:
        spec: The path of the spec.
        key_file: The file.
        uses: What `key_uses` returned for it.
        new_key: The new key; without it, the one that an interrupted call left, or else a generated one.
        all_tenants: Whether pipelines with a tenant middleware are meant for each of their tenants.
        progress: Called with how many are done, and how many there are; see a store's `rekey`.

    Raises:
        ConfigurationError: The key file is a symbolic link or missing, or a use of it cannot be changed.
        ConflictError: Another rekey was interrupted, or has another new key.
        DecryptionError: A store is damaged, or a value does not decrypt; nothing is changed.
    """
    keyfiles.refuse_link(key_file)
    _refuse_what_cannot_change(uses)
    logs = [log for use in uses if _is_of_audit(use) for log in use.logs]
    new = _next_key(key_file, new_key)
    _take_over_begun(key_file)  # before a pipeline is assembled, for which a secret of that store may be read
    with ExitStack() as stack:
        pairs = [_Pair(use, *_registries(spec, use, key_file, new, stack)) for use in _of_pipelines(uses)]
        for pair in pairs:  # none is changed if one of them must not be
            pair.refuse_early(all_tenants=all_tenants)
        for pair in pairs:  # programs have the old key until all are under the next one
            pair.refuse_halfway(all_tenants=all_tenants)
        for pair in pairs:
            pair.rekey(key_file, new, all_tenants=all_tenants, progress=progress)
    _put_beside(key_file, new)
    if not _kept(key_file):  # no store has left one
        keyfiles.keep_old(key_file, os.urandom(8).hex())
    old = _kept(key_file)
    with moved_aside(logs, old[0].name.rpartition(".old-")[2]) as moved:
        keyfiles.replace(keyfiles.next_for_all(key_file), key_file)
    return Rekeyed([use.place for use in uses], old, moved)


class _Pair:
    """A pipeline as it is, and as it will be with the next key in the key file."""

    def __init__(self, use: KeyUse, old: SecretProviderRegistry, new: SecretProviderRegistry) -> None:
        self._use = use
        name = use.pipeline or ""
        self._old, self._new = old.pipeline(name), new.pipeline(name)
        if use.path[2] == "provider":
            store_of(self._old, "rekey")

    def refuse_early(self, *, all_tenants: bool) -> None:
        refuse_early(self._old, "rekey", all_tenants=all_tenants)

    def refuse_halfway(self, *, all_tenants: bool) -> None:
        """Raise what would end `rekey` after other pipelines were put under the next key; write nothing."""
        if self._use.path[2] == "provider":
            _refuse_damaged(innermost(self._old), innermost(self._new), self._use.place)
            return
        for encryption in self._rings:
            refuse_staged(self._readable, encryption, all_tenants=all_tenants)
            refuse_unreadable(self._readable, encryption, all_tenants=all_tenants)

    def rekey(self, key_file: Path, key: str, *, all_tenants: bool, progress: Progress | None) -> None:
        def call() -> None:
            _put_beside(key_file, key)  # here, so that a hook that refuses leaves nothing behind
            if self._use.path[2] == "provider":
                self._store(key, progress)
            else:
                self._values(all_tenants=all_tenants, progress=progress)

        operate(self._old, "rekey", call, all_tenants=all_tenants)

    def _store(self, key: str, progress: Progress | None) -> None:
        provider, next_one = innermost(self._old), innermost(self._new)
        try:
            if not _is_absent(provider):  # else the first write makes it, under the key of that time
                provider.rekey(key, keep_key_file=True, progress=progress)
        except TamperedError:  # it stays under the old key, so that has to stay where it is
            raise
        except DecryptionError:
            next_one.key_id()  # an earlier call has put it under the next key; else this raises

    def _values(self, *, all_tenants: bool, progress: Progress | None) -> None:
        for encryption in self._rings:
            rekey_values(self._readable, encryption, all_tenants=all_tenants, progress=progress)

    @cached_property
    def _readable(self) -> Pipeline:
        """The pipeline that reads values: an earlier call may have put its store under the next key."""
        store = innermost(self._old)
        key_id = getattr(store, "key_id", None)
        try:
            if callable(key_id) and not _is_absent(store):
                key_id()
        except TamperedError:
            raise
        except DecryptionError:
            return self._new
        return self._old

    @cached_property
    def _rings(self) -> list[EncryptionMiddleware]:
        """Each encryption of the pipeline, with the next key for writing and both for reading.

        The innermost comes first: those around it read through it, whichever key its values are under.
        """
        both = zip(_encryptions(self._new), _encryptions(self._old), strict=True)
        ciphers = [(new.cipher, old.cipher) for new, old in both]
        found = _encryptions(self._readable)
        for one, (new, old) in zip(found, ciphers, strict=True):
            one.change_cipher(KeyRing(new, old))
        return found[::-1]


def _is_absent(store: Any) -> bool:
    if isinstance(store, SealedSecretProvider):
        return not store.has_store()
    absent = getattr(store, "absent", None)
    return callable(absent) and absent() is not None


def _refuse_damaged(store: Any, next_one: Any, place: str) -> None:
    try:
        problems = _problems(store)
    except DecryptionError:
        next_one.key_id()  # as `_store` has it
        return
    if problems:
        raise TamperedError(
            f"the store of {place} is damaged, and nothing was put under a new key: {problems[0]} "
            f"({len(problems)} problems in all)",
            hint="restore a backup of it, then repeat this",
        )


def _problems(store: Any) -> list[str]:
    """Return why a store cannot be put under another key.

    Raises:
        DecryptionError: Its key is another one.
    """
    if isinstance(store, SealedSecretProvider):
        store.has_store()  # it has a key of its own, which alone is put under the new one
        return []
    verify = getattr(store, "verify", None)
    return list(verify()) if callable(verify) else []


def _encryptions(pipeline: Any) -> list[EncryptionMiddleware]:
    return [layer for layer in layers(pipeline) if isinstance(layer, EncryptionMiddleware)]


def _next_key(key_file: Path, given: str | None) -> str:
    """Return the next key: what an earlier call has put beside the key file, else `given` or a new one.

    A rekey of one store that was interrupted may have put that store under its next key, or not: its key is
    the next one for all, so that none is lost.
    """
    if keyfiles.read_bytes(key_file) is None:
        raise ConfigurationError(f"the key file {key_file} is missing", hint="put it back, or restore a copy")
    if given is not None:
        read_key(given)
        keyfiles.content_of(given)  # refuses one that would be lost
    waiting = _key_at(keyfiles.next_for_all(key_file))
    begun = _key_at(keyfiles.next_key_file(key_file))
    if None not in {waiting, begun} and waiting != begun:
        raise ConflictError(
            f"two rekeys with {key_file} were interrupted, and have different new keys",
            hint="read from each store that uses it, which ends the rekey of one store, then repeat this",
        )
    left = waiting or begun
    if left is not None and given not in {None, left}:
        raise ConflictError(
            f"an interrupted rekey with {key_file} has another new key",
            hint="call it without --new-key-file: it goes on with that one",
        )
    return left or given or generate_key()


def _take_over_begun(key_file: Path) -> None:
    """Make the next key of an interrupted rekey of one store that of all.

    A read of that store would put it into the key file, from which the others need the old one.
    """
    begun = keyfiles.next_key_file(key_file)
    if _key_at(begun) is not None:
        keyfiles.replace(begun, keyfiles.next_for_all(key_file))


def _put_beside(key_file: Path, key: str) -> None:
    """Save the next key beside the key file, unless an earlier call has done so."""
    keyfiles.keep_out_of_git(key_file)
    keyfiles.place(keyfiles.next_for_all(key_file), keyfiles.content_of(key))
    if _key_at(keyfiles.next_for_all(key_file)) != key:
        raise ConflictError(f"another rekey of all that uses {key_file} has just begun", hint="try again")


def _key_at(path: Path) -> str | None:
    found = keyfiles.read_bytes(path)
    if found is None:
        return None
    text = keyfiles.text_in(found)
    if text is None:
        raise ConfigurationError(f"the key file {path} holds no key", hint="see what has written it")
    return text


def _registries(
    spec: str, use: KeyUse, key_file: Path, new: str, stack: ExitStack
) -> tuple[SecretProviderRegistry, SecretProviderRegistry]:
    def opened() -> SecretProviderRegistry:
        registry = SecretProviderRegistry(spec, profile=use.profile, pipeline=use.pipeline)
        registry.pipeline(use.pipeline or "")  # those that read secrets are assembled at the first use
        return stack.enter_context(registry)

    old = opened()
    with instead({key_file: new}):
        return old, opened()


def _of_pipelines(uses: Sequence[KeyUse]) -> Iterator[KeyUse]:
    """Yield a use for each store, and one for the middleware of each pipeline, stores last.

    In this order ciphers read their values from unchanged stores; the other order would work, too.
    """
    distinct: dict[tuple[object, ...], KeyUse] = {}
    for use in uses:
        # A cache is left out: an entry that it cannot read any more costs one fetch.
        if use.pipeline is not None and use.path[2] == "middleware" and use.component == "encryption":
            distinct.setdefault((use.profile, use.pipeline), use)
    for use in uses:
        if use.pipeline is not None and use.path[2] == "provider":
            distinct.setdefault(use.of, use)
    yield from distinct.values()


def _refuse_what_cannot_change(uses: Sequence[KeyUse]) -> None:
    wrong = [use.place for use in uses if not _can_change(use)]
    if wrong:
        raise ConfigurationError(
            f"{', '.join(wrong)}: what this key is for cannot be put under another one",
            hint="give it a key file of its own; an audit log takes it by `key_file`",
        )


def _can_change(use: KeyUse) -> bool:
    if _is_of_audit(use):
        return use.by_name
    if use.pipeline is None:
        return False
    return use.path[2] == "provider" or use.component in {"encryption", "caching"}


def _is_of_audit(use: KeyUse) -> bool:
    return "hooks" in use.path[:3] and use.component == "audit"


def _kept(key_file: Path) -> list[Path]:
    """Return the copies of the key that this call, or an interrupted one, has left."""
    held = keyfiles.read_bytes(key_file)
    begin = f"{key_file.name}.old-"
    beside = sorted(one for one in key_file.parent.iterdir() if one.name.startswith(begin))
    return [one for one in beside if keyfiles.read_bytes(one) == held]
