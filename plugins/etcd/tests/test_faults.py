"""Faults of a cluster and of the network: members that hang, are down, have no leader, or are not etcd."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer

import pytest
import strongroom_etcd.listening
from etcd_server import EtcdServer, cluster
from etcd_support import KEY, VALUE, b64, put
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    PermissionDeniedError,
    TamperedError,
    ThrottledError,
)
from strongroom.testing.faults import FaultProxy
from strongroom_etcd import EtcdSecretProvider


def batches_of(provider):
    """Subscribe; return the subscription, the batches that came so far, and a function that waits for the next."""
    batches, came = [], threading.Semaphore(0)

    def changed(changes):
        batches.append([(one.key, one.kind) for one in changes])
        came.release()

    return provider.subscribe_changes(changed), batches, lambda: came.acquire(timeout=300)


def test_another_member_is_asked_where_one_does_not_answer_any_more(make, server):
    """A host that hangs, or is cut off, keeps its connections: it gets half of a call's time, once."""
    with FaultProxy(server.port) as proxy:
        provider = make([f"http://127.0.0.1:{proxy.port}", server.url])
        provider.set_secret("key", "1")
        client = provider._backend._client
        kept = [client._take(provider._deadline()) for _ in range(3)]
        client._idle.extend(kept)
        provider._timeout = 4
        proxy.mode = "black_hole"
        provider.set_secret("key", "2")
        opened = proxy.connections
        assert provider.get_secret("key") == "2"
        assert proxy.connections == opened
        assert len(provider.list_versions("key")) == 2


def test_another_member_is_asked_where_a_kept_connection_died_and_a_new_one_hangs(make, server):
    """A member that starts again takes connections before it answers on them."""
    with FaultProxy(server.port) as proxy:
        provider = make([f"http://127.0.0.1:{proxy.port}", server.url], timeout=4)
        provider.set_secret("key", "1")
        proxy.mode = "black_hole"
        for kept in provider._backend._client._idle:
            kept.socket.shutdown(socket.SHUT_RDWR)
        assert provider.get_secret("key") == "1"


@pytest.mark.parametrize(
    "message", [b'{"result": {"created": true}}', b'{"result": 1}', b"[]", b"{", b"\xff"]
)
def test_what_answers_a_watch_and_is_not_etcd_is_an_outage(make, server, message):
    provider = make()
    provider.set_secret("key", "1")
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as other:
        held = []

        def answer():
            with contextlib.suppress(OSError):
                while True:
                    held.append(other.accept()[0])
                    held[-1].sendall(head + b"%x\r\n%b\n\r\n" % (len(message) + 1, message))

        threading.Thread(target=answer, daemon=True).start()
        client = provider._backend._client
        client._endpoints[:] = [f"http://127.0.0.1:{other.getsockname()[1]}"]
        with pytest.raises(BackendUnavailableError, match="watch"):
            provider.subscribe_changes(print)
        other.shutdown(socket.SHUT_RDWR)
        for one in held:
            one.close()


@pytest.mark.parametrize("hangs", ["at once", "after its head"])
def test_another_member_is_watched_where_one_hangs(make, server, hangs):
    make().set_secret("key", "1")
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" if hangs == "after its head" else b""
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        held = []

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    held.append(hanging.accept()[0])
                    held[-1].sendall(head)

        threading.Thread(target=accept, daemon=True).start()
        port = hanging.getsockname()[1]
        subscription, batches, waits = batches_of(make([f"http://127.0.0.1:{port}", server.url], timeout=4))
        assert held
        make().set_secret("key", "2")
        assert waits()
        assert batches == [[("key", "set")]]
        subscription.close()
        for one in held:
            one.close()
        hanging.shutdown(socket.SHUT_RDWR)


def test_a_watch_leaves_a_member_that_hangs_and_keeps_its_connection(make, server, monkeypatch):
    """The system answers for it when it is asked whether it is there."""
    monkeypatch.setattr(strongroom_etcd.listening, "_SILENT_SECONDS", 1.0)
    monkeypatch.setattr(strongroom_etcd.listening, "_CONNECT_SECONDS", 2.0)
    with FaultProxy(server.port) as proxy:
        other = make()
        other.set_secret("key", "1")
        watched = make([f"http://127.0.0.1:{proxy.port}", server.url], timeout=4)
        subscription, batches, waits = batches_of(watched)
        proxy.mode = "black_hole"
        other.set_secret("key", "2")
        assert waits()
        assert batches == [[("key", "set")]]
        subscription.close()


