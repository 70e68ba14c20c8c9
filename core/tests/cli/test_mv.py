"""Giving a secret another key, and the long list."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from strongroom.errors import RotationError, UnsupportedOperationError
from strongroom.registry import SecretProviderRegistry
from strongroom.rotation import SecretRotation
from strongroom_file import FileSecretProvider

SPEC = """\
version: 1
pipelines:
  app:
    provider: {type: file, file_path: secrets.enc, key_file: app.key}
    middleware: [{type: caching}]
  team: {provider: {type: file, file_path: team.enc, key_file: app.key}}
  same: {provider: {type: file, file_path: secrets.enc, key_file: app.key}}
default: app
routes:
  - {prefix: team/, pipeline: team, strip_prefix: true}
  - {prefix: same/, pipeline: same, strip_prefix: true}
secrets:
  PASSWORD: {key: database/password, rotate_days: 30}
  ALSO: {key: database/password, required: false}
"""


@pytest.fixture
def cli(in_process):
    """Return a function that runs the command line: exit code, stdout, stderr."""
    run = in_process(SPEC)
    assert run("set", "old/key", "a value")[0] == 0
    return run


def keys(cli):
    return [key for key in cli("list")[1].split() if not key.startswith("same/")]


def test_a_server_without_conditional_writes_is_written_to_all_the_same(cli, monkeypatch):
    """As version 1 of Vault's KV, whose provider has them."""

    def refuse(*_):
        raise UnsupportedOperationError("version 1 has no such thing")

    monkeypatch.setattr(FileSecretProvider, "set_secret_if", refuse)
    assert cli("mv", "old/key", "new/key") == (0, "", "")
    assert (keys(cli), cli("get", "new/key")[1]) == (["new/key"], "a value")


@pytest.mark.parametrize("new", ["new/key", "team/key"])
def test_it_is_under_the_new_key_and_no_longer_under_the_old_one(cli, new):
    report = json.loads(cli("--json", "mv", "old/key", new)[1])
    assert report == {"from": "old/key", "to": new, "pipeline": "team" if new == "team/key" else "app"}
    assert keys(cli) == [new]
    assert cli("get", new)[1] == "a value"
    assert cli("mv", new, "old/key") == (0, "", "")
    assert keys(cli) == ["old/key"]


def test_what_is_there_is_never_replaced(cli):
    for value in ("another", "a value"):
        assert cli("set", "new/key", value)[0] == 0
        code, _, said = cli("mv", "old/key", "new/key")
        assert (code, "is there already" in said) == (8, True)
        assert (cli("get", "old/key")[1], cli("get", "new/key")[1]) == ("a value", value)


def test_one_secret_under_two_names_is_not_lost(cli):
    assert cli("get", "same/old/key")[1] == "a value"
    assert cli("mv", "old/key", "same/old/key")[0] == 8
    assert cli("mv", "same/old/key", "old/key")[0] == 8
    assert cli("get", "old/key")[1] == "a value"


def test_what_is_changed_meanwhile_is_kept(cli, monkeypatch):
    from strongroom.cli.commands import mv

    real = mv._store

    def store(*given):
        real(*given)
        with SecretProviderRegistry("strongroom.yaml") as registry:
            registry.set_secret("old/key", "a newer value")

    monkeypatch.setattr(mv, "_store", store)
    code, _, said = cli("mv", "old/key", "new/key")
    assert (code, "changed meanwhile" in said) == (8, True)
    assert (cli("get", "old/key")[1], cli("get", "new/key")[1]) == ("a newer value", "a value")


class Both:
    """A target system that takes the old value beside the new one until it is taken away."""

    def __init__(self, *, good):
        self.good, self.takes = good, {"a value"}

    def apply(self, _key, _old, new):
        self.takes.add(new)

    def verify(self, _key, _new):
        return self.good

    def retire(self, _key, stale, _current):
        self.takes.discard(stale)


