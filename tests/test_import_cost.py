"""What `import strongroom` does not load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

HEAVY = {
    "azure", "boto3", "botocore", "click", "cryptography", "google", "grpc", "hvac", "importlib_metadata", "jinja2",
    "keyring", "lxml", "opentelemetry", "pluggy", "psycopg", "pydantic", "pydantic_settings", "pykeepass", "redis", "requests",
    "rich", "sqlite3", "yaml",
}  # fmt: skip


def modules_after(code):
    """Return the top-level modules that `code` loads in a new process."""
    told = "print(json.dumps(sorted(set(sys.modules) - before)))"
    whole = f"import sys, json; before = set(sys.modules); {code}; {told}"
    done = subprocess.run([sys.executable, "-c", whole], check=True, capture_output=True, text=True)
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_importing_strongroom_loads_no_sdk_no_plugin_and_nothing_heavy():
    loaded = modules_after("import strongroom, strongroom.backends, strongroom.errors")
    assert "strongroom" in loaded
    assert loaded & HEAVY == set()
    assert {name for name in loaded if name.startswith("strongroom_")} == set()


def test_no_plugins_descriptors_and_options_load_an_sdk():
    """`check`, `schema` and `explain` import these, and nothing else of a plugin."""
    plugins = Path(__file__).parent.parent / "plugins"
    projects = [tomllib.loads(path.read_text())["project"] for path in plugins.glob("*/pyproject.toml")]
    modules = [
        module for one in projects for module in one.get("entry-points", {}).get("strongroom", {}).values()
    ]
    assert len(modules) >= 10
    gives = "[list(gives()) for name, gives in vars({}).items() if name.startswith('strongroom_')]"
    loaded = modules_after("; ".join(f"import {module}; {gives.format(module)}" for module in modules))
    assert loaded & (HEAVY - {"pydantic", "pluggy", "importlib_metadata"}) == set()
    assert {module.partition(".")[0] for module in modules} <= loaded


def test_the_registry_loads_no_settings_and_only_the_plugins_that_a_spec_names():
    spec = "{'version': 1, 'pipelines': {'app': {'provider': {'type': 'memory'}}}}"
    loaded = modules_after(
        f"import strongroom; strongroom.SecretProviderRegistry({spec}).set_secret('a', '1')"
    )
    assert loaded & (HEAVY - {"pydantic", "pluggy", "importlib_metadata", "yaml"}) == set()
    assert {name for name in loaded if name.startswith("strongroom_")} == {"strongroom_memory"}


def test_a_remembered_get_or_run_loads_nothing_that_takes_long(tmp_path, monkeypatch):
    """Dataclasses bring `inspect` along, which takes as long as reading the store."""
    for name in [name for name in os.environ if name.startswith("STRONGROOM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    spec = tmp_path / "strongroom.yaml"
    spec.write_text(
        "version: 1\npipelines: {a: {provider: {type: file, file_path: s.enc, key_file: a.key}}}\n"
        "secrets: {VALUE: {key: value}}\n"
    )
    spec.chmod(0o644)
    subprocess.run([sys.executable, "-m", "strongroom", "set", "value"], check=True, input=b"value-of-it")
    too_long = (HEAVY | {"dataclasses", "inspect", "shutil", "logging"}) - {"cryptography", "sqlite3"}
    for words in (["get", "value"], ["run", "--", "true"]):
        call = f"from strongroom.cli import main; assert main({words!r}) == 0; print()"
        modules_after(call)  # the first one takes the whole way, and remembers
        assert modules_after(call) & too_long == set()
