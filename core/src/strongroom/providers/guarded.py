"""The guard around a provider that knows nothing of strongroom's rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial, wraps
from types import FunctionType, MethodType, SimpleNamespace
from typing import Any, TypeVar

from strongroom.errors import (
    BackendUnavailableError,
    PermissionDeniedError,
    SecretNotFoundError,
    StrongroomError,
    bare_error,
    raised_at,
)
from strongroom.keys import check_key, check_keys, check_value, is_key, visible_keys
from strongroom.providers.base import BaseProvider, capability_methods, package_of
from strongroom.providers.metadata import Lease, SecretMetadata, SecretVersion
from strongroom.runtime.frozen import replaced

__all__ = ["guarded_function", "guarded_provider"]

T = TypeVar("T")
_KEYED = frozenset(
    {"describe_secret", "discard_version", "get_secret_version", "issue_lease", "list_versions"}
    | {"promote_version", "set_secret_if", "stage_secret"}
)
"""Capability methods whose first argument is a key."""


class GuardedProvider(BaseProvider):
    """Any object with the four methods, its errors translated to `strongroom.errors`.

    `guarded_provider` gives instances the capability methods that the wrapped object has.
    """

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = self.owner = wrapped
        self.type_name = getattr(wrapped, "type_name", "") or type(wrapped).__name__  # type: ignore[misc]  # per object

    def get_secret(self, key: str) -> str:
        value = self._call(key, self.wrapped.get_secret, check_key(key))
        return self._checked("get_secret", value, key)

    def set_secret(self, key: str, value: str) -> None:
        self._call(key, self.wrapped.set_secret, check_key(key), check_value(value, key), written=[value])

    def delete_secret(self, key: str) -> None:
        self._call(key, self.wrapped.delete_secret, check_key(key))

    def list_secrets(self, prefix: str = "") -> list[str]:
        # Read to its end inside the guard: a generator would fail later, outside of it.
        # A prefix is not a key: an error does not name it as one, nor says that it was not found.
        found = self._call(None, partial(_whole, self.wrapped.list_secrets), prefix, prefix=prefix)
        keys = [self._checked("list_secrets", key) for key in self._of_kind("list_secrets", found, list)]
        # A third party's may heed no prefix: what it lists beyond must not be exported, copied or deleted.
        return visible_keys((key for key in keys if is_key(key)), prefix)

    def _checked(self, method: str, result: Any, key: str | None = None) -> str:
        if isinstance(result, str):
            return result
        raise self._not(
            "text", method, result, key=key, hint="a provider raises KeyError(key) for what is not there"
        )

    def _of_kind(self, method: str, result: Any, kind: type[T], key: str | None = None) -> T:
        if isinstance(result, kind):
            return result
        raise self._not(f"a {kind.__name__}", method, result, key=key)

    def _not(
        self, wanted: str, method: str, result: Any, *, key: str | None = None, hint: str | None = None
    ) -> StrongroomError:
        return StrongroomError(
            f"{self.type_name}: {method} returned a {type(result).__name__}, not {wanted}",
            key=key,
            provider=self.type_name,
            hint=hint,
        )

    def _of_method(self, name: str, result: Any, key: str) -> Any:
        """Return what the method `name` has returned, checked."""
        if name == "get_secret_version":
            return self._checked(name, result, key)
        if name in {"set_secret_if", "stage_secret"}:
            return self._of_kind(name, result, str, key)  # None would stand for "must not exist" next time
        if name == "describe_secret":
            return self._described(name, result, key)
        if name == "list_versions":
            return self._versions(name, result, key)
        return self._of_kind(name, result, Lease, key) if name in {"issue_lease", "renew_lease"} else result

    def _batch(self, method: str, asked: list[str]) -> Mapping[str, Any]:
        """Return what a batch gives, once it is known to be about no other keys."""
        found = self._call(None, partial(_copied, getattr(self.wrapped, method)), asked, keys=asked)
        result = self._of_kind(method, found, dict)
        if not result.keys() <= set(asked):
            raise StrongroomError(
                f"{self.type_name}: {method} returned keys that were not asked for", provider=self.type_name
            )
        return result

    def _described(self, method: str, result: Any, key: str) -> SecretMetadata:
        described = self._of_kind(method, result, SecretMetadata, key)
        self._of_kind(f"the version of {method}", described.version, str, key)
        self._of_kind(f"the tags of {method}", described.tags, Mapping, key)  # type: ignore[type-abstract]  # to look at it alone
        for time in (described.created_at, described.updated_at):
            self._aware(method, time, key)
        return described if described.key == key else replaced(described, key=key)

    def _versions(self, method: str, result: Any, key: str) -> list[SecretVersion]:
        versions = [
            self._of_kind(method, one, SecretVersion, key) for one in self._of_kind(method, result, list)
        ]
        for one in versions:
            self._of_kind(f"a version of {method}", one.version, str, key)
            self._aware(method, one.created_at, key)
        return versions

    def _aware(self, method: str, time: Any, key: str) -> None:
        if time is not None and self._of_kind(f"a time of {method}", time, datetime, key).tzinfo is None:
            raise StrongroomError(
                f"{self.type_name}: {method} returned a time without a zone",
                key=key,
                provider=self.type_name,
                hint="times are aware and in UTC, such as datetime.now(UTC)",
            )

    def _is_from_inside(self, error: Exception) -> bool:  # noqa: ARG002  # nothing is inside of a provider
        return False

    def __repr__(self) -> str:
        return f"<GuardedProvider of {type(self.wrapped).__name__}>"

    def _call(
        self,
        asked: str | None,
        method: Callable[..., Any],
        *args: Any,
        written: Iterable[object] = (),
        keys: Iterable[str] = (),
        prefix: str = "",
        **kwargs: Any,
    ) -> Any:
        try:
            return method(*args, **kwargs)
        except Exception as raised:  # a third party's provider may raise anything at all
            if self._is_from_inside(raised):
                raise
            from strongroom.runtime.disclosure import may_show

            holds = may_show(raised, written, [*keys, *filter(None, (asked, prefix))], self.owner)
            if not holds and isinstance(raised, StrongroomError | TypeError):
                raise
            error = raised
            if asked is None:  # a batch: the error may belong to one of its keys
                asked = next((one for one in keys if one == getattr(raised, "key", None)), None)
        # Outside the `except` block: where the cause could hold a value it must not even be the context.
        if not holds:
            raise _translate(error, asked, self.type_name) from error
        hint = f"its own error may hold a value and is not shown; it was raised at {raised_at(error)}"
        if isinstance(error, TypeError):
            said = f"{self.type_name} failed with TypeError; {hint}"
            raise TypeError(said)
        failure = _translate(error, asked, self.type_name)
        failure.hint = hint
        raise failure


def _translate(error: Exception, asked: str | None, provider: str) -> StrongroomError:
    if isinstance(error, StrongroomError):
        return bare_error(error, asked, provider)
    if isinstance(error, KeyError) and asked is not None and error.args == (asked,):
        return SecretNotFoundError(asked, provider=provider)
    summary = f"{provider} failed with {type(error).__name__}"
    if isinstance(error, PermissionError):
        return PermissionDeniedError(summary, key=asked, provider=provider)
    if isinstance(error, ConnectionError | TimeoutError):
        return BackendUnavailableError(summary, key=asked, provider=provider)
    return StrongroomError(summary, key=asked, provider=provider, hint="the cause is in the provider itself")


def _guarded_method(name: str) -> Callable[..., Any]:
    def method(self: GuardedProvider, *args: Any, **kwargs: Any) -> Any:
        key: Any = args[0] if args else kwargs.get("key", kwargs.get("lease"))
        # The values are the second argument, or in the only one: a mapping, or a lease.
        written: Iterable[object] = ()
        if isinstance(key, Lease):
            key, written = key.key, list(key.values.values())
        asked = check_key(key) if isinstance(key, str) or name in _KEYED else None
        keys: Iterable[str] = ()
        if name in {"set_secret_if", "stage_secret"}:
            value: Any = args[1] if len(args) > 1 else kwargs.get("value")
            written = [check_value(value, key)]
        elif name == "set_secrets":
            values: Any = args[0] if args else kwargs.get("values")
            secrets = {check_key(one): check_value(value, one) for one, value in dict(values).items()}
            args, kwargs = (secrets,), {}
            written, keys = list(secrets.values()), list(secrets)
        called = getattr(self.wrapped, name)
        if name == "list_versions":
            called = partial(_whole, called)
        result = self._call(asked, called, *args, written=written, keys=keys, **kwargs)
        return self._of_method(name, result, asked or "")

    method.__name__ = name
    return method


def _whole(method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return a list of what `method` returns, if that is more than one thing."""
    found = method(*args, **kwargs)
    return list(found) if isinstance(found, Iterable) and not isinstance(found, str | bytes) else found


