"""Files of names and values that people bring: read as they are written, or refused with what to do; never told."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strongroom.cli.child.environment import why_dangerous
from strongroom.cli.errors import UsageError
from strongroom.cli.formats.dotenv_file import expanded, read_assignments
from strongroom.cli.formats.export import as_docker, as_env
from strongroom.cli.formats.table_reader import read_dotenv, read_table

BASE64 = "BE9Y7LKANx" * 9


@pytest.fixture
def read(tmp_path):
    """Return a function that writes a file and reads it; its warnings are in `.warned`."""

    def read(name, text, kind=None):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        read.warned = []
        return read_table(path, read.warned.append, kind, left_out=why_dangerous)

    read.warned = []
    return read


@pytest.fixture
def refused(read):
    def refused(name, text, kind=None):
        with pytest.raises(UsageError) as caught:
            read(name, text, kind)
        message = f"{caught.value} {caught.value!r}"
        assert "hunter2" not in message
        assert "hunter2" not in f"{caught.value.__cause__!r} {caught.value.__context__!r}"
        return message

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
    message = refused(name, text)
    assert tool in message
    assert advice in message


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
        (".env", "A=op://My Vault/hunter2/password\nB=hunter2\n", "op inject -i "),
        ("x.json", '{"a": {"b": "op://vault/hunter2/section/password"}}', "op inject -i "),
        (".env", "A=ref+vault://hunter2/b#c\n", "vals eval"),
        ("x.yaml", "a: secretref+awssecrets://hunter2?region=x\n", "vals eval"),
        ("x.yaml", "apiVersion: v1\nkind: Secret\ndata: {pw: aHVudGVyMg==, q: hunter2}\n", "kubectl"),
        ("x.json", '{"apiVersion": "v1", "kind": "Secret", "data": {"pw": "aGVsbG8="}}', "kubectl"),
        ("x.yaml", "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nspec: {a: hunter2}\n", "cluster"),
    ],
)
def test_ciphertext_is_not_taken_for_values(refused, name, text, tool):
    assert tool in refused(name, text)


@pytest.mark.parametrize(
    "line", ['A="hunter2', "A='hunter2", "export A='it's hunter2'", 'A = "hunter2" and more', "'A'=\"hunter2"]
)
def test_a_quote_that_is_not_closed_is_told_as_such(refused, line):
    assert ".env:2: the quotes around the value are not closed, or" in refused(".env", f"B=1\n{line}\nC=2\n")


def test_all_that_is_wrong_with_a_file_is_told_at_once_with_its_lines(refused):
    message = refused(
        ".env",
        "A=hunter2\nno assignment\nB=op://vault/hunter2/x\nC='op://vault/y/z'\n"
        f"D=ENC[AES256_GCM,data:hunter2]\nE=ref+vault://hunter2\nF=encrypted:{BASE64}\n",
    )
    for told in (
        ".env:2: not an assignment",
        ".env:3: a reference of 1Password, `op://…` (also in line 4);",
        ".env:5: encrypted by sops;",
        ".env:6: a reference of vals",
        ".env:7: encrypted by dotenvx;",
        "op inject -i ",
        "sops -d ",
        "vals eval ",
        "dotenvx decrypt ",
    ):
        assert told in message
    message = refused("x.yaml", "a: {b: op://v/hunter2/x}\nc: ref+vault://hunter2\nd: op://v/y/z\n")
    assert "x.yaml: a/b, d: a reference of 1Password" in message
    assert "x.yaml: c: a reference of vals" in message


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".env", "A=encrypted:no\nB=sops\nkind=Secret\n"),
        (".env", "A=op://no\nB=see op://a/b/c\nC=ref+\nD=xref+vault://a\n"),
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
    ("text", "expected"),
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
def test_json_that_is_not_names_and_values_is_refused(refused, text, expected):
    assert expected in refused("x.json", text)


def test_yaml_keeps_each_scalar_as_it_is_written(read):
    text = "a: 0123\nb: no\nc: {d: on, e: 1_0}\nf: 2020-01-01\ng: 'null'\nh: ''\ni: |\n  x\n  y\nj: !!str 5\n5: z\n"
    found = ["0123", "no", "on", "1_0", "2020-01-01", "null", "", "x\ny\n", "5", "z"]
    assert list(read("x.yml", text).values()) == found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: x\nb: !!binary aHVudGVyMg==\n", ":2:1: b has the tag !!binary"),
        ("a: !secret hunter2\n", "the tag !secret"),
        ("a: !!float 1.0\n", "the tag !!float"),
        ("a: null\nb: hunter2\n", "a is null"),
        ("a: ~\n", "a is null"),
        ("a:\n", "a is null"),
        ("a: hunter2\nb: x\na: hunter2\n", ":3:1: a is there twice"),
        ("a: {b: hunter2}\na: {c: x}\n", ":2:1: a is there twice"),
        ("x:\n  a: {b: hunter2}\n  a: y\n", ":3:3: x/a is there twice"),
        ("a: {b: hunter2}\na/b: x\n", "a/b is there twice"),
        ("a: [hunter2]\n", "a is a list"),
        ("- hunter2\n", "names and values"),
        ("base: &b hunter2\nc:\n  <<: *b\n", "expected mappings behind <<"),
        ("? [hunter2]\n: x\n", "expected a name"),
        ("a: &a {b: *a}\n", "nested too deep"),
        ('a: "hunter2\n', "not YAML"),
        ("a: hunter2\n---\nb: x\n", ":2:1: a second document; make one mapping"),
    ],
)
def test_yaml_that_is_not_names_and_values_is_refused(refused, text, expected):
    assert expected in refused("x.yaml", text)


def test_aliases_that_multiply_end_soon(refused):
    lines = ["a0: &a0 {" + ", ".join(f"k{one}: x" for one in range(10)) + "}"]
    lines += [
        f"a{n}: &a{n} {{" + ", ".join(f"k{one}: *a{n - 1}" for one in range(10)) + "}" for n in range(1, 9)
    ]
    assert "100000 values" in refused("x.yaml", "\n".join(lines))
    assert "100000 mappings" in refused("x.yaml", "\n".join(["a0: &a0 {}", *lines[1:]]))
    assert "a1/k0 is null" in refused("x.yaml", "\n".join(["a0: &a0 null", *lines[1:]]))
    merged = [f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 19)]
    assert "100000 mappings" in refused("x.yaml", "\n".join(["a0: &a0 {k: x}", *merged]))


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


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A='it'\"'\"'s'", "it's"),
        ("A='it'\\''s' # a comment", "it's"),
        ('export A=\'one \'"two \\$X \\" \\n"three', 'one two $X " \\nthree'),
        ("A='it'\"'\"'s\ntwo lines'", "it's\ntwo lines"),
        ("A=one\\\ntwo", "onetwo"),
        ('A="one\\\ntwo"', "onetwo"),
        ('A="one\\ntwo\\t"', "one\ntwo\t"),
        ('A="a \\$B \\`c"', "a $B `c"),
        ("A='it\\'s'", "it's"),
        ("A=it's", "it's"),
        ("A=C:\\dir\\\nB=1", "C:\\dir\\"),
        ("A='one\r\ntwo'\r", "one\ntwo"),
        ('A="one\r\ntwo"\r', "one\ntwo"),
        ("A=#no", "#no"),
        ("A= # none", ""),
    ],
)
def test_values_are_read_as_python_dotenv_and_sh_write_them(read, line, value):
    assert read(".env", line + "\nLAST=1\n")["A"] == value


VALUES = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), st.sampled_from("\\\\\"'$` \n#=")
    ),
    max_size=30,
)


@given(values=st.dictionaries(st.from_regex(r"[a-z_]{1,6}", fullmatch=True), VALUES, max_size=5))
def test_what_export_writes_for_a_shell_comes_back(values):
    for text in (as_env(values), as_env(values, before="export "), as_env(values).replace("\n", "\r\n")):
        warned = []
        found = expanded(read_assignments(Path(".env"), text, warned.append))
        assert found == values
        assert warned == []


@given(values=st.dictionaries(st.from_regex(r"[a-z_]{1,6}", fullmatch=True), VALUES, max_size=5))
def test_what_python_dotenv_writes_comes_back(values):
    """As its `set_key` quotes: single quotes, with a backslash before those inside, and before a backslash."""
    quoted = {name: value.replace("\\", r"\\").replace("'", r"\'") for name, value in values.items()}
    text = "".join(f"{name}='{value}'\n" for name, value in quoted.items())
    assert expanded(read_assignments(Path(".env"), text, lambda _: None)) == values


def test_names_of_the_same_file_are_filled_in(read):
    found = read(
        ".env",
        "URL=postgres://u:${PW}@${HOST}/x\nPW=hunter2\nHOST=\"${NAME}.example\"\nNAME=db\nRAW='${PW}'\nQ='a${PW}'\"${PW}\"\n",
    )
    assert found["URL"] == "postgres://u:hunter2@db.example/x"
    assert found["RAW"] == "${PW}"
    assert found["Q"] == "a${PW}hunter2"
    (said,) = read.warned
    assert "single quotes in RAW (line 5) is text" in said


def test_what_stands_for_nothing_or_goes_in_a_circle_is_text(read):
    text = "A=${B}\nB=${A}\nC=${C}x\nD=${A}\nE=${OTHER}\nF=${X:-hunter2}\nG=${E}\n"
    found = read(".env", text)
    assert found == {
        "A": "${B}", "B": "${A}", "C": "${C}x", "D": "${A}", "E": "${OTHER}", "F": "${X:-hunter2}", "G": "${OTHER}",
    }  # fmt: skip
    bare, left = read.warned
    assert left.endswith(" is taken as text: it names nothing in this file, or refers to itself in a circle")
    assert "F (line 6)" in bare
    assert all(f"{name} (line {number})" in left for number, name in enumerate("ABCDE", 1))
    assert "hunter2" not in bare + left


def test_what_may_be_meant_otherwise_is_warned_of(read):
    text = "PW=hunter2\nCOST=$5 $FIVE\nPW=hunter3\nPATH=/hunter2\nNODE_OPTIONS=x\nP=\"${PATH}\"\nS='$FIVE'\n"
    found = read(".env", text)
    assert found == {"PW": "hunter3", "COST": "$5 $FIVE", "P": "${PATH}", "S": "$FIVE"}
    twice, bare, refused, left = read.warned
    assert "PW occurs 2 times (lines 1, 3)" in twice
    assert "COST (line 2)" in bare
    assert "PATH (line 4), NODE_OPTIONS (line 5)" in refused
    assert "P (line 6)" in left
    assert "hunter" not in "".join(read.warned)


def test_what_sh_reads_otherwise_in_single_quotes_is_warned_of(read):
    found = read(".env", "A='x\\\\hunter2' # \\'\nB='x\\y' # a\\\\b's\nC='a\\\\b'\nC='a'\nD=\"a\\\\b\"\n")
    assert found == {"A": "x\\hunter2", "B": "x\\y", "C": "a", "D": "a\\b"}
    _, pairs = read.warned
    assert "in A (line 1) are read as one" in pairs
    assert "hunter2" not in pairs


def test_a_word_of_sh_that_ends_in_a_backslash_takes_no_line_along(read):
    """python-dotenv takes the backslash for an escape and looks for the quote's end in the lines below."""
    assert read(".env", "A='end\\'\nB='x'\n\nC='y\\'\nD='it'\\''s'\nE=1\n") == {
        "A": "end\\", "B": "x", "C": "y\\", "D": "it's", "E": "1",
    }  # fmt: skip
    assert read.warned == []


