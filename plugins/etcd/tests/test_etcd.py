"""What only a real etcd shows: what it stores, tampering, limits, log-ins, faults."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import socket
import ssl
import threading
import time
import traceback
from base64 import b64decode, b64encode
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer

import pytest
import strongroom_etcd.listening
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from etcd_server import EtcdServer, cluster
from log_listener import listening
from shared_stores import SharedStoreTests
from strongroom import SecretProviderRegistry, SecretRotation
from strongroom.deadlines import Deadline
from strongroom.encryption.keys import generate_key
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    DecryptionError,
    PermissionDeniedError,
    SecretNotFoundError,
    SecretTooLargeError,
    StrongroomError,
    TamperedError,
    ThrottledError,
)
from strongroom.plugins.credentials import ReferencedText
from strongroom.testing.faults import FaultProxy
from strongroom_etcd import EtcdSecretProvider
from strongroom_etcd.client import Client

KEY = generate_key()
VALUE = "hunter2-correct-horse"
QUICK = ("--bcrypt-cost", "4")


def b64(text):
    return b64encode(text.encode() if isinstance(text, str) else text).decode()


@pytest.fixture
def make(server, prefix):
    """A function that makes providers as separate hosts would; all end with the test."""
    made = []

    def provider(endpoints=server.url, **options):
        made.append(
            EtcdSecretProvider(
                endpoints, **{"prefix": prefix, "encryption_key": KEY, "timeout": 120, **options}
            )
        )
        return made[-1]

    yield provider
    for one in made:
        one.close()


def pairs(server, prefix):
    """Return all that the cluster has below `prefix`."""
    end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
    found = server.ask("/v3/kv/range", {"key": b64(prefix), "range_end": b64(end)}).get("kvs", [])
    return {b64decode(one["key"]): b64decode(one.get("value", "")) for one in found}


def put(server, key, value):
    server.ask("/v3/kv/put", {"key": b64(key), "value": b64(value)})


def remove(server, key):
    server.ask("/v3/kv/deleterange", {"key": b64(key)})


def test_neither_names_nor_values_reach_the_cluster(make, server, prefix):
    make().set_secrets({"app/database/password": VALUE, "app/token": VALUE})
    stored = repr(pairs(server, prefix)).encode()
    for text in (b"app", b"database", b"password", b"token", VALUE.encode()):
        assert text not in stored


@pytest.mark.parametrize("kind", ["s/", "v/"])
@pytest.mark.parametrize("change", ["set", "delete", "stage"])
def test_what_is_put_back_alone_is_found(make, server, prefix, kind, change):
    """By a process that knows nothing of it: an older head, or a row that is taken away."""
    writer = make()
    writer.set_secret("app/key", "old")
    before = pairs(server, prefix)
    {
        "set": lambda: writer.set_secret("app/key", "new"),
        "delete": lambda: writer.delete_secret("app/key"),
        "stage": lambda: writer.stage_secret("app/key", "new"),
    }[change]()
    after = pairs(server, prefix)
    for key in (key for key in after if key.startswith(f"{prefix}{kind}".encode())):
        if key not in before:
            remove(server, key)
        elif before[key] != after[key]:
            put(server, key, before[key])
    with pytest.raises(TamperedError):
        make().get_secret("app/key")
    assert make().verify()


def test_a_whole_older_state_is_found_by_who_has_seen_the_newer(make, server, prefix):
    writer = make()
    writer.set_secret("key", "old")
    before = pairs(server, prefix)
    writer.set_secret("key", "new")
    for key in pairs(server, prefix):
        if key not in before:
            remove(server, key)
    for key, value in before.items():
        put(server, key, value)
    with pytest.raises(TamperedError, match="older state"):
        writer.get_secret("key")
    assert make().get_secret("key") == "old"  # who begins now cannot know


def test_what_another_thread_saw_during_a_read_does_not_make_it_look_older(make, monkeypatch):
    """The read looks again because the value was dropped meanwhile, and is overtaken once more as it does."""
    writer, reader = make(max_versions=1), make()
    writer.set_secret("key", "old")
    writer.discard_version("key", writer.stage_secret("key", "staged"))  # the last row has no value
    row, read = reader._backend.row, reader._backend.read

    def overtaken_row(*args):
        writer.set_secret("key", "new")
        monkeypatch.setattr(reader._backend, "read", overtaken_read)
        return row(*args)

    def overtaken_read(*args):
        found = read(*args)
        monkeypatch.undo()
        writer.set_secret("key", "newer")
        assert reader.get_secret("key") == "newer"  # by another thread
        return found

    monkeypatch.setattr(reader._backend, "row", overtaken_row)
    assert reader.get_secret("key") == "new"


def test_values_that_are_swapped_are_found(make, server, prefix):
    make().set_secrets({"app/a": "1", "app/b": "2"})
    stored = pairs(server, prefix)
    one, other = (key for key in stored if key.startswith(f"{prefix}v/".encode()))
    put(server, one, stored[other])
    put(server, other, stored[one])
    for key in ("app/a", "app/b"):
        with pytest.raises(TamperedError):
            make().get_secret(key)


def test_a_wrong_key_opens_nothing(make):
    make().set_secret("key", "1")
    wrong = make(encryption_key=generate_key())
    for call in (lambda: wrong.get_secret("key"), lambda: wrong.set_secret("key", "2"), wrong.list_secrets):
        with pytest.raises(DecryptionError, match="wrong key"):
            call()


def test_a_rekey_writes_no_secret(make, server, prefix):
    running = make()
    running.set_secret("key", "1")
    before = pairs(server, prefix)
    new = generate_key()
    make().rekey(new)
    after = pairs(server, prefix)
    assert {key for key in after if after[key] != before[key]} == {f"{prefix}header".encode()}
    assert running.get_secret("key") == make(encryption_key=new).get_secret("key") == "1"


def test_a_deleted_secret_can_be_recovered(make):
    provider = make()
    provider.set_secret("key", "1")
    provider.delete_secret("key")
    with pytest.raises(SecretNotFoundError) as caught:
        make().get_secret("key")
    assert caught.value.reason == "deleted"
    provider.recover_secret("key")
    assert make().get_secret("key") == "1"


# --- limits ---


def test_batches_are_one_transaction(make, monkeypatch):
    from strongroom_etcd.client import Client

    sent = []
    call = Client.call

    def counted(self, doing, path, body, deadline):
        sent.append(path)
        return call(self, doing, path, body, deadline)

    provider = make()
    keys = {f"app/{number}": "1" for number in range(100)}
    provider.set_secret("first", "1")
    monkeypatch.setattr(Client, "call", counted)
    provider.set_secrets(keys)
    assert sent == ["/v3/kv/txn"] * 2  # so many are written only if nothing changed since a look
    sent.clear()
    assert provider.get_secrets(keys) == keys
    assert sent == ["/v3/kv/txn"]
    sent.clear()
    provider.get_secret("app/1")
    provider.set_secret("app/1", "2")
    assert sent == ["/v3/kv/txn"] * 2


def test_a_hundred_keys_are_one_request_and_one_revision(make, server):
    """Counted on the way to the cluster, which gives each transaction that writes one revision."""
    keys = {f"app/{number}": "1" for number in range(100)}

    def revision():
        return int(server.ask("/v3/kv/range", {"key": b64("none")})["header"]["revision"])

    with FaultProxy(server.port) as proxy:
        provider = make(f"http://127.0.0.1:{proxy.port}")
        provider.set_secrets(keys)
        for call, requests, writes in [
            (lambda: provider.get_secrets(keys), 1, 0),
            (lambda: provider.set_secrets(dict.fromkeys(keys, "2")), 2, 1),  # a look, then the write
            (lambda: provider.set_secrets({f"new/{key}": "2" for key in keys}), 2, 1),
            (lambda: provider.describe_secrets(keys), 1, 0),
        ]:
            before = proxy.round_trips, revision()
            call()
            assert proxy.round_trips - before[0] == requests
            assert revision() - before[1] == writes


def test_a_batch_that_does_not_fit_writes_nothing(make):
    provider = make()
    provider.set_secret("a0", "old")
    for values in (
        {f"a{number}": "x" * 100_000 for number in range(20)},
        {f"a{number}": "x" for number in range(2049)},
    ):
        with pytest.raises(SecretTooLargeError) as caught:
            provider.set_secrets(values)
        assert caught.value.key == ""  # and not the sealed name of one of them
        assert provider.list_secrets() == ["a0"]
        assert provider.get_secret("a0") == "old"


def test_a_batch_of_many_is_whole_beside_other_writers(make):
    one, other = make(), make()
    keys = [f"app/{number}" for number in range(70)]
    one.set_secrets(dict.fromkeys(keys, "1"))
    other.set_secret("app/3", "2")
    one.set_secrets(dict.fromkeys(keys, "3"))
    assert set(make().get_secrets(keys).values()) == {"3"}
    assert len(make().list_versions("app/3")) == 3


def test_the_cluster_s_own_limit_is_told_as_one(make):
    """Where it was started with a smaller one than the options say."""
    provider = make(max_txn_ops=1000)
    with pytest.raises(SecretTooLargeError, match="too many operations"):
        provider.set_secrets({f"a{number}": "x" for number in range(200)})
    assert make().list_secrets() == []


# --- many hosts ---


class TestManyHosts(SharedStoreTests):
    """What several hosts do with one store."""


def test_a_rotated_value_is_what_another_host_reads(make):
    provider = make()
    provider.set_secret("key", "old")
    SecretRotation(provider, 30).rotate("key")
    assert make().get_secret("key") != "old"


# --- log-ins ---


def with_users(running):
    """Turn on authentication: root, a user who may write below `app/`, and one who may read there."""
    ask = running.ask
    for user in ("root", "writer", "reader"):
        ask("/v3/auth/user/add", {"name": user, "password": f"pw-{user}"})
    ask("/v3/auth/role/add", {"name": "root"})
    ask("/v3/auth/user/grant", {"user": "root", "role": "root"})
    for user, kind in (("writer", "READWRITE"), ("reader", "READ")):
        ask("/v3/auth/role/add", {"name": user})
        permission = {"permType": kind, "key": b64("app/"), "range_end": b64("app0")}
        ask("/v3/auth/role/grant", {"name": user, "perm": permission})
        ask("/v3/auth/user/grant", {"user": user, "role": user})
    ask("/v3/auth/enable", {})
    return running


@pytest.fixture(scope="module")
def guarded():
    running = EtcdServer("--auth-token-ttl", "300", *QUICK)
    yield with_users(running)
    running.stop()


@pytest.fixture(scope="module")
def guarded_by_jwt(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jwt")
    key = ec.generate_private_key(ec.SECP256R1())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key").write_bytes(key.private_bytes(*form))
    public = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "pub").write_bytes(key.public_key().public_bytes(*public))
    auth_token = f"jwt,pub-key={folder / 'pub'},priv-key={folder / 'key'},sign-method=ES256,ttl=10m"
    running = EtcdServer("--auth-token", auth_token, *QUICK)
    yield with_users(running)
    running.stop()


def end_tokens(server, user="writer"):
    """Set a password again: with it end that user's tokens, and, where they are JWTs, everybody's."""
    token = server.ask("/v3/auth/authenticate", {"name": "root", "password": "pw-root"})["token"]
    server.ask("/v3/auth/user/changepw", {"name": user, "password": f"pw-{user}"}, token)


def test_what_users_may(make, guarded):
    def as_user(name, **options):
        login = {"username": name, "password": f"pw-{name}", "prefix": "app/", **options}
        return make(guarded.url, **login)

    as_user("writer").set_secret("key", "1")
    reader = as_user("reader")
    assert reader.get_secret("key") == "1"
    with pytest.raises(PermissionDeniedError):
        reader.set_secret("key", "2")
    with pytest.raises(PermissionDeniedError):
        as_user("writer", prefix="other/").get_secret("key")
    with pytest.raises(AuthenticationError) as caught:
        as_user("writer", password="wrong-pw").get_secret("key")
    assert "wrong-pw" not in f"{caught.value!r}{caught.value.__cause__!r}{caught.value.__context__!r}"
    with pytest.raises(AuthenticationError):
        make(guarded.url, prefix="app/").get_secret("key")


@pytest.mark.parametrize(("kind", "changed"), [("guarded", "writer"), ("guarded_by_jwt", "reader")])
def test_a_token_that_ended_is_replaced_without_an_error(make, request, kind, changed):
    """The cluster forgets a user's tokens as its password is set; JWTs end with any change of anybody."""
    server = request.getfixturevalue(kind)
    provider = make(server.url, username="writer", password="pw-writer", prefix="app/")
    provider.set_secret("key", "1")
    end_tokens(server, changed)
    assert provider.get_secret("key") == "1"
    end_tokens(server, changed)
    heard = threading.Event()
    with closing(provider.subscribe_changes(lambda _: heard.set())):
        provider.set_secret("key", "2")
        assert heard.wait(300)


