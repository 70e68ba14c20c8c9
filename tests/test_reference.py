"""docs/reference/ is what the code says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from strongroom.settings import Settings

ROOT = Path(__file__).parent.parent


def test_the_reference_is_what_the_code_says():
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "write_reference.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("page", "signature"),
    [
        ("plugins", "strongroom_providers() -> 'Iterable[Plugin]'"),
        ("plugins", "strongroom_middleware() -> 'Iterable[Plugin]'"),
        ("plugins", "strongroom_hooks() -> 'Iterable[Plugin]'"),
        ("plugins", "strongroom_encryption() -> 'Iterable[Plugin]'"),
        ("hooks", "before(self, event: 'SecretEvent') -> 'None'"),
        ("hooks", "after(self, event: 'SecretEvent') -> 'None'"),
    ],
)
def test_every_hook_stands_in_the_reference_with_its_exact_signature(page, signature):
    assert f"`{signature}`" in (ROOT / "docs" / "reference" / f"{page}.md").read_text()


def test_every_call_of_a_provider_stands_in_the_reference_with_its_operation():
    text = (ROOT / "docs" / "reference" / "events.md").read_text()
    assert "| `get_secrets(keys)` | `get` |" in text
    assert "| `list_versions(key)` | `history` |" in text


def test_every_variable_that_the_code_names_stands_in_the_reference():
    sources = [*ROOT.glob("core/src/**/*.py"), *ROOT.glob("plugins/*/src/**/*.py")]
    named = {name for path in sources for name in re.findall(r"\b_?STRONGROOM_[A-Z]\w+\b", path.read_text())}
    fields = {f"STRONGROOM_{name.upper()}" for name in Settings.model_fields}
    page = (ROOT / "docs" / "reference" / "environment.md").read_text()
    assert set(re.findall(r"`(_?STRONGROOM_[A-Z]\w+)`", page)) == named | fields
