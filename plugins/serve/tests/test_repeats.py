"""Requests that came before are known by their bytes: they get what the long way would give, and nothing else."""

from __future__ import annotations

import asyncio
import os
import re
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from served import ADMIN, WEB, spec_of
from strongroom import SecretProviderRegistry
from strongroom_serve import repeats
from strongroom_serve.app import App
from strongroom_serve.asking import Backend
from strongroom_serve.config import config_of
from strongroom_serve.http import Connections

CACHED = [{"type": "caching", "ttl_seconds": 3600}]


class Counted(App):
    """Counts the requests that went the long way."""

    long_ways = 0

    async def __call__(self, *given):
        self.long_ways += 1
        await super().__call__(*given)


async def idle(connection):
    """Wait until a connection has answered what came, or waits for the rest of a body."""
    while not connection._closed and connection._current_request is not None:
        if connection._body_receiver is not None and connection._body_receiver._waiter is not None:
            return
        await asyncio.sleep(0)  # gunicorn has no event for it


def get(server, key, **more):
    """Read a key, on a connection that has done with the request before."""
    for one in list(server.connections.open):
        server.do(idle(one))
    return server.get(key, **more)


@pytest.fixture
def server(served):
    web = {"name": "web", "token": WEB, "allow": ["app/*"], "operations": ["get"]}
    made = served(spec_of(web, middleware=CACHED), app=Counted, recorded=False)
    made.registry.set_secret("app/x", "one")
    made.registry.set_secret("app/y", "of y")
    return made


def test_a_read_that_came_before_is_answered_at_once_and_counted_as_all_are(server):
    replies = [get(server, "app/x", token=WEB) for _ in range(9)]
    assert {one.data["data"]["value"] for one in replies} == {"one"}
    assert len({one.json()["request_id"] for one in replies}) == 9
    assert len({(*sorted(one.headers.keys()),) for one in replies}) == 1
    assert server.app.long_ways == 1
    text = server.ask("GET", "/metrics").body.decode()
    assert 'strongroom_serve_requests_total{client="web",operation="get",status="200"} 9' in text
    assert "strongroom_serve_request_duration_seconds_count 9" in text


def test_the_value_and_its_number_are_read_each_time(server):
    get(server, "app/x", token=WEB)
    server.registry.set_secret("app/x", "two")
    assert get(server, "app/x", token=WEB).data["data"] == {"value": "two"}
    assert server.put("app/x", {"user": "u"}, cas=2).status == 200
    read = get(server, "app/x", token=WEB).data
    assert (read["data"], read["metadata"]["version"]) == ({"user": "u"}, 3)
    server.registry.delete_secret("app/x")
    assert get(server, "app/x", token=WEB).status == 404
    server.registry.set_secret("app/x", "four")
    assert get(server, "app/x", token=WEB).data["data"] == {"value": "four"}


def test_what_is_not_a_plain_read_goes_the_long_way_each_time(server):
    asked = [
        ("GET", "/v1/secret/data/app/none", WEB),
        ("GET", "/v1/secret/data/other", WEB),
        ("GET", "/v1/secret/data/app/x", "wrong-token-0123456789"),
        ("GET", "/v1/secret/data/app/x?version=1", ADMIN),
        ("GET", "/v1/secret/metadata/app/x", ADMIN),
        ("HEAD", "/healthz", None),
        ("LIST", "/v1/secret/metadata/", ADMIN),
    ]
    for method, path, token in asked * 2:
        server.ask(method, path, token=token)
    assert server.app.long_ways == 2 * len(asked)
    for more in ({"Connection": "close"}, {"Content-Length": "0"}):
        before = server.app.long_ways
        for _ in range(2):
            assert get(server, "app/x", token=WEB, headers=more).status == 200
        assert server.app.long_ways - before == (2 if "Connection" in more else 1)


def test_no_answer_with_a_large_value_is_kept(server):
    """Else a client with one secret of 1 MiB could have a thousand copies kept, by as many spellings."""
    for size, long_ways in ((16_384, 1), (16_385, 3)):
        server.registry.set_secret("app/x", "x" * size)
        before = server.app.long_ways
        for _ in range(3):
            read = get(server, "app/x", token=WEB, headers={"X-Size": str(size)})
            assert read.data["data"] == {"value": "x" * size}
        assert server.app.long_ways - before == long_ways


def test_where_a_hook_watches_it_sees_every_read(served):
    server = served(spec_of(middleware=CACHED))
    server.put("app/x", "one")
    for _ in range(3):
        get(server, "app/x")
    assert [one.operation for one in server.recorder.events] == ["set", "get", "get", "get"]


