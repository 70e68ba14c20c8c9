"""What a cached read costs, counted and not timed: so that it depends on the code alone."""

from __future__ import annotations

import gc
import sys

import pytest
from strongroom import SecretProviderRegistry, generate_key

SPEC = {
    "version": 1,
    "pipelines": {
        "app": {
            "provider": {"type": "memory"},
            "middleware": [
                {"type": "caching"},
                {"type": "validation", "max_length": 4096},
                {"type": "encryption", "key": generate_key()},
            ],
        }
    },
}
_MOST_INSTRUCTIONS = 95
_MOST_CALLS = 4


@pytest.fixture
def read():
    with SecretProviderRegistry(SPEC) as registry:
        registry.set_secret("database/password", "value")
        for _ in range(3):
            registry.get_secret("database/password")
        yield registry.get_secret


def counted(call):
    """Return the Python calls and the bytecode instructions that `call` takes."""
    counts = {"call": 0, "opcode": 0}

    def trace(frame, event, _):
        frame.f_trace_opcodes = True
        counts[event] = counts.get(event, 0) + 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return counts["call"] - 1, counts["opcode"]  # the lambda of the test is one of the calls


def test_it_is_four_calls_and_a_hundred_instructions(read):
    calls, instructions = counted(lambda: read("database/password"))
    assert (calls <= _MOST_CALLS, instructions <= _MOST_INSTRUCTIONS) == (True, True), (calls, instructions)


def test_it_leaves_no_memory_behind(read):
    gc.collect()
    gc.disable()
    try:
        for _ in range(1000):
            read("database/password")
        before = sys.getallocatedblocks()
        for _ in range(10_000):
            read("database/password")
        assert sys.getallocatedblocks() - before < 50
    finally:
        gc.enable()