def test_all_lines_that_are_wrong_are_named_at_once(refused):
    said = refused(".env", "hunter2\nA=1\nhunter2 y\n\nB='hunter2\n")
    for line in (1, 3, 5):
        assert f".env:{line}: " in said
    many = refused(".env", "hunter2\n" * 100)
    assert "and 80 more lines" in many


def test_many_values_quoted_for_a_shell_take_time_in_proportion():
    """Each is read once: nothing is begun again at the beginning of the file."""
    lines = [as_env({f"N{number}": f"it's {'x' * 200}"}) for number in range(2_000)]
    assert len(expanded(read_assignments(Path(".env"), "".join(lines), lambda _: None))) == 2_000


def test_what_docker_takes_as_it_is_comes_in_as_it_is(read, refused):
    text = '# of the day\n\n  A=#frag\r\nB=x #y \nC="quoted"\nD=a=b\nE=\nF=$HOME\nPATH=/bin\nxpack.h-2=on\n'
    assert read("file.env", text, "docker") == {
        "A": "#frag", "B": "x #y ", "C": '"quoted"', "D": "a=b", "E": "", "F": "$HOME", "xpack.h-2": "on",
    }  # fmt: skip
    assert len(read.warned) == 1
    assert "PATH is left out" in read.warned[0]
    message = refused("file.env", "A=1\nHOME\nB C=hunter2\n=hunter2\nA=2\n", "docker")
    for part in (
        ":2: a name alone",
        ":3: the text before =",
        ":4: the text before =",
        ":5: A is there twice",
    ):
        assert part in message
    assert "op://" in refused("file.env", "A=op://vault/item/field\n", "docker")


