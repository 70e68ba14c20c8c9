"""Requests that no honest client sends: they find nothing, end in an orderly way, and leave no trace of a secret."""

from __future__ import annotations

import contextlib
import http.client
import logging
import re
import resource
import socket

import pytest
from served import ADMIN, WEB, spec_of
from strongroom_serve import http as serving
from strongroom_serve.sockets import allow_open_files

HIDDEN = "value-that-nobody-may-see"
RULES = {"name": "web", "token": WEB, "allow": ["app/*"], "deny": ["app/root"], "operations": ["get", "list"]}


@pytest.fixture
def server(served):
    made = served(spec_of(RULES))
    made.registry.set_secrets(
        {"app/x": "mine", "app/root": HIDDEN, "other": HIDDEN, "app": HIDDEN, "a/b/c": HIDDEN}
    )
    return made


def head(path, *more, method="GET", host="localhost", token=WEB):
    name = "X-Aws-Parameters-Secrets-Token" if path.startswith("/secretsmanager/") else "X-Vault-Token"
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", f"{name}: {token}", *more]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


CLOSE = "Connection: close"
PATHS = [
    "/v1/secret/data/app/../other",
    "/v1/secret/data/app/%2e%2e/other",
    "/v1/secret/data/app/%2E%2E%2Fother",
    "/v1/secret/data/app%2f..%2fother",
    "/v1/secret/data/app/%252e%252e/other",
    "/v1/secret/data/app/%252froot",
    "/v1/secret/data/app//root",
    "/v1/secret/data/app/./root",
    "/v1/secret/data/app/root/",
    "/v1/secret/data/app/root%2f",
    "/v1/secret/data/app/root%00",
    "/v1/secret/data/app/root%00/x",
    "/v1/secret/data/app/%72oot",
    "/v1/secret/data/app/roo%74%20",
    "/v1/secret/data/app\\root",
    "/v1/secret/data/app%5croot",
    "/v1/secret/data/app/x%0d%0aX-Vault-Token:%20" + ADMIN,
    "/v1/secret/data/app/%c0%ae%c0%ae/other",
    "/v1/secret/data/app/%ff",
    "/v1/secret/data/app/%zz",
    "/v1/secret/data/app/%",
    "/v1/secret/data/app/%u0072oot",
    "/v1/secret/data/app/root;x=1",
    "/v1/secret/data/app/x#/../root",
    "/v1/secret/data//other",
    "/v1/secret//data/other",
    "//v1/secret/data/other",
    "/v1/../v1/secret/data/other",
    "/v1/secret/metadata/../data/other",
    "/v1/SECRET/data/other",
    "/v1/secret/DATA/other",
    "/v1/secret/data/",
    "/v1/secret/data",
    "/v1/secret/metadata/app/root",
    "/v1/secret/metadata/?list=true&list=true",
    "/v1/secret/data/app/x?version=1&version=0",
    "/v1/secret/data/.rotation/other",
    "/v1/secret/data/app/" + "a" * 600,
    "/v1/secret/data/" + "a/" * 300 + "a",
    "http://localhost/v1/secret/data/other",
    "http://evil.example.com/v1/secret/data/other",
    "*",
    "v1/secret/data/other",
    "/secretsmanager/get?secretId=other",
    "/secretsmanager/get?secretId=app/../other",
    "/secretsmanager/get?secretId=app%2froot",
    "/secretsmanager/get?secretId=app/x&secretId=other",
    "/secretsmanager/get",
]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:60])
def test_no_path_leads_around_the_rules(server, path):
    answer = server.raw(head(path, CLOSE))
    assert HIDDEN.encode() not in answer
    assert answer.startswith((b"HTTP/1.1 40", b"HTTP/1.1 414")), answer[:200]
    assert server.get("app/x", token=WEB).status == 200  # it lives


def test_an_allowed_key_is_found_by_each_spelling_of_its_url(server):
    for path in ("/v1/secret/data/app/x", "/v1/secret/data/app%2Fx", "/v1/secret/data/%61pp/x"):
        assert b'"value":"mine"' in server.raw(head(path, CLOSE))