def test_a_watch_that_is_cut_off_goes_on_with_another_token(make, guarded):
    """To a token that ended the cluster answers with a watch that was never there, and says no more."""
    writer = make(guarded.url, username="writer", password="pw-writer", prefix="app/")
    with FaultProxy(guarded.port) as proxy:
        endpoints = [f"http://127.0.0.1:{proxy.port}", guarded.url]
        reader = make(endpoints, username="reader", password="pw-reader", prefix="app/")
        writer.set_secret("key", "1")
        assert reader.get_secret("key") == "1"
        heard = threading.Event()
        subscription = reader.subscribe_changes(lambda _: heard.set())
        end_tokens(guarded, "reader")
    with closing(subscription):  # which was cut off as the proxy closed
        writer.set_secret("key", "2")
        assert heard.wait(300)


def test_a_watch_that_the_user_may_not_have_is_denied(make, guarded):
    provider = make(guarded.url, username="writer", password="pw-writer", prefix="other/")
    with pytest.raises(PermissionDeniedError, match=r"watch: .*permission denied"):
        provider.subscribe_changes(lambda _: None)
    with pytest.raises(PermissionDeniedError):
        make(guarded.url, prefix="app/").subscribe_changes(lambda _: None)


def test_a_watch_whose_right_is_taken_away_says_so_once_and_again_when_it_is_back(make, guarded):
    """Once the watch is cut off: a stream that is open goes on whatever becomes of the user."""
    token = guarded.ask("/v3/auth/authenticate", {"name": "root", "password": "pw-root"})["token"]

    def change(what, **more):
        user = "name" if what == "revoke" else "user"
        guarded.ask(f"/v3/auth/user/{what}", {user: "fleeting", **more}, token)

    guarded.ask("/v3/auth/user/add", {"name": "fleeting", "password": "pw-fleeting"}, token)
    change("grant", role="writer")
    writer = make(guarded.url, username="writer", password="pw-writer", prefix="app/")
    writer.set_secret("fleeting/key", "1")
    heard = threading.Event()
    spec = {"version": 1, "pipelines": {"none": {"provider": {"type": "memory"}}}}
    with (
        FaultProxy(guarded.port) as proxy,
        SecretProviderRegistry(spec) as registry,
        listening() as log,
    ):
        url = f"http://127.0.0.1:{proxy.port}"
        registry.register(
            "team", make(url, username="fleeting", password="pw-fleeting", prefix="app/"), prefix=""
        )
        with registry.watch("fleeting/", lambda _: heard.set()):
            change("revoke", role="writer")
            proxy.cut_after = 0  # as the next byte goes over the open stream
            writer.set_secret("other", "1")
            log.wait(f"changes at {url} are not received (PermissionDeniedError")
            log.wait("pipeline team", "PermissionDeniedError", "permission denied")
            writer.set_secret("fleeting/key", "2")
            change("grant", role="writer")
            log.wait(f"changes at {url} are received again")
            log.wait("pipeline team can be asked for changes again")
            assert heard.wait(300)
        assert sum("are not received" in one for one in log.messages) == 1
        assert "pw-fleeting" not in str(log.messages)


