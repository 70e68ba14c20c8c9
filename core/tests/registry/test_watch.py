"""Watches: what a source pushes, what is refused, tenants, asyncio and forks."""

from __future__ import annotations

import asyncio
import logging
import os
import threading

import pytest
from strongroom import CachingMiddleware, SecretProviderRegistry, TenantContext, current_tenant
from strongroom.aio import AsyncSecretRegistry
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    InvalidKeyError,
    PermissionDeniedError,
    TenantContextError,
)
from strongroom.hooks import SecretHook
from strongroom_memory import MemorySecretProvider
from watch_support import PATIENCE, Heard, Polled, Versioned, over


def test_each_version_is_told_once_and_in_order(registry):
    """With the version that the backend gave it."""
    registry.set_secret("a", "0")
    heard = Heard()
    with registry.watch("a", heard):
        batches = []
        for number in range(20):
            registry.set_secret("a", str(number))
            batches.append([("a", "set", registry.describe_secret("a").version)])
        registry.delete_secret("a")
        batches.append([("a", "deleted", None)])
        registry.set_secret("b", "not watched")
        assert heard.wait(21) == batches


def test_what_changed_together_comes_in_one_call(registry):
    """One transaction is one list."""
    heard = Heard()
    with registry.watch(["u", "p", "u"], heard):
        registry.set_secrets({"u": "1", "p": "2", "other": "3"})
        [batch] = heard.wait(1)
    assert [(key, kind) for key, kind, _ in batch] == [("u", "set"), ("p", "set")]


def test_the_callback_reads_the_new_value_past_every_cache():
    """Also where another process or another pipeline wrote."""
    registry = SecretProviderRegistry(
        {
            "version": 1,
            "pipelines": {
                "app": {
                    "provider": {"type": "memory"},
                    "middleware": [{"type": "caching", "ttl_seconds": 900}],
                }
            },
        }
    )
    with registry:
        provider = registry.pipeline("app").inner.inner
        registry.set_secret("a", "old")
        read = []
        heard = Heard(lambda changes: read.append(registry.get_secret(changes[0].key)))
        with registry.watch("a", heard):
            assert registry.get_secret("a") == "old"
            provider.set_secret("a", "new")
            heard.wait(1)
    assert read == ["new"]


def test_prefixes_of_several_routes_are_watched(plain_routes):
    """One that ends in a slash is all that begins with it; the slash alone is every key."""
    registry = plain_routes
    everything, dev = Heard(), Heard()
    with registry.watch("/", everything), registry.watch("dev/", dev):
        registry.set_secret("dev/a", "1")
        registry.set_secret("top", "1")
        registry.pipeline("app").set_secret("dev/hidden", "1")
        everything.wait(2)
        dev.wait(1)
    assert sorted(batch[0][0] for batch in everything.batches) == ["dev/a", "top"]
    assert [batch[0][0] for batch in dev.batches] == ["dev/a"]


@pytest.fixture
def plain_routes():
    with SecretProviderRegistry(
        {
            "version": 1,
            "pipelines": {"app": {"provider": {"type": "memory"}}, "dev": {"provider": {"type": "memory"}}},
            "default": "app",
            "routes": [{"prefix": "dev/", "pipeline": "dev", "strip_prefix": True}],
        }
    ) as made:
        yield made


def test_a_rotation_is_told_and_its_record_is_not(registry):
    """What lies beside the secret is nobody's key."""
    from strongroom import SecretRotation

    registry.set_secret("a", "0")
    heard = Heard()
    with registry.watch("/", heard):
        SecretRotation(registry).rotate("a", "1")
        heard.wait(1)
        registry.set_secret("z", "1")
        heard.wait(2)
    assert [batch[0][0] for batch in heard.batches] == ["a", "z"]


def test_a_callback_that_raises_is_logged_without_a_value_and_the_watch_goes_on(registry, caplog):
    """Whatever it raises."""
    heard = Heard()

    def fail(changes):
        heard(changes)
        raise SystemExit(registry.get_secret("a"))

    with caplog.at_level(logging.ERROR), registry.watch("a", fail) as watch:
        registry.set_secret("a", "s3cret-one")
        heard.wait(1)
        registry.set_secret("a", "s3cret-two")
        heard.wait(2)
        assert watch.alive
    assert "SystemExit" in caplog.text
    assert "s3cret" not in caplog.text
    assert "s3cret" not in repr(watch)


def test_after_close_nothing_is_told(registry):
    """A second close is harmless, and closing the registry closes its watches."""
    heard = Heard()
    watch = registry.watch("a", heard)
    registry.set_secret("a", "1")
    heard.wait(1)
    watch.close()
    watch.close()
    registry.set_secret("a", "2")
    assert not watch.alive
    assert heard.batches == [[("a", "set", "1")]]
    other = registry.watch("a", heard)
    registry.close()
    assert not other.alive


