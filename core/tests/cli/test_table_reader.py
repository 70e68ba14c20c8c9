"""Files of names and values that people bring: read as they are written, or refused with what to do; never told."""

from __future__ import annotations

import json

import pytest
from strongroom.cli.errors import UsageError
from strongroom.cli.formats.table_reader import read_dotenv, read_table

BASE64 = "BE9Y7LKANx" * 9


@pytest.fixture
def read(tmp_path):
    """Return a function that writes a file and reads it; its warnings are in `.warned`."""

    def read(name, text, kind=None):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        read.warned = []
        return read_table(path, read.warned.append, kind)

    read.warned = []
    return read


@pytest.fixture
def refused(read):
    def refused(name, text, kind=None):
        with pytest.raises(UsageError) as caught:
            read(name, text, kind)
        told = f"{caught.value} {caught.value!r}"
        assert "hunter2" not in told
        assert "hunter2" not in f"{caught.value.__cause__!r} {caught.value.__context__!r}"
        return told

    return refused


@pytest.mark.parametrize("name", ["x.json", "X.JSON", "x.Json"])
def test_an_ending_counts_in_any_case(read, name):
    assert read(name, '{"a": "b"}') == {"a": "b"}


@pytest.mark.parametrize("name", [".env", ".env.local", "env", "x.txt", "x.conf"])
def test_what_has_no_known_ending_is_env(read, name):
    assert read(name, "a=b\n") == {"a": "b"}


def test_the_format_may_be_given(read, refused):
    assert read("-x", '{"a": "b"}', "json") == {"a": "b"}
    assert read("x.toml", 'a = "b"\n', "env") == {"a": "b"}
    assert "--format" in refused("x.toml", 'a = "hunter2"\n')


@pytest.mark.parametrize("ending", ["toml", "ini", "properties", "csv", "xml", "kdbx", "gpg", "cred", "TOML"])
def test_formats_that_are_not_read_are_told_by_their_ending(refused, ending):
    assert "are read" in refused(f"x.{ending}", "a=hunter2\n")


@pytest.mark.parametrize(
    ("text", "tool", "advice"),
    [
        (b"$ANSIBLE_VAULT;1.1;AES256\n6234\n", "ansible-vault", "ansible-vault view"),
        (b"age-encryption.org/v1\n-> X25519 abc\n", "age", "age -d"),
        (b"-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n", "age", "age -d"),
        (b"-----BEGIN PGP MESSAGE-----\n\nhQ\n", "OpenPGP", "gpg -d"),
        (b"Salted__\xff\x00", "openssl", "openssl"),
        (b"\0GITCRYPT\0\xff", "git-crypt", "unlock"),
        (b"\x03\xd9\xa2\x9a\x67\xfb\x4b\xb5\0", "KeePass", "keepassxc-cli"),
        (b"SQLite format 3\0", "store of strongroom's", "strongroom copy"),
    ],
)
@pytest.mark.parametrize("name", [".env", "x.yaml"])
def test_encrypted_files_are_told_by_how_they_begin(refused, name, text, tool, advice):
    told = refused(name, text)
    assert tool in told
    assert advice in told


@pytest.mark.parametrize(
    ("name", "text", "tool"),
    [
        (".env", 'DOTENV_PUBLIC_KEY="03ab"\nA="encrypted:BE9Y"\nB=hunter2\n', "dotenvx"),
        (".env.ci", 'DOTENV_PUBLIC_KEY_CI="03ab"\nA="encrypted:BE9Y"\n', "dotenvx"),
        (".env", f'A="encrypted:{BASE64}="\n', "dotenvx"),
        (".env", "A=ENC[AES256_GCM,data:ab,iv:cd,tag:ef,type:str]\nB=hunter2\n", "sops"),
        (".env", "A_unencrypted=hunter2\nsops_mac=x\nsops_version=3.11.0\n", "sops"),
        ("x.yaml", "A: ENC[AES256_GCM,data:ab,iv:cd,tag:ef,type:str]\nB: hunter2\n", "sops"),
        ("x.yaml", "A: hunter2\nsops:\n  mac: x\n  version: 3.11.0\n", "sops"),
        ("x.json", '{"A": {"B": "ENC[AES256_GCM,data:ab]"}, "C": "hunter2"}', "sops"),
        ("x.yaml", "A: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6234\nB: hunter2\n", "!vault"),
        ("x.yaml", "A: |\n  $ANSIBLE_VAULT;1.1;AES256\n  6234\nB: hunter2\n", "ansible-vault"),
        ("x.yaml", "apiVersion: v1\nkind: Secret\ndata: {pw: aHVudGVyMg==, q: hunter2}\n", "kubectl"),
        ("x.json", '{"apiVersion": "v1", "kind": "Secret", "data": {"pw": "aGVsbG8="}}', "kubectl"),
        ("x.yaml", "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nspec: {a: hunter2}\n", "cluster"),
    ],
)
def test_ciphertext_is_not_taken_for_values(refused, name, text, tool):
    assert tool in refused(name, text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".env", "A=encrypted:no\nB=sops\nkind=Secret\n"),
        ("x.yaml", "kind: Secret\nA: encrypted\n"),
        ("x.json", '{"sops": "mine", "A": "x ENC[AES256_GCM,"}'),
    ],
)
def test_what_only_looks_a_little_like_it_is_taken(read, name, text):
    assert read(name, text)