def test_another_reading_of_the_spec_judges_again_what_came_before(server):
    assert {get(server, "app/x", token=WEB).status for _ in range(2)} == {200}
    registry = SecretProviderRegistry(spec_of(middleware=CACHED))
    after = Backend(registry, config_of(registry.serve_options(), "spec"))
    server.loop.call_soon_threadsafe(server.app.use, after)
    assert get(server, "app/x", token=WEB).status == 403
    assert get(server, "app/x").status == 404


def test_a_user_of_the_socket_is_that_of_the_connection(served, tmp_path):
    me = {"name": "me", "uid": os.getuid(), "allow": ["app/*"]}
    server = served(spec_of(me, middleware=CACHED), app=Counted, recorded=False, unix=tmp_path / "s")
    server.registry.set_secret("app/x", "one")
    request = b"GET /v1/secret/data/app/x HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    for _ in range(2):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(tmp_path / "s"))
            sock.sendall(request)
            assert sock.recv(1000).startswith(b"HTTP/1.1 200")
    assert server.app.long_ways == 1
    assert server.raw(last).startswith(b"HTTP/1.1 403")
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.sendall(request)
        assert sock.recv(1000).startswith(b"HTTP/1.1 403")


def test_each_tenant_gets_its_own(served):
    spec = spec_of(middleware=[*CACHED, {"type": "tenant"}])
    server = served(spec, app=Counted, recorded=False)
    for tenant in ("acme", "blue"):
        server.put("x", f"of {tenant}", headers={"X-Vault-Namespace": tenant})
    before = server.app.long_ways
    for _ in range(3):
        for tenant in ("acme", "blue"):
            read = get(server, "x", headers={"X-Vault-Namespace": tenant})
            assert read.data["data"] == {"value": f"of {tenant}"}
    assert server.app.long_ways - before == 2


def test_what_is_remembered_is_bounded(server, monkeypatch):
    monkeypatch.setattr(repeats, "_MOST", 3)
    monkeypatch.setattr(repeats, "_MOST_BYTES", 300)
    for number in range(9):
        assert get(server, "app/x", token=WEB, headers={"X-Trace": str(number)}).status == 200
    assert get(server, "app/x", token=WEB, headers={"X-Trace": "a" * 300}).status == 200
    assert len(server.app.repeats._known) == 3


# --- against the long way, byte by byte ---


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self):
        super().__init__()
        self.written, self.is_closed = b"", False

    def get_extra_info(self, name, default=None):
        return {"peername": ("127.0.0.1", 5), "sockname": ("127.0.0.1", 6)}.get(name, default)

    def set_write_buffer_limits(self, high=None, low=None):
        pass

    def write(self, data):
        self.written += data

    def close(self):
        self.is_closed = True

    abort = close

    def is_closing(self):
        return self.is_closed


class Spoken:
    """One connection to an application of its own."""

    def __init__(self, *, repeated):
        registry = SecretProviderRegistry(spec_of(middleware=CACHED))
        registry.set_secrets({"x": "first", "y": "second"})
        self.app = Counted(Backend(registry, config_of(registry.serve_options(), "spec")))
        if not repeated:
            self.app.repeats.note = lambda *_: None
        self.connections = Connections(self.app, asyncio.get_running_loop())
        self.made = self.connections.protocol(is_tcp=True)
        self.transport = Transport()
        self.made.connection_made(self.transport)

    async def settle(self):
        await idle(self.made)

    async def say(self, chunks):
        for data, waits in chunks:
            if waits:
                await self.settle()
            if self.made._closed:
                break
            self.made.data_received(data)
        await self.settle()
        return re.sub(
            rb'Date: [^\r]*|"request_id":"[^"]*"|\d{4}-\d\d-\d\dT[^"]*', b"", self.transport.written
        )

    async def close(self):
        self.made.connection_lost(None)
        self.made._task.cancel()
        await asyncio.gather(self.made._task, return_exceptions=True)
        await self.app.close()


def request(method, path, *more, body=b"", version="1.1", token=ADMIN):
    lines = [f"{method} {path} HTTP/{version}", "Host: localhost", f"X-Vault-Token: {token}", *more]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


