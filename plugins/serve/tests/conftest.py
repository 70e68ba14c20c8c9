"""Servers of the application, each in a thread or a process of its own."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

# pytest's importlib mode keeps test folders off the path; these helpers have names of their own.
sys.path.insert(0, str(Path(__file__).parent))

from served import Served, spec_of  # as above
from served_process import Process, write


@pytest.fixture
def served():
    """Return a function that starts a server of a spec; all are stopped at the end."""
    with ExitStack() as stack:

        def start(spec=None, **options):
            made = Served(spec or spec_of(), **options)
            stack.callback(made.stop)
            return made

        yield start


@pytest.fixture
def process(tmp_path, warm_strongroom):
    """Return a function that starts the server in `tmp_path`."""
    with ExitStack() as stack:

        def start(spec):
            write(tmp_path, spec)
            made = Process(tmp_path, warm=warm_strongroom)
            stack.callback(made.stop)
            return made

        yield start