def test_a_callback_may_close_its_own_watch(registry):
    """Without waiting for itself."""
    heard = Heard()
    made = []

    def end(changes):
        made[0].close()
        heard(changes)

    made.append(registry.watch("a", end))
    registry.set_secret("a", "1")
    heard.wait(1)
    assert not made[0].alive


def test_a_watch_that_is_closed_as_it_subscribes_leaves_no_subscription(registry):
    """After an outage at the start its thread subscribes, at any moment of another one's `close`."""

    class Source(MemorySecretProvider):
        def subscribe_changes(self, callback):
            if not made:
                raise BackendUnavailableError("down")
            made[0].close()
            held = super().subscribe_changes(callback)

            class Handle:
                @staticmethod
                def close():
                    held.close()
                    closed.set()

            return Handle()

    made, closed = [], threading.Event()
    registry.register("source", Source(), prefix="source/")
    watch = registry.watch("source/a", Heard(), poll_seconds=0.01)
    made.append(watch)
    assert closed.wait(PATIENCE)
    assert not watch.alive


def test_what_cannot_be_watched_is_refused(registry):
    """No keys, none that are keys, no time."""
    with pytest.raises(ValueError, match="no keys"):
        registry.watch([], print)
    for key in ("", "a//b", "../a", "a/.rotation/b", "//", "../"):
        with pytest.raises(InvalidKeyError):
            registry.watch(key, print)
    for seconds in (0, -1, float("nan")):
        with pytest.raises(ConfigurationError):
            registry.watch("a", print, poll_seconds=seconds)
    with pytest.raises(InvalidKeyError):
        registry.watch([b"a"], print)
    with pytest.raises(TypeError):
        registry.watch("a", None)
    assert registry._watches == ()


def test_watching_raises_what_reading_raises():
    """Nothing is watched then, and nobody is subscribed."""
    provider = Versioned()
    provider.error = PermissionDeniedError("no")
    registry = over(provider)
    with pytest.raises(PermissionDeniedError):
        registry.watch("a", print)
    assert registry._watches == ()


def test_hooks_see_the_watch_and_its_changes_and_may_refuse_it(registry):
    """With an event for each key; a change holds no value."""
    seen, refused = [], set()

    class Recorder(SecretHook):
        def before(self, event):
            if event.key in refused:
                raise PermissionError(event.key)

        def after(self, event):
            seen.append((event.operation, event.key, event.outcome))

    registry.add_hook(Recorder())
    heard = Heard()
    with registry.watch(["a", "p/"], heard):
        registry.set_secret("a", "1")
        heard.wait(1)
    assert seen == [
        ("watch", "p/", "ok"), ("watch", "a", "not_found"), ("set", "a", "ok"), ("change", "a", "ok"),
    ]  # fmt: skip
    refused.add("a")
    with pytest.raises(PermissionError):
        registry.watch("a", heard)


def tenants():
    return SecretProviderRegistry(
        {
            "version": 1,
            "pipelines": {
                "app": {
                    "provider": {"type": "memory"},
                    "middleware": [{"type": "caching"}, {"type": "tenant"}],
                }
            },
        }
    )


def test_a_watch_is_of_the_tenant_in_which_it_was_made():
    """The callback runs with it, and another tenant's secret of the same name is another one."""
    with tenants() as registry:
        active = []
        heard = Heard(lambda _: active.append(current_tenant()))
        with TenantContext("acme"):
            registry.watch("a", heard)
        with TenantContext("other"):
            registry.set_secret("a", "1")
        with TenantContext("acme"):
            registry.set_secret("a", "2")
            version = registry.describe_secret("a").version
        assert heard.wait(1) == [[("a", "set", version)]]
        assert active == ["acme"]
        with pytest.raises(TenantContextError):
            registry.watch("a", heard)


def test_hooks_see_a_watch_that_is_refused_before_it_reads():
    """Without a tenant, and with what is not a key: the errors name the pipeline, as those of reads do."""
    seen = []

    class Recorder(SecretHook):
        def after(self, event):
            seen.append((event.operation, event.key, event.outcome, event.error_type))

    with tenants() as registry:
        registry.add_hook(Recorder())
        refused = [
            ("a", "denied", TenantContextError),
            ("b/", "denied", TenantContextError),
            ("a//b", "error", InvalidKeyError),
        ]
        for key, _, error in refused:
            with pytest.raises(error) as raised:
                registry.watch(key, print)
            assert raised.value.pipeline == "app"
    assert seen == [("watch", key, outcome, error.__name__) for key, outcome, error in refused]


def test_asyncio_awaits_batches(registry):
    """Within the block; it ends as the registry is closed."""

    async def run():
        heard = []
        async with AsyncSecretRegistry(registry) as secrets, secrets.watch("a") as changes:
            await secrets.set_secret("a", "1")
            await secrets.set_secret("a", "2")
            async for batch in changes:
                heard += [(one.key, one.version) for one in batch]
                if len(heard) == 2:
                    registry.close()
        return heard

    assert asyncio.run(asyncio.wait_for(run(), PATIENCE)) == [("a", "1"), ("a", "2")]


