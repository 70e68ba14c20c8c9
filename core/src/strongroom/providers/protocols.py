"""What a provider is: four methods, and capabilities that it may have besides.

The capabilities are runtime-checkable protocols: a provider has one by having its methods, and
nothing is declared twice. `capabilities` lists them; `guard` lets any object with the four methods
take part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from strongroom.providers.base import CAPABILITY_METHODS, has_capability

if TYPE_CHECKING:
    from strongroom.providers.metadata import Lease, SecretChange, SecretMetadata, SecretVersion

__all__ = [
    "CAPABILITIES",
    "BatchDescriber",
    "BatchReader",
    "BatchWriter",
    "Closeable",
    "ConditionalWriter",
    "Describer",
    "FullProvider",
    "LeaseProvider",
    "SecretProvider",
    "StagedWriter",
    "VersionReader",
    "Watchable",
    "capabilities",
]


@runtime_checkable
class SecretProvider(Protocol):
    """The interface that every backend, middleware and registry has."""

    def get_secret(self, key: str) -> str:
        """Return the value of `key`, or raise `SecretNotFoundError`."""
        ...

    def set_secret(self, key: str, value: str) -> None:
        """Create or replace `key`."""
        ...

    def delete_secret(self, key: str) -> None:
        """Delete `key`, or raise `SecretNotFoundError`."""
        ...

    def list_secrets(self, prefix: str = "") -> list[str]:
        """Return all keys whose text starts with `prefix`, whole and sorted."""
        ...


@runtime_checkable
class BatchReader(Protocol):
    """Reads many keys at once."""

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the values of those of `keys` that exist.

        Any failure other than absence raises and names its key: also "not found" for another reason.
        """
        ...


@runtime_checkable
class BatchWriter(Protocol):
    """Writes many keys at once."""

    def set_secrets(self, values: Mapping[str, str]) -> None:
        """Create or replace all keys of `values`, in one transaction if the backend can."""
        ...


@runtime_checkable
class Describer(Protocol):
    """Describes a secret without its value."""

    def describe_secret(self, key: str) -> SecretMetadata:
        """Return version, dates and tags of `key`."""
        ...


@runtime_checkable
class BatchDescriber(Protocol):
    """Describes many secrets at once."""

    def describe_secrets(self, keys: Iterable[str]) -> dict[str, SecretMetadata]:
        """Return version, dates and tags of those of `keys` that exist.

        A key that readers would not find is left out, whatever the reason. Any other failure raises.
        """
        ...


@runtime_checkable
class VersionReader(Protocol):
    """Keeps older versions."""

    def list_versions(self, key: str) -> list[SecretVersion]:
        """Return the versions of `key`, newest first."""
        ...

    def get_secret_version(self, key: str, version: str) -> str:
        """Return the value that `key` had in `version`."""
        ...


@runtime_checkable
class ConditionalWriter(Protocol):
    """Writes only over the version that the caller has seen."""

    def set_secret_if(self, key: str, value: str, expected_version: str | None) -> str:
        """Write and return the new version, or raise `ConflictError`; `None` means: must not exist."""
        ...


@runtime_checkable
class StagedWriter(Protocol):
    """Holds a version that readers do not get yet."""

    def stage_secret(self, key: str, value: str) -> str:
        """Store a pending version of `key` and return its id."""
        ...

    def promote_version(self, key: str, version: str, *, expected_version: str | None) -> None:
        """Make `version` the current one if `expected_version` still is; otherwise raise `ConflictError`."""
        ...

    def discard_version(self, key: str, version: str) -> None:
        """Drop a pending version."""
        ...


@runtime_checkable
class Closeable(Protocol):
    """Holds something open."""

    def close(self) -> None:
        """Release connections and files; calling it again is harmless."""
        ...


@runtime_checkable
class Watchable(Protocol):
    """Reports changes as they happen, by any program."""

    def subscribe_changes(self, callback: Callable[[list[SecretChange]], object]) -> Closeable:
        """Call `callback` with every change from now on, until the returned handle is closed.

        What changed in one transaction comes in one list, and lists come in order, one at a time, on any
        thread. An empty list says that changes may have been missed: the subscription was cut off, and works
        again. Reserved names (`strongroom.keys.is_reserved`) are left out. `callback` must return soon, and
        must not raise. In a forked child the subscriptions of its parent have ended, without a word on the
        parent's connections. `strongroom.providers.Subscribers` keeps the callbacks for a provider.

        Raises:
            BackendUnavailableError: The subscription cannot be made at present.
        """
        ...


@runtime_checkable
class LeaseProvider(Protocol):
    """Issues credentials that live for a limited time."""

    def issue_lease(self, key: str) -> Lease:
        """Return new credentials for `key`, or raise `SecretNotFoundError`."""
        ...

    def renew_lease(self, lease: Lease) -> Lease:
        """Return `lease` with its new end.

        Raises:
            SecretNotFoundError: The backend does not know the lease any more.
            UnsupportedOperationError: It is not renewable.
        """
        ...

    def revoke_lease(self, lease: Lease) -> None:
        """End `lease` now; one that has ended already is not an error.

        Raises:
            UnsupportedOperationError: The backend cannot do that.
        """
        ...


class FullProvider(
    SecretProvider,
    BatchReader,
    BatchWriter,
    Describer,
    BatchDescriber,
    VersionReader,
    ConditionalWriter,
    StagedWriter,
    Watchable,
    LeaseProvider,
    Closeable,
    Protocol,
):
    """A provider with every capability, for type checkers.

    Code that has made sure by `capabilities` which methods are there may speak of a provider as this.
    """


CAPABILITIES: Mapping[type, tuple[str, ...]] = {
    protocol: CAPABILITY_METHODS[protocol.__name__]
    for protocol in (
        BatchReader,
        BatchWriter,
        Describer,
        BatchDescriber,
        VersionReader,
        ConditionalWriter,
        StagedWriter,
        Watchable,
        LeaseProvider,
        Closeable,
    )
}
"""Each capability with the methods that make it."""


def capabilities(provider: object) -> frozenset[type]:
    """Return the capability protocols that `provider` has."""
    return frozenset(one for one in CAPABILITIES if has_capability(provider, one.__name__))