def _copied(method: Callable[..., Any], *args: Any) -> Any:
    """Return a `dict` of the mapping that `method` returns."""
    found = method(*args)
    return dict(found) if isinstance(found, Mapping) else found


def _guarded_batch(self: GuardedProvider, keys: Iterable[str]) -> dict[str, str]:
    found = self._batch("get_secrets", check_keys(keys))
    return {key: self._checked("get_secrets", value, key) for key, value in found.items()}


def _guarded_descriptions(self: GuardedProvider, keys: Iterable[str]) -> dict[str, SecretMetadata]:
    found = self._batch("describe_secrets", check_keys(keys))
    return {key: self._described("describe_secrets", one, key) for key, one in found.items()}


_BATCHES: Mapping[str, Callable[..., Any]] = {
    "get_secrets": _guarded_batch,
    "describe_secrets": _guarded_descriptions,
}


class _GuardedMiddleware(GuardedProvider):
    """The guard around a third party's middleware; what that is around has its own guard, or needs none."""

    def _is_from_inside(self, error: Exception) -> bool:
        """Return whether `error` is strongroom's, and what the middleware is around has raised it."""
        trace = error.__traceback__ if isinstance(error, StrongroomError) else None
        if trace is None:
            return False
        while trace.tb_next is not None:
            trace = trace.tb_next
        return package_of(trace.tb_frame.f_globals.get("__name__")) != package_of(type(self.owner).__module__)


class _GuardedMethod(_GuardedMiddleware):
    """The guard around one method of a middleware."""

    def __init__(self, owner: Any, name: str, method: FunctionType) -> None:
        super().__init__(owner)
        self.wrapped = SimpleNamespace(**{name: MethodType(method, owner)})


def guarded_function(name: str, method: FunctionType) -> Any:
    """Return the method `name` of a third party's middleware with a guard around it."""
    guarded: Any = vars(GuardedProvider).get(name) or _BATCHES.get(name) or _guarded_method(name)

    @wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return guarded(_GuardedMethod(self, name, method), *args, **kwargs)

    return call


def guarded_provider(provider: Any, *, around: Any) -> Any:
    """Return a guard around a provider that has the four methods, as `strongroom.providers.guard` does."""
    methods = capability_methods(provider)
    namespace = {name: _BATCHES.get(name) or _guarded_method(name) for name in methods}
    if around is None:
        return type("GuardedProvider", (GuardedProvider,), namespace)(provider)
    guarded: Any = type("GuardedProvider", (_GuardedMiddleware,), namespace)(provider)
    guarded.inner = around
    return guarded
