"""What a release is made of: archives that repeat, versions in one place, licences that users can live with."""

from __future__ import annotations

import importlib.metadata
import os
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import strongroom
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parent.parent
SCRIPTS = ROOT / "scripts"
PROJECTS = [
    ROOT / "pyproject.toml",
    ROOT / "core" / "pyproject.toml",
    *sorted(ROOT.glob("plugins/*/pyproject.toml")),
]


def project(path):
    return tomllib.loads(path.read_text())["project"]


@pytest.fixture(scope="module")
def licences():
    return runpy.run_path(str(SCRIPTS / "licences.py"))


def test_the_version_stands_once_and_is_told_alike():
    done = subprocess.run(
        [sys.executable, "-m", "strongroom", "--version"], check=True, capture_output=True, text=True
    )
    assert done.stdout == f"strongroom {strongroom.__version__}\n"
    assert importlib.metadata.version("strongroom-core") == strongroom.__version__
    assert "version" not in project(ROOT / "core" / "pyproject.toml")


@pytest.mark.parametrize("path", PROJECTS, ids=lambda path: path.parent.name)
def test_each_distribution_takes_this_core_and_says_what_it_is(path):
    metadata = project(path)
    for line in metadata["dependencies"]:
        requirement = Requirement(line)
        if requirement.name.startswith("strongroom"):
            assert Version(strongroom.__version__) in requirement.specifier
            assert Version("99") not in requirement.specifier
    assert metadata["license"] == "Apache-2.0"
    assert metadata["license-files"] == ["LICENSE"]
    assert (path.parent / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert (path.parent / metadata["readme"]).stat().st_size > 0
    assert "urls" not in metadata  # none of them exists yet


@pytest.mark.parametrize("path", PROJECTS[1:], ids=lambda path: path.parent.name)
def test_types_are_shipped(path):
    assert list(path.parent.glob("src/**/py.typed"))


def digests(folder):
    import hashlib

    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def built(name, out, **environment):
    code = (
        "import sys; from pathlib import Path; from build_all import build, committed_at; import os; "
        f"build(Path({str(ROOT / 'plugins' / name)!r}), Path({str(out)!r}), "
        "{**os.environ, 'SOURCE_DATE_EPOCH': committed_at()})"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=SCRIPTS, env={**os.environ, **environment})
    return digests(out)


def test_two_builds_of_a_distribution_are_alike(tmp_path):
    first = built("memory", tmp_path / "one")
    second = built("memory", tmp_path / "two", TZ="Asia/Kathmandu", LC_ALL="C", PYTHONHASHSEED="7")
    assert first == second
    assert {name.rpartition(".")[2] for name in first} == {"whl", "gz"}


def test_licences_of_all_that_is_needed_are_allowed(licences, capsys):
    assert licences["main"]() == 0
    assert " 0 with a licence that is not allowed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("MIT AND Apache-2.0", True),
        ("MIT AND GPL-3.0-only", False),
        ("MIT OR GPL-3.0-only", True),
        ("(GPL-2.0-only OR MIT) AND BSD-3-Clause", True),
        ("GPL-2.0-only WITH Classpath-exception-2.0", False),
        ("AGPL-3.0-or-later", False),
        ("see the file", False),
        ("", False),
        (None, False),
    ],
)
def test_a_licence_is_allowed_where_a_choice_leaves_only_allowed_ones(licences, expression, allowed):
    assert licences["is_allowed"](expression) is allowed


def test_a_licence_that_is_not_allowed_is_named(licences, tmp_path, capsys):
    info = tmp_path / "bad_one-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.4\nName: bad.one\nVersion: 1\nLicense-Expression: SSPL-1.0\n"
    )
    assert licences["main"](str(tmp_path)) == 1
    assert "bad-one: SSPL-1.0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["License-Expression: MIT", "Classifier: License :: OSI Approved :: BSD License"], "MIT"),
        (
            ["Classifier: License :: OSI Approved", "Classifier: License :: OSI Approved :: MIT License"],
            "MIT",
        ),
        (["License: Apache 2.0"], "Apache-2.0"),
        (["License: Whatever you like"], "Whatever you like"),
        (["Classifier: License :: Other/Proprietary License"], None),
        ([], None),
    ],
)
def test_licences_are_read_from_metadata_of_any_age(licences, tmp_path, lines, expected):
    info = tmp_path / "some-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "\n".join(["Metadata-Version: 2.1", "Name: some", "Version: 1", *lines, ""])
    )
    (found,) = importlib.metadata.distributions(path=[str(tmp_path)])
    assert licences["licence_of"](found) == expected


def test_each_fragment_of_the_changelog_is_of_a_known_type():
    kinds = {
        one["directory"]
        for one in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["towncrier"]["type"]
    }
    for path in (ROOT / "changes").iterdir():
        # Without the plus, what is before the type is the number of an issue.
        name = re.fullmatch(r"\+[\w-]+\.(\w+)\.md", path.name)
        assert name is not None, path.name
        assert name[1] in kinds
        assert path.read_text().strip()