@pytest.fixture(scope="module")
def alone():
    """A server that may be killed; it tells watches often how far it is."""
    running = EtcdServer("--experimental-watch-progress-notify-interval", "100ms")
    yield running
    running.stop()


def test_what_is_compacted_while_nothing_happens_is_no_miss(make, alone):
    """A member tells now and then how far it is: a watch that is cut off goes on from there."""
    with FaultProxy(alone.port) as proxy:
        other, watched = make(alone.url), make(f"http://127.0.0.1:{proxy.port}")
        other.set_secret("key", "1")
        subscription, batches, waits = batches_of(watched)
        for _ in range(5):
            put(alone, "elsewhere", "x")
        revision = alone.ask("/v3/kv/range", {"key": b64("nothing")})["header"]["revision"]
        deadline = time.monotonic() + 300
        while subscription._next <= int(revision):
            assert time.monotonic() < deadline, "the server reports no progress"
            time.sleep(0.01)  # it tells no other way how far it is
        alone.ask("/v3/kv/compaction", {"revision": revision})
        before, proxy.mode = proxy.resets, "reset"
        other.set_secret("key", "2")
        proxy.wait_for_reset(before)
        proxy.mode = "pass"
        assert waits()
        assert batches == [[("key", "set")]]
        subscription.close()


def test_a_watch_that_is_closed_while_it_connects_again_ends(make, server):
    with FaultProxy(server.port) as proxy:
        other = make()
        other.set_secret("key", "1")
        provider = make(f"http://127.0.0.1:{proxy.port}")
        subscription, _, _ = batches_of(provider)
        client, connected = provider._backend._client, threading.Event()
        begin = client.stream

        def begin_and_wait(*given):
            begun = begin(*given)
            connected.set()
            subscription._ended.wait(300)
            return begun

        client.stream = begin_and_wait
        proxy.cut_after = 0
        other.set_secret("key", "2")  # the notice of it is the next byte
        assert connected.wait(300)
        subscription.close()
        assert not subscription._thread.is_alive()


def test_a_watch_that_was_cut_off_for_longer_than_revisions_are_kept(make, server):
    """It says that changes may have been missed, and goes on."""
    with FaultProxy(server.port) as proxy:
        other = make()
        other.set_secret("key", "1")
        subscription, batches, waits = batches_of(make(f"http://127.0.0.1:{proxy.port}"))
        before, proxy.mode = proxy.resets, "reset"
        for value in ("2", "3"):
            other.set_secret("key", value)
        proxy.wait_for_reset(before)
        revision = server.ask("/v3/kv/range", {"key": b64("nothing")})["header"]["revision"]
        server.ask("/v3/kv/compaction", {"revision": revision})
        proxy.mode = "pass"
        assert waits()
        assert batches == [[]]
        other.set_secret("key", "4")
        assert waits()
        assert batches == [[], [("key", "set")]]
        subscription.close()


def test_a_server_that_answers_nothing_is_given_up_in_time(make, server):
    with FaultProxy(server.port) as proxy:
        make(f"http://127.0.0.1:{proxy.port}").set_secret("key", "1")
        provider = make(f"http://127.0.0.1:{proxy.port}", timeout=0.3)
        proxy.mode = "black_hole"
        lock = provider.lock("job", ttl_seconds=60, wait_seconds=0)
        for call in (
            lambda: provider.get_secret("key"),
            lambda: provider.set_secret("key", "2"),
            lock.__enter__,
        ):
            with pytest.raises(BackendUnavailableError, match=f":{proxy.port}"):
                call()
        proxy.mode = "pass"
        for _ in range(100):  # a machine that is busy may take more than 0.3 s for an answer
            with contextlib.suppress(BackendUnavailableError):
                assert provider.get_secret("key") == "1"
                break
        else:
            pytest.fail("it does not heal")


@pytest.mark.parametrize("mode", ["reset", "refuse", "half"])
def test_a_connection_that_is_cut_is_an_outage_and_then_over(make, server, mode):
    with FaultProxy(server.port) as proxy:
        provider = make(f"http://127.0.0.1:{proxy.port}", timeout=5)
        provider.set_secret("key", "1")
        provider.close()
        proxy.mode = mode
        with pytest.raises(BackendUnavailableError):
            provider.get_secret("key")
        proxy.mode = "pass"
        assert provider.get_secret("key") == "1"


