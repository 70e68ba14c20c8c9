from __future__ import annotations

import sys
from pathlib import Path

import pytest

# pytest's importlib mode keeps test folders off the path; this helper has a name of its own.
sys.path.insert(0, str(Path(__file__).parent))

from cache_support import Backend, Clock  # as above


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def backend() -> Backend:
    return Backend(key="value", other="another")