@pytest.mark.parametrize("words", [("mv", "old/key", "new/key"), ("copy", "app", "team", "--delete-source")])
@pytest.mark.parametrize("good", [False, True], ids=["in flight", "in its grace"])
def test_what_a_rotation_is_not_done_with_stays(cli, words, good):
    """The target system may have a value that is nowhere else, or one that is to be taken away there."""
    target = Both(good=good)
    with SecretProviderRegistry("strongroom.yaml") as registry:
        rotation = SecretRotation(registry, rotator=target, grace_seconds=600)
        try:
            rotation.rotate("old/key", "newer")
        except RotationError:
            assert not good
        assert target.takes == {"a value", "newer"}
        code, _, said = cli(*words)
        assert (code, "rotation" in said, keys(cli)[0]) == (8, True, "old/key")
        if words[0] == "mv":  # what has ended cannot be resumed
            assert ("--resume" in said, "--status" in said) == (not good, good)
        rotation.rollback("old/key")
        assert (cli("get", "old/key")[1], target.takes) == ("a value", {"a value"})
    assert cli(*words, *(["--overwrite"] if words[0] == "copy" else []))[0] == 0
    assert "old/key" not in keys(cli)


@pytest.mark.parametrize(
    ("old", "new", "code", "why"),
    [
        ("old/key", "old/key", 2, "the same key"),
        ("old/kex", "new/key", 3, "did you mean 'old/key'?"),
        ("old/key", "a b\n", 2, "invalid key"),
        ("a b\n", "new/key", 2, "invalid key"),
    ],
)
def test_mistakes_are_told_and_change_nothing(cli, old, new, code, why):
    outcome = cli("mv", old, new)
    assert (outcome[0], why in outcome[2]) == (code, True)
    assert keys(cli) == ["old/key"]


def test_declarations_of_the_old_key_are_told(cli):
    assert cli("set", "database/password", "x")[0] == 0
    code, _, said = cli("mv", "database/password", "new/key")
    assert (code, "PASSWORD" in said, "'database/password'" in said) == (0, True, True)


def test_the_long_list(cli):
    assert cli("set", "database/password", "x")[0] == 0
    lines = [re.split(r"  +", line) for line in cli("list", "--long")[1].splitlines()]
    assert lines[0] == ["KEY", "AGE", "VERSION", "DECLARED", "DUE"]
    assert lines[1][:2] == ["database/password", "0m"]
    assert lines[1][3:] == ["PASSWORD, ALSO", "in 29d"]
    assert lines[2][0] == "old/key"
    assert lines[2][3:] == ["-", "-"]
    rows = json.loads(cli("--json", "list", "--long", "database/")[1])["secrets"]
    assert [(row["key"], row["declared"]) for row in rows] == [("database/password", ["PASSWORD", "ALSO"])]
    assert rows[0]["updated_at"] < rows[0]["due_at"]
    assert cli("list", "--long", "--tree")[0] == 2


@pytest.mark.parametrize("days", ["5000000", "1000000000000"])
def test_a_rotation_beyond_the_calendar_is_never_due(cli, days):
    spec = Path("strongroom.yaml")
    spec.write_text(spec.read_text().replace("rotate_days: 30", f"rotate_days: {days}"))
    assert cli("set", "database/password", "x")[0] == 0
    (row,) = json.loads(cli("--json", "list", "--long", "database/")[1])["secrets"]
    assert row["due_at"].startswith("9999-12-31")
    assert cli("list", "--long")[0] == 0
    assert cli("check")[0] == 0


def test_what_a_backend_does_not_tell_is_left_open(cli, monkeypatch):
    monkeypatch.setenv("A_SECRET", "x")
    Path("strongroom.yaml").write_text("version: 1\npipelines: {e: {provider: {type: env, prefix: A_}}}\n")
    code, out, _ = cli("--spec", "strongroom.yaml", "list", "--long")
    assert (code, re.split(r" +", out.splitlines()[1])) == (0, ["secret", "-", "-", "-", "-"])
