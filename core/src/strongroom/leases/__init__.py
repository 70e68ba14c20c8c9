"""Leases: credentials for a limited time, kept alive while a process needs them.

`LeasingProvider` is the base of a provider whose secrets are leases:

```python
class AcmeLeases(LeasingProvider):
    type_name = "acme.leases"

    def issue_lease(self, key): ...
    def renew_lease(self, lease): ...
    def revoke_lease(self, lease): ...
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom._lazy import lazy_exports

if TYPE_CHECKING:
    from strongroom.leases.ledger import LeaseLedger, LedgerEntry, ProcessLedger, state_folder
    from strongroom.leases.live import LiveLeases
    from strongroom.leases.provider import LeasingProvider

__all__ = [
    "LeaseLedger",
    "LeasingProvider",
    "LedgerEntry",
    "LiveLeases",
    "ProcessLedger",
    "state_folder",
]

_HOMES = {
    "LeaseLedger": "ledger",
    "LeasingProvider": "provider",
    "LedgerEntry": "ledger",
    "LiveLeases": "live",
    "ProcessLedger": "ledger",
    "state_folder": "ledger",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
