"""The base classes of hooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from strongroom.hooks.events import SecretEvent

__all__ = ["BatchHook", "SecretHook"]


class SecretHook:
    """Sees every operation. Both methods do nothing; override either."""

    audit: ClassVar[bool] = False
    """Audit hooks are entered before all others, so that they also record what others veto."""

    def before(self, event: SecretEvent) -> None:
        """See an operation about to run; raising vetoes it, and the caller gets that exception."""

    def after(self, event: SecretEvent) -> None:
        """See how it ended: once for each `before` that was entered, even one that raised."""

    def registry_opened(self, registry: Any) -> None:  # a `SecretProviderRegistry`, in a layer above
        """Meet a registry whose operations it will see, perhaps more than once; refer to it weakly."""

    def registry_closing(self, registry: Any) -> None:  # as above
        """Look at a registry before it is closed, perhaps more than once; it must not raise."""


class BatchHook(SecretHook):
    """An audit hook that sees all events of one operation at once: a batch read has one for each key.

    It must not keep the events of `before_all`: the same objects may come back in `after_all`, filled in.
    """

    audit: ClassVar[bool] = True

    def before(self, event: SecretEvent) -> None:
        self.before_all((event,))

    def after(self, event: SecretEvent) -> None:
        self.after_all((event,))

    def before_all(self, events: Sequence[SecretEvent]) -> None:
        """Do what `before` does, for all `events`; raising vetoes the operation."""

    def after_all(self, events: Sequence[SecretEvent]) -> None:
        """Do what `after` does, for all `events`."""
