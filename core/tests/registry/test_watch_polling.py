"""Watches of what does not push: versions that are asked for, outages, and sources that were cut off."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime

import pytest
from strongroom import CachingMiddleware, PrefixMiddleware, SecretProviderRegistry
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    PermissionDeniedError,
    UnsupportedOperationError,
)
from strongroom.hooks import SecretHook
from strongroom.providers import SecretMetadata, guard
from strongroom.registry.watch import Watch
from strongroom_memory import MemorySecretProvider
from watch_support import Heard, Polled, Versioned, over


class CountingAgain(Polled):
    """The same with versions that count again when a secret is deleted and made again."""

    counts_again = True

    def __init__(self):
        super().__init__()
        self.made = {}

    def set_secret(self, key, value):
        before = int(self.made[key].version) if key in self.kept else 0
        self.made[key] = SecretMetadata(key, str(before + 1), None, datetime.now(UTC))
        super().set_secret(key, value)

    def describe_secret(self, key):
        self.get_secret(key)
        return self.made[key]


class BatchedCountingAgain(CountingAgain):
    """The same in batches."""

    def describe_secrets(self, keys):
        return {key: self.made[key] for key in keys if key in self.kept}


class Batched(Versioned):
    """The same with versions in batches."""

    def describe_secrets(self, keys):
        self._asked(("describe", tuple(keys)))
        return {key: SecretMetadata(key, self.kept[key]) for key in keys if key in self.kept}


class Late(MemorySecretProvider):
    """A source that holds back what it tells, for the test to pass on."""

    def subscribe_changes(self, callback):
        self.callback = callback
        self.late = []
        return super().subscribe_changes(self.late.append)


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Driven:
    """A watch without a thread: the test says when it works, and what the time is."""

    def __init__(self, provider, keys, poll_seconds=30.0, registry=None):
        self.heard = Heard()
        self.clock = Clock()
        self.registry = registry or over(provider)
        self.watch = Watch(self.registry, keys, self.heard, poll_seconds=poll_seconds, clock=self.clock)
        self.registry._watches = (self.watch,)
        self.watch.wake = lambda: None
        self.watch.start()

    def pass_seconds(self, seconds):
        end = self.clock.now + seconds
        while True:
            wait = self.watch.work()
            if wait is None or self.clock.now + wait > end:
                self.clock.now = end
                return self.heard.batches
            self.clock.now += wait


def test_versions_are_asked_for_in_one_batch_a_poll():
    """Where a backend lists them."""
    provider = Batched()
    keys = [f"k{number:03}" for number in range(100)]
    provider.kept = dict.fromkeys(keys, "1")
    driven = Driven(provider, keys)
    provider.asked.clear()
    driven.pass_seconds(95)
    assert provider.asked == [("describe", tuple(keys))] * 3
    provider.kept |= {"k001": "2", "k002": "2"}
    del provider.kept["k003"]
    assert driven.pass_seconds(30) == [
        [("k001", "set", "2"), ("k002", "set", "2"), ("k003", "deleted", None)]
    ]
    assert len(driven.pass_seconds(90)) == 1


@pytest.mark.parametrize("kind", [Polled, Versioned])
def test_keys_are_asked_for_one_by_one_spread_evenly(kind):
    """Where there are no batches: one request a key and interval, and never two at once."""
    provider = kind()
    keys = ["a", "b", "c", "d"]
    provider.kept = dict.fromkeys(keys, "1")
    driven = Driven(provider, keys, poll_seconds=40)
    provider.asked.clear()
    times = []
    provider._asked = lambda what: times.append((driven.clock.now - 1000, what))
    driven.pass_seconds(90)
    assert times == [(10.0 * (at + 1), keys[at % 4]) for at in range(9)]


@pytest.mark.parametrize("kind", [Polled, Versioned])
@pytest.mark.parametrize("keys", [["app/u", "app/p", "app/x"], "app/"])
@pytest.mark.parametrize("after", [0, 15, 25, 35, 45])
def test_what_changed_together_is_told_together_also_where_keys_are_asked_one_by_one(kind, keys, after):
    """A user and a password are not told apart, also if one was asked for just before the change."""
    provider = kind()
    provider.kept = {"app/u": "1", "app/p": "1", "app/x": "1"}
    driven = Driven(provider, keys)
    driven.pass_seconds(after)
    provider.kept |= {"app/u": "2", "app/p": "2"}
    version = "2" if kind is Versioned else None
    together = [("app/p", "set", version), ("app/u", "set", version)]
    assert driven.pass_seconds(60) == [together]
    assert driven.pass_seconds(90) == [together]


@pytest.mark.parametrize("kind", [Polled, Versioned])
@pytest.mark.parametrize(("after", "changed"), [(15, "app/y"), (35, "app/u")])
def test_what_is_added_with_a_change_is_told_with_it(kind, after, changed):
    """In the middle of a round, and at its end. What is added alone is reported within an interval."""
    provider = kind()
    provider.kept = {"app/u": "1", "app/x": "1", "app/y": "1"}
    driven = Driven(provider, "app/")
    driven.pass_seconds(after)
    provider.kept |= {changed: "2", "app/new": "1"}
    [together] = driven.pass_seconds(60)
    assert [key for key, _, _ in together] == sorted([changed, "app/new"])
    provider.kept["app/z"] = "1"
    assert [[key for key, _, _ in one] for one in driven.pass_seconds(30)[1:]] == [["app/z"]]


def test_a_prefix_is_listed_anew_at_each_round():
    """So that what is added is found."""
    provider = Polled()
    driven = Driven(provider, "app/")
    provider.kept |= {"app/a": "1", "elsewhere": "1"}
    assert driven.pass_seconds(61) == [[("app/a", "set", None)]]
    del provider.kept["app/a"]
    assert driven.pass_seconds(61)[1:] == [[("app/a", "deleted", None)]]


@pytest.mark.parametrize("kind", [Polled, Versioned, Batched])
def test_the_registrys_own_write_is_told_at_once_and_not_again(kind):
    """With its version where the backend tells one; the poll that finds it is silent."""
    provider = kind()
    driven = Driven(provider, ["a", "b"])
    driven.registry.set_secrets({"a": "2", "b": "2"})
    version = None if kind is Polled else "2"
    batches = [[("a", "set", version), ("b", "set", version)]]
    driven.watch.work()
    assert driven.heard.batches == batches
    assert driven.pass_seconds(100) == batches
    driven.registry.delete_secret("a")
    assert driven.pass_seconds(0)[1:] == [[("a", "deleted", None)]]


@pytest.mark.parametrize("around", [guard, lambda inner: CachingMiddleware(PrefixMiddleware(inner, "p/"))])
@pytest.mark.parametrize("kind", [CountingAgain, BatchedCountingAgain])
def test_a_secret_that_is_made_again_with_the_version_from_before_is_told(kind, around):
    """Between two polls, by another program or by the registry itself; what was not touched is not told."""
    provider = kind()
    with over(around(provider)) as registry:
        registry.set_secrets({"a": "1", "b": "1"})
        driven = Driven(provider, ["a", "b"], registry=registry)
        assert driven.pass_seconds(61) == []
        stored = next(key for key in provider.kept if key.endswith("a"))
        provider.delete_secret(stored)
        provider.set_secret(stored, "2")
        assert driven.pass_seconds(61) == [[("a", "set", "1")]]
        registry.delete_secret("a")
        registry.set_secret("a", "3")
        assert driven.pass_seconds(61)[1:] == [[("a", "set", "1")]]
        provider.set_secret(stored, "4")
        assert driven.pass_seconds(61)[2:] == [[("a", "set", "2")]]


@pytest.mark.parametrize("kind", [Versioned, Batched])
def test_a_backend_that_loses_its_versions_is_no_change_of_anything_else(kind, monkeypatch):
    """As another version of a server; from then on values are compared. What was just written is told."""

    def refuse(*_):
        raise UnsupportedOperationError("no versions any more")

    provider = kind()
    provider.kept = dict.fromkeys("abc", "1")
    driven = Driven(provider, list("abc"))
    for method in ("describe_secret", "describe_secrets"):
        monkeypatch.setattr(kind, method, refuse, raising=False)
    driven.registry.set_secret("a", "2")
    assert driven.pass_seconds(100) == [[("a", "set", None)]]
    provider.kept["b"] = "2"
    assert driven.pass_seconds(61)[1:] == [[("b", "set", None)]]


def test_an_outage_is_no_change_and_what_was_missed_is_told_afterwards():
    """Asked again and again with a growing pause; logged once."""
    provider = Batched()
    provider.kept = {"a": "1", "b": "1"}
    driven = Driven(provider, ["a", "b"])
    provider.error = BackendUnavailableError("down")
    provider.asked.clear()
    assert driven.pass_seconds(120) == []
    assert len(provider.asked) < 20
    provider.kept = {"a": "2", "c": "1"}
    provider.error = None
    assert driven.pass_seconds(61) == [[("a", "set", "2"), ("b", "deleted", None)]]


@pytest.mark.parametrize("kind", [Polled, Versioned, Batched])
def test_a_watch_that_begins_in_an_outage_begins_with_the_first_answer(kind):
    """It does not raise, and nothing of the first answer is a change."""
    provider = kind()
    provider.kept = {"a": "1"}
    provider.error = BackendUnavailableError("down")
    driven = Driven(provider, ["a"])
    driven.pass_seconds(10)
    provider.error = None
    assert driven.pass_seconds(60) == []
    provider.kept = {"a": "2"}
    assert [batch[0][:2] for batch in driven.pass_seconds(60)] == [("a", "set")]


@pytest.mark.parametrize("kind", [Polled, Versioned, Batched])
def test_a_key_that_is_refused_does_not_hide_the_others(kind, caplog):
    """It is logged once, and is no change."""
    provider = kind()
    provider.kept = {"a": "1", "b": "1"}
    driven = Driven(provider, ["a", "b"])
    provider.error = ("a", PermissionDeniedError("no"))
    if kind is Batched:
        provider.describe_secrets = lambda keys: {
            key: SecretMetadata(key, provider.get_secret(key)) for key in keys
        }
    provider.kept = {"a": "2", "b": "2"}
    assert [[one[:2] for one in batch] for batch in driven.pass_seconds(90)] == [[("b", "set")]]
    assert caplog.text.count("PermissionDeniedError") == 1
    provider.error = None
    assert [[one[:2] for one in batch] for batch in driven.pass_seconds(90)][1:] == [[("a", "set")]]


@pytest.mark.parametrize("kind", [Polled, Versioned, Batched])
@pytest.mark.parametrize("keys", [["a", "b"], ["p/"]], ids=["keys", "prefix"])
@pytest.mark.parametrize("error", [AuthenticationError, PermissionDeniedError])
def test_a_right_that_is_taken_away_later_is_said_once_and_again_when_it_is_back(kind, keys, error, caplog):
    """With pipeline and address; hooks, and so the audit log, see a watch that was denied."""
    provider = kind()
    names = ["a", "b"] if keys != ["p/"] else ["p/a", "p/b"]
    provider.kept = dict.fromkeys(names, "1")
    denied = []

    class Recorder(SecretHook):
        def after(self, event):
            if event.outcome != "ok":
                denied.append((event.operation, event.key, event.outcome, event.pipeline))

    registry = over(provider)
    registry.add_hook(Recorder())
    driven = Driven(provider, keys, registry=registry)
    provider.error = error("kind: read at https://secrets.example.com: status 403")
    driven.pass_seconds(400)
    lost = [one for one in caplog.messages if error.__name__ in one]
    # Where keys are asked for one by one they are refused one by one.
    one_by_one = error is PermissionDeniedError and kind is not Batched
    assert len(lost) == (len({*names, *keys}) if one_by_one else 1)
    assert all("pipeline app" in one and "https://secrets.example.com" in one for one in lost)
    assert all(one.levelno == logging.WARNING for one in caplog.records)
    watched = {*names, *keys} if one_by_one else keys
    assert sorted(denied) == [("watch", key, "denied", "app") for key in sorted(watched)]
    assert driven.heard.batches == []
    caplog.clear()
    provider.error = None
    provider.kept = dict.fromkeys(names, "2")
    assert {one[0] for batch in driven.pass_seconds(400) for one in batch} == set(names)
    assert [one for one in caplog.messages if "again" in one]
    assert len(caplog.messages) == len(lost)
    assert len(denied) == len(watched)


@pytest.mark.parametrize("kind", [Polled, Versioned, Batched])
def test_an_exit_of_a_provider_is_a_failure_like_any_other(kind, caplog):
    """As of a plugin that calls `sys.exit`: the watch would be over, and would say that it is alive."""
    provider = kind()
    provider.kept = {"a": "1"}
    driven = Driven(provider, ["a"])
    provider.error = SystemExit("s3cret")
    assert driven.pass_seconds(120) == []
    assert "pipeline app cannot be asked for changes (StrongroomError: SystemExit was raised" in caplog.text
    assert "s3cret" not in caplog.text
    provider.error, provider.kept = None, {"a": "2"}
    assert [[one[:2] for one in batch] for batch in driven.pass_seconds(61)] == [[("a", "set")]]


def test_an_exit_of_a_hook_does_not_end_the_watch_either(registry, caplog):
    class Exits(SecretHook):
        def after(self, event):
            if event.operation == "change":
                raise SystemExit("s3cret")

    registry.add_hook(Exits())
    heard = Heard()
    with registry.watch("a", heard):
        for number in (1, 2):
            registry.set_secret("a", str(number))
            heard.wait(number)
    assert "a hook refused the event of a change: SystemExit" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("error", [RuntimeError, SystemExit])
def test_a_hook_that_fails_at_a_refusal_does_not_end_the_watch(error, caplog):
    provider = Versioned()
    provider.kept = {"a": "1"}
    registry = over(provider)

    class Failing(SecretHook):
        def before(self, event):
            if provider.error is not None:
                raise error("s3cret")

    registry.add_hook(Failing())
    driven = Driven(provider, ["a"], registry=registry)
    provider.error = PermissionDeniedError("no")
    driven.pass_seconds(60)
    assert f"a hook failed at the event of a refusal: {error.__name__}" in caplog.text
    assert "s3cret" not in caplog.text
    provider.error, provider.kept = None, {"a": "2"}
    assert driven.pass_seconds(60)


def test_many_refused_keys_are_one_line(caplog):
    provider = Batched()
    provider.kept = {f"k{number}": "1" for number in range(50)}
    driven = Driven(provider, list(provider.kept))
    provider.error = PermissionDeniedError("no")
    driven.pass_seconds(60)
    assert len(caplog.messages) == 1
    assert "'k0', 'k1', 'k2' and 47 more cannot be asked for" in caplog.messages[0]


def test_a_fallback_is_told_where_its_answer_changes_whichever_member_wrote():
    """What one member hides is no change."""
    with SecretProviderRegistry(
        {
            "version": 1,
            "pipelines": {
                "one": {"provider": {"type": "memory"}, "middleware": [{"type": "caching"}]},
                "two": {"provider": {"type": "memory"}},
                "both": {"fallback": {"pipelines": ["one", "two"], "when": ["not_found"]}},
            },
            "default": "both",
        }
    ) as registry:
        heard = Heard()
        with registry.watch(["a", "b"], heard):
            registry.pipeline("two").set_secret("a", "1")
            heard.wait(1)
            registry.pipeline("one").set_secret("a", "2")
            heard.wait(2)
            registry.pipeline("two").set_secret("a", "hidden")
            registry.pipeline("two").set_secret("b", "1")
            heard.wait(3)
        assert [batch[0][:2] for batch in heard.batches] == [("a", "set"), ("a", "set"), ("b", "set")]


class Plain:
    """A third party's middleware around a cache; it knows the four methods."""

    def __init__(self, inner):
        self.inner = inner

    def get_secret(self, key):
        return self.inner.get_secret(key)

    def set_secret(self, key, value):
        self.inner.set_secret(key, value)

    def delete_secret(self, key):
        self.inner.delete_secret(key)

    def list_secrets(self, prefix=""):
        return self.inner.list_secrets(prefix)


