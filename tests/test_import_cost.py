"""What `import strongroom` does not load."""

from __future__ import annotations

import ast
import http.server
import importlib
import json
import operator
import os
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import pytest
import warm_command

UNUSED = {"strongroom.providers.guarded", "strongroom.providers.metadata", "strongroom.providers.protocols"}
"""Modules that no start loads."""
UNUSED_BY_GET = {
    "strongroom.audit.group_commit", "strongroom.cache.addresses", "strongroom.cli.declared.names",
    "strongroom.registry.explanation",
}  # fmt: skip
UNUSED_BY_RUN = {"selectors", "strongroom.cli.child.terminal", "termios", "tty"}
MOST_PLAIN, MOST_RICH, MOST_RUN = (130, 37_000, 1, 8), (174, 49_000, 1, 11), (193, 60_000, 1, 15)
"""Modules, calls of Python's and C's functions, texts and patterns that are compiled: what was counted, with little
to spare for modules, and more for calls, of which an import makes some for each folder that is looked through."""
HEAVY = {
    "azure", "boto3", "botocore", "click", "cryptography", "google", "grpc", "hvac", "importlib_metadata", "jinja2",
    "keyring", "lxml", "opentelemetry", "pluggy", "psycopg", "pydantic", "pydantic_settings", "pykeepass", "redis", "requests",
    "rich", "sqlite3", "yaml",
}  # fmt: skip


def modules_after(code):
    """Return the top-level modules that `code` loads in a new process."""
    report = "print(json.dumps(sorted(set(sys.modules) - before)))"
    whole = f"import sys, json; before = set(sys.modules); {code}; {report}"
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
    assert loaded & (HEAVY - {"pydantic", "pluggy"}) == set()
    assert {module.partition(".")[0] for module in modules} <= loaded


def test_the_registry_loads_no_settings_and_only_the_plugins_that_a_spec_names():
    spec = "{'version': 1, 'pipelines': {'app': {'provider': {'type': 'memory'}}}}"
    loaded = modules_after(
        f"import strongroom; strongroom.SecretProviderRegistry({spec}).set_secret('a', '1')"
    )
    assert loaded & (HEAVY - {"pydantic", "pluggy", "yaml"}) == set()
    assert {name for name in loaded if name.startswith("strongroom_")} == {"strongroom_memory"}


TOO_LONG = (
    HEAVY | {"ast", "asyncio", "concurrent", "dataclasses", "difflib", "hashlib", "hmac", "inspect", "ipaddress", "logging", "pathlib", "platformdirs",
    "regex", "shutil", "ssl", "subprocess", "urllib"}
) - {"cryptography", "sqlite3"}  # fmt: skip
RICH = """\
version: 1
pipelines:
  a:
    provider: {type: file, file_path: s.enc, key_file: a.key}
    middleware: [{type: caching, ttl_seconds: 60}, {type: validation, max_length: 4096}]
    hooks: [{type: audit, path: "${env:AUDIT_LOG:-audit.jsonl}"}]
secrets:
  VALUE: {key: value, min_length: 4, forbid: [changeme], pattern: "[a-z-]+"}
  PORT: {type: port, default: 5432}
"""
WORK = """\
import builtins, sys

compiled = calls = texts = patterns = 0


def count(frame, event, what):
    global compiled, calls, texts, patterns
    calls += event in ("call", "c_call")
    compiled += event == "c_call" and what is builtins.compile
    code = frame.f_code
    texts += event == "call" and code.co_filename == "<string>" and code.co_name == "<module>"
    patterns += event == "call" and code.co_name == "compile" and code.co_filename.endswith("_compiler.py")


before = set(sys.modules)
sys.setprofile(count)
%s
sys.setprofile(None)
print()
print([compiled, patterns, texts, calls, sorted(set(sys.modules) - before)])
"""


def work_of(code):
    """Return what `code` costs.

    That is how often it calls the compiler, how many patterns it compiles, how many texts it has compiled to run
    them, as named tuples of the standard library do, how many calls it makes, and the modules that it loads.
    """
    done = subprocess.run([sys.executable, "-c", WORK % code], check=True, capture_output=True, text=True)
    return ast.literal_eval(done.stdout.splitlines()[-1])  # not `json`, whose import would not count


