"""The options of a cache are the same wherever it stands."""

from __future__ import annotations

import inspect
from typing import get_type_hints

import pytest
from strongroom.cache import HierarchicalSecretCache, SecretCache
from strongroom.cache.options import CacheOptions
from strongroom.middleware import CachingMiddleware
from strongroom.plugins.builtins import CachingConfig


def defaults(made):
    """Return the keyword arguments of a class with their defaults."""
    parameters = inspect.signature(made).parameters.values()
    return {one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY}


def test_they_are_the_keywords_of_a_cache_in_the_process():
    assert set(defaults(SecretCache)) == set(get_type_hints(CacheOptions))


@pytest.mark.parametrize("made", [HierarchicalSecretCache, CachingMiddleware])
def test_they_have_the_same_defaults_with_a_second_level_and_in_a_pipeline(made):
    own = defaults(SecretCache)
    assert {name: one for name, one in defaults(made).items() if name in own} == own


def test_they_have_the_same_defaults_in_a_spec():
    """All that a caching middleware takes and a spec can say, with what the library takes where it says nothing."""
    made = defaults(CachingMiddleware) | {"ttl_seconds": 300}
    written = {name: field.default for name, field in CachingConfig.model_fields.items()}
    assert {name: made[name] for name in written} == written
    assert set(made) - set(written) == {"clock", "due_at", "namespace"}
    assert inspect.signature(CachingMiddleware).parameters["ttl_seconds"].default == 300
