"""A read under one audit hook alone goes a short way: hooks and callers see what they see on the general one."""

from __future__ import annotations

import contextlib
import random

import pytest
from interrupts import interrupted_at_each_moment
from strongroom import SecretHook, SecretProviderRegistry, TenantContext
from strongroom.backends import MemorySecretProvider
from strongroom.errors import (
    AuditError,
    AuthenticationError,
    BackendUnavailableError,
    SecretNotFoundError,
    StrongroomError,
)
from strongroom.hooks import BatchHook, report_source
from strongroom.hooks.observation import observation
from strongroom.pipeline import Pipeline, as_operation
from strongroom.pipeline.fallback import FallbackProvider

KEYS = [
    "a",
    "absent",
    "login",
    "down",
    "bug",
    "interrupted",
    "",
    "no key at all!",
    ".rotation/a",
    None,
    ["a"],
]
FAULTS = [None, AuditError("full"), ValueError("a bug of the hook"), KeyboardInterrupt()]


ERRORS = {
    "absent": SecretNotFoundError,
    "login": AuthenticationError,
    "down": BackendUnavailableError,
    "bug": KeyError,
    "interrupted": KeyboardInterrupt,
}


class Answers(MemorySecretProvider):
    """Answers with what each key's name says."""

    def get_secret(self, key):
        if key in ERRORS:
            raise ERRORS[key](key)
        report_source("l2")
        return f"value of {key}"


class Seeing(BatchHook):
    """Writes down the events, and fails where it is told to."""

    def __init__(self, fails, fault):
        self.fails, self.fault, self.events = fails, fault, []

    def before_all(self, events):
        self.see("before", events)

    def after_all(self, events):
        self.see("after", events)

    def see(self, what, events):
        for event in events:
            assert (event.duration is None) is (what == "before")
            members = {name: getattr(event, name) for name in event.__match_args__}
            self.events.append((what, members | {"id": 0, "started_at": 0, "duration": 0}))
        if what == self.fails and self.fault is not None:
            raise self.fault


def read(key, fails, fault, *others, operation=None):
    """Return all that can be seen of a read of `key`: what the caller gets, and what the hook and others do."""
    hook = Seeing(fails, fault)
    pipeline = Pipeline(Answers(), name="app", hooks=[hook, *others])
    assert (pipeline._only_hook is hook) is (not others)
    with contextlib.ExitStack() as stack:
        if operation is not None:
            stack.enter_context(as_operation(operation))
        try:
            got = pipeline.get_secret(key)
        except BaseException as error:  # interrupts too
            got = (type(error), str(error), getattr(error, "key", 0), getattr(error, "pipeline", 0))
    assert observation.get() is None
    return got, hook.events


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize("fails", ["before", "after"])
@pytest.mark.parametrize("operation", [None, "rotate"])
def test_the_short_way_and_the_general_one_look_alike(fails, fault, operation, caplog):
    for key in KEYS:
        caplog.clear()
        short = (*read(key, fails, fault, operation=operation), caplog.messages.copy())
        caplog.clear()
        general = (*read(key, fails, fault, SecretHook(), operation=operation), caplog.messages.copy())
        assert short == general


class Kept(MemorySecretProvider):
    """Answers from a cache, whose middleware names the key or not."""

    def __init__(self, *named):
        self.named = named

    def get_secret(self, key):
        report_source("stale", *self.named)
        if self.named:
            report_source("l1", "another")
        return f"kept value of {key}"


@pytest.mark.parametrize("named", [[], ["absent"]])
def test_a_fallback_is_told_by_its_members_alike(named):
    def events(*others):
        hooks = [Seeing(None, None), *others]
        first, second = (
            Pipeline(inner, name=name, hooks=hooks)
            for name, inner in [("first", Answers()), ("second", Kept(*named))]
        )
        inner = FallbackProvider(first, others=[second], when=frozenset({"not_found"}))
        assert Pipeline(inner, name="safe", hooks=hooks).get_secret("absent") == "kept value of absent"
        return hooks[0].events

    assert events() == events(SecretHook())
    assert [(one["pipeline"], one["source"]) for what, one in events() if what == "after"] == [
        ("first", "backend"), ("second", "stale"), ("safe", "stale"),
    ]  # fmt: skip


MIDDLEWARE = [{"type": "caching"}, {"type": "validation", "max_length": 3}, {"type": "tenant"}]
OPERATIONS = {
    "get_secret": lambda key: [key],
    "get_secrets": lambda key: [[key, "k1"]],
    "set_secret": lambda key: [key, "new"],
    "delete_secret": lambda key: [key],
}


def random_use(seed, *others):
    """Use a registry with a fallback, a route, middleware and tenants at random; return what `read` does."""
    chance, hook, got = random.Random(seed), Seeing(None, None), []
    middleware = [one for one in MIDDLEWARE if chance.random() < 0.5]
    stored = {"type": "memory", "secrets": {"k0": "0", "k1": "more than three"}}
    pipelines = {
        "app": {"provider": {"type": "memory"}, "middleware": middleware},
        "local": {"provider": stored, "middleware": [{"type": "caching"}]},
        "safe": {"fallback": {"pipelines": ["app", "local"], "when": ["not_found", "unavailable"]}},
    }
    routes = [{"prefix": "r/", "pipeline": "local", "strip_prefix": True}]
    spec = {"version": 1, "pipelines": pipelines, "default": chance.choice(["safe", "app"]), "routes": routes}
    with SecretProviderRegistry(spec) as registry:
        for one in (hook, *others):
            registry.add_hook(one)
        for _ in range(40):
            method = chance.choice([*OPERATIONS, *["get_secret"] * 5])
            key = chance.choice(["k0", "k1", "absent", "r/k1", "no key at all!", "a/.rotation/b"])
            tenant = chance.choice([None, "acme", "bolt"])
            with TenantContext(tenant) if tenant else contextlib.nullcontext():
                try:
                    got.append(getattr(registry, method)(*OPERATIONS[method](key)))
                except StrongroomError as error:
                    got.append((type(error), str(error), error.key, error.pipeline))
    return got, hook.events


def test_both_ways_look_alike_behind_a_fallback_a_cache_and_tenants():
    for seed in range(12):
        assert random_use(seed) == random_use(seed, SecretHook())


def test_a_hook_that_is_added_or_taken_away_changes_the_way():
    hook, other = Seeing(None, None), SecretHook()
    pipeline = Pipeline(Answers(), name="app", hooks=[hook])
    for hooks, only in [([hook, other], None), ([other], None), ([hook], hook), ([], None)]:
        pipeline.set_hooks(hooks)
        assert pipeline._only_hook is only
        assert pipeline.get_secret("a") == "value of a"
    assert len(hook.events) == 4


def test_a_hook_that_an_interrupt_let_in_sees_reads_and_writes_alike():
    def prepare():
        return Pipeline(Answers(), name="app", hooks=[Seeing(None, None)]), Seeing(None, None)

    def add(prepared):
        pipeline, added = prepared
        pipeline.set_hooks([*pipeline._hooks, added])

    for pipeline, added in interrupted_at_each_moment(prepare, add):
        pipeline.get_secret("a")
        reads = len(added.events)
        pipeline.set_secret("a", "b")
        assert reads == len(added.events) - reads
