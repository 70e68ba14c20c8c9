"""`strongroom scan` finds the stored values, in whatever encoding, and shows none of them."""

from __future__ import annotations

import base64
import errno
import html
import json
import os
import random
import shlex
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
import warm_command
from sampling import sample
from strongroom.cli.app import run_app
from strongroom.cli.commands import scan as scanning
from strongroom.cli.scanning import matcher
from strongroom.masking import Masker, forms

SPEC = """
version: 1
pipelines:
  app: {provider: {type: env, prefix: "T_"}}
secrets:
  PASSWORD: {key: password}
  COUNT: {key: count, type: integer, required: false}
  OPEN: {key: open, mask: false, required: false}
  DEFAULTED: {key: defaulted, default: default-in-the-spec}
"""
VALUE = "p@ss word/+ü-geheim"
PEM = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\n9w0BAQEFAASCBKcwggSj\n-----END KEY-----\n"
STORED = {
    "PASSWORD": VALUE,
    "UNDECLARED": "undeclared-value",
    "CERT": PEM,
    "PIN": "12345",
    "COUNT": "123456789",
}
WHERE = {
    "plain": VALUE,
    "base64": base64.b64encode(VALUE.encode()).decode(),
    "base64 for URLs": base64.urlsafe_b64encode(f"x{VALUE}".encode()).decode(),
    "base64 in a login": base64.b64encode(f"me:{VALUE}@host".encode()).decode(),
    "hex": VALUE.encode().hex(),
    "HEX": VALUE.encode().hex().upper(),
    "URL": quote(VALUE, safe=""),
    "form": quote_plus(VALUE),
    "JSON": json.dumps({"password": VALUE}),
    "JSON in JSON": json.dumps(json.dumps({"password": VALUE})),
    "shell": shlex.quote(VALUE),
    "Python": ascii(VALUE),
    "HTML": html.escape(VALUE),
    "a line of a key": "  key: 9w0BAQEFAASCBKcwggSj",
    "a key": PEM,
    "not declared": "token=undeclared-value;",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty git work tree with a spec."""
    monkeypatch.chdir(tmp_path)
    Path("strongroom.yaml").write_text(SPEC)
    git("init", "--quiet")
    git("config", "user.email", "a@example.com")
    git("config", "user.name", "a")
    return tmp_path


def git(*words):
    return subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def scan(warm_strongroom):
    """Return a function that runs `strongroom scan` with words."""

    def run(*words, options=(), stored=None):
        return warm_command.run(
            [warm_strongroom, *options, "scan", *words],
            env=environment(stored),
        )

    return run


def environment(stored=None):
    return os.environ | {f"T_{name}": value for name, value in (STORED if stored is None else stored).items()}


def test_finds_every_encoding_and_shows_none(folder, scan):
    for number, text in enumerate(WHERE.values()):
        Path(f"file{number:02}").write_text(f"first line\n  some = {text}\nlast\n")
    seen = scan(options=["--json"])
    report = json.loads(seen.stdout)
    assert (seen.returncode, report["ok"]) == (7, False)
    assert {one["path"] for one in report["findings"]} == {f"file{number:02}" for number in range(len(WHERE))}
    assert {one["line"] for one in report["findings"] if one["path"] != "file14"} == {2}
    for value in STORED.values():
        assert not any(
            form.decode(errors="replace") in seen.stdout + seen.stderr
            for form in forms(value)
            if len(form) > 6
        )


def test_says_where_and_what(folder, scan):
    Path("a.env").write_text(f"A=1\nB=2\nPW={VALUE}\n")
    seen = scan("a.env")
    assert seen.stdout == "a.env:3:4: PASSWORD (plain)\n1 place in 1 file\n"


def test_finds_nothing_where_there_is_nothing(folder, scan):
    Path("a.txt").write_text("12345 123456789 -----BEGIN KEY----- default-in-the-spec open\n")
    seen = scan(stored=STORED | {"OPEN": "open"})
    assert (seen.returncode, seen.stdout) == (0, "nothing in 2 files\n")
    assert seen.stderr == (
        "warning: not looked for: COUNT (of type integer), pin (fewer than 6 characters)\n"
    )


def test_a_find_across_two_pieces_of_a_big_file_is_found_once(folder, scan):
    size = 1 << 20
    for shift in range(0, 40, 5):
        Path("big").write_bytes(
            b"x" * 1000 + b"\n" + b"y" * (size - 1001 - shift) + VALUE.encode() + b"\nend" * 1000
        )
        seen = scan("big", options=["--json"])
        assert [(one["line"], one["column"]) for one in json.loads(seen.stdout)["findings"]] == [
            (2, size - 1000 - shift)
        ]


def test_looks_into_binary_files_and_utf_16(folder, scan):
    Path("binary").write_bytes(bytes(range(256)) * 9 + VALUE.encode() + b"\0\xff")
    Path("windows.txt").write_text(f"one\n{VALUE}", encoding="utf-16")
    findings = json.loads(scan(options=["--json"]).stdout)["findings"]
    assert {one["path"] for one in findings} == {"binary", "windows.txt"}


def test_leaves_out_what_git_ignores_unless_it_is_named(folder, scan):
    Path(".gitignore").write_text("*.env\nbuild/\n")
    Path("build").mkdir()
    for name in ("a.env", "build/out"):
        Path(name).write_text(VALUE)
    assert scan().returncode == 0
    assert scan("a.env").returncode == 7
    assert scan("build").returncode == 7


def test_looks_through_a_folder_that_is_no_work_tree(tmp_path, monkeypatch, scan):
    monkeypatch.chdir(tmp_path)
    Path("strongroom.yaml").write_text(SPEC)
    Path("deep/.git").mkdir(parents=True)
    Path("deep/er").write_text(VALUE)
    Path("deep/.git/config").write_text(VALUE)
    seen = scan("deep")
    assert seen.stdout.splitlines()[0] == "deep/er:1:1: PASSWORD (plain)"
    assert seen.stdout.splitlines()[1:] == ["1 place in 1 file"]


def test_does_not_follow_links_nor_wait_for_pipes(folder, tmp_path_factory, scan):
    outside = tmp_path_factory.mktemp("outside") / "file"
    outside.write_text(VALUE)
    Path("link").symlink_to(outside)
    os.mkfifo("pipe")
    assert scan().returncode == 0
    assert scan("link").returncode == 7


def test_a_name_that_is_a_value_is_found_and_not_shown(folder, scan):
    Path("undeclared-value.txt").write_text("harmless")
    seen = scan()
    assert seen.stdout == "********.txt:0:0: undeclared (plain)\n1 place in 2 files\n"


def test_a_path_that_is_not_there_is_an_error(folder, scan):
    assert scan("missing").returncode == 2


def test_staged_looks_at_what_is_staged_and_at_nothing_else(folder, scan):
    Path("clean").write_text("harmless")
    git("add", ".")
    Path("clean").write_text(VALUE)  # changed since
    Path("untracked").write_text(VALUE)
    assert scan("--staged").returncode == 0
    git("add", "clean")
    Path("clean").write_text("harmless again")
    seen = scan("--staged")
    assert (seen.returncode, seen.stdout.splitlines()[0]) == (7, "clean:1:1: PASSWORD (plain)")
    assert scan("--staged", "strongroom.yaml").returncode == 0


def test_staged_looks_above_the_folder_whatever_git_is_set_to(folder, scan, monkeypatch):
    (folder / "below").mkdir()
    (folder / "new").write_text(VALUE)
    git("add", "new")
    git("config", "diff.relative", "true")
    monkeypatch.chdir(folder / "below")

    assert scan("--staged").stdout.splitlines()[0] == "new:1:1: PASSWORD (plain)"


def test_staged_looks_past_files_in_conflict(folder, scan):
    """They have no content that is staged, and the others are looked at."""

    def commit(text):
        Path("file").write_text(text)
        git("add", "file")
        git("commit", "--quiet", "-m", "m")

    git("add", ".")
    commit("base")
    git("checkout", "--quiet", "-b", "other")
    commit("theirs")
    git("checkout", "--quiet", "-")
    commit("ours")
    subprocess.run(["git", "merge", "other"], check=False, capture_output=True)
    assert scan("--staged").returncode == 0
    Path("new").write_text(VALUE)
    git("add", "new")
    assert scan("--staged").stdout.splitlines()[0] == "new:1:1: PASSWORD (plain)"


def test_staged_knows_odd_names_and_deletions(folder, scan):
    names = ["with space", "new\nline", "ümläut", "-dash"]
    Path("gone").write_text("x")
    git("add", ".")
    git("commit", "--quiet", "-m", "m")
    git("rm", "--quiet", "gone")
    for name in names:
        Path(name).write_text(VALUE)
    git("add", ".")
    report = json.loads(scan("--staged", options=["--json"]).stdout)
    assert {one["path"] for one in report["findings"]} == set(names)


def test_staged_outside_of_a_work_tree_is_an_error(tmp_path, monkeypatch, scan):
    monkeypatch.chdir(tmp_path)
    Path("strongroom.yaml").write_text(SPEC)
    for words in (["--staged"], ["--install-hook"]):
        seen = scan(*words)
        assert (seen.returncode, "not a git repository" in seen.stderr) == (2, True)
        assert len(seen.stderr.splitlines()) <= 2  # git has hundreds of lines of options


def test_the_hook_refuses_a_commit_with_a_value(folder, scan):
    assert scan("--install-hook").returncode == 0
    assert "already" in scan("--install-hook").stdout
    Path("a").write_text("harmless")
    git("add", ".")
    subprocess.run(["git", "commit", "--quiet", "-m", "m"], check=True, env=environment())
    Path("a").write_text(VALUE)
    git("add", ".")
    refused = subprocess.run(
        ["git", "commit", "-m", "m"], check=False, env=environment(), capture_output=True, text=True
    )
    assert refused.returncode
    assert "a:1:1: PASSWORD (plain)" in refused.stdout + refused.stderr


def test_the_hook_searches_as_the_tenant_and_pipeline_that_it_was_installed_for(folder, scan):
    """Without the tenant it refused every commit, since the pipeline has no values of nobody."""
    Path("strongroom.yaml").write_text(
        SPEC.replace("secrets:", "  other: {provider: {type: memory}}\ndefault: other\nsecrets:").replace(
            'prefix: "T_"}', 'prefix: "T_"}, middleware: [{type: tenant}]'
        )
    )
    options = ["--pipeline", "app", "--tenant", "one"]
    assert scan("--install-hook", options=options).returncode == 0
    assert "already" in scan("--install-hook", options=options).stdout
    variables = environment({"TENANTS_0X2F_ONE_0X2F_TOKEN": "value-of-one"})
    for text, expected in (("harmless", 0), ("value-of-one", 1)):
        Path("a").write_text(text)
        git("add", ".")
        done = subprocess.run(
            ["git", "commit", "-m", "m"], check=False, env=variables, capture_output=True, text=True
        )
        assert (done.returncode, "a:1:1: token" in done.stdout + done.stderr) == (expected, bool(expected))


@pytest.mark.parametrize("module", sample(["strongroom.py", "platform.py", "click.py"], one_in=2))
def test_the_hook_runs_no_code_of_the_work_tree(folder, module, scan):
    """Neither the hook nor `python -m strongroom` imports what lies in the current folder."""
    Path(module).write_text("open('ran', 'w').close()\n")
    assert scan("--install-hook").returncode == 0
    Path("a").write_text(VALUE)
    git("add", ".")
    refused = subprocess.run(
        ["git", "commit", "-m", "m"], check=False, env=environment(), capture_output=True
    )
    assert refused.returncode
    assert not Path("ran").exists()
    if module != "strongroom.py":  # which `-m strongroom` would mean here
        words = [sys.executable, "-m", "strongroom", "--help"]
        subprocess.run(words, check=True, env=environment(), capture_output=True)
        assert not Path("ran").exists()


@pytest.mark.parametrize("more", [["src"], ["--no-submodules"]])
def test_what_a_hook_would_not_heed_is_refused(folder, scan, more):
    seen = scan("--install-hook", *more)
    assert (seen.returncode, "--install-hook" in seen.stderr) == (2, True)
    assert not Path(".git/hooks/pre-commit").exists()


def test_an_older_hook_of_ours_is_written_anew(folder, scan):
    """One of an earlier version imports from the work tree."""
    hook = Path(".git/hooks/pre-commit")
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(
        "#!/bin/sh\n# Refuses a commit that holds a stored secret.\n"
        f"exec {sys.executable} -m strongroom scan --staged\n"
    )
    assert "again" in scan("--install-hook").stdout
    assert " -P -m strongroom " in hook.read_text()
    assert "already" in scan("--install-hook").stdout
    told = json.loads(scan("--install-hook", options=["--json"]).stdout)
    assert (told["written"], Path(told["hook"]).name) == (False, "pre-commit")


def test_nothing_to_look_for_is_an_error_and_for_the_hook_a_warning(folder, scan):
    """A scan that cannot find anything says so; a commit need not wait for the first secret."""
    assert scan(stored={}).returncode == 2
    assert scan("--install-hook", stored={}).returncode == 0
    git("add", ".")
    done = subprocess.run(
        ["git", "commit", "-m", "m"], check=False, env=environment({}), capture_output=True, text=True
    )
    assert (done.returncode, "not searched" in done.stdout + done.stderr) == (0, True)


# Has even root ask for the mode of files, so that there is one that it may not read: Linux's rights to pass it over
# (DAC_OVERRIDE and DAC_READ_SEARCH) are dropped for programs that it starts, and then all rights for itself.
WITHOUT_RIGHTS = """
import ctypes, os
if os.geteuid() == 0:
    libc = ctypes.CDLL(None)
    assert libc.prctl(24, 1, 0, 0, 0) == libc.prctl(24, 2, 0, 0, 0) == 0
    assert libc.capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()) == 0
