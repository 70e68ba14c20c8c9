"""`behind`: an author's kit once more, with middleware in front."""

from __future__ import annotations

import inspect

import pytest
from strongroom.builtins import strongroom_middleware
from strongroom.middleware import PrefixMiddleware, RetryMiddleware
from strongroom.testing import ProviderConformance, behind, behind_each
from strongroom.testing.middleware import CHAIN
from strongroom_memory import MemorySecretProvider


class Kit(ProviderConformance):
    max_value_bytes = 1000
    not_representable = ("\x00",)
    sdk_modules = ("sqlite3",)

    @pytest.fixture
    def provider(self):
        return MemorySecretProvider()

    @pytest.fixture
    def reopened(self, provider):
        return provider


def given(kit, name):
    """Return the function of a fixture."""
    return inspect.getattr_static(kit, name)._get_wrapped_function()


def test_order():
    """What tests ask for is wrapped, outermost first, around what the author's own fixture gives."""
    bare = MemorySecretProvider()
    made = next(given(behind(Kit, "prefix", "retry"), "provider")(None, bare))
    assert isinstance(made, PrefixMiddleware)
    assert isinstance(made.inner, RetryMiddleware)
    assert made.inner.inner is bare


def test_second():
    """The second provider has the same in front of it, unless there is none, or what is remembered would differ."""
    bare = MemorySecretProvider()
    wrapped = given(behind(Kit, "prefix"), "reopened")
    assert isinstance(next(wrapped(None, bare)), PrefixMiddleware)
    assert next(wrapped(None, None)) is None
    assert next(given(behind(Kit, "prefix", "caching"), "reopened")(None, bare)) is None


def test_room_for_keys():
    """Keys are as much shorter as the middleware makes them longer; values have the room they had."""
    kit = behind(Kit, "prefix", "retry")
    assert (kit.max_key_characters, kit.max_value_bytes) == (512 - len("some/prefix/"), 1000)
    assert kit.not_representable == ("\x00",)


def test_tokens_need_room():
    """Behind encryption a value has the room that its token leaves, and any text is representable."""
    kit = behind(Kit, "encryption")
    assert 650 < kit.max_value_bytes < 750
    assert kit.not_representable == ()
    assert behind(ProviderConformance, "encryption").max_value_bytes is None


def test_every_middleware_is_there():
    """The kit is run behind all that a spec can name, read-only aside."""
    assert {plugin.name for plugin in strongroom_middleware()} - {"read-only"} == set(CHAIN)


def test_no_such_middleware():
    with pytest.raises(ValueError, match="no middleware of the kit: nonsense"):
        behind(Kit, "prefix", "nonsense")


def test_each_alone_and_all_together():
    """The slow ones may be marked; all together always run."""
    made = behind_each(Kit, alone=[pytest.mark.torture])
    assert len(made) == len(CHAIN) + 1
    assert set(made) > {"KitBehindAll", "KitBehindEncryption"}
    marked = {name for name, kit in made.items() if getattr(kit, "pytestmark", [])}
    assert set(made) - marked == {"KitBehindAll"}
