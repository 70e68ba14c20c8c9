"""What people do wrong in their first hour: each message says where, what was got and what to do next."""

from __future__ import annotations

import errno
import io
import os
import select
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import warm_command
from sampling import sample
from strongroom import generate_key
from strongroom.cli.app import _OTHER_WORDS, COMMANDS, run_app
from strongroom.cli.errors import print_error
from strongroom.cli.standard_streams import read_stdin
from strongroom.errors import ConfigurationError, ReadOnlyError, SecretNotFoundError

GOOD = """\
version: 1
pipelines:
  app: {provider: {type: file, file_path: secrets.enc, key_file: app.key}}
secrets:
  DATABASE_PASSWORD: {key: database/password, min_length: 12}
  PORT: {key: port, type: port, required: false}
  URL: {compose: "db://u:{{ DATABASE_PASSWORD }}@h"}
profiles:
  staging: {pipelines: {app: {provider: {type: file, file_path: staging.enc, key_file: app.key}}}}
"""
KEY = generate_key()  # a passphrase takes longer than the rest of a test
SCREEN = 80 * 12


@pytest.fixture(scope="module")
def filled(tmp_path_factory, warm_strongroom):
    """Return a folder with a spec, a key and a store, of which each test gets a copy."""
    folder = tmp_path_factory.mktemp("filled")
    (folder / "strongroom.yaml").write_text(GOOD)
    (folder / "app.key").write_text(KEY)
    (folder / "app.key").chmod(0o600)
    command = [warm_strongroom, "set", "DATABASE_PASSWORD", "correct horse battery"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path_factory.mktemp("home"))}
    warm_command.run(command, check=True, cwd=folder, env=environment)
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch, capfd, filled):
    monkeypatch.chdir(tmp_path)
    for one in filled.iterdir():
        shutil.copy2(one, tmp_path)

    def run(*words, spec=None, expected=0):
        capfd.readouterr()
        if spec is not None:
            Path("other.yaml").write_text(spec)
            words = ("--spec", "other.yaml", *words)
        code = run_app(words)
        said = capfd.readouterr()
        assert code == expected, said
        assert len(said.err) < SCREEN
        assert KEY not in said.err
        return said

    return run


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["remove", "A"], 2, "there is no command 'remove'; did you mean 'delete'?"),
        (["keys"], 2, "there is no command 'keys'; did you mean 'list'?"),
        (["put", "A"], 2, "there is no command 'put'; did you mean 'set'?"),
        (["login"], 2, "there is no command 'login'; see `strongroom --help`"),
        (["get", "--hlp"], 2, "No such option '--hlp'. Did you mean '--help'?\n"),
        (["chek"], 2, "there is no command 'chek'; did you mean 'check'?"),
        (["list", "--profile", "staging"], 2, "put --profile before the command"),
        (
            ["--profile", "stagin", "list"],
            2,
            "no profile 'stagin' in strongroom.yaml; did you mean 'staging'?",
        ),
        (["--pipeline", "ap", "list"], 2, "no pipeline 'ap' in strongroom.yaml; did you mean 'app'?"),
        (["--tenant", "acme", "list"], 2, "--tenant means nothing here: nothing in app keeps tenants apart"),
        (["--spec", "nope.yaml", "list"], 2, "the spec file nope.yaml does not exist"),
        (["--spec", ".", "list"], 2, "the spec . is a folder; name the file in it: strongroom.yaml"),
        (["get", "DATABASE_PASWORD"], 3, "did you mean 'DATABASE_PASSWORD'?"),
        *sample(
            (
                (words, 2, f"Invalid value for '{name}': the path is empty; see `strongroom")
                for name, words in [
                    ("--spec", ["--spec", "", "list"]),
                    ("--new-key-file", ["rekey", "--new-key-file", ""]),
                    ("TEMPLATE", ["render", ""]),
                    ("-o' / '--output", ["render", "plain.j2", "-o", ""]),
                    ("[PATH]...", ["audit", "verify", ""]),
                    ("[PATH]", ["audit", "tail", ""]),
                    ("--from", ["init", "--force", "--from", ""]),
                    ("--key-file", ["audit", "verify", "--key-file", ""]),
                    ("FILE", ["restore", ""]),
                    ("FILE", ["backup", ""]),
                    ("--socket", ["serve", "--socket", ""]),
                    ("FILE", ["import", ""]),
                ]
            ),
            one_in=2,
        ),
        *(
            (words, 3, "secret 'zzz' not found; `strongroom list` shows what is stored")
            for words in (
                ["get", "zzz"],
                ["history", "zzz"],
                ["delete", "zzz"],
                ["mv", "zzz", "y"],
                ["edit", "zzz"],
                ["rotate", "zzz"],
            )
        ),
        (
            ["run", "--only", "", "--", "true"],
            2,
            "--only names no secret; name some, or leave it out for all",
        ),
        (["run", "--only", " ,", "--", "true"], 2, "--only names no secret; name some, or leave it out for"),
        (["delete", "DATABASE_PASSWORD"], 3, "declares by this name is at the key 'database/password'"),
        (["mv", "DATABASE_PASSWORD", "x"], 3, "declares by this name is at the key 'database/password'"),
        (["delete", "URL"], 3, "declares by this name is composed of DATABASE_PASSWORD"),
        (["run", "--only", "DATABASE_PASWORD", "--", "true"], 2, "did you mean DATABASE_PASSWORD?"),
        (["copy", "app", "app"], 2, "SRC and DST are the same pipeline; name two"),
        (["copy", "app", "staging"], 2, "no pipeline 'staging'; there are: app"),
        (["restore", "nope.enc"], 2, "there is no backup nope.enc"),
        (
            ["restore", "text"],
            6,
            "the backup text was changed: SQLite says file is not a database; take another",
        ),
        (
            ["render", "plain.j2"],
            2,
            "plain.j2:2: 'DATABASE_PASWORD' is undefined: no secret of this name is decl",
        ),
        (["plugins", "--into", "x"], 2, "--into is for `plugins new`"),
        (["rotate"], 2, "rotate what?; give KEY, or --due, or --status"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_command_says_what_is_right(here, words, code, said):
    Path("text").write_text("some text\n")
    Path("plain.j2").write_text("# a file\npassword={{ DATABASE_PASWORD }}\n")
    error = here(*words, expected=code).err
    assert said in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("spec", "code", "said"),
    [
        (
            "version: 1\npipelines:\n\tapp: {}\n",
            2,
            "other.yaml:3:1: not YAML: a tab; YAML indents by spaces alone",
        ),
        ("version: 1\npipelines:\n  app:\n  \tprovider: {}\n", 2, "not YAML: a tab"),
        ("version: 1\n", 2, "other.yaml has no pipeline; add one under `pipelines:`"),
        (
            "version: 1\npipelines: {a: {provider: {type: memory}}, b: {provider: {type: memory}}}\n",
            2,
            "error: other.yaml has no default pipeline; add `default:` to the spec, or give --pipeline; there are: a, b",
        ),
        (GOOD.replace("type: file", "type: fil", 1), 2, "unknown provider 'fil'; did you mean 'file'?"),
        (GOOD.replace("file_path", "filepath", 1), 2, "did you mean 'file_path'?"),
        (GOOD.replace("app.key", "wrong.key", 1), 6, "wrong key for {0}/secrets.enc: it needs the key"),
        (GOOD.replace("app.key", "none.key", 1), 2, "the key file {0}/none.key is missing"),
        (
            GOOD.replace("key_file: app.key", 'encryption_key: "${env:NO_KEY}"', 1),
            2,
            "NO_KEY is not set; set it",
        ),
        (
            GOOD.replace("secrets.enc", "text", 1),
            6,
            "the store {0}/text was changed: SQLite says file is not a data",
        ),
        (
            GOOD.replace("secrets.enc", "empty", 1),
            6,
            "the store {0}/empty was changed: it is empty; restore a backup",
        ),
    ],
    ids=lambda value: "",
)
def test_a_wrong_spec_says_where(here, tmp_path, spec, code, said):
    Path("text").write_text("some text\n")
    Path("empty").touch()
    Path("wrong.key").write_text("another passphrase")
    Path("wrong.key").chmod(0o600)
    assert said.format(tmp_path) in here("list", spec=spec, expected=code).err


