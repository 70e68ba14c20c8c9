"""SQLAlchemy 2 engines whose connections follow a secret.

```python
engine = create_engine("postgresql+psycopg://db.example.com/app")
follow(engine, registry, "app")  # the key of a lease, or of a rotated secret
```
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, TypeVar

from strongroom.integrations.following import BEFORE, PAUSE_SECONDS, Follower, Stamp

__all__ = ["follow"]

T = TypeVar("T")
_STAMP = "strongroom.follow"


def follow(engine: Any, registry: Any, key: str, *, min_life: float | None = None) -> Follower:  # noqa: C901  # a closure for each event
    """Let new connections of `engine` log in with the current values of `key`, and close older ones gently.

    Connections with older values are closed when they come back to the pool, or would be handed out. If a
    login is refused while a rotation of the key is in flight, the value is read again, for 5 seconds at
    most; if it is refused with the values of a lease, the server is asked whether the lease still exists.
    All values are those of the tenant in which this is called, or of none, no matter who opens a connection.

    Args:
        engine: An `Engine` or `AsyncEngine`.
        registry: A registry, or one of `strongroom.aio`.
        key: The key of a lease, of a JSON secret with `username` and `password`, or of a plain password.
        min_life: Seconds that a connection's values still have to live when it is handed out; without it 10,
            or a quarter of their life if that is less.

    Returns:
        A handle whose `close` ends it.
    """
    from sqlalchemy import event
    from sqlalchemy.exc import DisconnectionError

    sync = getattr(engine, "sync_engine", engine)
    follower = Follower(registry, key, min_life=min_life)
    given_base = sync.dialect.create_connect_args(sync.url)
    followed_at = time.time()  # the clock by which the pool notes when it opened a connection
    base_args, base = list(given_base[0]), dict(given_base[1])

    def connect(dialect: Any, record: Any, args: list[Any], params: dict[str, Any]) -> Any:
        call = _in_loop if dialect.is_async else _directly
        values = call(follower.values)
        attempts = follower.attempts()
        while True:
            given_args, new = _changes(dialect, sync.url, values)
            given_args = given_args if list(args) == base_args else args
            given = {**params, **{name: one for name, one in new.items() if base.get(name) != one}}
            stamp = follower.stamp(values)
            try:
                connection = dialect.connect(*given_args, **given)
            except Exception as error:
                newer = call(lambda error=error, values=values: attempts.again(error, values))  # type: ignore[misc]  # bound here
                if newer is None:
                    raise
            else:
                record.info[_STAMP] = stamp
                return connection
            if newer == values:
                _pause(dialect)
            values = newer

    def stamp_of(record: Any) -> Stamp | None:
        stamp: Stamp | None = record.info.get(_STAMP)
        # A pool with its own `creator` also opens later connections without a stamp.
        return BEFORE if stamp is None and record.starttime < followed_at else stamp

    def checkout(_connection: Any, record: Any, _proxy: Any) -> None:
        stamp = stamp_of(record)
        call = _in_loop if sync.dialect.is_async and not follower.answers_at_once() else _directly
        if not call(lambda: follower.may_go_out(stamp)):
            raise DisconnectionError("its credentials are no longer those to log in with")

    def checkin(connection: Any, record: Any) -> None:
        in_loop = sync.dialect.is_async
        if connection is not None and follower.came_back(stamp_of(record), in_loop=in_loop):
            record.invalidate()

    def failed(context: Any) -> None:
        call = _in_loop if context.dialect.is_async else _directly
        error = getattr(context.original_exception, "orig", None) or context.original_exception
        call(lambda: follower.failed(error))

    listeners: list[tuple[Any, str, Any]] = [
        (sync, "do_connect", connect),
        (sync.pool, "checkout", checkout),
        (sync.pool, "checkin", checkin),
        (sync, "handle_error", failed),
    ]
    for target, name, listener in listeners:
        event.listen(target, name, listener)

    def end() -> None:
        for target, name, listener in listeners:
            if event.contains(target, name, listener):
                event.remove(target, name, listener)

    follower.when_closed(end)
    return follower


def _changes(dialect: Any, url: Any, values: dict[str, str]) -> tuple[list[Any], dict[str, Any]]:
    """Return the driver's arguments for a URL with `values`."""
    found = dialect.create_connect_args(
        url.set(username=values.get("user", url.username), password=values["password"])
    )
    return list(found[0]), dict(found[1])


def _directly(call: Callable[[], T]) -> T:
    return call()


def _in_loop(call: Callable[[], T]) -> T:
    """Run a call that may block on a thread: the caller is a greenlet of an event loop."""
    from sqlalchemy.util import await_only

    found: T = await_only(asyncio.to_thread(call))
    return found


def _pause(dialect: Any) -> None:
    if not dialect.is_async:
        time.sleep(PAUSE_SECONDS)
        return
    from sqlalchemy.util import await_only

    await_only(asyncio.sleep(PAUSE_SECONDS))
