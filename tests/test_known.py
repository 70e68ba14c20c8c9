"""The table of types that may be missing says what the distributions of this repository provide."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path

import pytest
from strongroom.plugins import KINDS, finder
from strongroom.plugins.known import KNOWN_CLASSES, KNOWN_TYPES

PLUGINS = Path(__file__).parent.parent / "plugins"
PROJECTS = [tomllib.loads(path.read_text())["project"] for path in sorted(PLUGINS.glob("*/pyproject.toml"))]


def entry_points():
    return {
        name: project["name"]
        for project in PROJECTS
        for name in project.get("entry-points", {}).get("strongroom", {})
    }


def test_every_entry_point_is_in_the_table_and_the_reverse():
    told = [pair for table in KNOWN_TYPES.values() for pair in table.items()]
    # One with a dot is a part of the entry point before it.
    assert {name.partition(".")[0]: owner for name, owner in told} == entry_points()


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in KINDS for name in KNOWN_TYPES.get(kind, {})]
)
def test_each_type_is_of_the_kind_that_the_table_says(kind, name):
    assert finder.find(kind, name).name == name


@pytest.mark.parametrize("name", sorted(KNOWN_CLASSES))
def test_each_class_is_where_the_table_says(name):
    module = importlib.import_module(KNOWN_CLASSES[name].replace("-", "_"))
    assert getattr(module, name).__name__ == name