GOOD = head("/v1/secret/data/app/x")
TOKEN = f"X-Vault-Token: {WEB}\r\n".encode()
BODY = b'{"data":{"value":"x"}}'
BROKEN = {
    "two lengths": head("/v1/secret/data/app/x", "Content-Length: 1", "Content-Length: 2", method="POST")
    + b"xx",
    "a list of lengths": head("/v1/secret/data/app/x", "Content-Length: 1, 2", method="POST") + b"xx",
    "length and chunks": head(
        "/v1/secret/data/app/x", "Content-Length: 4", "Transfer-Encoding: chunked", method="POST"
    )
    + b"0\r\n\r\n"
    + GOOD,
    "a length with a sign": head("/v1/secret/data/app/x", "Content-Length: +1", method="POST") + b"x",
    "a length in hexadecimal": head("/v1/secret/data/app/x", "Content-Length: 0x1", method="POST") + b"x",
    "a negative length": head("/v1/secret/data/app/x", "Content-Length: -1", method="POST"),
    "chunks in capitals with more": head(
        "/v1/secret/data/app/x", "Transfer-Encoding: identity, chunked, identity", method="POST"
    ),
    "a coding that is not known": head("/v1/secret/data/app/x", "Transfer-Encoding: xchunked", method="POST"),
    "a chunk that is no number": head("/v1/secret/data/app/x", "Transfer-Encoding: chunked", method="POST")
    + b"zz\r\nxx\r\n0\r\n\r\n",
    "a folded header": b"GET /v1/secret/data/app/x HTTP/1.1\r\nHost: localhost\r\nX-A: b\r\n c\r\n"
    + TOKEN
    + b"\r\n",
    "a space before the colon": b"GET /v1/secret/data/app/x HTTP/1.1\r\nHost : localhost\r\n"
    + TOKEN
    + b"\r\n",
    "a header without a name": b"GET / HTTP/1.1\r\nHost: localhost\r\n: x\r\n\r\n",
    "a NUL in a header": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n",
    "no version": b"GET /v1/secret/data/app/x\r\n\r\n",
    "HTTP/3.0": b"GET /v1/secret/data/app/x HTTP/3.0\r\nHost: localhost\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "binary": bytes(range(256)),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64 + b"\r\n\r\n",
    "a long line": b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a long header": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: a\r\n" * 1000 + b"\r\n",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_what_is_no_request_is_refused_and_its_connection_closed(server, data, caplog):
    answer = server.raw(data)
    assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5", b"HTTP/1.0 4")) or not answer, answer[:200]
    assert answer.count(b"HTTP/1.") <= 1  # what follows is not taken for a request
    assert b"mine" not in answer
    assert server.registry.get_secret("app/x") == "mine"
    assert server.get("app/x", token=WEB).status == 200
    assert WEB not in caplog.text


@pytest.mark.parametrize(
    "more", [["X-Vault-Token: " + WEB], ["Host: localhost"], ["X-Vault-Namespace: a", "X-Vault-Namespace: b"]]
)
def test_a_header_that_counts_may_not_stand_twice(server, more):
    assert server.raw(head("/v1/secret/data/app/x", *more, CLOSE)).startswith(b"HTTP/1.1 400")


def test_each_of_several_requests_at_once_is_judged_by_its_own_token(server):
    requests = [
        head("/v1/secret/data/other", token=ADMIN),
        head("/v1/secret/data/other"),
        head("/v1/secret/data/app/x", token="wrong-token-0123456789"),
        head("/v1/secret/data/app/x", CLOSE),
    ]
    answer = server.raw(b"".join(requests))
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"403", b"403", b"200"]
    assert answer.count(HIDDEN.encode()) == 1


