"""The common part of pools that follow a secret: values for the next login, and old connections."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from contextvars import Context
from functools import partial
from typing import Any, Final, TypeVar

from strongroom.errors import StrongroomError, UnsupportedOperationError, ValidationError, show_key
from strongroom.parallel import renew_after_fork
from strongroom.runtime.pickling import ProcessBound
from strongroom.tenancy import TenantContext, current_tenant

__all__ = ["BEFORE", "Follower", "Stamp", "in_thread", "refused"]

T = TypeVar("T")

_MIN_LIFE_SECONDS: Final = 10.0
_MIN_LIFE_PART: Final = 4
_ROTATION_SECONDS: Final = 5.0
PAUSE_SECONDS: Final = 0.05
_CODES: Final[frozenset[str | int]] = frozenset({"28P01", "28000", 1045, 1698, 3118})
_WORDS: Final = (
    "password authentication failed",
    "authentication failed",
    "access denied for user",
    "does not exist",
    "login failed",
    "is not permitted to log in",
    "invalid username/password",
)
_GONE: Final[frozenset[str | int]] = _CODES | {"42704", "42501", 1044, 1142, 1143}
"""Errors in open sessions of a user that was dropped, or has lost its rights."""
_log = logging.getLogger("strongroom.follow")


async def in_thread(call: Callable[..., T], *args: Any) -> T:
    """Return what `call` returns on a thread. No future holds it: asyncio prints what futures hold."""
    from asyncio import to_thread

    results: list[T] = []
    await to_thread(lambda: results.append(call(*args)))
    return results[0]


class Stamp:
    """The values that a connection was opened with.

    Attributes:
        values: The values that the driver got.
        opened_at: When it was opened, by the monotonic clock.
        ends: When the values end; None if that is not known.
    """

    __slots__ = ("ends", "opened_at", "values")

    def __init__(self, values: Mapping[str, str], ends: float | None, opened_at: float) -> None:
        self.values = dict(values)
        self.ends = ends
        self.opened_at = opened_at

    def __repr__(self) -> str:
        return "<Stamp>"


BEFORE: Final = Stamp({}, None, 0.0)
"""The stamp of a connection from before its pool followed: its values are not known."""


def refused(error: BaseException) -> bool:
    """Return whether a server refused a login for its user or password."""
    if _code_of(error, _CODES):
        return True
    said = str(error).lower()
    return any(words in said for words in _WORDS)


def _code_of(error: BaseException, codes: frozenset[str | int]) -> bool:
    found = {getattr(error, name, None) for name in ("sqlstate", "pgcode")}
    first = error.args[0] if error.args else None
    return not codes.isdisjoint(found) or (isinstance(first, str | int) and first in codes)


class Follower(ProcessBound):
    """The live values of one key: a lease, a JSON secret with `username` and `password`, or a password.

    They are those of the tenant in which it is made, no matter who opens a connection: all share the pool.

    Args:
        registry: A registry, or one of `strongroom.aio`.
        key: The key.
        min_life: Seconds that the values of a connection still have to live when it is handed out; without it
            10, or a quarter of their life if that is less.
        changed: Called when the values have changed.

    Raises:
        ValidationError: The secret holds no password.
    """

    def __init__(
        self,
        registry: Any,
        key: str,
        *,
        min_life: float | None = None,
        changed: Callable[[], object] = lambda: None,
    ) -> None:
        self.registry = getattr(registry, "registry", registry)
        self.key = key
        self._min_life = min_life
        self._changed = changed
        self._clock = time.monotonic
        self._tenant = current_tenant()
        self._ends: list[Callable[[], object]] = []
        self.closed = False
        self._lease: Any = None
        self._values: dict[str, str] | None = None
        self._changes = 0
        """Counts changes, so that a value that was read before one is not kept after it."""
        # In a forked child the watch goes on when the registry is used, so the values must be read once.
        renew_after_fork(self, Follower._forget)
        try:
            self._lease = self.registry.lease(key)
        except UnsupportedOperationError:
            self._ends.append(self.registry.watch(key, self._heard).close)
        else:
            subscription = self._lease.subscribe(lambda _: self._notify())
            self._ends += [subscription.close, self._lease.close]
        try:
            self.values()  # after the watch has begun: no change is between the two
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop following; a second call is harmless."""
        self.closed = True
        ends, self._ends = self._ends, []
        with ExitStack() as stack:  # the rest is ended even if one of them fails
            for end in reversed(ends):
                stack.callback(end)

    def when_closed(self, end: Callable[[], object]) -> None:
        """Call `end` when it is closed."""
        self._ends.append(end)

    def values(self) -> dict[str, str]:
        """Return the driver's parameters of the live values: `user` and `password`, or `password` alone."""
        if self._lease is not None:
            return _parameters(self.key, self._lease.values)
        values, changes = self._values, self._changes
        if values is None:
            values = _values_of(self.key, self._as_made(lambda: self.registry.get_secret(self.key)))
            if changes == self._changes:
                self._values = values
        return values

    def answers_at_once(self) -> bool:
        """Return whether `may_go_out` answers without I/O; an event loop asks it on a thread otherwise."""
        if self.closed or self._lease is None:
            return self.closed or self._values is not None
        left = self._lease.seconds_left_now()
        return left is not None and left[0] >= self._wanted(left[1])

    def _are_known(self) -> bool:
        """Return whether `values` answers without I/O."""
        known = self._values if self._lease is None else self._lease.seconds_left_now()
        return known is not None

    def stamp(self, values: Mapping[str, str]) -> Stamp:
        """Return the stamp of a connection that is opened now with `values`."""
        return Stamp(values, self._end(), self._clock())

    def is_old(self, stamp: Stamp | None) -> bool:
        """Return whether a connection was opened with values that are not the live ones.

        Nothing is raised: a pool that takes a connection back would lose it.
        """
        if stamp is None or self.closed:
            return False
        try:
            if stamp.values == self.values():
                stamp.ends = self._end()
                return False
        except Exception as error:  # noqa: BLE001  # a hook's veto may be of any type
            if not isinstance(error, StrongroomError):
                _log.warning("%s could not be read: %s", show_key(self.key), type(error).__name__)
            return False  # newer values cannot be read
        return True

    def may_go_out(self, stamp: Stamp | None) -> bool:
        """Return whether a connection's values are the live ones, and live long enough to hand it out."""
        if stamp is None or self.closed:
            return True
        if self.is_old(stamp):
            return False
        if stamp.ends is None or self._lease is None:
            return True
        try:
            left, life = self._lease.seconds_left()
        except StrongroomError:
            return False
        if left >= self._wanted(life) or stamp.opened_at > self._clock() - PAUSE_SECONDS:
            return True
        self._lease.check()  # it was not renewed in time: a new connection would have the same values
        return not self.is_old(stamp)

    def _wanted(self, life: float) -> float:
        """Return the seconds that values with this life must have left."""
        return min(_MIN_LIFE_SECONDS, life / _MIN_LIFE_PART) if self._min_life is None else self._min_life

    def came_back(self, stamp: Stamp | None, *, in_loop: bool = False) -> bool:
        """Return whether a connection that comes back must be closed; warn of one that was held too long.

        An event loop does not wait: if the values are not known, the connection is looked at when it is
        handed out next.
        """
        if stamp is None or self.closed:
            return False
        old = (not in_loop or self._are_known()) and self.is_old(stamp)
        if stamp.ends is not None and self._clock() > stamp.ends:
            _log.warning(
                "a connection was held for longer than the credentials of %s lived; it is closed",
                show_key(self.key),
            )
            return True
        return old

    def attempts(self) -> Attempts:
        """Return the attempts of one login, which say whether to try again after a refusal."""
        return Attempts(self)

    def log_in(
        self,
        connect: Callable[[dict[str, str]], T],
        *,
        run: Callable[[Callable[[], Any]], Any] = lambda call: call(),
        pause: Callable[[], object] = lambda: time.sleep(PAUSE_SECONDS),
    ) -> tuple[T, Stamp]:
        """Return a new connection and its stamp; a login that is refused is tried again as `Attempts` say.

        Args:
            connect: Opens a connection with the driver's parameters that it gets.
            run: Makes the calls that read secrets or ask a server.
            pause: Waits before the same values are tried again.

        Raises:
            Exception: What `connect` raised last.
        """
        values, attempts = run(self.values), self.attempts()
        while True:
            stamp = self.stamp(values)
            try:
                return connect(values), stamp
            except Exception as error:
                newer = run(partial(attempts.again, error, values))
                if newer is None:
                    raise
            if newer == values:
                pause()
            values = newer

    def newer(self, tried: Mapping[str, str]) -> dict[str, str] | None:
        """Return the values past all caches if they are other than the refused ones, else None."""
        if self._lease is not None:
            self._lease.check()
        else:
            self._as_made(lambda: self.registry.invalidate(self.key))
            self._forget()
        found = self.values()
        return found if found != tried else None

    def failed(self, error: BaseException | None) -> None:
        """Look at the error of a query: if its user may be gone, ask whether the lease still lives."""
        if error is None or self._lease is None or self.closed or not _code_of(error, _GONE):
            return
        with suppress(Exception):  # the query's own error is what its caller gets
            self._lease.check()

    def rotates(self) -> bool:
        """Return whether a rotation of the key is in flight."""
        if self._lease is not None:
            return False
        from strongroom.rotation import SecretRotation

        try:
            rotation = SecretRotation(self.registry)
            state: str = self._as_made(lambda: rotation.status_of(self.key)).state
        except (StrongroomError, NotImplementedError):
            return False
        return state not in {"current", "rolled_back"}

    def _as_made(self, call: Callable[[], T]) -> T:
        """Run `call` with the tenant in which this was made, or with none."""
        if self._tenant == current_tenant():
            return call()
        if self._tenant is None:
            return Context().run(call)
        with TenantContext(self._tenant):
            return call()

    def _end(self) -> float | None:
        if self._lease is None:
            return None
        try:
            left: float = self._lease.seconds_left()[0]
        except StrongroomError:
            return None
        return self._clock() + left

    def _heard(self, _changes: object) -> None:
        self._forget()
        self._notify()

    def _forget(self) -> None:
        self._changes += 1
        self._values = None

    def _notify(self) -> None:
        if not self.closed:
            self._changed()


