"""`strongroom plugins new`: the plugin that it writes installs, and its own tests pass."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import strongroom
from packaging.metadata import Metadata
from packaging.version import Version
from strongroom.errors import ConfigurationError
from strongroom.plugins.discovery import BUILT_IN_NAMES
from strongroom.plugins.scaffold import create_plugin

ROOT = Path(__file__).parent.parent


def run(*command, cwd, **environment):
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def plugin(tmp_path):
    return create_plugin("acme-vault", tmp_path / "new")


def test_it_is_a_whole_distribution(plugin):
    files = {str(path.relative_to(plugin)) for path in plugin.rglob("*") if path.is_file()}
    module = "src/strongroom_acme_vault"
    assert files == {
        ".gitignore",
        "CHANGELOG.md",
        "LICENSE",
        "README.md",
        "pyproject.toml",
        "tests/test_plugin.py",
        "tests/test_provider.py",
        *(f"{module}/{name}.py" for name in ("__init__", "config", "errors", "plugin", "provider")),
        f"{module}/py.typed",
    }
    assert not [
        path for path in plugin.rglob("*") if path.is_file() and re.search("@[A-Z]+@", path.read_text())
    ]


def test_what_it_builds_is_what_an_index_takes(plugin, tmp_path):
    """Archives with the licence and the tests, and metadata in which a strict reader finds no fault."""
    run(
        sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path / "dist", plugin,
        cwd=tmp_path,
    )  # fmt: skip
    wheel = tmp_path / "dist/strongroom_acme_vault-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        text = archive.read("strongroom_acme_vault-0.1.0.dist-info/METADATA")
    module = "strongroom_acme_vault"
    assert {f"{module}/py.typed", f"{module}/provider.py"} <= names
    assert f"{module}-0.1.0.dist-info/licenses/LICENSE" in names
    assert not [name for name in names if "test" in name or "template" in name]
    with tarfile.open(tmp_path / "dist/strongroom_acme_vault-0.1.0.tar.gz") as sdist:
        held = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "tests/test_provider.py"} <= held
    metadata = Metadata.from_email(text)  # which raises for each field that is not as the standards say
    assert metadata.license_expression == "Apache-2.0"
    assert metadata.description_content_type == "text/markdown"
    assert metadata.description == (plugin / "README.md").read_text()
    [core] = [need for need in metadata.requires_dist if need.name == "strongroom-core"]
    assert Version(strongroom.__version__) in core.specifier
    assert Version("99") not in core.specifier
    assert (plugin / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_what_its_tests_leave_is_not_committed(plugin):
    run("git", "init", "-q", ".", cwd=plugin)
    for name in ("dist/a.whl", ".venv/bin/python", "tests/__pycache__/a.pyc", "secrets.db"):
        (plugin / name).parent.mkdir(parents=True, exist_ok=True)
        (plugin / name).touch()
    told = run("git", "status", "--porcelain", "-uall", cwd=plugin).split()[1::2]
    assert set(told) == {
        str(path.relative_to(plugin))
        for path in plugin.rglob("*")
        if path.is_file() and not {".git", "dist", ".venv", "__pycache__", "secrets.db"} & set(path.parts)
    }


def test_it_is_formatted_and_linted_as_this_repository(plugin):
    config = ROOT / "pyproject.toml"
    run(sys.executable, "-m", "ruff", "format", "--check", "--config", config, ".", cwd=plugin)
    run(sys.executable, "-m", "ruff", "check", "--config", config, ".", cwd=plugin)


# Its own tests, and of the kit, which its provider does not change, the first chapter; the whole behind the mark.
@pytest.mark.parametrize(
    "chosen",
    [
        pytest.param(
            ["-k", "test_plugin or (set or delete) and not hostile and not many", "-p", "no:schemathesis"],
            id="part",
        ),
        pytest.param([], marks=pytest.mark.torture, id="whole"),
    ],
)
def test_it_installs_and_its_own_tests_pass_the_kit(plugin, tmp_path, chosen):
    site = tmp_path / "site"
    run(
        Path(sys.executable).parent / "uv", "pip", "install", "--quiet", "--offline", "--no-deps",
        "--no-build-isolation", "--python", sys.executable, "--target", site, plugin,
        cwd=tmp_path,
    )  # fmt: skip
    output = run(
        sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:xdist",
        "-p", "no:benchmark", *chosen, plugin / "tests",
        cwd=plugin, PYTHONPATH=str(site),
    )  # fmt: skip
    assert " passed" in output


@pytest.mark.parametrize(
    "name",
    ["", "Acme", "a b", "../x", "a--b", "-a", "1a", "a" * 41, "vault", "core", "class", *BUILT_IN_NAMES],
)
def test_a_name_that_cannot_be_is_refused(name, tmp_path):
    with pytest.raises(ConfigurationError):
        create_plugin(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_of_one_that_cannot_be_written_nothing_is_left(tmp_path, monkeypatch):
    def full(self, *_args, **_kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    with monkeypatch.context() as disk:
        disk.setattr(Path, "touch", full)
        with pytest.raises(ConfigurationError, match="cannot be written"):
            create_plugin("acme", tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []
    assert create_plugin("acme", tmp_path / "new").is_dir()


def test_what_is_there_already_is_not_touched(plugin):
    with pytest.raises(ConfigurationError, match="already there"):
        create_plugin("acme-vault", plugin.parent)
