"""The audit trail: who did what to which secret, in a log that reveals changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom._lazy import lazy_exports

if TYPE_CHECKING:
    from strongroom.audit.hook import (
        AuditLoggingHook,
    )
    from strongroom.audit.reason import (
        because,
    )
    from strongroom.audit.verify import (
        AuditReport,
        verify_audit_log,
    )

__all__ = ["AuditLoggingHook", "AuditReport", "because", "verify_audit_log"]

_HOMES = {
    "AuditLoggingHook": "hook",
    "AuditReport": "verify",
    "because": "reason",
    "verify_audit_log": "verify",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
