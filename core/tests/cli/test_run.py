"""`strongroom run`: what the child gets, what it does not get, and when it does not start."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest
import warm_command
from sampling import sample

SPEC = """
version: 1
pipelines:
  app: {provider: {type: env, prefix: "T_"}}
  other: {provider: {type: vault, url: "https://vault.invalid", token: "${env:VAULT_LOGIN:-none}"}}
default: app
secrets:
"""


@pytest.fixture
def run(tmp_path, monkeypatch, warm_strongroom):
    """Return a function that runs the command line in a folder with a spec that declares what it is given."""
    monkeypatch.chdir(tmp_path)

    def call(declared, *words, values=None, environment=None, options=()):
        Path("strongroom.yaml").write_text(SPEC + "".join(f"  {line}\n" for line in declared))
        variables = {**os.environ, **{f"T_{name}": value for name, value in (values or {}).items()}}
        return warm_command.run(
            [warm_strongroom, *options, "run", *words],
            env={**variables, **(environment or {})},
        )

    return call


PASSWORD = ["PASSWORD: {key: password}"]
VALUE = {"PASSWORD": "hunter22-geheim"}


def test_the_child_gets_the_declared_secrets_and_we_keep_ours(run):
    seen = run(
        PASSWORD,
        "--",
        "sh",
        "-c",
        'test "$PASSWORD" = hunter22-geheim && test -z "$VAULT_LOGIN$STRONGROOM_ENCRYPTION_KEY" && echo "$OTHER"',
        values=VALUE,
        environment={"VAULT_LOGIN": "s.login", "STRONGROOM_ENCRYPTION_KEY": "k", "OTHER": "kept"},
    )
    assert (seen.returncode, seen.stdout, seen.stderr) == (0, "kept\n", "")


def test_a_credential_that_is_asked_for_is_kept(run):
    seen = run(
        PASSWORD,
        "--keep-env",
        "VAULT_LOGIN",
        "--",
        "sh",
        "-c",
        'echo "$VAULT_LOGIN"',
        values=VALUE,
        environment={"VAULT_LOGIN": "s.login"},
    )
    assert seen.stdout == "s.login\n"


@pytest.mark.parametrize("options", [["--no-mask"], ["--replace"]])
def test_without_masking_the_output_is_the_childs_own(run, options):
    seen = run(PASSWORD, *options, "--", "sh", "-c", 'echo "$PASSWORD"; exit 4', values=VALUE)
    assert (seen.returncode, seen.stdout) == (4, "hunter22-geheim\n")


def test_values_are_masked_on_both_streams(run):
    seen = run(PASSWORD, "--", "sh", "-c", 'echo "$PASSWORD"; echo "<$PASSWORD>" >&2', values=VALUE)
    assert (seen.stdout, seen.stderr) == ("********\n", "<********>\n")


def test_the_members_of_a_json_secret_are_masked_too(run):
    value = json.dumps({"user": "karl-otto", "pass": ["correct-horse"]})
    seen = run(["DB: {key: db, type: json}"], "--", "echo", "karl-otto:correct-horse", values={"DB": value})
    assert seen.stdout == "********:********\n"


def test_nothing_starts_while_a_required_secret_is_missing(run, tmp_path):
    seen = run([*PASSWORD, "TOKEN: {key: token}", "KEY: {key: key}"], "--", "touch", "started", values=VALUE)
    assert seen.returncode == 3
    assert "TOKEN" in seen.stderr
    assert "KEY" in seen.stderr
    assert not (tmp_path / "started").exists()


def test_an_absent_optional_secret_is_left_out(run):
    seen = run(["TOKEN: {key: token, required: false}"], "--", "sh", "-c", "echo ${TOKEN-unset}")
    assert seen.stdout == "unset\n"


@pytest.mark.parametrize(
    "name",
    sample(
        ["PATH", "BASH_ENV", "LD_PRELOAD", "DYLD_INSERT_LIBRARIES", "PYTHONPATH", "NODE_OPTIONS", "GIT_SSH"],
        one_in=2,
    ),
)
def test_names_that_decide_what_runs_are_refused(run, name, tmp_path):
    seen = run([f"{name}: {{key: password}}"], "--", "touch", "started", values=VALUE)
    assert (seen.returncode, name in seen.stderr) == (2, True)
    assert not (tmp_path / "started").exists()


def test_only_the_asked_ones_are_read_and_given(run):
    declared = ["A: {key: a, groups: [web]}", "B: {key: b, groups: [web, worker]}", "C: {key: c}"]
    shown = ["--", "sh", "-c", "echo ${A+A}${B+B}${C+C}"]
    assert run(declared, "--group", "web", *shown, values={"A": "aaaa", "B": "bbbb"}).stdout == "AB\n"
    assert run(declared, "--only", "C,B", *shown, values={"C": "cccc", "B": "bbbb"}).stdout == "BC\n"
    assert run(declared, "--group", "worker", "--only", "A", *shown).returncode == 2


def test_a_name_that_is_not_declared_is_refused(run):
    seen = run(PASSWORD, "--only", "PASWORD", "--", "true", values=VALUE)
    assert (seen.returncode, "did you mean PASSWORD" in seen.stderr) == (2, True)


def test_a_default_of_the_spec_is_not_masked(run):
    """It stands in a file that everybody reads, also where a composed secret is made of it."""
    declared = [
        "LEVEL: {key: level, default: debug-level}",
        'LINE: {compose: "{{ LEVEL }} {{ PASSWORD }}"}',
        *PASSWORD,
    ]
    seen = run(declared, "--", "sh", "-c", 'echo "$LEVEL at <$PASSWORD>"', values=VALUE)
    assert (seen.stdout, seen.stderr) == ("debug-level at <********>\n", "")


def test_what_is_not_masked_is_told(run):
    declared = [
        "PORT: {key: port, type: port}",
        "COUNT: {key: count, type: integer}",
        "FLAG: {key: flag, type: boolean}",
        "PIN: {key: pin}",
        "OPEN: {key: open, mask: false}",
        *PASSWORD,
    ]
    values = {"PORT": "54321", "COUNT": "123456", "FLAG": "true", "PIN": "123", "OPEN": "open-value"}
    seen = run(
        declared, "--", "sh", "-c", "echo $PORT $COUNT $FLAG $PIN $OPEN $PASSWORD", values=VALUE | values
    )
    assert seen.stdout == "54321 123456 true 123 open-value ********\n"
    assert seen.stderr == (
        "warning: not masked: PORT (of type port), COUNT (of type integer), FLAG (of type boolean), "
        "PIN (fewer than 4 characters)\n"
    )


def test_settings_and_empty_values_are_not_masked_without_a_word(run):
    declared = ["LEVEL: {key: level, mask: false}", "EMPTY: {key: empty}", *PASSWORD]
    seen = run(
        declared, "--", "sh", "-c", 'echo "$LEVEL$EMPTY"', values=VALUE | {"LEVEL": "info", "EMPTY": ""}
    )
    assert (seen.stdout, seen.stderr) == ("info\n", "")


def test_one_line_warns_of_all_and_quiet_leaves_it_out(run):
    declared = ["PIN: {key: pin}", "OLD: {key: old, deprecated: use NEW}", *PASSWORD]
    values = VALUE | {"PIN": "123", "OLD": "an-old-value"}
    seen = run(declared, "--", "true", values=values)
    assert seen.stderr == ("warning: OLD is deprecated: use NEW; not masked: PIN (fewer than 4 characters)\n")
    assert run(declared, "--quiet", "--", "true", values=values).stderr == ""
    assert run(declared, "--no-mask", "--quiet", "--", "true", values=values).stderr == ""


def test_a_file_is_private_holds_the_value_and_is_gone_at_the_end(run):
    script = 'echo "$CERT"; stat -c %a "$CERT"; test "$(cat "$CERT")" = hunter22-geheim && cat "$CERT"'
    seen = run(["CERT: {key: password, as_file: true}"], "--", "sh", "-c", script, values=VALUE)
    path, rights, content = seen.stdout.splitlines()
    assert (rights, content) == (f"{stat.S_IRUSR | stat.S_IWUSR:o}", "********")
    assert path.endswith("/CERT")
    assert not Path(path).parent.exists()


def test_a_file_and_replace_do_not_go_together(run):
    seen = run(["CERT: {key: password, as_file: true}"], "--replace", "--", "true", values=VALUE)
    assert (seen.returncode, "CERT" in seen.stderr) == (2, True)


@pytest.mark.parametrize("options", [[], ["--replace"], ["--no-mask"]])
def test_a_command_that_is_not_there_is_told_as_a_shell_does(run, options):
    seen = run(PASSWORD, *options, "--", "no-such-command", values=VALUE)
    assert (seen.returncode, seen.stderr) == (127, "error: no-such-command: command not found\n")


def test_the_childs_own_options_are_its_own(run):
    seen = run(PASSWORD, "--", "echo", "--json", "--", "-x", values=VALUE)
    assert seen.stdout == "--json -- -x\n"


def test_errors_are_json_where_that_is_asked_for(run):
    seen = run(PASSWORD, "--", "true", options=["--json"])
    assert (seen.returncode, json.loads(seen.stderr)["error"]["type"]) == (3, "SecretNotFoundError")


def test_without_a_command_there_is_nothing_to_run(run):
    assert run(PASSWORD, values=VALUE).returncode == 2


def test_an_unknown_option_is_not_taken_for_the_command(run):
    seen = run(PASSWORD, "--no-masks", "--", "true", values=VALUE)
    assert (seen.returncode, "--no-mask" in seen.stderr) == (2, True)


def test_undeclared_secrets_of_an_environment_provider_are_none_of_the_childs_business(
    tmp_path, warm_strongroom
):
    spec = tmp_path / "strongroom.yaml"
    spec.write_text(
        "version: 1\npipelines: {a: {provider: {type: env, prefix: OWN_}}}\nsecrets: {GIVEN: {key: given}}\n"
    )
    spec.chmod(0o644)
    words = [warm_strongroom, "--spec", str(spec), "run", "--no-mask"]
    environment = {"PATH": os.environ["PATH"], "OWN_GIVEN": "one", "OWN_OTHER": "two", "PLAIN": "three"}

    def names(*options):
        done = warm_command.run([*words, *options, "--", "env"], check=True, env=environment)
        return {line.partition("=")[0] for line in done.stdout.splitlines()}

    assert {"GIVEN", "PLAIN"} <= names()
    assert not {"OWN_GIVEN", "OWN_OTHER"} & names()
    assert "OWN_OTHER" in names("--keep-env", "OWN_OTHER")


def test_nor_are_those_of_a_pipeline_that_was_not_chosen(tmp_path, warm_strongroom):
    """Neither at the first call, nor at the second, which remembers the spec."""
    spec = tmp_path / "strongroom.yaml"
    spec.write_text(
        "version: 1\npipelines:\n  a: {provider: {type: env, prefix: OWN_}}\n"
        "  m: {provider: {type: memory, secrets: {given: one}}}\nsecrets: {GIVEN: {key: given}}\ndefault: a\n"
    )
    spec.chmod(0o644)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "OWN_OTHER": "two"}
    words = [warm_strongroom, "--spec", str(spec), "--pipeline", "m", "run", "--no-mask", "--", "env"]
    for _ in range(2):
        lines = warm_command.run(words, check=True, env=environment).stdout.splitlines()
        assert "GIVEN=one" in lines
        assert "OWN_OTHER=two" not in lines


def test_a_spec_that_is_remembered_hands_over_the_same(tmp_path, warm_strongroom):
    """The first call takes the whole way; the second is to differ in nothing."""
    spec = tmp_path / "strongroom.yaml"
    spec.write_text(
        "version: 1\npipelines: {a: {provider: {type: file, file_path: s.enc, key_file: a.key}}}\nsecrets:\n"
        "  PLAIN: {key: one, min_length: 3, pattern: '[a-z-]+', groups: [web], deprecated: say TWO}\n"
        "  EMPTY: {key: none, default: ''}\n"
        "  ABSENT: {key: none, required: false}\n"
        "  MEMBER: {key: json, field: a.b, type: integer}\n"
        "  AS_FILE: {key: one, as_file: true, groups: [web, worker]}\n"
        "  MADE: {compose: '{{ PLAIN }}:{{ MEMBER }}'}\n"
        "  OPEN: {key: one, mask: false}\n"
    )
    spec.chmod(0o644)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}

    def strongroom(*words, value=""):
        return warm_command.run(
            [warm_strongroom, *words],
            input=value,
            env=environment,
            cwd=tmp_path,
        )

    strongroom("set", "one", value="value-one")
    strongroom("set", "json", value='{"a": {"b": 5}}')
    show = "import os; print(sorted((k, v if k != 'AS_FILE' else open(v).read()) for k, v in os.environ.items()))"
    for options in ([], ["--group", "web"], ["--only", "PLAIN,EMPTY"], ["--no-mask"], ["--group", "none"]):
        words = ["run", *options, "--", sys.executable, "-IS", "-c", show]
        first, second = strongroom(*words), strongroom(*words)
        assert (first.returncode, first.stdout, first.stderr) == (
            second.returncode,
            second.stdout,
            second.stderr,
        )
        assert first.returncode == (2 if "none" in options else 0)
    assert list((tmp_path / ".cache" / "strongroom" / "specs").iterdir())
    strongroom("delete", "one")
    assert "PLAIN: missing" in strongroom("run", "--", "true").stderr
