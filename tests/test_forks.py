"""Forks of a process that uses the registry: pipelines under construction, caches, asyncio, masking, the audit log."""

from __future__ import annotations

import asyncio
import itertools
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from strongroom import AESGCMEncryption, Lease, SecretProviderRegistry
from strongroom.aio import AsyncSecretRegistry
from strongroom.audit import AuditLoggingHook, verify_audit_log
from strongroom.cache import HierarchicalSecretCache, SecretCache
from strongroom.cache.memory_store import MemoryCacheStore
from strongroom.errors import AuditError, BackendUnavailableError
from strongroom.leases import LeasingProvider
from strongroom.masking.finder import Finder
from strongroom.masking.stream import Masker
from strongroom.middleware import CachingMiddleware
from strongroom.parallel import BackgroundPool
from strongroom.testing.conformance.forks import Children
from strongroom_exec import ExecSecretProvider
from strongroom_file import FileSecretProvider
from strongroom_memory import MemorySecretProvider

MOST = 1500

SPEC = {
    "version": 1,
    "pipelines": {
        "app": {"provider": {"type": "memory", "secrets": {"a": "value of a", "b": "value of b"}}},
        "boot": {"provider": {"type": "memory", "secrets": {"key": "hunter2-correct-horse"}}},
        "slow": {
            "provider": {"type": "memory", "secrets": {"s": "value of s"}},
            "middleware": [{"type": "encryption", "key": "${secret:boot:key}"}],
        },
    },
    "default": "app",
    "routes": [{"prefix": "s", "pipeline": "slow"}],
}


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


# --- the one place that hears of forks ---


def test_nothing_else_asks_python_to_tell_it_of_forks():
    """Whoever holds a socket, a thread or a lock goes through one helper, which knows in what order."""
    root = Path(__file__).parents[1]
    sources = [*root.glob("core/src/**/*.py"), *root.glob("plugins/*/src/**/*.py")]
    registering = [path for path in sources if "register_at_fork" in path.read_text(encoding="utf-8")]
    assert len(sources) > 100
    assert [str(path.relative_to(root)) for path in registering] == ["core/src/strongroom/runtime/forks.py"]


# --- the registry ---


class Gate:
    """A hook that holds up the first read of `boot` until it is opened."""

    def __init__(self):
        self.reached, self.open = threading.Event(), threading.Event()
        self.reads = 0

    def before(self, event):
        if event.pipeline == "boot":
            self.reads += 1
            self.reached.set()
            assert self.open.wait(300)

    def after(self, event):
        pass


@pytest.fixture
def gated():
    """A registry whose pipeline `slow` is being built by another thread, which waits for a slow server."""
    with SecretProviderRegistry(SPEC) as registry:
        gate = Gate()
        registry.add_hook(gate)
        thread = threading.Thread(target=registry.pipeline, args=("slow",), daemon=True)
        thread.start()
        assert gate.reached.wait(300)
        yield registry, gate
        gate.open.set()
        thread.join(300)


def test_a_slow_pipelines_first_use_does_not_hold_up_the_others(gated):
    registry, gate = gated
    assert registry.get_secret("a") == "value of a"
    registry.register("late", MemorySecretProvider(secrets={"x": "1"}), prefix="x")
    assert registry.get_secret("x") == "1"
    assert not gate.open.is_set()