@given(values=st.dictionaries(st.from_regex(r"[a-z_]{1,6}", fullmatch=True), VALUES, max_size=5))
def test_what_export_writes_for_docker_comes_back(values):
    plain = {name: value.replace("\n", " ") for name, value in values.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.env"
        path.write_text(as_docker(plain), newline="")
        assert read_table(path, pytest.fail, "docker") == plain


def test_merge_keys_of_yaml_merge(read):
    text = (
        "base: &base {user: ann, port: 1}\nmore: &more {port: 2, tls: x}\n"
        "one:\n  <<: *base\n  port: 3\ntwo:\n  <<: [*base, *more]\nquoted: {'<<': y}\n"
    )
    found = read("x.yaml", text)
    assert {name: value for name, value in found.items() if name.startswith(("one", "two", "quoted"))} == {
        "one/user": "ann",
        "one/port": "3",
        "two/user": "ann",
        "two/port": "1",
        "two/tls": "x",
        "quoted/<<": "y",
    }


def test_nothing_is_warned_of_an_ordinary_file(read):
    read(".env", "# a comment\nA=1\nexport B='two words'\nC=\"a\\nb\"\n")
    assert read.warned == []


def test_env_is_read_so_whatever_the_file_is_called(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("A=1\n")
    assert expanded(read_dotenv(path, lambda _: None)) == {"A": "1"}


def test_json_of_an_export_comes_back(read):
    values = {"a": "1.10", "b/c": "x\ny", "d": "null", "e": ""}
    assert read("x.json", json.dumps(values)) == values


EXPORT = (
    '"Group","Title","Username","Password","URL"\n'
    '"Passwords","top","","rootone1",""\n'
    '"Passwords/app","db","joe","se""cr,et\nline",""\n'
    '"Passwords/Recycle Bin","gone","","hunter2",""\n'
    '"Passwords/app","empty","joe","",""\n'
)


def test_an_export_of_keepassxc(read):
    assert read("export.csv", EXPORT, "keepass") == {"top": "rootone1", "app/db": 'se"cr,et\nline'}
    assert [warning.split(" is left out")[0] for warning in read.warned] == [
        "'Recycle Bin/gone'",
        "'app/empty'",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "a,b\nhunter2,c\n",
        "Group,Title,Password\nRoot,hunter2\n",
        'Group,Title,Password\nRoot,a,"hunter2"x\n',
        "Group,Title,Password\nRoot,a,{REF:P@I:hunter2}\n",
        "Group,Title,Password\nRoot,a,hunter2\nRoot,a,hunter2\n",
        "",
    ],
)
def test_what_is_not_an_export_of_keepassxc(refused, text):
    refused("export.csv", text, "keepass")


def entry(title, password, more=""):
    return (
        f"<Entry><String><Key>Password</Key><Value{more}>{password}</Value></String>"
        f"<String><Key>Title</Key><Value>{title}</Value></String>"
        "<History><Entry><String><Key>Title</Key><Value>former</Value></String>"
        "<String><Key>Password</Key><Value>hunter2</Value></String></Entry></History></Entry>"
    )


def xml(inner):
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<KeePassFile>'
        "<Meta><RecycleBinUUID>MpaezQ==</RecycleBinUUID></Meta>"
        f"<Root><Group><UUID>1K8T8Q==</UUID><Name>Passwords</Name>{inner}</Group></Root></KeePassFile>"
    )


