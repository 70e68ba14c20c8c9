"""What only a real etcd shows: what it stores, tampering, limits, many hosts, options."""

from __future__ import annotations

import gc
from base64 import b64decode

import pytest
from etcd_support import KEY, VALUE, b64, put
from shared_stores import SharedStoreTests
from strongroom import SecretRotation
from strongroom.deadlines import Deadline
from strongroom.encryption.keys import generate_key
from strongroom.errors import (
    ConfigurationError,
    ConflictError,
    DecryptionError,
    SecretNotFoundError,
    SecretTooLargeError,
    StrongroomError,
    TamperedError,
)
from strongroom.testing.faults import FaultProxy
from strongroom_etcd import EtcdSecretProvider
from strongroom_etcd.client import Client


def pairs(server, prefix):
    """Return all that the cluster has below `prefix`."""
    end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
    found = server.ask("/v3/kv/range", {"key": b64(prefix), "range_end": b64(end)}).get("kvs", [])
    return {b64decode(one["key"]): b64decode(one.get("value", "")) for one in found}


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


def test_batches_are_one_transaction(make, monkeypatch):

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


class TestManyHosts(SharedStoreTests):
    """What several hosts do with one store."""


def test_a_rotated_value_is_what_another_host_reads(make):
    provider = make()
    provider.set_secret("key", "old")
    SecretRotation(provider, 30).rotate("key")
    assert make().get_secret("key") != "old"


def test_a_provider_that_nobody_closes_closes_its_connection(server, prefix):
    provider = EtcdSecretProvider(server.url, prefix=prefix, encryption_key=KEY, timeout=120)
    assert provider.list_secrets() == []
    (kept,) = provider._backend._client._idle
    del provider
    gc.collect()
    assert kept.socket.fileno() == -1


def test_a_wait_of_any_length_is_one(make):
    provider = make(timeout=1e300)
    provider.set_secret("key", "value")
    assert provider.get_secret("key") == "value"


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
