"""The order of a secret's versions, which the service does not give.

Key Vault lists versions in no order and dates them to the second. strongroom therefore writes the exact time
into the tag `strongroom.written`, which decides between versions of the same second; which of them readers
get is asked of the service.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from strongroom.providers import SecretVersion, VersionState

from strongroom_azure.names import OWN_TAGS

WRITTEN = "strongroom.written"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def written_now() -> dict[str, str]:
    """Return the tag with the time of a version; its text sorts by time."""
    return {WRITTEN: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")}


def newest_first(items: Iterable[Any]) -> list[Any]:
    """Return the SDK's descriptions of versions in their order."""
    return sorted(items, key=_age, reverse=True)


def is_unsure(ordered: list[Any]) -> bool:
    """Return whether another version than the first may be the newest, as the clocks of writers differ."""
    return len(ordered) > 1 and ordered[0].created_on == ordered[1].created_on


def described(ordered: list[Any]) -> list[SecretVersion]:
    """Return strongroom's descriptions of versions; only the newest is current, as readers get no other."""
    return [
        SecretVersion(
            version=item.version, created_at=utc(item.created_on), state=_state(item, current=place == 0)
        )
        for place, item in enumerate(ordered)
    ]


def users_tags(item: Any) -> dict[str, str]:
    """Return the tags of a version without strongroom's own."""
    return {name: value for name, value in (item.tags or {}).items() if not name.startswith(OWN_TAGS)}


def utc(when: datetime | None) -> datetime | None:
    """Return a time of the SDK as an aware one in UTC."""
    return when.astimezone(UTC) if when is not None else None


def _age(item: Any) -> tuple[datetime, str]:
    return item.created_on or _EPOCH, (item.tags or {}).get(WRITTEN, "")


def _state(item: Any, *, current: bool) -> VersionState:
    if item.enabled is False:
        return "disabled"
    return "current" if current else "previous"
