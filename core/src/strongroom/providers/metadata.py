"""What a backend reports of a secret, its versions, changes and leases, without the values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from strongroom.runtime.frozen import frozen, member

__all__ = [
    "ChangeKind",
    "Lease",
    "LeaseValues",
    "SecretChange",
    "SecretMetadata",
    "SecretVersion",
    "VersionState",
    "due_at",
]


@frozen
class SecretMetadata:
    """What a backend knows about a secret besides its value; times are aware and in UTC."""

    key: str
    version: str
    created_at: datetime | None = None
    updated_at: datetime | None = None
    tags: Mapping[str, str] = member(default_factory=dict)


def due_at(metadata: SecretMetadata, days: float) -> datetime | None:
    """Return when the value of a secret is `days` old; None if the backend does not tell its age.

    What lies beyond the calendar is the end of it: such a secret is never due.
    """
    if metadata.updated_at is None:
        return None
    try:
        return metadata.updated_at + timedelta(days=days)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


@frozen
class SecretVersion:
    """One version of a secret, without its value; `created_at` is aware and in UTC."""

    version: str
    created_at: datetime | None
    state: VersionState


@frozen
class SecretChange:
    """A secret that was set or deleted, without its value.

    Attributes:
        key: The secret's key.
        kind: `set`, also if it was created, or `deleted`.
        version: The version that readers get now, if the source knows it.
        observed_at: When the change was noticed; aware and in UTC.
    """

    key: str
    kind: ChangeKind
    version: str | None
    observed_at: datetime


class LeaseValues(Mapping[str, str]):
    """The values of a lease by name; they do not change, and `repr` shows only the names.

    Args:
        values: The values, which are copied.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return {**self._values, **other}

    def __ror__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return {**other, **self._values}

    def __repr__(self) -> str:
        return f"<values: {', '.join(self._values)}>"


@frozen
class Lease:
    """Credentials that a backend issued for a limited time; `repr` shows no value, nor does that of `values`.

    Attributes:
        id: The backend's name of the lease, by which it is renewed and revoked; empty if it has none.
        key: The key that it was issued for.
        values: The credentials, such as `username` and `password`.
        issued_at: When it was issued; aware.
        expires_at: When the credentials end unless the lease is renewed; aware.
        renewable: Whether the backend renews it.
    """

    id: str
    key: str
    values: Mapping[str, str] = member(shown=False, converter=LeaseValues)
    issued_at: datetime
    expires_at: datetime
    renewable: bool

    def as_json(self) -> str:
        """Return the values as a JSON object: what reading the key gives."""
        import json  # not loaded for those who issue no leases

        return json.dumps(dict(self.values), ensure_ascii=False)


ChangeKind = Literal["set", "deleted"]
VersionState = Literal["current", "pending", "previous", "disabled", "deleted", "destroyed"]