@pytest.fixture
def spec(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("STRONGROOM_")]:
        monkeypatch.delenv(name)
    if os.geteuid() != 0:  # root's own need no trust
        monkeypatch.setenv("STRONGROOM_TRUST_SPEC", "1")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "strongroom.yaml"


@pytest.mark.parametrize(
    ("text", "code", "most"),
    [
        (
            "version: 1\npipelines: {a: {provider: {type: file, file_path: s.enc, key_file: a.key}}}\n",
            "from strongroom.cli import main; assert main(['get', 'value']) == 0",
            MOST_PLAIN,
        ),
        (RICH, "from strongroom.cli import main; assert main(['get', 'value']) == 0", MOST_RICH),
        (
            RICH,
            # Where the machine is busy, `true` may run for long.
            (
                "from strongroom.cli import main; from strongroom.cli.child import supervisor; "
                "supervisor._QUIET_SECONDS = 1e6; assert main(['run', '--', 'true']) == 0"
            ),
            MOST_RUN,
        ),
        (
            RICH,
            "import strongroom; strongroom.SecretProviderRegistry('strongroom.yaml').resolve()",
            MOST_RICH,
        ),
        *(
            (RICH, f"from strongroom.cli import main; assert main({words.split()}) == 0", MOST_RUN)
            for words in ("render t.j2",)
        ),
        *(
            pytest.param(
                RICH,
                f"from strongroom.cli import main; assert main({words.split()}) == 0",
                MOST_RUN,
                marks=pytest.mark.torture,
            )
            for words in ("check", "list", "export --format env")
        ),
    ],
    ids=["plain", "get", "run", "resolve", "render", "check", "list", "export"],
)
def test_a_remembered_spec_costs_little_to_start_with(spec, warm_strongroom, warm_python, text, code, most):
    """Work is counted: modules, calls, and calls of the compiler, whose first one takes eight milliseconds.

    Dataclasses bring `inspect` along, which takes as long as reading the store.
    """
    spec.write_text(text)
    spec.chmod(0o644)
    Path("t.j2").write_text("port = {{ PORT }}\n")
    warm_command.run([warm_strongroom, "set", "value"], check=True, input="value-of-it")
    # The first one takes the whole way, and remembers; what Python compiled is written since the warm one started.
    warm_command.run([warm_python, "-c", code], check=True)
    compiled, patterns, texts, calls, modules = work_of(code)
    assert {name.partition(".")[0] for name in modules} & TOO_LONG == set()
    unused = UNUSED | (UNUSED_BY_GET if "'get'" in code else UNUSED_BY_RUN if "'run'" in code else set())
    assert set(modules) & unused == set()
    assert compiled == 0
    counted = (len(modules), calls, texts, patterns)
    assert all(map(operator.le, counted, most)), counted


@pytest.mark.parametrize("words", ["['run', '--', 'echo', 'a line']", "['get', 'value']"], ids=["run", "get"])
def test_a_remembered_spec_without_encryption_loads_nothing_for_type_checkers(spec, monkeypatch, words):
    """`typing` takes 4 ms, a quarter of an empty Python; a cipher's module loads it all the same."""
    spec.write_text(
        "version: 1\npipelines: {a: {provider: {type: env, prefix: A_}}}\nsecrets: {V: {key: value}}\n"
    )
    spec.chmod(0o644)
    monkeypatch.setenv("A_VALUE", "a value that is masked")
    code = f"from strongroom.cli import main; assert main({words}) == 0"
    for _ in range(2):
        modules = work_of(code)[-1]
    assert "strongroom.cli.actions.run" in modules or "strongroom.cli.actions.get" in modules
    assert {"typing", "strongroom.registry", "strongroom.spec.loader"}.isdisjoint(modules)


def test_run_with_one_pipeline_loads_no_other(spec):
    """Others were loaded to learn whether they keep secrets in variables, which the child must not get."""
    spec.write_text(
        "version: 1\npipelines:\n  a: {provider: {type: memory, secrets: {value: v-of-it}}}\n"
        "  b: {provider: {type: vault, url: 'http://127.0.0.1:1', token: t}}\n"
        "  c: {provider: {type: azure, vault_url: 'https://c.vault.azure.net'}}\n"
        "default: b\nsecrets: {V: {key: value}}\n"
    )
    spec.chmod(0o644)
    code = "from strongroom.cli import main; assert main(['--pipeline', 'a', 'run', '--', 'true']) == 0"
    first, again = (set(work_of(code)[-1]) for _ in range(2))
    assert {"strongroom_vault.provider", "strongroom_azure.provider"}.isdisjoint(first)
    assert {"strongroom_vault", "strongroom_azure", "strongroom.registry.registry", "yaml"}.isdisjoint(again)


