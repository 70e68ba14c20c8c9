"""A real Valkey that refuses, hangs, dies, comes back, or is reached by TLS, sentinels or as a cluster."""

from __future__ import annotations

import contextlib
import gc
import json
import math
import multiprocessing
import os
import re
import socket
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest
import redis
import trustme
from free_ports import free_port
from redis_workers import answer_writes, ask_at_once, ask_at_start, cache_on, hold_in_turns
from strongroom.cache import HierarchicalSecretCache
from strongroom.cache.single_flight import FetchResult
from strongroom.cli.app import run_app
from strongroom.encryption import AESGCMEncryption, generate_key
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    PermissionDeniedError,
)
from strongroom.plugins.credentials import ReferencedText
from strongroom.testing.faults import FaultProxy, ends_in_time
from strongroom_redis import RedisCacheStore, subscriber
from strongroom_redis.rotator import RedisRotator
from tls_front import TlsFront
from valkey_server import ValkeyServer


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


CLOCKS_KEY = generate_key()
SLACK = 30.0  # a watchdog: a machine that is busy with other things does not come near


def down(_key):
    raise BackendUnavailableError("down")


def within(seconds, call):
    """Return what `call` raises, and check that it does so in time."""
    return ends_in_time(call, BackendUnavailableError, seconds, slack=SLACK)


def opened(store, clock=None):
    """Let a store with a short timeout open its connection, and set a value, however busy the machine is."""

    def sets():
        try:
            store.set("a:b", b"d" * 10_000, 600)
        except BackendUnavailableError:
            if clock is not None:
                clock.now += 10
            return False
        return True

    soon(sets, 300)


