"""What is special about sops: files of the program itself, types, formats, rules, keys, and other writers."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from hypothesis import strategies as st
from properties import holds_for
from sampling import sample
from strongroom import SecretProviderRegistry
from strongroom.cli.app import run_app
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    InvalidKeyError,
    PermissionDeniedError,
    ReadOnlyError,
    SecretNotFoundError,
    TamperedError,
    ValidationError,
)
from strongroom.keys import check_key
from strongroom.rotation import SecretRotation
from strongroom.testing.conformance.base import SECRET, assert_harmless
from strongroom.testing.conformance.forks import Children
from strongroom_sops import SopsSecretProvider
from strongroom_sops.config import SopsConfig
from strongroom_sops.tree import Tree, argument_of, parsed

FILE = {
    "database": {"password": "hunter2", "port": 5432, "tls": True, "hosts": ["a", "b"], "none": None},
    "empty": "",
    "a/b": "flat",
}


@pytest.fixture
def runs(monkeypatch):
    """Count the runs of the program."""
    import strongroom_sops.program as module

    found, real = [], module.run_program

    def run_program(command, *args, **options):
        found.append(command[1])
        assert not any(SECRET in one for one in command)
        return real(command, *args, **options)

    monkeypatch.setattr(module, "run_program", run_program)
    return found


def test_the_configuration_is_the_constructor():
    options = SopsConfig(path=Path("/x/a.yaml")).model_dump()
    assert SopsSecretProvider(**options).address() == {"path": "/x/a.yaml"}


@pytest.mark.parametrize("name", ["a.txt", "a", "a.ini", "yaml"])
def test_a_file_whose_format_sops_would_not_know(name):
    with pytest.raises(ConfigurationError, match="is not one of"):
        SopsSecretProvider(name)


def test_a_file_of_the_program(make, sops, runs, tmp_path):
    """Members, lists, numbers as they are written, and what is no text."""
    text = sops("encrypt", "--filename-override", "secrets.json", given=json.dumps(FILE))
    (tmp_path / "secrets.json").write_text(text)
    provider = make("secrets.json")
    keys = ["a/b", "database/hosts/0", "database/hosts/1", "database/none", "database/password"]
    assert provider.list_secrets() == [*keys, "database/port", "database/tls", "empty"]
    assert provider.get_secrets(["a/b", "database/hosts/1", "database/port", "database/tls", "empty"]) == {
        "a/b": "flat",
        "database/hosts/1": "b",
        "database/port": "5432",
        "database/tls": "true",
        "empty": "",
    }
    with pytest.raises(ValidationError, match="null"):
        provider.get_secret("database/none")
    with pytest.raises(SecretNotFoundError, match="it has members"):
        provider.get_secret("database")
    assert len(runs) == 1


def test_it_is_decrypted_again_only_where_it_changed(make, sops, runs, tmp_path):
    path = tmp_path / "secrets.yaml"
    path.write_text(sops("encrypt", "--filename-override", "secrets.yaml", given="a: one # kept\nb: two\n"))
    provider = make()
    for _ in range(3):
        assert provider.get_secret("a") == "one"
    assert len(runs) == 1
    sops("set", "secrets.yaml", '["a"]', '"theirs"')
    assert provider.get_secrets(["a", "b"]) == {"a": "theirs", "b": "two"}
    assert len(runs) == 2
    provider.close()
    assert provider.get_secret("b") == "two"
    assert len(runs) == 3


def test_what_is_written_is_read_by_the_program(make, sops, runs, tmp_path):
    """Comments, other values and their ciphertext stay; nothing secret is in an argument or left behind."""
    path = tmp_path / "secrets.yaml"
    path.write_text(
        sops("encrypt", "--filename-override", "secrets.yaml", given="# why\na: one\nb: {c: two}\n")
    )
    before = path.read_text().splitlines()[1]
    provider = make()
    version = provider.describe_secret("a").version
    provider.set_secrets({"b/c": SECRET, "new/one": "1", "new/two": "2\n"})
    assert sops("decrypt", "--extract", '["b"]["c"]', "secrets.yaml") == SECRET
    assert sops("decrypt", "--extract", '["new"]["two"]', "secrets.yaml") == "2\n"
    assert "ENC[" in path.read_text().splitlines()[0]
    assert path.read_text().splitlines()[1] == before
    assert SECRET not in path.read_text()
    assert [one.name for one in tmp_path.iterdir()] == ["secrets.yaml"]
    assert provider.describe_secret("a").version == version
    assert runs.count("set") == 2  # one for the new branch
    provider.delete_secret("a")
    assert "a" not in provider.list_secrets()


def test_a_member_of_a_list_is_deleted_from_the_end_on_alone(make, sops, tmp_path):
    """Another would give its key to the one behind it: that is the caller's to decide, and no outage."""
    text = json.dumps({"hosts": ["a", "b"], "people": [{"name": "x"}, {"name": "y", "id": "1"}]})
    (tmp_path / "secrets.json").write_text(sops("encrypt", "--filename-override", "s.json", given=text))
    provider = make("secrets.json")
    with pytest.raises(ValidationError, match="followed by others") as caught:
        provider.delete_secret("hosts/0")
    assert "sops edit" in caught.value.hint
    for key in ("hosts/1", "hosts/0", "people/0/name", "people/1/id"):
        provider.delete_secret(key)
    assert json.loads(sops("decrypt", "secrets.json")) == {"people": [{}, {"name": "y"}]}


