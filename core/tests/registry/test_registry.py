"""Routing, hooks, fallbacks and capabilities of the assembled whole."""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from contextlib import nullcontext
from pathlib import Path

import pytest
import strongroom
from strongroom import SecretHook, SecretProviderRegistry, TenantContext
from strongroom.aio import AsyncSecretRegistry
from strongroom.errors import (
    AuditError,
    BackendUnavailableError,
    ConfigurationError,
    InvalidKeyError,
    PermissionDeniedError,
    SecretNotFoundError,
    StrongroomError,
    TenantContextError,
    UnsupportedOperationError,
    ValidationError,
)
from strongroom.hooks.base import BatchHook
from strongroom.plugins import builtins, builtins_encryption, builtins_keys
from strongroom.plugins.factories import load_factory
from strongroom.registry import assembly
from strongroom_memory import MemorySecretProvider


def spec(**members):
    return {"version": 1, "pipelines": {"app": {"provider": {"type": "memory"}}}, **members}


class Recorder(SecretHook):
    """Writes down what it sees."""

    def __init__(self, log=None, name="", veto=None, after_error=None):
        self.log = log if log is not None else []
        self.name, self.veto, self.after_error = name, veto, after_error

    def before(self, event):
        self.log.append((self.name, "before", event.operation, event.key, event.outcome))
        if self.veto is not None:
            raise self.veto

    def after(self, event):
        self.log.append((self.name, "after", event.operation, event.key, event.outcome))
        self.last = event
        if self.after_error is not None:
            raise self.after_error


class First(Recorder):
    audit = True


def test_a_registry_is_a_provider_with_every_capability():
    registry = SecretProviderRegistry(spec())
    assert isinstance(registry, strongroom.SecretProvider)
    registry.set_secret("a/b", "1")
    assert registry.get_secret("a/b") == "1"
    assert registry.list_secrets("a/") == ["a/b"]
    assert registry.get_secrets(["a/b", "none"]) == {"a/b": "1"}
    version = registry.describe_secret("a/b").version
    assert registry.get_secret_version("a/b", version) == "1"
    new = registry.set_secret_if("a/b", "2", version)
    assert registry.list_versions("a/b")[0].version == new
    registry.delete_secret("a/b")
    with pytest.raises(SecretNotFoundError) as caught:
        registry.get_secret("a/b")
    assert (caught.value.key, caught.value.pipeline, caught.value.provider) == ("a/b", "app", "memory")


def test_the_longest_matching_prefix_wins_and_list_leaves_out_what_another_route_answers(plain):
    registry = SecretProviderRegistry(spec())
    short, long = (
        plain({"dev/a": "short", "dev/x/b": "hidden", "other": "unrouted"}),
        plain({"dev/x/b": "long"}),
    )
    registry.register("short", short, prefix="dev/")
    registry.register("long", long, prefix="dev/x/")
    registry.pipeline("app").set_secret("dev/c", "hidden")
    registry.set_secret("top", "app")
    assert registry.get_secret("dev/x/b") == "long"
    assert registry.get_secret("dev/a") == "short"
    assert registry.list_secrets() == ["dev/a", "dev/x/b", "top"]
    assert registry.list_secrets("dev/x") == ["dev/x/b"]
    assert registry.list_secrets("t") == ["top"]


def test_strip_prefix_takes_the_prefix_off_and_list_puts_it_back():
    registry = SecretProviderRegistry(
        {
            "version": 1,
            "pipelines": {"app": {"provider": {"type": "memory"}}, "dev": {"provider": {"type": "memory"}}},
            "default": "app",
            "routes": [{"prefix": "dev/", "pipeline": "dev", "strip_prefix": True}],
        }
    )
    registry.set_secret("dev/a", "1")
    assert registry.pipeline("dev").get_secret("a") == "1"
    assert registry.list_secrets() == ["dev/a"]
    assert registry.list_secrets("dev/a") == ["dev/a"]
    assert registry.list_secrets("d") == ["dev/a"]
    assert registry.describe_secret("dev/a").key == "dev/a"
    with pytest.raises(SecretNotFoundError) as caught:
        registry.get_secret("dev/none")
    assert (caught.value.key, str(caught.value)) == ("dev/none", "secret 'dev/none' not found")


@pytest.mark.parametrize("default", [{"default": "app"}, {}], ids=["default", "no-default"])
@pytest.mark.parametrize("prefix", [b"dev/", 5, "a\0", "dev/\0", "a" * 600])
def test_a_list_with_routes_refuses_what_is_not_a_prefix(default, prefix):
    """As one without routes does; without a default, what is not text is not routed, as by a read."""
    pipelines = {name: {"provider": {"type": "memory"}} for name in ("app", "dev")}
    routes = [{"prefix": "dev/", "pipeline": "dev", "strip_prefix": True}]
    registry = SecretProviderRegistry({"version": 1, "pipelines": pipelines, "routes": routes, **default})
    with pytest.raises(InvalidKeyError if default or isinstance(prefix, str) else ConfigurationError):
        registry.list_secrets(prefix)


def test_hooks_run_global_first_then_the_pipelines_and_after_in_reverse_with_audit_first(plain):
    registry = SecretProviderRegistry(spec())
    log = []
    registry.add_hook(Recorder(log, "one"))
    registry.add_hook(Recorder(log, "two"))
    registry.add_hook(First(log, "audit"))
    registry.set_secret("k", "v")
    assert [entry[:2] for entry in log] == [
        ("audit", "before"), ("one", "before"), ("two", "before"),
        ("two", "after"), ("one", "after"), ("audit", "after"),
    ]  # fmt: skip
    assert {entry[4] for entry in log} == {None, "ok"}


def test_a_veto_reaches_the_caller_unchanged_and_is_seen_by_those_entered():
    registry = SecretProviderRegistry(spec())
    log = []
    veto = RuntimeError("not today")
    registry.add_hook(Recorder(log, "outer"))
    registry.add_hook(Recorder(log, "vetoer", veto=veto))
    registry.add_hook(Recorder(log, "inner"))
    with pytest.raises(RuntimeError) as caught:
        registry.set_secret("k", "v")
    assert caught.value is veto
    assert log == [
        ("outer", "before", "set", "k", None),
        ("vetoer", "before", "set", "k", None),
        ("vetoer", "after", "set", "k", "vetoed"),
        ("outer", "after", "set", "k", "vetoed"),
    ]
    assert registry.pipeline_for("k").inner.list_secrets() == []  # nothing was stored


