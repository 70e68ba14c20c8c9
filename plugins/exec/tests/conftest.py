from __future__ import annotations

import sys
from pathlib import Path

import pytest
from strongroom_exec import ExecSecretProvider

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


@pytest.fixture(scope="module")
def python():
    """The example program in Python."""
    with ExecSecretProvider([sys.executable, "-I", str(EXAMPLES / "exec_store.py")], timeout=60) as provider:
        yield provider


@pytest.fixture(scope="module")
def javascript():
    """The example program in JavaScript."""
    with ExecSecretProvider(["node", str(EXAMPLES / "exec_store.mjs")], timeout=60) as provider:
        yield provider


@pytest.fixture
def program(tmp_path):
    """Make a provider over a program of the test's own: `reply(request)` returns what it prints."""
    made = []

    def make(code, **options):
        path = tmp_path / f"program{len(made)}.py"
        path.write_text(HEAD + code + LOOP)
        options.setdefault("timeout", 60)
        provider = ExecSecretProvider([sys.executable, "-I", "-S", str(path), str(tmp_path)], **options)
        made.append(provider)
        return provider

    yield make
    for provider in made:
        provider.close()


@pytest.fixture(scope="module")
def parrot(tmp_path_factory):
    """One program for many tests, and a function that decides what it answers: an expression in Python.

    It has the request as `request`, and gives the members of the answer beside its number.
    """
    folder = tmp_path_factory.mktemp("parrot")
    code = (
        "capabilities = ['BatchReader', 'Describer', 'VersionReader', 'ConditionalWriter', 'StagedWriter']\n"
        "def reply(request, params):\n"
        "    answer = eval(open(os.path.join(folder, 'answer')).read())\n"
        "    say(json.dumps({'jsonrpc': '2.0', 'id': request['id'], **answer}) + '\\n')\n"
    )
    (folder / "program.py").write_text(HEAD + code + LOOP)
    command = [sys.executable, "-I", "-S", str(folder / "program.py"), str(folder)]
    with ExecSecretProvider(command, timeout=60) as provider:

        def answering(expression):
            (folder / "answer").write_text(expression)
            return provider

        yield answering
    assert (folder / "starts").read_text() == "x"


HEAD = """
import json, os, sys, threading, time
folder = sys.argv[1]
def say(text): sys.stdout.write(text); sys.stdout.flush()
def tell(request, result): say(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}) + "\\n")
def fail(request, error): say(json.dumps({"jsonrpc": "2.0", "id": request["id"], "error": error}) + "\\n")
def note(name): open(os.path.join(folder, name), "a").write("x")
capabilities = []
"""
LOOP = """
note("starts")
for line in sys.stdin:
    request = json.loads(line)
    if request["method"] == "capabilities": tell(request, capabilities)
    else: reply(request, request["params"])
"""
