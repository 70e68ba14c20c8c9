"""Repeating calls if the backend is unavailable or throttles."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

from strongroom.errors import BackendUnavailableError, ConfigurationError, ThrottledError
from strongroom.keys import distinct
from strongroom.middleware.base import Middleware
from strongroom.providers import Lease, SecretMetadata, SecretVersion

__all__ = ["RetryMiddleware"]

T = TypeVar("T")
_MOST_DOUBLINGS: Final = 1000
"""A float holds no power of two beyond the 1023rd."""


class RetryMiddleware(Middleware):
    """Repeats reads, plain writes and lists that failed with a retryable error.

    Conditional and staged writes and deletes are not repeated: after a lost answer it is unknown whether the
    first one took effect, and the repetition would be reported as a conflict or as "not found". Nor is a
    lease issued twice: nobody would revoke the one whose answer was lost.

    Waits grow exponentially with full jitter (the AWS Architecture Blog's "Exponential Backoff And
    Jitter"), and are at least what the backend asked for.

    Args:
        inner: The provider.
        attempts: Calls in all, the first one included.
        base_seconds: The upper bound of the first wait; it doubles each time.
        max_seconds: The upper bound of every wait.
        deadline_seconds: No new attempt begins later than this after the first one.
        clock: Monotonic seconds.
        sleep: Waits for seconds.
        uniform: Draws a number between two others.
    """

    def __init__(
        self,
        inner: Any,
        *,
        attempts: int = 3,
        base_seconds: float = 0.1,
        max_seconds: float = 5.0,
        deadline_seconds: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        super().__init__(inner)
        if attempts < 1 or base_seconds < 0 or max_seconds < 0 or deadline_seconds < 0:
            raise ConfigurationError("retry: attempts must be at least 1, and seconds not negative")
        self._attempts = attempts
        self._base = base_seconds
        self._max = max_seconds
        self._deadline = deadline_seconds
        self._clock, self._sleep, self._uniform = clock, sleep, uniform
        self._get = self.inner.get_secret

    def address(self) -> dict[str, Any]:
        """Return nothing: it does not change which secret is read."""
        return {}

    def get_secret(self, key: str) -> str:
        try:
            return self._get(key)
        except BackendUnavailableError as error:
            return self._again(error, self._get, key)

    def set_secret(self, key: str, value: str) -> None:
        self._try(self.inner.set_secret, key, value)

    def list_secrets(self, prefix: str = "") -> list[str]:
        return self._try(self.inner.list_secrets, prefix)

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        return self._try(self.inner.get_secrets, distinct(keys))

    def set_secrets(self, values: Mapping[str, str]) -> None:
        self._try(self.inner.set_secrets, values)

    def describe_secret(self, key: str) -> SecretMetadata:
        return self._try(self.inner.describe_secret, key)

    def describe_secrets(self, keys: Iterable[str]) -> dict[str, SecretMetadata]:
        return self._try(self.inner.describe_secrets, distinct(keys))

    def list_versions(self, key: str) -> list[SecretVersion]:
        return self._try(self.inner.list_versions, key)

    def get_secret_version(self, key: str, version: str) -> str:
        return self._try(self.inner.get_secret_version, key, version)

    def renew_lease(self, lease: Lease) -> Lease:
        return self._try(self.inner.renew_lease, lease)

    def revoke_lease(self, lease: Lease) -> None:
        self._try(self.inner.revoke_lease, lease)

    def _try(self, call: Callable[..., T], *args: Any) -> T:
        try:
            return call(*args)
        except BackendUnavailableError as error:
            return self._again(error, call, *args)

    def _again(self, error: BackendUnavailableError, call: Callable[..., T], *args: Any) -> T:
        started = self._clock()
        for attempt in range(1, self._attempts):
            longest = min(self._max, self._base * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS))
            wait = self._uniform(0, longest)
            asked = error.retry_after if isinstance(error, ThrottledError) else None
            wait = max(wait, asked or 0)
            if self._clock() - started + wait > self._deadline:
                break
            self._sleep(wait)
            try:
                return call(*args)
            except BackendUnavailableError as again:
                error = again
        raise error