def test_what_after_raises_is_dropped_unless_it_is_an_audit_error(caplog):
    registry = SecretProviderRegistry(spec())
    registry.set_secret("k", "v")
    seen = Recorder()
    registry.add_hook(seen)
    registry.add_hook(Recorder(after_error=RuntimeError("boom")))
    assert registry.get_secret("k") == "v"
    assert "RuntimeError" in caplog.text
    assert seen.log[-1][4] == "ok"
    registry.add_hook(Recorder(after_error=AuditError("the log is full")))
    with pytest.raises(AuditError):
        registry.get_secret("k")


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), SystemExit(3)])
@pytest.mark.parametrize(
    ("operation", "outcome"),
    [
        (lambda registry: registry.set_secret("k", "v2"), "ok"),
        (lambda registry: registry.set_secrets({"k": "v2"}), "ok"),
        (lambda registry: registry.get_secret("k"), "ok"),
        (lambda registry: registry.get_secrets(["k"]), "ok"),
        (lambda registry: registry.delete_secret("none"), "not_found"),
    ],
)
def test_an_interrupt_in_after_is_raised_once_the_audit_is_told(interrupt, operation, outcome):
    registry = SecretProviderRegistry(spec())
    registry.set_secret("k", "v")
    log = []
    registry.add_hook(First(log, "audit"))
    registry.add_hook(Recorder(log, "interrupted", after_error=interrupt))
    registry.add_hook(Recorder(log, "refusing", after_error=AuditError("the log is full")))
    with pytest.raises(type(interrupt)) as caught:
        operation(registry)
    assert caught.value is interrupt
    assert [(name, step, result) for name, step, _, _, result in log[-3:]] == [
        ("refusing", "after", outcome),
        ("interrupted", "after", outcome),
        ("audit", "after", outcome),
    ]


def test_events_tell_outcome_tenant_actor_source_and_error(monkeypatch):
    monkeypatch.setenv("STRONGROOM_ACTOR", "deploy-bot")
    registry = SecretProviderRegistry(spec())
    hook = First()
    registry.add_hook(hook)
    with TenantContext(tenant_id="t1"):
        registry.set_secret("k", "v")
    assert (hook.last.tenant, hook.last.actor, hook.last.operation, hook.last.source) == (
        "t1",
        "deploy-bot",
        "set",
        None,
    )
    registry.get_secret("k")
    assert (hook.last.source, hook.last.outcome, hook.last.error_type) == ("backend", "ok", None)
    assert hook.last.duration >= 0
    assert hook.last.started_at.tzinfo is not None
    for key, outcome, error in (
        ("none", "not_found", "SecretNotFoundError"),
        ("a//b", "error", "InvalidKeyError"),
    ):
        with pytest.raises(StrongroomError):
            registry.get_secret(key)
        assert (hook.last.key, hook.last.outcome, hook.last.error_type) == (key, outcome, error)
    registry.list_secrets("k")
    assert (hook.last.operation, hook.last.key) == ("list", "k")


def test_a_batch_gives_one_event_a_key():
    registry = SecretProviderRegistry(spec())
    registry.set_secrets({"a": "1", "b": "2"})
    hook = Recorder()
    registry.add_hook(hook)
    assert registry.get_secrets(["a", "b", "none", "a"]) == {"a": "1", "b": "2"}
    assert {(entry[3], entry[4]) for entry in hook.log if entry[1] == "after"} == {
        ("a", "ok"),
        ("b", "ok"),
        ("none", "not_found"),
    }
    assert len(hook.log) == 6


def test_a_batch_without_keys_has_no_event_and_calls_no_hook():
    """A hook of whole batches may look at the first event."""

    class First(BatchHook):
        def before_all(self, events):
            seen.append(events[0].operation)

        after_all = before_all

    seen = []
    with SecretProviderRegistry(spec()) as registry:
        registry.add_hook(First())
        pipeline = registry.pipeline(registry.default_pipeline())
        assert pipeline.get_secrets([]) == {}
        pipeline.set_secrets({})
        assert seen == []
        pipeline.get_secrets(["a"])
    assert seen == ["get", "get"]


@pytest.mark.parametrize("own_hooks", [False, True])
def test_the_event_of_a_fallback_says_where_the_value_came_from(own_hooks, tmp_path):
    """Also where a member has hooks itself, or one that had nothing answered from its cache."""
    hooks = [{"type": "audit", "path": str(tmp_path / "audit.jsonl")}] if own_hooks else []
    memory = {"type": "memory"}
    caching = {"type": "caching", "negative_ttl_seconds": 60}
    registry = SecretProviderRegistry(
        {
            "version": 1,
            "pipelines": {
                "first": {"provider": memory, "middleware": [caching], "hooks": hooks},
                "second": {"provider": memory, "hooks": hooks},
                "safe": {"fallback": {"pipelines": ["first", "second"], "when": ["not_found"]}},
            },
            "default": "safe",
        }
    )
    registry.pipeline("first").set_secret("a", "1")
    registry.pipeline("second").set_secret("b", "2")
    hook = Sources()
    registry.add_hook(hook)
    for read in (registry.get_secret, registry.get_secret, lambda key: registry.get_secrets([key])):
        for key in ("a", "b"):
            read(key)
    assert registry.get_secrets(["b", "a"]) == {"a": "1", "b": "2"}
    assert hook.seen["safe", "a"] == ["backend", "l1", "l1", "l1"]
    assert hook.seen["safe", "b"] == ["backend"] * 4


class Sources(SecretHook):
    """Writes down where values came from, by pipeline and key."""

    def __init__(self):
        self.seen = {}

    def after(self, event):
        self.seen.setdefault((event.pipeline, event.key), []).append(event.source)


class WithoutBatches(strongroom.backends.MemorySecretProvider):
    """It has the methods of batches, and turns out not to be able to do them."""

    def refuse(self, *_):
        raise UnsupportedOperationError("no batches here")

    get_secrets = set_secrets = describe_secrets = refuse


