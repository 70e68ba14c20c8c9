"""Fallbacks: what reads on, what is told as down, and what a batch brings together."""

from __future__ import annotations

import threading

import pytest
import strongroom
from strongroom import SecretHook, SecretProviderRegistry
from strongroom.errors import BackendUnavailableError, PermissionDeniedError, SecretNotFoundError
from strongroom_memory import MemorySecretProvider

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
