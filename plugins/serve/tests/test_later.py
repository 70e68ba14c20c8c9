"""Modules whose import is postponed until something of them is used."""

from __future__ import annotations

import importlib
import sys

import pytest
from strongroom_serve.later import imported_later

NAMES = ("late_alone", "late_package", "late_package.member", "late_user")


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Make modules of these names, of which one uses the others; none is loaded before or after."""
    (tmp_path / "late_alone.py").write_text("NUMBER = 1\n")
    (tmp_path / "late_package").mkdir()
    (tmp_path / "late_package" / "__init__.py").write_text("")
    (tmp_path / "late_package" / "member.py").write_text("NUMBER = 2\n")
    (tmp_path / "late_user.py").write_text("import late_alone\nimport late_package.member\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in NAMES:
        sys.modules.pop(name, None)


def user():
    with imported_later("late_alone", "late_package.member"):
        return importlib.import_module("late_user")


def test_a_module_is_loaded_when_something_of_it_is_used(modules):
    found = user()
    assert not {"late_alone", "late_package.member"} & sys.modules.keys()
    assert (found.late_alone.NUMBER, found.late_package.member.NUMBER) == (1, 2)
    assert {"late_alone", "late_package.member"} <= sys.modules.keys()


def test_an_import_after_the_block_gives_the_module_itself(modules):
    found = user()
    alone = importlib.import_module("late_alone")
    member = importlib.import_module("late_package.member")
    assert (alone.__file__, member.__file__) != (None, None)
    assert found.late_package.member is member
    assert found.late_alone is not alone
    assert found.late_alone.NUMBER == 1
    with pytest.raises(AttributeError, match="late_alone"):
        _ = found.late_alone.absent


def test_a_name_that_is_imported_within_the_block_loads_the_module(modules, tmp_path):
    (tmp_path / "late_user.py").write_text("from late_alone import NUMBER\nimport late_alone\n")
    found = user()
    assert found.NUMBER == 1
    assert found.late_alone is sys.modules["late_alone"]


def test_a_module_that_is_loaded_stays_as_it_is(modules):
    before = importlib.import_module("late_alone")
    assert user().late_alone is before


def test_nothing_stays_behind_where_an_import_fails(modules):
    with pytest.raises(ZeroDivisionError), imported_later("late_alone", "late_package.member"):
        raise ZeroDivisionError
    assert not {"late_alone", "late_package", "late_package.member"} & sys.modules.keys()
