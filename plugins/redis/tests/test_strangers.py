"""What answers is not a Redis server that does its work: each is an error of its own kind, soon, and tells no data."""

from __future__ import annotations

import contextlib
import re
import socket
import threading

import pytest
from strongroom.errors import AuthenticationError, BackendUnavailableError, StrongroomError
from strongroom_redis import RedisCacheStore

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


_GREETINGS = {b"HELLO": b"%1\r\n$5\r\nproto\r\n:3\r\n", b"CLIENT": b"+OK\r\n", b"SELECT": b"+OK\r\n"}


class Answering:
    """Gives one answer to whatever it is asked, and counts the commands that ask for something."""

    def __init__(self, answer):
        self.answer, self.asked = answer, []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                held, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(held,), daemon=True).start()

    def _talk(self, held):
        with held, contextlib.suppress(OSError):
            while data := held.recv(65536):
                for command in re.findall(rb"\*\d+\r\n\$\d+\r\n(\w+)", data):
                    greeting = _GREETINGS.get(command)
                    if greeting is not None and not self.answer.startswith(b"HTTP"):
                        held.sendall(greeting)
                        continue
                    self.asked.append(data)
                    held.sendall(self.answer)
                    if not self.answer.startswith(b"-"):
                        return  # it ends there

    def close(self):
        self._listener.close()


@pytest.fixture
def stranger():
    """Return a function that gives a store on a server with one answer, and that server."""
    opened = []

    def make(answer):
        server = Answering(answer)
        store = RedisCacheStore(f"redis://127.0.0.1:{server.port}/0", timeout_seconds=5)
        opened.extend([store, server])
        return store, server

    yield make
    for one in opened:
        one.close()


def _operations(store):
    return {
        "get": lambda: store.get("name"),
        "set": lambda: store.set("name", b"hunter2", 60),
        "fenced": lambda: store.set_fenced("name", b"hunter2", 60, 1),
        "delete": lambda: store.delete("name"),
        "clear": lambda: store.clear("name"),
        "lock": lambda: store.lock("name", ttl_seconds=1, wait_seconds=0).__enter__(),
    }


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n<html>hunter2</html>",
        b"$100\r\nhunter2",
        b"$7\r\nhunter2",
        b"*2\r\n$1\r\n0\r\n",
        b"$-7\r\nx\r\n",
        b"?hunter2\r\n",
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-READONLY You can't write against a read only replica.\r\n",
        b"-MOVED 3999 127.0.0.1:1\r\n",
        b"-ASK 3999 127.0.0.1:1\r\n",
        b"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
        b"-CLUSTERDOWN The cluster is down\r\n",
        b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
        b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
        b"-BUSY Redis is busy running a script.\r\n",
        b"-MISCONF Errors writing to disk hunter2\r\n",
        b"-NOREPLICAS Not enough good replicas to write.\r\n",
        b"-UNKILLABLE hunter2\r\n",
    ],
    ids=lambda answer: answer[:12].decode(errors="replace").split("\r")[0],
)
def test_no_operation_takes_it_for_an_answer(stranger, answer):
    for name in ("get", "set", "fenced", "delete", "clear", "lock"):
        store, _ = stranger(answer)
        with pytest.raises(StrongroomError) as caught:
            _operations(store)[name]()
        assert isinstance(caught.value, BackendUnavailableError), f"{name}: {caught.value!r}"
        assert "127.0.0.1" in str(caught.value)
        text = f"{caught.value!r} {caught.value} {caught.value.__cause__!r} {caught.value.__context__!r}"
        assert "hunter2" not in text


@pytest.mark.parametrize("code", [b"-NOAUTH Authentication required.\r\n", b"-WRONGPASS invalid\r\n"])
def test_a_login_that_is_refused_is_no_outage(stranger, code):
    store, _ = stranger(code)
    with pytest.raises(AuthenticationError):
        store.get("name")


@pytest.mark.parametrize(
    "answer",
    [b"-READONLY You can't write against a read only replica.\r\n", b"-OOM command not allowed.\r\n"],
)
def test_a_write_that_is_refused_is_asked_once(stranger, answer):
    store, server = stranger(answer)
    with pytest.raises(BackendUnavailableError):
        store.set("name", b"data", 60)
    assert len(server.asked) == 1


def test_a_write_that_nobody_answered_is_sent_twice_at_most_and_means_the_same_twice(stranger):
    """redis-py by itself would send it four times; data under one name is the same after each."""
    store, server = stranger(b"$7\r\nhun")
    with pytest.raises(BackendUnavailableError):
        store.set("name", b"data", 60)
    sets = [one for one in server.asked if b"SET" in one]
    assert 1 <= len(sets) <= 2
    assert len(set(sets)) == 1