def batches_of(provider):
    """Subscribe; return the subscription, the batches that came so far, and a function that waits for the next."""
    batches, came = [], threading.Semaphore(0)

    def changed(changes):
        batches.append([(one.key, one.kind) for one in changes])
        came.release()

    return provider.subscribe_changes(changed), batches, lambda: came.acquire(timeout=300)


# --- faults ---


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


def test_another_member_is_asked_where_one_hangs_at_the_log_in(make, guarded):
    with FaultProxy(guarded.port) as proxy:
        proxy.mode = "black_hole"
        options = {"prefix": "app/hanging/", "username": "writer", "password": "pw-writer", "timeout": 4}
        provider = make([f"http://127.0.0.1:{proxy.port}", guarded.url], **options)
        provider.set_secret("key", "1")
        assert provider.get_secret("key") == "1"


def test_while_another_thread_logs_in_a_call_ends_at_its_own_deadline(make, guarded):
    options = {"prefix": "app/waiting/", "username": "writer", "password": "pw-writer"}
    make(guarded.url, **options).set_secret("key", "1")
    provider = make(guarded.url, **options, timeout=0.05)
    held, released = threading.Event(), threading.Event()

    def log_in():
        with provider._backend._client._lock:
            held.set()
            assert released.wait(60)

    other = threading.Thread(target=log_in)
    other.start()
    assert held.wait(60)
    try:
        with pytest.raises(BackendUnavailableError, match="no answer in time"):
            provider.get_secret("key")
    finally:
        released.set()
        other.join()


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


