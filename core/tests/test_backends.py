"""`strongroom.backends` finds the classes of plugins, and says which distribution is missing."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import strongroom.backends
from strongroom.errors import PluginError
from strongroom.plugins.known import KNOWN_CLASSES, KNOWN_TYPES

PLUGINS = Path(__file__).parents[2] / "plugins"


def test_a_class_is_found_at_first_use():
    """The name gives the plugin's own class."""
    from strongroom_memory.provider import MemorySecretProvider

    assert strongroom.backends.MemorySecretProvider is MemorySecretProvider


def test_the_module_loads_no_plugin():
    """Importing it imports none; naming a class imports the one that has it."""
    source = (
        "import sys, strongroom.backends\n"
        "def loaded():\n"
        "    return sorted(n for n in sys.modules if n.startswith('strongroom_') and '.' not in n)\n"
        "print(loaded())\n"
        "strongroom.backends.EnvSecretProvider\n"
        "print(loaded())\n"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "['strongroom_env']"]


def test_a_missing_distribution_is_named(monkeypatch):
    """Where the plugin is not installed the error says what to install."""
    monkeypatch.setattr(strongroom.backends, "KNOWN_CLASSES", {"GoneSecretProvider": "strongroom-not-there"})
    with pytest.raises(PluginError, match="pip install strongroom-not-there") as caught:
        strongroom.backends.GoneSecretProvider  # noqa: B018 - the access is what is tested
    assert caught.value.__context__ is None


def test_an_unknown_class_suggests_the_nearest():
    """A slip is an `AttributeError` that names what was meant."""
    with pytest.raises(AttributeError, match="did you mean VaultSecretProvider"):
        strongroom.backends.VaultSecretsProvider  # noqa: B018 - the access is what is tested


def test_dunder_names_ask_no_plugin():
    """Tools that look for special names do not set off a search."""
    with pytest.raises(AttributeError):
        strongroom.backends.__wrapped__  # noqa: B018 - the access is what is tested


def test_all_known_classes_are_listed():
    """Completion offers every class of strongroom's own plugins."""
    assert set(dir(strongroom.backends)) == set(KNOWN_CLASSES)


def test_the_table_is_that_of_the_plugins():
    """Types and distributions that core knows are the entry points in `plugins/`."""
    points = {}
    for file in PLUGINS.glob("*/pyproject.toml"):
        project = tomllib.loads(file.read_text())["project"]
        for name in project.get("entry-points", {}).get("strongroom", {}):
            points[name] = project["name"]
    known = {name.partition(".")[0]: owner for name, owner in KNOWN_TYPES["provider"].items()}
    assert known.items() <= points.items()
    assert set(KNOWN_CLASSES.values()) <= set(points.values())
