"""docs/reference/conformance.md counts the tests that there are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "scripts" / "write_conformance.py"


def test_the_page_knows_the_kits_that_are_collected():
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr or done.stdout
