"""Declared names in the place of keys, several keys at once, and what was most likely meant."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path

import pytest
from strongroom.errors import BackendUnavailableError, ConflictError
from strongroom.spec import load_plan, trust

SPEC = """\
version: 1
pipelines:
  app: {provider: {type: file, file_path: secrets.enc, key_file: app.key}}
  locked:
    provider: {type: file, file_path: locked.enc, key_file: app.key}
    middleware: [{type: validation, key_pattern: "[a-z/]+"}]
default: app
routes: [{prefix: locked/, pipeline: locked}]
secrets:
  PASSWORD: {key: database/password, generate: {length: 24, alphabet: abcdef}}
  USER: {key: database/login, field: user, required: false}
  LOGIN: {key: database/login, field: deep.er, required: false}
  URL: {compose: "postgres://{{ USER }}:{{ PASSWORD }}@db"}
  SAME: {}
"""


@pytest.fixture
def cli(in_process):
    """Return a function that runs the command line: exit code, stdout, stderr."""
    return in_process(SPEC)


@pytest.fixture
def filled(cli):
    assert cli("set", "database/password", "a password")[0] == 0
    assert cli("set", "database/login", '{"user": "ann", "deep": {"er": "x"}}')[0] == 0
    return cli


@pytest.mark.parametrize("ways", [1, 2])
def test_a_name_leads_to_its_key(filled, ways):
    for _ in range(ways):  # the second time it is remembered
        assert filled("get", "PASSWORD")[:2] == (0, "a password")
        assert filled("get", "USER")[:2] == (0, "ann")
        assert filled("get", "LOGIN")[:2] == (0, "x")
        assert filled("get", "URL")[:2] == (0, "postgres://ann:a password@db")
        assert json.loads(filled("--json", "get", "PASSWORD")[1]) == {
            "key": "database/password",
            "value": "a password",
            "pipeline": "app",
        }


def test_a_key_of_that_name_comes_first(filled):
    assert filled("set", "--key", "PASSWORD", "another")[0] == 0
    assert filled("get", "PASSWORD")[:2] == (0, "another")
    assert filled("get", "database/password")[:2] == (0, "a password")
    assert filled("set", "PASSWORD", "a third")[0] == 0  # it is there, so that it is meant
    assert filled("get", "--key", "PASSWORD")[:2] == (0, "a third")
    assert filled("get", "database/password")[:2] == (0, "a password")


def test_as_a_key_alone_it_leads_nowhere(filled):
    for command in ("get", "history", "rotate"):
        code, _, said = filled(command, "--key", "PASSWORD")
        assert (code, "PASSWORD" in said) == (3, True), command
    assert "composed" not in filled("explain", "--key", "URL")[1]


def test_set_stores_under_the_key_of_the_declaration(cli):
    assert cli("set", "PASSWORD", "a password")[0] == 0
    assert cli("list")[1] == "database/password\n"
    assert json.loads(cli("--json", "set", "PASSWORD", "--generate")[1]) == {
        "key": "database/password",
        "pipeline": "app",
        "generated": True,
    }
    value = cli("get", "database/password")[1]
    assert (len(value), set(value) <= set("abcdef")) == (24, True)


def test_set_of_a_field_replaces_it_and_keeps_the_others(filled):
    assert filled("set", "USER", "bob")[0] == 0
    assert filled("set", "LOGIN", "y")[0] == 0
    assert json.loads(filled("get", "database/login")[1]) == {"user": "bob", "deep": {"er": "y"}}


def test_set_of_a_field_that_is_not_there_adds_it(cli):
    assert cli("set", "USER", "bob")[0] == 0
    assert cli("set", "LOGIN", "y")[0] == 0
    assert json.loads(cli("get", "database/login")[1]) == {"user": "bob", "deep.er": "y"}
    assert cli("get", "LOGIN")[:2] == (0, "y")
    assert cli("set", "database/login", "no JSON")[0] == 0
    assert cli("set", "USER", "bob")[0] == 2
    assert cli("get", "database/login")[1] == "no JSON"


@pytest.mark.parametrize("words", [("set", "URL", "x"), ("history", "URL"), ("rotate", "URL")])
def test_a_composed_secret_has_nothing_of_its_own(filled, words):
    code, _, said = filled(*words)
    assert (code, "URL is composed of PASSWORD, USER" in said) == (2, True)
    assert "x" not in filled("list")[1].split()


def test_a_composed_secret_whose_parts_are_missing_is_missing(cli):
    code, out, said = cli("get", "URL")
    assert (code, out, "URL" in said) == (3, "", True)


def test_history_rotate_and_explain_take_names(filled):
    assert json.loads(filled("--json", "history", "PASSWORD")[1])["key"] == "database/password"
    assert json.loads(filled("--json", "rotate", "PASSWORD")[1])["key"] == "database/password"
    (status,) = json.loads(filled("--json", "rotate", "--status", "PASSWORD")[1])["secrets"]
    assert status["key"] == "database/password"
    assert len(json.loads(filled("--json", "history", "PASSWORD")[1])["versions"]) == 2
    output = filled("explain", "USER")[1]
    assert output.startswith("name        USER\nkey         database/login\n")
    assert output.endswith("field       user\n")
    assert filled("explain", "URL")[1] == "name        URL\ncomposed of PASSWORD, USER\n"
    assert json.loads(filled("--json", "explain", "PASSWORD")[1])["key"] == "database/password"
    assert filled("get", "--version", "1", "--key", "PASSWORD")[0] == 3


def test_an_older_version_by_name(filled):
    first = json.loads(filled("--json", "history", "PASSWORD")[1])["versions"][0]["version"]
    assert filled("set", "PASSWORD", "a newer one")[0] == 0
    assert filled("get", "PASSWORD", "--version", first)[:2] == (0, "a password")
    first = json.loads(filled("--json", "history", "USER")[1])["versions"][0]["version"]
    assert filled("set", "USER", "bob")[0] == 0
    assert filled("get", "USER", "--version", first)[:2] == (0, "ann")


def test_a_version_that_is_not_there_leads_to_those_that_are(filled):
    code, _, err = filled("get", "database/password", "--version", "99")
    assert (code, "`strongroom history`" in err, "did you mean" in err) == (3, True, False)


def test_what_may_not_be_read_leads_on_too(filled, monkeypatch):
    from strongroom.errors import PermissionDeniedError, SecretNotFoundError
    from strongroom.registry import SecretProviderRegistry

    real = SecretProviderRegistry.get_secret
    error = [PermissionDeniedError("no")]

    def get_secret(self, key):
        if key == "PASSWORD":
            raise error[0]
        return real(self, key)

    monkeypatch.setattr(SecretProviderRegistry, "get_secret", get_secret)
    monkeypatch.setenv("STRONGROOM_PLUGINS", "strongroom-file")  # the whole way
    assert filled("get", "PASSWORD")[:2] == (0, "a password")
    for reason in ("deleted", "destroyed", "disabled"):
        error[0] = SecretNotFoundError("PASSWORD", reason=reason)
        assert filled("get", "PASSWORD")[:2] == (3, "")
        assert filled("set", "PASSWORD", "x")[0] == 3


def test_several_keys_are_lines_that_a_shell_reads(filled):
    assert filled("set", "odd/key", "it's $HOME\n`x`")[0] == 0
    code, out, _ = filled("get", "PASSWORD", "odd/key", "URL", "database/password")
    assert code == 0
    script = f'{out}\nprintf "%s|%s|%s|%s" "$PASSWORD" "$ODD_KEY" "$URL" "$DATABASE_PASSWORD"'
    read = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert read.stdout == "a password|it's $HOME\n`x`|postgres://ann:a password@db|a password"


def test_several_keys_as_json(filled):
    values = json.loads(filled("--json", "get", "USER", "database/password")[1])
    assert values == {
        "secrets": [
            {"key": "database/login", "value": "ann", "pipeline": "app"},
            {"key": "database/password", "value": "a password", "pipeline": "app"},
        ]
    }


def test_of_several_keys_one_missing_prints_nothing(filled):
    code, out, said = filled("get", "PASSWORD", "no/such", "USER")
    assert (code, out, "'no/such'" in said) == (3, "", True)
    code, out, said = filled("get", "PASSWORD", "no/such", "neither")
    assert (code, out) == (3, "")
    assert "2 secrets not found: 'no/such', 'neither'" in said


def test_several_keys_that_a_shell_must_not_read_are_refused(filled):
    assert filled("set", "ld/preload", "x")[0] == 0
    code, out, said = filled("get", "PASSWORD", "ld/preload")
    assert (code, out, "LD_PRELOAD" in said) == (2, "", True)
    assert filled("get", "a/b", "a_b")[0] == 3
    assert filled("get", "PASSWORD", "USER", "--field", "x")[0] == 2


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("gte", "a"), "'get'"),
        (("lst",), "'list'"),
        (("get", "--jsn", "a"), "'--json'"),
        (("get", "PASWORD"), "'PASSWORD'"),
        (("get", "database/pasword"), "'database/password'"),
        (("get", "stored/onl"), "'stored/only'"),
        (("history", "stored/onl"), "'stored/only'"),
        (("rotate", "PASWORD"), "'PASSWORD'"),
        (("delete", "stored/onl"), "'stored/only'"),
    ],
)
def test_what_was_most_likely_meant_is_asked(filled, words, meant):
    assert filled("set", "stored/only", "x")[0] == 0
    code, out, said = filled(*words)
    assert (code, out) == (
        3 if words[0] in {"get", "history", "rotate", "delete"} and "--jsn" not in words else 2,
        "",
    )
    assert f"id you mean {meant}?" in said


def test_set_declares_what_it_stores(filled):
    Path("strongroom.yaml").write_text(SPEC + "# the end\n")
    assert filled("set", "NEW", "a value", "--declare")[0] == 0
    assert Path("strongroom.yaml").read_text() == (SPEC + "  NEW: {key: NEW}\n# the end\n"), (
        "the rest is as it was"
    )
    assert Path("strongroom.yaml").stat().st_mode & 0o777 == 0o644
    assert filled("run", "--only", "NEW", "--no-mask", "--", "sh", "-c", "echo $NEW")[1] == "a value\n"
    assert json.loads(filled("--json", "set", "OTHER", "--generate", "--declare")[1])["declared"]
    # What is declared already is stored where it says.
    assert json.loads(filled("--json", "set", "PASSWORD", "another", "--declare")[1]) == {
        "key": "database/password",
        "pipeline": "app",
        "generated": False,
        "declared": False,
    }
    data = Path("strongroom.yaml").read_bytes()
    assert trust.is_trusted(str(Path("strongroom.yaml").resolve()), data, Path("strongroom.yaml").stat())


def test_a_declaration_leaves_the_spec_to_its_group(filled):
    spec = Path("strongroom.yaml")
    groups = [os.getegid() + 1] if os.geteuid() == 0 else os.getgroups()
    group = next((one for one in groups if one != os.getegid()), None)
    if group is None:
        pytest.skip("this user is in one group alone")
    os.chown(spec, -1, group)
    spec.chmod(0o640)
    assert filled("set", "NEW", "a value", "--declare")[0] == 0
    assert (spec.stat().st_gid, spec.stat().st_mode & 0o777) == (group, 0o640)


def test_what_cannot_be_declared_is_neither_stored_nor_declared(filled, monkeypatch):
    before = Path("strongroom.yaml").read_bytes()
    for key, why in [("a/b", "is not the name of a variable"), ("LD_PRELOAD", "LD_PRELOAD")]:
        code, _, said = filled("set", key, "x", "--declare")
        assert (code, why in said) == (2, True)
        assert filled("get", key)[0] == 3
    assert Path("strongroom.yaml").read_bytes() == before
    Path("elsewhere").mkdir()
    Path("elsewhere/.git").mkdir()
    monkeypatch.chdir("elsewhere")
    code, _, said = filled("set", "NEW", "x", "--declare")
    assert (code, "there is no spec" in said) == (2, True)
    assert filled("get", "NEW")[0] == 3


def test_a_spec_that_changes_meanwhile_is_left_alone(filled, monkeypatch):
    from strongroom.registry import SecretProviderRegistry

    real = SecretProviderRegistry.explain

    def explain(self, key):
        Path("strongroom.yaml").write_text(SPEC + "# changed\n")
        return real(self, key)

    monkeypatch.setattr(SecretProviderRegistry, "explain", explain)
    assert filled("set", "NEW", "x", "--declare")[0] == 8
    assert Path("strongroom.yaml").read_text() == SPEC + "# changed\n"
    assert filled("get", "NEW")[0] == 3


@pytest.mark.parametrize(("place", "is_stored"), [("absent_store", False), ("set_secret", True)])
def test_a_spec_that_changes_while_a_value_is_typed_or_stored_is_left_alone(
    filled, monkeypatch, place, is_stored
):
    """As by another `set --declare`; neither change is lost unseen, and nothing is trusted unread."""
    from strongroom.registry import SecretProviderRegistry

    real = getattr(SecretProviderRegistry, place)

    def changing(*args):
        Path("strongroom.yaml").write_text(SPEC + "# changed\n")
        return real(*args)

    with monkeypatch.context() as patched:
        patched.setattr(SecretProviderRegistry, place, changing)
        code, _, said = filled("set", "NEW", "a value", "--declare")
    assert (code, "nothing was stored" in said, "is stored, and not declared" in said) == (
        8, not is_stored, is_stored,
    )  # fmt: skip
    assert Path("strongroom.yaml").read_text() == SPEC + "# changed\n"
    assert filled("get", "NEW")[0] == (0 if is_stored else 3)


def test_of_two_calls_that_declare_at_once_neither_is_lost_unseen(filled, monkeypatch):
    """Both have seen that the spec is unchanged before one of them writes it."""
    from strongroom.cli.commands import set as command

    plan, write = load_plan(Path("strongroom.yaml").absolute()), command.write_atomically
    refused = []

    def declare_other():
        try:
            command._write_spec(plan, SPEC.encode() + b"  OTHER: {}\n", "OTHER")
        except ConflictError as error:
            refused.append(error.message)

    other = threading.Thread(target=declare_other)

    def write_while_another_does(*given, **more):
        if other.ident is None:
            other.start()
            other.join(0.1)  # it ends by then only if nothing keeps it
        write(*given, **more)

    monkeypatch.setattr(command, "write_atomically", write_while_another_does)
    assert filled("set", "NEW", "a value", "--declare")[0] == 0
    other.join()
    assert "NEW: {key: NEW}" in Path("strongroom.yaml").read_text()
    assert [one.partition(":")[0] for one in refused] == ["'OTHER' is stored, and not declared"]


@pytest.mark.parametrize("kind", [PermissionError, BackendUnavailableError])
def test_a_folder_that_cannot_be_locked(filled, monkeypatch, kind):
    """One that this user may only write has no lock; where another program keeps it, the error says enough."""
    from strongroom.cli.commands import set as command

    def refused(*_args, **_options):
        raise kind("no lock")

    monkeypatch.setattr(command, "folder_locked", refused)
    code, _, said = filled("set", "NEW", "a value", "--declare")
    declared = kind is PermissionError
    assert code == (0 if declared else 8)
    assert declared == ("NEW: {key: NEW}" in Path("strongroom.yaml").read_text())
    assert declared or "is stored, and not declared" in said
    assert filled("get", "NEW")[0] == 0


def test_a_link_to_a_spec_stays_one(filled):
    Path("strongroom.yaml").rename("real.yaml")
    Path("strongroom.yaml").symlink_to("real.yaml")
    assert filled("set", "NEW", "a value", "--declare")[0] == 0
    assert Path("strongroom.yaml").is_symlink()
    assert "  NEW: {key: NEW}\n" in Path("real.yaml").read_text()


def test_an_empty_value_takes_the_place_of_none_by_accident(filled):
    code, _, said = filled("set", "PASSWORD", "")
    assert (code, "--allow-empty" in said) == (2, True)
    assert filled("get", "PASSWORD")[1] == "a password"
    assert filled("set", "new/key", "")[0] == 0
    assert filled("set", "new/key", "")[0] == 0
    assert filled("set", "PASSWORD", "", "--allow-empty")[0] == 0
    assert filled("get", "PASSWORD")[:2] == (0, "")


@pytest.mark.parametrize(
    "words", [["delete", "two"], ["history", "two"], ["mv", "two", "x"], ["rotate", "two"]]
)
def test_what_only_another_member_of_a_fallback_has_is_not_called_absent(in_process, words):
    """`get` shows it, so a hint to look at the list would lead nowhere."""
    cli = in_process(
        "version: 1\ndefault: both\npipelines:\n"
        "  own: {provider: {type: file, file_path: own.enc, key_file: app.key}}\n"
        "  theirs: {provider: {type: file, file_path: theirs.enc, key_file: app.key}}\n"
        "  both: {fallback: {pipelines: [own, theirs]}}\n"
    )
    cli("--pipeline", "own", "set", "one", "value")
    cli("--pipeline", "theirs", "set", "two", "value")
    code, _, err = cli(*words)
    assert (code, "both changes only the secrets of own; for others give `--pipeline theirs`" in err) == (
        3,
        True,
    )
    assert "`strongroom list` shows" in cli("get", "three")[2]


def test_a_next_step_is_about_the_pipeline_that_was_chosen(in_process):
    """Without it, the command would delete or store in another one."""
    cli = in_process(
        "version: 1\ndefault: own\npipelines:\n"
        "  own: {provider: {type: file, file_path: own.enc, key_file: app.key}}\n"
        "  theirs: {provider: {type: file, file_path: theirs.enc, key_file: app.key}}\n"
    )
    for key in ("one", "two"):
        cli("--pipeline", "theirs", "set", key, "value")
    chosen = "`strongroom --pipeline theirs"
    assert f"{chosen} delete two` removes it" in cli("--pipeline", "theirs", "mv", "one", "two")[2]
    assert f"{chosen} set none` stores a first value" in cli("--pipeline", "theirs", "edit", "none")[2]
    assert "`strongroom set none` stores a first value" in cli("edit", "none")[2]


def test_an_outage_after_a_deletion_hides_it_not(filled, monkeypatch):
    from strongroom.registry import SecretProviderRegistry

    real = SecretProviderRegistry.delete_secret

    def delete(self, key):
        if key == "database/login":
            raise BackendUnavailableError("down", key=key)
        real(self, key)

    monkeypatch.setattr(SecretProviderRegistry, "delete_secret", delete)
    code, out, said = filled("--json", "delete", "database/password", "database/login")
    assert (code, json.loads(out)) == (5, {"deleted": ["database/password"]})
    assert json.loads(said)["error"]["message"] == "down"
