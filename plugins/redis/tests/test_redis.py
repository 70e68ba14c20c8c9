"""A real Valkey that refuses, is reached by TLS, sentinels or as a cluster; what a spec says, and clocks."""

from __future__ import annotations

import contextlib
import math
import re
import threading
from pathlib import Path

import pytest
import trustme
from free_ports import free_port
from redis_support import KEY, soon, within
from strongroom.cache import HierarchicalSecretCache
from strongroom.cache.single_flight import FetchResult
from strongroom.encryption import AESGCMEncryption, generate_key
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    PermissionDeniedError,
)
from strongroom.plugins.credentials import ReferencedText
from strongroom.testing.faults import FaultProxy
from strongroom_redis import RedisCacheStore
from strongroom_redis.rotator import RedisRotator
from tls_front import TlsFront
from valkey_server import ValkeyServer

CLOCKS_KEY = generate_key()


def down(_key):
    raise BackendUnavailableError("down")


def documented_rule(password):
    """Return the ACL rule that the documentation gives, in words."""
    page = Path(__file__).parents[3] / "docs" / "how-to" / "backends" / "redis.md"
    (rule,) = [line for line in page.read_text().splitlines() if line.startswith("user strongroom ")]
    return rule.replace("REPLACE-WITH-A-PASSWORD", password).split()[1:]


class TestAddresses:
    @pytest.mark.parametrize(
        ("url", "expected"),
        [
            ("http://host:1", "http"),
            ("redis://", "no host"),
            ("host:6379", "scheme"),
            ("redis+sentinel://host:1", "no service"),
            ("redis+cluster://host:port", "not a number"),
        ],
    )
    def test_a_url_that_is_none_is_refused_without_showing_it(self, url, expected):
        with pytest.raises(ConfigurationError, match=expected):
            RedisCacheStore(url)

    @pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+sentinel", "redis+cluster"])
    @pytest.mark.parametrize("password", ["12/hunter22", "12?hunter22", "12/@hunter22"])
    def test_a_password_that_ends_the_address_is_refused_and_not_shown(self, scheme, password):
        url = f"{scheme}://user:{password}@host:1/main/0"
        for make in (RedisCacheStore, lambda url: RedisRotator(url, "app")):
            with pytest.raises(ConfigurationError) as caught:
                make(url)
            assert "hunter22" not in f"{caught.value!r} {caught.value} {caught.value.__context__!r}"
            assert "%2F" in caught.value.hint

    def test_signs_that_end_nothing_may_be_in_a_password(self):
        for password in ("12#hunter22", "12@hunter22", "12:hunter22"):
            store = RedisCacheStore(f"redis://user:{password}@host:1/0")
            assert repr(store).startswith("<RedisCacheStore redis://host:1/0 ")

    def test_a_constructor_asks_nobody(self):
        with RedisCacheStore("redis://192.0.2.1:1/0") as store:
            assert "192.0.2.1" in repr(store)

    def test_neither_user_nor_password_is_in_its_repr(self):
        for url in ("redis://user:hunter22@host:1/0", "rediss+cluster://user:hunter22@a:1,b:2"):
            store = RedisCacheStore(url, password="hunter33", sentinel_password="hunter44")
            assert "hunter" not in repr(store)
            assert "user" not in repr(store)

    @pytest.mark.parametrize("query", ["?db=none", "?socket_timeout=soon"])
    def test_options_of_the_url_that_are_none_are_refused_at_the_first_call(self, query):
        with (
            RedisCacheStore(f"redis://user:hunter22@127.0.0.1:1/0{query}") as store,
            pytest.raises(ConfigurationError) as caught,
        ):
            store.get("a:b")
        assert "hunter22" not in f"{caught.value!r} {caught.value} {caught.value.__context__!r}"

    def test_data_is_bytes_whatever_the_url_says(self, server):
        with RedisCacheStore(f"{server.url}?decode_responses=true", timeout_seconds=10) as store:
            store.set("a:b", b"\xff", 60)
            assert store.get("a:b") == b"\xff"

    def test_a_socket_file_serves_as_well(self, start, tmp_path):
        path = tmp_path / "s"
        start("--unixsocket", str(path))
        with RedisCacheStore(f"unix://{path}", timeout_seconds=10) as store:
            store.set("a:b", b"data", 60)
            assert store.get("a:b") == b"data"