def test_a_delete_leaves_no_empty_mapping_behind(make, sops):
    provider = make()
    provider.set_secrets({"a": "1", "b/c/d": "2", "b/c/e": "3", "f/g/h": "4"})
    provider.delete_secret("f/g/h")
    provider.delete_secret("b/c/d")
    assert parsed(sops("decrypt", "--output-type", "json", "secrets.yaml").encode()) == {
        "a": "1",
        "b": {"c": {"e": "3"}},
    }
    provider.delete_secret("b/c/e")
    provider.set_secret("b", "a text now")
    assert sops("decrypt", "--extract", '["b"]', "secrets.yaml") == "a text now"
    provider.delete_secret("b")
    provider.delete_secret("a")
    assert make().list_secrets() == []


def test_a_rotation_leaves_nothing_of_itself_behind(make, sops):
    with make() as provider:
        provider.set_secret("db/password", "one")
        SecretRotation(provider).rotate("db/password", "two")
    assert parsed(sops("decrypt", "--output-type", "json", "secrets.yaml").encode()) == {
        "db": {"password": "two"}
    }


def test_a_write_that_would_change_other_secrets_is_no_outage(make, program, age, tmp_path):
    make().set_secrets({"a": "one", "b": "two"})
    before = (tmp_path / "secrets.yaml").read_bytes()
    loses_b = tmp_path / "loses-b"
    loses_b.write_text(
        f'#!/bin/sh\n"{program}" "$@" || exit\ntest "$1" = set || exit 0\nshift $(($# - 2))\n'
        f'exec "{program}" unset "$1" \'["b"]\'\n'
    )
    loses_b.chmod(0o700)
    provider = SopsSecretProvider(tmp_path / "secrets.yaml", sops=str(loses_b), environment=age, timeout=60)
    with pytest.raises(ConfigurationError, match="would have changed other secrets"):
        provider.set_secret("a", "three")
    assert (tmp_path / "secrets.yaml").read_bytes() == before


def test_the_first_write_makes_the_file(make, sops, tmp_path):
    provider = make()
    assert provider.list_secrets() == []
    assert "not there" in provider.diagnose()["file"]
    provider.set_secret("a/b", SECRET)
    assert stat.S_IMODE((tmp_path / "secrets.yaml").stat().st_mode) == 0o600
    assert sops("decrypt", "--output-type", "json", "secrets.yaml").split() == [
        "{",
        '"a":',
        "{",
        '"b":',
        f'"{SECRET}"',
        "}",
        "}",
    ]
    assert provider.diagnose()["decrypts"] == "yes, 1 keys"


