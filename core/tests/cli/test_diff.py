"""`strongroom diff`: two pipelines, or two profiles, compared without their values."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

SPEC = """\
version: 1
pipelines:
  app: {provider: {type: file, file_path: app.enc, key_file: app.key}}
  other: {provider: {type: file, file_path: other.enc, key_file: app.key}}
default: app
secrets:
  PASSWORD: {key: database/password}
  PORT: {key: database/port, type: port, default: "5432"}
  ONLY: {key: only, required: false}
profiles:
  staging: {default: other}
  production: {}
"""


@pytest.fixture
def cli(in_process):
    run = in_process(SPEC)
    for pipeline, key, value in (
        ("app", "database/password", "one value"),
        ("other", "database/password", "another value"),
        ("app", "same", "the same"),
        ("other", "same", "the same"),
        ("app", "only", "left alone"),
        ("other", "new", "right alone"),
    ):
        assert run("--pipeline", pipeline, "set", key, value)[0] == 0
    return run


def test_what_differs_between_two_pipelines_is_shown_without_values(cli):
    code, out, err = cli("diff", "app", "other")
    assert code == 7
    assert out.split() == [
        *("KEY", "WHAT", "database/password", "differs"),
        *("new", "only", "in", "other", "only", "only", "in", "app"),
    ]
    assert "value" not in out + err
    assert cli("diff", "app", "other", "--json", "--prefix", "s")[:2] == (
        0,
        '{"left": "app", "right": "other", "profiles": false, "secrets": {"same": "same"}}\n',
    )
    assert "same" in cli("diff", "app", "other", "--all")[1]
    assert cli("diff", "app", "app")[:2] == (0, "3 secrets, and all are the same\n")
    assert cli("diff", "app", "app", "--prefix", "s")[1] == "1 secret, and it is the same\n"
    assert cli("diff", "app", "app", "--prefix", "none")[1] == "neither has a secret\n"


def test_what_differs_between_two_profiles_is_shown(cli):
    code, out, _ = cli("diff", "production", "staging", "--json")
    assert (code, json.loads(out)) == (
        7,
        {
            "left": "production",
            "right": "staging",
            "profiles": True,
            "secrets": {"ONLY": "only in production", "PASSWORD": "differs", "PORT": "same"},
        },
    )
    assert cli("diff", "production", "production")[0] == 0


def test_a_profile_and_the_spec_without_one(cli, monkeypatch):
    code, out, _ = cli("diff", "-", "staging")
    assert (code, out.split()[2:]) == (7, ["ONLY", "only", "without", "a", "profile", "PASSWORD", "differs"])
    assert cli("diff", "production", "-")[:2] == (0, "3 secrets, and all are the same\n")
    monkeypatch.setenv("STRONGROOM_PROFILE", "staging")
    code, _, err = cli("diff", "-", "production")
    assert code == 2
    assert "STRONGROOM_PROFILE names one; unset it" in err


def test_it_is_told_why_something_cannot_be_compared(cli):
    with Path("strongroom.yaml").open("a") as file:
        file.write("  away: {pipelines: {app: {provider: {type: directory, path: not-mounted}}}}\n")
    code, out, err = cli("diff", "production", "away")
    assert code == 7
    assert "invalid in away" in out
    assert err.startswith("warning: not everything can be compared in away: ")
    assert "there is no folder" in err
    assert err.count("\n") == 1


def test_what_cannot_be_told_is_a_difference(cli):
    cli("--pipeline", "other", "set", "database/port", "no port")
    code, out, _ = cli("diff", "production", "staging", "--json", "--prefix", "PORT")
    assert (code, json.loads(out)["secrets"]) == (7, {"PORT": "invalid in staging"})


def test_profiles_of_a_spec_without_declared_secrets_are_compared_by_keys(cli):
    Path("strongroom.yaml").write_text(
        SPEC.partition("secrets:")[0] + "profiles:\n  staging: {default: other}\n  production: {}\n"
    )
    code, out, _ = cli("diff", "production", "staging", "--json")
    assert (code, json.loads(out)["secrets"]["new"]) == (7, "only in staging")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["app", "staging"], 2, "'app' is a pipeline, and 'staging' is not"),
        (["app", ""], 2, "'app' is a pipeline, and '' is not"),
        (["production", "stagin"], 2, "did you mean 'staging'"),
        (["app", "other", "--profiles"], 2, "no profile 'app'"),
    ],
)
def test_names_that_do_not_fit(cli, words, code, message):
    found, out, err = cli("diff", *words)
    assert (found, out) == (code, "")
    assert message in err


LEASED = """\
version: 1
default: app
pipelines:
  app: {provider: {type: memory}}
  db: {provider: {type: vault.leases, url: "http://127.0.0.1:1", token: hvs.none}}
routes: [{prefix: db/, pipeline: db}]
secrets:
  LOGIN: {key: db/app, field: username}
  URL: {compose: "postgresql://{{ LOGIN }}@db"}
profiles:
  one: {}
  two: {}
  three: {pipelines: {db: {provider: {type: memory}}}}
"""


def test_leases_are_not_issued_to_be_compared(in_process):
    """Nobody would use them, and no two have the same values; nothing listens here."""
    run = in_process(LEASED)
    assert run("diff", "one", "two")[:2] == (0, "2 secrets, and all are the same\n")
    code, out, _ = run("diff", "one", "three", "--json")
    assert (code, json.loads(out)["secrets"]["LOGIN"]) == (7, "a lease in one")
