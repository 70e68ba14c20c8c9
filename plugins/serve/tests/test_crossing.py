"""Where the server meets caches, outages, reloads and many clients at once."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from served import ADMIN, Served, spec_of
from strongroom import CachingMiddleware, SecretProviderRegistry
from strongroom.errors import BackendUnavailableError
from strongroom_memory import MemorySecretProvider
from strongroom_serve import health
from strongroom_serve.asking import Backend
from strongroom_serve.config import config_of


class Slow(MemorySecretProvider):
    """A backend that counts its reads, and holds them until it is let go."""

    def __init__(self, **secrets):
        super().__init__(secrets=secrets)
        self.asked, self.go, self.entered = [], threading.Event(), threading.Event()

    def get_secret(self, key):
        self.asked.append(key)
        self.entered.set()
        assert self.go.wait(300)
        return super().get_secret(key)


def registered(provider):
    registry = SecretProviderRegistry(spec_of())
    registry.register("own", provider, prefix="own/")
    return registry


def ask(port, path, token=ADMIN):
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    connection.request("GET", path, headers={"X-Vault-Token": token})
    reply = connection.getresponse()
    answer = reply.status, reply.read()
    connection.close()
    return answer


def test_a_client_whose_first_request_takes_long_is_not_ended_for_a_stranger(served):
    """It has shown its token; until the answer it was taken for a stranger, too, and for the oldest."""
    slow = Slow(**{"own/k": "v"})
    server = served(registered(slow))
    server.connections.most = 2
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, server.port, "/v1/secret/data/own/k")
        assert slow.entered.wait(300)
        with socket.create_connection(("127.0.0.1", server.port), timeout=300):
            assert ask(server.port, "/v1/secret/data/none")[0] == 404
        slow.go.set()
        assert asked.result()[0] == 200


def test_many_clients_that_ask_for_one_cold_key_make_one_read_and_are_all_answered(served):
    slow = Slow(**{"own/k": "v"})
    server = served(registered(CachingMiddleware(slow)))
    with ThreadPoolExecutor(100) as crowd:
        asked = [crowd.submit(ask, server.port, "/v1/secret/data/own/k") for _ in range(100)]
        assert slow.entered.wait(300)
        slow.go.set()
        answers = [one.result() for one in asked]
    assert {status for status, _ in answers} == {200}
    assert slow.asked == ["own/k"]


def test_a_slow_backend_does_not_hold_up_what_a_cache_has(served):
    slow = Slow(**{"own/k": "v"})
    spec = spec_of(middleware=[{"type": "caching", "ttl_seconds": 300}])
    registry = SecretProviderRegistry(spec)
    registry.register("own", slow, prefix="own/")
    server = served(registry)
    server.put("x", "1")
    server.get("x")
    with ThreadPoolExecutor(80) as crowd:
        # More than threads.
        held = [crowd.submit(ask, server.port, "/v1/secret/data/own/k") for _ in range(80)]
        assert slow.entered.wait(300)
        assert ask(server.port, "/v1/secret/data/x")[0] == 200
        slow.go.set()
        assert {one.result()[0] for one in held} == {200}


def test_a_long_list_does_not_hold_up_what_a_cache_has(served, monkeypatch):
    """Which of many keys a client may touch takes a second for each 100,000."""
    server = served(spec_of(middleware=[{"type": "caching", "ttl_seconds": 300}]))
    server.put("a/k", "1")
    rules = server.backend.config.clients[0].rules
    permitted, begun, goes_on = rules.permitted, threading.Event(), threading.Event()

    def slow(keys):
        begun.set()
        assert goes_on.wait(300)
        yield from permitted(keys)

    monkeypatch.setattr(rules, "permitted", slow)
    with ThreadPoolExecutor(1) as other:
        listed = other.submit(ask, server.port, "/v1/secret/metadata/a?list=true")
        assert begun.wait(300)
        assert ask(server.port, "/v1/secret/data/a/k")[0] == 200
        goes_on.set()
        assert json.loads(listed.result()[1])["data"] == {"keys": ["k"]}


class Hanging(MemorySecretProvider):
    """A backend that gives values, and does not answer when it is asked for versions, or how it is."""

    def __init__(self, **secrets):
        super().__init__(secrets=secrets)
        self.hanging, self.go = threading.Semaphore(0), threading.Event()

    def list_versions(self, key):
        self.hanging.release()
        assert self.go.wait(300)
        return super().list_versions(key)

    def diagnose(self):
        self.hanging.release()
        assert self.go.wait(300)
        return {}


def test_a_backend_whose_versions_hang_holds_up_no_other(served):
    hanging = Hanging(**{f"own/{number}": str(number) for number in range(80)})  # more than threads
    server = served(registered(hanging))
    server.put("x", "1")
    with ThreadPoolExecutor(81) as crowd:
        held = [crowd.submit(ask, server.port, f"/v1/secret/data/own/{number}") for number in range(80)]
        try:
            for _ in range(64):
                assert hanging.hanging.acquire(timeout=300)
            for path in ("data/x", "metadata/x", "metadata/?list=true"):
                assert crowd.submit(ask, server.port, f"/v1/secret/{path}").result(100)[0] == 200
        finally:
            hanging.go.set()
        assert {one.result()[0] for one in held} == {200}


def test_a_backend_that_hangs_is_looked_at_once_however_often_health_is_asked(served, monkeypatch):
    monkeypatch.setattr(health, "_PATIENCE_SECONDS", 0.05)
    hanging, now = Hanging(), [0.0]
    server = served(registered(hanging))
    server.app.health = health.Health(server.backend, lambda: now[0])
    try:
        for _ in range(3):
            reply = server.ask("GET", "/healthz")
            assert reply.status == 503
            assert reply.json()["pipelines"]["own"] == "no answer within 0 s"
            now[0] += 11
        assert hanging.hanging.acquire(timeout=300)
        assert not hanging.hanging.acquire(blocking=False)
    finally:
        hanging.go.set()


def test_a_call_that_never_returns_does_not_keep_the_server_from_ending(served):
    hanging = Hanging(**{"own/k": "v"})
    server = served(registered(hanging))
    closed, close = threading.Event(), server.registry.close
    server.registry.close = lambda: (close(), closed.set())
    try:
        with ThreadPoolExecutor(1) as one:
            held = one.submit(ask, server.port, "/v1/secret/data/own/k")
            assert hanging.hanging.acquire(timeout=300)
            ending = asyncio.run_coroutine_threadsafe(server.app.close(0.05), server.loop)
            assert closed.wait(100)
            ending.result(300)
            hanging.go.set()
            assert held.result()[0] == 200
    finally:
        hanging.go.set()


def test_what_nobody_waits_for_any_more_ends_before_its_registry_is_closed(served):
    """Such as the step of a rotation."""
    server = served()
    closed, close = threading.Event(), server.registry.close
    server.registry.close = lambda: (closed.set(), close())
    begun, go, seen = threading.Event(), threading.Event(), []

    def retire():
        begun.set()
        assert go.wait(300)
        seen.append(closed.is_set())

    asked = asyncio.run_coroutine_threadsafe(server.backend.in_thread(retire), server.loop)
    assert begun.wait(300)
    asked.cancel()
    ending = asyncio.run_coroutine_threadsafe(server.app.close(300), server.loop)
    closed.wait(0.2)  # as long as it may take, where nothing keeps it from that
    go.set()
    ending.result(300)
    assert seen == [False]


def test_a_registry_that_was_replaced_is_closed_in_the_time_that_is_left(served, monkeypatch):
    """Else a call that hangs, and a reload, would keep the server past the time of its end."""
    monkeypatch.setattr("strongroom_serve.app.PATIENCE_SECONDS", 10_000.0)
    server, newer = served(), SecretProviderRegistry(spec_of())
    closed, close = threading.Event(), server.registry.close
    server.registry.close = lambda: (close(), closed.set())
    begun, go = threading.Event(), threading.Event()
    asked = asyncio.run_coroutine_threadsafe(
        server.backend.in_thread(lambda: (begun.set(), go.wait(300))), server.loop
    )

    def replace():
        server.app.ends_at = server.loop.time()
        server.app.use(Backend(newer, config_of(newer.serve_options(), "spec")))

    try:
        assert begun.wait(300)
        asked.cancel()
        server.loop.call_soon_threadsafe(replace)
        assert closed.wait(100)
    finally:
        go.set()


class Down(MemorySecretProvider):
    down = False

    def get_secret(self, key):
        if self.down:
            raise BackendUnavailableError("down")
        return super().get_secret(key)

    list_versions_down = 0

    def list_versions(self, key):
        if self.down:
            self.list_versions_down += 1
            raise BackendUnavailableError("down")
        return super().list_versions(key)


def test_an_outage_is_bridged_by_stale_values_and_nobody_asks_for_their_versions(served):
    now = [0.0]
    backend = Down(secrets={"own/k": "v"})
    cache = CachingMiddleware(backend, ttl_seconds=10, stale_if_error_seconds=600, clock=lambda: now[0])
    server = served(registered(cache))
    assert server.get("own/k").data["metadata"]["version"] == 1
    backend.down = True
    for _ in range(20):
        now[0] += 11
        read = server.get("own/k")
        assert (read.status, read.data["data"], read.data["metadata"]["version"]) == (200, {"value": "v"}, 1)
    assert backend.list_versions_down == 0
    assert server.get("own/other").status == 503


def test_a_reload_lets_requests_of_the_spec_before_end_and_then_closes_it(served):
    others, slow = threading.enumerate(), Slow(**{"own/k": "v"})
    server = served(registered(slow))
    closed = threading.Event()
    before, close = server.backend, server.backend.close
    before.close = lambda seconds: (close(seconds), closed.set())
    registry = SecretProviderRegistry(spec_of())
    after = Backend(registry, config_of(registry.serve_options(), "spec"))
    with ThreadPoolExecutor(1) as one:
        held = one.submit(ask, server.port, "/v1/secret/data/own/k")
        assert slow.entered.wait(300)
        now = [one for one in threading.enumerate() if one.name == "strongroom-aio"]
        threads = [one for one in now if one not in others]
        server.loop.call_soon_threadsafe(server.app.use, after)
        assert server.ask("GET", "/v1/secret/data/none").status == 404
        assert not closed.is_set()
        slow.go.set()
        assert held.result()[0] == 200
    assert closed.wait(300)
    assert threads
    for one in threads:
        one.join(20)  # less than an idle one waits for more to do
        assert not one.is_alive()


def test_what_a_spec_says_as_it_is_closed_after_a_reload_is_logged_without_its_text(served, caplog):
    server = served()
    closed = threading.Event()

    def fail():
        closed.set()
        raise RuntimeError("password123")

    server.registry.close = fail
    registry = SecretProviderRegistry(spec_of())
    after = Backend(registry, config_of(registry.serve_options(), "spec"))
    server.loop.call_soon_threadsafe(server.app.use, after)
    assert closed.wait(300)
    assert server.get("none").status == 404
    server.do(server.app.close())
    gc.collect()  # an error that nobody has taken is logged by asyncio, with its text, as its task goes
    assert "the spec from before did not close: RuntimeError" in caplog.text
    assert "password123" not in caplog.text


def test_a_write_whose_body_comes_after_a_reload_is_for_the_spec_whose_rules_were_asked(served):
    """The spec that was read meanwhile may not let the client write, or may mean another secret by its key."""
    store = MemorySecretProvider()
    server = served(registered(store))
    before = server.backend
    closed = threading.Event()
    close = before.close
    before.close = lambda seconds: (close(seconds), closed.set())
    registry = SecretProviderRegistry(spec_of())
    after = Backend(registry, config_of(registry.serve_options(), "spec"))
    body = b'{"data": {"value": "written"}}'
    head = (
        f"POST /v1/secret/data/own/k HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: {ADMIN}\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )

    async def use_another_once_it_is_under_way():
        while not before.requests:  # noqa: ASYNC110  # the server tells nobody of it
            await asyncio.sleep(0.001)
        server.app.use(after)

    with socket.create_connection(("127.0.0.1", server.port), timeout=300) as sock:
        sock.sendall(head.encode())
        server.do(use_another_once_it_is_under_way())
        sock.sendall(body)
        assert sock.makefile("rb").readline().split()[1] == b"200"
    assert store.get_secret("own/k") == "written"
    assert registry.list_secrets() == []
    assert closed.wait(300)


def test_the_numbers_of_versions_go_on_after_a_reload(served):
    """Else a number would stand for another version by then, and a write with it would undo one."""
    store = MemorySecretProvider(max_versions=2)
    server = served(registered(store))
    for number in range(1, 5):
        assert server.put("own/k", f"v{number}").data["version"] == number
    registry = registered(store)
    server.loop.call_soon_threadsafe(
        server.app.use, Backend(registry, config_of(registry.serve_options(), "spec"))
    )
    assert server.get("own/k").data["metadata"]["version"] == 4
    assert server.put("own/k", "by another").data["version"] == 5
    assert server.put("own/k", "mine", cas=4).status == 400
    assert server.put("own/k", "mine", cas=5).data["version"] == 6


@pytest.mark.parametrize("cached", [False, True])
def test_a_number_of_another_store_than_before_a_reload_stands_for_no_version(served, cached):
    """Its id may be that of a version there, which the client has never seen."""
    spec = spec_of(middleware=[{"type": "caching"}] if cached else [])
    server = served(spec)
    assert server.put("own/k", "seen").data["version"] == 1
    assert server.get("own/k").data["data"] == {"value": "seen"}
    registry = SecretProviderRegistry(spec)
    registry.set_secret("own/k", "by another")
    server.loop.call_soon_threadsafe(
        server.app.use, Backend(registry, config_of(registry.serve_options(), "spec"))
    )
    assert server.put("own/k", "mine", cas=1).status == 400
    assert server.get("own/k").data["metadata"]["version"] == 2
    assert server.put("own/k", "mine", cas=2).data["version"] == 3


def test_a_version_of_another_store_has_not_the_time_of_the_one_before(served):
    """Also if its own time cannot be asked for."""
    registry = registered(MemorySecretProvider())
    server = served(registry)
    server.put("own/k", "seen")
    known = server.app.backend.numbers.of((None, "own/k"))
    known.created = before = "2001-01-01T00:00:00Z"
    assert server.get("own/k").data["metadata"]["created_time"] == before

    class WithoutHistory(MemorySecretProvider):
        def list_versions(self, key):
            raise BackendUnavailableError("no answer")

    store = WithoutHistory()
    store.set_secret("own/k", "of another")
    again = registered(store)
    server.loop.call_soon_threadsafe(server.app.use, Backend(again, config_of(again.serve_options(), "spec")))
    info = server.get("own/k").data["metadata"]
    assert info["version"] == 1
    assert info["created_time"] != before


def test_a_version_that_a_writer_drops_while_its_value_is_compared_keeps_its_number(served):
    """The reader gets the number that the version had when its list was read."""
    store = MemorySecretProvider(max_versions=1)
    server = served(registered(store))
    assert server.put("own/k", "first").data["version"] == 1
    known = server.backend.numbers.get((None, "own/k"))
    compare = server.app.kv._value_is

    async def compare_after_a_write(key, version, value):
        is_same = await compare(key, version, value)
        store.set_secret(key, "second")
        known.take(store.list_versions(key))
        return is_same

    server.app.kv._value_is = compare_after_a_write
    known.value = None
    assert server.get("own/k").data["metadata"]["version"] == 1
    server.app.kv._value_is = compare
    server.registry.invalidate("own/k")
    assert server.get("own/k").data["metadata"]["version"] == 2


def test_a_rotation_in_flight_gives_readers_the_old_value_and_its_number(served):
    server = served()
    server.put("k", "old")
    version = server.registry.stage_secret("k", "new")
    read = server.get("k").data
    assert (read["data"], read["metadata"]["version"]) == ({"value": "old"}, 1)
    assert list(server.ask("GET", "/v1/secret/metadata/k").data["versions"]) == ["1"]
    assert server.ask("GET", "/v1/secret/data/k?version=2").status == 404
    current = server.registry.describe_secret("k").version
    server.registry.promote_version("k", version, expected_version=current)
    read = server.get("k").data
    assert (read["data"], read["metadata"]["version"]) == ({"value": "new"}, 2)
    assert server.put("k", "x", cas=1).status == 400
    assert server.put("k", "newer", cas=2).data["version"] == 3


def test_writers_at_once_lose_nothing_to_each_other_with_cas(served):
    """As counters are kept in one secret: each reads, adds one, and writes with the number that it was given."""
    server = served()
    server.put("k", "0")

    def add(_):
        own = Client(server)
        while True:
            current = own.ask("GET")
            body = {
                "data": {"value": str(int(current["data"]["value"]) + 1)},
                "options": {"cas": current["metadata"]["version"]},
            }
            if own.ask("POST", body) is not None:
                return own.close()

    with ThreadPoolExecutor(4) as crowd:
        list(crowd.map(add, range(24)))
    assert server.registry.get_secret("k") == "24"


class Client:
    def __init__(self, server):
        import http.client

        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)

    def ask(self, method, body=None):
        import json

        self.connection.request(
            method, "/v1/secret/data/k", body and json.dumps(body), {"X-Vault-Token": ADMIN}
        )
        reply = self.connection.getresponse()
        output = reply.read()
        return json.loads(output)["data"] if reply.status == 200 else None

    def close(self):
        self.connection.close()
        return True


def test_writers_of_one_secret_take_turns(served):
    """Also one that comes after the first has ended, and while the second writes."""
    server = served(spec_of())
    kv = server.app.kv
    asker = SimpleNamespace(tenant=None)
    writing, most = [], []

    async def run():
        may_end = [asyncio.Event() for _ in range(3)]

        async def written(*_):
            number = len(most)
            writing.append(number)
            most.append(len(writing))
            await may_end[number].wait()
            writing.remove(number)
            return number, ""

        kv._written = written

        def write():
            return asyncio.create_task(kv.write(asker, "k", {"data": {"value": "x"}}))

        async def begun(count):
            while len(most) < count:  # noqa: ASYNC110  # as above
                await asyncio.sleep(0)

        first, second = write(), write()
        await begun(1)
        may_end[0].set()
        await first
        await begun(2)
        third = write()
        for _ in range(10):
            await asyncio.sleep(0)
        may_end[1].set()
        may_end[2].set()
        await asyncio.gather(second, third)

    server.do(run())
    assert most == [1, 1, 1]
    assert kv._writes == {}


def test_two_servers_over_one_backend_refuse_each_others_stale_numbers(served):
    backend = MemorySecretProvider()
    first, second = served(registered(backend)), served(registered(backend))
    assert isinstance(first, Served)
    first.put("own/k", "one")
    assert second.get("own/k").data["metadata"]["version"] == 1
    assert first.put("own/k", "two", cas=1).status == 200
    assert second.put("own/k", "lost", cas=1).status == 400
    assert second.get("own/k").data["data"] == {"value": "two"}