def test_a_dotenv_file(make, sops, tmp_path):
    """Names are what a shell takes."""
    provider = make(".env")
    provider.set_secrets({"DATABASE_PASSWORD": "x=y", "app/key": "two\nlines", "sops_mac": "mine"})
    assert make(".env").get_secrets(["DATABASE_PASSWORD", "app/key", "sops_mac"]) == {
        "DATABASE_PASSWORD": "x=y",
        "app/key": "two\nlines",
        "sops_mac": "mine",
    }
    assert "app_0x2fkey=two\\nlines" in sops(
        "decrypt", "--input-type", "dotenv", "--output-type", "dotenv", ".env"
    )
    provider.set_secret("DATABASE_PASSWORD", "\\n 'quoted' # no comment")
    assert make(".env").get_secret("DATABASE_PASSWORD") == "\\n 'quoted' # no comment"


def test_a_dotenv_file_of_the_program_is_read_as_it_hands_it_over(make, sops, tmp_path):
    """Quotes and comments are parts of values for sops, and so they are for a program under `sops exec-env`."""
    written = 'QUOTED="x y"\nNOTED=z # note\nLINES=a\\nb\n'
    (tmp_path / ".env").write_text(sops("encrypt", "--filename-override", ".env", given=written))
    provider = make(".env")
    read = provider.get_secrets(["QUOTED", "NOTED", "LINES"])
    assert read == {"QUOTED": '"x y"', "NOTED": "z # note", "LINES": "a\nb"}
    for name, value in read.items():
        assert sops("exec-env", ".env", f'printf %s "${name}"') == value


def test_what_would_stay_in_clear_is_refused(make, tmp_path, sops, age):
    """By its name it is kept under another one; by a rule of the file it is an error."""
    provider = make()
    provider.set_secret("token_unencrypted", SECRET)
    assert SECRET not in (tmp_path / "secrets.yaml").read_text()
    assert provider.list_secrets() == ["token_unencrypted"]
    text = sops(
        "encrypt", "--encrypted-regex", "^secret_", "--filename-override", "b.yaml", given="secret_a: x\n"
    )
    (tmp_path / "b.yaml").write_text(text)
    other = make("b.yaml")
    other.set_secret("secret_b", SECRET)
    with pytest.raises(ConfigurationError, match="unencrypted") as caught:
        other.set_secret("plain", SECRET)
    assert_harmless(caught.value, SECRET)
    assert SECRET not in (tmp_path / "b.yaml").read_text()


def test_who_has_no_key(make, sops, tmp_path):
    (tmp_path / "secrets.yaml").write_text(
        sops("encrypt", "--filename-override", "secrets.yaml", given="a: 1\n")
    )
    with pytest.raises(AuthenticationError) as caught:
        make(environment={"SOPS_AGE_KEY": "", "HOME": str(tmp_path)}).get_secret("a")
    assert "SOPS_AGE_KEY_FILE" in caught.value.hint


@pytest.mark.parametrize(
    ("variable", "text", "reason"),
    sample(
        [
            ("SOPS_AGE_KEY", "other", "does not belong to a recipient"),
            ("SOPS_AGE_KEY", "", "sops found no age key"),
            ("SOPS_AGE_KEY", "AGE-SECRET-KEY-1QQQQ", "SOPS_AGE_KEY holds something other than an age key"),
            (
                "SOPS_AGE_KEY_FILE",
                "/nowhere/keys.txt",
                "SOPS_AGE_KEY_FILE names a file that cannot be opened",
            ),
            ("SOPS_AGE_KEY_CMD", "false", "the program of SOPS_AGE_KEY_CMD failed"),
        ],
        one_in=3,
    ),
)
def test_why_no_key_opens_the_file(make, age, monkeypatch, tmp_path, variable, text, reason):
    """And for whom it is, so that one sees whose key is missing."""
    import pyrage

    make().set_secret("a", "1")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    key = str(pyrage.x25519.Identity.generate()) if text == "other" else text
    with pytest.raises(AuthenticationError, match=reason) as caught:
        make(environment={variable: key}).get_secret("a")
    assert f"it is for {age['SOPS_AGE_RECIPIENTS']}" in str(caught.value)
    if key.startswith("AGE-SECRET"):
        assert_harmless(caught.value, key)


