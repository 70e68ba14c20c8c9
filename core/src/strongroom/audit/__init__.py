"""The audit trail: who did what to which secret, in a log that shows when it was changed."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strongroom.audit.hook import AuditLoggingHook
    from strongroom.audit.verify import AuditReport, verify_audit_log
    from strongroom.audit.who import because

__all__ = ["AuditLoggingHook", "AuditReport", "because", "verify_audit_log"]

_HOMES = {
    "AuditLoggingHook": "hook",
    "AuditReport": "verify",
    "because": "who",
    "verify_audit_log": "verify",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        message = f"module 'strongroom.audit' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(f"strongroom.audit.{_HOMES[name]}"), name)
