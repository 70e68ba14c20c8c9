"""Reading past caches that cannot be left out: those inside of a third party's middleware."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from strongroom.cache.addresses import caches_of, invalidate
from strongroom.keys import distinct
from strongroom.middleware.base import Middleware
from strongroom.providers import guard

__all__ = ["UncachedMiddleware", "uncached"]


class UncachedMiddleware(Middleware):
    """Lets the caches inside forget a key before it is read, so that the backend answers."""

    def address(self) -> dict[str, Any]:
        """Return nothing: it does not change which secret is read."""
        return {}

    def get_secret(self, key: str) -> str:
        invalidate(self.inner, key)
        return self.inner.get_secret(key)

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        asked = distinct(keys)
        for key in asked:
            invalidate(self.inner, key)
        return self.inner.get_secrets(asked)


def uncached(chain: Any) -> Any:
    """Return `chain`, with this layer around it if there is a cache in it."""
    guarded = guard(chain)
    return UncachedMiddleware(guarded) if any(True for _ in caches_of(guarded)) else guarded
