"""`RedisCacheStore`: a second level of a cache in Redis 6 or newer, or in Valkey."""

from __future__ import annotations

import contextlib
import math
import os
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from strongroom.deadlines import Deadline, DeadlineExceededError, DeadlineExecutor, check_limits
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    StrongroomError,
)
from strongroom.parallel import forks_wait, never_collect, renew_after_fork

from strongroom_redis.circuit_breaker import CircuitBreaker
from strongroom_redis.connection import Options, check, connect, disconnect, load
from strongroom_redis.errors import says_replaced, translate
from strongroom_redis.scripts import CONFIRM, DROP, LOCK, SET_FENCED, UNLOCK
from strongroom_redis.subscriber import ALL, SILENT_SECONDS, Listener

__all__ = ["RedisCacheStore"]

T = TypeVar("T")
_FENCE_MILLISECONDS: Final = 24 * 3600 * 1000
_LONGEST_MILLISECONDS: Final = 1e15
"""Some thirty thousand years: the server refuses a time whose end is beyond its own numbers."""
_TRIES_TO_FREE: Final = 3
_SHORTEST_WAIT, _LONGEST_WAIT = 0.002, 0.05
_BATCH: Final = 500
_NOT_THERE: Final = -2
_WRITES: Final = frozenset({"writing", "locking"})
"""What only a primary does."""
_FIRST_SECONDS: Final = 1.0
"""The extra time of the first call, because processes that start together share the CPUs."""


