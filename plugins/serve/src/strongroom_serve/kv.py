"""Vault's KV engine, version 2, over the registry."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NoReturn, TypeVar

from strongroom.errors import (
    ConfigurationError,
    ConflictError,
    SecretNotFoundError,
    StrongroomError,
    UnsupportedOperationError,
)
from strongroom.providers import (
    ConditionalWriter,
    Describer,
    SecretMetadata,
    SecretVersion,
    VersionReader,
    observing_versions,
)

from strongroom_serve.answers import (
    ABSENT,
    CAS_MISMATCH,
    Answer,
    UncheckedError,
    bad_request,
    data_answer,
    secret_answer,
    time_text,
)
from strongroom_serve.asking import Asker, Backend, Records
from strongroom_serve.kv_bodies import GONE, cas_of, metadata_of, shown, text_of, version_info, versions_of
from strongroom_serve.numbers import History, Place

__all__ = ["KeyValue", "is_unrouted"]

T = TypeVar("T")
_MOST_LOOKED_THROUGH = 8
_MOST_REPORTED = 1024


class _Turns:
    """The writers of one secret, one at a time; between two of them the lock is free for a moment."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.writers = 0


class KeyValue:
    """The answers to requests that the rules allow; each runs as its client and for its tenant.

    Args:
        backend: Where the secrets are.
        records: Used instead for the state of rotations.
    """

    def __init__(self, backend: Backend, records: Records | None = None) -> None:
        self._backend = backend
        self._records = records
        self._numbers = backend.numbers
        self._writes: dict[Place, _Turns] = {}
        self._reported: dict[Place, tuple[int, SecretVersion, int]] = {}

    async def read(self, asker: Asker, key: str) -> Answer:
        """Answer `GET data/KEY`."""
        try:
            with observing_versions(partial(self._observe, (asker.tenant, key))):
                value = await self._of(key).get_secret(key)
        except SecretNotFoundError as error:
            if error.reason not in GONE:
                return ABSENT
            return await self._gone(asker, key, error)
        number, created = await self._number_of(asker, key, value)
        return secret_answer(shown(asker, value), metadata_of(number, created))

    async def read_with_id(self, asker: Asker, key: str) -> tuple[str, str | None, str]:
        """Return a value, the id of its version, and when that was made; the id is None if it is not known.

        A cache may have the value of an older version than the backend's current one.
        """
        place = (asker.tenant, key)
        with observing_versions(partial(self._observe, place)):
            value: str = await self._of(key).get_secret(key)
        number, created = await self._number_of(asker, key, value)
        known = self._history(place)
        return value, known.id_of(number) if known.value == hash(value) else None, created

    async def read_version(self, asker: Asker, key: str, number: int) -> Answer:
        """Answer `GET data/KEY?version=N`."""
        try:
            history = await self._listed(asker, key)
        except StrongroomError as error:
            await self._backend.fail("get", key, error)
        if history is None:  # a backend without versions has one of each
            if number == 1:
                return await self.read(asker, key)
            await self._backend.fail("get", key, SecretNotFoundError(key))
        versions, known = history
        version = known.id_of(number)
        one = next((one for one in versions if one.version == version), None)
        if version is None or one is None or one.state == "pending":
            await self._backend.fail("get", key, SecretNotFoundError(key))
        try:
            value = await self._of(key).get_secret_version(key, version)
        except SecretNotFoundError as error:
            state = error.reason if error.reason in GONE else one.state
            if state not in GONE:
                return ABSENT
            info = version_info(one.created_at, deleted_at=_now(known), destroyed=state == "destroyed")
            return data_answer({"data": None, "metadata": info | {"version": number}}, 404)
        return secret_answer(shown(asker, value), metadata_of(number, time_text(one.created_at)))

    async def write(self, asker: Asker, key: str, body: Any) -> Answer:
        """Answer `POST data/KEY`."""
        if not isinstance(body, dict) or not isinstance(body.get("data"), dict):
            return bad_request("no data provided: expected an object with the member `data`")
        options = body.get("options")
        if options is not None and not isinstance(options, dict):
            return bad_request("`options` must be an object")
        try:
            cas = cas_of(options or {})
        except ValueError as error:
            return bad_request(str(error))
        try:
            text = text_of(body["data"])
        except ValueError as error:
            return bad_request(str(error))
        place = (asker.tenant, key)
        turns = self._writes.setdefault(place, _Turns())
        turns.writers += 1
        try:
            async with turns.lock:  # the number that is answered belongs to this very write
                number, created = await self._written(asker, key, text, cas)
        finally:
            turns.writers -= 1
            if not turns.writers:
                del self._writes[place]
        info = version_info(None) | {"created_time": created, "version": number}
        return data_answer(info)

    async def delete(self, asker: Asker, key: str) -> Answer:
        """Answer `DELETE data/KEY` and `DELETE metadata/KEY`: 204 even if there is none, as Vault does."""
        with suppress(SecretNotFoundError):
            await self._of(key).delete_secret(key)
        known = self._numbers.get((asker.tenant, key))
        if known is not None:
            known.value, known.current = None, 0
        return Answer(204)

    async def metadata(self, asker: Asker, key: str) -> Answer:
        """Answer `GET metadata/KEY`; a client with `history` gets all versions, any other the current one."""
        shows_all = asker.may("history")
        metadata: SecretMetadata | None = None
        try:
            metadata = await self._described(key)
        except SecretNotFoundError as error:
            if error.reason not in GONE:
                return ABSENT
        listed = await self._listed(asker, key, watched=shows_all)
        if listed is None:
            if metadata is None:
                return ABSENT
            one = SecretVersion("1", metadata.updated_at or metadata.created_at, "current")
            return data_answer(versions_of(metadata, {1: one}, 1, _now(None)))
        versions, known = listed
        numbered = {known.ids[one.version]: one for one in versions if one.state != "pending"}
        current = next((number for number, one in numbered.items() if one.state == "current"), 0)
        if metadata is None:
            known.deleted()
            current = current or max(numbered, default=known.gone)
        if not numbered:
            return ABSENT
        current = current or max(numbered)
        shown = numbered if shows_all else {current: numbered[current]} if current in numbered else {}
        return data_answer(versions_of(metadata, shown, current, _now(known)))

    async def names(self, asker: Asker, folder: str, *, after: str = "", limit: int = 0) -> Answer:
        """Answer `LIST metadata/FOLDER`: names under which there is a key that the client may touch."""
        prefix = f"{folder}/" if folder else ""
        keys = await self._asked(prefix, lambda: self._backend.sync.list_readable(prefix))

        def answer() -> Answer:
            names = sorted(_children(prefix, asker.client.rules.permitted(keys)))
            if after:
                names = [name for name in names if name > after]
            if limit > 0:
                names = names[:limit]
            return data_answer({"keys": names}) if names else ABSENT

        # For a hundred thousand keys that takes a second, in which the loop would answer nobody.
        return await self._backend.in_thread(answer)

    def _of(self, key: str) -> Any:
        return self._records or self._backend.registry_of(key)

    async def _asked(self, key: str, call: Callable[[], T]) -> T:
        """Return what `call` returns, which asks for `key`, on a thread of its pipeline."""
        return await self._backend.in_thread(call, self._backend.registry_of(key))

    # --- versions ---

    def _history(self, place: Place) -> History:
        """Return the history of a secret of the active tenant, at the store that this reading has it in."""
        known = self._numbers.of(place)
        if known.reading is None or known.reading() is not self._backend:
            known.belongs_to(self._backend.sync.stored_at(place[1]), self._backend)
        return known

    def _observe(self, place: Place, value: str, version: SecretVersion, there: int) -> None:
        """Note the version of a value, for the first client that gets it; called by the thread that reads."""
        if len(self._reported) > _MOST_REPORTED:  # the client that was to get them was cut off
            self._reported.clear()
        self._reported[place] = hash(value), version, there

    def _number_reported(self, place: Place, hashed: int) -> None:
        """Number the version that was reported last, if it is that of this value."""
        latest = self._reported.pop(place, None)
        if latest is None or latest[0] != hashed:
            return
        _, version, there = latest
        known = self._history(place)
        number = known.take_reported(version, there)
        if number is not None:
            known.value, known.current, known.gone = hashed, number, 0
            known.created = time_text(version.created_at)

    async def _number_of(self, asker: Asker, key: str, value: str) -> tuple[int, str]:
        """Return the number of the version that `value` is, and when it was made."""
        place = (asker.tenant, key)
        hashed = hash(value)
        self._number_reported(place, hashed)
        known = self._history(place)
        if known.value == hashed:
            return known.current, known.created
        under_way = self._backend.listings.get(place)
        if under_way is not None:
            await asyncio.shield(under_way)
            known = self._history(place)
            if known.value == hashed:
                return known.current, known.created
        done = self._backend.listings[place] = asyncio.get_running_loop().create_future()
        try:
            return await self._found_number(asker, key, value)
        finally:
            done.set_result(None)
            if self._backend.listings.get(place) is done:
                del self._backend.listings[place]

    async def _found_number(self, asker: Asker, key: str, value: str) -> tuple[int, str]:
        known = self._history((asker.tenant, key))
        try:
            listed = await self._listed(asker, key, watched=False)
        except StrongroomError:
            # The value is there, and its history is not: an outage that a cache bridges, or a token that may
            # not read it. The number is the last that was given; `cas` with it is refused until it is known.
            known.value, known.current = hash(value), known.current or known.last or 1
            known.created = known.created or time_text(None)
            return known.current, known.created
        known.gone = 0
        if listed is None:
            known.value, known.current, known.created = hash(value), 1, time_text(await self._updated_at(key))
            return 1, known.created
        versions, known = listed
        numbers = known.ids  # of this list: meanwhile a writer may bring another one, without its oldest
        for one in _current_first(versions)[:_MOST_LOOKED_THROUGH]:
            if await self._value_is(key, one.version, value):
                known.value, known.current = hash(value), numbers[one.version]
                known.created = time_text(one.created_at)
                return known.current, known.created
        known.value = None
        return known.last or 1, time_text(None)

    async def _value_is(self, key: str, version: str, value: str) -> bool:
        inner = await self._backend.past_caches(key)
        try:
            read = await self._asked(key, lambda: inner.get_secret_version(key, version))
            return bool(read == value)
        except StrongroomError:
            return False

    async def _updated_at(self, key: str) -> datetime | None:
        inner = await self._backend.past_caches(key)
        if not isinstance(inner, Describer):
            return None
        try:
            metadata = await self._asked(key, lambda: inner.describe_secret(key))
        except StrongroomError:
            return None
        return metadata.updated_at or metadata.created_at

    async def _listed(
        self, asker: Asker, key: str, *, watched: bool = False
    ) -> tuple[list[SecretVersion], History] | None:
        """Return the versions, newest first, and their numbers; None if the backend has no versions.

        Args:
            asker: The client that asks.
            key: The secret.
            watched: Whether the client asks for it, so that the hooks see it.
        """
        versions: list[SecretVersion] = []
        try:
            if watched:
                versions = await self._of(key).list_versions(key)
            else:
                inner = await self._backend.past_caches(key)
                if not isinstance(inner, VersionReader):
                    return None
                versions = await self._asked(key, lambda: inner.list_versions(key))
        except UnsupportedOperationError:
            return None
        except SecretNotFoundError:
            pass
        known = self._history((asker.tenant, key))
        known.take(reversed(versions))
        return versions, known

    async def _described(self, key: str) -> SecretMetadata:
        with suppress(UnsupportedOperationError):
            metadata: SecretMetadata = await self._of(key).describe_secret(key)
            return metadata
        pipeline = await self._backend.in_thread(lambda: self._backend.sync.pipeline_for(key))

        def look() -> SecretMetadata:
            pipeline.inner.get_secret(key)
            return SecretMetadata(key, "1")

        return await self._asked(key, lambda: pipeline.run_with_hooks("describe", key, look))

    async def _gone(self, asker: Asker, key: str, error: SecretNotFoundError) -> Answer:
        """Answer for a deleted secret, if the backend reports it as deleted."""
        versions: list[SecretVersion] = []
        known = self._history((asker.tenant, key))
        try:
            listed = await self._listed(asker, key, watched=False)
        except StrongroomError:
            listed = None
        if listed is not None:
            versions, known = listed
        known.deleted()
        newest = next((one for one in versions if one.state != "pending"), None)
        if newest is not None:
            known.gone = known.ids[newest.version]
        info = version_info(
            newest.created_at if newest is not None else None,
            deleted_at=_now(known),
            destroyed=error.reason == "destroyed",
        )
        return data_answer({"data": None, "metadata": info | {"version": known.gone}}, 404)

    # --- writing ---

    async def _written(self, asker: Asker, key: str, text: str, cas: int | None) -> tuple[int, str]:
        if cas is not None:
            return await self._written_if(asker, key, text, cas)
        await self._of(key).set_secret(key, text)
        return await self._found_number(asker, key, text)

    async def _refuse_cas(self, key: str, inner: Any) -> NoReturn:
        """Raise a conflict that hooks see; `UncheckedError` if there are no versions to compare."""
        kind = ConflictError if await self._has_versions(key, inner) else UncheckedError
        with suppress(ConflictError):
            await self._backend.fail("set", key, ConflictError(CAS_MISMATCH, key=key))
        raise kind(CAS_MISMATCH, key=key)

    async def _has_versions(self, key: str, inner: Any) -> bool:
        """Return whether writes can be compared with versions; nothing is numbered, as it is by a read."""
        if not (isinstance(inner, ConditionalWriter) and isinstance(inner, VersionReader)):
            return False
        try:
            await self._asked(key, lambda: inner.list_versions(key))
        except UnsupportedOperationError:
            return False
        except StrongroomError:
            pass  # there is none, or it cannot be said now
        return True

    async def _written_if(self, asker: Asker, key: str, text: str, cas: int) -> tuple[int, str]:
        inner = await self._backend.past_caches(key)
        known = self._history((asker.tenant, key))
        expected: str | None = None
        if cas != 0 and not (known.gone == cas and not known.current):
            expected = known.id_of(cas)
            if expected is None:
                await self._refuse_cas(key, inner)
        if not isinstance(inner, ConditionalWriter):
            await self._refuse_cas(key, inner)
        try:
            version = await self._of(key).set_secret_if(key, text, expected)
        except UnsupportedOperationError:
            raise UncheckedError(CAS_MISMATCH, key=key) from None
        except ConflictError:
            # What this client was given may be of a cache: the next read is of the backend.
            known.value = None
            with suppress(StrongroomError):
                await self._of(key).invalidate(key)
            raise
        known.gone = 0
        versions: list[SecretVersion] | None = []
        with suppress(StrongroomError):  # it is written, and its id is known
            listed = await self._listed(asker, key, watched=False)
            versions = None if listed is None else listed[0]
        number = known.ids.get(version) if versions is not None else 1
        if number is None:  # overwritten and dropped already, or not seen
            known.last += 1
            number = known.ids[version] = known.last
        one = next((one for one in versions or () if one.version == version), None)
        created = time_text(one.created_at if one is not None else datetime.now(UTC))
        known.value, known.current, known.created = hash(text), number, created
        return number, created


def _current_first(versions: list[SecretVersion]) -> list[SecretVersion]:
    shown = [one for one in versions if one.state != "pending"]
    return sorted(shown, key=lambda one: one.state != "current")


def _children(prefix: str, keys: Iterable[str]) -> set[str]:
    children = set()
    for key in keys:
        name, slash, _ = key[len(prefix) :].partition("/")
        children.add(name + slash)
    return children


def _now(known: History | None) -> datetime:
    return (known.gone_at if known is not None else None) or datetime.now(UTC) - timedelta(seconds=1)


def is_unrouted(registry: Any, key: str, error: StrongroomError) -> bool:
    """Return whether no pipeline answers `key`, so that there is no such secret."""
    if not isinstance(error, ConfigurationError):
        return False
    try:
        registry.explain(key)
    except ConfigurationError:
        return True
    return False
