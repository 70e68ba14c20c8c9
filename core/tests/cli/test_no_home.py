"""A user without a home folder: no HOME, and a user id that is in no list of users, as in many containers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import warm_command
from strongroom.errors import ConfigurationError
from strongroom.paths.user_home import expanded

# The list of users of this process has nobody in it; that needs no right to change the user.
START = """\
import pwd

def nobody(uid):
    raise KeyError(uid)

pwd.getpwuid = pwd.getpwnam = nobody
from strongroom.cli import script
script()
"""
STORE = "version: 1\npipelines:\n  app:\n    provider: {type: file, file_path: %s, %s}\ndefault: app\n"


@pytest.fixture(params=[None, ""], ids=["unset", "empty"])
def homeless(request, tmp_path, monkeypatch, warm_python):
    """Return a function that runs `strongroom` in an empty folder, and gives code, output and errors."""
    monkeypatch.chdir(tmp_path)
    kept = {
        name: value
        for name, value in os.environ.items()
        if name != "HOME" and not name.startswith(("XDG_", "STRONGROOM_"))
    }
    if request.param is not None:
        kept["HOME"] = request.param
    kept["STRONGROOM_TRUST_SPEC"] = "1"

    def run(*words, **environment):
        done = warm_command.run(
            [warm_python, "-c", START, *words],
            input="a value\n",
            env=kept | environment,
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.mark.parametrize(
    "words",
    [("get", "A"), ("set", "A"), ("list",), ("run", "--", "true"), ("check",)],
    ids=lambda words: words[0],
)
def test_without_a_spec_it_is_one_line(homeless, words):
    code, output, errors = homeless(*words)
    assert (code, output) == (2, "")
    assert errors == (
        "error: there is no spec, and this user has no home folder for a store; "
        "give --spec (or STRONGROOM_SPEC), or set HOME\n"
    )
    assert os.listdir() == []


def test_without_a_spec_doctor_finds_it(homeless):
    """It is one of its findings, and so its code is that of what was found."""
    code, output, errors = homeless("doctor")
    assert (code, errors) == (7, "")
    assert "there is no spec, and this user has no home folder" in output


def test_with_a_spec_none_is_needed(homeless):
    """`init` makes one here; nothing is kept in a folder called `~`."""
    assert homeless("init")[0] == 0
    assert homeless("set", "A")[0] == 0
    for _ in range(2):
        assert homeless("get", "A")[:2] == (0, "a value")
    assert not Path("~").exists()


def test_a_relative_cache_home_is_not_used(homeless):
    """What is remembered of a spec is never looked for in the current folder, which may be a stranger's."""
    assert homeless("init")[0] == 0
    assert homeless("set", "A")[0] == 0
    assert homeless("get", "A", XDG_CACHE_HOME="here")[0] == 0
    assert not Path("here").exists()


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (STORE % ("~/x", "key_file: k"), "strongroom.yaml:4:"),
        (STORE % ("x", "encryption_key: '${file:~/k}'"), ""),
    ],
    ids=["option", "reference"],
)
def test_a_tilde_in_a_spec_is_told(homeless, spec, said):
    Path("strongroom.yaml").write_text(spec)
    Path("strongroom.yaml").chmod(0o600)
    code, _, errors = homeless("list")
    assert code == 2
    assert said in errors
    assert "this user has no home folder; set HOME, or write the whole path" in errors
    assert errors.count("\n") == 1


def test_a_path_is_expanded_or_says_whose_home_is_missing(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert expanded("~/a") == Path("/home/me/a")
    assert expanded("a/~") == Path("a/~")
    monkeypatch.setenv("HOME", "")
    with pytest.raises(ConfigurationError, match=r"^~: this user has no home"):
        expanded("~")
    with pytest.raises(ConfigurationError, match=r"^~nobody-at-all/a: the user of ~nobody-at-all has no"):
        expanded(Path("~nobody-at-all/a"))
