"""The base of middleware: it has just the capabilities that the inner provider has.

Write capability methods in the class like any others. They exist on an instance only if the inner provider
has
them too: as real methods of a class chosen at construction, because `isinstance` on a runtime-checkable
protocol looks at the class from Python 3.12 on. What a class does not override is passed on unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Self

from strongroom.providers.base import CAPABILITY_METHODS, BaseProvider, capability_methods, has_capability
from strongroom.providers.guarding import guard, guarded_method

if TYPE_CHECKING:
    from strongroom.providers import (
        Closeable,
        FullProvider,
        Lease,
        SecretChange,
        SecretMetadata,
        SecretVersion,
    )

__all__ = ["Middleware"]

# `close` is in every middleware: closing the outermost closes what is inside.
_REQUIRED = ("get_secret", "set_secret", "delete_secret", "list_secrets")
_OPTIONAL = frozenset(name for names in CAPABILITY_METHODS.values() for name in names) - {"close"}


class _PassThrough:
    """The capability methods that call the inner provider."""

    inner: FullProvider

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        return self.inner.get_secrets(keys)

    def set_secrets(self, values: Mapping[str, str]) -> None:
        self.inner.set_secrets(values)

    def describe_secret(self, key: str) -> SecretMetadata:
        return self.inner.describe_secret(key)

    def describe_secrets(self, keys: Iterable[str]) -> dict[str, SecretMetadata]:
        return self.inner.describe_secrets(keys)

    def list_versions(self, key: str) -> list[SecretVersion]:
        return self.inner.list_versions(key)

    def get_secret_version(self, key: str, version: str) -> str:
        return self.inner.get_secret_version(key, version)

    def set_secret_if(self, key: str, value: str, expected_version: str | None) -> str:
        return self.inner.set_secret_if(key, value, expected_version)

    def stage_secret(self, key: str, value: str) -> str:
        return self.inner.stage_secret(key, value)

    def promote_version(self, key: str, version: str, *, expected_version: str | None) -> None:
        self.inner.promote_version(key, version, expected_version=expected_version)

    def discard_version(self, key: str, version: str) -> None:
        self.inner.discard_version(key, version)

    def subscribe_changes(self, callback: Callable[[list[SecretChange]], object]) -> Closeable:
        return self.inner.subscribe_changes(callback)

    def issue_lease(self, key: str) -> Lease:
        return self.inner.issue_lease(key)

    def renew_lease(self, lease: Lease) -> Lease:
        return self.inner.renew_lease(lease)

    def revoke_lease(self, lease: Lease) -> None:
        self.inner.revoke_lease(lease)


class Middleware(BaseProvider):
    """A layer around a provider; itself a provider.

    A third party's methods are guarded as those of its providers are: exceptions other than those of
    `strongroom.errors` are translated, without a value in them, and an answer of a wrong type is an error.
    What the inner provider raises is passed on as it is.

    Args:
        inner: The provider that this one is layered around: any object with the four methods.
    """

    _get: Callable[[str], str]
    """The inner `get_secret`, bound by middleware that saves a call on each read."""

    _capability_methods: ClassVar[Mapping[str, Callable[..., Any]]] = {
        name: vars(_PassThrough)[name] for name in _OPTIONAL
    }

    _withheld: ClassVar[frozenset[str]] = frozenset()
    """Capability methods that instances never have, whatever the inner provider has."""
    _offered: ClassVar[frozenset[str]] = frozenset()
    """Capability methods that instances always have."""

    def __init_subclass__(cls, *, chosen: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if chosen:
            return
        own = {name: vars(cls)[name] for name in _OPTIONAL if name in vars(cls)}
        for name in own:
            delattr(cls, name)
        cls._capability_methods = {**cls._capability_methods, **own}

    def __new__(cls, inner: Any, *_args: Any, **_kwargs: Any) -> Self:
        methods = (capability_methods(inner) & _OPTIONAL) - cls._withheld | cls._offered
        chosen: Any = _class_for(cls, methods)  # type: ignore[arg-type]  # classes are hashable
        made: Self = object.__new__(chosen)
        return made

    def __init__(self, inner: Any) -> None:
        # A `FullProvider` for the type checker: `__new__` has chosen a class with the capabilities of
        # `inner`.
        self.inner: FullProvider = guard(inner)

    def with_inner(self, inner: Any) -> Self:
        """Return a copy of this middleware around another provider, which has the same capabilities."""
        copy = object.__new__(type(self))  # not `copy.copy`: `__new__` would choose a class again
        vars(copy).update(vars(self))
        copy.inner = guard(inner)
        if hasattr(copy, "_get"):
            copy._get = copy.inner.get_secret
        return copy

    def get_secret(self, key: str) -> str:
        return self.inner.get_secret(key)

    def set_secret(self, key: str, value: str) -> None:
        self.inner.set_secret(key, value)

    def delete_secret(self, key: str) -> None:
        self.inner.delete_secret(key)

    def list_secrets(self, prefix: str = "") -> list[str]:
        return self.inner.list_secrets(prefix)

    def close(self) -> None:
        """Close the inner provider, where it can be closed."""
        if has_capability(self.inner, "Closeable"):
            self.inner.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} around {self.inner!r}>"


@lru_cache(maxsize=512)
def _class_for(cls: Any, methods: frozenset[str]) -> Any:
    namespace = {name: guarded_method(name, cls._capability_methods[name]) for name in methods}
    for name in _REQUIRED:
        method = getattr(cls, name)
        guarded = guarded_method(name, method)
        if guarded is not method:
            namespace[name] = guarded
    namespace |= {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    return type(cls)(cls.__name__, (cls,), namespace, chosen=True)