def test_another_member_is_asked_where_one_is_down(make, server):
    provider = make(["http://127.0.0.1:1", server.url])
    provider.set_secret("key", "1")
    assert provider.get_secret("key") == "1"


class WithoutLeader(BaseHTTPRequestHandler):
    """A member that is cut off from the others; it keeps its connections open."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(self.path)
        body = json.dumps({"code": 14, "message": "etcdserver: no leader"}).encode()
        self.send_response(503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_another_member_is_asked_where_one_has_no_leader(make, server):
    make().set_secret("key", "1")
    with ThreadingHTTPServer(("127.0.0.1", 0), WithoutLeader) as alone:
        alone.daemon_threads, alone.asked = True, []
        threading.Thread(target=alone.serve_forever, args=(0.01,), daemon=True).start()
        provider = make([f"http://127.0.0.1:{alone.server_port}", server.url])
        assert provider.get_secret("key") == "1"
        provider.set_secret("key", "2")
        assert make().get_secret("key") == "2"
        assert len(alone.asked) == 1
        alone.shutdown()


def test_a_balancer_is_asked_over_a_new_connection_where_a_member_has_no_leader(make, server):
    make().set_secret("key", "1")
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), WithoutLeader) as alone,
        FaultProxy(alone.server_port) as balancer,
    ):
        alone.daemon_threads, alone.asked = True, []
        threading.Thread(target=alone.serve_forever, args=(0.01,), daemon=True).start()
        provider = make(f"http://127.0.0.1:{balancer.port}", timeout=30)
        with pytest.raises(BackendUnavailableError, match="no leader"):
            provider.get_secret("key")
        balancer._target = server.port
        assert provider.get_secret("key") == "1"
        alone.shutdown()


def test_what_is_not_etcd(make, server):
    with pytest.raises(BackendUnavailableError):
        make("http://127.0.0.1:1", timeout=5).get_secret("key")


HEADER = '{"header": {"revision": "1"}'


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, "{}", BackendUnavailableError),
        (200, "[]", BackendUnavailableError),
        (200, "<html>sign in</html>", BackendUnavailableError),
        pytest.param(200, "[" * 100_000, BackendUnavailableError, id="nested"),
        pytest.param(400, "[" * 100_000, BackendUnavailableError, id="refused, nested"),
        (200, '{"header": "x"}', BackendUnavailableError),
        (200, HEADER + "}", BackendUnavailableError),
        (200, HEADER + ', "kvs": "x"}', BackendUnavailableError),
        (200, HEADER + ', "kvs": [{"value": "eA=="}]}', BackendUnavailableError),
        (200, HEADER + ', "kvs": [{"key": "eA==", "value": 5}]}', BackendUnavailableError),
        (200, HEADER + ', "kvs": [{"key": "eA==", "value": "?"}]}', BackendUnavailableError),
        (200, HEADER + ', "responses": [[]]}', BackendUnavailableError),
        (200, HEADER + ', "responses": [{"response_range": {"kvs": {}}}]}', BackendUnavailableError),
        (401, "no", BackendUnavailableError),
        (403, "no", BackendUnavailableError),
        (404, "no", BackendUnavailableError),
        (429, "slowly", ThrottledError),
        (503, "busy", BackendUnavailableError),
        (403, '{"code": 7, "message": "etcdserver: permission denied"}', PermissionDeniedError),
    ],
)
def test_a_server_that_is_another(status, body, expected, monkeypatch):
    """What is not etcd's answer is an outage, as a proxy's refusal is: no secret is absent, and no write was done."""
    monkeypatch.setattr("strongroom_etcd.client._PAUSE", 0.001)
    answers = []

    class Other(BaseHTTPRequestHandler):
        def do_POST(self):
            answers.append(self.path)
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as other:
        thread = threading.Thread(target=other.serve_forever, args=(0.01,))
        thread.start()
        address = f"http://127.0.0.1:{other.server_port}"
        provider = EtcdSecretProvider(address, encryption_key=KEY, timeout=120)
        calls = [lambda: provider.set_secret("key", VALUE)]
        if not body.startswith(HEADER):  # else nothing is there, as an empty cluster says it
            calls += [lambda: provider.get_secret("key"), provider.list_secrets, provider.diagnose]
            calls.append(lambda: provider.subscribe_changes(print))
        try:
            for call in calls:
                with pytest.raises(expected) as caught:
                    call()
                assert type(caught.value) is expected
                assert caught.value.hint
                assert VALUE not in str(caught.value)
        finally:
            other.shutdown()
            thread.join()
            provider.close()
    assert answers


@pytest.mark.parametrize("head", ["200 OK\r\nContent-Length: {}", "2{}\r\nContent-Length: 0"])
def test_a_number_of_thousands_of_digits_is_not_an_answer(head, monkeypatch):
    monkeypatch.setattr("strongroom_etcd.client._PAUSE", 0.001)

    class Other(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.wfile.write(f"HTTP/1.1 {head.format('9' * 5000)}\r\n\r\n".encode())

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as other:
        thread = threading.Thread(target=other.serve_forever, args=(0.01,))
        thread.start()
        address = f"http://127.0.0.1:{other.server_port}"
        try:
            with (
                EtcdSecretProvider(address, encryption_key=KEY, timeout=120) as provider,
                pytest.raises(BackendUnavailableError),
            ):
                provider.get_secret("key")
        finally:
            other.shutdown()
            thread.join()


def test_an_address_for_other_members_or_without_tls_is_named(make, server):
    peers = f"http://127.0.0.1:{server._peer}"
    with pytest.raises(BackendUnavailableError, match=peers) as caught:
        make(peers, timeout=5).get_secret("key")
    assert "client address" in caught.value.hint
    secure = server.url.replace("http:", "https:")
    with pytest.raises(ConfigurationError, match=secure) as caught:
        make(secure, timeout=5).get_secret("key")
    assert "http://" in caught.value.hint


def test_a_watch_lives_through_a_restart_and_a_compaction(make, alone):
    """A crash: what was written while nobody listened is told afterwards, or that something may be missing."""
    provider = make(alone.url)
    provider.set_secret("key", "1")
    heard = []
    came = threading.Event()

    def changed(changes):
        heard.extend(changes or [None])
        came.set()

    subscription = provider.subscribe_changes(changed)
    alone.kill()
    alone.start()
    alone.wait()
    make(alone.url).set_secret("key", "2")
    assert came.wait(300)
    assert [one if one is None else (one.key, one.kind) for one in heard][-1] == ("key", "set")
    subscription.close()


def test_a_watch_of_a_cluster_that_was_restored_says_that_changes_may_have_been_missed(make):
    """The cluster's revision is lower than the one to continue from: it would not tell of changes until it is there again."""
    running = EtcdServer()
    try:
        provider = make(running.url)
        provider.set_secret("key", "1")
        running.save("snapshot")
        subscription, batches, waits = batches_of(provider)
        for value in ("2", "3", "4"):
            provider.set_secret("key", value)
            assert waits()
        running.kill()
        running.restore("snapshot")
        running.start()
        running.wait()
        assert waits()
        assert batches[3:] == [[]]
        make(running.url).set_secret("other", "5")
        assert waits()
        assert batches[3:] == [[], [("other", "set")]]
        with pytest.raises(TamperedError):
            provider.get_secret("key")
        subscription.close()
    finally:
        running.stop()


