"""What the tests of registries share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from strongroom import SecretProviderRegistry

# pytest's importlib mode keeps test folders off the path; this helper has a name of its own.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def registry():
    with SecretProviderRegistry(
        {"version": 1, "pipelines": {"app": {"provider": {"type": "memory"}}}}
    ) as made:
        yield made
