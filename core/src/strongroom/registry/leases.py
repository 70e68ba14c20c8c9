"""Handles on live leases, and how a registry finds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

from strongroom.errors import StrongroomError, UnsupportedOperationError, show_key
from strongroom.leases.calls import LeaseName
from strongroom.leases.live import LiveLeases
from strongroom.middleware.renaming import rename_error
from strongroom.providers import Lease
from strongroom.runtime.coroutines import refuse_async
from strongroom.runtime.frozen import replaced
from strongroom.runtime.pickling import ProcessBound
from strongroom.runtime.scopes import as_here

__all__ = ["LiveLease", "Subscription", "leases_of", "refuse"]

T = TypeVar("T")


def leases_of(chain: Any, key: str) -> tuple[LiveLeases, LeaseName] | None:
    """Return what keeps the lease of `key`, and its name there; None if `chain` issues no leases."""
    node = chain
    while node is not None:
        leases = getattr(node, "leases", None)
        if isinstance(leases, LiveLeases):
            return leases, leases.name_of(key)
        members = getattr(node, "members", None)
        if members is not None:
            node = members[0]
            continue
        stored = getattr(node, "stored", None)
        if callable(stored) and hasattr(node, "inner"):
            key = stored(key)
        node = getattr(node, "inner", None)
    return None


class LiveLease(ProcessBound):
    """A handle on the lease of one key, which is renewed and replaced as long as the registry is open.

    All handles on a key share one lease. In a forked child, a handle has the child's own lease.

    Args:
        leases: What keeps it.
        name: Its name there.
        key: The key as the caller gave it; leases and errors have it, too.
        pipeline: The name of the pipeline, for errors.
    """

    def __init__(self, leases: LiveLeases, name: LeaseName, key: str, pipeline: str) -> None:
        self._leases = leases
        self._name = name
        self._pipeline = pipeline
        self._ends: list[Callable[[], None]] = []
        self.key = key

    @property
    def values(self) -> Mapping[str, str]:
        """The values that are valid now.

        Raises:
            BackendUnavailableError: The lease has ended, and could not be renewed or replaced.
        """
        return self._asked(self._leases.lease).values

    @property
    def expires_at(self) -> datetime:
        """When these values end, unless the lease is renewed; raises as `values` does."""
        return self.lease.expires_at

    @property
    def lease(self) -> Lease:
        """The lease that is held now; raises as `values` does."""
        return self._own(self._asked(self._leases.lease))

    def seconds_left(self) -> tuple[float, float]:
        """Return the seconds until the values end, and those that they had when they were new."""
        return self._asked(self._leases.seconds_left)

    def seconds_left_now(self) -> tuple[float, float] | None:
        """Return what `seconds_left` does, without waiting; None if the lease has ended."""
        return self._leases.seconds_left_now(self._name)

    def check(self) -> None:
        """Ask the server whether the lease still lives, and replace it if it does not.

        For a caller whose login with its values was refused. The server is asked at most once a second.
        """
        self._leases.check(self._name)

    def subscribe(self, callback: Callable[[Lease], object]) -> Subscription:
        """Call `callback` with each `Lease` that replaces another, until the returned handle is closed.

        The tenant and actor of the callback are those of this call, no matter whose read needed the lease.

        Raises:
            TypeError: `callback` cannot be called, or is a coroutine function.
        """
        if not callable(callback):
            raise TypeError(f"a {type(callback).__name__} is not a callback")
        refuse_async("lease", callback=callback)
        call = as_here(callback)
        made = Subscription(self._leases.subscribe(self._name, lambda lease: call(self._own(lease))))
        self._ends.append(made.close)
        return made

    def close(self) -> None:
        """End the subscriptions of this handle; the lease lives on."""
        ends, self._ends = self._ends, []
        for end in ends:
            end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<LiveLease of {show_key(self.key)}>"

    def _own(self, lease: Lease) -> Lease:
        """Return a lease by the caller's key: a route may strip a prefix of it."""
        return lease if lease.key == self.key else replaced(lease, key=self.key)

    def _asked(self, ask: Callable[[LeaseName], T]) -> T:
        """Return what `ask` returns for the lease; its errors name the caller's key, and the pipeline."""
        try:
            return ask(self._name)
        except StrongroomError as error:
            rename_error(error, {self._name[1]: self.key})
            if error.pipeline is None:
                error.pipeline = self._pipeline
            raise


class Subscription:
    """A subscription, which `close` ends; a second call is harmless."""

    def __init__(self, end: Callable[[], None]) -> None:
        self.close = end


def refuse(key: str, provider: Any) -> UnsupportedOperationError:
    """Return the error for a key whose pipeline issues no leases."""
    name = getattr(provider, "type_name", None) or type(provider).__name__
    return UnsupportedOperationError(
        f"{name} issues no lease for {show_key(key)}",
        key=key,
        provider=name,
        hint="vault.leases and aws.sts issue leases; `watch` follows a secret that is rotated",
    )
