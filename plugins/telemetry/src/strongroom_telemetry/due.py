"""How many declared rotations are due."""

from __future__ import annotations

import logging
import time
import weakref
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from strongroom import SecretRotation

if TYPE_CHECKING:
    from strongroom import SecretProviderRegistry

__all__ = ["RotationsDue"]

_DAYS = 30
"""Of a secret with `rotate` and without `rotate_days`, as `strongroom rotate --due` has it."""

_log = logging.getLogger("strongroom.hooks")


class RotationsDue:
    """Counts the secrets that `strongroom rotate --due` would rotate; asks backends, past the hooks.

    Args:
        seconds: How long a count is used.
        clock: A monotonic clock in seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._counted: weakref.WeakKeyDictionary[SecretProviderRegistry, tuple[float, Mapping[str, int]]]
        self._counted = weakref.WeakKeyDictionary()

    def of(self, registry: SecretProviderRegistry) -> Mapping[str, int]:
        """Return the count of each pipeline that has declared rotations.

        What cannot be known is left out of a count: a secret of a tenant, a backend that is down, or one that
        knows no dates.
        """
        before = self._counted.get(registry)
        if before is not None and self._clock() - before[0] < self._seconds:
            return before[1]
        counts: Counter[str] = Counter()
        declared: dict[str, Any] = {}
        for one in registry.plan.secrets.values():
            if one.key and (one.rotate_days is not None or one.rotate is not None):
                declared.setdefault(one.key, one)
        for key, one in declared.items():
            days = _DAYS if one.rotate_days is None else one.rotate_days
            jitter = (one.rotate or {}).get("jitter", 0)
            try:
                pipeline = registry.pipeline_for(key)
                rotation = SecretRotation(pipeline.inner, days, jitter=jitter)
                counts[pipeline.name] += rotation.needs_rotation(key)
            except Exception as error:  # noqa: BLE001  # a third party's provider: the other counts are still right
                _log.debug("telemetry: whether a rotation is due is not known: %s", type(error).__name__)
        self._counted[registry] = self._clock(), dict(counts)
        return counts