@pytest.mark.parametrize("kind", [Polled, Batched, MemorySecretProvider])
def test_a_cache_inside_of_a_third_partys_middleware_hides_nothing(kind):
    """Neither what other programs write, for as long as the cache gives the value, nor the own write."""
    provider = kind()
    provider.set_secret("p/a", "1")
    cached = CachingMiddleware(PrefixMiddleware(provider, "p/"))
    registry = over(guard(Plain(cached), around=cached))
    driven = Driven(provider, ["a"], registry=registry)
    assert registry.get_secret("a") == "1"
    provider.set_secret("p/a", "2")
    changed = [("a", "set", None)]
    assert driven.pass_seconds(61) == [changed]
    registry.set_secret("a", "3")
    driven.watch.work()
    assert driven.heard.batches == [changed, changed]
    assert driven.pass_seconds(61) == [changed, changed]


def test_a_source_that_was_cut_off_is_compared():
    """Also what it tells while it is compared is told once."""
    provider = MemorySecretProvider(secrets={"a": "1"})
    driven = Driven(provider, "a")
    subscribers, provider._subscribers._subscriptions = provider._subscribers._subscriptions.copy(), []
    provider.set_secret("a", "missed")
    provider._subscribers._subscriptions = subscribers
    provider._subscribers.tell([])
    provider.set_secret("a", "after")
    version = provider.describe_secret("a").version
    assert driven.pass_seconds(1) == [[("a", "set", version)]]