def test_a_recipient_of_two_thousand_letters_is_named_by_its_start_and_its_end(make, age, tmp_path):
    """As post-quantum keys of age have; the file is opened by the key that it was made for all the same."""
    import pyrage

    make().set_secret("a", "1")
    recipient = "age1pq1start" + "q" * 1941 + "theend"
    file = tmp_path / "secrets.yaml"
    file.write_text(file.read_text().replace(age["SOPS_AGE_RECIPIENTS"], recipient))
    assert make().get_secret("a") == "1"
    key = str(pyrage.x25519.Identity.generate())
    with pytest.raises(AuthenticationError) as caught:
        make(environment={"SOPS_AGE_KEY": key, "HOME": str(tmp_path)}).get_secret("a")
    assert "it is for age1pq1start" in str(caught.value)
    assert "theend" in str(caught.value)
    assert len(str(caught.value)) < 500


def test_doctor_tries_the_rules_of_a_file_that_is_not_there(make, age, tmp_path):
    """The first write would fail, or make what its writer cannot read."""
    import pyrage

    assert make("new/secrets.yaml").diagnose()["trial"] == "encrypts and decrypts"
    other = str(pyrage.x25519.Identity.generate().to_public())
    for environment, error, told in [
        ({}, ConfigurationError, ".sops.yaml"),
        ({"SOPS_AGE_RECIPIENTS": other}, AuthenticationError, other),
    ]:
        provider = make(
            environment={"HOME": str(tmp_path), "SOPS_AGE_KEY": age["SOPS_AGE_KEY"], **environment}
        )
        for call in (provider.diagnose, lambda provider=provider: provider.set_secret("a", "1")):
            with pytest.raises(error) as caught:
                call()
            assert told in f"{caught.value} {caught.value.hint}"
        assert "SOPS_AGE_RECIPIENTS" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_doctor_compares_the_recipients_with_the_rules(make, age, tmp_path):
    """A colleague whom somebody added to `.sops.yaml` reads nothing before `sops updatekeys`."""
    import pyrage

    provider = make()
    provider.set_secret("a", "1")
    assert "recipients" not in provider.diagnose()
    before = (tmp_path / "secrets.yaml").read_bytes()
    mine, other = age["SOPS_AGE_RECIPIENTS"], str(pyrage.x25519.Identity.generate().to_public())
    for named, told in [
        (mine, "as in .sops.yaml"),
        (f"{mine},{other}", "1 of its cannot open the file, 0 others can): sops updatekeys secrets.yaml"),
        (other, "1 of its cannot open the file, 1 others can"),
    ]:
        (tmp_path / ".sops.yaml").write_text(f"creation_rules:\n  - age: {named}\n")
        assert told in provider.diagnose()["recipients"]
    assert (tmp_path / "secrets.yaml").read_bytes() == before