def test_asyncio_hears_of_an_end_that_comes_as_the_block_begins(registry, monkeypatch):
    """Of a registry that another task closes at that moment; the iteration would wait for ever."""
    begin = registry.watch

    def begin_and_end(*args, **options):
        watch = begin(*args, **options)
        registry.close()
        return watch

    monkeypatch.setattr(registry, "watch", begin_and_end)

    async def run():
        async with AsyncSecretRegistry(registry).watch("a") as changes:
            return [batch async for batch in changes]

    assert asyncio.run(asyncio.wait_for(run(), PATIENCE)) == []


def test_asyncio_keeps_the_tenant_and_ends_with_the_block():
    """As in threads."""

    async def run():
        async with AsyncSecretRegistry(tenants()) as secrets:
            with TenantContext("acme"):
                watch = secrets.watch("a")
                async with watch as changes:
                    await secrets.set_secret("a", "1")
                    batch = await anext(changes)
                assert not watch.alive
                with pytest.raises(StopAsyncIteration):
                    await anext(changes)
                return [one.key for one in batch]

    assert asyncio.run(asyncio.wait_for(run(), PATIENCE)) == ["a"]


def test_a_task_that_is_cancelled_as_it_begins_leaves_no_watch():
    """Nobody would close it, and its changes would be kept for ever."""
    reading, go_on = threading.Event(), threading.Event()

    class Slow(Polled):
        def get_secret(self, key):
            reading.set()
            assert go_on.wait(PATIENCE)
            return super().get_secret(key)

    async def run(registry):
        async def watch():
            async with AsyncSecretRegistry(registry).watch("a"):
                raise AssertionError

        task = asyncio.create_task(watch())
        assert await asyncio.to_thread(reading.wait, PATIENCE)
        [begun], ended = registry._watches, threading.Event()
        begun.when_closed(ended.set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        return await asyncio.to_thread(ended.wait, PATIENCE)

    with over(Slow()) as registry:
        assert asyncio.run(asyncio.wait_for(run(registry), PATIENCE))
        assert registry._watches == ()


def test_a_watch_for_which_no_thread_can_be_had_begins_with_the_next_use(registry, monkeypatch, caplog):
    """The machine has no more of them for a moment."""

    def refuse(_):
        raise RuntimeError("can't start new thread")

    registry.set_secret("a", "0")
    heard = Heard()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        watch = registry.watch("a", heard)
        for _ in range(3):
            registry.get_secret("a")
    assert watch._thread is None
    assert caplog.text.count("has no thread") == 1
    assert registry.get_secret("a") == "0"
    assert watch._thread is not None
    registry.set_secret("a", "1")
    heard.wait(1)
    watch.close()


def from_a_loop(registry, key):
    return asyncio.run(AsyncSecretRegistry(registry).get_secret(key))


def by_its_pipeline(registry, key):
    return registry.pipeline(registry.default_pipeline()).get_secret(key)


def by_a_pipeline_of_before(call):
    """Return a use of a pipeline that is asked for once: the child does not ask the registry for it."""
    kept = []

    def use(registry, key):
        if not kept:
            kept.append(registry.pipeline(registry.default_pipeline()))
        call(kept[0], key)

    return use


@pytest.mark.parametrize(
    "use",
    [
        SecretProviderRegistry.get_secret,
        from_a_loop,
        by_its_pipeline,
        by_a_pipeline_of_before(lambda pipeline, key: pipeline.get_secret(key)),
        by_a_pipeline_of_before(lambda pipeline, key: pipeline.get_secrets([key])),
        by_a_pipeline_of_before(lambda pipeline, _: pipeline.list_secrets()),
        by_a_pipeline_of_before(lambda pipeline, key: pipeline.describe_secret(key)),
        by_a_pipeline_of_before(lambda pipeline, _: pipeline.set_secret("other", "1")),
    ],
)
def test_watches_go_on_in_a_forked_child_from_its_first_use(use):
    """What parent or child close, the other keeps; whichever way the child reads, also what is remembered."""
    registry = over(CachingMiddleware(MemorySecretProvider()))
    registry.set_secret("a", "0")
    heard = Heard()
    watch = registry.watch("a", heard)
    registry.set_secret("a", "1")
    heard.wait(1)
    use(registry, "a")
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            use(registry, "a")  # the first use
            assert watch._thread is not None
            registry.set_secret("a", "child")
            heard.wait(2)
            watch.close()
            os.write(writing, repr(heard.batches[1]).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert "('a', 'set'" in pipe.read()
    os.waitpid(pid, 0)
    registry.set_secret("a", "parent")
    heard.wait(2)
    assert watch.alive
    watch.close()
