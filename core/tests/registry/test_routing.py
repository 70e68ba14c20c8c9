"""Which route answers a key: the one with the longest prefix, found in a few steps however many there are."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strongroom import SecretProviderRegistry
from strongroom.errors import BackendUnavailableError
from strongroom.registry.routing import Routes
from strongroom.spec.plan import RoutePlan
from strongroom_memory import MemorySecretProvider

TEXTS = st.text("ab/", max_size=6)


@given(st.sets(TEXTS.filter(bool), max_size=8), TEXTS)
@settings(max_examples=200)
def test_the_longest_prefix_answers(prefixes, key):
    routes = Routes(RoutePlan(prefix, "p") for prefix in prefixes)
    matching = [prefix for prefix in prefixes if key.startswith(prefix)]
    found = routes.matching(key)
    assert (found and found.prefix) == (max(matching, key=len) if matching else None)
    assert [len(route.prefix) for route in routes] == sorted(map(len, prefixes), reverse=True)


def test_it_takes_as_many_steps_as_prefixes_have_lengths():
    class Key(str):
        __slots__ = ()
        looked = 0

        def __getitem__(self, part):
            Key.looked += 1
            return super().__getitem__(part)

    routes = Routes(RoutePlan(f"team-{number}/", "p") for number in range(10_000))
    assert routes.matching(Key("team-7777/key")).prefix == "team-7777/"
    assert routes.matching(Key("elsewhere/key")) is None
    assert Key.looked <= 5


def test_a_pipeline_that_is_registered_during_the_first_read_answers_from_then_on():
    class Meanwhile(SecretProviderRegistry):
        def pipeline(self, name):
            found = super().pipeline(name)
            if "late" not in self.pipelines():
                self.register(
                    "late", MemorySecretProvider(secrets={"late/key": "of the late one"}), prefix="late/"
                )
            return found

    spec = {"version": 1, "pipelines": {"app": {"provider": {"type": "memory", "secrets": {"key": "x"}}}}}
    with Meanwhile({**spec, "default": "app"}) as registry:
        assert registry.get_secret("key") == "x"
        assert registry.get_secret("late/key") == "of the late one"
        assert registry.get_secret("key") == "x"


def test_a_list_asks_no_pipeline_whose_keys_a_longer_route_answers():
    class Down(MemorySecretProvider):
        def list_secrets(self, prefix=""):
            raise BackendUnavailableError("down")

    with SecretProviderRegistry(
        {"version": 1, "pipelines": {"app": {"provider": {"type": "memory"}}}}
    ) as one:
        one.register("team", Down(), prefix="team/")
        one.register("web", MemorySecretProvider(secrets={"team/web/key": "v"}), prefix="team/web/")
        for prefix in ("team/web/", "team/web/k"):
            assert one.list_secrets(prefix) == ["team/web/key"]
            with one.watch("team/web/", print):
                pass
        for prefix in ("", "team", "team/", "team/w"):  # a key of the other may begin so
            with pytest.raises(BackendUnavailableError):
                one.list_secrets(prefix)
