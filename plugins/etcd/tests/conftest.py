from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

# pytest's importlib mode keeps test folders off the path; these helpers have names of their own.
sys.path.insert(0, str(Path(__file__).parents[3] / "tests"))
sys.path.insert(0, str(Path(__file__).parent))

from etcd_server import EtcdServer  # as above
from etcd_support import KEY  # as above
from strongroom_etcd import EtcdSecretProvider  # as above

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


@pytest.fixture
def make(server, prefix):
    """A function that makes providers as separate hosts would; all end with the test."""
    made = []

    def provider(endpoints=server.url, **options):
        made.append(
            EtcdSecretProvider(
                endpoints, **{"prefix": prefix, "encryption_key": KEY, "timeout": 120, **options}
            )
        )
        return made[-1]

    yield provider
    for one in made:
        one.close()