def test_a_first_load_compiles_only_patterns_of_ours_that_each_spec_needs():
    """Those for messages are compiled with the first message."""
    theirs = "import json, yaml; from pydantic import create_model; create_model('First')"
    ours = "import strongroom.spec.loader, strongroom.plugins.builtins, strongroom.spec.recording"
    _, patterns, _, _, modules = work_of(f"{theirs}; patterns = 0; {ours}")
    assert "strongroom.spec.document" in modules
    assert patterns <= 1  # of numbers


def test_a_read_of_the_file_store_makes_no_path_an_object(spec, warm_strongroom):
    """`pathlib` brings `urllib` and `ipaddress`; paths in options, variables among them, stay text."""
    text = "version: 1\npipelines: {a: {provider: {type: file, file_path: ./s.enc, key_file: %s}}}\n"
    code = "from strongroom.cli import main; assert main(['get', 'value']) == 0"
    for key_file in ("k/../a.key", '"${env:KEY_FILE:-a.key}"'):
        spec.write_text(text % key_file)
        spec.chmod(0o644)
        warm_command.run([warm_strongroom, "set", "value"], check=True, input="value-of-it")
        for _ in range(2):
            done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
            assert done.stdout.strip() == "value-of-it"
        modules = work_of(code)[-1]
        assert "pathlib" not in modules
        assert "strongroom_file.store.session" in modules


REMOTE = """\
version: 1
pipelines:
  a:
    provider: {type: vault, url: "%s", auth: {method: approle, role_id: r, secret_id: s}}
    middleware: [{type: caching, ttl_seconds: 60}, {type: validation, max_length: 4096}]
    hooks: [{type: audit, path: audit.jsonl}]
secrets:
  VALUE: {key: value, min_length: 4, pattern: "[a-z]{4,}"}
"""
MOST_REMOTE = (158, 60_000, 5, 13)


class OneSecret(http.server.BaseHTTPRequestHandler):
    """As much of Vault as a read needs."""

    def do_GET(self):
        mount = {"type": "kv", "options": {"version": "2"}}
        value = {"data": {"value": "hunter"}, "metadata": {"version": 1}}
        self.answer({"data": mount if "/mounts/" in self.path else value})

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer({"auth": {"client_token": "t", "lease_duration": 60}})

    def answer(self, content):
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        """Say nothing."""


def test_a_read_from_vault_loads_neither_an_sdk_nor_more_of_http_than_a_socket(spec):
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), OneSecret)
    thread = threading.Thread(target=made.serve_forever, args=(0.02,))
    thread.start()
    try:
        spec.write_text(REMOTE % f"http://127.0.0.1:{made.server_port}")
        spec.chmod(0o600)
        code = "import strongroom; assert strongroom.SecretProviderRegistry('strongroom.yaml').resolve()['VALUE']"
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        compiled, patterns, texts, calls, modules = work_of(code)
    finally:
        made.shutdown()
        thread.join()
        made.server_close()
    absent = TOO_LONG | {"cryptography", "email", "http", "random", "sqlite3"}
    absent -= {"ipaddress", "urllib"}  # its addresses are taken apart with these
    assert {name.partition(".")[0] for name in modules} & absent == set()
    assert compiled == 0
    counted = (len(modules), calls, texts, patterns)
    assert all(map(operator.le, counted, MOST_REMOTE)), counted


def test_no_model_of_a_common_spec_has_annotations_as_text():
    """Pydantic would compile each by itself, which is a fifth of what a model costs."""
    others = ("builtins", "builtins_encryption", "builtins_keys", "builtins_rotation")
    modules = (
        "strongroom.spec.models",
        "strongroom_file.config",
        *(f"strongroom.plugins.{one}" for one in others),
    )
    assert [name for name in modules if hasattr(importlib.import_module(name), "annotations")] == []