def test_a_body_that_is_too_large_is_413_however_it_comes(server):
    for more, body in [
        ([f"Content-Length: {3 << 20}"], b"x" * 1000),
        (["Transfer-Encoding: chunked"], b"100000\r\n" + b"x" * 0x100000 + b"\r\n" + b"100001\r\n" + b"x" * 0x100001 + b"\r\n"),
    ]:  # fmt: skip
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as sock:
            sock.sendall(head("/v1/secret/data/k", *more, method="POST", token=ADMIN))
            sock.sendall(body)
            assert sock.recv(100).startswith(b"HTTP/1.1 413")
    assert "k" not in server.registry.list_secrets()


@pytest.mark.parametrize(
    ("method", "path", "token", "status"),
    [
        ("POST", "/v1/secret/undelete/app/x", ADMIN, 405),
        ("PATCH", "/v1/secret/data/app/x", ADMIN, 405),
        ("POST", "/v1/secret/data/app/x", WEB, 403),
        ("POST", "/nothing", "a-token-that-is-wrong", 403),
        ("POST", "/v1/secret/data/app/x", ADMIN, 413),
    ],
)
def test_an_answer_before_the_bodys_end_reaches_a_client_that_still_sends(
    server, method, path, token, status
):
    """It sends all before it reads, as most do; a reset would take the answer away."""
    size = 3 << 20 if status == 413 else 1 << 20
    request = head(path, f"Content-Length: {size}", method=method, token=token)
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as sock:
        sock.sendall(request)
        for _ in range(size >> 16):
            sock.sendall(b"x" * (1 << 16))
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        assert answer.status == status
        assert answer.read().endswith(b"}")
        sock.sendall(GOOD)  # the connection is kept
        assert sock.recv(100).startswith(b"HTTP/1.1 200")


def all_answers(server, *parts):
    """Send `parts`, close this side, and return what is answered until the server closes the other."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as sock:
        for part in parts:
            sock.sendall(part)
        sock.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: sock.recv(65536), b""))


def test_a_client_that_closes_its_side_gets_its_answers(server):
    """Requests that came whole are answered, and then the connection ends."""
    read = head("/v1/secret/data/app/x")
    body = b'{"data":{"value":"half"}}'
    write = head("/v1/secret/data/half", f"Content-Length: {len(body)}", method="POST", token=ADMIN)
    assert all_answers(server, read).count(b"HTTP/1.1 200") == 1
    assert all_answers(server, read * 3).count(b"HTTP/1.1 200") == 3
    assert all_answers(server, write + body, read).count(b"HTTP/1.1 200") == 2
    assert server.get("half").data["data"] == {"value": "half"}


def test_a_request_of_which_a_part_is_missing_is_not_done(server):
    """A request that ends early changes nothing, and its connection ends at once."""
    read = head("/v1/secret/data/app/x")
    write = head("/v1/secret/data/part", "Content-Length: 30", method="POST", token=ADMIN)
    part = b'{"data":{"value":"x"}}'
    assert all_answers(server, write + part) == b""
    assert all_answers(server, read[:-9]) == b""
    answers = all_answers(server, read + write + part)
    assert answers.count(b"HTTP/1.1 200") == 1
    assert server.get("part").status == 404


def test_a_body_of_just_under_2_mib_is_taken(server):
    assert server.put("k", "x" * ((2 << 20) - 100)).status == 200


def test_who_is_slow_with_the_headers_is_let_go(server, monkeypatch):
    monkeypatch.setattr(serving, "_HEAD_SECONDS", 0.05)
    for start in (b"", b"GET /v1/secret", GOOD[:-2]):
        answer = server.raw(start)
        assert answer.startswith(b"HTTP/1.1 408") or not answer


def test_too_many_connections_are_refused_and_the_others_go_on(server):
    server.connections.most = 2
    server.get("app/x", token=WEB)  # one that is kept
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as second:
        second.sendall(GOOD)
        assert second.recv(100).startswith(b"HTTP/1.1 200")
        assert server.raw(b"").startswith(b"HTTP/1.1 503")
        assert server.get("app/x", token=WEB).status == 200


@pytest.mark.parametrize("sent", [b"", head("/v1/secret/data/app/x", token="guess-of-a-token-0123456789")])
def test_who_has_shown_no_token_keeps_no_client_out(server, sent):
    """Its connection ends for a new one; those of clients go on."""
    server.connections.most = 2
    assert server.get("app/x", token=WEB).status == 200
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=30) as stranger,
        socket.create_connection(("127.0.0.1", server.port), timeout=30) as client,
    ):
        with contextlib.suppress(ConnectionError):
            stranger.sendall(sent)
        client.sendall(GOOD)
        assert client.recv(100).startswith(b"HTTP/1.1 200")
        with contextlib.suppress(ConnectionError):
            while stranger.recv(1000):
                pass
        assert server.get("app/x", token=WEB).status == 200
        assert len(server.connections.open) == 2


def test_as_many_files_may_be_open_as_connections_need():
    """By default 1,024 may: strangers could take them all, and no secret could be read any more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
        assert [allow_open_files(500), resource.getrlimit(resource.RLIMIT_NOFILE)[0]] == [500, 512]
        assert [allow_open_files(600), resource.getrlimit(resource.RLIMIT_NOFILE)[0]] == [600, 600]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_methods_that_nobody_offers_are_405(server):
    for method in ("TRACE", "CONNECT", "OPTIONS", "PROPFIND", "COPY"):
        answer = server.raw(head("/v1/secret/data/app/x", CLOSE, method=method))
        assert answer.startswith((b"HTTP/1.1 405", b"HTTP/1.1 400")), answer[:100]
        assert b"mine" not in answer