def test_batches_that_turn_out_not_to_be_there_are_done_key_by_key():
    """As where the method is not there: a program that `exec` runs tells its methods when it is started."""
    registry = SecretProviderRegistry(spec())
    registry.register("own", WithoutBatches(), prefix="own/")
    hook = Recorder()
    registry.add_hook(hook)
    registry.set_secrets({"own/a": "1", "own/b": "2", "other": "3"})
    assert registry.get_secrets(["own/a", "own/b", "own/none", "other"]) == {
        "own/a": "1",
        "own/b": "2",
        "other": "3",
    }
    assert sorted(registry.describe_secrets(["own/a", "own/none"])) == ["own/a"]
    assert [entry[2:] for entry in hook.log if entry[1] == "after" and entry[3] == "own/a"] == [
        ("set", "own/a", "ok"),
        ("get", "own/a", "ok"),
        ("describe", "own/a", "ok"),
    ]


def test_of_a_batch_that_is_done_key_by_key_the_events_say_what_was_written():
    """Up to the one that fails."""

    class Full(WithoutBatches):
        def set_secret(self, key, value):
            if key == "c":
                raise BackendUnavailableError("the disk is full", key=key)
            super().set_secret(key, value)

    registry = SecretProviderRegistry(spec())
    registry.register("own", Full(), prefix="")
    hook = Recorder()
    registry.add_hook(hook)
    with pytest.raises(BackendUnavailableError) as caught:
        registry.set_secrets({"a": "1", "b": "2", "c": "3", "d": "4"})
    assert caught.value.key == "c"
    assert {entry[3]: entry[4] for entry in hook.log if entry[1] == "after"} == {
        "a": "ok",
        "b": "ok",
        "c": "error",
        "d": "error",
    }


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ({"p/a//b": "v"}, InvalidKeyError),
        ({"p/b": 7}, TypeError),
        ({"p/b": "\ud800"}, ValidationError),
        ({"a//b": "v"}, InvalidKeyError),
        ({"b": None}, TypeError),
    ],
)
def test_nothing_is_written_if_one_of_many_cannot_be(plain, bad, error):
    """Also where there are no batches, or several pipelines; hooks see what was refused."""
    registry = SecretProviderRegistry(spec())
    registry.register("plain", plain({}), prefix="p/")
    hook = Recorder()
    registry.add_hook(hook)
    with pytest.raises(error):
        registry.set_secrets({"p/good": "1", "good": "2", **bad, "p/other": "3"})
    assert registry.list_secrets() == []
    assert [key for key in bad if key in {entry[3] for entry in hook.log}] == list(bad)


def test_the_pipelines_own_hooks_see_only_their_pipeline(plain):
    registry = SecretProviderRegistry(spec())
    registry.register("other", plain({"x/k": "v"}), prefix="x/")
    hook = Recorder()
    registry.pipeline("other")
    registry.add_hook(hook)
    registry.get_secret("x/k")
    assert len(hook.log) == 2


@pytest.mark.parametrize(
    "key", ["", "a//b", "/a", "a/", "a/../b", ".", "a\nb", "x" * 513, "a/.rotation/b", ".rotation", "\ud800"]
)
def test_invalid_and_reserved_keys_are_refused(key):
    registry = SecretProviderRegistry(spec())
    for call in (
        lambda: registry.get_secret(key),
        lambda: registry.set_secret(key, "v"),
        lambda: registry.delete_secret(key),
        lambda: registry.get_secrets([key]),
        lambda: registry.set_secrets({key: "v"}),
        lambda: registry.describe_secret(key),
        lambda: registry.explain(key),
    ):
        with pytest.raises(InvalidKeyError):
            call()


@pytest.mark.parametrize("prefix", ["../", "a/../", "./", "a//", "/", "../../etc/pass"])
@pytest.mark.parametrize("inside", ["", "team/"])
def test_no_backend_is_asked_for_a_prefix_that_no_key_begins_with(plain, prefix, inside):
    """One that takes keys for paths would list the folder above; keys themselves have no such segment."""

    class Paths(plain):
        asked = ()

        def list_secrets(self, prefix=""):
            self.asked = (*self.asked, prefix)
            return [f"{prefix}outside"]

    own = Paths({})
    registry = SecretProviderRegistry(spec())
    registry.register("own", strongroom.PrefixMiddleware(own, inside) if inside else own, prefix="")
    hook = Recorder()
    registry.add_hook(hook)
    assert registry.list_secrets(prefix) == []
    assert own.asked == ()
    assert [entry[3] for entry in hook.log] == [prefix] * 2
    assert registry.list_secrets("a/..b") == ["a/..boutside"]


def test_a_capability_that_the_keys_pipeline_lacks_is_told(plain):
    registry = SecretProviderRegistry(spec())
    registry.register("plain", plain({"p/k": "v"}), prefix="p/")
    with pytest.raises(UnsupportedOperationError) as caught:
        registry.list_versions("p/k")
    assert caught.value.pipeline == "plain"
    assert registry.get_secrets(["p/k", "p/none"]) == {"p/k": "v"}


def test_a_strangers_errors_become_ours_and_the_value_is_nowhere(plain):
    class Bad(plain):
        def set_secret(self, key, value):
            raise RuntimeError(f"cannot store {value}")

        def get_secret(self, key):
            raise {
                "denied": PermissionError("x"),
                "down": ConnectionError("x"),
                "other": KeyError("unrelated"),
            }[key]

    registry = SecretProviderRegistry(spec())
    registry.register("bad", Bad(), prefix="")
    for key, kind in (
        ("denied", PermissionDeniedError),
        ("down", BackendUnavailableError),
        ("other", StrongroomError),
    ):
        with pytest.raises(kind) as caught:
            registry.get_secret(key)
        assert not isinstance(caught.value, SecretNotFoundError)
        assert caught.value.__cause__ is not None
    with pytest.raises(StrongroomError) as caught:
        registry.set_secret("k", "hunter2")
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    assert "hunter2" not in repr(error) + str(error)


@pytest.mark.parametrize("number", ["1.50", "3.14159265358979323846", "1E5", "1e400", "-0", "9" * 5000])
def test_a_number_within_a_secret_reads_as_it_is_written(plain, number):
    registry = SecretProviderRegistry(spec())
    registry.set_secret("j", f'{{"n": {number}, "l": [{{"m": {number}}}], "t": true, "text": "1"}}')
    assert registry.get_field("j", "n") == number
    assert type(registry.get_field("j", "n")) is str
    assert registry.get_field("j", "l") == f'[{{"m": {number}}}]'