class Attempts:
    """The attempts of one login; `again` returns the values to try after a refusal."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._until: float | None = None
        self._clock = follower._clock  # noqa: SLF001  # a part of it

    def again(self, error: BaseException, tried: Mapping[str, str]) -> dict[str, str] | None:
        """Return the values to try next, which may be `tried` again, after a pause; None to give up."""
        if self._follower.closed or not refused(error):
            return None
        now = self._clock()
        if self._until is None:
            self._until = now + _ROTATION_SECONDS
        elif now >= self._until:
            return None
        try:
            newer = self._follower.newer(tried)
            if newer is not None:
                return newer
            if self._follower.rotates():
                return dict(tried)
            return self._follower.newer(tried)  # the rotation may have ended in between
        except Exception:  # noqa: BLE001  # whatever a hook raises: the server's refusal is what the caller gets
            return None


def _values_of(key: str, text: str) -> dict[str, str]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    return _parameters(key, found) if isinstance(found, dict) else {"password": text}


def _parameters(key: str, values: Mapping[str, Any]) -> dict[str, str]:
    names = {"user": values.get("username"), "password": values.get("password")}
    parameters = {name: one for name, one in names.items() if isinstance(one, str)}
    if "password" not in parameters:
        raise ValidationError(
            f"{show_key(key)} has no text `password` to log in with",
            key=key,
            hint="a pool follows a lease, a JSON secret with `username` and `password`, or a plain password",
        )
    return parameters
