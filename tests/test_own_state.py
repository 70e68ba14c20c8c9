"""What strongroom keeps about its user decides no test, and no test adds to it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from strongroom.spec.trust import state_folder


def test_no_worker_shares_the_state_of_whoever_runs_it():
    folder = Path(state_folder())
    assert folder.is_relative_to(tempfile.gettempdir())
    assert not folder.is_relative_to(Path("~/.local").expanduser())