@pytest.mark.parametrize("hooks", [[], [Recorder()]])
def test_an_error_names_the_key_that_was_asked_for(hooks):
    class Refuses:
        def get_secret(self, key):
            raise PermissionDeniedError("no")

        def set_secret(self, key, value):
            raise PermissionDeniedError("no")

        def delete_secret(self, key):
            raise PermissionDeniedError("no", key="its/own")

        def list_secrets(self, prefix=""):
            raise PermissionDeniedError("no")

    registry = SecretProviderRegistry(spec())
    registry.register("refuses", Refuses(), prefix="r/")
    for hook in hooks:
        registry.add_hook(hook)
    for call, key in (
        (lambda: registry.get_secret("r/k"), "r/k"),
        (lambda: registry.set_secret("r/k", "v"), "r/k"),
        (lambda: registry.delete_secret("r/k"), "its/own"),
        (lambda: registry.list_secrets("r/"), None),
        (lambda: registry.get_secrets(["r/k"]), "r/k"),  # it has no batches of its own
    ):
        with pytest.raises(PermissionDeniedError) as caught:
            call()
        assert (caught.value.key, caught.value.pipeline) == (key, "refuses")


def test_get_field_descends(plain):
    registry = SecretProviderRegistry(spec())
    registry.set_secret(
        "j", '{"a": {"b": "x", "c.d": 1}, "l": ["y", {"z": null}], "e.f": "dot", "n": 1.5, "t": true}'
    )
    for field, expected in (
        ("a.b", "x"),
        ("a.c.d", "1"),
        ("l.0", "y"),
        ("l.1.z", "null"),
        ("e.f", "dot"),
        ("n", "1.5"),
        ("t", "true"),
        ("a", '{"b": "x", "c.d": 1}'),
    ):
        assert registry.get_field("j", field) == expected
    for field in ("nope", "a.nope", "l.2", "l.x", "a.b.c", ""):
        with pytest.raises(SecretNotFoundError) as absent:
            registry.get_field("j", field)
        assert (absent.value.key, absent.value.pipeline) == ("j", "app")
    registry.set_secret("text", "hunter2 {")
    with pytest.raises(strongroom.errors.ValidationError) as caught:
        registry.get_field("text", "a")
    assert caught.value.__context__ is None
    assert "hunter2" not in str(caught.value)


FALLBACK = {
    "version": 1,
    "pipelines": {
        "safe": {"fallback": {"pipelines": ["first", "second"], "when": ["not_found", "unavailable"]}},
        "strict": {"fallback": {"pipelines": ["first", "second"], "when": ["not_found"]}},
        "first": {"provider": {"type": "memory"}},
        "second": {"provider": {"type": "memory"}},
    },
    "default": "safe",
}


def test_a_fallback_reads_on_and_writes_to_the_first_only():
    registry = SecretProviderRegistry(FALLBACK)
    registry.pipeline("second").set_secret("k", "2")
    registry.pipeline("second").set_secret("only", "2")
    assert registry.get_secret("k") == "2"
    registry.set_secret("k", "1")
    assert registry.get_secret("k") == "1"
    assert registry.pipeline("second").get_secret("k") == "2"
    assert registry.list_secrets() == ["k", "only"]
    assert registry.get_secrets(["k", "only", "none"]) == {"k": "1", "only": "2"}
    with pytest.raises(SecretNotFoundError):
        registry.delete_secret("only")


@pytest.mark.parametrize(
    ("when", "error", "falls_through"),
    [
        ({"unavailable"}, BackendUnavailableError("down"), True),
        ({"not_found"}, BackendUnavailableError("down"), False),
        ({"not_found"}, SecretNotFoundError("k"), True),
        ({"not_found"}, SecretNotFoundError("k", reason="deleted"), False),
        ({"not_found"}, SecretNotFoundError("k", reason="disabled"), False),
        ({"unavailable"}, SecretNotFoundError("k"), False),
        ({"not_found", "unavailable"}, PermissionDeniedError("no"), False),
    ],
)
def test_what_falls_through(plain, when, error, falls_through, failing):
    from strongroom.pipeline.fallback import FallbackProvider

    provider = FallbackProvider(failing(error), others=[plain({"k": "v"})], when=frozenset(when))
    if falls_through:
        assert provider.get_secret("k") == "v"
    else:
        with pytest.raises(type(error)):
            provider.get_secret("k")


def test_absent_behind_one_that_is_down_is_told_as_down(plain, failing):
    from strongroom.pipeline.fallback import FallbackProvider
    from strongroom.providers import guard

    when = frozenset({"not_found", "unavailable"})
    down = failing(BackendUnavailableError("down"))
    for members in ([down, plain()], [plain(), down]):
        provider = FallbackProvider(members[0], others=[guard(members[1])], when=when)
        with pytest.raises(BackendUnavailableError):
            provider.get_secret("k")
        with pytest.raises(BackendUnavailableError):
            provider.list_secrets()


@pytest.mark.parametrize("when", [{"unavailable"}, {"unavailable", "not_found"}])
@pytest.mark.parametrize("reason", ["absent", "deleted"])
def test_what_one_behind_an_outage_does_not_have_is_told_as_down(plain, when, reason, failing):
    """The first may have it: a default must not take its place."""
    from strongroom.pipeline.fallback import FallbackProvider
    from strongroom.providers import guard

    down, last = failing(BackendUnavailableError("down")), guard(plain({"other": "1"}))
    if reason == "deleted":
        last = guard(failing(SecretNotFoundError("k", reason=reason)))
    provider = FallbackProvider(down, others=[last], when=frozenset(when))
    with pytest.raises(BackendUnavailableError):
        provider.get_secret("k")


@pytest.mark.parametrize("when", [{"unavailable"}, {"unavailable", "not_found"}])
def test_a_batch_tells_what_is_missing_behind_an_outage_as_down(when):
    from strongroom.pipeline.fallback import FallbackProvider

    class Down(MemorySecretProvider):
        def get_secrets(self, keys):
            raise BackendUnavailableError("down")

    last = MemorySecretProvider(secrets={"other": "1"})
    provider = FallbackProvider(Down(), others=[last], when=frozenset(when))
    assert provider.get_secrets(["other"]) == {"other": "1"}
    with pytest.raises(BackendUnavailableError):
        provider.get_secrets(["other", "k"])