@pytest.mark.parametrize("name", sample(["secrets.yaml", "secrets.json", "secrets.env"], one_in=3))
def test_doctor_counts_values_that_are_not_encrypted(make, age, sops, tmp_path, name):
    """`sops updatekeys` leaves the rules that are in a file, and empty values need no encryption."""
    rules = tmp_path / ".sops.yaml"
    rule = f"creation_rules:\n  - age: {age['SOPS_AGE_RECIPIENTS']}\n    encrypted_regex: "
    members = {"password": "one", "token": "two", "user": "three", "empty": ""}
    given = "".join(f"{key}={value}\n" for key, value in members.items())
    rules.write_text(f"{rule}^password$\n")
    kind = ["--input-type", "dotenv", "--filename-override", name]
    (tmp_path / name).write_text(sops("encrypt", *kind, given=given))
    assert make(name).diagnose()["unencrypted"] == "2 values, by the rules in the file"
    rules.write_text(f"{rule}.\n")
    sops("updatekeys", "--yes", name)
    assert make(name).diagnose()["unencrypted"] == "2 values, by the rules in the file"
    sops("decrypt", "--in-place", name)
    sops("encrypt", "--in-place", name)
    assert "unencrypted" not in make(name).diagnose()


def test_the_private_key_is_no_variable_of_a_program_that_is_run(tmp_path):
    """It opens every secret of the file, and the program gets the declared ones alone."""
    spec = {
        "version": 1,
        "pipelines": {"app": {"provider": {"type": "sops", "path": str(tmp_path / "a.yaml")}}},
    }
    with SecretProviderRegistry(spec) as registry:
        registry.pipeline("app")
        assert registry.environment() == {"SOPS_AGE_KEY"}


def test_no_recipients(make, tmp_path):
    with pytest.raises(ConfigurationError, match="write"):
        make(environment={"HOME": str(tmp_path)}).set_secret("a", "1")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_edited_without_sops(make, tmp_path):
    provider = make()
    provider.set_secrets({"a": "one", "b": "two"})
    path = tmp_path / "secrets.yaml"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[1], lines[0], *lines[2:]]))
    with pytest.raises(TamperedError):
        provider.get_secret("a")


@pytest.mark.parametrize("recipient", ["nonsense", "age1nonsense"])
def test_recipients_that_sops_cannot_use(make, tmp_path, recipient):
    environment = {"HOME": str(tmp_path), "SOPS_AGE_RECIPIENTS": recipient}
    with pytest.raises(ConfigurationError) as caught:
        make(environment=environment).set_secret("a", "hunter2")
    assert "SOPS_AGE_RECIPIENTS" in caught.value.hint
    assert "hunter2" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_no_error_shows_a_key_or_a_login_that_is_a_recipient(make, age, tmp_path):
    """As of those who give the private key for the public one, or a server's address with its password."""
    key = age["SOPS_AGE_KEY"]
    with pytest.raises(ConfigurationError, match="recipient") as caught:
        make(environment={"HOME": str(tmp_path), "SOPS_AGE_RECIPIENTS": key}).set_secret("a", "one")
    assert_harmless(caught.value, key)
    make().set_secret("a", "one")
    file = tmp_path / "secrets.yaml"
    server = "vault_address: http://me:hunter2@127.0.0.1:1\n engine_path: t\n key_name: k\n enc: x\n"
    server += " created_at: '2026-01-01T00:00:00Z'\n"
    entry = "sops:\n    hc_vault:\n        - " + server.replace("\n ", "\n          ")
    file.write_text(file.read_text().replace("sops:\n", entry, 1))
    with pytest.raises(AuthenticationError, match=r"@127\.0\.0\.1") as caught:
        make(environment={"HOME": str(tmp_path)}).get_secret("a")
    assert_harmless(caught.value, "hunter2")


@pytest.mark.parametrize(
    "rules",
    [
        "creation_rules: [{",
        "creation_rules: [{age: nonsense}]",
        f"creation_rules: [{{pgp: {'0123456789' * 4}}}]",
    ],
)
def test_rules_that_sops_cannot_use(make, tmp_path, rules):
    (tmp_path / ".sops.yaml").write_text(rules)
    with pytest.raises(ConfigurationError) as caught:
        make(environment={"HOME": str(tmp_path)}).set_secret("a", "hunter2")
    assert ".sops.yaml" in caught.value.hint
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["secrets.yaml", "secrets.env"])
def test_a_file_that_is_cut_off_is_not_to_be_encrypted_again(make, tmp_path, name):
    provider = make(name)
    provider.set_secrets({"A": "one", "B": "two"})
    lines = (tmp_path / name).read_text().splitlines(keepends=True)
    (tmp_path / name).write_text("".join(lines[:2]))
    with pytest.raises(TamperedError) as caught:
        provider.get_secret("A")
    assert "encrypt" not in caught.value.hint


