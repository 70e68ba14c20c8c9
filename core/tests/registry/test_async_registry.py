"""The registry for asyncio: no thread for what is remembered, one fetch for all, and nobody's cancellation."""

from __future__ import annotations

import asyncio
import random
import sys
import threading

import pytest
from strongroom import (
    CachingMiddleware,
    PrefixMiddleware,
    RetryMiddleware,
    SecretHook,
    SecretProviderRegistry,
    TenantContext,
    TenantMiddleware,
    ValidationMiddleware,
)
from strongroom.aio import AsyncSecretRegistry
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    InvalidKeyError,
    SecretNotFoundError,
    StrongroomError,
)
from strongroom.pipeline.fallback import FallbackProvider
from strongroom_memory import MemorySecretProvider

SPEC = {"version": 1, "pipelines": {"a": {"provider": {"type": "memory"}}}}


class Gated(MemorySecretProvider):
    """Memory whose reads wait until the test lets them, and tell their thread."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.threads: list[str] = []

    def get_secret(self, key):
        self.threads.append(threading.current_thread().name)
        self.entered.release()
        assert self.gate.wait(300)
        return super().get_secret(key)


@pytest.fixture
def backend():
    provider = Gated()
    for number in range(50):
        provider.set_secret(f"key/{number}", f"value {number}")
    return provider


def registry_of(provider, **options):
    registry = SecretProviderRegistry(SPEC)
    registry.register("own", provider, prefix="")
    return AsyncSecretRegistry(registry, **options)


async def once_entered(backend):
    assert await asyncio.to_thread(backend.entered.acquire, timeout=300)


def test_a_remembered_value_is_answered_without_a_thread(backend):
    async def main():
        own = registry_of(CachingMiddleware(backend))
        await own.get_secret("key/1")
        backend.gate.clear()  # whoever went to the backend now would hang
        before = threading.active_count()
        assert [await own.get_secret("key/1") for _ in range(100)] == ["value 1"] * 100
        assert threading.active_count() == before

    asyncio.run(main())


def test_a_remembered_value_takes_no_more_calls_than_the_plain_registrys(backend):
    """Calls of Python's and C's functions are counted, not seconds: one more may make the coroutine."""
    reads, calls = 100, 0

    def count(frame, event, what):
        nonlocal calls
        calls += event in {"call", "c_call"}

    def counted(work):
        nonlocal calls
        calls = 0
        sys.setprofile(count)
        try:
            work()
        finally:
            sys.setprofile(None)
        return calls

    async def main():
        own = registry_of(CachingMiddleware(backend))
        await own.get_secret("key/1")
        await own.get_secret("key/1")

        def awaited():
            for _ in range(reads):
                with pytest.raises(StopIteration) as returned:
                    own.get_secret("key/1").send(None)
                assert returned.value.value == "value 1"

        def called():
            for _ in range(reads):
                with pytest.raises(StopIteration) as returned:
                    raise StopIteration(own.registry.get_secret("key/1"))
                assert returned.value.value == "value 1"

        called()
        assert counted(awaited) <= counted(called) + 3 * reads

    asyncio.run(main())


def test_a_write_goes_to_the_tenant_whose_block_was_open_as_it_began():
    """The block ends in another thread while the write is on its way, as in a generator that is closed late."""

    def in_block():
        with TenantContext("a"):
            yield

    class Between(SecretHook):
        def before(self, event):
            generator.close()

    async def main():
        backend = MemorySecretProvider()
        own = registry_of(TenantMiddleware(backend))
        own.add_hook(Between())
        with TenantContext("b"):
            next(generator)
            await own.set_secret("key", "of a")
        return backend.list_secrets()

    generator = in_block()
    assert asyncio.run(main()) == ["tenants/a/key"]


@pytest.mark.parametrize("chain", [
    lambda inner: CachingMiddleware(TenantMiddleware(inner)),
    lambda inner: TenantMiddleware(CachingMiddleware(inner)),
])  # fmt: skip
def test_a_read_that_waits_is_of_the_tenant_whose_block_was_open_as_it_began(chain):
    def in_block():
        with TenantContext("a"):
            yield

    async def main():
        backend = Gated()
        for tenant in "ab":
            backend.set_secret(f"tenants/{tenant}/key", f"of {tenant}")
        own = registry_of(chain(backend))
        own.pipeline("own")  # set up: the first use is on a thread
        backend.gate.clear()
        with TenantContext("b"):
            generator = in_block()
            next(generator)
            task = asyncio.create_task(own.get_secret("key"))
            await once_entered(backend)
            await asyncio.to_thread(generator.close)
            backend.gate.set()
            return await task

    assert asyncio.run(main()) == "of a"


def test_a_fetch_that_awaits_its_own_key_waits_for_nothing():
    """As a plain read does; it would be told after a minute that the backend does not answer."""

    class Circular(MemorySecretProvider):
        def get_secret(self, key):
            return asyncio.run(own.get_secret(key))

    own = registry_of(CachingMiddleware(Circular()))
    with pytest.raises(ConfigurationError, match="'key' leads back to itself"):
        own.registry.get_secret("key")
    with pytest.raises(ConfigurationError, match="'key' leads back to itself"):
        asyncio.run(own.get_secret("key"))


def test_what_is_remembered_is_still_checked_and_told_to_whoever_listens(backend):
    told: list[str] = []
    seen: list[str] = []

    class Hook(SecretHook):
        def after(self, event):
            seen.append(event.key)

    async def main():
        own = registry_of(CachingMiddleware(TenantMiddleware(backend)))
        with TenantContext("acme"):
            await own.set_secret("one", "1")
            for _ in range(2):
                assert await own.get_secret("one") == own.get_secret_nowait("one") == "1"
        with TenantContext("other"), pytest.raises(SecretNotFoundError):
            await own.get_secret("one")
        for key in ("", "a//b", None):
            with pytest.raises(InvalidKeyError):
                await own.get_secret(key)
        with TenantContext("acme"):
            await own.set_secret("one", "2")
            assert await own.get_secret("one") == "2"
            own.registry.observe_values(told.append)
            for _ in range(2):
                assert await own.get_secret("one") == own.get_secret_nowait("one") == "2"
            assert told == ["2"] * 4
            own.add_hook(Hook())
            assert await own.get_secret("one") == "2"
            assert own.get_secret_nowait("one") is None
        assert seen == ["one"]

    asyncio.run(main())


def test_what_takes_no_waiting_is_had_without_it_and_what_does_is_fetched_meanwhile(backend):
    async def main():
        own = registry_of(CachingMiddleware(backend))
        assert own.get_secret_nowait("key/1") is None  # its pipeline was not used before
        await own.get_secret("key/1")
        assert own.get_secret_nowait("key/1") == "value 1"
        backend.gate.clear()
        assert own.get_secret_nowait("key/2") is None
        await once_entered(backend)
        backend.gate.set()
        assert await own.get_secret("key/2") == "value 2"
        assert len(backend.threads) == 2
        plain = registry_of(backend)
        await plain.get_secret("key/1")
        assert plain.get_secret_nowait("key/1") is None

    asyncio.run(main())


@pytest.mark.parametrize(
    "around",
    [
        lambda inner: ValidationMiddleware(CachingMiddleware(inner)),
        lambda inner: PrefixMiddleware(CachingMiddleware(inner), "key/"),
        lambda inner: TenantMiddleware(CachingMiddleware(inner)),
    ],
    ids=["validation", "prefix", "tenant"],
)
def test_so_it_is_behind_what_only_computes(around, backend):
    async def main():
        own = registry_of(around(backend))
        with TenantContext("acme"):
            await own.set_secret("one", "1")
            await own.get_secret("one")
            backend.gate.clear()
            assert await own.get_secret("one") == "1"

    asyncio.run(main())


def test_what_may_sleep_or_ask_stays_out_of_the_loop(backend):
    loop_thread = threading.current_thread().name
    seen: list[str] = []

    class Hook(SecretHook):
        def after(self, event):
            seen.append(threading.current_thread().name)

    async def main():
        for provider in (backend, RetryMiddleware(CachingMiddleware(backend))):
            own = registry_of(provider)
            for _ in range(2):
                await own.get_secret("key/1")
        watched = registry_of(CachingMiddleware(backend))
        watched.add_hook(Hook())
        for _ in range(2):
            await watched.get_secret("key/1")

    asyncio.run(main())
    assert loop_thread not in backend.threads
    assert seen
    assert loop_thread not in seen


def test_a_cache_that_keeps_nothing_stays_out_of_the_loop(backend):
    """Values of a lease are never kept, so a read behind such a cache asks the servers."""

    class Issuing(MemorySecretProvider):
        def issue_lease(self, key):
            raise NotImplementedError

        renew_lease = revoke_lease = issue_lease

    async def main():
        members = FallbackProvider(Issuing(), others=[backend], when=frozenset({"not_found"}))
        own = registry_of(CachingMiddleware(members))
        for _ in range(2):
            assert await own.get_secret("key/1") == "value 1"

    asyncio.run(main())
    assert threading.current_thread().name not in backend.threads


@pytest.mark.parametrize("remembered", [True, False])
def test_an_error_that_no_future_takes_ends_the_call(remembered):
    """Python makes another error of a `StopIteration` that leaves a coroutine; asyncio's future takes none."""

    class Odd(MemorySecretProvider):
        def get_secret(self, key):
            return next(iter(()))

    async def main():
        own = registry_of(CachingMiddleware(Odd()) if remembered else Odd())
        with pytest.raises(RuntimeError) as caught:
            await asyncio.wait_for(own.get_secret("a"), 300)
        assert isinstance(caught.value.__cause__, StopIteration)

    asyncio.run(main())