class TestRefusals:
    @pytest.fixture
    def guarded(self, start):
        server = start("--requirepass", "hunter22")
        server.ask("AUTH", "hunter22")
        return server

    def test_no_password(self, guarded):
        with RedisCacheStore(guarded.url, timeout_seconds=10) as store, pytest.raises(AuthenticationError):
            store.get("a:b")

    def test_a_wrong_password_is_in_no_error(self, guarded):
        store = RedisCacheStore(guarded.url, password="hunter99", timeout_seconds=10)
        with pytest.raises(AuthenticationError) as caught:
            store.get("a:b")
        error: BaseException | None = caught.value
        while error is not None:
            assert "hunter" not in f"{error!r} {error}"
            error = error.__cause__ or error.__context__
        store.close()

    def test_a_changed_password_is_tried_at_once(self, guarded):
        """A refused login is tried again with what the password's reference brings in by then."""
        now = ["hunter99"]
        password = ReferencedText("hunter99", lambda: now[0])
        with RedisCacheStore(guarded.url, password=password, timeout_seconds=10) as store:
            with pytest.raises(AuthenticationError):
                store.get("a:b")
            now[0] = "hunter22"
            store.set("a:b", b"data", 60)
            assert store.get("a:b") == b"data"
            # A listener asks after a refusal of its own, whatever calls have met.
            with contextlib.closing(
                RedisCacheStore(guarded.url, password=password, timeout_seconds=10)
            ) as other:
                heard = threading.Event()
                with contextlib.closing(other.subscribe(lambda _: heard.set())):
                    assert heard.wait(300)

    def test_an_outage_makes_nobody_ask_for_the_password(self, guarded):
        """It may be in a backend: while the server is down every process would ask there twice a second."""
        asked, tried = [], threading.Semaphore(0)
        password = ReferencedText("hunter22", lambda: asked.append(1) or "hunter22")
        with FaultProxy(guarded.port) as proxy:
            store = RedisCacheStore(f"redis://127.0.0.1:{proxy.port}/0", password=password, timeout_seconds=5)
            subscription = store.subscribe(lambda _: None)
            soon(lambda: subscription.alive)
            connect = subscription._connect
            subscription._connect = lambda: tried.release() or connect()
            before, proxy.mode = proxy.resets, "reset"
            proxy.wait_for_reset(before)
            for _ in range(3):
                assert tried.acquire(timeout=300)
            proxy.mode = "pass"
            soon(lambda: subscription.alive, 60)
            store.close()
        assert asked == []

    def test_a_password_of_the_url_or_of_the_options(self, guarded):
        url = guarded.url.replace("redis://", "redis://:hunter22@")
        for store in (
            RedisCacheStore(url, timeout_seconds=10),
            RedisCacheStore(guarded.url, password="hunter22", timeout_seconds=10),
            # The options come first.
            RedisCacheStore(url.replace("22@", "99@"), password="hunter22", timeout_seconds=10),
        ):
            store.set("a:b", b"data", 60)
            assert store.get("a:b") == b"data"
            store.close()

    @pytest.mark.parametrize("version", ["newest", "oldest"])
    def test_the_rule_of_the_documentation_is_enough_and_no_more_is_allowed(self, start, version):
        server = start(oldest=version == "oldest")
        server.ask("ACL", "SETUSER", *documented_rule("hunter22"))
        with RedisCacheStore(
            server.url, username="strongroom", password="hunter22", timeout_seconds=10
        ) as store:
            heard: list[str | None] = []
            subscription = store.subscribe(heard.append)
            soon(lambda: subscription.alive)
            with store.lock("a:b", ttl_seconds=60, wait_seconds=0) as token:
                assert store.set_fenced("a:b", b"data", 60, token)
            store.set("a:c", b"data", 60)
            assert store.get("a:b") == b"data"
            store.delete("a:b")
            store.clear("a:")
            soon(lambda: "a:b" in heard)
        other = RedisCacheStore(
            server.url, namespace="other", username="strongroom", password="hunter22", timeout_seconds=10
        )
        with pytest.raises(PermissionDeniedError):
            other.get("a:b")
        other.close()


