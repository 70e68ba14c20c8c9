"""The command line as a process, in a folder with a spec."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import warm_command

SPEC = """\
version: 1
pipelines:
  app:
    provider: {type: file, file_path: secrets.enc, key_file: app.key}
  other:
    provider: {type: file, file_path: other.enc, key_file: app.key}
default: app
secrets:
  PASSWORD: {key: database/password, min_length: 8, generate: {length: 24}}
  PORT: {key: database/port, type: port, default: "5432"}
"""


@pytest.fixture
def strongroom(tmp_path, monkeypatch, warm_strongroom):
    """Return a function that runs `strongroom` with words, and has a folder with `SPEC`."""
    monkeypatch.chdir(tmp_path)
    Path("strongroom.yaml").write_text(SPEC)
    Path("strongroom.yaml").chmod(0o644)

    def run(*words, stdin="", expected=0, **environment):
        done = warm_command.run(
            [warm_strongroom, *words],
            input=stdin,
            env={**os.environ, **environment},
        )
        assert done.returncode == expected, f"{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr or "--debug" in words
        return done

    return run