def test_an_empty_file(make, tmp_path):
    (tmp_path / "secrets.yaml").write_text("")
    with pytest.raises(ConfigurationError, match="is empty"):
        make().get_secret("a")


@pytest.mark.parametrize("text", ["a: hunter2\n", "a: [hunter2\n", "- hunter2\n", ""])
def test_a_file_that_is_not_encrypted(make, tmp_path, text):
    (tmp_path / "secrets.yaml").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        make().get_secret("a")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "text", sample(["a: one\n---\nb: two\n", "--- # first\na: one\n--- # second\nb: two\n"], one_in=2)
)
def test_a_file_of_several_documents_is_refused_and_not_read_in_part(make, sops, tmp_path, text):
    """sops gives the first as JSON, and says nothing of the others."""
    (tmp_path / "secrets.yaml").write_text(sops("encrypt", "--filename-override", "secrets.yaml", given=text))
    before = (tmp_path / "secrets.yaml").read_bytes()
    provider = make()
    for call in (
        lambda: provider.get_secret("a"),
        provider.list_secrets,
        lambda: provider.set_secret("c", "three"),
        lambda: provider.delete_secret("a"),
        lambda: provider.describe_secret("a"),
    ):
        with pytest.raises(ConfigurationError, match="not one mapping"):
            call()
    assert (tmp_path / "secrets.yaml").read_bytes() == before


def test_a_single_document_may_be_marked_as_one(make, sops, tmp_path):
    encrypted = sops("encrypt", "--filename-override", "secrets.yaml", given="a: one\n")
    (tmp_path / "secrets.yaml").write_text(f"---\n{encrypted}")
    provider = make()
    assert provider.get_secret("a") == "one"
    provider.set_secret("b", "two")
    assert make().get_secrets(["a", "b"]) == {"a": "one", "b": "two"}


def test_a_number_that_is_none(make, sops, tmp_path):
    encrypted = sops("encrypt", "--filename-override", "secrets.yaml", given="a: .inf\nb: two\n")
    (tmp_path / "secrets.yaml").write_text(encrypted)
    with pytest.raises(ConfigurationError, match=r"has \.inf or \.nan for a value") as caught:
        make().get_secret("b")
    assert "quote it" in caught.value.hint


@pytest.mark.parametrize(
    "name", sample(["=", "yes", "off", "1", "null", "1.0", "~", "0x1f", "2020-01-12", "a: b"], one_in=4)
)
def test_names_that_yaml_has_another_meaning_for(make, sops, name):
    provider = make()
    provider.set_secret(name, "one")
    first = provider.describe_secret(name).version
    provider.set_secret(name, "two")
    second = provider.describe_secret(name).version
    assert first != second
    with pytest.raises(ConflictError):
        provider.set_secret_if(name, "three", first)
    provider.set_secret_if(name, "three", second)
    assert make().get_secret(name) == "three"


def test_texts_in_clear_that_yaml_has_another_meaning_for(make, sops, tmp_path):
    text = 'a_unencrypted: "2020-13-45"\nb_unencrypted: "="\nc: one\n'
    encrypted = sops("encrypt", "--filename-override", "secrets.yaml", given=text)
    plain = encrypted.replace('"2020-13-45"', "2020-13-45").replace('"="', "=")
    (tmp_path / "secrets.yaml").write_text(plain)
    provider = make()
    assert provider.describe_secret("c").version
    provider.set_secret("d", "two")
    assert make().get_secrets(["c", "d"]) == {"c": "one", "d": "two"}