class TestClocks:
    """The server's clock says how old an entry is; that of the host that wrote it may be wrong."""

    @pytest.fixture
    def host(self, server):
        with contextlib.ExitStack() as stack:

            def made(wall, **options):
                store = stack.enter_context(RedisCacheStore(server.url, timeout_seconds=10))
                return HierarchicalSecretCache(
                    0, 300, l2=store, encryption=AESGCMEncryption(CLOCKS_KEY), wall=lambda: wall,
                    max_age_seconds=7200, l2_timeout_seconds=10, **options
                )  # fmt: skip

            yield made

    def pass_by(self, server, seconds):
        """Let all entries have that much less of their lives, as if so much time had passed on the server."""
        names = re.findall(rb"strongroom:d:\{[^}]*\}", server.ask("KEYS", "strongroom:d:*"))
        for name in names:
            left = int(server.ask("PTTL", name.decode())[1:])
            server.ask("PEXPIRE", name.decode(), str(left - 1000 * seconds))
        assert names

    @pytest.mark.parametrize("ahead", [0.0, 3600.0])
    def test_what_a_host_wrote_whose_clock_is_ahead_lives_no_longer(self, server, host, ahead):
        host(1000.0 + ahead).get_or_fetch("key", lambda _: "old")
        self.pass_by(server, 290)
        # By the clock of the host that wrote it, it has just been written.
        here = 1000.0 + ahead
        assert host(here).get_or_fetch("key", lambda _: "new") == "old"
        self.pass_by(server, 20)
        with pytest.raises(BackendUnavailableError):
            host(here).get_or_fetch("key", down)
        asked = host(here).read_many(["key"], lambda _: {"key": FetchResult("newer")})
        assert asked == {"key": "newer"}
        assert host(here).get_or_fetch("key", down) == "newer"

    def test_a_user_who_may_not_ask_for_it_has_a_cache_all_the_same(self, start):
        guarded = start()
        guarded.ask("ACL", "SETUSER", *documented_rule("hunter22"), "-pttl")
        url = f"redis://strongroom:hunter22@127.0.0.1:{guarded.port}"
        with RedisCacheStore(url, timeout_seconds=10) as store:
            store.set("a:b", b"data", 60)
            assert store.get_with_life("a:b") == (b"data", math.inf)


class TestTls:
    @pytest.fixture
    def files(self, tmp_path):
        authority = trustme.CA()
        for name, certificate in (
            ("server", authority.issue_cert("127.0.0.1")),
            ("client", authority.issue_cert("client.example.com")),
        ):
            certificate.private_key_pem.write_to_path(str(tmp_path / f"{name}.key"))
            certificate.cert_chain_pems[0].write_to_path(str(tmp_path / f"{name}.pem"))
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        return tmp_path

    @pytest.fixture
    def secure(self, server, files):
        with TlsFront(server.port, files) as front:
            yield f"rediss://127.0.0.1:{front.port}/0"

    def test_with_the_client_s_certificate(self, secure, files):
        with RedisCacheStore(
            secure,
            ca_file=files / "ca.pem",
            cert_file=files / "client.pem",
            key_file=files / "client.key",
            timeout_seconds=10,
        ) as store:
            store.set("a:b", b"data", 60)
            assert store.get("a:b") == b"data"

    @pytest.mark.parametrize("lacks", ["the authority", "the certificate"])
    def test_neither_side_is_trusted_without_its_certificate(self, lacks, secure, files):
        options = {} if lacks == "the authority" else {"ca_file": files / "ca.pem"}
        store = RedisCacheStore(secure, timeout_seconds=10, **options)
        within(10, lambda: store.get("a:b"))
        store.close()


def test_behind_sentinels(start, tmp_path, binary):
    server = start()
    configuration = tmp_path / "sentinel.conf"
    configuration.write_text(
        f"sentinel monitor main 127.0.0.1 {server.port} 1\nsentinel down-after-milliseconds main 5000\n"
    )
    sentinel = ValkeyServer.sentinel(binary, configuration)
    try:
        with RedisCacheStore(
            f"redis+sentinel://127.0.0.1:{sentinel.port}/main/0", timeout_seconds=10
        ) as store:
            store.set("a:b", b"data", 60)
            assert store.get("a:b") == b"data"
            with store.lock("a:b", ttl_seconds=5, wait_seconds=0) as token:
                assert store.set_fenced("a:b", b"newer", 60, token)
        missing = RedisCacheStore(f"redis+sentinel://127.0.0.1:{sentinel.port}/none/0", timeout_seconds=10)
        within(10, lambda: missing.get("a:b"))
        missing.close()
    finally:
        sentinel.stop()


def _is_master(replica):
    try:
        return b"role:master" in replica.ask("INFO", "replication")
    except ConnectionError:  # it cuts its clients off as it becomes one
        return False