def test_an_export_of_keepass_in_xml(read):
    text = xml(
        entry("top", "rootone1")
        + "<Group><UUID>GtLUfA==</UUID><Name>app</Name>"
        + entry("db", 'se"c&lt;&gt;&amp;\nli\u00e9ne', ' ProtectInMemory="True"')
        + entry("empty", "")
        + f"<Group><UUID>x</UUID><Name>in</Name>{entry('k', 'deepone1')}</Group></Group>"
        + f"<Group><UUID>MpaezQ==</UUID><Name>Papierkorb</Name>{entry('gone', 'hunter2')}</Group>"
    )
    values = {"top": "rootone1", "app/db": 'se"c<>&\nli\u00e9ne', "app/in/k": "deepone1"}
    assert read("export.xml", text, "keepass") == values
    assert [warning.split(" is left out")[0] for warning in read.warned] == [
        "'app/empty'",
        "'Papierkorb/gone'",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<pwlist><pwentry><password>hunter2</password></pwentry></pwlist>", "not an export"),
        ("<KeePassFile>&hunter2;</KeePassFile>", "export.xml:1:14: not XML"),
        ("<KeePassFile>", "not XML"),
        ("<!DOCTYPE KeePassFile><KeePassFile/>", "DOCTYPE"),
        (xml(entry("a", "hunter2", ' Protected="True"')), "encrypted"),
        (xml(entry("a", "{REF:P@I:hunter2}")), "reference"),
        (xml(entry("a", "hunter2") + entry("a", "hunter2")), "twice"),
    ],
)
def test_what_is_not_an_export_of_keepass_in_xml(refused, text, expected):
    assert expected in refused("export.xml", text, "keepass")


