"""A pipeline: a provider with its middleware inside, watched by hooks from outside."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from typing import Any, TypeVar

from strongroom._scopes import OpenBlocks
from strongroom.audit.reason import actor
from strongroom.cache.addresses import invalidate
from strongroom.errors import (
    AuditError,
    AuthenticationError,
    InvalidKeyError,
    PermissionDeniedError,
    ReadOnlyError,
    SecretNotFoundError,
    StrongroomError,
    TenantContextError,
    UnsupportedOperationError,
    ValidationError,
    show_key,
)
from strongroom.hooks import Outcome, SecretEvent, SecretHook
from strongroom.hooks.events import BatchHook, Observation, begun, ended, observation
from strongroom.keys import check_key, check_prefix, is_reserved, record_key
from strongroom.middleware.base import Middleware
from strongroom.parallel import in_parallel
from strongroom.providers import BatchReader, SecretMetadata, SecretProvider, SecretVersion
from strongroom.tenancy import current_tenant

__all__ = [
    "Pipeline",
    "actor",
    "as_operation",
    "check_user_key",
    "outcome_of",
    "read_many",
]

T = TypeVar("T")
_log = logging.getLogger("strongroom.hooks")
_PARALLEL_READS = 8
_NO_RECORD = (
    SecretNotFoundError,
    PermissionDeniedError,
    InvalidKeyError,
    ValidationError,
    ReadOnlyError,
    UnsupportedOperationError,
)
_operations: OpenBlocks[str] = OpenBlocks("strongroom_operation")


@lru_cache(maxsize=8192)
def check_user_key(key: str) -> str:
    """Return `key`, or raise `InvalidKeyError`: also for the names that rotation keeps to itself."""
    if is_reserved(check_key(key)):
        raise InvalidKeyError(key, f"invalid key {show_key(key)}: the segment '.rotation' is reserved")
    return key


@contextmanager
def as_operation(name: str) -> Iterator[None]:
    """Let the events of everything done in the block carry `name` as their operation."""
    block = _operations.enter(name)
    try:
        yield
    finally:
        _operations.leave(block)


def read_many(provider: SecretProvider, keys: Sequence[str]) -> dict[str, str]:
    """Return the values of those of `keys` that are there: in one batch, else in parallel.

    Raises:
        SecretNotFoundError: One of them is not there for another reason than `absent`.
    """
    if isinstance(provider, BatchReader):
        return provider.get_secrets(keys)
    values = in_parallel(partial(_or_absent, provider), keys, _PARALLEL_READS)
    return {key: value for key, value in zip(keys, values, strict=True) if value is not None}


def _or_absent(provider: SecretProvider, key: str) -> str | None:
    try:
        return provider.get_secret(key)
    except SecretNotFoundError as error:
        if error.reason != "absent":
            raise
        return None


def outcome_of(error: BaseException) -> Outcome:
    """Return how an operation ended that `error` came out of."""
    if isinstance(error, SecretNotFoundError):
        return "not_found"
    if isinstance(error, PermissionDeniedError | AuthenticationError | TenantContextError):
        return "denied"
    return "error"


class Pipeline(Middleware):
    """The outermost provider: checks keys, tells hooks, and puts its name on errors.

    Args:
        inner: The outermost middleware, or the provider itself.
        name: The pipeline's name in the spec.
        hooks: What sees every operation; audit hooks are entered first, `after` runs in reverse.
    """

    def __init__(self, inner: Any, *, name: str, hooks: Sequence[SecretHook] = ()) -> None:
        super().__init__(inner)
        self.name = name
        self._get = self.inner.get_secret
        self._hooks: tuple[SecretHook, ...] = ()
        self._seen: Callable[[str], object] | None = None
        self._changed: Callable[[Any, str], object] | None = None
        self.watch(hooks)

    def watch(self, hooks: Sequence[SecretHook]) -> None:
        """Replace the hooks."""
        self._hooks = tuple(sorted(hooks, key=lambda hook: not getattr(hook, "audit", False)))

    def is_watched(self) -> bool:
        """Tell whether any hook sees the operations."""
        return bool(self._hooks)

    def tell_values(self, seen: Callable[[str], object]) -> None:
        """Give `seen` every value that is read from now on, before whoever asked gets it."""
        read = self.inner.get_secret
        self._seen = seen
        self._get = lambda key: self.told(read(key))

    def tell_changes(self, changed: Callable[[Any, str], object]) -> None:
        """Call `changed` with what is inside and the key after every write, also after one that failed."""
        self._changed = changed

    def changed(self, key: str) -> None:
        """Let the other caches of the registry forget what is stored where `key` is."""
        if self._changed is not None and isinstance(key, str):
            self._changed(self.inner, key)

    def invalidate(self, key: str) -> None:
        """Forget what is remembered of `key` for the active tenant, in every cache on its way."""
        invalidate(self.inner, check_user_key(key))

    def address(self) -> dict[str, Any]:
        """Return nothing: with it and without it the same is read."""
        return {}

    def told(self, value: str) -> str:
        """Return `value`, made known to whoever masks values."""
        if self._seen is not None:
            self._seen(value)
        return value

    def get_secret(self, key: str) -> str:
        if self._hooks:
            return self._get_watched(key)
        try:
            return self._get(check_user_key(key))
        except StrongroomError as error:
            self._sign(error)
            raise

    def _get_watched(self, key: str) -> str:
        # A method of its own: a closure over `key` would slow down the reads that nobody watches.
        return self.watched("get", key, lambda: self._get(check_user_key(key)))

    def set_secret(self, key: str, value: str) -> None:
        self._write("set", key, self.inner.set_secret, value)

    def delete_secret(self, key: str) -> None:
        self._write("delete", key, self._delete)

    def list_secrets(self, prefix: str = "") -> list[str]:
        return self.watched("list", prefix, lambda: self._list(prefix))

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        asked = list(dict.fromkeys(keys))
        return self._watched_batch("get", asked, lambda: self._read_batch(asked))

    def set_secrets(self, values: Mapping[str, str]) -> None:
        given = dict(values)

        def write() -> dict[str, str]:
            for key in given:
                check_user_key(key)
            try:
                self.inner.set_secrets(given)
            finally:
                for key in given:
                    self.changed(key)
            return given

        self._watched_batch("set", list(given), write)

    def describe_secret(self, key: str) -> SecretMetadata:
        return self._run("describe", key, self.inner.describe_secret)

    def list_versions(self, key: str) -> list[SecretVersion]:
        return self._run("history", key, self.inner.list_versions)

    def get_secret_version(self, key: str, version: str) -> str:
        return self.told(self._run("get", key, self.inner.get_secret_version, version))

    def set_secret_if(self, key: str, value: str, expected_version: str | None) -> str:
        return self._write("set", key, self.inner.set_secret_if, value, expected_version)

    def stage_secret(self, key: str, value: str) -> str:
        return self._run("stage", key, self.inner.stage_secret, value)

    def promote_version(self, key: str, version: str, *, expected_version: str | None) -> None:
        self._write("promote", key, self.inner.promote_version, version, expected_version=expected_version)

    def discard_version(self, key: str, version: str) -> None:
        self._run("discard", key, self.inner.discard_version, version)

    def __repr__(self) -> str:
        return f"<Pipeline {self.name}: {self.inner!r}>"

    def _list(self, prefix: str) -> list[str]:
        found = self.inner.list_secrets(check_prefix(prefix))
        return [key for key in found if not is_reserved(key)]

    def _delete(self, key: str) -> None:
        try:
            self.inner.delete_secret(key)
        except SecretNotFoundError:
            self._delete_record(key)  # a delete that was cut off has left it behind
            raise
        self._delete_record(key)

    def _delete_record(self, key: str) -> None:
        """Drop what a rotation keeps beside `key`: an old value must not outlive the secret.

        Whoever may not do that, or has a backend or rules that hold no such name, has kept nothing there.
        """
        with suppress(*_NO_RECORD):
            self.inner.delete_secret(record_key(key))

    def _read_batch(self, keys: list[str]) -> dict[str, str]:
        for key in keys:
            check_user_key(key)
        return {key: self.told(value) for key, value in self.inner.get_secrets(keys).items()}

    def _run(self, operation: str, key: str, method: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        return self.watched(operation, key, lambda: method(check_user_key(key), *args, **kwargs))

    def _write(self, operation: str, key: str, method: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run a write; afterwards nobody knows what is stored, also where it failed."""
        try:
            return self._run(operation, key, method, *args, **kwargs)
        finally:
            self.changed(key)

    def _sign(self, error: StrongroomError) -> None:
        if error.pipeline is None:
            error.pipeline = self.name

    def watched(self, operation: str, key: str, call: Callable[[], T]) -> T:
        """Run `call` as one operation on `key` that every hook sees."""
        if not self._hooks:
            try:
                return call()
            except StrongroomError as error:
                self._sign(error)
                raise
        watch = _Watch(self._hooks, [self._event(operation, key)])
        try:
            watch.enter()
            result = call()
        except BaseException as error:
            if isinstance(error, StrongroomError) and not watch.vetoed:
                self._sign(error)
            watch.leave({}, error)
            raise
        watch.leave({key: "ok"}, None)
        return result

    def _watched_batch(
        self, operation: str, keys: list[str], call: Callable[[], dict[str, str]]
    ) -> dict[str, str]:
        """Run a batch with an event for each key."""
        watch = _Watch(self._hooks, [self._event(operation, key) for key in keys] if self._hooks else [])
        try:
            watch.enter()
            result = call()
        except BaseException as error:
            if isinstance(error, StrongroomError) and not watch.vetoed:
                self._sign(error)
            watch.leave({}, error)
            raise
        watch.leave({key: "ok" if key in result else "not_found" for key in keys}, None)
        return result

    def _event(self, operation: str, key: str) -> SecretEvent:
        return begun(
            os.urandom(16).hex(),
            _operations.innermost() or operation,
            key,
            self.name,
            current_tenant(),
            actor(),
        )