from strongroom.cli import script
script()
"""


@pytest.mark.skipif(
    os.geteuid() == 0 and not sys.platform.startswith("linux"), reason="root is refused nothing here"
)
@pytest.mark.parametrize("within_git", [True, False])
def test_what_may_not_be_read_is_named_and_is_not_clean(folder, warm_python, within_git):
    """A folder, whose files git and a walk list none of; one with a tracked file; and a file."""
    for name in ("shut/inner/a", "tracked/b", "open/c", "open/d"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("nothing\n")
    git("add", "tracked")
    if not within_git:
        Path(".git").rename(".not-git")
    refused = [Path("shut"), Path("tracked"), Path("open/c")]
    modes = [one.stat().st_mode for one in refused]
    for one in refused:
        one.chmod(0)
    words = [warm_python, "-c", WITHOUT_RIGHTS, "--json", "scan"]
    try:
        done = warm_command.run(words, env=environment())
        Path("open/d").write_text(VALUE)
        found = warm_command.run(words, env=environment())
        named = warm_command.run([*words, "shut"], env=environment())
    finally:
        for one, mode in zip(refused, modes, strict=True):
            one.chmod(mode)
    report = json.loads(done.stdout)
    assert (done.returncode, report["ok"], report["findings"]) == (4, False, [])
    unread = {one["path"].removeprefix("./"): one["why"] for one in report["unread"]}
    assert unread.keys() == {"shut", "tracked", "open/c"} | ({"tracked/b"} if within_git else set())
    assert set(unread.values()) == {"Permission denied"}
    assert all(f"{one} is not searched" in done.stderr for one in ("shut", "tracked", "open/c"))
    assert found.returncode == 7
    assert json.loads(named.stdout)["unread"] == [{"path": "shut", "why": "Permission denied"}]
    assert named.returncode == 4


class Failing(BytesIO):
    """A file on a disk that fails in its middle."""

    def read(self, *size):
        data = super().read(*size)
        if not data:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return data


def test_a_file_that_cannot_be_read_to_its_end_is_named_and_hides_no_other(folder, monkeypatch, capfd):
    """Nor what was found before in itself."""
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    found = {"a": Failing(VALUE.encode()), "b": Failing(b""), "c": BytesIO(VALUE.encode())}
    monkeypatch.setattr(scanning, "files", lambda *_, **__: iter(found.items()))
    assert run_app(["--json", "scan"]) == 7
    report = json.loads(capfd.readouterr().out)
    assert [one["path"] for one in report["findings"]] == ["a", "c"]
    assert report["unread"] == [{"path": name, "why": "Input/output error"} for name in ("a", "b")]
    assert report["files"] == 1


def test_a_device_that_is_named_is_not_clean(folder, scan):
    seen = scan("/dev/zero")
    assert (seen.returncode, "0 files; 1 could not be read" in seen.stdout) == (4, True)


def test_a_key_that_is_called_as_a_declared_secret_hides_nothing(folder, scan):
    """Both the declared secret and the key of that name are looked for."""
    Path("strongroom.yaml").write_text(SPEC.replace("PASSWORD: {key: password}", "OTHER: {key: password}"))
    stored = {"PASSWORD": VALUE, "OTHER": "value-of-the-key"}
    for text in stored.values():
        Path("a").write_text(text)
        assert scan("a", stored=stored).returncode == 7


def test_reads_standard_input_and_pipes_that_are_named(folder, scan, warm_strongroom):
    """`-` is standard input; a FIFO is read to its end; a link that leads nowhere is not there."""
    words = [warm_strongroom, "scan"]
    for name in ("-", "/dev/stdin"):
        done = warm_command.run([*words, name], input=VALUE, env=environment())
        assert (done.returncode, done.stdout.splitlines()[0]) == (7, f"{name}:1:1: PASSWORD (plain)")
    os.mkfifo("pipe")
    with subprocess.Popen([*words, "pipe"], env=environment(), stdout=subprocess.PIPE) as reader:
        Path("pipe").write_text(VALUE)
        assert b"pipe:1:1" in reader.communicate(timeout=300)[0]
    assert reader.returncode == 7
    Path("nowhere").symlink_to("not-there")
    assert scan("nowhere").returncode == 3
    assert scan("not-there").returncode == 2
    ended = scan("/dev/zero")
    assert "neither a file nor a pipe" in ended.stderr


def test_submodules_are_looked_through_unless_they_are_left_out(folder, tmp_path_factory, scan):
    """What stands in a submodule is found as what stands beside it is."""
    other = tmp_path_factory.mktemp("other")
    (other / "leak").write_text(VALUE)
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "m"]):
        git("-C", str(other), "-c", "user.email=a@example.com", "-c", "user.name=a", *words)
    git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "sub")
    assert "sub/leak:1:1" in scan().stdout
    assert scan("--no-submodules").returncode == 0


def test_another_hook_is_left_alone(folder, scan):
    Path(".git/hooks").mkdir(exist_ok=True)
    Path(".git/hooks/pre-commit").write_text("#!/bin/sh\nmake lint\n")
    seen = scan("--install-hook")
    assert (seen.returncode, "scan --staged" in seen.stderr) == (8, True)
    assert Path(".git/hooks/pre-commit").read_text() == "#!/bin/sh\nmake lint\n"


@pytest.mark.parametrize("count", [50, pytest.param(20_000, marks=pytest.mark.torture)])
def test_every_planted_value_is_found(count):
    """Any value, in any encoding, at any place of any surroundings."""
    from io import BytesIO

    chance = random.Random(count)
    alphabet = "abcXYZ019+/-_=&%$'\"\\ <>ü\n"
    encode = [
        lambda v: v,
        lambda v: base64.b64encode((chance.choice(["", "a", "ab"]) + v).encode()).decode(),
        lambda v: base64.urlsafe_b64encode((chance.choice(["", "a", "ab"]) + v + "c").encode()).decode(),
        lambda v: v.encode().hex(),
        lambda v: quote(v, safe=""),
        quote_plus,
        json.dumps,
        repr,
        html.escape,
        shlex.quote,
    ]
    for _ in range(count):
        value = "".join(chance.choices(alphabet, k=chance.randint(8, 60)))
        masker = Masker()
        masker.finder.add(value, "S")
        noise = "".join(chance.choices("abc 019\n", k=chance.randint(0, 40)))
        planted = noise + " " + chance.choice(encode)(value) + " " + noise
        assert list(matcher.find_matches("f", BytesIO(planted.encode()), masker)), value


@pytest.mark.parametrize("form", ["plain", "hex", "JSON"])
def test_a_value_over_the_border_of_two_pieces_is_one_place(monkeypatch, form):
    monkeypatch.setattr(matcher, "_CHUNK", 2000)
    text = WHERE[form].encode()
    masker = Masker([VALUE])
    for lines in range(290, 335):
        for column in range(7):
            before = b"zz zz\n" * lines + b"y" * column + b" "
            content = BytesIO(before + text + b"\n" + b"qq q\n" * 500)

            found = list(matcher.find_matches("f", content, masker))

            assert [one.line for one in found] == [lines + 1]