def test_a_dotenv_file_that_is_not_one(make, tmp_path):
    (tmp_path / "a.env").write_text("hunter2 without a name\n")
    with pytest.raises(ConfigurationError, match="that sops can read") as caught:
        make("a.env").get_secret("a")
    assert "hunter2" not in str(caught.value)


def test_a_name_that_yaml_takes_for_a_merge(make, sops):
    provider = make()
    provider.set_secrets({"<<": "1", "a/<<": "2"})
    assert provider.get_secrets(["<<", "a/<<"]) == {"<<": "1", "a/<<": "2"}


def test_a_program_that_is_not_there(tmp_path):
    (tmp_path / "a.yaml").write_text("x")
    with pytest.raises(ConfigurationError, match="no such program"):
        SopsSecretProvider(tmp_path / "a.yaml", sops="no-such-sops").get_secret("a")


@pytest.mark.parametrize(
    ("said", "expected", "hint"),
    sample(
        [
            ("no space left on device", BackendUnavailableError, "free space"),
            ("read-only file system", ReadOnlyError, "mounted read-only"),
            ("permission denied", PermissionDeniedError, "right"),
        ],
        one_in=3,
    ),
)
def test_what_the_disk_refuses_to_the_program(make, program, age, tmp_path, said, expected, hint):
    make().set_secret("a", "one")
    full = tmp_path / "full"
    full.write_text(
        f'#!/bin/sh\ntest "$1" = set || exec "{program}" "$@"\necho "write x: {said}" >&2\nexit 1\n'
    )
    full.chmod(0o700)
    provider = SopsSecretProvider(tmp_path / "secrets.yaml", sops=str(full), environment=age, timeout=60)
    with pytest.raises(expected) as caught:
        provider.set_secret("a", "two")
    assert hint in caught.value.hint
    assert provider.get_secret("a") == "one"


def test_a_program_that_hangs(tmp_path):
    (tmp_path / "a.yaml").write_text("x")
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 600\n")
    slow.chmod(0o700)
    with pytest.raises(BackendUnavailableError, match="did not end"):
        SopsSecretProvider(tmp_path / "a.yaml", sops=str(slow), timeout=0.2).get_secret("a")


def test_another_programs_write_is_not_lost(make, sops, monkeypatch):
    """It comes between the decryption and the new file; the change begins again on theirs."""
    provider = make()
    provider.set_secrets({"a": "one", "b": "two"})
    version = provider.describe_secret("a").version
    real, turns = SopsSecretProvider._apply, []

    def apply(self, work, *rest):
        turns.append(work)
        if len(turns) == 1:
            sops("set", "secrets.yaml", '["b"]', '"theirs"')
        real(self, work, *rest)

    monkeypatch.setattr(SopsSecretProvider, "_apply", apply)
    provider.set_secret_if("a", "mine", version)
    assert provider.get_secrets(["a", "b"]) == {"a": "mine", "b": "theirs"}
    assert len(turns) == 2
    turns.clear()
    with pytest.raises(ConflictError):
        provider.set_secret_if("a", "x", version)


def test_a_child_reads(make):
    provider = make()
    provider.set_secret("a", "one")
    assert Children(2, lambda _: provider.get_secret("a")).results() == ["one"] * 2


# --- the tree ---


def test_no_key_is_taken_for_what_sops_writes_about_a_json_file(make):
    """There it takes `Sops` for that as well, and then cannot read what it has encrypted."""
    keys = ["SOPS/mac", "Sops", "a/Sops", "\u017fops"]
    make("other.json").set_secret("Sops", "one")
    assert make("other.json").get_secret("Sops") == "one"
    provider = make("secrets.json")
    provider.set_secrets(dict.fromkeys(keys, "one"))
    provider.set_secret("Sops", "two")
    assert make("secrets.json").get_secrets(keys) == {**dict.fromkeys(keys, "one"), "Sops": "two"}
    provider.delete_secret("Sops")
    assert make("secrets.json").list_secrets() == ["SOPS/mac", "a/Sops", "\u017fops"]
    assert Tree({}, is_flat=False).path_for("Sops") == ("Sops",)  # YAML's names are told apart by case