@pytest.mark.parametrize("words", [["check"], ["doctor"], ["get", "database/password"], ["set", "a", "b"]])
def test_a_store_that_was_changed_is_named_by_all(here, tmp_path, words):
    Path("secrets.enc").write_bytes(b"no database" * 100)
    said = here(*words, expected=7 if words[0] in {"check", "doctor"} else 6)
    assert "secrets.enc was changed: SQLite says" in (said.out + said.err)


def test_a_value_that_run_would_refuse_is_told_as_it_is_stored(here):
    warned = here("set", "DATABASE_PASSWORD", "hunter2").err
    assert "it is stored, but `run` refuses it: DATABASE_PASSWORD: " in warned
    assert "12" in warned
    assert "hunter2" not in warned
    assert "PORT: it is not of the type port" in here("set", "port", "none").err
    assert "refuses" not in here("set", "DATABASE_PASSWORD", "correct horse battery").err


MEMBER = "version: 1\npipelines: {app: {provider: {type: file, file_path: m.enc, key_file: app.key}}}\n"


def test_of_a_member_the_member_is_judged(here):
    spec = (
        MEMBER
        + "secrets: {USER: {key: login, field: user, min_length: 4}, LOGIN: {key: login, type: json}}\n"
    )
    assert "USER: " in here("set", "USER", "me", spec=spec).err
    assert "refuses" not in here("set", "USER", "myself", spec=spec).err