@pytest.mark.parametrize("remembered", [True, False])
def test_asyncio_prints_no_value_however_much_it_is_made_to_print(remembered, caplog):
    """In its debug mode it logs slow handles with their arguments, and futures show their results."""

    async def main():
        asyncio.get_running_loop().slow_callback_duration = 0  # all are slow
        backend = MemorySecretProvider(secrets={"a": '{"b": "hunter2"}'})
        own = registry_of(CachingMiddleware(backend) if remembered else backend)

        async def use():
            await own.get_secret("a")
            await own.get_secrets(["a"])
            await own.get_field("a", "b")
            await own.set_secret("a", "hunter2 of old")
            await own.describe_secret("a")
            versions = await own.list_versions("a")
            await own.get_secret_version("a", versions[0].version)

        task, seen = asyncio.ensure_future(use()), []
        while not task.done():
            seen.append(repr(task))
            await asyncio.sleep(0)
        await task
        return seen

    seen = asyncio.run(main(), debug=True)
    assert any("Executing" in line for line in caplog.messages)
    assert not [line for line in [*seen, *caplog.messages] if "hunter2" in line]


@pytest.mark.parametrize("raised", [SystemExit, type("PanicException", (BaseException,), {})])
@pytest.mark.parametrize("remembered", [True, False])
def test_an_exit_or_a_panic_on_a_thread_ends_no_event_loop(raised, remembered):
    """A provider's own `sys.exit` ended a whole server."""

    class Odd(MemorySecretProvider):
        def get_secret(self, key):
            raise raised("hunter2")

        def get_secrets(self, keys):
            raise raised("hunter2")

    async def main():
        own = registry_of(CachingMiddleware(Odd()) if remembered else Odd())
        for call in (own.get_secret("a"), own.get_secrets(["a", "b"])):
            with pytest.raises(StrongroomError) as caught:
                await call
            assert f"{raised.__name__} was raised on a thread" in str(caught.value)
            assert "test_async_registry.py:" in str(caught.value)
            assert "hunter2" not in str(caught.value)
            assert caught.value.__context__ is None

    asyncio.run(main())