def _is_key(text):
    try:
        check_key(text)
    except InvalidKeyError:
        return False
    return True


keys = st.text(alphabet="ab/=_x0[\"'< sop", min_size=1, max_size=9).filter(_is_key)


@holds_for(st.lists(keys, unique=True, max_size=5), st.booleans())
def test_all_keys_stay_apart(names, is_flat):
    """In whatever order they are made, each leads to its own value, by an argument that sops takes."""
    root = {}
    kept = []
    for key in names:
        try:
            here, path = root, Tree(root, is_flat=is_flat).path_for(key)
        except InvalidKeyError:
            assert key.rpartition("/")[2].strip("[\"' ") == ""
            continue
        kept.append(key)
        assert argument_of(path)
        assert path[0] != "sops"
        assert "<<" not in path
        for name in path[:-1]:
            here = here.setdefault(name, {})
        assert not isinstance(here.get(path[-1]), dict)
        here[path[-1]] = f"value of {key}"
    found = Tree(root, is_flat=is_flat)
    assert {key: found.value(key) for key in found.paths} == {key: f"value of {key}" for key in kept}


@pytest.mark.parametrize("key", ["[", "x/[", 'x/["]'])
def test_a_name_without_another_form_is_refused_where_members_have_it(key):
    """Each of its characters is escaped already; to write it would remove them."""
    root = {}
    for number in range(2):
        path = Tree(root, is_flat=False).path_for(f"{key}/{number}")
        here = root
        for one in path[:-1]:
            here = here.setdefault(one, {})
        here[path[-1]] = "member"
    with pytest.raises(InvalidKeyError, match=r"the file has members of that name") as caught:
        Tree(root, is_flat=False).path_for(key)
    assert caught.value.key == key


@pytest.mark.parametrize("name", ["sops", "<<", " s", "[x", "a", '"ab"'])
def test_a_key_beside_members_of_its_name(name):
    """Also one whose name in the file is escaped already: another character of it is."""
    root = {}
    for key in (f"{name}/member", name):
        path = Tree(root, is_flat=False).path_for(key)
        here = root
        for one in path[:-1]:
            here = here.setdefault(one, {})
        here[path[-1]] = key
    found = Tree(root, is_flat=False)
    assert {key: found.value(key) for key in found.paths} == {f"{name}/member": f"{name}/member", name: name}


def test_numbers_are_as_they_are_written():
    found = Tree(parsed(b'{"a": 1.10, "b": 12345678901234567890, "c": 1e400, "d": -0}'), is_flat=False)
    assert {key: found.value(key) for key in found.paths} == {
        "a": "1.10",
        "b": "12345678901234567890",
        "c": "1e400",
        "d": "-0",
    }


def test_two_ways_to_one_key():
    """Another program made both: the nested one is read, and both are gone after a delete."""
    found = Tree({"a/b": "flat", "a": {"b": "nested"}}, is_flat=False)
    assert found.value("a/b") == "nested"
    assert found.paths["a/b"] == [("a", "b"), ("a/b",)]


def test_a_missing_file_is_told_where_a_secret_is_not_found(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    spec = "version: 1\npipelines: {a: {provider: {type: sops, path: secrets.enc.yaml}}}\n"
    Path("own.yaml").write_text(spec + "secrets: {A: {key: a}}\n")
    there_is_none = f"there is no file {tmp_path}/secrets.enc.yaml"
    assert run_app(["--spec", "own.yaml", "get", "a"]) == 3
    assert (
        f"'a' not found: {there_is_none}; a fresh clone has none: copy it there, or "
        in capfd.readouterr().err
    )
    assert run_app(["--spec", "own.yaml", "run", "true"]) == 3
    assert there_is_none in capfd.readouterr().err