class _Watch:
    """The hooks around one operation, which may have an event for each of several keys."""

    __slots__ = ("entered", "events", "hooks", "kept", "seen", "started", "token", "vetoed")

    def __init__(self, hooks: tuple[SecretHook, ...], events: Sequence[SecretEvent]) -> None:
        self.hooks = hooks
        self.events = events
        self.entered: list[tuple[SecretHook, int]] = []  # with the place of its event; a batch hook has all
        self.vetoed = False
        self.kept = False  # whether a hook may hold on to the events as they were before
        self.seen = Observation()
        self.token = observation.set(self.seen) if hooks else None
        self.started = time.perf_counter()

    def enter(self) -> None:
        try:
            for hook in self.hooks:
                # These stand first, and see a batch as a whole before anybody can veto a part of it.
                if isinstance(hook, BatchHook):
                    self.entered.append((hook, 0))
                    hook.before_all(self.events)
            for at, event in enumerate(self.events):
                for hook in self.hooks:
                    if not isinstance(hook, BatchHook):
                        self.kept = True
                        self.entered.append((hook, at))
                        hook.before(event)
        except BaseException:
            self.vetoed = True
            raise

    def leave(self, outcomes: Mapping[str, Outcome], error: BaseException | None) -> None:
        """Call every `after` that is owed; only an `AuditError` of theirs comes out."""
        if self.token is not None:
            observation.reset(self.token)
        duration = time.perf_counter() - self.started
        refused: AuditError | None = None
        after = [self._ended(event, outcomes, error, duration) for event in self.events]
        for hook, at in reversed(self.entered):
            try:
                if isinstance(hook, BatchHook):
                    hook.after_all(after)
                else:
                    hook.after(after[at])
            except AuditError as failed:
                refused = failed
            except Exception as failed:  # noqa: BLE001  # a stranger's hook
                # One hook's failure must not hide the result nor silence the other hooks.
                _log.warning(
                    "hook %s failed after %s: %s",
                    type(hook).__name__,
                    after[at].operation,
                    type(failed).__name__,
                )
        if refused is not None:
            raise refused

    def _ended(
        self,
        event: SecretEvent,
        outcomes: Mapping[str, Outcome],
        error: BaseException | None,
        duration: float,
    ) -> SecretEvent:
        outcome = outcomes[event.key] if error is None else "vetoed" if self.vetoed else outcome_of(error)
        reads = event.operation == "get" and outcome in {"ok", "not_found"}
        seen = self.seen.sources.get(event.key) or self.seen.source or "backend"
        source = seen if reads else None
        error_type = type(error).__name__ if error is not None else None
        return ended(event, duration, outcome, source, error_type, again=self.kept)
