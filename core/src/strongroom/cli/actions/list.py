"""`strongroom list`, without click; `commands/list.py` has the options."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from strongroom.cli import errors, output
from strongroom.cli.output import from_now, span
from strongroom.errors import PermissionDeniedError, SecretNotFoundError, UnsupportedOperationError
from strongroom.providers.base import innermost
from strongroom.runtime.frozen import NamedTuple

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions
    from strongroom.registry import SecretProviderRegistry

__all__ = ["list_keys"]


def list_keys(settings: GlobalOptions, *, prefix: str = "", tree: bool = False, long: bool = False) -> None:
    """List the keys that begin with `prefix`, as lines, a tree or a table.

    Raises:
        UsageError: Two options exclude one another.
    """
    if tree and long:
        raise errors.UsageError("--tree draws keys, --long is a table: choose one")
    with settings.registry() as registry:
        settings.check_tenant_below(registry, prefix)
        keys = registry.list_secrets(prefix)
        rows = [_described(registry, key) for key in keys] if long else []
        if not keys and registry.plan.origin == "own":
            from strongroom.cli.declared.names import own_store_asked

            settings.warn(own_store_asked())
        elif not keys:
            _warn_of_absent_stores(settings, registry, prefix)
    if not keys:
        settings.note(f"no key begins with {prefix!r}" if prefix else "nothing is stored")
    if long and settings.json:
        output.as_json({"secrets": [one.as_data() for one in rows]})
    elif long:
        now = datetime.now(UTC)
        output.table(["key", "age", "version", "declared", "due"], (one.as_row(now) for one in rows))
    elif settings.json:
        output.as_json({"keys": keys})
    else:
        output.lines(_tree(keys) if tree else keys)


def _warn_of_absent_stores(settings: GlobalOptions, registry: SecretProviderRegistry, prefix: str) -> None:
    """Warn that nothing is listed because a store does not exist, as in a fresh clone."""
    stores = (
        getattr(innermost(pipeline), "absent", None)
        for pipeline, _, _ in registry.answering(prefix, prefix=True)
    )
    for absent in dict.fromkeys(ask() for ask in stores if callable(ask)):
        if absent is not None:
            settings.warn(absent)


class _Row(NamedTuple):
    """What a long list shows of one key."""

    key: str
    updated_at: datetime | None
    version: str | None
    declared: Sequence[str]
    due_at: datetime | None

    def as_data(self) -> dict[str, Any]:
        times = {"updated_at": self.updated_at, "due_at": self.due_at}
        members = {name: at.isoformat() if at is not None else None for name, at in times.items()}
        return {"key": self.key, "version": self.version, "declared": list(self.declared), **members}

    def as_row(self, now: datetime) -> Sequence[str]:
        age = "-" if self.updated_at is None else span((now - self.updated_at).total_seconds())
        due = "-"
        if self.due_at is not None:
            due = from_now((self.due_at - now).total_seconds())
        return self.key, age, self.version or "-", ", ".join(self.declared) or "-", due


def _described(registry: SecretProviderRegistry, key: str) -> _Row:
    from strongroom.providers.metadata import due_at

    declared = {name: one for name, one in registry.plan.secrets.items() if one.key == key}
    try:
        metadata = registry.describe_secret(key)
    except (UnsupportedOperationError, SecretNotFoundError, PermissionDeniedError):
        # The key may also have been deleted since it was listed.
        return _Row(key, None, None, list(declared), None)
    days = [one.rotate_days for one in declared.values() if one.rotate_days is not None]
    due = due_at(metadata, min(days)) if days else None
    return _Row(key, metadata.updated_at, metadata.version, list(declared), due)


def _tree(keys: Sequence[str]) -> list[str]:
    nested: dict[str, Any] = {}
    for key in keys:
        level = nested
        for segment in key.split("/"):
            level = level.setdefault(segment, {})
    return _branches(nested, "")


def _branches(level: dict[str, Any], indent: str) -> list[str]:
    lines = []
    for place, (segment, below) in enumerate(level.items(), 1):
        last = place == len(level)
        lines.append(f"{indent}{'└── ' if last else '├── '}{segment}")
        lines += _branches(below, indent + ("    " if last else "│   "))
    return lines