def test_forwarded_headers_change_nothing(server):
    more = ["X-Forwarded-For: 10.0.0.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.example.com"]
    assert server.raw(head("/v1/secret/data/app/x", *more, CLOSE)).startswith(b"HTTP/1.1 200")
    assert server.raw(head("/v1/secret/data/app/x", *more, CLOSE, host="evil.example.com")).startswith(
        b"HTTP/1.1 403"
    )
    agent = head("/secretsmanager/get?secretId=app/x", *more, CLOSE)
    assert server.raw(agent).startswith(b"HTTP/1.1 400")


def test_no_token_and_no_value_is_in_any_log_at_debug(server, caplog):
    caplog.set_level(logging.DEBUG)
    server.loop.call_soon_threadsafe(server.loop.set_debug, True)
    server.put("app/x", HIDDEN)
    server.get("app/x", token=WEB)
    server.get("app/x", token="guess-of-a-token-0123456789")
    server.ask("POST", "/v1/secret/data/app/x", body=f'{{"data": {HIDDEN}'.encode())
    own = {"X-Aws-Parameters-Secrets-Token": ADMIN}
    assert server.ask("GET", "/secretsmanager/get?secretId=app/x", token=None, headers=own).status == 200
    for data in BROKEN.values():
        server.raw(data)
    for hidden in (HIDDEN, WEB, ADMIN, "guess-of-a-token"):
        assert hidden not in caplog.text
    assert caplog.records


def test_what_is_refused_is_counted_and_recorded(server):
    server.get("other", token=WEB)
    server.get("other", token="wrong-token-0123456789")
    assert [
        (one.key, one.actor, one.outcome) for one in server.recorder.events if one.operation == "get"
    ] == [
        ("other", "web", "denied"),
        ("other", "unknown", "denied"),
    ]
    text = server.ask("GET", "/metrics").body.decode()
    assert 'strongroom_serve_refused_total{reason="rule"} 1' in text
    assert 'strongroom_serve_refused_total{reason="token"} 1' in text


def test_the_metrics_have_a_bounded_number_of_lines_whatever_is_asked(server):
    def lines():
        return len(server.ask("GET", "/metrics").body.splitlines())

    server.get("app/x")
    server.get("none/0")
    before = lines()
    for number in range(50):
        server.get(f"none/{number}")
        server.ask("GET", f"/nothing/{number}")
    assert lines() <= before + 2  # those of the paths that are not there, and of this one
    assert "none/" not in server.ask("GET", "/metrics").body.decode()