def soon(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


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


class TestOutages:
    def test_nobody_there(self):
        store = RedisCacheStore(f"redis://127.0.0.1:{free_port()}/0")
        error = within(0.4, lambda: store.get("a:b"))
        assert error.provider == "redis"
        store.close()

    def test_doctor_says_that_it_is_dead_and_where_it_was(self, server, tmp_path, monkeypatch, capsys):
        monkeypatch.setenv("STRONGROOM_ENCRYPTION_KEY", generate_key())
        spec, gone = tmp_path / "spec.yaml", free_port()
        for place, expected, said in (
            (f"127.0.0.1:{server.port}", 0, "it answers"),
            (f":hunter22@127.0.0.1:{gone}", 7, f"127.0.0.1:{gone}"),
        ):
            spec.write_text(
                "version: 1\npipelines:\n  app:\n    provider: {type: env}\n    middleware:\n      - "
                f"{{type: caching, l2_timeout_seconds: 10, l2: {{type: redis, url: 'redis://{place}/0'}}}}\n"
            )
            assert run_app(["--spec", str(spec), "--json", "doctor"]) == expected
            done = capsys.readouterr()
            (found,) = [one for one in json.loads(done.out)["findings"] if "second level" in one["subject"]]
            assert (found["ok"], said in found["told"]) == (expected == 0, True)
            assert "hunter22" not in done.out + done.err
        assert "check that the server runs" in found["hint"]

    @pytest.mark.parametrize("mode", ["black_hole", "drip", "half", "refuse"])
    def test_a_server_that_spoils_its_answers(self, server, mode):
        with FaultProxy(server.port) as proxy:
            store = RedisCacheStore(f"redis://127.0.0.1:{proxy.port}/0", timeout_seconds=0.3)
            opened(store)
            proxy.mode = mode
            if mode == "refuse":  # new connections alone
                store._client.connection_pool.disconnect()
            within(0.3, lambda: store.get("a:b"))
            store.close()

    def test_it_is_left_alone_for_a_moment_and_then_asked_by_one(self, server):
        clock = Clock()
        with FaultProxy(server.port) as proxy:
            store = RedisCacheStore(f"redis://127.0.0.1:{proxy.port}/0", timeout_seconds=5, clock=clock)
            store.set("a:b", b"data", 60)
            proxy.mode = "refuse"
            store._client.connection_pool.disconnect()
            within(5, lambda: store.get("a:b"))
            before = proxy.connections
            for _ in range(10):
                with pytest.raises(BackendUnavailableError, match="a moment ago"):
                    store.get("a:b")
            assert proxy.connections == before
            proxy.mode = "pass"
            clock.now += 0.15
            assert store.get("a:b") == b"data"
            assert store.get("a:b") == b"data"
            store.close()

    def test_a_restarted_server_is_used_again(self, start):
        server = start()
        store = RedisCacheStore(server.url, timeout_seconds=5)
        store.set("a:b", b"data", 60)
        server.stop()
        within(5, lambda: store.get("a:b"))
        server.begin()

        def answers():
            try:
                return store.get("a:b") is None
            except BackendUnavailableError:
                return False

        soon(answers, 20)
        store.close()

    @pytest.mark.parametrize("version", ["server", "oldest"])
    @pytest.mark.parametrize(
        "change", [lambda store: store.set("a:b", b"other", 60), lambda store: store.delete("a:b")]
    )
    def test_a_server_that_became_a_replica_is_not_asked_over_the_same_connection(
        self, request, version, change
    ):
        """Also where a script says so, which Redis 6.2 tells as an error of the script."""
        clock, server = Clock(), request.getfixturevalue(version)
        with FaultProxy(server.port) as proxy:
            store = RedisCacheStore(f"redis://127.0.0.1:{proxy.port}/0", timeout_seconds=10, clock=clock)
            store.set("a:b", b"data", 60)
            server.ask("REPLICAOF", "127.0.0.1", str(free_port()))
            try:
                with pytest.raises(BackendUnavailableError, match=r"(ReadOnly|Response)Error"):
                    change(store)
            finally:
                server.ask("REPLICAOF", "NO", "ONE")
            clock.now += 0.15
            before = proxy.connections
            store.set("a:b", b"other", 60)
            assert proxy.connections == before + 1
            store.close()

    def test_a_subscription_follows_to_the_server_that_takes_writes(self, server, monkeypatch):
        """Not before: a store that only ever reads from a replica goes on hearing, and keeps what it has."""
        clock = Clock()
        with FaultProxy(server.port) as proxy:
            store = RedisCacheStore(f"redis://127.0.0.1:{proxy.port}/0", timeout_seconds=10, clock=clock)
            store.set("a:b", b"data", 60)
            heard = []
            listener = store.subscribe(heard.append)
            soon(lambda: listener.alive)
            first, follow, asked = listener._client, listener.connect_again, []
            monkeypatch.setattr(listener, "connect_again", lambda: asked.append(follow()))
            server.ask("REPLICAOF", "127.0.0.1", str(free_port()))
            try:
                for _ in range(2):
                    with pytest.raises(BackendUnavailableError, match="ReadOnlyError"):
                        store.set("a:b", b"other", 60)
                    clock.now += 5
                assert not asked
            finally:
                server.ask("REPLICAOF", "NO", "ONE")
            store.set("a:b", b"other", 60)
            assert asked
            soon(lambda: listener._client is not first and listener.alive)
            store.close()

    @pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="this system calls it otherwise")
    def test_an_idle_connection_is_kept_alive(self, server):
        """Else a balancer forgets it within minutes, and the next call waits in vain for an answer."""
        with RedisCacheStore(server.url, timeout_seconds=10) as store:
            store.get("a:b")
            (kept,) = store._client.connection_pool._available_connections
            assert kept._sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert kept._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 10

    def test_a_kept_connection_that_the_server_closed_is_no_failure(self, server):
        store = RedisCacheStore(server.url, timeout_seconds=10)
        store.set("a:b", b"data", 60)
        server.ask("CLIENT", "KILL", "TYPE", "normal")
        assert store.get("a:b") == b"data"
        store.close()

    def test_a_slow_server_that_answers_in_time_is_waited_for(self, server):
        with (
            FaultProxy(server.port, latency=0.05) as proxy,
            RedisCacheStore(f"redis://127.0.0.1:{proxy.port}/0", timeout_seconds=10) as store,
        ):
            store.set("a:b", b"data", 60)
            assert store.get("a:b") == b"data"

    def test_calls_that_fail_together_count_once(self, server):
        clock = Clock()
        with FaultProxy(server.port) as proxy:
            store = RedisCacheStore(f"redis://127.0.0.1:{proxy.port}/0", timeout_seconds=0.3, clock=clock)
            opened(store, clock)
            proxy.mode = "black_hole"
            threads = [
                threading.Thread(target=within, args=(0.3, lambda: store.get("a:b"))) for _ in range(8)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(300)
            proxy.mode = "pass"
            clock.now += 0.15  # longer than the first pause, and shorter than the second
            try:
                answer = store.get("a:b")
            except BackendUnavailableError as error:
                answer = str(error)
            # The second: it was asked, of a machine that is too busy to answer in time.
            assert answer == b"d" * 10_000 or "did not end within" in answer
            store.close()

    def test_a_lock_that_was_confirmed_too_late_is_free(self, server):
        """Its two answers take longer than a call may: the server has confirmed what nobody holds."""
        with FaultProxy(server.port) as proxy:
            store = RedisCacheStore(f"redis://127.0.0.1:{proxy.port}/0", timeout_seconds=0.3)
            opened(store)
            proxy.latency = 0.2
            with pytest.raises(BackendUnavailableError):
                store.lock("a:b", ttl_seconds=600, wait_seconds=0).__enter__()
            with (
                RedisCacheStore(server.url, timeout_seconds=120) as other,
                other.lock("a:b", ttl_seconds=600, wait_seconds=60),
            ):
                store.close()

    def test_a_lock_that_nobody_waits_for_any_more_ends_soon(self, start):
        server = start()
        store = RedisCacheStore(server.url, timeout_seconds=0.3)
        opened(store)
        server.pause()
        with pytest.raises(BackendUnavailableError):
            store.lock("a:b", ttl_seconds=600, wait_seconds=0).__enter__()
        server.resume()  # and now it does what it was asked
        with (
            RedisCacheStore(server.url, timeout_seconds=10) as other,
            other.lock("a:b", ttl_seconds=600, wait_seconds=60),
        ):
            assert int(server.ask("PTTL", "strongroom:l:{a:b}")[1:]) > 300_000
        store.close()

    def test_what_ends_a_lock_that_the_server_refuses_is_no_error(self, start):
        server = start()
        store = RedisCacheStore(server.url, timeout_seconds=5)
        with store.lock("a:b", ttl_seconds=60, wait_seconds=0):
            server.stop()
        store.close()

    @pytest.mark.parametrize("rubbish", [("LPUSH",), ("SADD",), ("SET",), ("HSET", "field")])
    def test_rubbish_in_its_place_is_in_nobody_s_way(self, server, rubbish):
        command, *field = rubbish
        for kind in "dlf":
            server.ask(command, f"strongroom:{kind}:{{a:b}}", *field, "9e999")
        with RedisCacheStore(server.url, timeout_seconds=10) as store:
            assert store.get("a:b") == (b"9e999" if command == "SET" else None)
            server.ask(command, "strongroom:d:{a:b}", *field, "9e999")
            if command == "SET":
                server.ask("DEL", "strongroom:l:{a:b}")
            tokens = []
            for _ in range(3):
                with store.lock("a:b", ttl_seconds=60, wait_seconds=0) as token:
                    tokens.append(token)
                    assert store.set_fenced("a:b", b"data", 60, token)
            assert tokens == sorted(set(tokens))
            assert store.get("a:b") == b"data"
            store.delete("a:b")
            assert store.get("a:b") is None

    @pytest.mark.parametrize("seconds", [1e18, 1e300, math.inf])
    def test_a_life_of_any_length_is_one(self, server, seconds):
        with RedisCacheStore(server.url, timeout_seconds=10) as store:
            store.set("a:b", b"data", seconds)
            assert store.get("a:b") == b"data"
            with store.lock("a:b", ttl_seconds=seconds, wait_seconds=0) as token:
                assert store.set_fenced("a:b", b"other", seconds, token)
            assert store.get_with_life("a:b") == (b"other", math.inf)

    def test_a_flushed_server_has_forgotten_tokens_and_gives_greater_ones(self, server):
        with RedisCacheStore(server.url, timeout_seconds=10) as store:
            with store.lock("a:b", ttl_seconds=60, wait_seconds=0) as first:
                server.ask("FLUSHALL")
                assert not store.set_fenced("a:b", b"data", 60, first)
            with store.lock("a:b", ttl_seconds=60, wait_seconds=0) as second:
                assert second > first
                assert store.set_fenced("a:b", b"data", 60, second)

    def test_what_it_keeps_ends_by_itself(self, server):
        with RedisCacheStore(server.url, timeout_seconds=10) as store:
            with store.lock("a:b", ttl_seconds=60, wait_seconds=0) as token:
                store.set_fenced("a:b", b"data", 0.5, token)
                lives = [int(server.ask("PTTL", f"strongroom:{kind}:{{a:b}}")[1:]) for kind in "dlf"]
            store.set("a:c", b"data", 7)
            lives.append(int(server.ask("PTTL", "strongroom:d:{a:c}")[1:]))
        day = 24 * 3600 * 1000
        assert all(0 < life <= most for life, most in zip(lives, (500, 60_000, day, 7000), strict=True))


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


class TestHearing:
    @pytest.fixture
    def heard(self):
        return []

    def test_a_lost_channel_is_noticed_within_a_second_and_found_again(self, start, heard):
        server = start()
        store = RedisCacheStore(server.url, timeout_seconds=5)
        subscription = store.subscribe(heard.append)
        soon(lambda: subscription.alive)
        heard.clear()
        server.pause()
        soon(lambda: not subscription.alive, SLACK)
        soon(lambda: heard == [None])
        server.resume()
        soon(lambda: subscription.alive)
        soon(lambda: heard.count(None) >= 2)
        store.close()

    def test_closing_waits_for_no_ping(self, start, heard, monkeypatch):
        """The thread that hears is woken; it would wait for a message until it is time to ask for one."""
        monkeypatch.setattr(subscriber, "_PING_SECONDS", 3600)
        store = RedisCacheStore(start().url, timeout_seconds=5)
        subscription = store.subscribe(heard.append)
        soon(lambda: heard == [None])
        store.close()
        assert not subscription._thread.is_alive()

    def test_so_is_one_whose_server_is_gone(self, start, heard):
        server = start()
        store = RedisCacheStore(server.url, timeout_seconds=5)
        subscription = store.subscribe(heard.append)
        soon(lambda: subscription.alive)
        server.stop()
        soon(lambda: not subscription.alive)
        server.begin()
        soon(lambda: subscription.alive, 20)
        heard.clear()
        store.delete("a:b")
        soon(lambda: "a:b" in heard)
        store.close()

    @pytest.mark.parametrize("mode", ["black_hole", "reset", "drip"])
    def test_so_is_one_that_is_spoilt_on_its_way(self, server, heard, mode):
        with FaultProxy(server.port) as proxy:
            store = RedisCacheStore(f"redis://127.0.0.1:{proxy.port}/0", timeout_seconds=5)
            subscription = store.subscribe(heard.append)
            soon(lambda: subscription.alive)
            heard.clear()
            proxy.mode = mode
            with RedisCacheStore(server.url, timeout_seconds=10) as other:
                other.delete(1000 * "long")
            soon(lambda: not subscription.alive)
            soon(lambda: None in heard)
            proxy.mode = "pass"
            soon(lambda: subscription.alive)
            with RedisCacheStore(server.url, timeout_seconds=10) as other:
                other.delete("a:b")
            soon(lambda: "a:b" in heard)
            store.close()
            assert not subscription.alive

    def test_subscriptions_that_were_closed_keep_nothing_alive(self, server):
        class Callback:
            def __call__(self, name):
                pass

        with RedisCacheStore(server.url, timeout_seconds=10) as store:
            callback = Callback()
            gone = weakref.ref(callback)
            store.subscribe(callback).close()
            del callback
            store.subscribe(lambda _: None).close()
            soon(lambda: gc.collect() is not None and gone() is None)

    def test_it_is_alive_only_when_what_was_missed_has_been_told(self, server):
        """A cache that trusts what it has in between would give what was dropped before."""
        subscriptions, began, alive = [], threading.Event(), []

        def heard(name):
            began.wait(300)
            alive.append((name, subscriptions[0].alive))

        with RedisCacheStore(server.url, timeout_seconds=10) as store:
            subscriptions.append(store.subscribe(heard))
            began.set()
            soon(lambda: subscriptions[0].alive)
            assert alive == [(None, False)]

    @pytest.mark.parametrize("kind", [KeyError, SystemExit])
    def test_a_callback_that_fails_or_exits_hears_what_follows(self, server, heard, caplog, kind):
        def fail(name):
            heard.append(name)
            raise kind(name)

        with RedisCacheStore(server.url, timeout_seconds=10) as store:
            subscription = store.subscribe(fail)
            soon(lambda: subscription.alive)
            for name in ("a:b", "a:c"):
                store.delete(name)
            soon(lambda: heard[-2:] == ["a:b", "a:c"])
        assert kind.__name__ in caplog.text
        assert "a:b" not in caplog.text

    def test_an_exit_as_it_connects_or_asks_for_the_password_does_not_end_it(self, server, heard):
        """As of a plugin that gives the password."""
        ends = [redis.AuthenticationError(), SystemExit()]

        def connects():
            if ends:
                raise ends.pop()
            return redis.Redis(port=server.port)

        def refused():
            heard.append("refused")
            raise SystemExit

        listener = subscriber.Listener(connects, "channel", heard.append, refused)
        try:
            soon(lambda: listener.alive)
            assert heard == ["refused", None]
        finally:
            listener.close()

    def test_what_strangers_publish_harms_nobody(self, server, heard):
        with RedisCacheStore(server.url, timeout_seconds=10) as store:
            subscription = store.subscribe(heard.append)
            soon(lambda: subscription.alive)
            heard.clear()
            with socket.create_connection(("127.0.0.1", server.port)) as raw:
                raw.sendall(b"PUBLISH strongroom:dropped \xff\xfe\r\n")
                soon(lambda: heard == [None])
            store.delete("a:b")
            soon(lambda: heard == [None, "a:b"])

    @pytest.mark.parametrize("protocol", [2, 3])
    def test_in_both_protocols(self, server, heard, protocol):
        with RedisCacheStore(f"{server.url}?protocol={protocol}", timeout_seconds=10) as store:
            subscription = store.subscribe(heard.append)
            soon(lambda: subscription.alive)
            store.delete("a:b")
            soon(lambda: "a:b" in heard)


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


# --- several processes ---

KEY = generate_key()
# Forked from a process that has imported all of it and has no threads.
SPAWN = multiprocessing.get_context("forkserver")
SPAWN.set_forkserver_preload(["strongroom_redis.store", "strongroom.cache.hierarchical", "redis"])


def test_eight_processes_that_ask_at_once_make_one_fetch(server):
    count, ready, asking = SPAWN.Value("i", 0), SPAWN.Barrier(8), SPAWN.Semaphore(0)
    answers = SPAWN.Queue()
    given = (server.url, KEY, count, ready, asking, answers)
    workers = [SPAWN.Process(target=ask_at_once, args=given) for _ in range(8)]
    for worker in workers:
        worker.start()
    assert [answers.get(timeout=300) for _ in workers] == ["value"] * 8
    for worker in workers:
        worker.join(300)
    assert count.value == 1


def test_eight_processes_that_start_together_make_one_fetch(server):
    count, ready, answers = SPAWN.Value("i", 0), SPAWN.Barrier(8), SPAWN.Queue()
    workers = [
        SPAWN.Process(target=ask_at_start, args=(server.url, KEY, ready, count, answers)) for _ in range(8)
    ]
    for worker in workers:
        worker.start()
    assert [answers.get(timeout=240) for _ in workers] == ["value"] * 8
    for worker in workers:
        worker.join(300)
    assert count.value == 1


def test_a_store_that_was_dropped_without_close_closes_its_connection_before_it_is_collected(server):
    """Python collects a socket before the client that would close it, or after: that is not told."""
    import gc

    store = RedisCacheStore(server.url, timeout_seconds=10)
    store.set("name", b"data", 60)
    client = store._client
    del store
    gc.collect()
    assert [one._sock for one in client.connection_pool._available_connections] == [None]


IMPORT_SLOWLY = """
import sys, threading, time, types
passed, imported = 0.0, {}
class Slow:
    "Finds nothing, and takes an hour for it."
    @staticmethod
    def find_spec(name, path=None, target=None):
        global passed
        if name.partition(".")[0] == "redis":
            imported[name] = threading.current_thread()
            passed += 3600
from strongroom import deadlines
from strongroom.cache import HierarchicalSecretCache
from strongroom.encryption import AESGCMEncryption
from strongroom_redis import RedisCacheStore
deadlines.time = types.SimpleNamespace(monotonic=lambda: time.monotonic() + passed)
sys.meta_path.insert(0, Slow)
# Its thread imports too, and nobody waits for that.
RedisCacheStore.subscribe = lambda *_: types.SimpleNamespace(alive=True, close=lambda: None)
url, key = sys.argv[1:]
store = RedisCacheStore(url, timeout_seconds=10)
cache = HierarchicalSecretCache(l2=store, encryption=AESGCMEncryption(key), l2_timeout_seconds=10)
cache.get_or_fetch("key", lambda _: "value")
# By the thread that fetches: those that ask the server are waited for only as long as a timeout says.
assert {thread.name for thread in imported.values()} == {"strongroom-fetch"}, imported
"""


def test_what_importing_redis_takes_counts_against_no_time_out(server):
    """As where processes start together on a busy machine: the import takes longer than the server may."""
    subprocess.run([sys.executable, "-c", IMPORT_SLOWLY, server.url, KEY], check=True)
    assert b"strongroom:d:" in server.ask("KEYS", "*")


def test_caches_that_were_dropped_without_close_leave_no_connection(server):
    import gc

    def used():
        cache = HierarchicalSecretCache(
            l2=RedisCacheStore(server.url, timeout_seconds=10),
            encryption=AESGCMEncryption(KEY),
            l2_timeout_seconds=10,
        )
        cache.get_or_fetch("key", lambda _: "value")

    for _ in range(3):
        used()
    gc.collect()
    until = time.monotonic() + 60
    while b"connected_clients:1\r" not in server.ask("INFO", "clients"):
        assert time.monotonic() < until
        time.sleep(0.02)  # the server tells no other way
        gc.collect()


def test_processes_hold_a_lock_one_at_a_time_and_its_tokens_grow(server):
    log = SPAWN.Queue()
    workers = [SPAWN.Process(target=hold_in_turns, args=(server.url, own, log)) for own in range(8)]
    for worker in workers:
        worker.start()
    tokens, ended = {}, 0
    while ended < 8:
        what, own, token = log.get(timeout=300)
        ended += what == "end"
        if what == "in":
            assert token not in tokens
            tokens[token] = own
    for worker in workers:
        worker.join(300)
    assert len(tokens) == 80


def see_writes(server, trials):
    """Check that each write is told there: who only let them end would keep what it has for an hour."""
    orders, answers = SPAWN.Queue(), SPAWN.Queue()
    other = SPAWN.Process(target=answer_writes, args=(server.url, KEY, orders, answers))
    other.start()
    assert answers.get(timeout=300) == "asked"
    soon(lambda: b"strongroom" in server.ask("PUBSUB", "CHANNELS"), 60)
    mine = cache_on(server.url, KEY)
    for number in range(trials):
        orders.put(str(number))
        assert answers.get(timeout=300) == "told"
        mine.invalidate("key")
        assert answers.get(timeout=300) == "seen"
    orders.put(None)
    other.join(300)
    mine.close()


def test_a_write_here_is_seen_there(server):
    see_writes(server, 10)


@pytest.mark.torture
def test_a_thousand_writes_here_are_seen_there(server):
    see_writes(server, 1000)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_makes_connections_of_its_own(server):
    store = RedisCacheStore(server.url, timeout_seconds=10)
    subscription = store.subscribe(lambda _: None)
    soon(lambda: subscription.alive)
    store.set("a:b", b"data", 60)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover  # coverage does not follow
        state = b"%r %r" % (store.get("a:b"), subscription.alive)
        os.write(write, state)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as answer:
        assert answer.read() == b"b'data' False"
    os.waitpid(child, 0)
    assert store.get("a:b") == b"data"
    store.close()


class TestACacheWhoseServerFails:
    """No read fails, and none waits for the server: all threads go on reading while it is away."""

    def go_on(self, fetched, *ended):
        """Wait until each thread has done two more reads, of which the second began now, and three fetches were made."""
        for counted in (fetched, *ended):
            while counted.acquire(blocking=False):
                """Those before it do not count."""
        for counted in (fetched, fetched, fetched, *ended, *ended):
            assert counted.acquire(timeout=300)

    def reads(self, cache, disturb):
        """Do each thing between reads by four threads; all begin and end a read, and some fetch, before the next."""
        stop, failures = threading.Event(), []
        fetched, ended = threading.Semaphore(0), [threading.Semaphore(0) for _ in range(4)]

        def fetch(_):
            fetched.release()
            return "value"

        def work(mine):
            while not stop.is_set():
                try:
                    assert cache.get_or_fetch("key", fetch) == "value"
                except Exception as error:  # handed over to the test
                    failures.append(error)
                mine.release()

        threads = [threading.Thread(target=work, args=(mine,)) for mine in ended]
        for thread in threads:
            thread.start()
        for act in [lambda: None, *disturb]:
            act()
            self.go_on(fetched, *ended)
        stop.set()
        for thread in threads:
            thread.join(300)
        return failures

    def cache(self, server):
        return HierarchicalSecretCache(
            0.01, 0.02, l2=RedisCacheStore(server.url, timeout_seconds=0.2),
            encryption=AESGCMEncryption(KEY), l2_timeout_seconds=0.3,
        )  # fmt: skip

    @pytest.mark.parametrize("how", ["killed", "hung", "flushed", "full of rubbish"])
    def test_costs_fetches_and_no_errors(self, start, how):
        server = start()
        cache = self.cache(server)
        cache.get_or_fetch("key", lambda _: "value")

        def rubbish():
            for line in server.ask("KEYS", "strongroom:d:*").split(b"\r\n"):
                if line.startswith(b"strongroom"):
                    server.ask("SET", line.decode(), "rubbish")

        disturb = {
            "killed": [server.stop, server.begin],
            "hung": [server.pause, server.resume],
            "flushed": [lambda: server.ask("FLUSHALL")] * 3,
            "full of rubbish": [rubbish] * 5,
        }[how]
        assert self.reads(cache, disturb) == []
        cache.close()


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
