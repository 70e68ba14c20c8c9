"""The kit's tests of watches and rotations."""

from __future__ import annotations

from typing import Any, Final

from strongroom.cache import MemoryCacheStore
from strongroom.keys import is_reserved
from strongroom.registry import SecretProviderRegistry
from strongroom.rotation import SecretRotation
from strongroom.testing.conformance.base import ConformanceBase
from strongroom.testing.conformance.watching import Listener

__all__ = ["LiveTests"]

_NOTHING: Final = {"version": 1, "pipelines": {"nothing": {"provider": {"type": "memory"}}}}
_POLL_SECONDS: Final = 0.05
_GRACE_SECONDS: Final = 3600


class LiveTests(ConformanceBase):
    """Secrets that change: watches and rotations work on every backend, whatever it can do."""

    def test_a_registry_watches_it(self, provider: Any) -> None:
        """A change is reported once, and a deletion, whether the backend tells of them or is asked."""
        self.put(provider, {"watched": "1", "other": "1"})
        listener = Listener()
        with SecretProviderRegistry(_NOTHING) as registry:
            registry.register("kit", provider, prefix="")
            with registry.watch("watched", listener, poll_seconds=_POLL_SECONDS):
                self.put(provider, {"other": "2", "watched": "2"})
                listener.until(lambda one: one.kind == "set")
                assert registry.get_secret("watched") == "2"
                self.remove(provider, "watched")
                listener.until(lambda one: one.kind == "deleted")
            assert listener.heard == [("watched", "set"), ("watched", "deleted")]

    def test_a_secret_is_rotated_and_rolled_back(self, provider: Any) -> None:
        """Readers get the new value once the target system has it, and the old one again within its grace."""
        self.put(provider, {"rotated": "the first"})
        taken = ["the first"]

        def apply(_key: str, _old: str, new: str) -> None:
            assert provider.get_secret("rotated") == taken[-1], "readers got the new value too early"
            taken.append(new)

        rotation = SecretRotation(
            provider,
            apply=apply,
            verify=lambda _key, new: new == taken[-1],
            generator=lambda _key, _old: "the second",
            grace_seconds=_GRACE_SECONDS,
            lock=MemoryCacheStore(),
        )
        assert rotation.rotate("rotated").state == "current"
        self.settle()
        assert provider.get_secret("rotated") == taken[-1] == "the second"
        assert [key for key in provider.list_secrets() if not is_reserved(key)] == ["rotated"]
        assert rotation.rollback("rotated").state == "rolled_back"
        self.settle()
        assert provider.get_secret("rotated") == taken[-1] == "the first"
        assert rotation.status_of("rotated").state == "current"