def test_json_keeps_the_text_of_numbers(read):
    numbers = ["1.10", "1e3", "1E400", "-0", "0.1234567890123456789", "1" * 5000]
    text = "{" + ",".join(f'"n{place}": {number}' for place, number in enumerate(numbers)) + "}"
    assert list(read("x.json", text).values()) == numbers


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"a": NaN, "b": "hunter2"}', "NaN"),
        ('{"a": -Infinity, "b": "hunter2"}', "-Infinity"),
        ('{"a": "hunter2", "a": "hunter2"}', "a is there twice"),
        ('{"a": {"b": "hunter2"}, "a/b": "hunter2"}', "a/b is there twice"),
        ('{"a": {"b": "hunter2", "b": "x"}}', "b is there twice"),
        ('{"a": null, "b": "hunter2"}', "a is null"),
        ('{"a": ["hunter2"]}', "a is a list"),
        ('["hunter2"]', "names and values"),
        ('{"a": hunter2}', ":1:7: not JSON"),
        ('{"a":' * 60 + '"hunter2"' + "}" * 60, "nested too deep"),
        ('{"a":' * 200_000, "nested too deep"),
    ],
)
def test_json_that_is_not_names_and_values_is_refused(refused, text, told):
    assert told in refused("x.json", text)


def test_yaml_keeps_each_scalar_as_it_is_written(read):
    text = "a: 0123\nb: no\nc: {d: on, e: 1_0}\nf: 2020-01-01\ng: 'null'\nh: ''\ni: |\n  x\n  y\nj: !!str 5\n5: z\n"
    found = ["0123", "no", "on", "1_0", "2020-01-01", "null", "", "x\ny\n", "5", "z"]
    assert list(read("x.yml", text).values()) == found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: x\nb: !!binary aHVudGVyMg==\n", ":2:1: b has the tag !!binary"),
        ("a: !secret hunter2\n", "the tag !secret"),
        ("a: !!float 1.0\n", "the tag !!float"),
        ("a: null\nb: hunter2\n", "a is null"),
        ("a: ~\n", "a is null"),
        ("a:\n", "a is null"),
        ("a: hunter2\nb: x\na: hunter2\n", ":3:1: a is there twice"),
        ("a: {b: hunter2}\na/b: x\n", "a/b is there twice"),
        ("a: [hunter2]\n", "a is a list"),
        ("- hunter2\n", "names and values"),
        ("base: &b {x: hunter2}\nc:\n  <<: *b\n", "merge keys"),
        ("? [hunter2]\n: x\n", "expected a name"),
        ("a: &a {b: *a}\n", "nested too deep"),
        ('a: "hunter2\n', "not YAML"),
        ("a: hunter2\n---\nb: x\n", "not YAML"),
    ],
)
def test_yaml_that_is_not_names_and_values_is_refused(refused, text, told):
    assert told in refused("x.yaml", text)


def test_aliases_that_multiply_end_soon(refused):
    lines = ["a0: &a0 {" + ", ".join(f"k{one}: x" for one in range(10)) + "}"]
    lines += [
        f"a{n}: &a{n} {{" + ", ".join(f"k{one}: *a{n - 1}" for one in range(10)) + "}" for n in range(1, 9)
    ]
    assert "100000 values" in refused("x.yaml", "\n".join(lines))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("KEY=-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n", 2),
        ("A=x\n\n\nhunter2\n", 4),
        ('A=x\n{"password": "hunter2"}\n', 2),
        ("A=x\nhunter2 y\n", 2),
    ],
)
def test_a_line_that_is_not_an_assignment_is_told_by_its_number_alone(refused, text, line):
    assert f":{line}: " in refused(".env", text)


def test_what_is_quoted_for_a_shell_is_told(refused):
    assert "--format dotenv" in refused(".env", "A='hunter2'\"'\"'s'\n")


def test_what_other_readers_fill_in_and_what_is_there_twice_is_warned_of(read):
    found = read(".env", "PW=hunter2\nURL=postgres://u:${PW}@h\nPW=hunter3\nCOST=$5\nT='${X:-hunter2}'\n")
    assert found["URL"] == "postgres://u:${PW}@h"
    twice, filled = read.warned
    assert "PW is there 2 times (lines 1, 3)" in twice
    assert "URL (line 2), T (line 5)" in filled
    assert "hunter" not in twice + filled


def test_nothing_is_warned_of_an_ordinary_file(read):
    read(".env", "# a comment\nA=1\nexport B='two words'\nC=\"a\\nb\"\n")
    assert read.warned == []


def test_env_is_read_so_whatever_the_file_is_called(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("A=1\n")
    assert read_dotenv(path, lambda _: None) == {"A": "1"}


def test_json_of_an_export_comes_back(read):
    values = {"a": "1.10", "b/c": "x\ny", "d": "null", "e": ""}
    assert read("x.json", json.dumps(values)) == values
