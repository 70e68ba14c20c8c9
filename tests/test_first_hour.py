"""A newcomer's first own application with secrets: the README's four commands, in a fresh clone, with an empty home."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
APP = """\
import os

print("level", os.environ["LOG_LEVEL"])
print("url", os.environ["DATABASE_URL"])
assert os.environ["DATABASE_URL"] == "postgres://app:correct-horse-battery@localhost/orders"
"""
ENV = """\
LOG_LEVEL=info
DATABASE_PASSWORD=correct-horse-battery
DATABASE_URL=postgres://app:${DATABASE_PASSWORD}@localhost/orders
"""


APPLICATION = "path/to/your/application"


def commands():
    """Return the commands of the README's first block under "In one minute"."""
    page = (ROOT / "README.md").read_text()
    block = re.search(r"## In one minute\n.*?```console\n(.*?)```", page, re.DOTALL)
    assert block is not None
    return [line.removeprefix("$ ") for line in block[1].splitlines()]


def test_the_readme_shows_four_commands():
    assert len(commands()) == 4
    assert commands()[2] == f"cd {APPLICATION} && strongroom init --from .env"
    assert commands()[3].startswith("strongroom run -- ")


@pytest.mark.torture
def test_they_do_it_in_a_fresh_clone_with_an_empty_home(tmp_path, capsys):
    """Everything from the clone to the application's own output; how long it takes is printed (run with -s)."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("there is no git work tree to clone")
    home, clone, app = tmp_path / "home", tmp_path / "clone", tmp_path / "app"
    home.mkdir()
    app.mkdir()
    (app / "app.py").write_text(APP)
    (app / ".env").write_text(ENV)
    subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
    lines = [line.replace(APPLICATION, str(app)) for line in commands()]
    python = Path(sys._base_executable).resolve().parent
    keep = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith(("STRONGROOM", "PYTHON", "VIRTUAL", "XDG"))
    }
    begun = time.perf_counter()
    done = subprocess.run(
        ["sh", "-e", "-c", "\n".join(lines)],
        cwd=clone,
        env={**keep, "HOME": str(home), "PATH": f"{python}:/usr/local/bin:/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    taken = time.perf_counter() - begun
    assert done.returncode == 0, done.stderr
    assert "level info" in done.stdout
    assert "url " in done.stdout
    assert "correct-horse" not in done.stdout + done.stderr
    with capsys.disabled():
        sys.stderr.write(f"\nfour commands after the clone: {taken:.0f} s\n")
