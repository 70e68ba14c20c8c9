"""Servers of the application, each in a thread of its own."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

# pytest's importlib mode keeps test folders off the path; this helper has a name of its own.
sys.path.insert(0, str(Path(__file__).parent))

from served import Served, spec_of  # as above


@pytest.fixture
def served():
    """Return a function that starts a server of a spec; all are stopped at the end."""
    with ExitStack() as stack:

        def start(spec=None, **options):
            made = Served(spec or spec_of(), **options)
            stack.callback(made.stop)
            return made

        yield start
