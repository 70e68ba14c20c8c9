"""The audit logs that a command uses, and their keys."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from strongroom.audit.key_source import VARIABLE, own_key_file
from strongroom.audit.pieces import UNREADABLE, beside, open_piece
from strongroom.audit.verify import AuditReport, verify_pieces
from strongroom.cli.errors import UsageError
from strongroom.errors import StrongroomError

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions
    from strongroom.spec.plan import ComponentPlan

__all__ = ["AuditLog", "chosen_logs", "in_order", "there"]

_ROTATED = re.compile(r"[.-][0-9]+\Z")
"""What logrotate adds to a name: a number, or with `dateext` a date."""


class AuditLog(NamedTuple):
    """A log, with the key that the spec or the caller gives for it."""

    path: str
    key: str | None = None
    key_file: Path | None = None
    earlier: tuple[str, ...] = ()
    """Pieces of it that were named, the oldest first; others are looked for beside it."""

    def verify(self, expected: str | None = None, first: int = 1) -> list[tuple[str, AuditReport]]:
        """Return the path of each of its pieces with the report on it."""
        return verify_pieces(
            self.path,
            self.key,
            key_file=self.key_file,
            expect_head=expected,
            earlier=self.earlier,
            first=first,
        )

    def pieces(self) -> list[str]:
        """Return the paths of all its pieces, the oldest first, ordered by their first lines."""
        begun = {_begun(path): path for path in beside(self.path)}
        last = _begun(self.path) or max(begun, default=0) + 1
        return [*(begun[at] for at in sorted(begun) if 0 < at < last), self.path]

    def __repr__(self) -> str:
        return f"<AuditLog {self.path}>"


def chosen_logs(settings: GlobalOptions, paths: Sequence[str], key_file: Path | None) -> list[AuditLog]:
    """Return the logs at `paths`; without paths, those of the spec's audit hooks.

    Raises:
        UsageError: There are neither.
    """
    if not paths:
        logs = list(_of_spec(settings))
        if not logs:
            raise UsageError("no audit hook of the spec has a path", hint="name the log")
        return [log._replace(key=None, key_file=key_file) for log in logs] if key_file is not None else logs
    if key_file is not None:
        return [AuditLog(path, None, key_file) for path in paths]
    known: dict[str, AuditLog] = {}
    with contextlib.suppress(StrongroomError):  # a log can be read without the spec that it came from
        known = {log.path: log for log in _of_spec(settings)}
    return [_with_key(path, known) for path in paths]


def there(log: AuditLog, paths: Sequence[str]) -> list[str]:
    """Return those of `paths` at which there is a file; after logrotate there may be none at the log's own.

    Args:
        log: The log whose pieces they are.
        paths: Where it, or a piece of it, may be.

    Raises:
        UsageError: There is none.
    """
    present = [path for path in paths if os.path.lexists(path)]
    if not present:
        raise UsageError(
            f"there is no audit log {log.path}",
            hint="correct the path, or do something first: the log is made with its first line",
        )
    return present


def in_order(logs: Sequence[AuditLog]) -> list[AuditLog]:
    """Return the pieces of one chain, the oldest first; in their given order if one has no number."""
    begun = {log.path: _begun(log.path) for log in logs}
    return sorted(logs, key=lambda log: begun[log.path]) if all(begun.values()) else list(logs)


def _begun(path: str) -> int:
    """Return the number in the first line of a piece; 0 if it has none."""
    with contextlib.suppress(
        *UNREADABLE, StrongroomError, ValueError, TypeError, AttributeError, RecursionError
    ):
        file = open_piece(path)
        with file:
            return int(json.loads(file.readline(1 << 20)).get("seq"))
    return 0


def _with_key(path: str, known: dict[str, AuditLog]) -> AuditLog:
    whole = os.path.abspath(path)  # noqa: PTH100  # stays text
    # A rotated piece has the key of its log.
    for name in (whole, _ROTATED.sub("", whole)):
        found = known.get(name)
        if found is not None and (found.key or found.key_file):
            return found._replace(path=path)
        if os.path.exists(own_key_file(name)) and not os.environ.get(VARIABLE):  # noqa: PTH110  # as above
            return AuditLog(path, None, Path(own_key_file(name)))
    return AuditLog(path)


def _of_spec(settings: GlobalOptions) -> Iterator[AuditLog]:
    plan = settings.plan()
    parts = [*plan.hooks, *(hook for one in plan.pipelines.values() for hook in one.hooks)]
    seen = set()
    for part in parts:
        if part.type == "audit":
            for log in _of_hook(part):
                if log.path not in seen:
                    seen.add(log.path)
                    yield log


def _of_hook(part: ComponentPlan) -> Iterator[AuditLog]:
    if part.reads:
        raise UsageError(
            f"{part.position}: the options of this audit hook are in a pipeline",
            hint="name the log and its --key-file",
        )
    members = part.resolved()
    path = members.get("path")
    paths = [] if path is None else path if isinstance(path, list) else [path]
    for one in paths:
        yield AuditLog(str(one), members.get("key"), members.get("key_file"))
