"""What plugins import of the core."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(ROOT.glob("plugins/*/src/**/*.py"))
DECISION = (ROOT / "docs/decisions/0002-public-modules.md").read_text(encoding="utf-8")
PUBLIC = {"strongroom", *re.findall(r"`(strongroom\.[\w.]+)`", DECISION)}


def imported(source: Path):
    """Yield each module of the core that a file imports from, and the name; None for a whole module."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((one.name, None) for one in node.names if one.name.partition(".")[0] == "strongroom")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "strongroom":
            yield from ((node.module, one.name) for one in node.names)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: f"{source.parent.name}/{source.name}")
def test_plugins_import_only_public_names(source):
    """A shipped plugin needs nothing that a third party's may not use."""
    for module, name in imported(source):
        assert module in PUBLIC, f"{module} is not in decision 0002"
        if name is not None:
            assert name in importlib.import_module(module).__all__


def test_plugins_import_from_the_core_at_all():
    """The check above looks at something."""
    assert {module for source in SOURCES for module, _ in imported(source)} > {
        "strongroom",
        "strongroom.keys",
    }
