"""psycopg pools whose connections follow a secret.

```python
pool = ConnectionPool("host=db.example.com dbname=app", open=False)
follow(pool, registry, "app")  # the key of a lease, or of a rotated secret
pool.open()
```
"""

from __future__ import annotations

import asyncio
import time
import weakref
from types import TracebackType
from typing import Any

from strongroom.integrations.following import BEFORE, PAUSE_SECONDS, Follower, Stamp

__all__ = ["follow"]


def follow(pool: Any, registry: Any, key: str, *, min_life: float | None = None) -> Follower:  # noqa: C901  # a closure for each way in
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
    from psycopg import AsyncConnection, OperationalError

    asynchronous = issubclass(pool.connection_class, AsyncConnection)
    stamps: weakref.WeakKeyDictionary[Any, Stamp] = weakref.WeakKeyDictionary()

    def retire() -> None:
        """Let connections that are in use be closed when they come back."""
        # Not the keys themselves: another thread may open a connection meanwhile.
        for connection in [one for reference in stamps.keyrefs() if (one := reference()) is not None]:
            if follower.is_old(stamps.get(connection)):
                connection._expire_at = 0.0  # noqa: SLF001  # after which psycopg_pool closes a connection

    follower = Follower(registry, key, min_life=min_life, changed=retire)
    plain_class, plain_check = pool.connection_class, pool._check  # noqa: SLF001  # the pool's only way in
    refusal = "its credentials are no longer those to log in with"

    class Following(plain_class):  # type: ignore[misc,valid-type]  # the class that the pool was given
        @classmethod
        def connect(cls, conninfo: str = "", **options: Any) -> Any:
            values, attempts = follower.values(), follower.attempts()
            while True:
                stamp = follower.stamp(values)
                try:
                    connection = super().connect(conninfo, **{**options, **values})
                except Exception as error:
                    newer = attempts.again(error, values)
                    if newer is None:
                        raise
                else:
                    stamps[connection] = stamp
                    return connection
                if newer == values:
                    time.sleep(PAUSE_SECONDS)
                values = newer

        def __exit__(
            self,
            kind: type[BaseException] | None,
            error: BaseException | None,
            trace: TracebackType | None,
        ) -> None:
            try:
                follower.failed(error)
            finally:
                super().__exit__(kind, error, trace)

    class FollowingAsync(plain_class):  # type: ignore[misc,valid-type]  # as above
        @classmethod
        async def connect(cls, conninfo: str = "", **options: Any) -> Any:
            values, attempts = await asyncio.to_thread(follower.values), follower.attempts()
            while True:
                stamp = follower.stamp(values)
                try:
                    connection = await super().connect(conninfo, **{**options, **values})
                except Exception as error:
                    newer = await asyncio.to_thread(attempts.again, error, values)
                    if newer is None:
                        raise
                else:
                    stamps[connection] = stamp
                    return connection
                if newer == values:
                    await asyncio.sleep(PAUSE_SECONDS)
                values = newer

        async def __aexit__(
            self,
            kind: type[BaseException] | None,
            error: BaseException | None,
            trace: TracebackType | None,
        ) -> None:
            try:
                if isinstance(error, Exception):  # not that its task is cancelled
                    await asyncio.to_thread(follower.failed, error)
            finally:
                await super().__aexit__(kind, error, trace)

    def check(connection: Any) -> None:
        if not follower.may_go_out(stamps.get(connection, BEFORE)):
            connection.close()
            raise OperationalError(refusal)
        if plain_check is not None:
            plain_check(connection)

    async def check_async(connection: Any) -> None:
        stamp = stamps.get(connection, BEFORE)
        if follower.answers_at_once():
            may = follower.may_go_out(stamp)
        else:
            may = await asyncio.to_thread(follower.may_go_out, stamp)
        if not may:
            await connection.close()
            raise OperationalError(refusal)
        if plain_check is not None:
            await plain_check(connection)

    plain_put = pool.putconn

    def put(connection: Any) -> Any:  # the caller awaits what an asynchronous pool returns
        if follower.came_back(stamps.get(connection, BEFORE), in_loop=asynchronous):
            connection._expire_at = 0.0  # noqa: SLF001  # as above
        return plain_put(connection)

    pool.putconn = put
    pool.connection_class = FollowingAsync if asynchronous else Following
    pool._check = check_async if asynchronous else check  # noqa: SLF001  # as above

    def end() -> None:
        pool.putconn = plain_put
        pool.connection_class, pool._check = plain_class, plain_check  # noqa: SLF001  # as above

    follower.when_closed(end)
    return follower
