"""Commands of other distributions: found by their module, named where they are missing."""

from __future__ import annotations

import sys

import pytest
from strongroom import backends
from strongroom.errors import PluginError
from strongroom.plugins import command_of


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return a function that writes the module of the distribution `strongroom-answer`."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "strongroom_answer", raising=False)
    yield (tmp_path / "strongroom_answer.py").write_text
    sys.modules.pop("strongroom_answer", None)


def test_it_is_found_by_the_distributions_module_without_reading_metadata(package, monkeypatch):
    package("def answer(): return 42\n")
    monkeypatch.setitem(sys.modules, "importlib.metadata", None)
    assert command_of("answer", "strongroom-answer")() == 42


@pytest.mark.parametrize("allowed", ["strongroom-memory", ""])
def test_one_that_is_not_allowed_is_named_and_not_imported(package, monkeypatch, allowed):
    package("raise AssertionError\n")
    monkeypatch.setenv("STRONGROOM_PLUGINS", allowed)
    with pytest.raises(PluginError, match="distribution strongroom-answer") as raised:
        command_of("answer", "strongroom-answer")
    assert "STRONGROOM_PLUGINS" in raised.value.hint
    monkeypatch.setenv("STRONGROOM_PLUGINS", "Strongroom_Answer")
    package("answer = 42\n")
    assert command_of("answer", "strongroom-answer") == 42


def test_one_that_is_installed_and_shut_out_need_not_be_installed(monkeypatch):
    monkeypatch.setenv("STRONGROOM_PLUGINS", "strongroom-file")
    with pytest.raises(PluginError) as raised:
        command_of("answer", "strongroom-memory")
    assert raised.value.hint == "STRONGROOM_PLUGINS shuts it out: add strongroom-memory to it"


def test_one_that_is_not_installed_is_named():
    with pytest.raises(PluginError, match="distribution strongroom-absent") as raised:
        command_of("answer", "strongroom-absent")
    assert raised.value.hint == "install it: pip install strongroom-absent"


@pytest.mark.parametrize("code", ["import no_such_module_of_it\n", "other = 1\n"])
def test_one_that_is_broken_is_told_so(package, code):
    package(code)
    with pytest.raises(PluginError, match="of strongroom-answer is broken"):
        command_of("answer", "strongroom-answer")


def test_the_bytecode_that_an_uninstallation_leaves_behind_is_not_taken_for_a_distribution(
    tmp_path, monkeypatch
):
    (tmp_path / "strongroom_answer/__pycache__").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(PluginError) as raised:
        command_of("answer", "strongroom-answer")
    assert raised.value.hint == "install it: pip install strongroom-answer"
    monkeypatch.setattr(backends, "KNOWN_CLASSES", {"AnswerSecretProvider": "strongroom-answer"})
    with pytest.raises(PluginError, match="pip install strongroom-answer"):
        backends.AnswerSecretProvider  # noqa: B018  # the access is what is tested
    monkeypatch.delitem(sys.modules, "strongroom_answer")
