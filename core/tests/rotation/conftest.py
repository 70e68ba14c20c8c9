"""What the tests of rotation share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# pytest's importlib mode keeps test folders off the path; these helpers have names of their own.
sys.path.insert(0, str(Path(__file__).parent))

from rotation_support import BACKENDS  # as above


@pytest.fixture(params=BACKENDS.values(), ids=BACKENDS)
def abilities(request):
    """What the backend can do besides the four methods."""
    return request.param
