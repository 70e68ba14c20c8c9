"""A client that is closed while another thread connects, waits or sends."""

from __future__ import annotations

import socket
import threading

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from strongroom_redis.connection import disconnect
from valkey_server import connections_so_far


class Steps(redis.Connection):
    """A connection that opens its socket, and sends its first command, at given moments of a `disconnect`."""

    opened: list[socket.socket]
    connects, looked, had, gone = (threading.Event() for _ in range(4))
    user = None
    _held = None

    @property
    def _sock(self):
        held = self._held
        if self.user not in {None, threading.get_ident()} and not self.gone.is_set():
            self.looked.set()
            assert self.had.wait(60)
        return held

    @_sock.setter
    def _sock(self, held):
        self._held = held
        if held is not None:
            self.had.set()

    def _connect(self):
        type(self).user = threading.get_ident()
        self.connects.set()
        assert self.looked.wait(60)
        self.opened.append(super()._connect())
        return self.opened[-1]

    def on_connect(self):
        assert self.gone.wait(60)
        super().on_connect()


@pytest.fixture
def steps(server):
    """A client and its connection's class, with its own events."""
    made = {name: threading.Event() for name in ("connects", "looked", "had", "gone")}
    kind = type("Steps", (Steps,), {"opened": [], **made})
    pool = redis.ConnectionPool(connection_class=kind, host="127.0.0.1", port=server.port)
    return redis.Redis(connection_pool=pool), kind


def test_no_socket_is_lost_and_nothing_sent_that_another_thread_has_just_opened(steps, server):
    """The caller has its error by then: what is sent late could undo what its caller has done since."""
    client, kind = steps
    ended = []
    thread = threading.Thread(target=lambda: ended.append(_failure(lambda: client.set("late", "value"))))
    thread.start()
    assert kind.connects.wait(60)
    disconnect(client)  # looks for a socket before the thread has opened one, and goes on after it has
    kind.gone.set()
    thread.join(60)
    assert ended == ["the connection was cut"]
    assert server.ask("EXISTS", "late") == b":0\r\n"
    assert [one.fileno() for one in kind.opened] == [-1]


def test_all_idle_connections_are_closed_after_calls_that_were_left_to_themselves(server):
    client = redis.Redis(port=server.port, client_name="idle")
    pool = client.connection_pool
    used = [pool.get_connection() for _ in range(3)]
    disconnect(client)
    for one in used:
        pool.release(one)
    disconnect(client)
    assert [one._sock for one in used] == [None] * 3
    assert client.ping()
    client.close()


def test_a_call_that_waits_ends_in_its_own_thread_and_is_not_repeated(server):
    """A repeated write could come after what its caller has done since."""
    client = redis.Redis(port=server.port, client_name="waits", retry=Retry(NoBackoff(), 3))
    ended = []
    thread = threading.Thread(target=lambda: ended.append(_failure(lambda: client.blpop("nothing", 300))))
    thread.start()
    while b"cmd=blpop" not in server.ask("CLIENT", "LIST"):
        pass
    before = connections_so_far(server)
    disconnect(client)
    thread.join(60)
    assert ended == ["the connection was cut"]
    assert connections_so_far(server) == before + 1
    assert b"name=waits" not in server.ask("CLIENT", "LIST")
    assert client.ping()  # as the lock is given back of which the answer came too late
    client.close()


def _failure(call):
    try:
        call()
    except redis.RedisError as error:
        return str(error)