def test_a_batch_through_a_fallback_raises_for_what_is_not_just_absent():
    """Though the batch of a third party leaves it out."""
    from strongroom.pipeline.fallback import FallbackProvider

    gone = SecretNotFoundError("gone", reason="disabled")
    first = Shrinking({"k": "first"}, then=gone)
    last = MemorySecretProvider(secrets={"gone": "an older value", "z": "z"})
    provider = FallbackProvider(first, others=[last], when=frozenset({"not_found"}))
    with pytest.raises(SecretNotFoundError) as caught:
        provider.get_secrets(["k", "gone"])
    assert caught.value.reason == "disabled"


class Shrinking(MemorySecretProvider):
    """Answers a batch; single reads that come after it raise, or find what was written meanwhile."""

    def __init__(self, values, *, then):
        super().__init__(secrets=values)
        self.then = then

    def get_secret(self, key):
        if isinstance(self.then, Exception):
            raise self.then
        return self.then


def test_an_outage_in_a_batch_replaces_nothing_that_the_first_member_answered(plain):
    from strongroom.pipeline.fallback import FallbackProvider

    first = Shrinking({"k": "first"}, then=BackendUnavailableError("down meanwhile"))
    provider = FallbackProvider(
        first, others=[plain({"k": "second", "z": "z"})], when=frozenset({"not_found", "unavailable"})
    )
    assert provider.get_secrets(["k", "z"]) == {"k": "first", "z": "z"}


def test_what_a_batch_left_out_is_asked_for_in_parallel(plain):
    """Whether it is absent, or deleted, each in a request of its own: one after the other takes long."""
    from strongroom.pipeline.fallback import FallbackProvider

    class Meeting(MemorySecretProvider):
        together = threading.Barrier(3)

        def get_secret(self, key):
            self.together.wait(120)
            return super().get_secret(key)

    others = dict.fromkeys("abc", "second")
    provider = FallbackProvider(Meeting(), others=[plain(others)], when=frozenset({"not_found"}))
    assert provider.get_secrets(list("abc")) == others


def test_a_provider_on_our_base_class_hands_on_nothing_that_was_not_asked_for():
    """No guard looks at what it answers."""

    class Generous(MemorySecretProvider):
        def get_secrets(self, keys):
            return {**super().get_secrets(keys), "other": "not asked for"}

        def describe_secrets(self, keys):
            return {key: self.describe_secret(key) for key in (*keys, "other") if key != "absent"}

        def list_secrets(self, prefix=""):
            return super().list_secrets()

    with SecretProviderRegistry({"version": 1, "pipelines": {}}) as registry:
        registry.register("generous", Generous(secrets={"a/k": "v", "other": "v"}), prefix="")
        assert registry.get_secrets(["a/k", "absent"]) == {"a/k": "v"}
        assert list(registry.describe_secrets(["a/k", "absent"])) == ["a/k"]
        assert registry.list_secrets("a/") == ["a/k"]
        registry.add_hook(SecretHook())
        assert registry.get_secrets(["a/k", "absent"]) == {"a/k": "v"}


def test_a_batch_has_what_was_written_while_it_ran(plain):
    from strongroom.pipeline.fallback import FallbackProvider

    first = Shrinking({"k": "first"}, then="written meanwhile")
    provider = FallbackProvider(first, others=[plain({"z": "z"})], when=frozenset({"not_found"}))
    assert provider.get_secrets(["k", "z"]) == {"k": "first", "z": "written meanwhile"}


def test_a_secret_reference_is_read_when_its_pipeline_is_first_used(tmp_path, monkeypatch):
    monkeypatch.setenv("HIDDEN_PREFIX__x", "unused")
    registry = SecretProviderRegistry(
        {
            "version": 1,
            "pipelines": {
                "vault": {"provider": {"type": "memory"}},
                "app": {"provider": {"type": "env", "prefix": "${secret:vault:settings#prefix}"}},
            },
            "default": "app",
        }
    )
    with pytest.raises(ConfigurationError, match="settings#prefix} leads nowhere") as caught:
        registry.get_secret("token")
    assert not isinstance(caught.value, SecretNotFoundError)
    assert caught.value.hint == "store it with `strongroom --pipeline vault set settings`"
    registry.pipeline("vault").set_secret("settings", "text")
    with pytest.raises(ConfigurationError, match="settings#prefix} leads nowhere: 'settings' has no fields"):
        registry.get_secret("token")
    registry.pipeline("vault").set_secret("settings", '{"other": "kept"}')
    with pytest.raises(ConfigurationError, match="has no field 'prefix'") as caught:
        registry.get_secret("token")
    # Not `set`, which would replace the other fields.
    assert str(caught.value).endswith("; add the field with `strongroom --pipeline vault edit settings`")
    registry.pipeline("vault").set_secret("settings", '{"prefix": "FROM_VAULT_"}')
    monkeypatch.setenv("FROM_VAULT_TOKEN", "value")
    assert registry.get_secret("token") == "value"


def test_what_was_made_before_a_reference_that_leads_nowhere_is_closed(monkeypatch):
    """Each read tries again; otherwise an outage would leave a provider behind for each."""
    spec = {
        "version": 1,
        "pipelines": {
            "vault": {"provider": {"type": "memory"}},
            "app": {
                "provider": {"type": "memory"},
                "middleware": [
                    {"type": "encryption", "key": "${secret:vault:key}"},
                    {"type": "retry"},
                ],
            },
        },
        "default": "app",
    }
    made, closed = [], []
    begin, end = MemorySecretProvider.__init__, MemorySecretProvider.close
    monkeypatch.setattr(
        MemorySecretProvider, "__init__", lambda self, **options: made.append(self) or begin(self, **options)
    )
    monkeypatch.setattr(MemorySecretProvider, "close", lambda self: closed.append(self) or end(self))
    with SecretProviderRegistry(spec) as registry:
        for attempt in (1, 2, 3):
            with pytest.raises(ConfigurationError, match="leads nowhere"):
                registry.get_secret("token")
            assert len(made) == 1 + attempt
            assert [one for one in made if one in closed] == made[1:]
        registry.pipeline("vault").set_secret("key", strongroom.generate_key())
        registry.set_secret("token", "value")
        assert registry.get_secret("token") == "value"
        assert made[0] not in closed
        assert made[-1] not in closed
    assert all(one in closed for one in made)


