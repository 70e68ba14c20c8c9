from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from strongroom.providers import SecretVersion, VersionState

__all__ = ["Record", "Version"]


@dataclass(slots=True)
class Version:
    """One version of a secret; the value is kept out of every `repr`."""

    id: str
    value: str = field(repr=False)
    created_at: datetime
    state: VersionState

    def public(self) -> SecretVersion:
        return SecretVersion(self.id, self.created_at, self.state)


@dataclass(slots=True)
class Record:
    """All versions of one key, oldest first. Without a `current` one readers find nothing."""

    versions: dict[str, Version] = field(default_factory=dict)
    current: Version | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None

    def make_current(self, version: Version, now: datetime) -> None:
        """Replace the current version by `version`, at the time `now`."""
        if self.current is not None:
            self.current.state = "previous"
        version.state = "current"
        self.versions[version.id] = version
        self.current = version
        self.created_at = self.created_at or now
        # A clock that was set back must not make a secret older than its creation.
        self.updated_at = max(now, self.created_at)

    def trim(self, keep: int) -> None:
        """Drop the oldest previous versions beyond `keep`; current and pending ones stay."""
        surplus = len(self.versions) - keep
        if surplus <= 0:
            return
        previous = [name for name, version in self.versions.items() if version.state == "previous"]
        for name in previous[:surplus]:
            del self.versions[name]
