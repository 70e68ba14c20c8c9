"""Composed, deprecated and placeholder secrets on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

SPEC = """\
version: 1
pipelines: {app: {provider: {type: file, file_path: secrets.enc, key_file: app.key}}}
secrets:
  URL: {compose: "postgresql://app:{{ PASSWORD | urlencode }}@db/app", type: url, groups: [web]}
  PASSWORD: {key: database/password, generate: {length: 24}}
  OLD: {required: false, deprecated: use URL}
"""


@pytest.fixture
def spec(strongroom):
    path = Path("strongroom.yaml")
    path.write_text(SPEC)
    strongroom("keygen")
    key = strongroom("keygen").stdout
    Path("app.key").write_text(key)
    Path("app.key").chmod(0o600)
    return strongroom


def test_composed_secrets_in_each_command(spec):
    """Missing with their parts, made with them, handed over, masked whole and in part."""
    rows = json.loads(spec("check", "--json", expected=7).stdout)["secrets"]
    assert rows[0] == {
        "name": "URL",
        "key": None,
        "status": "missing",
        "problem": "it is composed of PASSWORD, which is missing",
    }
    spec("run", "--group", "web", "--", "true", expected=3)
    assert "URL" in spec("check", "--fix").stdout
    spec("set", "database/password", stdin="p/4ssw@rd")
    url = "postgresql://app:p%2F4ssw%40rd@db/app"
    exported = json.loads(spec("export", "--format", "json").stdout)
    assert exported == {"URL": url, "PASSWORD": "p/4ssw@rd"}
    Path("t.j2").write_text('{{ URL }} {{ secret("database/password") | urlencode }}')
    assert spec("render", "t.j2").stdout == f"{url} p%2F4ssw%40rd"
    script = 'echo "$URL"; echo p/4ssw@rd; test "$PASSWORD" = ""'
    done = spec("run", "--group", "web", "--", "sh", "-c", script)
    assert "4ssw" not in done.stdout
    assert done.stdout.count("\n") == 2


def test_a_member_that_is_absent_is_made_and_the_others_stay(spec):
    path = Path("strongroom.yaml")
    path.write_text(
        f"{SPEC}  ADMIN: {{key: accounts, field: admin, generate: {{length: 20}}}}\n"
        "  READER: {key: accounts, field: reader, generate: {length: 24}}\n"
        "  AGAIN: {key: accounts, field: reader, generate: {length: 24}}\n"
        "  ADDED: {key: old, field: added, generate: {length: 12}}\n"
        "  SHORT: {key: short, field: p, min_length: 30, generate: {length: 12}}\n"
    )
    spec("set", "database/password", stdin="sesame99")
    spec("set", "old", stdin='{"user": "u", "ratio": 1.50}')
    rows = {
        row["name"]: row for row in json.loads(spec("check", "--fix", "--json", expected=7).stdout)["secrets"]
    }
    for name in ("ADMIN", "READER", "AGAIN", "ADDED"):
        assert (rows[name]["status"], rows[name]["problem"]) == ("ok", "made and stored")
    assert rows["SHORT"]["problem"].startswith("the generated value breaks a rule")
    spec("get", "short", expected=3)
    accounts = json.loads(spec("get", "accounts").stdout)
    assert {name: len(value) for name, value in accounts.items()} == {"admin": 20, "reader": 24}
    added = spec("get", "old", "--field", "added").stdout
    assert spec("get", "old").stdout == f'{{"user": "u", "ratio": 1.50, "added": "{added}"}}'
    before = spec("get", "accounts").stdout
    spec("check", "--fix", expected=7)
    assert spec("get", "accounts").stdout == before


def test_an_optional_secret_that_is_absent_is_made_too(spec):
    path = Path("strongroom.yaml")
    path.write_text(f"{SPEC}  PEPPER: {{required: false, generate: {{length: 20}}}}\n")
    spec("set", "database/password", stdin="sesame99")
    assert "made and stored" in spec("check", "--fix").stdout
    assert len(spec("get", "PEPPER").stdout) == 20
    assert "made and stored" not in spec("check", "--fix").stdout


def test_a_secret_that_cannot_be_made_keeps_no_other_from_being_made(spec):
    """It is missing, also if it is optional, and the reason is beside it."""
    store = "provider: {type: file, file_path: app.enc, key_file: app.key}"
    Path("strongroom.yaml").write_text(
        f"version: 1\npipelines: {{app: {{{store}}}, ro: {{{store}, middleware: [{{type: read-only}}]}}}}\n"
        "default: app\nroutes: [{prefix: ro/, pipeline: ro}]\nsecrets:\n"
        "  A: {key: ro/a, required: false, generate: {length: 20}}\n  B: {key: b, generate: {length: 20}}\n"
    )
    first, second = json.loads(spec("check", "--fix", "--json", expected=7).stdout)["secrets"]
    assert first["status"] == "missing"
    assert "it cannot be made: cannot set 'ro/a': this pipeline is read-only" in first["problem"]
    assert (second["status"], second["problem"]) == ("ok", "made and stored")
    assert len(spec("get", "b").stdout) == 20


def test_import_leaves_composed_names_out(spec):
    Path(".env").write_text("URL=postgresql://x\nPASSWORD=sesame99\n")
    assert "URL is left out" in spec("import", ".env").stderr
    assert spec("list").stdout == "database/password\n"


def test_deprecated_secrets_are_warned_of_where_they_are_there(spec):
    spec("set", "database/password", stdin="sesame99")
    assert "deprecated" not in spec("check").stderr
    spec("set", "OLD", stdin="value")
    assert "OLD is deprecated: use URL" in spec("check").stderr
    assert "OLD is deprecated: use URL" in spec("run", "--", "true").stderr


def test_placeholders_stop_a_run_and_are_found_by_a_scan(spec):
    spec("set", "database/password", stdin="changeme")
    done = spec("run", "--", "true", expected=2)
    assert "PASSWORD: it is a placeholder" in done.stderr
    assert "changeme" not in done.stderr


def test_a_missing_secret_is_told_with_the_command_that_stores_it(spec):
    path = Path("strongroom.yaml")
    path.write_text(f"{SPEC}  TOKEN: {{key: api/token}}\n")
    no_store = spec("run", "--", "true", expected=3).stderr
    assert no_store.endswith("; `strongroom doctor` says what to do\n")
    spec("set", "OLD", stdin="value")
    for words in (["run", "--", "true"], ["export", "--format", "env"]):
        assert "; `strongroom check --fix` makes PASSWORD\n" in spec(*words, expected=3).stderr
    spec("check", "--fix", expected=7)
    for words in (["run", "--", "true"], ["export", "--format", "env"]):
        assert "; `strongroom set TOKEN` stores TOKEN\n" in spec(*words, expected=3).stderr
    spec("set", "TOKEN", stdin="value")
    spec("run", "--", "true")


@pytest.mark.parametrize(
    ("pipeline", "hint"),
    [
        ("{provider: {type: env, prefix: OF_APP_}}", "`strongroom get TOKEN` says which variable to set"),
        ("{provider: {type: memory}}", "`strongroom check` shows all of them"),
        (
            "{provider: {type: memory}, middleware: [{type: read-only}]}",
            "`strongroom check` shows all of them",
        ),
        ("{provider: {type: directory, path: .}}", "`strongroom check` shows all of them"),
        ("{provider: {type: directory, path: ., writable: true}}", "`strongroom set TOKEN` stores TOKEN"),
    ],
)
def test_no_command_is_named_that_would_not_store_it(spec, pipeline, hint):
    Path("strongroom.yaml").write_text(
        f"version: 1\npipelines: {{app: {pipeline}}}\nsecrets: {{TOKEN: {{key: token}}}}\n"
    )
    assert spec("run", "--", "true", expected=3).stderr.endswith(f"; {hint}\n")


@pytest.mark.parametrize(("pipeline", "named"), [("a", "a"), ("b", "b"), (None, None)])
def test_the_command_is_about_the_pipeline_that_was_asked(spec, pipeline, named):
    """Without `--pipeline`, `set` would store it in another one: the default, or that of a route."""
    Path("strongroom.yaml").write_text(
        "version: 1\ndefault: a\nroutes: [{prefix: b/, pipeline: b}]\npipelines:\n"
        "  a: {provider: {type: directory, path: ., writable: true}}\n"
        "  b: {provider: {type: directory, path: ., writable: true}}\n"
        "secrets: {TOKEN: {key: b/token}}\n"
    )
    options = [] if pipeline is None else ["--pipeline", pipeline]
    option = "" if named is None else f"--pipeline {named} "
    said = spec(*options, "run", "--", "true", expected=3).stderr
    assert said.endswith(f"; `strongroom {option}set TOKEN` stores TOKEN\n")
