"""The calls to a server about leases: for a tenant, seen by hooks, and noted in the ledger."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from strongroom.errors import (
    SecretNotFoundError,
    StrongroomError,
    UnsupportedOperationError,
    show_error,
    show_key,
)
from strongroom.providers import Lease
from strongroom.providers.base import innermost
from strongroom.tenancy import TenantContext

if TYPE_CHECKING:
    from strongroom.leases.ledger import ProcessLedger
    from strongroom.providers import LeaseProvider

__all__ = ["LeaseCalls", "LeaseName", "Observer", "is_revocable"]

T = TypeVar("T")
LeaseName = tuple[str | None, str]
"""The tenant, where tenants have leases of their own, and the key."""
_log = logging.getLogger("strongroom.leases")


class Observer(Protocol):
    """Sees each operation on a lease: a pipeline."""

    name: str

    def run_with_hooks(self, operation: str, key: str, call: Callable[[], T]) -> T: ...
    def observed(self, value: str) -> str: ...


class LeaseCalls:
    """Issues, renews and revokes the leases of one provider.

    Args:
        provider: Does it.
        ledger: Where they are noted.
        observer: Returns the pipeline whose hooks see the operations, None if there is none.
        asked_as: Returns the callers' key for the provider's key.
    """

    def __init__(
        self,
        provider: LeaseProvider,
        ledger: ProcessLedger | None,
        observer: Callable[[], Observer | None],
        asked_as: Callable[[str], str],
    ) -> None:
        self._provider = provider
        self._ledger = ledger
        self._observer = observer
        self.asked_as = asked_as

    def issue(self, name: LeaseName) -> Lease:
        """Return a new lease. If a hook refuses it, or it is not valid, it is revoked at once."""
        tenant, key = name
        observer = self._observer()
        issued: list[Lease] = []

        def issue() -> Lease:
            lease = self._provider.issue_lease(key)
            issued.append(lease)
            self._check(lease, key)
            if self._ledger is not None:  # at once: whatever ends this process, `lease sweep` knows of it
                self._ledger.issued(lease, tenant, observer.name if observer is not None else "")
            return lease

        try:
            with _under(tenant):
                return self._observed("issue", key, issue)
        except BaseException:  # a hook may refuse what was issued
            for one in issued:
                self.revoke(name, one)
            raise

    def renew(self, name: LeaseName, lease: Lease) -> Lease:
        """Return `lease` with its new end; the caller passes it to `note_renewal`."""
        with _under(name[0]):
            return self._observed("renew", name[1], partial(self._renew, name, lease))

    def _renew(self, name: LeaseName, lease: Lease) -> Lease:
        renewed = self._provider.renew_lease(lease)
        self._check(renewed, name[1])
        return renewed

    @property
    def can_revoke(self) -> bool:
        """Whether the backend ends leases before their time."""
        return _can_revoke(self._provider)

    def ends(self, lease: Lease) -> bool:
        """Return whether `revoke` ends `lease` before its time."""
        return is_revocable(self._provider, lease)

    def revoke(self, name: LeaseName, lease: Lease) -> bool:
        """End `lease` now if it can be ended, and return whether nothing is left to be done.

        If that fails it stays in the ledger, and is warned of.
        """
        if not self.ends(lease):  # an event would report what nobody does
            self.note_end(lease)
            return True
        try:
            with _under(name[0]):
                self._observed("revoke", name[1], lambda: self._provider.revoke_lease(lease))
        except UnsupportedOperationError:
            pass  # it ends by itself
        except SecretNotFoundError:
            pass  # it has ended
        except Exception as error:  # noqa: BLE001  # the others must be revoked too; the ledger keeps this one
            _log.warning(
                "the lease of %s is not revoked (%s); `strongroom lease sweep` does it later",
                show_key(self.asked_as(name[1])), show_error(error),
            )  # fmt: skip
            return False
        self.note_end(lease)
        return True

    def note_renewal(self, lease: Lease) -> None:
        """Write the new end of `lease` into the ledger."""
        if self._ledger is not None:
            self._ledger.renewed(lease)

    def note_end(self, lease: Lease) -> None:
        """Take `lease`, which has ended, out of the ledger."""
        if self._ledger is not None:
            self._ledger.ended(lease)

    def show_values(self, lease: Lease) -> None:
        """Let the pipeline know the values of `lease`, so that they are masked."""
        observer = self._observer()
        if observer is not None:
            for value in lease.values.values():
                observer.observed(value)

    def _observed(self, operation: str, key: str, call: Callable[[], T]) -> T:
        observer = self._observer()
        return call() if observer is None else observer.run_with_hooks(operation, self.asked_as(key), call)

    def _check(self, lease: Lease, key: str) -> None:
        """Raise if a lease breaks the promises of `Lease`: a third party may have made it."""
        times: list[Any] = [lease.issued_at, lease.expires_at]
        if not all(isinstance(one, datetime) for one in times):
            wrong = "has times that are not of datetime"
        elif any(one.tzinfo is None for one in times):
            wrong = "has times without a zone"
        elif not all(isinstance(one, str) for pair in lease.values.items() for one in pair):
            wrong = "has values that are not text"
        else:
            return
        name = getattr(self._provider, "type_name", type(self._provider).__name__)
        raise StrongroomError(f"{name}: the lease of {show_key(key)} {wrong}", key=key, provider=name)


def is_revocable(provider: Any, lease: Lease) -> bool:
    """Return whether `lease` can be ended before its time: it has an id, and its backend ends leases."""
    return bool(lease.id) and _can_revoke(provider)


def _can_revoke(provider: Any) -> bool:
    return bool(getattr(innermost(provider), "revocable", True))


@contextmanager
def _under(tenant: str | None) -> Iterator[None]:
    with TenantContext(tenant) if tenant is not None else nullcontext():
        yield
