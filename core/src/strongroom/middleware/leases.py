"""Reads answered from live leases, outside of all middleware that could keep their values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from strongroom.keys import check_keys
from strongroom.leases.calls import LeaseName
from strongroom.leases.ledger import ProcessLedger
from strongroom.leases.live import LiveLeases
from strongroom.middleware.base import Middleware
from strongroom.middleware.tenant import keeps_tenants_apart
from strongroom.providers import Closeable, Lease, SecretChange, Subscribers

__all__ = ["LeaseMiddleware"]


class LeaseMiddleware(Middleware):
    """The outermost layer of a pipeline whose provider issues leases; it keeps one for each key.

    Args:
        inner: What issues them: a `LeaseProvider`, with middleware around it.
        ledger: Where they are noted.
        observer: Returns the pipeline whose hooks see the operations.
        asked_as: Returns the callers' key for the key of `inner`.
    """

    _offered = frozenset({"get_secrets", "subscribe_changes"})

    def __init__(
        self,
        inner: Any,
        *,
        ledger: ProcessLedger | None = None,
        observer: Callable[[], Any] = lambda: None,
        asked_as: Callable[[str], str] = lambda key: key,
    ) -> None:
        super().__init__(inner)
        self._subscribers: dict[str | None, Subscribers] = {}
        self.leases = LiveLeases(
            self.inner,
            by_tenant=keeps_tenants_apart(inner),
            ledger=ledger,
            observer=observer,
            asked_as=asked_as,
            changed=self._changed,
        )

    def address(self) -> dict[str, Any]:
        """Return nothing: it does not change which secret is read."""
        return {}

    def get_secret(self, key: str) -> str:
        return self.leases.text(key)

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        return self.leases.texts(check_keys(keys))

    def subscribe_changes(self, callback: Callable[[list[SecretChange]], object]) -> Closeable:
        """Call `callback` with each lease that replaces another one, its id as the version."""
        tenant = self.leases.name_of("")[0]
        return self._subscribers.setdefault(tenant, Subscribers()).add(callback)

    def _changed(self, name: LeaseName, lease: Lease) -> None:
        tenant, key = name
        subscribers = self._subscribers.get(tenant)
        if subscribers is not None:
            subscribers.tell([SecretChange(key, "set", lease.id or None, datetime.now(UTC))])

    def close(self) -> None:
        """Revoke the leases, and close the inner provider."""
        try:
            self.leases.close()
        finally:
            super().close()
