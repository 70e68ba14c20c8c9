"""`FaultProxy`: each way to spoil a wire, seen from the client's end."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

import pytest
from strongroom.testing.faults import FaultProxy, damaged, ends_in_time

PATIENCE = 120  # seconds; nothing here comes near unless it is broken


@pytest.fixture
def port():
    """The port of a server that answers everything with the same again, in capitals."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(held):
        with held, contextlib.suppress(OSError):
            while data := held.recv(1024):
                held.sendall(data.upper())

    def serve():
        while True:
            try:
                held, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(held,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.fixture
def proxy(port):
    with FaultProxy(port) as wire:
        yield wire


def connected(proxy):
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE)


def ask(client, text=b"hello"):
    client.sendall(text)
    return client.recv(1024)


def test_a_proxy_passes_everything_on_by_itself(proxy):
    with connected(proxy) as client:
        assert ask(client) == b"HELLO"
        assert ask(client, b"again") == b"AGAIN"
    assert proxy.connections == 1


def test_reset_of_a_new_connection(proxy):
    proxy.mode = "reset"
    with pytest.raises((ConnectionResetError, BrokenPipeError)), connected(proxy) as client:
        ask(client)


def test_reset_of_an_open_connection(proxy):
    """A kept connection is reset at its next use, while nothing else waits for anything."""
    with connected(proxy) as client:
        assert ask(client) == b"HELLO"
        before, proxy.mode = proxy.resets, "reset"
        with pytest.raises(AssertionError, match="no connection was reset within 0 s"):
            proxy.wait_for_reset(before, seconds=0)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            ask(client)
        proxy.wait_for_reset(before)


def test_a_black_hole_accepts_and_answers_nothing(proxy):
    proxy.mode = "black_hole"
    with connected(proxy) as client:
        client.settimeout(0.05)
        with pytest.raises(TimeoutError):
            ask(client)


def test_silence_is_for_what_is_open(proxy):
    with connected(proxy) as before:
        assert ask(before) == b"HELLO"
        proxy.silence()
        with connected(proxy) as after:
            assert ask(after) == b"HELLO"
        before.settimeout(0.05)
        with pytest.raises(TimeoutError):
            ask(before)


def test_half_of_an_answer_comes_and_then_its_end(proxy):
    with connected(proxy) as client:
        assert ask(client) == b"HELLO"
        proxy.mode = "half"
        assert ask(client, b"four") == b"FO"
        assert client.recv(1024) == b""


def test_an_answer_drips_byte_by_byte(proxy):
    with connected(proxy) as client:
        assert ask(client) == b"HELLO"
        proxy.mode = "drip"
        assert ask(client, b"ab") == b"A"
        assert client.recv(1024) == b"B"


def test_a_refused_connection_ends_at_once(proxy):
    proxy.mode = "refuse"
    with connected(proxy) as client:
        assert client.recv(1024) == b""


class TestEndsInTime:
    """Negative seconds are over before the call: what is late is late without any waiting."""

    @staticmethod
    def failing(calls):
        def operation():
            calls.append(1)
            raise TimeoutError

        return operation

    def test_gives_the_error(self):
        calls = []
        assert isinstance(ends_in_time(self.failing(calls), TimeoutError, PATIENCE), TimeoutError)
        assert len(calls) == 1

    def test_tells_what_is_late(self):
        calls = []
        with pytest.raises(AssertionError, match="took"):
            ends_in_time(self.failing(calls), TimeoutError, -1, slack=0)
        assert len(calls) == 1

    def test_says_that_nothing_was_raised(self):
        with pytest.raises(AssertionError, match="no TimeoutError"):
            ends_in_time(lambda: None, TimeoutError, PATIENCE)

    def test_lets_others_pass(self):
        with pytest.raises(TimeoutError):
            ends_in_time(self.failing([]), ValueError, PATIENCE)


def test_damaged_answers_differ_in_one_part_each():
    good = {"names": ["a"], "next": None}
    found = dict(damaged(good))
    assert found["/names gone"] == {"next": None}
    assert found["/names/0 gone"] == {"names": [], "next": None}
    assert good == {"names": ["a"], "next": None}
    assert len(list(damaged(good))) == 9 * 4 + 3


def test_what_is_opened_while_it_closes_is_closed_too(port):
    """Else a socket would be left to the collection of garbage, in the middle of another test."""
    wire = FaultProxy(port)
    wire.close()
    with socket.socket() as late:
        assert not wire._keep(late)
        assert late.fileno() == -1


def test_a_reset_by_the_server_ends_the_clients_connection():
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        FaultProxy(listener.getsockname()[1]) as wire,
        connected(wire) as client,
    ):
        held, _ = listener.accept()
        held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        held.close()
        assert client.recv(1024) == b""


def test_round_trips_are_counted(proxy):
    with connected(proxy) as client, connected(proxy) as other:
        for number in range(3):
            client.sendall(b"a")
            assert client.recv(1) == b"A"
            assert proxy.round_trips == number + 1
        other.sendall(b"b")
        assert other.recv(1) == b"B"
        assert proxy.round_trips == 4