@pytest.mark.parametrize("last", ["set", "deleted"])
def test_what_a_source_read_before_a_comparison_and_tells_after_it_is_passed_over(last):
    """A slow source may have the one before in its hands still: the comparison was told, and nothing older is."""
    provider = Late(secrets={"a": "1"})
    driven = Driven(provider, "a")
    for value in ("2", "3"):
        provider.set_secret("a", value)
    if last == "deleted":
        provider.delete_secret("a")
    newest = ("a", last, provider.late[-1][0].version)
    provider.callback([])
    assert driven.pass_seconds(1) == [[newest]]
    for changes in provider.late:
        provider.callback(changes)
        assert driven.pass_seconds(1) == [[newest]]
    provider.late.clear()
    for value in ("4", "5"):
        provider.set_secret("a", value)
    for changes in provider.late:
        provider.callback(changes)
    told = driven.pass_seconds(1)
    assert told[1:] == [[("a", "set", changes[0].version)] for changes in provider.late]


@pytest.mark.parametrize("last", ["set", "deleted"])
def test_what_changes_as_a_watch_begins_and_is_told_late_by_the_source_is_passed_over(last):
    """It was there before the watch knew the state to compare with, which was newer already."""

    class Busy(Late):
        def subscribe_changes(self, callback):
            made = super().subscribe_changes(callback)
            for value in ("2", "3"):
                self.set_secret("a", value)
                self.set_secret(f"new/{value}", value)
            if last == "deleted":
                self.delete_secret("a")
            return made

    provider = Busy(secrets={"a": "1", "b": "1"})
    driven = Driven(provider, "/")
    for changes in provider.late:
        provider.callback(changes)
        assert driven.pass_seconds(1) == []
    provider.late.clear()
    for key, value in (("a", "4"), ("a", "5"), ("b", "2"), ("b", "3"), ("new/2", "4")):
        provider.set_secret(key, value)
    for changes in provider.late:
        provider.callback(changes)
    told = driven.pass_seconds(1)
    assert told == [[(one.key, "set", one.version)] for changes in provider.late for one in changes]