def test_what_was_made_before_a_pipeline_that_cannot_be_made_is_closed(monkeypatch):
    """As at each SIGHUP of a server whose spec has such a mistake."""
    closed = []
    monkeypatch.setattr(MemorySecretProvider, "close", lambda _: closed.append("first"))

    def fails(_self, **_):
        raise ConfigurationError("not like this")

    monkeypatch.setattr(strongroom.backends.EnvSecretProvider, "__init__", fails)
    pipelines = {"first": {"provider": {"type": "memory"}}, "second": {"provider": {"type": "env"}}}
    with pytest.raises(ConfigurationError, match="not like this"):
        SecretProviderRegistry({"version": 1, "pipelines": pipelines})
    assert closed == ["first"]


def of_tenants(**pipelines):
    """Return a spec whose pipeline `app` reads what `keys` has for the active tenant."""
    return {
        "version": 1,
        "pipelines": {
            "keys": {
                "provider": {
                    "type": "memory",
                    "secrets": {"tenants/a/prefix": "A_", "tenants/b/prefix": "B_"},
                },
                "middleware": [{"type": "caching"}, {"type": "tenant"}],
            },
            "app": {"provider": {"type": "env", "prefix": "${secret:keys:prefix}"}},
            **pipelines,
        },
        "default": "app",
    }


@pytest.mark.parametrize(
    "pipelines",
    [
        {},
        {"app": {"provider": {"type": "env", "prefix": "${secret:safe:prefix}"}},
         "safe": {"fallback": {"pipelines": ["plain", "keys"]}}, "plain": {"provider": {"type": "memory"}}},
        {"app": {"fallback": {"pipelines": ["inner"]}},
         "inner": {"provider": {"type": "env", "prefix": "${secret:keys:prefix}"}}},
    ],
    ids=["a reference", "to a fallback", "of a member"],
)  # fmt: skip
def test_what_a_reference_read_for_one_tenant_serves_no_other(pipelines, monkeypatch):
    """The pipeline is set up once: otherwise all would get what the first caller may see."""
    monkeypatch.setenv("A_TOKEN", "of a")
    monkeypatch.setenv("B_TOKEN", "of b")
    with SecretProviderRegistry(of_tenants(**pipelines)) as registry:
        with TenantContext("a"):
            assert registry.get_secret("token") == "of a"
            assert registry.list_secrets() == ["token"]
        for other in (TenantContext("b"), nullcontext()):
            with other:
                for call in (
                    lambda: registry.get_secret("token"),
                    lambda: registry.get_secrets(["token"]),
                    registry.list_secrets,
                    lambda: registry.watch("token", print),
                ):
                    with pytest.raises(TenantContextError, match="set up with a secret of another tenant"):
                        call()
        with TenantContext("a"):
            assert registry.get_secrets(["token"]) == {"token": "of a"}
    with SecretProviderRegistry(of_tenants(**pipelines)) as registry, TenantContext("b"):
        assert registry.get_secret("token") == "of b"


SHARED = {"provider": {"type": "memory", "secrets": {"prefix": "ALL_"}}}


@pytest.mark.parametrize(
    "pipelines",
    [
        {"keys": SHARED},
        {"app": {"provider": {"type": "env", "prefix": "${secret:safe:prefix}"}},
         "safe": {"fallback": {"pipelines": ["shared", "keys"]}}, "shared": SHARED},
    ],
    ids=["a reference", "to a fallback"],
)  # fmt: skip
def test_a_reference_to_what_all_tenants_share_serves_all(pipelines, monkeypatch):
    monkeypatch.setenv("ALL_TOKEN", "of all")
    with SecretProviderRegistry(of_tenants(**pipelines)) as registry:
        for tenant in ("a", "b"):
            with TenantContext(tenant):
                assert registry.get_secret("token") == "of all"


def test_a_tenant_under_whom_a_pipeline_could_not_be_set_up_binds_it_no_more(monkeypatch):
    """Its own secret was read in vain: what is set up later is set up with what all tenants share."""
    monkeypatch.setenv("ALL_TOKEN", "of all")
    spec = of_tenants(
        app={
            "provider": {"type": "env", "prefix": "${secret:safe:prefix}"},
            "middleware": [{"type": "encryption", "key": "${secret:shared:key}", "migrate": True}],
        },
        safe={"fallback": {"pipelines": ["shared", "keys"]}},
        shared={"provider": {"type": "memory"}},
    )
    with SecretProviderRegistry(spec) as registry:
        with TenantContext("a"), pytest.raises(ConfigurationError, match="leads nowhere"):
            registry.get_secret("token")
        registry.pipeline("shared").set_secret("key", strongroom.generate_key())
        registry.pipeline("shared").set_secret("prefix", "ALL_")
        for tenant in ("a", "b"):
            with TenantContext(tenant):
                assert registry.get_secret("token") == "of all"


def test_the_read_of_a_reference_is_seen_as_any_other():
    """By hooks that were added in Python, which may veto it, and by the masking of logs."""
    spec = {
        "version": 1,
        "pipelines": {
            "vault": {"provider": {"type": "memory", "secrets": {"prefix": "BROUGHT_IN_"}}},
            "app": {"provider": {"type": "env", "prefix": "${secret:vault:prefix}"}},
        },
        "default": "app",
    }

    class Seen(SecretHook):
        refused = False

        def __init__(self):
            self.events = []

        def before(self, event):
            self.events.append((event.operation, event.pipeline, event.key))
            if self.refused and event.pipeline == "vault":
                raise PermissionDeniedError("vetoed")

    hook, values = Seen(), []
    with SecretProviderRegistry(spec) as registry:
        registry.add_hook(hook)
        registry.observe_values(values.append)
        assert registry.list_secrets() == []
    assert (hook.events, values) == ([("get", "vault", "prefix"), ("list", "app", "")], ["BROUGHT_IN_"])

    with SecretProviderRegistry(spec) as registry:
        hook.refused = True
        registry.add_hook(hook)
        with pytest.raises(PermissionDeniedError, match="vetoed"):
            registry.list_secrets()


