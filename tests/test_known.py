"""The table of types that may be missing says what the distributions of this repository provide."""

from __future__ import annotations

import importlib
import runpy
import tomllib
from pathlib import Path

import pytest
from strongroom.errors import SpecError
from strongroom.plugins import KINDS, finder
from strongroom.plugins.known import KNOWN_CLASSES, KNOWN_TYPES
from strongroom.spec.loader import load_plan

ROOT = Path(__file__).parent.parent
PLUGINS = ROOT / "plugins"
PROJECTS = [tomllib.loads(path.read_text())["project"] for path in sorted(PLUGINS.glob("*/pyproject.toml"))]


def entry_points():
    return {
        name: project["name"]
        for project in PROJECTS
        for name in project.get("entry-points", {}).get("strongroom", {})
    }


def test_the_table_is_what_the_plugins_say():
    script = runpy.run_path(str(ROOT / "scripts" / "write_known.py"))
    assert script["TARGET"].read_text() == script["text"](), "run `make docs`"


def test_every_entry_point_is_in_the_table_and_the_reverse():
    pairs = [pair for table in KNOWN_TYPES.values() for pair in table.items()]
    # One with a dot is a part of the entry point before it.
    assert {name.partition(".")[0]: owner for name, owner in pairs} == entry_points()


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in KINDS for name in KNOWN_TYPES.get(kind, {})]
)
def test_each_type_is_of_the_kind_that_the_table_says(kind, name):
    assert finder.find(kind, name).name == name


@pytest.mark.parametrize("name", sorted(KNOWN_CLASSES))
def test_each_class_is_where_the_table_says(name):
    module = importlib.import_module(KNOWN_CLASSES[name].replace("-", "_"))
    assert getattr(module, name).__name__ == name


@pytest.mark.parametrize(
    ("option", "provider"),
    [
        ("url", {"type": "vault", "url": "vault.example.com", "token": "t"}),
        ("url", {"type": "vault", "url": "vault.example.com:8200", "token": "t"}),
        ("vault_url", {"type": "azure", "vault_url": "kv.vault.azure.net"}),
        ("vault_url", {"type": "azure", "vault_url": "http://kv.vault.azure.net"}),
        ("endpoint_url", {"type": "aws", "endpoint_url": "localhost:4566"}),
        ("sts_endpoint_url", {"type": "aws.parameters", "sts_endpoint_url": "sts.example.com"}),
    ],
)
def test_an_address_without_a_scheme_is_found_without_asking_anybody(option, provider, monkeypatch):
    """`check --offline` looks at the models alone; until now the first request found it."""
    with pytest.raises(SpecError) as caught:
        load_plan({"version": 1, "pipelines": {"app": {"provider": provider}}})
    assert f"provider.{option}" in str(caught.value)
    monkeypatch.setenv("ADDRESS", "https://a.example.com")
    monkeypatch.setenv("HOST", "a.example.com")
    for whole in ("${env:ADDRESS}", "https://${env:HOST}", "${env:SCHEME:-https}://a.example.com"):
        assert load_plan({"version": 1, "pipelines": {"app": {"provider": {**provider, option: whole}}}})


def test_so_is_one_of_redis():
    level = {"type": "caching", "l2": {"type": "redis", "url": "localhost:6379"}}
    spec = {"version": 1, "pipelines": {"app": {"provider": {"type": "memory"}, "middleware": [level]}}}
    with pytest.raises(SpecError, match="url"):
        load_plan(spec)
    level["l2"]["url"] = "redis+sentinel://a:1,b:2/main"
    assert load_plan(spec)
