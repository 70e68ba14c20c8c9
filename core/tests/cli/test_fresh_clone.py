"""A fresh clone: the spec is there, store and key are not, for git leaves them out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from strongroom import SecretProviderRegistry
from strongroom.cli.app import run_app
from strongroom.errors import ValidationError

SPEC = """\
version: 1
pipelines:
  app:
    provider: {type: file, file_path: secrets.enc, key_file: app.key}
    middleware: [{type: caching}]
secrets:
  PASSWORD: {key: db/password}
  PORT: {key: db/port, default: "5432"}
"""


@pytest.fixture
def clone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("strongroom.yaml").write_text(SPEC)

    def run(*words, expected=0):
        capsys.readouterr()
        code = run_app(words)
        done = capsys.readouterr()
        assert code == expected, done
        return done

    return run


WHY = "there is no store {0}/secrets.enc, and no key file {0}/app.key"


def test_what_is_missing_is_the_store(clone, tmp_path):
    """`get`, `check` and `run` say so, and not only that a secret is missing; a default still counts."""
    why = WHY.format(tmp_path)
    assert why in clone("get", "db/password", expected=3).err
    output = clone("check", "--json", expected=7).out
    (password, port) = json.loads(output)["secrets"]
    assert why in password["problem"]
    assert port["status"] == "ok"
    assert why in clone("run", "--", "true", expected=3).err
    with (
        SecretProviderRegistry("strongroom.yaml") as registry,
        pytest.raises(ValidationError, match="there is no store"),
    ):
        registry.resolve()
    assert not Path("secrets.enc").exists()


def test_doctor_and_list_say_it_too(clone, tmp_path):
    """Nothing is called verified that is not there."""
    why = WHY.format(tmp_path)
    assert clone("list").err == f"warning: {why}\n"
    done = clone("doctor", "--json").out
    (row,) = [one for one in json.loads(done)["findings"] if one["subject"] == "store of app"]
    assert row["ok"] is None
    assert row["message"] == why
    assert "verified" not in done
    clone("set", "A", "value", "--quiet")
    assert clone("list", "B").err == ""
    assert "integrity verified" in clone("doctor").out


def test_a_store_that_a_write_makes_is_told(clone, tmp_path, monkeypatch):
    """Once: the next write finds it."""
    import io
    import sys

    for expected in (True, False):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"value")))
        assert (WHY.format(tmp_path) in clone("set", "db/password").err) is expected
    clone("check")