def test_explain_tells_the_way_without_asking_anybody(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(
        "version: 1\npipelines:\n  app:\n    provider: {type: vault, url: 'http://127.0.0.1:1'}\n"
        "    middleware: [{type: retry}, {type: read-only}]\n  dev: {provider: {type: memory}}\n"
        "  safe: {fallback: {pipelines: [app, dev]}}\n"
        "default: safe\nroutes: [{prefix: dev/, pipeline: dev, strip_prefix: true}]\n"
    )
    registry = SecretProviderRegistry(path)
    explanation = registry.explain("dev/a")
    assert (
        explanation.pipeline,
        explanation.stored_key,
        explanation.route,
        explanation.provider,
        explanation.line,
    ) == (
        "dev",
        "a",
        "dev/",
        "memory",
        6,
    )
    explanation = registry.explain("b")
    assert (explanation.pipeline, explanation.route, explanation.provider) == ("safe", None, None)
    assert [(one.pipeline, one.provider, one.middleware) for one in explanation.fallback] == [
        ("app", "vault", ("retry", "read-only")),
        ("dev", "memory", ()),
    ]
    assert explanation.source == f"{path}:7:9"


def test_the_spec_is_found_in_the_documented_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert SecretProviderRegistry().explain("k").provider == "file"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "strongroom.yaml").write_text("version: 1\npipelines: {here: {provider: {type: memory}}}\n")
    assert SecretProviderRegistry().explain("k").pipeline == "here"
    other = tmp_path / "other.yaml"
    other.write_text(
        "version: 1\npipelines: {there: {provider: {type: memory}}}\nprofiles: {p: {pipelines: {q: {provider: {type: env}}}, default: q}}\n"
    )
    monkeypatch.setenv("STRONGROOM_SPEC", str(other))
    assert SecretProviderRegistry().explain("k").pipeline == "there"
    monkeypatch.setenv("STRONGROOM_PROFILE", "p")
    assert SecretProviderRegistry().explain("k").pipeline == "q"


def test_restricted_to_one_pipeline_every_key_is_its_own():
    mapping = spec(routes=[{"prefix": "a/", "pipeline": "b"}], default="app")
    mapping["pipelines"]["b"] = {"provider": {"type": "memory"}}
    registry = SecretProviderRegistry(mapping, pipeline="app")
    registry.set_secret("a/k", "v")
    assert registry.explain("a/k").pipeline == "app"
    assert registry.list_secrets() == ["a/k"]
    with pytest.raises(ConfigurationError, match="no pipeline 'b'"):
        registry.pipeline("b")
    with pytest.raises(ConfigurationError, match="no pipeline 'nope'"):
        SecretProviderRegistry(mapping, pipeline="nope")


def test_without_a_default_the_error_says_what_to_add():
    mapping = {
        "version": 1,
        "pipelines": {"a": {"provider": {"type": "memory"}}, "b": {"provider": {"type": "memory"}}},
    }
    registry = SecretProviderRegistry(mapping)
    with pytest.raises(ConfigurationError, match="add `default:`"):
        registry.get_secret("k")


def test_close_closes_everything_once_and_the_registry_is_a_context_manager(plain):
    class Closing(plain):
        closed = 0

        def close(self):
            self.closed += 1

    provider = Closing()
    with SecretProviderRegistry(spec()) as registry:
        registry.register("p", provider)
        assert "p" in repr(registry)
    registry.close()
    assert provider.closed == 1


@pytest.mark.parametrize(
    "use",
    [
        lambda registry, _: registry.get_secret("a/k"),
        lambda registry, _: registry.list_secrets(),
        lambda registry, _: registry.get_secrets(["p/k", "k"]),
        lambda registry, _: registry.pipeline("p").get_secret("p/k"),
        lambda _, kept: kept.get_secret("p/k"),
        lambda _, kept: kept.set_secret("p/k", "v"),
        lambda _, kept: kept.list_secrets(),
        lambda registry, kept: (registry.observe_values(lambda _: None), kept.get_secret("p/k")),
    ],
)
def test_what_is_used_after_close_is_closed_again(use, monkeypatch, plain):
    """It opens again what it needs: a file, a program, a lease that has to be revoked."""
    closed = []

    class Closing(plain):
        def close(self):
            closed.append("registered")

    monkeypatch.setattr(
        strongroom.backends.MemorySecretProvider, "close", lambda _: closed.append("of the spec")
    )
    registry = SecretProviderRegistry(
        spec(routes=[{"prefix": "a/", "pipeline": "app", "strip_prefix": True}])
    )
    registry.register("p", Closing(), prefix="p/")
    kept = registry.pipeline("p")
    registry.set_secrets({"a/k": "v", "p/k": "v"})
    for _ in range(2):
        registry.close()
        registry.close()
        assert closed == ["of the spec", "registered"]
        closed.clear()
        use(registry, kept)


def test_a_registry_may_be_closed_after_each_of_many_uses():
    """What waits for the next read is not put around what waits already, until a read is too deep."""
    registry = SecretProviderRegistry(spec())
    for _ in range(sys.getrecursionlimit() + 100):
        with registry:
            registry.list_secrets()
    registry.set_secret("k", "v")
    assert registry.get_secret("k") == "v"


def test_a_registry_that_was_closed_knows_what_was_registered(plain):
    registry = SecretProviderRegistry(spec())
    registry.register("p", plain(), prefix="p/")
    registry.register("q", plain())
    registry.set_secret("p/k", "v")
    registry.close()
    registry.add_hook(SecretHook())
    assert registry.get_secret("p/k") == "v"
    assert registry.pipeline("q").list_secrets() == []
    assert registry.explain("p/k").pipeline == "p"
    with pytest.raises(ConfigurationError, match="exists already"):
        registry.register("p", plain())


