"""A stranger's plugin, written outside the repository with nothing but the documentation, works from YAML."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from strongroom_file import FileSecretProvider

PAGE = Path(__file__).parent.parent / "docs" / "tutorials" / "write-a-plugin.md"
_FILE = re.compile(r'^```\w+ title="(?P<name>[^"]+)"\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL)
STRONGROOM = Path(sys.executable).with_name("strongroom")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Write the page's files, and install them as a distribution into a folder of their own."""
    folder = tmp_path_factory.mktemp("acme")
    site = tmp_path_factory.mktemp("site")
    for match in _FILE.finditer(PAGE.read_text(encoding="utf-8")):
        path = folder / match["name"]
        path.parent.mkdir(exist_ok=True)
        path.write_text(match["text"])
    uv = Path(sys.executable).with_name("uv")
    install = ["pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--python", sys.executable]
    done = subprocess.run(
        [uv, *install, "--target", site, "."], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder, site


@pytest.fixture
def strongroom(installed, tmp_path):
    folder, site = installed
    spec = tmp_path / "strongroom.yaml"
    spec.write_text((folder / "strongroom.yaml").read_text())

    def run(*args, stdin=None, **environment):
        return subprocess.run(
            [STRONGROOM, *args],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(site), "HOME": str(tmp_path)} | environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_provider_middleware_and_hook_work_from_yaml(strongroom):
    stored = strongroom("set", "greeting", stdin="quiet")
    assert (stored.returncode, stored.stderr) == (0, "set greeting: ok\n")
    read = strongroom("get", "greeting")
    assert (read.stdout, read.stderr) == ("QUIET!!", "get greeting: ok\n")
    absent = strongroom("get", "nothing")
    assert absent.returncode == 3
    assert absent.stderr.startswith("get nothing: not_found\nerror: ")


def test_a_remembered_spec_is_answered_as_a_new_one(strongroom, tmp_path):
    """From the second read on no registry is loaded: the provider's errors are translated all the same."""
    spec = tmp_path / "strongroom.yaml"
    spec.write_text("version: 1\npipelines: {app: {provider: {type: acme, path: secrets.json}}}\n")
    strongroom("set", "greeting", stdin="hunter2-hunter2")
    for _ in range(2):
        read = strongroom("get", "greeting")
        assert (read.returncode, read.stdout, read.stderr) == (0, "hunter2-hunter2", "")
        absent = strongroom("get", "nothing")
        assert absent.returncode == 3
        assert "secret 'nothing' not found" in absent.stderr
    (tmp_path / "secrets.json").write_text('{"greeting": "hunter2-hunter2"')
    broken = strongroom("get", "greeting")
    assert broken.returncode == 1
    assert broken.stderr.startswith("error: AcmeProvider failed with JSONDecodeError")
    assert "hunter2" not in broken.stderr
    (tmp_path / "secrets.json").write_text('{"greeting": 7}')
    assert "AcmeProvider: get_secret returned a int, not text" in strongroom("get", "greeting").stderr


def test_it_is_listed_and_explained(strongroom):
    rows = json.loads(strongroom("plugins", "--json").stdout)["plugins"]
    found = {row["name"]: (row["kind"], row["distribution"], row["error"]) for row in rows}
    assert found["acme"] == ("provider", "strongroom-acme", None)
    assert found["acme.shout"] == ("middleware", "strongroom-acme", None)
    assert found["acme.diary"] == ("hook", "strongroom-acme", None)
    output = strongroom("explain", "greeting").stdout
    assert "acme.shout" in output
    assert "acme.diary" in output


def test_its_options_are_checked_and_in_the_schema(strongroom, tmp_path):
    spec = tmp_path / "strongroom.yaml"
    spec.write_text(spec.read_text().replace("times: 2", "tims: 2"))
    refused = strongroom("get", "greeting")
    assert refused.returncode == 2
    assert "middleware[0].tims: unknown key; did you mean 'times'?" in refused.stderr
    assert '"acme.shout"' in strongroom("schema").stdout


def test_the_allow_list_shuts_it_out(strongroom):
    refused = strongroom("get", "greeting", STRONGROOM_PLUGINS="strongroom-memory")
    assert refused.returncode == 2
    assert "acme" in refused.stderr


PLAIN = """\
class Plain:
    def __init__(self, inner):
        self._inside = inner

    def get_secret(self, key):
        return self._inside.get_secret(key)

    def set_secret(self, key, value):
        self._inside.set_secret(key, value)

    def delete_secret(self, key):
        self._inside.delete_secret(key)

    def list_secrets(self, prefix=""):
        return self._inside.list_secrets(prefix)
"""
AROUND = """\
import strongroom
from pydantic import BaseModel

class Options(BaseModel):
    pass

@strongroom.hookimpl
def strongroom_middleware():
    yield strongroom.Plugin(name="plain", summary="Plain.", config=Options, factory="plain_parts:Plain")
"""
USE = """\
import json
from strongroom import SecretProviderRegistry, errors
store = {"type": "file", "file_path": "s.enc", "encryption_key": "a passphrase for the tests"}
cached = {"type": "caching", "ttl_seconds": 3600}
spec = {"version": 1, "default": "one", "pipelines": {
    "one": {"provider": store, "middleware": [cached]},
    "two": {"provider": store, "middleware": [cached, {"type": "plain"}]},
}}
with SecretProviderRegistry(spec) as registry:
    reads = []
    for writer in ("one", "two", "one"):
        registry.pipeline(writer).set_secret("k", f"by {writer}")
        reads += [[registry.pipeline(name).get_secret("k") for name in ("one", "two")]]
with SecretProviderRegistry(spec, pipeline="two") as registry:
    try:
        registry.list_versions("k")
    except errors.UnsupportedOperationError as error:
        reads.append(str(error))
print(json.dumps(reads))
"""


def make_distribution(folder, name, module):
    """Write a distribution that is found in `folder`, whose entry point is the text `module`."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[strongroom]\n{name} = {name}_plugin\n")
    (folder / f"{name}_plugin.py").write_text(module)


def test_a_plain_middleware_hides_no_store_from_caches_and_commands(strongroom, tmp_path, monkeypatch):
    """One with four methods, which knows nothing of `Middleware`: writes of other pipelines were missed."""
    make_distribution(tmp_path, "plain", AROUND)
    (tmp_path / "plain_parts.py").write_text(PLAIN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", USE], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    *reads, refused = json.loads(done.stdout)
    assert reads == [["by one"] * 2, ["by two"] * 2, ["by one"] * 2]
    assert refused.startswith("Plain has no history for 'k'")
    spec = tmp_path / "strongroom.yaml"
    spec.write_text(
        "version: 1\npipelines: {app: {provider: {type: file, file_path: s.enc, "
        "encryption_key: a passphrase for the tests}, middleware: [{type: plain}, {type: tenant}]}}\n"
    )
    kept = strongroom("--spec", "strongroom.yaml", "backup", "kept.enc", PYTHONPATH=str(tmp_path))
    assert kept.returncode == 4
    assert "--all-tenants" in kept.stderr
    given = strongroom(
        "--spec", "strongroom.yaml", "backup", "--all-tenants", "kept.enc", PYTHONPATH=str(tmp_path)
    )
    assert given.returncode == 0, given.stderr


STRICT = """\
import strongroom
from pydantic import BaseModel

class Options(BaseModel):
    pass

def refuse(event):
    if event.key == "first" and event.operation == "rotate":
        raise ValueError(f"{event.key} must not be hunter2-hunter2")

class Strict:
    before = staticmethod(refuse)

    def after(self, event):
        pass

@strongroom.hookimpl
def strongroom_hooks():
    yield strongroom.Plugin(name="strict", summary="Strict.", config=Options, factory=Strict)
"""


def test_what_a_hook_refuses_with_an_error_of_its_own_stops_no_other_rotation(strongroom, tmp_path):
    """Nor is its text shown, which may hold a value."""
    make_distribution(tmp_path, "strict", STRICT)
    key = tmp_path / "app.key"
    old = datetime.now(UTC) - timedelta(days=100)
    with FileSecretProvider(str(tmp_path / "s.enc"), key_file=str(key), clock=lambda: old) as store:
        store.set_secrets({"first": "the-old-value", "second": "the-old-value"})
    rotated = "rotate_days: 1, rotate: {}, generate: {length: 40}"
    (tmp_path / "strongroom.yaml").write_text(
        "version: 1\n"
        "pipelines: {app: {provider: {type: file, file_path: s.enc, key_file: app.key}, hooks: [{type: strict}]}}\n"
        f"secrets:\n  FIRST: {{key: first, {rotated}}}\n  SECOND: {{key: second, {rotated}}}\n"
    )
    done = strongroom("rotate", "--due", "--json", PYTHONPATH=str(tmp_path))
    outcomes = {one["key"]: one for one in json.loads(done.stdout)["rotations"]}
    assert outcomes["second"] == {"key": "second", "state": "current", "error": None}
    assert outcomes["first"]["error"] == "unexpected ValueError"
    assert done.returncode != 0
    assert "hunter2" not in done.stdout + done.stderr
    with FileSecretProvider(str(tmp_path / "s.enc"), key_file=str(key)) as store:
        assert store.get_secret("first") == "the-old-value"
        assert store.get_secret("second") != "the-old-value"
