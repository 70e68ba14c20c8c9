"""What a reader of the documentation imports from `strongroom` itself, and the signatures that are shown of it."""

from __future__ import annotations

import inspect
from typing import get_type_hints

import pytest
import strongroom
from strongroom import backends
from strongroom.plugins.known import KNOWN_CLASSES

SHOWN = {
    "PrefixMiddleware": ["inner", "prefix"],
    "ReadOnlyMiddleware": ["inner"],
    "TenantMiddleware": ["inner", "template"],
    "TenantSecretProvider": ["base_provider", "template"],
}


@pytest.mark.parametrize("name", sorted(KNOWN_CLASSES))
def test_classes_of_our_plugins_are_importable_from_the_top(name):
    assert getattr(strongroom, name) is getattr(backends, name)


def test_every_name_of_the_top_is_there():
    for name in (*strongroom.__all__, "Watch", "LiveLease"):
        assert getattr(strongroom, name) is not None
    with pytest.raises(AttributeError, match="NoSuchProvider"):
        _ = strongroom.NoSuchProvider


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_a_middleware_shows_what_it_takes(name):
    assert list(inspect.signature(getattr(strongroom, name)).parameters) == SHOWN[name]


def test_type_hints_of_the_classes_can_be_evaluated():
    """As `attrs`, `cattrs` and containers of dependencies do with what derives from them."""
    known = [getattr(strongroom, name) for name in strongroom.__all__]
    classes = [one for one in known if inspect.isclass(one)]
    assert len(classes) > 30
    for cls in classes:
        if cls is not strongroom.Plugin:  # which would load pydantic
            get_type_hints(cls)
