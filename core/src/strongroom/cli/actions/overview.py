"""What the pages of `serve` show of a registry: states and names, never a value."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from strongroom.errors import SecretNotFoundError, StrongroomError, TenantContextError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from strongroom.audit.verify import AuditReport
    from strongroom.cli.audit_logs import AuditLog
    from strongroom.cli.context import GlobalOptions
    from strongroom.registry import SecretProviderRegistry

__all__ = ["Overview"]

_LAST_ENTRIES = 20
_LEASED = "a lease, which is issued to those who read it"
_REST = 19
"""How many times as long as a verification took the next one is waited for."""


class Overview:
    """Looks at a registry as `check`, `rotate --status` and `audit verify` do.

    Args:
        settings: The options of the command, for the spec's audit logs.
        clock: Gives seconds, from any beginning.
    """

    def __init__(self, settings: GlobalOptions, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._verifying = threading.Lock()
        self._verified: dict[str, _Verified] = {}

    def secrets(self, registry: SecretProviderRegistry) -> list[dict[str, Any]]:
        """Return name, key, status and problem of each declared secret, as `check` finds them.

        Leases are not read: the server would keep one that nobody uses alive as long as it runs.
        """
        from strongroom.cli.declared.rotations import in_flight
        from strongroom.cli.scanning.leased import without_leases
        from strongroom.declarations.resolution import Resolution
        from strongroom.declarations.resolve import mark_due, resolve_all, select_group

        declared = select_group(registry.plan)
        read = without_leases(registry, declared)
        resolutions = mark_due(registry, resolve_all(registry, read))
        secrets = {
            name: resolutions.get(name) or Resolution(plan, "ok", problem=_LEASED)
            for name, plan in declared.items()
        }
        begun = in_flight(registry)
        rows = []
        for name, one in secrets.items():
            rotating = begun.get(one.plan.key) if one.status in {"ok", "due"} else None
            status, problem = ("due", rotating.state) if rotating is not None else (one.status, one.problem)
            rows.append({"name": name, "key": one.plan.key, "status": status, "problem": problem})
        return rows

    def rotations(self, registry: SecretProviderRegistry) -> list[dict[str, Any]]:
        """Return the state of each declared rotation; rotators retire values whose time is over.

        One that only a tenant can look at has `needs_tenant`.
        """
        from strongroom.cli.declared.rotations import declared_rotations, rotation_of

        rows = []
        for key in declared_rotations(registry.plan):
            row: dict[str, Any] = {"key": key, "due_at": None, "last_error": None}
            try:
                status = rotation_of(registry, key).status_of(key)
            except SecretNotFoundError:
                row["state"] = "absent"
            except StrongroomError as error:
                needs_tenant = isinstance(error, TenantContextError)
                row |= {"state": "unknown", "last_error": error.message, "needs_tenant": needs_tenant}
            else:
                row |= {
                    "state": status.state,
                    "rotated_at": status.rotated_at,
                    "due_at": status.due_at,
                    "last_error": status.last_error,
                }
            rows.append(row)
        return rows

    def has_rotators(self, registry: SecretProviderRegistry) -> bool:
        """Return whether a rotator may have to retire a value after its time of grace."""
        return any((one.rotate or {}).get("rotator") for one in registry.plan.secrets.values())

    def leases(self, registry: SecretProviderRegistry) -> list[dict[str, Any]]:
        """Return the leases that this process holds, without their values."""
        return [
            {
                "pipeline": name,
                "tenant": tenant,
                "key": lease.key,
                "expires_at": lease.expires_at,
                "renewable": lease.renewable,
            }
            for name, leases in _live_leases(registry)
            for (tenant, _), lease in leases.current().items()
        ]

    def audit(self) -> list[dict[str, Any]]:
        """Return whether each audit log of the spec verifies, and its last entries, the newest first."""
        from strongroom.audit.query import last_entries
        from strongroom.cli.audit_logs import chosen_logs
        from strongroom.cli.output import counted

        try:
            logs = chosen_logs(self._settings, [], None)
        except StrongroomError:  # there is none, or its key is in a pipeline
            return []
        rows = []
        for log in logs:
            try:
                report, moment = self._verify(log)
                last = last_entries(log.path, _LAST_ENTRIES)
            except StrongroomError as error:
                rows.append({"path": log.path, "ok": False, "finding": error.message, "entries": []})
                continue
            ok = report.ok and report.anchored
            finding = (
                f"{counted(report.entries, 'entry', 'entries')}, unchanged" if ok else str(report.reason)
            )
            finding += f" (at {moment:%H:%M:%S} UTC)"
            rows.append({"path": log.path, "ok": ok, "finding": finding, "entries": last[::-1]})
        return rows

    def _verify(self, log: AuditLog) -> tuple[AuditReport, datetime]:
        """Return what verifying a log came to, and when that was.

        The work grows with the log, and a server has others to answer: it takes a twentieth of the time at
        most. Callers that ask meanwhile wait for the same result.
        """
        from strongroom.audit.verify import as_one

        with self._verifying:
            begun = self._clock()
            known = self._verified.get(log.path)
            if known is None or begun >= known.until:
                moment = datetime.now(UTC)
                report = as_one(log.verify())
                ended = self._clock()
                known = _Verified(report, moment, ended + _REST * (ended - begun))
                self._verified[log.path] = known
            return known.report, known.moment


class _Verified:
    """A report, when it was made, and the time of the clock from which on the log is verified again."""

    __slots__ = ("moment", "report", "until")

    def __init__(self, report: AuditReport, moment: datetime, until: float) -> None:
        self.report, self.moment, self.until = report, moment, until


def _live_leases(registry: SecretProviderRegistry) -> Iterator[tuple[str, Any]]:
    """Yield the live leases of each pipeline that has been used."""
    from strongroom.providers.base import layers

    for name, pipeline in registry.used_pipelines().items():
        for layer in layers(pipeline):
            leases = getattr(layer, "leases", None)
            if callable(getattr(leases, "current", None)):
                yield name, leases
