"""Write core/src/strongroom/plugins/known.py from the plugins of this repository.

Core has to name what is not installed, so the table is a module of core; its content comes from the plugins.
"""

from __future__ import annotations

import importlib
import json
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from strongroom.plugins import KINDS, ComponentInfo, finder
from strongroom.plugins.factories import load_factory

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "core" / "src" / "strongroom" / "plugins" / "known.py"
_WITH_CLASSES = {"cache", "encryption", "provider"}
_TOP = '''"""Types that strongroom's own distributions provide, so that a missing one can be named.

Made from the plugins by `make docs`; changes here are lost.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["KNOWN_CLASSES", "KNOWN_TYPES", "WITHOUT_VARIABLES"]
'''


def text() -> str:
    """Return the module as it is written."""
    rows = shipped()
    return "\n".join([_TOP, *_types(rows), "", *_classes(rows), "", *_without_variables(rows)]) + "\n"


def shipped() -> list[ComponentInfo]:
    """Return the components of the distributions in plugins/; those of third parties are left out."""
    files = ROOT.glob("plugins/*/pyproject.toml")
    ours = {tomllib.loads(path.read_text(encoding="utf-8"))["project"]["name"] for path in files}
    rows = [row for row in finder.list_components() if row.distribution in ours]
    for row in rows:
        if row.error is not None:
            raise SystemExit(f"{row.distribution}: {row.error}")
    return rows


def _types(rows: Iterable[ComponentInfo]) -> Iterator[str]:
    yield "KNOWN_TYPES: Mapping[str, Mapping[str, str]] = {"
    tables = {kind: [row for row in rows if row.kind == kind] for kind in sorted(KINDS)}
    for kind, found in tables.items():
        if found:
            yield f"    {json.dumps(kind)}: {{"
            yield from sorted(
                f"        {json.dumps(row.name)}: {json.dumps(row.distribution)}," for row in found
            )
            yield "    },"
    yield "}"
    yield '"""Kind of component -> type name -> the distribution that has it."""'


def _classes(rows: Iterable[ComponentInfo]) -> Iterator[str]:
    yield "KNOWN_CLASSES: Mapping[str, str] = {"
    lines = set()
    for row in rows:
        if row.kind in _WITH_CLASSES and row.plugin is not None:
            name = row.plugin.factory.partition(":")[2]
            package = importlib.import_module(row.distribution.replace("-", "_"))
            if name in package.__all__:
                lines.add(f"    {json.dumps(name)}: {json.dumps(row.distribution)},")
    yield from sorted(lines)
    yield "}"
    yield '"""Classes of `strongroom.backends` -> the distribution that has them."""'


def _without_variables(rows: Iterable[ComponentInfo]) -> Iterator[str]:
    factories = {row.plugin.factory for row in rows if row.kind == "provider" and row.plugin is not None}
    yield "WITHOUT_VARIABLES: frozenset[str] = frozenset("
    yield "    {"
    for place in sorted(factories):
        if not hasattr(load_factory(place, place), "variables"):
            yield f"        {json.dumps(place)},"
    yield "    }"
    yield ")"
    yield '"""Factories of providers that keep no secrets in variables, known without loading them."""'


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
    print(f"wrote {TARGET.name}")
