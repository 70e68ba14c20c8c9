"""The versions of a secret in Secrets Manager: their labels, and the meaning of their ids.

Each label is on one version at most. A version without a label goes on to be kept, by its id, until there are
more than 100 and it is older than a day
(https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html).
The service does not say whether such a version was ever current, so the ids of other versions are special:

- `strongroom-staged-…`: written to be made current later, by a conditional write or a promotion;
- `strongroom-vacant-…`: stands for "no value yet", since the service makes the first version of a secret the
  current one, whatever labels are asked for.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from strongroom.providers import SecretVersion, VersionState

CURRENT, PENDING, PREVIOUS = "AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"
CANDIDATE = "strongroom-candidate"
"""Label of the newest version of a conditional write. A secret has 20 labels: one serves all writers."""

VACANT_VALUE = "strongroom: no value yet, one is staged"
"""The value of a vacant version, for other tools."""

_VACANT, _STAGED = "strongroom-vacant-", "strongroom-staged-"
_STATES: Mapping[str, VersionState] = {CURRENT: "current", PENDING: "pending", PREVIOUS: "previous"}
_ORDER: tuple[VersionState, ...] = ("pending", "current", "previous")
_ID_LENGTHS = range(32, 65)


def new_id() -> str:
    """Return the id of a version that is current from the start."""
    return str(uuid.uuid4())


def staged_id() -> str:
    """Return the id of a version that may become current."""
    return _STAGED + str(uuid.uuid4())


def vacant_id() -> str:
    """Return the id of a version that stands for no value."""
    return _VACANT + str(uuid.uuid4())


def is_vacant(version: str | None) -> bool:
    """Return whether a version stands for no value."""
    return version is not None and version.startswith(_VACANT)


def is_id(version: object) -> bool:
    """Return whether the service could have such an id; it refuses all others as malformed."""
    return isinstance(version, str) and len(version) in _ID_LENGTHS and version.isascii()


def holder_of(entry: Mapping[str, Any]) -> str | None:
    """Return the id of the version with the label AWSCURRENT, of a description or an entry of a list."""
    return _labelled(entry, CURRENT)


def pending_of(entry: Mapping[str, Any]) -> str | None:
    """Return the id of the version with the label AWSPENDING, of a description or an entry of a list."""
    return _labelled(entry, PENDING)


def _labelled(entry: Mapping[str, Any], label: str) -> str | None:
    stages = entry.get("VersionIdsToStages") or entry.get("SecretVersionsToStages") or {}
    return next((version for version, labels in stages.items() if label in labels), None)


def current_of(entry: Mapping[str, Any]) -> str | None:
    """Return the id of the version that readers get; None if there is no value."""
    holder = holder_of(entry)
    return None if is_vacant(holder) else holder


def state_of(version: str, labels: Iterable[str]) -> VersionState | None:
    """Return the state of a version; None for one that readers never got."""
    if is_vacant(version):
        return None
    present = set(labels)
    state = next((state for label, state in _STATES.items() if label in present), None)
    return state if state is not None or version.startswith(_STAGED) else "previous"


def newest_first(versions: Iterable[Mapping[str, Any]]) -> list[SecretVersion]:
    """Return the versions that readers get, got, or will get."""
    listed = [
        SecretVersion(one["VersionId"], in_utc(one.get("CreatedDate")), state)
        for one in versions
        if (state := state_of(one["VersionId"], one.get("VersionStages") or ())) is not None
    ]
    # Dates may be alike, on emulators to the second: then by state, and the later in the list is the newer.
    listed.reverse()
    listed.sort(key=lambda one: _ORDER.index(one.state))
    listed.sort(key=lambda one: one.created_at.timestamp() if one.created_at is not None else 0, reverse=True)
    return listed


def in_utc(time: datetime | None) -> datetime | None:
    """Return a time of botocore's, which is in this machine's zone, in UTC."""
    return None if time is None else time.astimezone(UTC)
