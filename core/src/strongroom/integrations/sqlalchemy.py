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

from strongroom.integrations.following import BEFORE, PAUSE_SECONDS, Follower, Stamp, in_thread

__all__ = ["follow"]

T = TypeVar("T")
_STAMP = "strongroom.follow"


def follow(engine: Any, registry: Any, key: str, *, min_life: float | None = None) -> Follower:
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

    followed = _FollowedEngine(getattr(engine, "sync_engine", engine), registry, key, min_life)
    for target, name, listener in followed.listeners:
        event.listen(target, name, listener)

    def end() -> None:
        for target, name, listener in followed.listeners:
            if event.contains(target, name, listener):
                event.remove(target, name, listener)

    followed.follower.when_closed(end)
    return followed.follower


class _FollowedEngine:
    """What an engine does from now on to open, hand out and take back a connection.

    Attributes:
        follower: The live values.
        listeners: The target, the name and the listener of each event.
    """

    def __init__(self, engine: Any, registry: Any, key: str, min_life: float | None) -> None:
        self.follower = Follower(registry, key, min_life=min_life)
        self._engine = engine
        given_args, given = engine.dialect.create_connect_args(engine.url)
        self._url_args, self._url_params = list(given_args), dict(given)
        self.listeners: list[tuple[Any, str, Any]] = [
            (engine, "do_connect", self._connect),
            (engine.pool, "connect", self._connected),
            (engine.pool, "checkout", self._check_out),
            (engine.pool, "checkin", self._check_in),
            (engine, "handle_error", self._failed),
        ]

    def _connect(self, dialect: Any, record: Any, args: list[Any], params: dict[str, Any]) -> Any:
        def connect(values: dict[str, str]) -> Any:
            live_args, live = _changes(dialect, self._engine.url, values)
            changed = {name: one for name, one in live.items() if self._url_params.get(name) != one}
            return dialect.connect(
                *(live_args if list(args) == self._url_args else args), **{**params, **changed}
            )

        run = _in_loop if dialect.is_async else _directly
        connection, record.info[_STAMP] = self.follower.log_in(
            connect, run=run, pause=lambda: _pause(dialect)
        )
        return connection

    def _connected(self, _connection: Any, record: Any) -> None:
        record.info.setdefault(_STAMP, None)  # a pool with its own `creator` asks nobody for values

    def _stamp_of(self, record: Any) -> Stamp | None:
        # Not by the pool's time of opening it: the clock may be set back.
        stamp: Stamp | None = record.info.get(_STAMP, BEFORE)
        return stamp

    def _check_out(self, _connection: Any, record: Any, _proxy: Any) -> None:
        stamp = self._stamp_of(record)
        waits = self._engine.dialect.is_async and not self.follower.answers_at_once()
        if not (_in_loop if waits else _directly)(lambda: self.follower.may_go_out(stamp)):
            from sqlalchemy.exc import DisconnectionError

            raise DisconnectionError("its credentials are no longer those to log in with")

    def _check_in(self, connection: Any, record: Any) -> None:
        in_loop = self._engine.dialect.is_async
        if connection is not None and self.follower.came_back(self._stamp_of(record), in_loop=in_loop):
            record.invalidate()

    def _failed(self, context: Any) -> None:
        call = _in_loop if context.dialect.is_async else _directly
        error = getattr(context.original_exception, "orig", None) or context.original_exception
        call(lambda: self.follower.failed(error))


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

    result: T = await_only(in_thread(call))
    return result


def _pause(dialect: Any) -> None:
    if not dialect.is_async:
        time.sleep(PAUSE_SECONDS)
        return
    from sqlalchemy.util import await_only

    await_only(asyncio.sleep(PAUSE_SECONDS))
