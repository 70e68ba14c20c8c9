"""psycopg pools whose connections follow a secret.

```python
pool = ConnectionPool("host=db.example.com dbname=app", open=False)
follow(pool, registry, "app")  # the key of a lease, or of a rotated secret
pool.open()
```
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any

from strongroom.integrations.following import BEFORE, PAUSE_SECONDS, Follower, Stamp, in_thread

__all__ = ["follow"]


def follow(pool: Any, registry: Any, key: str, *, min_life: float | None = None) -> Follower:
    """Let new connections of `pool` log in with the current values of `key`, and close older ones gently.

    Connections with older values are closed when they come back to the pool, or would be handed out. If a
    login is refused while a rotation of the key is in flight, the value is read again, for 5 seconds at
    most; if it is refused with the values of a lease, the server is asked whether the lease still exists.
    All values are those of the tenant in which this is called, or of none, no matter who opens a connection.

    Args:
        pool: A `ConnectionPool` or `AsyncConnectionPool` of psycopg_pool, preferably before it is opened:
            connections that it already has are closed instead of being handed out.
        registry: A registry, or one of `strongroom.aio`.
        key: The key of a lease, of a JSON secret with `username` and `password`, or of a plain password.
        min_life: Seconds that a connection's values still have to live when it is handed out; without it 10,
            or a quarter of their life if that is less.

    Returns:
        A handle whose `close` ends it.
    """
    from psycopg import AsyncConnection

    asynchronous = issubclass(pool.connection_class, AsyncConnection)
    return (_FollowedAsyncPool if asynchronous else _FollowedPool)(pool, registry, key, min_life).follower


class _FollowedPool:
    """What a pool does to open, hand out and take back a connection, until the follower is closed."""

    _in_loop = False

    def __init__(self, pool: Any, registry: Any, key: str, min_life: float | None) -> None:
        self._stamps: weakref.WeakKeyDictionary[Any, Stamp] = weakref.WeakKeyDictionary()
        self.follower = Follower(registry, key, min_life=min_life, changed=self._retire)
        plain_class = pool.connection_class
        self._plain_put, self._plain_check = pool.putconn, pool._check  # noqa: SLF001  # the pool's only way in
        pool.putconn = self._put
        pool.connection_class = self._class(plain_class)
        pool._check = self._check  # noqa: SLF001  # as above

        def end() -> None:
            pool.putconn = self._plain_put
            pool.connection_class, pool._check = plain_class, self._plain_check  # noqa: SLF001  # as above

        self.follower.when_closed(end)

    def _retire(self) -> None:
        """Let connections that are in use be closed when they come back."""
        # Not the keys themselves: another thread may open a connection meanwhile.
        for connection in [one for reference in self._stamps.keyrefs() if (one := reference()) is not None]:
            if self.follower.is_old(self._stamps.get(connection)):
                _expire(connection)

    def _stamp_of(self, connection: Any) -> Stamp:
        return self._stamps.get(connection, BEFORE)

    def _put(self, connection: Any) -> Any:  # the caller awaits what an asynchronous pool returns
        if self.follower.came_back(self._stamp_of(connection), in_loop=self._in_loop):
            _expire(connection)
        return self._plain_put(connection)

    def _check(self, connection: Any) -> Any:
        if not self.follower.may_go_out(self._stamp_of(connection)):
            _take_out(connection).close()
            raise _refusal()
        if self._plain_check is not None:
            self._plain_check(connection)

    def log_in(self, connect: Callable[[dict[str, str]], Any]) -> Any:
        connection, stamp = self.follower.log_in(connect)
        self._stamps[connection] = stamp
        return connection

    def _class(self, plain: Any) -> Any:
        pool = self

        class Following(plain):  # type: ignore[misc]  # the class that the pool was given
            @classmethod
            def connect(cls, conninfo: str = "", **options: Any) -> Any:
                connect = super().connect
                return pool.log_in(lambda values: connect(conninfo, **{**options, **values}))

            def __exit__(
                self,
                kind: type[BaseException] | None,
                error: BaseException | None,
                trace: TracebackType | None,
            ) -> None:
                try:
                    pool.follower.failed(error)
                finally:
                    super().__exit__(kind, error, trace)

        return Following


class _FollowedAsyncPool(_FollowedPool):
    """The same in an event loop: what may block is done on a thread."""

    _in_loop = True

    async def _check(self, connection: Any) -> None:
        stamp = self._stamp_of(connection)
        if self.follower.answers_at_once():
            may = self.follower.may_go_out(stamp)
        else:
            may = await in_thread(self.follower.may_go_out, stamp)
        if not may:
            await _take_out(connection).close()
            raise _refusal()
        if self._plain_check is not None:
            await self._plain_check(connection)

    async def log_in(self, connect: Callable[[dict[str, str]], Any]) -> Any:  # `Follower.log_in`, awaited
        follower = self.follower
        values, attempts = await in_thread(follower.values), follower.attempts()
        while True:
            stamp = follower.stamp(values)
            try:
                connection = await connect(values)
            except Exception as error:
                newer = await in_thread(attempts.again, error, values)
                if newer is None:
                    raise
            else:
                self._stamps[connection] = stamp
                return connection
            if newer == values:
                await asyncio.sleep(PAUSE_SECONDS)
            values = newer

    def _class(self, plain: Any) -> Any:
        pool = self

        class Following(plain):  # type: ignore[misc]  # as above
            @classmethod
            async def connect(cls, conninfo: str = "", **options: Any) -> Any:
                connect = super().connect
                return await pool.log_in(lambda values: connect(conninfo, **{**options, **values}))

            async def __aexit__(
                self,
                kind: type[BaseException] | None,
                error: BaseException | None,
                trace: TracebackType | None,
            ) -> None:
                try:
                    if isinstance(error, Exception):  # not that its task is cancelled
                        await in_thread(pool.follower.failed, error)
                finally:
                    await super().__aexit__(kind, error, trace)

        return Following


def _take_out(connection: Any) -> Any:
    """Return `connection`, whose `close` now closes it.

    In a pool with `close_returns` that would return it, and the pool would open two others instead.
    """
    connection._pool = None  # noqa: SLF001  # as the pool itself closes one
    return connection


def _expire(connection: Any) -> None:
    """Let psycopg_pool close `connection` when it comes back."""
    connection._expire_at = 0.0  # noqa: SLF001  # the pool compares it with the time


def _refusal() -> Exception:
    from psycopg import OperationalError

    return OperationalError("its credentials are no longer those to log in with")