def test_a_failover_is_followed(start, tmp_path, binary):
    master = start("--repl-diskless-sync-delay", "0")
    replica = start("--replicaof", "127.0.0.1", str(master.port))
    soon(lambda: b"master_link_status:up" in replica.ask("INFO", "replication"), 30)
    configuration = tmp_path / "sentinel.conf"
    configuration.write_text(f"sentinel monitor main 127.0.0.1 {master.port} 1\n")
    sentinel = ValkeyServer.sentinel(binary, configuration)
    heard: list[str | None] = []
    try:
        soon(lambda: b"slaves=1" in sentinel.ask("INFO", "sentinel"), 30)
        with RedisCacheStore(
            f"redis+sentinel://127.0.0.1:{sentinel.port}/main/0", timeout_seconds=10
        ) as store:
            subscription = store.subscribe(heard.append)
            soon(lambda: subscription.alive)
            store.set("a:b", b"data", 60)
            # It refuses for as long as it has not heard from the replica lately, as on a busy machine.
            soon(lambda: sentinel.ask("SENTINEL", "FAILOVER", "main").startswith(b"+OK"), 60)
            soon(lambda: _is_master(replica), 60)
            master.stop()

            def follows():
                try:
                    store.set("a:b", b"newer", 60)
                except BackendUnavailableError:
                    return False
                return b"newer" in replica.ask("GET", "strongroom:d:{a:b}")

            soon(follows, 60)
            soon(lambda: subscription.alive, 60)
            store.delete("a:b")
            soon(lambda: "a:b" in heard)
    finally:
        sentinel.stop()


def test_on_a_cluster(start):
    buses = [free_port() for _ in range(2)]
    one, two = (start("--cluster-enabled", "yes", "--cluster-port", str(bus)) for bus in buses)
    one.ask("CLUSTER", "ADDSLOTSRANGE", "0", "8191")
    two.ask("CLUSTER", "ADDSLOTSRANGE", "8192", "16383")
    one.ask("CLUSTER", "MEET", "127.0.0.1", str(two.port), str(buses[1]))
    soon(lambda: all(b"cluster_state:ok" in each.ask("CLUSTER", "INFO") for each in (one, two)), 30)
    for each in (one, two):
        each.ask("ACL", "SETUSER", *documented_rule("hunter22"))
    url = f"redis+cluster://strongroom:hunter22@127.0.0.1:{free_port()},127.0.0.1:{one.port}"
    with RedisCacheStore(url, timeout_seconds=10) as store:
        heard: list[str | None] = []
        subscription = store.subscribe(heard.append)
        soon(lambda: subscription.alive, 60)
        names = [f"a:{number}" for number in range(20)]
        for name in names:
            with store.lock(name, ttl_seconds=60, wait_seconds=0) as token:
                assert store.set_fenced(name, b"data", 60, token)
        assert [store.get(name) for name in names] == [b"data"] * 20
        assert int(one.ask("DBSIZE")[1:]) > 0
        assert int(two.ask("DBSIZE")[1:]) > 0
        store.delete("a:1")
        soon(lambda: "a:1" in heard)
        store.clear("a:")
        assert [store.get(name) for name in names] == [None] * 20


def test_a_spec_names_it(server, monkeypatch):
    from strongroom import SecretProviderRegistry

    monkeypatch.setenv("STRONGROOM_ENCRYPTION_KEY", KEY)
    monkeypatch.setenv("CACHE_URL", server.url)
    spec = {
        "version": 1,
        "pipelines": {
            "app": {
                "provider": {"type": "memory"},
                "middleware": [
                    {
                        "type": "caching",
                        "l2": {"type": "redis", "url": "${env:CACHE_URL}", "timeout_seconds": 10},
                        "l2_timeout_seconds": 10,
                    }
                ],
            }
        },
    }
    with SecretProviderRegistry(spec) as one, SecretProviderRegistry(spec) as other:
        one.set_secret("key", "value")
        assert one.get_secret("key") == "value"
        assert other.get_secret("key") == "value"  # out of the cache: its own memory has nothing
    assert b"value" not in server.ask("KEYS", "*")


def test_it_is_a_lock_for_others_too(server):
    with (
        RedisCacheStore(server.url, timeout_seconds=10) as store,
        RedisCacheStore(server.url, timeout_seconds=10) as other,
        store.lock("rotation", ttl_seconds=60, wait_seconds=0),
        pytest.raises(ConflictError),
        other.lock("rotation", ttl_seconds=1, wait_seconds=0),
    ):
        pass


def test_a_client_s_key_needs_its_certificate(tmp_path):
    with pytest.raises(ConfigurationError, match="key_file without cert_file"):
        RedisCacheStore("rediss://127.0.0.1", key_file=tmp_path / "key.pem")
