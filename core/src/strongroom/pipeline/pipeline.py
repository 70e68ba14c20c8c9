"""A pipeline: a provider with its middleware inside, watched by hooks from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from time import perf_counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from strongroom.errors import (
    InvalidKeyError,
    PermissionDeniedError,
    ReadOnlyError,
    SecretNotFoundError,
    StrongroomError,
    UnsupportedOperationError,
    ValidationError,
    show_key,
)
from strongroom.hooks import Outcome, SecretEvent, SecretHook
from strongroom.hooks.base import BatchHook
from strongroom.hooks.events import start_event
from strongroom.hooks.identity import actor
from strongroom.hooks.observation import Observation, observation
from strongroom.keys import cannot_start_key, check_prefix, distinct, is_reserved, record_key
from strongroom.middleware.base import Middleware
from strongroom.parallel import forks_wait
from strongroom.pipeline.batch import describe_many, read_many, write_many
from strongroom.pipeline.hook_calls import HookCalls, leave_one
from strongroom.pipeline.operations import _operations, check_user_key, checked_user_key
from strongroom.runtime.scopes import as_here
from strongroom.tenancy import current_tenant

if TYPE_CHECKING:
    from strongroom.providers import Closeable, Lease, SecretChange, SecretMetadata, SecretVersion

__all__ = ["Pipeline", "actor"]

T = TypeVar("T")
_observe, _other_operation = observation.set, _operations.innermost
NO_RECORD = (
    SecretNotFoundError,
    PermissionDeniedError,
    InvalidKeyError,
    ValidationError,
    ReadOnlyError,
    UnsupportedOperationError,
)


class Pipeline(Middleware):
    """The outermost provider: checks keys, calls hooks, and puts its name on errors.

    Args:
        inner: The outermost middleware, or the provider itself.
        name: The pipeline's name in the spec.
        hooks: They see every operation; audit hooks are entered first, and `after` runs in reverse order.
    """

    def __init__(self, inner: Any, *, name: str, hooks: Sequence[SecretHook] = ()) -> None:
        super().__init__(inner)
        self.name = name
        self._get = self.inner.get_secret
        self._hooks: tuple[SecretHook, ...] = ()
        self._only_hook: BatchHook | None = None
        self._value_observer: Callable[[str], object] | None = None
        self._changed: Callable[[Any, Sequence[str]], object] | None = None
        self._first_use: Callable[[], object] | None = None
        self._first_get: Callable[[str], str] | None = None
        self.set_hooks(hooks)

    def set_hooks(self, hooks: Sequence[SecretHook]) -> None:
        """Replace the hooks."""
        self._only_hook = None  # a read or an interrupt in between goes the general way, by either hooks
        self._hooks = tuple(sorted(hooks, key=lambda hook: not getattr(hook, "audit", False)))
        only = self._hooks[0] if len(self._hooks) == 1 else None
        self._only_hook = only if isinstance(only, BatchHook) else None

    def has_hooks(self) -> bool:
        """Return whether any hook sees the operations."""
        return bool(self._hooks)

    def diagnose_hooks(self) -> None:
        """Raise what a hook raises because it would refuse operations now; the backend is not asked."""
        for hook in self._hooks:
            look = getattr(hook, "diagnose", None)
            if callable(look):
                look()

    def observe_values(self, seen: Callable[[str], object]) -> None:
        """Call `seen` with every value that is read or written from now on, before it is passed on."""
        self._used()  # what waits for the next read would no longer be called
        read = self.inner.get_secret
        self._value_observer = seen
        self._get = lambda key: self.observed(read(key))

    def observe_changes(
        self, changed: Callable[[Any, Sequence[str]], object], *, refuse: Callable[[], object]
    ) -> None:
        """Call `changed` with what is inside and the keys after every write, also after one that failed.

        `refuse` is called before it, and raises if `changed` could not be called.
        """
        self._refuse_write, self._changed = refuse, changed

    def tell_first_use(self, call: Callable[[], object]) -> None:
        """Call `call` once, before the next read or list; a write calls the observer of changes."""
        self._first_use = call
        if self._get is self._first_get:  # as after a list, which does not take it away
            return
        read = self._get

        def first(key: str) -> str:
            if self._get is first:
                self._get = read
            self._used()
            return read(key)

        self._get = self._first_get = first

    def _used(self) -> None:
        call, self._first_use = self._first_use, None
        if call is not None:
            call()

    @contextmanager
    def around_write(self, *keys: str) -> Iterator[None]:
        """After the block, let the registry's other caches forget what is stored at `keys`, and watches look.

        They do so even if the block fails: it is then not known what is stored.

        Raises:
            BackendUnavailableError: A signal handler writes what one of these caches could not forget.
        """
        if self._changed is None:
            yield
            return
        self._refuse_write()
        try:
            yield
        finally:
            try:
                self._changed(self.inner, keys)
            except BaseException:  # of a signal handler: an older value must not stay
                self._changed(self.inner, keys)
                raise

    def invalidate(self, key: str) -> None:
        """Forget what is remembered of `key` for the active tenant, in every cache on its way."""
        with forks_wait():
            from strongroom.cache.addresses import invalidate

        invalidate(self.inner, check_user_key(key))

    def address(self) -> dict[str, Any]:
        """Return nothing: it does not change which secret is read."""
        return {}

    def observed(self, value: str) -> str:
        """Return `value`, after making it known for masking."""
        if self._value_observer is not None and isinstance(value, str):
            self._value_observer(value)
        return value

    def get_secret(self, key: str) -> str:
        if self._hooks:
            hook = self._only_hook
            return self._get_watched(key) if hook is None else self._get_audited(hook, key)
        try:
            return self._get(checked_user_key(key))
        except StrongroomError as error:
            self._tell_where(error, key)
            raise
        except TypeError:
            if isinstance(key, str):
                raise
        return self._get(check_user_key(key))  # raises: what has no hash is not a key

    def fresh(self, remembered: Callable[[str], str | None], key: str) -> str | None:
        """Return the value of `key` in the cache inside, by its `remembered`; None if it has to be read."""
        if self._hooks:
            return None
        try:
            value = remembered(checked_user_key(key))
        except (StrongroomError, TypeError):
            return None
        return value if value is None or self._value_observer is None else self.observed(value)

    def _get_watched(self, key: str) -> str:
        # A method of its own: in `get_secret`, a closure over `key` would slow down reads without hooks.
        return self.run_with_hooks("get", key, lambda: self._get(check_user_key(key)))

    def _get_audited(self, hook: BatchHook, key: str) -> str:
        """Do what `_get_watched` does with one audit hook alone, the usual case, in half the time."""
        events = (self._event("get", key),)
        seen = Observation()
        token = _observe(seen)
        started, vetoed = perf_counter(), True
        try:
            hook.before_all(events)
            vetoed = False
            read = self._get  # Python calls a variable faster than an attribute
            value = read(check_user_key(key))
        except BaseException as error:
            observation.reset(token)
            watch = HookCalls((hook,), events)  # what fails goes the general way
            watch.entered, watch.vetoed, watch.seen, watch.started = [(hook, 0)], vetoed, seen, started
            self._leave_failed(watch, error, key or None)
            raise
        leave_one(hook, events, seen, token, started)
        return value

    def set_secret(self, key: str, value: str) -> None:
        if self._hooks:
            self._write("set", key, self.inner.set_secret, self.observed(value))
            return
        try:  # `_write`, written out
            with self.around_write(check_user_key(key)):
                self.inner.set_secret(key, self.observed(value))
        except StrongroomError as error:
            self._tell_where(error, key)
            raise

    def delete_secret(self, key: str) -> None:
        self._write("delete", key, self._delete)

    def list_secrets(self, prefix: str = "") -> list[str]:
        self._used()
        return self.run_with_hooks("list", prefix, lambda: self._list(prefix))

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        asked = distinct(keys)
        return self.run_batch_with_hooks("get", asked, lambda: self._read_batch(asked))

    def set_secrets(self, values: Mapping[str, str]) -> None:
        secrets = dict(values)
        written: dict[str, Outcome] = {}

        def write() -> dict[str, str]:
            for key, value in secrets.items():
                check_user_key(key)
                self.observed(value)
            with self.around_write(*secrets):
                write_many(self.inner, secrets, lambda key: written.setdefault(key, "ok"))
            return secrets

        self.run_batch_with_hooks("set", list(secrets), write, done=written)

    def describe_secret(self, key: str) -> SecretMetadata:
        return self._run("describe", key, self.inner.describe_secret)

    def describe_secrets(self, keys: Iterable[str]) -> dict[str, SecretMetadata]:
        wanted = distinct(keys)

        def describe() -> dict[str, SecretMetadata]:
            for key in wanted:
                check_user_key(key)
            found = describe_many(self.inner, wanted)
            return {key: found[key] for key in wanted if key in found}  # as in `_read_batch`

        return self.run_batch_with_hooks("describe", wanted, describe)

    def list_versions(self, key: str) -> list[SecretVersion]:
        return self._run("history", key, self.inner.list_versions)

    def get_secret_version(self, key: str, version: str) -> str:
        return self.observed(self._run("get", key, self.inner.get_secret_version, version))

    def set_secret_if(self, key: str, value: str, expected_version: str | None) -> str:
        return self._write("set", key, self.inner.set_secret_if, self.observed(value), expected_version)

    def stage_secret(self, key: str, value: str) -> str:
        return self._run("stage", key, self.inner.stage_secret, self.observed(value))

    def promote_version(self, key: str, version: str, *, expected_version: str | None) -> None:
        self._write("promote", key, self.inner.promote_version, version, expected_version=expected_version)

    def discard_version(self, key: str, version: str) -> None:
        self._run("discard", key, self.inner.discard_version, version)

    def subscribe_changes(self, callback: Callable[[list[SecretChange]], object]) -> Closeable:
        call = as_here(callback)

        def changed(changes: list[SecretChange]) -> None:
            own = [change for change in changes if not is_reserved(change.key)]
            if own or not changes:
                call(own)

        return self.run_with_hooks("watch", "", lambda: self.inner.subscribe_changes(changed))

    def issue_lease(self, key: str) -> Lease:
        lease = self._run("issue", key, self.inner.issue_lease)
        for value in lease.values.values():
            self.observed(value)
        return lease

    def renew_lease(self, lease: Lease) -> Lease:
        return self.run_with_hooks("renew", lease.key, lambda: self.inner.renew_lease(lease))

    def revoke_lease(self, lease: Lease) -> None:
        self.run_with_hooks("revoke", lease.key, lambda: self.inner.revoke_lease(lease))

    def __repr__(self) -> str:
        return f"<Pipeline {self.name}: {self.inner!r}>"

    def _list(self, prefix: str) -> list[str]:
        if cannot_start_key(check_prefix(prefix)):
            return []  # not asked for: a backend may take `..` for the folder above
        found = self.inner.list_secrets(prefix)
        # A third party's provider may heed no prefix, and callers export, copy and delete what is listed.
        return [key for key in found if key.startswith(prefix) and not is_reserved(key)]

    def _delete(self, key: str) -> None:
        try:
            self.inner.delete_secret(key)
        except SecretNotFoundError:
            self._delete_record(key)  # an interrupted delete has left it behind
            raise
        self._delete_record(key)

    def _delete_record(self, key: str) -> None:
        """Drop what a rotation keeps beside `key`: an old value must not outlive the secret.

        If the caller may not do that, or if backend or rules do not accept such a name, nothing was kept
        there.
        """
        with suppress(*NO_RECORD):
            self.inner.delete_secret(record_key(key))

    def _read_batch(self, keys: list[str]) -> dict[str, str]:
        for key in keys:
            check_user_key(key)
        found = read_many(self.inner, keys)
        return {key: self.observed(found[key]) for key in keys if key in found}  # and nothing else

    def _run(self, operation: str, key: str, method: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        self._used()
        return self.run_with_hooks(operation, key, lambda: method(check_user_key(key), *args, **kwargs))

    def _write(self, operation: str, key: str, method: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        def write(key: str) -> T:
            with self.around_write(key):
                return method(key, *args, **kwargs)

        return self._run(operation, key, write)

    def _tell_where(self, error: StrongroomError, key: str | None = None) -> None:
        """Name the pipeline, and the one key that was asked for, where who raised `error` has not."""
        if error.pipeline is None:
            error.pipeline = self.name
        if error.key is None:
            error.key = key

    def run_with_hooks(self, operation: str, key: str, call: Callable[[], T]) -> T:
        """Run `call` as one operation on `key` that every hook sees."""
        asked = key if key and operation != "list" else None  # of a list it is a prefix
        if not self._hooks:
            try:
                return call()
            except StrongroomError as error:
                self._tell_where(error, asked)
                raise
        watch = HookCalls(self._hooks, [self._event(operation, key)])
        result = self._call_between_hooks(watch, call, asked)
        watch.leave({key: "ok"}, None)
        return result

    def check_with_hooks(self, operation: str, key: str, check: Callable[[], T]) -> T:
        """Return what `check` returns; if it raises, `check` is run as one operation that every hook sees.

        It refuses what is not a key, or a caller without a tenant. What it returns is not an operation yet.
        """
        try:
            return check()
        except StrongroomError:
            return self.run_with_hooks(operation, key, check)

    def _call_between_hooks(
        self,
        watch: HookCalls,
        call: Callable[[], T],
        key: str | None = None,
        done: Mapping[str, Outcome] = MappingProxyType({}),
    ) -> T:
        """Call `before` of all hooks, then `call`; if either raises, call `after` of the hooks entered."""
        try:
            watch.enter()
            return call()
        except BaseException as error:
            self._leave_failed(watch, error, key, done)
            raise

    def _leave_failed(
        self,
        watch: HookCalls,
        error: BaseException,
        key: str | None,
        done: Mapping[str, Outcome] = MappingProxyType({}),
    ) -> None:
        if isinstance(error, StrongroomError) and not watch.vetoed:
            self._tell_where(error, key)
        watch.leave(done, error)

    def run_batch_with_hooks(
        self,
        operation: str,
        keys: list[str],
        call: Callable[[], dict[str, T]],
        *,
        done: Mapping[str, Outcome] = MappingProxyType({}),
    ) -> dict[str, T]:
        """Run a batch with an event for each key; `done` has the outcomes of those before one that fails."""
        self._used()
        hooks = self._hooks if keys else ()  # without keys there is no event
        watch = HookCalls(hooks, [self._event(operation, key) for key in keys] if hooks else [])
        result = self._call_between_hooks(watch, call, done=done)
        watch.leave({key: "ok" if key in result else "not_found" for key in keys}, None)
        return result

    def _event(self, operation: str, key: str) -> SecretEvent:
        return start_event(
            _other_operation() or operation,
            key if isinstance(key, str) else show_key(key),  # it is refused: hooks may look up what they get
            self.name,
            current_tenant(),
            actor(),
        )