def test_what_fails_to_close_keeps_nothing_else_open(plain):
    """The first error is raised; the leases of another pipeline, for one, must be revoked all the same."""
    told = []

    class Failing(plain):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def close(self):
            told.append(self.name)
            raise RuntimeError(self.name)

    class Refusing(SecretHook):
        def registry_closing(self, registry):
            told.append("hook")
            raise RuntimeError("hook")

    registry = SecretProviderRegistry(spec())
    registry.add_hook(Refusing())
    registry.register("p", Failing("p"))
    registry.register("q", Failing("q"), prefix="q/")
    with pytest.raises(RuntimeError, match="hook"):
        registry.close()
    assert told == ["hook", "p", "q"]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_an_exit_or_an_interrupt_keeps_nothing_else_open_either(error, monkeypatch, plain):
    """An interrupt reaches the caller; an exit of a plugin is an error as any other."""
    closed = []

    def note(provider):
        closed.append(provider)
        if len(closed) == 1:
            raise error("hunter2")

    class Registered(plain):
        close = note

    monkeypatch.setattr(strongroom.backends.MemorySecretProvider, "close", note)
    registry = SecretProviderRegistry(
        spec(pipelines={name: {"provider": {"type": "memory"}} for name in "ab"})
    )
    for name in "cd":
        registry.register(name, Registered())
    with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else StrongroomError):
        registry.close()
    assert len(closed) == 4


def test_a_component_that_does_not_close_is_named_without_its_text(monkeypatch):
    def fails(_):
        raise ValueError("hunter2")

    monkeypatch.setattr(strongroom.backends.MemorySecretProvider, "close", fails)
    registry = SecretProviderRegistry(spec())
    with pytest.raises(StrongroomError) as caught:
        registry.close()
    assert "MemorySecretProvider failed with ValueError as it was closed" in str(caught.value)
    assert "test_registry.py:" in str(caught.value)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_what_does_not_close_hides_no_error_of_the_block(monkeypatch, caplog):
    """A command's exit code, for one, follows from the error of its block."""

    def fails(_):
        raise RuntimeError("hunter2")

    async def awaited():
        async with AsyncSecretRegistry(spec()) as registry:
            await registry.get_secret("absent")

    monkeypatch.setattr(strongroom.backends.MemorySecretProvider, "close", fails)
    with pytest.raises(SecretNotFoundError), SecretProviderRegistry(spec()) as registry:
        registry.get_secret("absent")
    with pytest.raises(SecretNotFoundError):
        asyncio.run(awaited())
    assert caplog.text.count("the registry did not close: MemorySecretProvider failed with RuntimeError") == 2
    assert "hunter2" not in caplog.text


def test_registering_a_taken_name_or_what_is_no_provider_is_refused(plain):
    registry = SecretProviderRegistry(spec())
    with pytest.raises(ConfigurationError):
        registry.register("app", plain())
    with pytest.raises(TypeError, match="delete_secret"):
        registry.register("x", object())


def test_what_is_no_hook_is_refused():
    with SecretProviderRegistry(spec()) as registry, pytest.raises(TypeError, match="is not a hook"):
        registry.add_hook(object())


@pytest.mark.parametrize(
    ("name", "prefix", "error"), [("", None, ConfigurationError), ("a", "//", InvalidKeyError)]
)
def test_a_name_and_a_prefix_are_looked_at(name, prefix, error):
    with SecretProviderRegistry(spec()) as registry, pytest.raises(error):
        registry.register(name, strongroom.backends.MemorySecretProvider(), prefix=prefix)


def test_an_empty_variable_names_no_spec(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STRONGROOM_SPEC", "")
    Path("strongroom.yaml").write_text("version: 1\npipelines: {here: {provider: {type: memory}}}\n")
    with SecretProviderRegistry() as registry:
        assert registry.explain("a").pipeline == "here"


class TestACacheOverAFallback:
    """A write through a member, and its rotation, are heard by the cache that stands over both."""

    @pytest.fixture(params=["plain", "renamed", "nested"])
    def registry(self, request):
        middleware = [{"type": "caching"}]
        if request.param == "renamed":
            middleware.append({"type": "prefix", "prefix": "app/"})
        over = {"pipelines": ["nested", "b"]} if request.param == "nested" else {"pipelines": ["a", "b"]}
        pipelines = {
            "f": {"fallback": over, "middleware": middleware},
            "nested": {"fallback": {"pipelines": ["a", "b"]}},
            "a": {"provider": {"type": "memory"}, "middleware": [{"type": "caching"}, {"type": "retry"}]},
            "b": {"provider": {"type": "memory"}},
        }
        self.prefix = "app/" if request.param == "renamed" else ""
        with SecretProviderRegistry({"version": 1, "pipelines": pipelines, "default": "f"}) as registry:
            registry.pipeline("a").set_secret(f"{self.prefix}k", "old")
            assert registry.get_secret("k") == "old"
            yield registry

    def test_a_write_to_a_member_is_seen(self, registry):
        registry.pipeline("a").set_secret(f"{self.prefix}k", "new")
        assert registry.get_secret("k") == "new"

    def test_a_batch_written_to_a_member_is_seen(self, registry):
        registry.pipeline("a").set_secrets({f"{self.prefix}k": "new"})
        assert registry.get_secret("k") == "new"

    def test_a_conditional_write_to_a_member_is_seen(self, registry):
        member = registry.pipeline("a")
        member.set_secret_if(f"{self.prefix}k", "new", member.describe_secret(f"{self.prefix}k").version)
        assert registry.get_secret("k") == "new"

    def test_a_deletion_from_a_member_is_seen(self, registry):
        registry.pipeline("a").delete_secret(f"{self.prefix}k")
        with pytest.raises(SecretNotFoundError):
            registry.get_secret("k")

    def test_a_rotation_of_a_member_is_seen(self, registry):
        strongroom.SecretRotation(registry.pipeline("a")).rotate(f"{self.prefix}k", "new")
        assert registry.get_secret("k") == "new"

    def test_a_write_to_the_second_member_is_seen(self, registry):
        registry.pipeline("b").set_secret(f"{self.prefix}other", "old")
        assert registry.get_secret("other") == "old"
        registry.pipeline("b").set_secret(f"{self.prefix}other", "new")
        assert registry.get_secret("other") == "new"


def test_middleware_that_is_told_of_its_pipeline_has_the_addresses_of_what_is_inside():
    modules = (builtins, builtins_encryption, builtins_keys)
    factories = {one.factory for module in modules for one in module.strongroom_middleware()}
    assert set(assembly._WITHOUT_ADDRESSES) <= factories
    for path in assembly._WITHOUT_ADDRESSES:
        assert not hasattr(load_factory(path, ""), "accepts_pipeline_context")