@pytest.mark.parametrize("kind", ["memory", "env"])
def test_what_ends_with_the_command_is_told(here, kind):
    spec = f"version: 1\npipelines: {{app: {{provider: {{type: {kind}}}}}}}\n"
    gone = "app lives in this process only: what was stored there ends with this command"
    Path(".env").write_text("A=one-value\n")
    assert gone in here("set", "a", "b", spec=spec).err
    assert gone in here("import", ".env", spec=spec).err
    assert gone not in here("import", ".env").err


def test_lines_to_type_are_about_the_same_profile(here, monkeypatch):
    """Without its profile `mv` would move what another one has."""
    here("--profile", "staging", "set", "old/key", "correct horse battery")
    spec = Path("strongroom.yaml").read_text()
    Path("strongroom.yaml").write_text(spec.replace("database/password", "old/key"))
    here("--profile", "staging", "check")
    Path("strongroom.yaml").write_text(spec)
    told = here("--profile", "staging", "check", expected=7).out
    assert "`strongroom --profile staging mv old/key database/password` moves it" in told
    monkeypatch.setenv("STRONGROOM_PROFILE", "staging")
    assert "`strongroom mv old/key database/password` moves it" in here("check", expected=7).out


def test_where_nothing_is_leased_it_says_so(here, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert here("lease", "list").out == "no process holds a lease\n"


def test_a_value_that_does_not_open_is_named(here):
    spec = GOOD.replace(
        "app: {provider: {type: file, file_path: secrets.enc, key_file: app.key}}",
        "app: {provider: {type: file, file_path: m.enc, key_file: app.key}, "
        "middleware: [{type: encryption, key: KEY_OF_VALUES}]}",
    )
    here("set", "a/key", "b", spec=spec.replace("KEY_OF_VALUES", generate_key()))
    error = here("get", "a/key", spec=spec.replace("KEY_OF_VALUES", generate_key()), expected=6).err
    assert error.startswith("error: 'a/key': the value cannot be decrypted: another key")


@pytest.mark.parametrize(
    ("words", "said"), [(["--prefix", "zz"], "begins with 'zz'"), ([], "other is empty")]
)
def test_nothing_to_do_is_told(here, words, said):
    spec = GOOD.replace("secrets:", "  other: {provider: {type: memory}}\ndefault: app\nsecrets:", 1)
    source = "app" if words else "other"
    assert said in here("copy", source, "other" if words else "app", *words, spec=spec).err
    if words:
        assert said in here("export", "--format", "env", *words).err


@pytest.mark.parametrize("words", [["check"], ["check", "--offline"]])
def test_several_pipelines_without_a_default_are_told_by_check(here, words):
    spec = GOOD.replace("secrets:", "  other: {provider: {type: memory}}\nsecrets:", 1)
    said = here(*words, spec=spec, expected=7)
    assert "no default pipeline; add `default:` to the spec" in said.err
    assert "DATABASE_PASSWORD" in said.out
    assert "no route matches 'database/password'" in said.out
    routed = spec.replace("secrets:", "routes: [{prefix: database/, pipeline: app}]\nsecrets:", 1)
    said = here("check", "--offline", spec=routed, expected=7)
    assert "no default" not in said.err
    assert "no route matches 'port'" in said.out
    assert "no route matches 'database/password'" not in said.out
    without = spec.partition("secrets:")[0]
    assert "no default pipeline" in here(*words, spec=without).err
    assert "no default" not in here(*words, spec=without + "default: app\n").err
    assert "no default" not in here("--pipeline", "app", *words, spec=without).err


@pytest.mark.parametrize(
    ("words", "other"),
    [
        (["check", "--format", "sarif"], "sarif"),
        (["check", "--offline", "--format", "table"], "table"),
        (["graph", "--format", "svg"], "svg"),
        (["export", "--format", "env"], "env"),
    ],
)
def test_two_formats_at_once_are_refused(here, words, other):
    for asked in (["--json", *words], [*words, "--json"]):
        said = here(*asked, expected=2)
        assert f"--json and --format {other} ask for different things" in said.err
        assert not said.out
    assert here("check", "--offline", "--json", "--format", "json").out.startswith("{")


def test_profiles_are_checked_offline_too(here):
    Path("strongroom.yaml").write_text(GOOD + "  bad: {piplines: {}, default: nope}\n")
    warned = here("check", "--offline").err.splitlines()
    assert len(warned) == 2
    assert all(one.startswith("warning: under the profile bad: strongroom.yaml:") for one in warned)
    assert "did you mean 'pipelines'?" in warned[0]
    assert "bad" not in here("--profile", "staging", "check", "--offline").err


@pytest.mark.parametrize(
    ("text", "said"), [("", "took over 0 secrets from .env\n"), ("A=one-of-mine\n", "delete it")]
)
def test_what_was_taken_over_is_to_be_deleted(here, monkeypatch, tmp_path, text, said):
    (tmp_path / "new").mkdir()
    monkeypatch.chdir(tmp_path / "new")
    Path(".env").write_text(text)
    out = here("init", "--from", ".env").out
    assert said in out
    assert ("delete" in out) == bool(text)


def test_an_audit_log_without_a_folder_says_what_to_make(here):
    spec = GOOD + "hooks: [{type: audit, path: no/such/folder/audit.log}]\n"
    assert (
        "No such file or directory; make its folder, or correct the path"
        in here("get", "database/password", spec=spec, expected=1).err
    )


def test_the_words_of_other_tools_are_no_commands_and_lead_to_one():
    words = [word for others in _OTHER_WORDS.values() for word in others]
    assert set(_OTHER_WORDS) <= set(COMMANDS)
    assert not set(words) & set(COMMANDS)
    assert len(words) == len(set(words))


@pytest.mark.parametrize(
    "words", [["get", "zzz"], ["delete", "zzz"], ["history", "zzz"], ["rotate", "zzz"], ["edit", "zzz"]]
)
def test_without_a_spec_it_is_the_own_store_that_has_nothing(here, monkeypatch, tmp_path, words):
    (tmp_path / ".git").mkdir()
    (tmp_path / "elsewhere/.git").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "no strongroom.yaml here or above, so your own store was asked" in here(*words, expected=3).err


@pytest.mark.parametrize(
    ("given", "meant"),
    [("database_password", "DATABASE_PASSWORD"), ("Database/PassWord", "database/password")],
)
def test_a_name_in_another_case_is_meant(here, given, meant):
    assert f"did you mean '{meant}'?" in here("get", given, expected=3).err


@pytest.mark.parametrize(
    ("declared", "problem"),
    [
        ("type: port, default: 70000", "the default cannot be used: it is not of the type port"),
        ("one_of: [a], default: b", "the default cannot be used: it is not the value allowed"),
        ("default: changeme", "the default cannot be used: it is a placeholder"),
        (
            "min_length: 12, generate: {length: 8}",
            "what `generate` makes cannot be used: it has 8 characters",
        ),
        (
            "type: integer, generate: {length: 8}",
            "what `generate` makes cannot be used: it is not of the type",
        ),
        ("default: ''", None),
        ("default: 5432, type: port", None),
        ("type: integer, generate: {length: 8, alphabet: '0123456789'}", None),
        ("required: false, generate: {length: 8}, pattern: '[a-zA-Z0-9]+'", None),
    ],
)
def test_check_offline_tells_what_the_declaration_itself_refuses(here, declared, problem):
    spec = f"version: 1\npipelines: {{app: {{provider: {{type: memory}}}}}}\nsecrets: {{A: {{{declared}}}}}\n"
    said = here("check", "--offline", spec=spec, expected=0 if problem is None else 7)
    assert (problem or "the spec is right\n") in said.out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["check", "--offline"], "there is no strongroom.yaml here or above, so no secret is declared"),
        (["list"], "there is no strongroom.yaml here or above, so your own store was asked"),
        (
            ["list", "app/", "--long"],
            "there is no strongroom.yaml here or above, so your own store was asked",
        ),
    ],
)
def test_without_a_spec_nothing_is_called_right_or_empty_without_a_word(
    here, monkeypatch, tmp_path, words, expected
):
    (tmp_path / "elsewhere/.git").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    said = here(*words)
    assert said.err == f"warning: {expected}\n"
    assert "right" not in said.out


