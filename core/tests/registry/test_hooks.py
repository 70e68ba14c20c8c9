"""Hooks of a registry: their order, vetoes, and the events that they get."""

from __future__ import annotations

import pytest
import strongroom
from registry_support import Recorder, spec
from strongroom import SecretHook, SecretProviderRegistry, TenantContext
from strongroom.errors import (
    AuditError,
    BackendUnavailableError,
    PermissionDeniedError,
    StrongroomError,
    UnsupportedOperationError,
)
from strongroom.hooks.base import BatchHook


class First(Recorder):
    audit = True


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


def test_the_pipelines_own_hooks_see_only_their_pipeline(plain):
    registry = SecretProviderRegistry(spec())
    registry.register("other", plain({"x/k": "v"}), prefix="x/")
    hook = Recorder()
    registry.pipeline("other")
    registry.add_hook(hook)
    registry.get_secret("x/k")
    assert len(hook.log) == 2


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
