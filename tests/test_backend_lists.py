"""A distribution in plugins/ is in each list that is kept by hand; what is missing is named with the line to add."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from strongroom.plugins import finder
from strongroom.plugins.known import KNOWN_TYPES

ROOT = Path(__file__).parent.parent
FOLDERS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINS = {
    canonicalize_name(line.partition("==")[0]) for line in (ROOT / "constraints.txt").read_text().splitlines()
}
NAVIGATION = (ROOT / "zensical.toml").read_text()
IN_NO_EXTRA = {"env", "file", "memory", "enterprise"}
"""Those that `strongroom` itself brings along, and the one whose import paths are the seed document's."""


def project_of(folder):
    return tomllib.loads((folder / "pyproject.toml").read_text())["project"]


def missing(folder):
    """Yield a line for each list that the distribution in `folder` is missing from."""
    name, package, project = folder.name, f"strongroom_{folder.name}", project_of(folder)
    tools = PYPROJECT["tool"]
    if name not in IN_NO_EXTRA and name not in PYPROJECT["project"]["optional-dependencies"]:
        yield f'pyproject.toml, [project.optional-dependencies]: {name} = ["{project["name"]}>=0.1,<0.2"]'
    if f"plugins/{name}/src" not in tools["mypy"]["mypy_path"]:
        yield f'pyproject.toml, [tool.mypy] mypy_path: "plugins/{name}/src",'
    if (folder / "src" / package).is_dir():
        contracts = {one["name"]: one for one in tools["importlinter"]["contracts"]}
        independent = contracts["Distributions do not know one another"]
        acyclic = contracts["No two modules, and no two packages, import each other"]
        lists = {"[tool.mypy] packages": tools["mypy"]["packages"],
                 "[tool.importlinter] root_packages": tools["importlinter"]["root_packages"],
                 "[tool.importlinter] No two modules, and no two packages, import each other": acyclic["ancestors"],
                 "[tool.importlinter] Distributions do not know one another": independent["modules"]}  # fmt: skip
        yield from (
            f'pyproject.toml, {where}: "{package}",' for where, rows in lists.items() if package not in rows
        )
    known = {owner for table in KNOWN_TYPES.values() for owner in table.values()}
    if project.get("entry-points", {}).get("strongroom") and project["name"] not in known:
        yield "core/src/strongroom/plugins/known.py: `make docs` writes it, once the plugin is installed"
    if project["name"] in KNOWN_TYPES["provider"].values():
        page = f"how-to/backends/{name}.md"
        if not (ROOT / "docs" / page).is_file():
            yield f"docs/{page}: the page"
        if f'"{page}"' not in NAVIGATION:
            yield f'zensical.toml, nav, Backends: "{page}",'
    for needed in map(Requirement, project["dependencies"]):
        name = canonicalize_name(needed.name)
        if not name.startswith("strongroom") and name not in PINS:
            yield f"constraints.txt: {name}==…"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_distribution_is_in_every_list(folder):
    assert list(missing(folder)) == []


def test_one_that_is_new_is_told_where_to_enter_itself(tmp_path):
    name = "acme"
    while (ROOT / "plugins" / name).exists() or f"{name}-sdk" in PINS:  # somebody tries the page on plugins
        name += "x"
    folder = tmp_path / name
    (folder / "src" / f"strongroom_{name}").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "strongroom-{name}"\ndependencies = ["strongroom-core>=0.1", "{name}-sdk>=2"]\n'
        f'[project.entry-points.strongroom]\n{name} = "strongroom_{name}.plugin"\n'
    )
    lines = list(missing(folder))
    assert {line.partition(",")[0].partition(":")[0] for line in lines} == {
        "pyproject.toml", "core/src/strongroom/plugins/known.py", "constraints.txt"
    }  # fmt: skip
    assert len(lines) == 8


ON_ONE_PAGE = {"aws.parameters": "aws"}
ELSEWHERE = {"aws.sts", "vault.leases"}
"""Types that `docs/how-to/leases.md` is about; it sends the reader to the reference for their options."""


@pytest.mark.parametrize("name", sorted({*KNOWN_TYPES["provider"], "vault.transit"} - ELSEWHERE))
def test_the_page_of_a_backend_names_all_of_its_options(name):
    kind = "provider" if name in KNOWN_TYPES["provider"] else "encryption"
    page = ROOT / "docs/how-to/backends" / f"{ON_ONE_PAGE.get(name, name).replace('.', '-')}.md"
    options = {field.alias or option for option, field in finder.find(kind, name).config.model_fields.items()}
    assert options - set(re.findall(r"\w+", page.read_text())) == set()