@pytest.mark.parametrize(
    ("target", "code", "said"),
    [
        (".", 2, ". is a folder; name a file in it"),
        ("folder", 2, "folder is a folder; name a file in it"),
        ("none/out", 2, "{0}/none: No such file or directory; make it, or correct the path"),
        ("plain.j2/out", 2, "{0}/plain.j2: Not a directory; correct the path"),
        ("/dev/full", 1, "/dev/full: No space left on device"),
    ],
)
def test_a_place_that_cannot_be_written_is_named(here, tmp_path, target, code, said):
    """By the name that the user gave, and not by that of a temporary file."""
    Path("folder").mkdir()
    Path("plain.j2").write_text("text")
    error = here("render", "plain.j2", "-o", target, expected=code).err
    assert error == f"error: {said.format(tmp_path)}\n"
    assert sorted(one.name for one in tmp_path.iterdir() if one.name.startswith(".")) == []


def test_an_empty_value_that_nobody_meant_is_told(here):
    assert "the value of 'new' is empty" in here("set", "new", "").err
    assert here("set", "other", "", "--allow-empty").err.count("warning") == 1  # of the command line


def test_an_input_that_does_not_block_is_read_to_its_end(monkeypatch):
    """What has not come yet is a part of the value."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.write(writer, b"the first ")
    wait, waits = select.select, threading.Semaphore(0)

    def waiting(*given):
        waits.release()
        return wait(*given)

    def write_the_rest():
        for part in (b"", b"and the second", b" part"):
            assert waits.acquire(timeout=60)
            os.write(writer, part)
        os.close(writer)

    monkeypatch.setattr(select, "select", waiting)
    thread = threading.Thread(target=write_the_rest)
    thread.start()
    with io.TextIOWrapper(os.fdopen(reader, "rb")) as given:
        monkeypatch.setattr(sys, "stdin", given)
        assert read_stdin() == b"the first and the second part"
    thread.join()


MASKS = ["--spec", "env.yaml", "export", "--format", "github", "--prefix", ""]


@pytest.mark.parametrize(
    ("stream", "words", "size"),
    [
        ("stdout", ["render", "template"], 200_000),
        ("stderr", MASKS, 4 * len(f"::add-mask::{'x' * 50_000}\n")),
    ],
)
def test_an_output_that_does_not_block_gets_all(here, warm_strongroom, stream, words, size):
    """Another program may leave a terminal or pipe so: Python then writes a part, and says nothing."""
    Path("template").write_text("x" * 200_000)
    Path("env.yaml").write_text("version: 1\npipelines: {app: {provider: {type: env, prefix: E_}}}\n")
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with (
        subprocess.Popen(
            [warm_strongroom, *words],
            env=os.environ | {f"E_N{number}": str(number) * 50_000 for number in range(4)},
            **{"stdout": subprocess.DEVNULL, stream: writer},
        ) as process,
        os.fdopen(reader, "rb") as output,
    ):
        os.close(writer)
        assert len(output.read()) == size
    assert process.returncode == 0


PRINTS = [
    ["list"],
    ["get", "DATABASE_PASSWORD"],
    ["check"],
    ["--json", "list"],
    ["list", "--help"],
    ["explain", "PORT"],
    ["graph"],
    ["--version"],
]


@pytest.mark.parametrize("words", PRINTS)
def test_what_a_full_standard_output_does_not_take_is_told(here, warm_strongroom, words):
    command = [warm_strongroom, *words]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert "No space left on device" in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize("words", sample(PRINTS, one_in=4))
def test_a_closed_standard_output_ends_with_one_and_without_a_word(here, words):
    command = [sys.executable, "-m", "strongroom", *words]
    closed = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *command], stderr=subprocess.PIPE, text=True, check=False
    )
    assert (closed.returncode, closed.stderr) == (1, "")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["set", "new", "value"], 0),
        (["run", "--", "true"], 0),
        (["run", "--", "sh", "-c", "exit 9"], 9),
        (["get", "absent"], 3),
        (["delete", "absent"], 3),
        (["audit", "verify", "absent"], 2),
        (["chek"], 2),
    ],
)
def test_a_warning_that_cannot_be_written_stops_nothing(here, warm_strongroom, words, code):
    here("set", "PORT", "80")  # `run` warns that it is not masked
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([warm_strongroom, *words], stderr=full, check=False)
    assert done.returncode == code
    if words[0] == "set":
        assert here("get", "new").out == "value"


@pytest.mark.parametrize(
    "words",
    sample([["set", "new"], ["import", "-", "--format", "json"], ["import", "-"], ["render", "-"]], one_in=2),
)
def test_what_cannot_be_read_from_standard_input_is_told(here, words):
    command = [sys.executable, "-m", "strongroom", *words]
    closed = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *command], stderr=subprocess.PIPE, text=True, check=False
    )
    assert closed.stderr == "error: standard input: Bad file descriptor\n"
    assert closed.returncode == 1


@pytest.mark.parametrize("spec", [None, "version: 1\npipelines: {a: {provider: {type: memory}}}\n"])
def test_an_export_of_nothing_says_why(here, monkeypatch, tmp_path, spec):
    if spec is None:
        (tmp_path / "elsewhere/.git").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / "elsewhere")
        monkeypatch.setenv("HOME", str(tmp_path))
    said = here("export", "--format", "env", spec=spec)
    assert said.out == ""
    assert ("no strongroom.yaml" if spec is None else "declares no secrets") in said.err


def test_a_fresh_clone_is_told_once(here):
    """However many secrets there are, the reason that they have in common is on the screen."""
    many = "".join(f"  SECRET_{number}: {{key: a/{number}}}\n" for number in range(9))
    error = here(
        "run",
        "--",
        "true",
        spec=GOOD.partition("secrets:\n")[0].replace("secrets.enc", "none.enc") + "secrets:\n" + many,
        expected=3,
    ).err
    assert error.count("none.enc") == 1
    assert error.count("missing: nothing is stored at") == 9


def test_init_takes_env_files_alone(here, monkeypatch, tmp_path):
    (tmp_path / "new").mkdir()
    monkeypatch.chdir(tmp_path / "new")
    Path("s.json").write_text('{"A": "b"}')
    assert (
        "run `strongroom init`, then `strongroom import s.json`"
        in here("init", "--from", "s.json", expected=2).err
    )
    assert not Path("strongroom.yaml").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["trust", ""], 2, "PATH is empty; give a path, or leave out PATH for the spec that is found here"),
        (
            ["trust", "--folder", ""],
            2,
            "PATH is empty; give a path, or leave out PATH for the current folder",
        ),
        (["trust", "--forget", ""], 2, "PATH is empty"),
        (["scan", ""], 2, "a PATH is empty"),
        (["scan", "app.key", ""], 2, "a PATH is empty"),
        (
            ["run", "--watch", "--on-change", "", "--", "true"],
            2,
            "takes `restart` or a signal's name, not ''",
        ),
        (["run", "--only", "DATABASE_PASSWORD", "--", ""], 127, "error: : command not found"),
    ],
)
def test_a_variable_that_is_not_set_in_the_place_of_a_word(here, words, code, said):
    """It means neither the current folder nor the default, and no program, as in a shell."""
    assert said in here(*words, expected=code).err


@pytest.mark.parametrize(
    ("words", "code"), [(["run", "--", "true"], 2), (["check"], 0), (["get", "A"], 3), (["trust"], 2)]
)
def test_a_spec_above_that_is_passed_over_is_named(tmp_path, monkeypatch, capfd, words, code):
    """Others may write its folder; "there is none" would send its owner looking."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    shared = tmp_path / "shared"
    (shared / "project").mkdir(parents=True)
    (shared / "strongroom.yaml").write_text(GOOD)
    monkeypatch.chdir(shared / "project")
    shared.chmod(0o777)
    said = f"{shared}/strongroom.yaml is passed over, because others may write its folder"
    assert run_app(words) == code
    assert said in "".join(capfd.readouterr())
    (shared / "strongroom.yaml").unlink()
    assert run_app(words) == code
    assert "passed over" not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("number", "code", "end"),
    [
        (errno.EACCES, 4, "Permission denied; let this user have the right, or run as one who has it"),
        (errno.ENOENT, 2, "No such file or directory; make it, or correct the path"),
        (errno.EISDIR, 2, "Is a directory; name a file in it"),
        (errno.ENOTDIR, 2, "Not a directory; correct the path"),
        (errno.ELOOP, 2, "Too many levels of symbolic links; correct the path"),
        (errno.ENAMETOOLONG, 2, "File name too long; correct the path"),
        (errno.EIO, 1, "Input/output error"),
    ],
)
def test_what_the_system_refuses_is_told_with_the_next_step(capfd, number, code, end):
    refused = OSError(number, os.strerror(number), "config.j2")
    assert print_error(refused, as_json=False, debug=False) == code
    assert capfd.readouterr().err == f"error: config.j2: {end}\n"


@pytest.mark.parametrize(("words", "code"), [(["check", "--offline"], 0), (["doctor"], 7), (["list"], 2)])
def test_a_spec_without_a_pipeline_is_not_called_right(here, words, code):
    said = here(*words, spec="version: 1\n", expected=code)
    assert "has no pipeline; add one under `pipelines:`" in said.out + said.err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            ConfigurationError("there is no folder x", hint="mount it"),
            "there is no folder x (pipeline app); mount it",
        ),
        (ReadOnlyError("cannot set 'a'"), "cannot set 'a' (pipeline app)"),
        (SecretNotFoundError("a"), "secret 'a' not found"),
    ],
)
def test_an_error_about_a_backend_names_its_pipeline(capfd, error, said):
    error.pipeline = "app"
    print_error(error, as_json=False, debug=False)
    assert capfd.readouterr().err == f"error: {said}\n"