def test_the_loop_goes_on_while_a_fetch_is_under_way(backend):
    async def main():
        own = registry_of(CachingMiddleware(backend))
        await own.get_secret("key/2")
        backend.entered = threading.Semaphore(0)
        backend.gate.clear()
        waiting = asyncio.create_task(own.get_secret("key/1"))
        await once_entered(backend)
        assert await own.get_secret("key/2") == "value 2"
        assert not waiting.done()
        backend.gate.set()
        assert await waiting == "value 1"

    asyncio.run(main())


def test_a_thousand_tasks_make_one_fetch_though_a_third_of_them_is_cancelled(backend):
    async def main():
        own = registry_of(CachingMiddleware(backend))
        await own.list_secrets()  # from now on it answers in the loop
        await own.get_secret("key/0")
        backend.threads.clear()
        backend.entered = threading.Semaphore(0)
        backend.gate.clear()
        tasks = [asyncio.create_task(own.get_secret("key/1")) for _ in range(1000)]
        await once_entered(backend)
        await asyncio.sleep(0)
        chosen = random.Random(1).sample(tasks, 300)
        for task in chosen:
            task.cancel()
        backend.gate.set()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert len(backend.threads) == 1
        assert sum(isinstance(one, asyncio.CancelledError) for one in outcomes) == 300
        assert sum(one == "value 1" for one in outcomes) == 700

    asyncio.run(main())