@pytest.mark.parametrize("ending", ["csv", "xml", "kdbx"])
def test_exports_of_keepass_are_told_by_their_ending(refused, ending):
    assert "--format keepass" in refused(f"x.{ending}", "hunter2")


def test_json_without_a_name_that_says_so_is_asked_for(tmp_path, monkeypatch):
    """As from a pipe: it would be read as `.env`, whose mistakes say nothing."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b' \n{"A": "hunter22"}'), "utf-8"))
    with pytest.raises(UsageError, match="- looks like JSON") as caught:
        read_table(Path("-"), print)
    assert "--format json" in caught.value.hint
    path = tmp_path / "settings"
    path.write_text('{"A": "hunter22"}')
    with pytest.raises(UsageError, match="looks like JSON"):
        read_table(path, print)
    assert read_table(path, print, "json") == {"A": "hunter22"}
    with pytest.raises(UsageError, match="settings:1: "):
        read_table(path, print, "env")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "x.yaml",
            "a: null\nb: !!binary aHVudGVyMg==\nc: [hunter2]\nd: fine\nd: hunter2\n? [x]\n: y\n",
            [
                ":1:1: a is null",
                ":2:1: b has the tag !!binary",
                ":3:1: c is a list",
                ":5:1: d is there twice",
                ":6:3: ",
            ],
        ),
        (
            "x.json",
            '{"a": null, "b": [1], "c": NaN, "d": "hunter2", "d": "x", "e": {"f": null}}',
            ["a is null", "b is a list", "NaN is not JSON", "d is there twice", "e/f is null"],
        ),
    ],
)
def test_all_that_is_wrong_with_json_and_yaml_is_told_at_once(refused, name, text, expected):
    said = refused(name, text)
    assert all(one in said for one in expected), said
    assert "hunter2" not in said


def test_of_very_many_mistakes_the_first_are_told(refused):
    said = refused("x.yaml", "".join(f"n{number}: null\n" for number in range(1, 31)))
    assert ":20:1: n20 is null" in said
    assert "n21" not in said
    assert "n20 is null, expected text; quote it if it is text; and 10 more" in said