def test_a_provider_that_nobody_closes_closes_its_connection(server, prefix):
    provider = EtcdSecretProvider(server.url, prefix=prefix, encryption_key=KEY, timeout=120)
    assert provider.list_secrets() == []
    (kept,) = provider._backend._client._idle
    del provider
    gc.collect()
    assert kept.socket.fileno() == -1


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


class NotesCertificates(BaseHTTPRequestHandler):
    """Ends each connection after one answer."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append(self.connection.getpeercert()["serialNumber"])
        body = b'{"header": {}}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_a_client_certificate_that_is_replaced_is_used_for_the_next_connection(tmp_path):
    authority = trustme.CA()
    ca, cert, key = (tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem"))
    authority.cert_pem.write_to_path(ca)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.issue_cert("127.0.0.1").configure_cert(context)

    def write(path, pem):
        new = tmp_path / "new"
        pem.write_to_path(new)
        new.rename(path)

    with ThreadingHTTPServer(("127.0.0.1", 0), NotesCertificates) as running:
        running.daemon_threads, running.seen = True, []
        running.socket = context.wrap_socket(running.socket, server_side=True)
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        client = Client([f"https://127.0.0.1:{running.server_port}"], None, None, (ca, cert, key), 4)

        def ask():
            client.call("read", "/v3/kv/range", {}, Deadline(600))

        with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
            ask()
        first, second = (authority.issue_cert("client") for _ in range(2))
        write(cert, first.cert_chain_pems[0])
        write(key, first.private_key_pem)
        ask()
        write(cert, second.cert_chain_pems[0])  # which does not fit the key yet
        ask()
        write(key, second.private_key_pem)
        ask()
        client.close()
        running.shutdown()
    one, same, other = running.seen
    assert one == same != other


def test_a_wait_of_any_length_is_one(make):
    provider = make(timeout=1e300)
    provider.set_secret("key", "value")
    assert provider.get_secret("key") == "value"


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


def test_a_write_whose_answer_was_lost_counts_once(make, monkeypatch):
    from strongroom_etcd.http import HTTPConnection, LostError

    provider = make()
    provider.set_secret("key", "1")
    version = provider.describe_secret("key").version
    post = HTTPConnection.post
    lost = []

    def losing(self, path, body, token, deadline):
        found = post(self, path, body, token, deadline)
        if b"requestPut" in body and not lost:
            lost.append(path)
            raise LostError("cut")
        return found

    monkeypatch.setattr(HTTPConnection, "post", losing)
    after = provider.set_secret_if("key", "2", version)
    assert lost
    assert provider.describe_secret("key").version == after
    assert len(provider.list_versions("key")) == 2


def test_a_lock_whose_answer_was_lost_is_held(make, monkeypatch):
    from strongroom_etcd.http import HTTPConnection, LostError

    provider = make()
    provider.set_secret("key", "1")
    post = HTTPConnection.post
    lost = []

    def losing(self, path, body, token, deadline):
        found = post(self, path, body, token, deadline)
        if b"requestPut" in body and not lost:
            lost.append(path)
            raise LostError("cut")
        return found

    monkeypatch.setattr(HTTPConnection, "post", losing)
    with provider.lock("job", ttl_seconds=60, wait_seconds=0) as first:
        assert lost
        with pytest.raises(ConflictError), make().lock("job", ttl_seconds=60, wait_seconds=0):
            pass
    with make().lock("job", ttl_seconds=60, wait_seconds=0) as second:
        assert second > first


def test_who_waits_for_a_lock_longer_than_it_may_be_held_gets_it(make, server):
    backend, deadline = make()._backend, Deadline(600)
    holder = backend.lock(b"job", 3600, deadline)
    first = holder.acquire(deadline)
    waiting = backend.lock(b"job", 3600, deadline)
    assert waiting.acquire(deadline) is None
    its = waiting._lease
    server.ask("/v3/lease/revoke", {"ID": its})  # as if its time were over
    assert waiting.acquire(deadline) is None
    holder.release(deadline)
    assert waiting.acquire(deadline) > first
    assert waiting._lease != its
    assert backend.lock(b"job", 3600, deadline).acquire(deadline) is None
    waiting.release(deadline)
    assert backend.lock(b"job", 3600, deadline).acquire(deadline) is not None


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


# --- options ---


@pytest.mark.parametrize(
    "endpoints",
    [
        "etcd:2379",
        "http://u:pw@etcd:2379",
        "http://etcd/path",
        "",
        [],
        "ftp://x",
        "http://etcd:x",
        "http://etcd:99999",
    ],
)
def test_an_endpoint_that_is_not_one_is_refused_before_any_request(endpoints):
    with pytest.raises(ConfigurationError, match="endpoint") as caught:
        EtcdSecretProvider(endpoints, encryption_key=KEY)
    assert "pw" not in str(caught.value)


def test_a_client_s_key_needs_its_certificate():
    with pytest.raises(ConfigurationError, match="client_key without client_cert"):
        EtcdSecretProvider("https://etcd:2379", encryption_key=KEY, client_key="key.pem")


def test_a_key_is_needed(monkeypatch):
    monkeypatch.delenv("STRONGROOM_ENCRYPTION_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="no key"):
        EtcdSecretProvider("http://etcd:2379")


def test_repr_holds_no_password():
    provider = EtcdSecretProvider("http://etcd:2379", username="u", password=VALUE, encryption_key=KEY)
    assert VALUE not in repr(provider)


def test_the_cluster_s_own_look(make):
    assert make().diagnose()["server"]


def test_errors_hold_no_value(make):
    provider = make("http://127.0.0.1:1", timeout=1)
    with pytest.raises(StrongroomError) as caught:
        provider.set_secret("key", VALUE)
    assert VALUE not in f"{caught.value!r}{caught.value.__cause__!r}{caught.value.__context__!r}"


def test_the_outage_of_a_backend_that_has_the_password_is_told_as_its_own(make, guarded):
    asked = []

    def again():
        asked.append(1)
        raise BackendUnavailableError("vault: read 'etcd/password': down", hint="see `vault status`")

    provider = make(
        guarded.url, prefix="app/", username="writer", password=ReferencedText("pw-from-before", again)
    )
    with pytest.raises(BackendUnavailableError) as caught:
        provider.get_secret("key")
    assert str(caught.value) == "vault: read 'etcd/password': down; see `vault status`"
    assert len(asked) == 1


def test_a_changed_password_is_tried_at_once(make, guarded):
    """A refused login is tried again with what the password's reference brings in by then."""
    now = ["pw-stale"]
    password = ReferencedText("pw-stale", lambda: now[0])
    provider = make(guarded.url, username="writer", password=password, prefix="app/")
    with pytest.raises(AuthenticationError):
        provider.get_secret("key")
    now[0] = "pw-writer"
    provider.set_secret("key", "1")
    assert provider.get_secret("key") == "1"