def test_a_pipeline_is_built_once_whoever_asks_first(gated):
    registry, gate = gated
    found = []
    threads = [threading.Thread(target=lambda: found.append(registry.pipeline("slow"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    gate.open.set()
    for thread in threads:
        thread.join(300)
    assert len(set(map(id, found))) == 1
    assert gate.reads == 1


def test_a_child_is_free_of_what_another_thread_was_building(gated, monkeypatch):
    # The fork must not wait for the slow server.
    monkeypatch.setattr("strongroom.runtime.forks._LONGEST_WAIT", 0.05)
    registry, gate = gated

    def work(_):
        gate.open.set()
        return [registry.get_secret("a"), registry.pipeline("slow").name]

    assert Children(2, work).results() == [["value of a", "slow"]] * 2


def test_a_registry_says_why_it_does_not_pickle():
    with SecretProviderRegistry(SPEC) as registry:
        with pytest.raises(TypeError, match="build the registry in the child process"):
            pickle.dumps(registry)
        context = multiprocessing.get_context("spawn")
        with pytest.raises(TypeError, match="build the registry in the child process"):
            context.Process(target=print, args=(registry,)).start()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_pool_of_forked_processes_reads():
    with SecretProviderRegistry(SPEC) as registry:
        assert registry.get_secret("a") == "value of a"
        _shared.append(registry)
        with multiprocessing.get_context("fork").Pool(3) as pool:
            assert pool.map(_read, ["a", "b"] * 20) == ["value of a", "value of b"] * 20


APP = """
import os
from strongroom import Lease, SecretProviderRegistry
registry = SecretProviderRegistry({SPEC})
process, read = os.getpid(), registry.get_secret("a")
"""
POOL = """
import multiprocessing, os
if __name__ == "__main__":
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["app"])
    look = "(lambda app: (app.registry.get_secret('b'), app.read, app.process == __import__('os').getpid()))"
    with context.Pool(3) as pool:
        print(sorted(set(pool.map(eval, [look + "(__import__('app'))"] * 12))))
"""


def test_children_of_a_fork_server_that_uses_a_registry_read(tmp_path):
    (tmp_path / "app.py").write_text(APP.replace("{SPEC}", repr(SPEC)))
    (tmp_path / "main.py").write_text(POOL)
    done = subprocess.run(
        [sys.executable, "main.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    # Of the fork server and not of the children is the registry that they read with.
    assert (done.returncode, done.stdout) == (0, "[('value of b', 'value of a', False)]\n"), done.stderr


_shared = []


def _read(key):
    return _shared[-1].get_secret(key)


# --- caches ---


@pytest.fixture(params=["one level", "two levels"])
def cached(request):
    """A cache, its clock, and the values behind it."""
    clock, values = Clock(), {"k": "old"}
    if request.param == "one level":
        cache = SecretCache(300, clock=clock)
    else:
        cache = HierarchicalSecretCache(300, 1, l2=MemoryCacheStore(clock=clock), clock=clock)
    assert cache.get_or_fetch("k", values.__getitem__) == "old"
    return cache, clock, values


def test_a_child_gives_what_its_parent_had_read_for_a_second_at_most(cached):
    cache, clock, values = cached

    def work(_):
        values["k"] = "new"
        found = []
        for passed in (0.0, 0.9, 1.1):
            clock.now = 1000.0 + passed
            found.append(cache.get_or_fetch("k", values.__getitem__))
        clock.now = 1100.0
        return [*found, cache.get_or_fetch("k", values.__getitem__)]

    assert Children(1, work).results() == [["old", "old", "new", "new"]]
    clock.now = 1100.0
    assert cache.get_or_fetch("k", values.__getitem__) == "old"


def test_a_child_forgets_what_a_thread_was_changing():
    cache = SecretCache(300)
    assert cache.get_or_fetch("k", lambda _: "old") == "old"
    held, release = threading.Event(), threading.Event()

    def hold():
        with cache._lock:
            held.set()
            release.wait(300)

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    assert held.wait(300)
    assert Children(1, lambda _: cache.get_or_fetch("k", lambda _: "new")).results() == ["new"]
    release.set()
    thread.join(300)
    assert cache.get_or_fetch("k", lambda _: "new") == "old"


def test_a_cache_that_was_closed_and_is_used_again_is_deaf_for_a_second_at_most():
    clock, values = Clock(), {"k": "old"}
    cache = HierarchicalSecretCache(300, 1, l2=MemoryCacheStore(clock=clock), clock=clock)
    cache.close()
    assert cache.get_or_fetch("k", values.__getitem__) == "old"
    values["k"] = "new"
    clock.now += 1.1
    assert cache.get_or_fetch("k", values.__getitem__) == "new"


# --- asyncio ---


@pytest.mark.parametrize("middleware", [[], [{"type": "caching"}]])
def test_asyncio_goes_on_in_a_child(middleware):
    spec = json.loads(json.dumps(SPEC))
    spec["pipelines"]["app"]["middleware"] = middleware
    registry = AsyncSecretRegistry(spec)
    assert asyncio.run(registry.get_secret("a")) == "value of a"

    def work(_):
        return [asyncio.run(registry.get_secret(key)) for key in "ab"]

    assert Children(2, work).results() == [["value of a", "value of b"]] * 2


# --- masking and the audit log ---


def test_a_child_masks_what_a_thread_had_half_learnt():
    ended, begun = threading.Event(), threading.Event()
    learner = [(Masker(), [])]

    def learn():
        for number in itertools.count():
            if ended.is_set():
                return
            if number % 50 == 0:  # what a masker knows makes each change dearer
                learner[0] = (Masker(), [])
            masker, learnt = learner[0]
            value = f"correct-horse-{number}-battery"
            masker.add(value)
            learnt.append(value)
            begun.set()

    thread = threading.Thread(target=learn, daemon=True)
    thread.start()
    assert begun.wait(300)

    def work(_):
        masker, learnt = learner[0]
        masker.add("swordfish-of-the-child")
        text = " ".join([*learnt, "swordfish-of-the-child"])
        masked = masker.mask_text(text)
        return "correct-horse" in masked or "swordfish" in masked

    assert Children(3, work).results() == [False] * 3
    ended.set()
    thread.join(300)


def test_an_audit_log_verifies_after_forks_in_the_middle_of_entries(tmp_path):
    log = tmp_path / "audit.jsonl"
    with SecretProviderRegistry(SPEC) as registry:
        registry.add_hook(AuditLoggingHook(path=str(log), key=b"k" * 32))
        ended, begun = threading.Event(), threading.Event()
        count = [0]

        def go_on():
            while not ended.is_set():
                registry.get_secret("a")
                count[0] += 1
                begun.set()

        thread = threading.Thread(target=go_on, daemon=True)
        thread.start()
        assert begun.wait(300)
        assert (
            Children(4, lambda _: [registry.get_secret("b") for _ in range(5)]).results()
            == [["value of b"] * 5] * 4
        )
        ended.set()
        thread.join(300)
    report = verify_audit_log(str(log), b"k" * 32)
    assert (report.ok, report.anchored, report.entries) == (True, True, count[0] + 20)


def test_a_store_is_whole_though_its_parent_closes_it_while_a_child_writes(tmp_path):
    """The parent's last connection takes no log away that a child still writes to."""
    path = tmp_path / "secrets.enc"
    with FileSecretProvider(path, "a passphrase that is long") as provider:
        provider.set_secret("a", "1")

        def work(number):
            for turn in range(5):
                provider.set_secret(f"child/{number}/{turn}", "value")
            return provider.get_secret("a")

        assert Children(3, work).results(meanwhile=provider.close) == ["1"] * 3
        assert len(provider.list_secrets("child/")) == 15
        assert provider.verify() == []


# --- signal handlers: a fork's cousin, for they too run in the middle of whatever there is ---


def interrupted(call, handler):
    """Run `call` again and again, each time interrupted by `handler` one line later; return what came of it.

    Python runs the handler of a signal in the main thread, in between two of its instructions.
    """
    ran, failed, at = [], [], 0
    while True:
        left = [at]

        def trace(_frame, event, _argument, left=left):
            if event == "line":
                left[0] -= 1
                if left[0] == 0:
                    sys.settrace(None)
                    try:
                        ran.append(handler())
                    except (BackendUnavailableError, AuditError) as error:
                        failed.append(str(error))
            return trace if left[0] > 0 else None

        sys.settrace(trace)
        try:
            call()
        finally:
            sys.settrace(None)
        if left[0] > 0 or at > MOST:
            return ran, failed
        at += 1


def test_a_signal_handler_reads_a_file(tmp_path):
    with FileSecretProvider(tmp_path / "s", "a passphrase that is long") as provider:
        provider.set_secret("a", "1")
        ran, failed = interrupted(lambda: provider.get_secret("a"), lambda: provider.get_secret("a"))
    assert set(ran) <= {"1"}
    assert all("signal handler" in message for message in failed)


def test_a_signal_handler_reads_through_a_cache():
    inner = MemorySecretProvider(secrets={"a": "1"})
    with CachingMiddleware(inner, ttl_seconds=0.0001) as provider:
        ran, failed = interrupted(lambda: provider.get_secret("a"), lambda: provider.get_secret("a"))
    assert (set(ran), failed) == ({"1"}, [])


CACHES = {
    "one level": lambda inner: CachingMiddleware(inner, ttl_seconds=0.0001),
    "two levels": lambda inner: CachingMiddleware(
        inner,
        ttl_seconds=0.0001,
        l2=MemoryCacheStore(),
        encryption=AESGCMEncryption(b"k" * 32),
        l2_timeout_seconds=60,
    ),
}
INTERRUPTED = {
    "read": lambda provider: provider.get_secret("a"),
    "batch": lambda provider: provider.get_secrets(["a", "b"]),
    "write": lambda provider: provider.set_secret("a", "1"),
    "list": lambda provider: provider.list_secrets(),
    "versions": lambda provider: provider.list_versions("a"),
    "invalidation": lambda provider: provider.invalidate("a"),
}


@pytest.mark.parametrize("kind", CACHES)
@pytest.mark.parametrize("call", INTERRUPTED)
def test_a_signal_handler_reads_whatever_it_interrupts_of_a_cache(kind, call):
    """It asks the backend itself where another thread's fetch would wait for a lock of the one it interrupts."""
    with CACHES[kind](MemorySecretProvider(secrets={"a": "1", "b": "2"})) as provider:
        INTERRUPTED[call](provider)
        ran, failed = interrupted(
            lambda: INTERRUPTED[call](provider),
            lambda: (provider.get_secret("a"), provider.get_secrets(["a", "b"]) == {"a": "1", "b": "2"}),
        )
    assert set(ran) == {("1", True)}
    assert all("signal handler" in message for message in failed)


def test_a_signal_handler_starts_a_call_in_the_middle_of_a_start():
    pool = BackgroundPool()
    done = []

    def late():
        ended = threading.Event()
        pool.start(ended.set)
        return ended.wait(300)

    ran, failed = interrupted(lambda: pool.start(lambda: done.append(1)), late)
    assert (set(ran), failed) == ({True}, [])


PROGRAM = """
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    result = [] if request["method"] == "capabilities" else "1"
    print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}), flush=True)
"""


def test_a_signal_handler_reads_what_a_program_gives(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    with ExecSecretProvider([sys.executable, "-I", "-S", str(path)], timeout=60) as provider:
        ran, failed = interrupted(lambda: provider.get_secret("a"), lambda: provider.get_secret("a"))
    assert set(ran) == {"1"}
    assert all("signal handler" in message for message in failed)


class Leases(LeasingProvider):
    """Issues a lease for each key."""

    type_name = "leases"

    def issue_lease(self, key):
        now = datetime.now(UTC)
        return Lease(key, key, {"password": "1"}, now, now + timedelta(hours=1), True)

    def renew_lease(self, lease):
        return lease

    def revoke_lease(self, lease):
        pass


def test_a_signal_handler_reads_a_lease(tmp_path, monkeypatch):
    """Also the one that is being issued by what it interrupts."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with Leases() as provider:
        numbers, key = itertools.count(), [""]

        def read():
            key[0] = f"key/{next(numbers)}"
            return provider.get_secret(key[0])

        ran, failed = interrupted(read, lambda: provider.get_secret(key[0] or "key"))
    assert set(ran) == {'{"password": "1"}'}
    assert failed
    assert all("signal handler" in message for message in failed)


def test_a_signal_handler_writes_to_memory():
    """Whatever it interrupts, what is read afterwards is what the versions say."""
    with MemorySecretProvider(max_versions=2) as provider:
        numbers, key = itertools.count(), [""]

        def write():
            key[0] = f"key/{next(numbers)}"
            for value in ("first", "second", "third"):
                provider.set_secret(key[0], value)

        ran, failed = interrupted(write, lambda: provider.set_secret(key[0] or "key", "of the handler"))
        assert (len(ran) > 50, failed) == (True, [])
        for one in provider.list_secrets("key/"):
            versions = provider.list_versions(one)
            assert [found.version for found in versions if found.state == "current"] == [
                provider.describe_secret(one).version
            ]
            assert len(versions) == 2
            assert provider.get_secret(one) == provider.get_secret_version(
                one, provider.describe_secret(one).version
            )


def test_a_signal_handlers_read_is_audited_or_refused(tmp_path):
    log = tmp_path / "audit.jsonl"
    with SecretProviderRegistry(SPEC) as registry:
        registry.add_hook(AuditLoggingHook(path=str(log), key=b"k" * 32))
        ran, failed = interrupted(lambda: registry.get_secret("a"), lambda: registry.get_secret("b"))
    assert set(ran) <= {"value of b"}
    assert all("signal handler" in message for message in failed)
    assert verify_audit_log(str(log), b"k" * 32).ok


def test_a_signal_handler_remembers_values_to_mask():
    finder, numbers, learnt = Finder(), iter(range(10**6)), []

    def learn():
        value = f"correct-horse-{next(numbers)}"
        finder.add(value)
        learnt.append(value)
        return value.encode()

    def late():
        return finder.find(learn()) != []

    ran, failed = interrupted(learn, late)
    assert (set(ran), failed) == ({True}, [])
    assert all(finder.find(one.encode()) for one in learnt[-100:])
