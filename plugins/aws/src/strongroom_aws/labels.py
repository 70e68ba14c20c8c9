"""Staging labels: which version of a secret is the current one, and what the others are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from strongroom.providers import SecretVersion, VersionState

CURRENT, PENDING, PREVIOUS = "AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"
_STATES: Mapping[str, VersionState] = {CURRENT: "current", PENDING: "pending", PREVIOUS: "previous"}
_ORDER: tuple[VersionState, ...] = ("pending", "current", "previous")


def current_of(stages: Mapping[str, Iterable[str]]) -> str | None:
    """Return the id of the version that readers get."""
    return next((version for version, labels in stages.items() if CURRENT in labels), None)


def listed(secret: Mapping[str, Any]) -> bool:
    """Tell whether a secret of a list has a current version, as far as the list says."""
    stages = secret.get("SecretVersionsToStages")
    return secret.get("DeletedDate") is None and (stages is None or current_of(stages) is not None)


def newest_first(versions: Iterable[Mapping[str, Any]]) -> list[SecretVersion]:
    """Return the labelled versions, newest first; others may be gone at any moment, as AWS says."""
    found = [
        SecretVersion(one["VersionId"], one.get("CreatedDate"), state)
        for one in versions
        if (state := _state(one.get("VersionStages") or ())) is not None
    ]
    # The service's dates may be alike to the second; a pending version is then the newest.
    found.sort(key=lambda one: _ORDER.index(one.state))
    found.sort(key=lambda one: one.created_at.timestamp() if one.created_at is not None else 0, reverse=True)
    return found


def _state(labels: Iterable[str]) -> VersionState | None:
    present = set(labels)
    return next((state for label, state in _STATES.items() if label in present), None)
