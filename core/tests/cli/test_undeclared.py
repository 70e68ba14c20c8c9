"""What was stored and is not declared: the next `run` says, once, what to add to the spec."""

from __future__ import annotations

from pathlib import Path

import pytest
from strongroom.cli.declared.undeclared import lines_to_add
from strongroom.spec.document import read_document


def test_the_next_run_says_once_what_to_add(strongroom):
    strongroom("set", "database/password", "--generate")
    strongroom("set", "api/new", "--generate")
    done = strongroom("run", "--", "true")
    assert done.stderr.endswith(
        "api/new is stored, but the spec does not declare it, so CMD does not get it: "
        "add `API_NEW: {key: api/new}` under `secrets:` in strongroom.yaml\n"
    )
    assert done.stderr.count("\n") == 1
    assert "api/new" not in strongroom("run", "--", "true").stderr
    with Path("strongroom.yaml").open("a") as file:
        file.write("  API_NEW: {key: api/new}\n")
    assert len(strongroom("run", "--", "printenv", "API_NEW").stdout) > 3


def test_what_a_file_brought_is_told_together(strongroom):
    Path(".env").write_text("PASSWORD=correct horse\nB=2\nC=3\nD=4\nE=5\n")
    strongroom("import", ".env")
    said = strongroom("run", "--", "true").stderr
    assert said == (
        "warning: the spec does not declare 4 stored secrets, so CMD does not get them: "
        "add lines such as `B: {key: B}` under `secrets:` in strongroom.yaml\n"
    )
    assert "PASSWORD" not in said


@pytest.mark.parametrize(
    "then",
    [
        ["delete", "NEW"],
        ["mv", "NEW", "database/password"],
        ["set", "NEW", "other", "--declare"],
    ],
    ids=" ".join,
)
def test_what_needs_no_line_any_more_is_not_told(strongroom, then):
    if then[0] != "mv":
        strongroom("set", "database/password", "--generate")
    strongroom("set", "NEW", "a-new-value")
    strongroom(*then)
    assert "is stored" not in strongroom("run", "--", "true").stderr


def test_no_program_is_to_get_what_the_spec_reads_itself(strongroom):
    """A credential of a backend: `run` takes those out of the environment, and does not advise to put them in."""
    spec = Path("strongroom.yaml").read_text()
    reading = "  reading: {provider: {type: env, prefix: '${secret:app:px#a}'}}\n"
    route = "routes: [{prefix: kept/, pipeline: app, strip_prefix: true}]\n"
    Path("strongroom.yaml").write_text(route + spec.replace("pipelines:\n", f"pipelines:\n{reading}"))
    for key in ("px", "kept/px", "telling"):
        strongroom("set", key, '{"a": "SOME_"}')
        strongroom("list")  # the second command has the spec from its record
    said = strongroom("run", "--only", "PORT", "--", "true").stderr
    assert "telling is stored" in said
    assert "px" not in said


def test_quiet_and_a_dry_run_say_nothing(strongroom):
    strongroom("set", "database/password", "--generate")
    Path(".env").write_text("B=2\n")
    strongroom("import", ".env", "--dry-run")
    assert "is stored" not in strongroom("run", "--", "true").stderr
    strongroom("import", ".env")
    assert strongroom("--quiet", "run", "--", "true").stderr == ""


def test_who_asks_for_it_by_name_is_shown_the_line(strongroom):
    strongroom("set", "database/password", "--generate")
    strongroom("set", "NEW", "--generate")
    said = strongroom("run", "--only", "NEW", "--", "true", expected=2).stderr
    assert "it is stored: add `NEW: {key: NEW}` under `secrets:`" in said
    assert "is stored" not in strongroom("run", "--only", "NONE", "--", "true", expected=2).stderr


@pytest.mark.parametrize(
    "key",
    ["a/b", "1st", "on", "a b", "a: b", "日本", "path", "#x", "-", "a{b}", "'", "\U0001f511", "a\u200bb"],
)
def test_the_line_declares_the_key(key):
    line = lines_to_add([key], {"A_B"}).split("`")[1]
    ((name, told),) = read_document(line.encode()).root.data().items()
    assert told == {"key": key}
    assert name.isidentifier()
    assert name not in {"A_B", "PATH"}