READ = request("GET", "/v1/secret/data/x")
REQUESTS = [
    READ,
    READ,
    request("GET", "/v1/secret/data/y"),
    request("GET", "/v1/secret/data/none"),
    request("GET", "/v1/secret/data/x", token="wrong-token-0123456789"),
    request("POST", "/v1/secret/data/x", body=b'{"data":{"value":"written"}}'),
    request("DELETE", "/v1/secret/data/y"),
    request(
        "POST", "/v1/secret/data/y", body=b'{"data":{"value":' + b'"' + READ.replace(b"\r\n", b" ") + b'"}}'
    ),
    request("GET", "/v1/secret/data/x", version="1.0"),
    request("GET", "/v1/secret/data/x", "Connection: close"),
    b"\r\n" + READ,
]


async def both(chunks):
    """Return what is answered by the short way and by the long way, and how often the first went the long way."""
    spoken = [Spoken(repeated=True), Spoken(repeated=False)]
    try:
        return [await one.say(chunks) for one in spoken], [one.app.long_ways for one in spoken]
    finally:
        for one in spoken:
            await one.close()


@settings(max_examples=15, deadline=None)
@given(
    asked=st.lists(st.sampled_from(range(len(REQUESTS))), min_size=2, max_size=8),
    cuts=st.lists(st.tuples(st.integers(0, 1000), st.booleans()), max_size=4),
    whole=st.booleans(),
)
def test_however_requests_are_cut_and_joined_the_answers_are_those_of_the_long_way(asked, cuts, whole):
    pieces = [REQUESTS[one] for one in asked]
    if whole:
        chunks = [(piece, True) for piece in pieces]
    else:
        data = b"".join(pieces)
        places = sorted({cut % len(data): waits for cut, waits in cuts}.items())
        edges = [0, *(at for at, _ in places), len(data)]
        waits = [True, *(one for _, one in places)]
        chunks = [
            (data[at:end], wait)
            for at, end, wait in zip(edges[:-1], edges[1:], waits, strict=True)
            if at < end
        ]
    (short, long), _ = asyncio.run(both(chunks))
    assert short == long


@pytest.mark.parametrize(
    ("before", "again"),
    [
        (b"GET /nothing HTTP/1.1\r\nX: ", 0),  # a header that goes on
        (b"POST /v1/secret/data/y HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(READ), 0),
        (b"\r\n", 0),
        (b"", 1),
    ],
)
def test_known_bytes_count_only_where_a_request_begins(before, again):
    chunks = [(READ, True), (READ, True), *([(before, True)] if before else []), (READ, True)]
    (short, long), (ways, all_ways) = asyncio.run(both(chunks))
    assert short == long
    assert all_ways - ways == 1 + again


@pytest.mark.parametrize(
    ("first", "values"), [(READ, ["first", "second"]), (request("GET", "/v1/secret/data/none"), ["second"])]
)
def test_a_request_that_comes_with_another_is_not_known_by_the_bytes_of_the_first(first, values):
    """While the first is under way, the second one waits in the parser."""
    other = request("GET", "/v1/secret/data/y")
    chunks = [(first, True), (other, False), (first, True), (other, True)]
    (short, long), _ = asyncio.run(both(chunks))
    assert short == long
    assert re.findall(r'"value":"(\w+)"', short.decode()) == values * 2


def test_a_connection_that_is_answered_at_once_is_neither_slow_nor_idle():
    async def spoken():
        one = Spoken(repeated=True)
        try:
            await one.say([(READ, True)])
            second = one.connections.protocol(is_tcp=True)
            second.connection_made(Transport())
            second.data_received(READ)
            assert one.app.long_ways == 1
            assert second._head_timer is None
            first_timer = second._keepalive_handle
            second._keepalive_timeout()
            assert not second._closed
            assert second._keepalive_handle is not first_timer
            second._answered_at -= 1000
            second._keepalive_timeout()
            assert second._closed
            second.connection_lost(None)
            await asyncio.sleep(0)
            await second._task
            one.connections.alive = False  # as when the server ends: each answer closes its connection
            assert b"connection: close" in (await one.say([(READ, True)])).lower()
            assert one.app.long_ways == 2
        finally:
            await one.close()

    asyncio.run(spoken())


def test_a_client_that_does_not_read_is_not_answered_without_end():
    async def spoken():
        one = Spoken(repeated=True)
        try:
            await one.say([(READ, True)])
            one.made.pause_writing()
            before = one.app.long_ways
            one.made.data_received(READ)
            for _ in range(20):
                await asyncio.sleep(0)
            assert one.app.long_ways == before + 1  # which waits before it goes on
            one.made.resume_writing()
            await one.settle()
        finally:
            await one.close()

    asyncio.run(spoken())
