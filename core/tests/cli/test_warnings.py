"""What is meant for users comes as one line, without the place in the code that found it."""

from __future__ import annotations

import warnings

import pytest
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