def test_what_a_source_tells_of_a_newer_version_than_was_compared_is_told_once():
    """Also where it never tells the one that was compared, since it read one that came after it."""
    provider = Late(secrets={"a": "1"})
    driven = Driven(provider, "a")
    provider.set_secret("a", "2")
    provider.callback([])
    assert driven.pass_seconds(1) == [[("a", "set", provider.late[0][0].version)]]
    provider.set_secret("a", "3")
    provider.callback(provider.late[1])
    assert driven.pass_seconds(1)[1:] == [[("a", "set", provider.late[1][0].version)]]
    provider.set_secret("a", "4")
    provider.set_secret("a", "5")
    for changes in provider.late[2:]:
        provider.callback(changes)
    assert driven.pass_seconds(1)[2:] == [[("a", "set", changes[0].version)] for changes in provider.late[2:]]


def test_a_source_without_versions_of_its_own_is_believed():
    """A stranger's provider that pushes, and has nothing but the four methods besides."""

    class Pushing(Polled):
        def subscribe_changes(self, callback):
            self.callback = callback
            return MemorySecretProvider()

    from strongroom import SecretChange

    provider = Pushing()
    driven = Driven(provider, "a")
    now = datetime.now(UTC)
    for version in ("5", "5", "6"):
        provider.callback([SecretChange("a", "set", version, now), SecretChange("b", "set", version, now)])
    assert driven.pass_seconds(1) == [[("a", "set", "5")], [("a", "set", "6")]]
    provider.kept["a"] = "x"
    provider.callback([])
    assert driven.pass_seconds(1)[2:] == [[("a", "set", None)]]


def test_the_longest_interval_is_not_too_long_to_wait_for():
    """The machine's clock takes fewer seconds than a number may say."""
    driven = Driven(Polled(), "a", poll_seconds=float("inf"))
    with driven.watch._changed:
        assert driven.watch._changed.wait_for(lambda: True, driven.watch.work())
    assert driven.watch.work() <= threading.TIMEOUT_MAX
