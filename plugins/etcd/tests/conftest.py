from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

# pytest's importlib mode keeps test folders off the path; this helper has a name of its own.
sys.path.insert(0, str(Path(__file__).parents[3] / "tests"))

from etcd_server import EtcdServer  # as above

_numbers = itertools.count()


@pytest.fixture(scope="session")
def server():
    """One server for all tests of a worker that harm nobody; each has a prefix of its own."""
    running = EtcdServer()
    yield running
    running.stop()


@pytest.fixture
def prefix():
    return f"test-{next(_numbers)}/"
