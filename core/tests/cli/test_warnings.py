"""What is meant for users comes as one line, without the place in the code that found or raised it."""

from __future__ import annotations

import importlib
import json
import py_compile
import warnings
from pathlib import Path

import pytest
import warm_command
from strongroom import generate_key
from strongroom.cli.app import run_app
from strongroom.cli.context import GlobalOptions, run_guarded
from strongroom.encryption.keyfiles import KeyFileWarning


class OfAnSdkWarning(UserWarning):
    pass


def warned(category):
    warnings.warn("only one may rotate", category, stacklevel=1)


@pytest.mark.filterwarnings("always")
@pytest.mark.parametrize("category", [UserWarning, KeyFileWarning])
def test_a_warning_for_users_is_a_line(capsys, category):
    assert run_guarded(GlobalOptions(), lambda: warned(category)) == 0
    assert capsys.readouterr().err == "warning: only one may rotate\n"


@pytest.mark.filterwarnings("always")
def test_quiet_leaves_it_out(capsys):
    assert run_guarded(GlobalOptions(quiet=True), lambda: warned(UserWarning)) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("command", [["list"], ["get", "a"], ["rotate", "--status"]], ids=lambda one: one[0])
def test_quiet_leaves_out_what_is_logged(tmp_path, warm_strongroom, command):
    """For example of a second level that does not answer; whatever is not a warning is printed all the same."""
    key = generate_key()
    cache = {"type": "file.cache", "path": "strongroom.yaml/cache"}
    caching = {"type": "caching", "l2": cache, "encryption": {"type": "aes-gcm", "key": key}}
    provider = {"type": "file", "file_path": "store", "encryption_key": key}
    path = tmp_path / "strongroom.yaml"
    path.write_text(
        json.dumps({"version": 1, "pipelines": {"p": {"provider": provider, "middleware": [caching]}}})
    )
    path.chmod(0o600)

    def told(*words):
        whole = [warm_strongroom, "--spec", str(path), *words]
        return warm_command.run(whole, check=True, input="value").stderr

    assert "the second level of the cache" in told("set", "a")
    assert told("--quiet", *command) == ""


@pytest.mark.filterwarnings("always")
def test_what_is_meant_for_programmers_keeps_its_place(monkeypatch):
    shown = []
    monkeypatch.setattr(warnings, "showwarning", lambda *arguments, **_: shown.append(arguments))
    for category in (DeprecationWarning, OfAnSdkWarning):
        run_guarded(GlobalOptions(), lambda category=category: warned(category))
    assert [(arguments[1], arguments[2]) for arguments in shown] == [
        (DeprecationWarning, __file__),
        (OfAnSdkWarning, __file__),
    ]


@pytest.mark.parametrize("error", [SystemExit, type("PanicException", (BaseException,), {})])
def test_what_a_plugin_raises_that_is_no_exception_is_a_line_without_its_text(capsys, error):
    """A text of `sys.exit` and the message of a panic in Rust may hold a value."""

    def fails():
        raise error("hunter22")

    assert run_guarded(GlobalOptions(), fails) == 1
    line = f"error: unexpected {error.__name__}; run it again with --debug to see where\n"
    assert capsys.readouterr().err == line


def test_a_compiled_module_that_a_full_disk_cut_off_is_named(tmp_path, monkeypatch, capsys):
    source = tmp_path / "cut_off_module.py"
    source.write_text("VALUE = 1\n")
    compiled = Path(py_compile.compile(str(source), doraise=True))
    compiled.write_bytes(compiled.read_bytes()[:20])
    monkeypatch.syspath_prepend(tmp_path)
    assert run_guarded(GlobalOptions(), lambda: importlib.import_module("cut_off_module").VALUE) == 1
    line = f"error: {compiled} is damaged, as by a full disk; remove it: Python makes it again\n"
    assert capsys.readouterr().err == line
    compiled.unlink()
    assert importlib.import_module("cut_off_module").VALUE == 1


def test_what_ends_early_and_is_no_prompt_is_told(monkeypatch, capsys):
    """click takes it for the end of the input, after which nothing is to be said."""

    def fails():
        raise EOFError

    monkeypatch.setattr("strongroom.encryption.generate_key", fails)
    assert run_app(["keygen"]) == 1
    assert capsys.readouterr().err.strip() == (
        "error: unexpected EOFError; run it again with --debug to see where"
    )
