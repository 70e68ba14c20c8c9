"""What the memory keeps of a key: its versions."""

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
        version.state = "current"
        self.versions[version.id] = version
        # In one step: a signal handler that interrupts this may write too.
        before, self.current = self.current, version
        if before is not None and before is not version:
            before.state = "previous"
        self.created_at = self.created_at or now
        # A clock that was set back must not make a secret older than its creation.
        self.updated_at = max(now, self.created_at)

    def trim(self, keep: int) -> None:
        """Drop the oldest previous versions beyond `keep`; current and pending ones stay."""
        if len(self.versions) <= keep:
            return
        # A copy, and no `del`: a signal handler that interrupts this may write too.
        versions = list(self.versions.values())
        previous = [version.id for version in versions if version.state == "previous"]
        for version_id in previous[: len(versions) - keep]:
            self.versions.pop(version_id, None)