@pytest.mark.torture
def test_a_cluster_of_three_with_one_killed(make):
    """No acknowledged write is lost as each member in turn dies and comes back."""
    members = cluster()
    try:
        provider = make([one.url for one in members])
        count = 0
        for member in members:
            member.kill()
            for _ in range(20):
                count += 1
                provider.set_secret("key", str(count))
                assert provider.get_secret("key") == str(count)
            member.start()
            member.wait()
        assert provider.verify(versions=True) == []
    finally:
        for one in members:
            one.stop()


@pytest.mark.torture
def test_a_watch_does_not_stay_with_a_member_that_has_no_leader(make, caplog):
    """It waits for elections, ten seconds long."""
    stopped = threading.Event()

    class Handler(logging.Handler):
        def emit(self, record):
            if "the watch stopped" in record.getMessage():
                stopped.set()

    caplog.set_level(logging.INFO, "strongroom.etcd")
    log, handler = logging.getLogger("strongroom.etcd"), Handler()
    log.addHandler(handler)
    members = cluster(2)  # of which one alone has no leader
    try:
        provider = make(members[0].url)
        provider.set_secret("key", "1")
        subscription, batches, waits = batches_of(provider)
        for one in members[1:]:
            one.kill()
        assert stopped.wait(300)
        for one in members[1:]:
            one.start()
        for one in members:
            one.wait()
        make([one.url for one in members[1:]]).set_secret("key", "2")
        assert waits()
        assert batches == [[("key", "set")]]
        subscription.close()
    finally:
        log.removeHandler(handler)
        for one in members:
            one.stop()
