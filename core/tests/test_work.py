"""A read costs so many calls of functions and no more: work is counted here, time only in `make bench`."""

from __future__ import annotations

import sys

import pytest
from strongroom import SecretProviderRegistry
from strongroom.cache import HierarchicalSecretCache, SecretCache
from strongroom.sealed.record import Record

LAYERS = [{"type": "retry"}, {"type": "validation", "max_length": 4096}, {"type": "prefix", "prefix": "p/"}]
SPEC = {
    "version": 1,
    "pipelines": {
        "bare": {"provider": {"type": "memory"}},
        "cached": {"provider": {"type": "memory"}, "middleware": [{"type": "caching"}]},
        "layered": {"provider": {"type": "memory"}, "middleware": LAYERS},
    },
    "default": "layered",
}


def calls_of(read):
    """Return how many functions a read calls, Python's own and those of C, when nothing is new to it."""
    seen = []
    read()
    sys.setprofile(lambda _frame, event, _argument: seen.append(event))
    try:
        read()
    finally:
        sys.setprofile(None)
    return sum(event in {"call", "c_call"} for event in seen) - 1  # what ends the profile is one


@pytest.mark.parametrize(("pipeline", "most"), [("bare", 4), ("cached", 8), ("layered", 11)])
def test_a_read_of_a_pipeline(pipeline, most):
    with SecretProviderRegistry(SPEC) as registry:
        provider = registry.pipeline(pipeline)
        provider.set_secret("a/key", "value")
        assert calls_of(lambda: provider.get_secret("a/key")) <= most


def test_a_read_of_a_registry():
    with SecretProviderRegistry(SPEC) as registry:
        registry.set_secret("a/key", "value")
        assert calls_of(lambda: registry.get_secret("a/key")) <= 12


@pytest.mark.parametrize("made", [SecretCache, HierarchicalSecretCache])
def test_a_read_with_a_fetch_of_its_own(made):
    """The seed document's own form: `get_or_fetch(key, fetch)` makes no function where nothing is fetched."""
    cache = made()
    assert calls_of(lambda: cache.get_or_fetch("a/key", str)) <= 8
    cache.close()


def test_a_read_of_a_cache():
    cache = SecretCache()
    assert calls_of(lambda: cache.get_or_fetch("key", lambda _: "value")) <= 9


def test_a_write_of_a_secret_with_many_versions():
    """The next record of a sealed secret costs the same, however many versions of it are kept."""
    record = Record("app/key")
    for at in range(1_000):
        record, _ = record.written(at, 1_000, 1)

    after, dropped = record.written(1_000, 1_000, 1)
    assert dropped == (1,)
    assert [one.number for one in after.kept()] == list(range(2, 1_002))
    assert calls_of(lambda: record.written(1_000, 1_000, 1)) <= 40