class RedisCacheStore:
    """A `strongroom.cache.CacheStore`, fenced, timed and watchable; also a lock for `SecretRotation`.

    Keys of the server are `NAMESPACE:d:{NAME}` for data, `NAMESPACE:l:{NAME}` for locks and
    `NAMESPACE:f:{NAME}` for fences; drops are published on `NAMESPACE:dropped`. No constructor connects.

    After a failure the server is left alone for a moment, which grows to two seconds while it fails; then one
    call at a time finds out whether it is back, and the others fail at once.

    Args:
        url: `redis://`, `rediss://` or `unix://` as redis-py takes them; for sentinels
            `redis+sentinel://HOST:PORT,…/SERVICE/DATABASE`, for a cluster `redis+cluster://HOST:PORT,…`, and
            both with `rediss` for TLS.
        namespace: What the names of all keys and of the channel begin with.
        username: ACL user; else the URL's.
        password: Its password; by default the URL's.
        sentinel_username: ACL user of the sentinels themselves.
        sentinel_password: Its password.
        ca_file: The CA that signed the server's certificate.
        cert_file: The client's certificate.
        key_file: Its private key.
        verify: Whether the server's certificate and host name are checked.
        timeout_seconds: How long one call takes at most, connecting included; the first one may take a second
            more, and importing redis-py counts in none.
        clock: Monotonic seconds.

    Raises:
        ConfigurationError: The URL is not one of these.
    """

    def __init__(
        self,
        url: str,
        *,
        namespace: str = "strongroom",
        username: str | None = None,
        password: str | None = None,
        sentinel_username: str | None = None,
        sentinel_password: str | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        cert_file: str | os.PathLike[str] | None = None,
        key_file: str | os.PathLike[str] | None = None,
        verify: bool = True,
        timeout_seconds: float = 0.4,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._given = self._options = Options(
            url,
            username,
            password,
            sentinel_username,
            sentinel_password,
            ca_file=_path(ca_file),
            cert_file=_path(cert_file),
            key_file=_path(key_file),
            verify=verify,
            timeout=timeout_seconds,
        )
        check(self._options)
        check_limits("redis", timeout_seconds=timeout_seconds, counts={})
        if not namespace:
            raise ConfigurationError("redis: namespace must not be empty", provider="redis")
        self._namespace = namespace
        self._channel = f"{namespace}:dropped"
        self._timeout = timeout_seconds
        self._clock = clock
        self._client: Any = None
        self._end: weakref.finalize[..., RedisCacheStore] | None = None
        self._has_answered = False
        self._was_replaced = False
        self._listeners: list[Listener] = []
        self._runner = DeadlineExecutor()
        self._begin_again()
        renew_after_fork(self, RedisCacheStore._begin_again)

    def prepare(self) -> None:
        """Import redis-py: that takes this machine's time, so no call's timeout counts it."""
        load(self._options)

    def get(self, name: str) -> bytes | None:
        """Return the data under `name`, or None.

        Raises:
            BackendUnavailableError: The server does not answer; `AuthenticationError` and
                `PermissionDeniedError` where it refuses. So for all other methods.
        """
        found: bytes | None = self._call("reading", lambda client: _read(client, self._key("d", name)))
        return found

    def get_with_life(self, name: str) -> tuple[bytes, float] | None:
        """Return the data under `name` and the seconds left of its life by the server's clock, or None.

        They are `inf` where there is no end, which is not of this store's making, or where the user may not
        ask for it.
        """
        key = self._key("d", name)

        def ask(client: Any) -> tuple[bytes, float] | None:
            # The life is read before the data, so if the data is replaced in between, the shorter life
            # counts.
            with client.pipeline(transaction=False) as pipeline:
                left, data = pipeline.pttl(key).get(key).execute(raise_on_error=False)
            if isinstance(data, Exception):
                data = _read(client, key)  # raises, or clears away what is not data
            if data is None or left == _NOT_THERE:
                return None
            # An ACL user who may not ask for it has the clocks of the hosts alone.
            endless = isinstance(left, Exception) or left < 0 or left > _LONGEST_MILLISECONDS / 2
            return data, math.inf if endless else left / 1000

        return self._call("reading", ask)

    def set(self, name: str, data: bytes, ttl_seconds: float) -> None:
        """Keep `data` for `ttl_seconds`, to the millisecond; not at all where that is nothing."""
        key, life = self._key("d", name), _milliseconds(ttl_seconds)
        if life > 0:
            self._call("writing", lambda client: client.set(key, data, px=life))

    def set_fenced(self, name: str, data: bytes, ttl_seconds: float, token: int) -> bool:
        """Keep `data` unless `name` was dropped, cleared or locked since its lock gave `token`."""
        keys, life = (self._key("d", name), self._key("f", name)), _milliseconds(ttl_seconds)
        if life <= 0:
            return False
        kept = self._call("writing", lambda client: client.eval(SET_FENCED, 2, *keys, data, life, str(token)))
        return bool(kept)

    def delete(self, name: str) -> None:
        """Drop `name`, and publish that."""
        keys = self._key("d", name), self._key("f", name)
        self._call(
            "dropping",
            lambda client: client.eval(DROP, 2, *keys, _FENCE_MILLISECONDS, self._channel, name),
        )

    def clear(self, namespace: str) -> None:
        """Drop every name that begins with `namespace`, and publish that any may be gone.

        "" and the store's own namespace mean all. The server is searched for them (`SCAN`), page by page, so
        this takes the longer the more keys it has; each page has the time of a call.
        """
        prefix = "" if namespace == self._namespace else namespace
        for kind in "fd":  # the fences first: what is under way must not come after
            pattern = f"{_literal(self._namespace)}:{kind}:{{{_literal(prefix)}*}}"
            for node in self._call("dropping", _nodes):
                self._drop_pages(pattern, node)
        self._call("dropping", lambda client: client.publish(self._channel, ALL))

    @contextmanager
    def lock(self, name: str, *, ttl_seconds: float, wait_seconds: float) -> Iterator[int]:
        """Hold the lock of `name` for the block, `ttl_seconds` at most, and give its fencing token.

        Raises:
            ConflictError: Another held it for all of `wait_seconds`.
        """
        process, key, holder = os.getpid(), self._key("l", name), os.urandom(16).hex()
        token = self._acquire(name, holder, max(_milliseconds(ttl_seconds), 1), wait_seconds)
        try:
            yield token
        finally:
            if os.getpid() == process:  # a forked child leaves it to its parent
                with contextlib.suppress(StrongroomError):  # it ends by itself, and what was done is done
                    self._call("unlocking", lambda client: client.eval(UNLOCK, 1, key, holder))

    def subscribe(self, callback: Callable[[str | None], object]) -> Listener:
        """Call `callback` with each name that anybody drops, None for any, from a thread of its own."""
        limits: dict[str, Any] = {"retries": 0, "timeout": min(self._timeout, SILENT_SECONDS)}

        def refused() -> None:
            self._options = self._given.newest()

        listener = Listener(
            lambda: connect(replace(self._options, **limits)), self._channel, callback, refused
        )
        self._listeners.append(listener)
        for one in [one for one in self._listeners if one.ended]:  # it holds what its callback does
            with contextlib.suppress(ValueError):
                self._listeners.remove(one)
        return listener

    def close(self) -> None:
        """End all subscriptions and connections; a second call is harmless."""
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener.close()
        self._let_go()
        self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<RedisCacheStore {self._options.address()} {self._namespace!r}>"

    def _begin_again(self) -> None:
        """Make new locks and connections in a forked child, which cannot share its parent's."""
        never_collect(self._client, *self._listeners)
        self._drop_client()
        self._lock = threading.RLock()  # a signal handler may call in the middle of it
        self._breaker = CircuitBreaker(self._clock)
        self._listeners = []

    def _key(self, kind: str, name: str) -> str:
        return f"{self._namespace}:{kind}:{{{name}}}"

    def _acquire(self, name: str, holder: str, life: int, wait_seconds: float) -> int:
        keys = self._key("l", name), self._key("f", name)
        end, pause = time.monotonic() + wait_seconds, _SHORTEST_WAIT
        fence_life = max(_FENCE_MILLISECONDS, 2 * life)
        # A server that hung may take the lock long after the call has timed out, so the lock is short until
        # the answer has come.
        first = min(life, _milliseconds(2 * self._timeout))

        def ask(client: Any) -> tuple[Any, Any]:
            token = client.eval(LOCK, 2, *keys, holder, first, fence_life)
            if token and life > first:
                try:
                    if not client.eval(CONFIRM, 1, keys[0], holder, life):
                        return client, None
                except BaseException:
                    free((client, token))  # the server may have confirmed it all the same
                    raise
            return client, token

        def free(taken: tuple[Any, Any]) -> None:
            client, token = taken
            for _ in range(_TRIES_TO_FREE if token else 0):
                with contextlib.suppress(Exception):  # if none gets through, it ends by itself
                    client.eval(UNLOCK, 1, keys[0], holder)
                    return

        while True:
            _, token = self._call("locking", ask, free)
            if token:
                return int(token)
            left = end - time.monotonic()
            if left <= 0:
                raise ConflictError(
                    f"the lock was held by another for {wait_seconds:g} s", provider="redis",
                    hint="try again later",
                )  # fmt: skip
            time.sleep(min(left, random.uniform(pause / 2, pause)))  # noqa: S311  # spreads the askers
            pause = min(pause * 2, _LONGEST_WAIT)

    def _drop_pages(self, pattern: str, node: Any) -> None:
        """Drop the keys of one node that match `pattern`."""
        cursor = 0

        def page(client: Any) -> int:
            own = client if node is None else client.get_redis_connection(node)
            following, keys = own.scan(cursor, match=pattern, count=_BATCH)
            _unlink(own, keys)
            return int(following)

        while True:
            cursor = self._call("dropping", page)
            if cursor == 0:
                return

    def _call(self, doing: str, call: Callable[[Any], T], discard: Callable[[T], object] | None = None) -> T:
        """Return the result of `call` with the client, or raise strongroom's error, within the timeout.

        A result that comes too late is given to `discard`. If the login is refused, it is tried again with
        the present values of its references.
        """
        used = self._options
        try:
            return self._tried(doing, call, discard)
        except AuthenticationError:
            newer = self._given.newest()
            if newer == used:
                raise
        self._options = newer
        self._let_go()
        return self._tried(doing, call, discard)

    def _tried(self, doing: str, call: Callable[[Any], T], discard: Callable[[T], object] | None) -> T:
        if self._client is None:
            self.prepare()
        with self._breaker.attempt() as open_:
            if not open_:
                failure: StrongroomError = self._unavailable(f"{doing} was not tried: it failed a moment ago")
            else:
                try:
                    allowed = self._timeout + (0 if self._has_answered else _FIRST_SECONDS)
                    answer = self._runner.run(lambda: call(self._connected()), Deadline(allowed), discard)
                except DeadlineExceededError:
                    failure = self._unavailable(f"{doing} did not end within {allowed:g} s")
                    self._let_go()  # so that the abandoned call ends, too
                except Exception as error:  # noqa: BLE001  # the table says what each is
                    failure = translate(error, doing, self._options.address())
                    if says_replaced(error):
                        self._let_go()  # the next call asks for the address again
                        self._was_replaced = True
                else:
                    self._has_answered = True
                    if self._was_replaced and doing in _WRITES:
                        self._follow()
                    return answer
                self._has_answered = True  # the first one is over
                # Outside the `except` block: redis-py's errors may hold what was sent.
                raise failure
        raise failure

    def _follow(self) -> None:
        """Let the subscriptions leave the former primary, now that the address leads to another one."""
        self._was_replaced = False
        for listener in list(self._listeners):
            listener.connect_again()

    def _unavailable(self, what: str) -> BackendUnavailableError:
        return BackendUnavailableError(
            f"redis: {what} ({self._options.address()})",
            provider="redis",
            hint="check that the server runs and can be reached",
        )

    def _connected(self) -> Any:
        client = self._client
        if client is None:
            with forks_wait():
                opened = connect(self._options)  # a cluster's asks its nodes: outside the lock
            with self._lock:
                if self._client is None:
                    self._client = opened
                    # Closes the sockets of a store that was not closed.
                    self._end = weakref.finalize(self, disconnect, opened)
                    self._end.atexit = False
                client = self._client
            if client is not opened:
                disconnect(opened)
        return client

    def _let_go(self) -> None:
        with self._lock:
            client = self._drop_client()
        if client is not None:
            disconnect(client)

    def _drop_client(self) -> Any:
        client, self._client = self._client, None
        if self._end is not None:
            self._end.detach()
            self._end = None
        return client


def _path(path: str | os.PathLike[str] | None) -> Path | None:
    return None if path is None else Path(path)


def _read(client: Any, key: str) -> Any:
    import redis

    try:
        return client.get(key)
    except redis.ResponseError as error:
        if not str(error).startswith("WRONGTYPE"):
            raise
    client.unlink(key)  # another program's key under our name, which would stay in the way
    return None


def _nodes(client: Any) -> list[Any]:
    """Return the nodes of a cluster that hold keys; for another server None, which stands for itself."""
    return list(client.get_primaries()) if hasattr(client, "get_primaries") else [None]


def _unlink(client: Any, keys: list[Any]) -> None:
    # One by one in a pipeline: a cluster refuses a command whose keys have several slots.
    if keys:
        with client.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.unlink(key)
            pipeline.execute()


def _milliseconds(seconds: float) -> int:
    return max(int(min(seconds * 1000, _LONGEST_MILLISECONDS)), 1) if seconds > 0 else 0


def _literal(text: str) -> str:
    """Return `text` as a pattern of `SCAN` that stands for itself."""
    return "".join(f"\\{one}" if one in r"*?[]^-\\" else one for one in text)