def test_a_loop_that_is_closed_in_the_middle_of_a_call_takes_no_thread_along(backend):
    """The call ends after it was asked whether the loop is closed: its thread is for the next loop, too."""

    class Racing(asyncio.SelectorEventLoop):
        def is_closed(self):
            return threading.current_thread() is threading.main_thread() and super().is_closed()

    registry = registry_of(backend, max_threads=1)
    backend.gate.clear()

    async def give_up():
        waiting = asyncio.create_task(registry.get_secret("key/1"))
        await once_entered(backend)
        waiting.cancel()

    loop = Racing()
    loop.run_until_complete(give_up())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    backend.gate.set()

    async def ask():
        return await asyncio.wait_for(registry.get_secret("key/2"), 30)

    assert asyncio.run(ask()) == "value 2"


def test_no_answer_goes_to_another_caller_whoever_is_cancelled(backend):
    async def main():
        own = registry_of(CachingMiddleware(backend, ttl_seconds=0.0005))
        chance = random.Random(2)

        async def ask():
            for _ in range(40):
                number = chance.randrange(50)
                task = asyncio.create_task(own.get_secret(f"key/{number}"))
                await asyncio.sleep(0)
                if chance.random() < 0.3:
                    task.cancel()
                try:
                    assert await task == f"value {number}"
                except asyncio.CancelledError:
                    assert task.cancelled()

        await asyncio.gather(*(ask() for _ in range(25)))

    asyncio.run(main())


def test_threads_and_tasks_share_a_fetch(backend):
    async def main():
        own = registry_of(CachingMiddleware(backend))
        await own.get_secret("key/0")
        backend.threads.clear()
        backend.entered = threading.Semaphore(0)
        backend.gate.clear()
        found: list[str] = []
        thread = threading.Thread(target=lambda: found.append(own.registry.get_secret("key/1")))
        thread.start()
        await once_entered(backend)
        task = asyncio.create_task(own.get_secret("key/1"))
        await asyncio.sleep(0.01)
        backend.gate.set()
        assert await task == "value 1"
        thread.join(300)
        assert found == ["value 1"]
        assert len(backend.threads) == 1

    asyncio.run(main())


