"""The base class of providers that follow strongroom's rules themselves, and the layers around a provider."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType

from strongroom.errors import (
    ConflictError,
    UnsupportedOperationError,
    show_key,
)
from strongroom.runtime.pickling import ProcessBound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Final, Self

__all__ = [
    "CAPABILITY_METHODS",
    "BaseProvider",
    "capability_methods",
    "expect_version",
    "has_capability",
    "innermost",
    "layers",
    "package_of",
    "unsupported",
]

CAPABILITY_METHODS: Final = {
    "BatchReader": ("get_secrets",),
    "BatchWriter": ("set_secrets",),
    "Describer": ("describe_secret",),
    "BatchDescriber": ("describe_secrets",),
    "VersionReader": ("list_versions", "get_secret_version"),
    "ConditionalWriter": ("set_secret_if",),
    "StagedWriter": ("stage_secret", "promote_version", "discard_version"),
    "Watchable": ("subscribe_changes",),
    "LeaseProvider": ("issue_lease", "renew_lease", "revoke_lease"),
    "Closeable": ("close",),
}
"""Each capability, by the name of its protocol in `strongroom.providers`, with the methods that make it."""


def has_capability(thing: object, name: str) -> bool:
    """Return whether `thing` has the methods of the protocol `name`.

    `isinstance` with the protocol gives the same, and collects the protocol's members each time.
    """
    return all(getattr(thing, method, None) is not None for method in CAPABILITY_METHODS[name])


def capability_methods(provider: object) -> frozenset[str]:
    """Return the names of the capability methods that `provider` has."""
    return frozenset(
        method
        for name, methods in CAPABILITY_METHODS.items()
        if has_capability(provider, name)
        for method in methods
    )


def layers(chain: Any) -> Iterator[Any]:
    """Yield the layers of a pipeline from the outside: itself, its middleware, and the provider."""
    while True:
        yield chain
        if not hasattr(chain, "inner"):
            return
        chain = chain.inner


def innermost(chain: Any) -> Any:
    """Return the provider of a pipeline, below all middleware; of a fallback, that of its first member."""
    while hasattr(chain, "inner"):
        chain = chain.inner
    return chain


def unsupported(operation: str, provider: object, key: str | None = None) -> UnsupportedOperationError:
    """Return the error for a capability that `provider` does not have."""
    name = getattr(provider, "type_name", None) or type(provider).__name__
    about = f" for {show_key(key)}" if key is not None else ""
    return UnsupportedOperationError(
        f"{name} has no {operation}{about}",
        key=key,
        provider=name,
        hint="use a provider that has it: the reference of each lists its capabilities",
    )


def expect_version(provider: str, key: str, current: str | None, expected: str | None) -> None:
    """Raise unless a secret is at the version that a conditional write expects.

    Args:
        provider: The type name, for the message.
        key: The key.
        current: The version that the secret is at, None if it is not there.
        expected: The version that the caller has read, None for a secret that must not be there.

    Raises:
        ConflictError: The versions differ.
    """
    if current != expected:
        there = f"is at version {current}" if current is not None else "is not there"
        raise ConflictError(
            f"secret {show_key(key)} {there}",
            key=key,
            provider=provider,
            hint="read it again, then decide",
        )


class BaseProvider(ProcessBound):
    """A base class for providers: a context manager with a quiet `repr`, and one promise.

    Deriving from it promises that the methods raise nothing but `strongroom.errors` (and
    `TypeError` for a value that is not text), so that nothing needs to translate their errors again.

    Attributes:
        type_name: The name of its type in a spec.
        counts_again: Whether the versions of a secret that is made again after its deletion are counted from
            the beginning; then `updated_at` distinguishes two of one name, and is always told.
    """

    if TYPE_CHECKING:  # at run time, `get_type_hints` of what derives from this would need `typing`
        type_name: ClassVar[str]
        counts_again: ClassVar[bool]
    type_name = ""
    counts_again = False

    def close(self) -> None:
        """Give back what the provider holds open; a second call is harmless."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


def package_of(module: object) -> str:
    """Return the name of the topmost package of a module, by the module's name."""
    return str(module).partition(".")[0]