class Quoting(BaseHTTPRequestHandler):
    """A proxy that lets log-ins through, or not, and quotes what it refuses."""

    token = "the-token-of-a-log-in.17"
    lets_in = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.lets_in and self.path.endswith("/authenticate"):
            status, answer = 200, {"header": {}, "token": self.token}
        else:
            words = f"permission denied: {body} {self.headers['Authorization']}"
            status, answer = 400, {"error": words, "code": 7, "message": words}
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("password", ["correct-horse-battery", "pw1", "denied", 'a "quoted" one'])
@pytest.mark.parametrize("lets_in", [True, False])
def test_a_password_or_token_that_a_proxy_quotes_is_in_no_error(lets_in, password, monkeypatch):
    monkeypatch.setattr(Quoting, "lets_in", lets_in)
    with HTTPServer(("127.0.0.1", 0), Quoting) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        try:
            with closing(
                EtcdSecretProvider(url, username="app", password=password, encryption_key=KEY)
            ) as provider:
                for call in (provider.list_secrets, lambda: provider.get_secret("k")):
                    with pytest.raises(PermissionDeniedError) as caught:
                        call()
                    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
                    assert Quoting.token not in shown
                    assert password == "denied" or json.dumps(password)[1:-1] not in shown
        finally:
            server.shutdown()
            thread.join()
