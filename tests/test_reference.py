"""docs/reference/ is what the code says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_reference_is_what_the_code_says():
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "write_reference.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_hook_stands_in_the_reference_with_its_exact_signature():
    text = (ROOT / "docs" / "reference" / "plugins.md").read_text()
    for signature in (
        "strongroom_providers() -> 'Iterable[Plugin]'",
        "strongroom_middleware() -> 'Iterable[Plugin]'",
        "strongroom_hooks() -> 'Iterable[Plugin]'",
        "strongroom_encryption() -> 'Iterable[Plugin]'",
        "before(self, event: 'SecretEvent') -> 'None'",
        "after(self, event: 'SecretEvent') -> 'None'",
    ):
        assert f"`{signature}`" in text
