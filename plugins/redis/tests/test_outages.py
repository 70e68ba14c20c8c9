"""A real Valkey that hangs, dies and comes back, and what is heard of others."""

from __future__ import annotations

import gc
import json
import math
import socket
import threading
import weakref

import pytest
import redis
from free_ports import free_port
from redis_support import KEY, SLACK, soon, within
from strongroom.cache import HierarchicalSecretCache
from strongroom.cli.app import run_app
from strongroom.encryption import AESGCMEncryption, generate_key
from strongroom.errors import BackendUnavailableError
from strongroom.testing.faults import FaultProxy
from strongroom_redis import RedisCacheStore, subscriber
from valkey_server import connections_so_far


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


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
            assert (found["ok"], said in found["message"]) == (expected == 0, True)
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

    def test_closing_opens_no_connection(self, server, heard):
        with RedisCacheStore(server.url, timeout_seconds=10) as store:
            subscription = store.subscribe(heard.append)
            soon(lambda: subscription.alive)
            before = connections_so_far(server)
            subscription.close()
            assert not subscription._thread.is_alive()
            assert connections_so_far(server) == before + 1

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