def test_errors_are_those_of_the_sync_side(backend):
    async def main():
        own = registry_of(CachingMiddleware(backend))
        for _ in range(2):
            with pytest.raises(SecretNotFoundError) as caught:
                await own.get_secret("none")
            assert caught.value.pipeline == "own"
            with pytest.raises(InvalidKeyError):
                await own.get_secret("../x")
            with pytest.raises(InvalidKeyError):
                await own.get_secret(None)

    asyncio.run(main())


def test_a_fetch_that_never_ends_is_given_up(backend):
    async def main():
        own = registry_of(CachingMiddleware(backend, fetch_timeout_seconds=0.05))
        await own.get_secret("key/0")
        backend.gate.clear()
        with pytest.raises(BackendUnavailableError, match="did not end"):
            await own.get_secret("key/1")
        backend.gate.set()

    asyncio.run(main())


def test_a_write_is_seen_by_the_next_read_though_an_older_fetch_is_under_way(backend):
    async def main():
        own = registry_of(CachingMiddleware(backend))
        await own.get_secret("key/0")
        backend.entered = threading.Semaphore(0)
        backend.gate.clear()
        older = asyncio.create_task(own.get_secret("key/1"))
        await once_entered(backend)
        await own.set_secret("key/1", "newer")
        newer = asyncio.create_task(own.get_secret("key/1"))
        await asyncio.sleep(0)
        backend.gate.set()
        assert await newer == "newer"
        await older
        assert await own.get_secret("key/1") == "newer"

    asyncio.run(main())


def test_every_method_of_the_registry_is_there():
    names = {name for name in vars(SecretProviderRegistry) if not name.startswith("_")}
    own = {name for name in vars(AsyncSecretRegistry) if not name.startswith("_")}
    inner = {
        "absent_store",
        "answering",
        "answers",
        "asked_as",
        "default_pipeline",
        "drop_watch",
        "environment",
        "figures",
        "rotator",
        "forget",
        "holds_leases",
        "list_readable",
        "assembled_pipeline",
        "pipeline_for",
        "plan",
        "replaced",
        "rotation_lock",
        "serve_options",
        "stop_observing_values",
        "observe_values",
        "type_name",
        "used_pipelines",
    }
    assert names - own <= inner


def test_they_do_the_same():
    async def main():
        async with AsyncSecretRegistry(SPEC) as own:
            await own.set_secret("a", '{"user": "me"}')
            await own.set_secrets({"b": "2", "c": "3"})
            assert await own.get_secrets(["a", "b", "none"]) == {"a": '{"user": "me"}', "b": "2"}
            assert await own.get_field("a", "user") == "me"
            with pytest.raises(SecretNotFoundError) as absent:
                await own.get_field("a", "none")
            assert absent.value.pipeline == own.registry.pipeline_for("a").name
            assert await own.list_secrets() == ["a", "b", "c"]
            version = (await own.describe_secret("b")).version
            newer = await own.set_secret_if("b", "22", version)
            with pytest.raises(ConflictError):
                await own.set_secret_if("b", "x", version)
            assert await own.get_secret_version("b", version) == "2"
            staged = await own.stage_secret("b", "222")
            await own.promote_version("b", staged, expected_version=newer)
            await own.discard_version("b", await own.stage_secret("b", "2222"))
            assert await own.get_secret("b") == "222"
            assert len(await own.list_versions("b")) >= 3
            await own.delete_secret("c")
            assert own.explain("a").pipeline == "a"
            assert own.pipelines() == ["a"]
            assert dict(await own.resolve()) == {}
            assert "222" not in repr(own)

    asyncio.run(main())


def test_a_shared_registry_is_not_closed_with_it(backend):
    class Closing(MemorySecretProvider):
        closed = 0

        def close(self):
            self.closed += 1

    async def main():
        provider = Closing()
        async with registry_of(provider) as own:
            await own.set_secret("a", "1")
        assert provider.closed == 0
        own.registry.close()
        assert provider.closed == 1

    asyncio.run(main())
