"""What is taken without click is taken as click would take it."""

from __future__ import annotations

import importlib
import subprocess
import sys

import click
import pytest
from strongroom import SecretProviderRegistry
from strongroom.cli.actions import render as rendering
from strongroom.cli.app import module_of
from strongroom.cli.context import GlobalOptions
from strongroom.cli.errors import UsageError
from strongroom.cli.fast_path import COMMANDS, parse_fast_call

CALLS = [
    "get a/key",
    "get a/key --field b.c --json",
    "get --version 3 a/key",
    "--spec other.yaml --quiet get a/key",
    "run -- true --only x",
    "run --only A,B --no-mask --allow-empty -- true",
    "run --json --group web -- sh -c true -- x",
    "list",
    "list database/ --tree",
    "list --long --json",
    "--pipeline app list a/",
    "check",
    "check --group web --format sarif --quiet",
    "check --offline --fix",
    "export --format env",
    "export --prefix a/ --format docker",
    "export --group web --format env --exported",
    "render t.j2",
    "render -o out t.j2",
    "render t.j2 --output out --debug",
    "--profile prod render t.j2",
    "serve",
    "--spec s.yaml serve --socket s.sock --debug",
    "serve --listen 127.0.0.1:8300 --socket s.sock",
]
LEFT_TO_CLICK = [
    "", "get", "get a b", "get ''", "get --key a", "get -- a", "get a --field", "get a --field -1", "get --help", "run true",
    "run", "run --", "run --watch -- true", "list a b", "list --lo", "check here", "check --format table2", "check --format=json",
    "export", "export --format yml", "export --format env here", "render", "render -", "render t.j2 -oout", "render t.j2 -o -",
    "--tenant a get k", "--reason why list", "set a", "check --tenant a",
    "serve here", "serve --socket", "serve --socket=s", "serve --help", "--tenant a serve",
]  # fmt: skip


def as_click_has_it(name, words):
    """Return the parameters that click makes of the words behind a command's name, and the flags that it sets."""
    command = getattr(importlib.import_module(module_of(name)), f"{name}_command")
    settings = GlobalOptions()
    context = command.make_context(name, list(words), obj=settings)
    return context.params, {one for one in ("json", "debug", "quiet") if getattr(settings, one)}


@pytest.mark.parametrize("line", CALLS)
def test_a_plain_call_is_what_click_makes_of_it(line):
    words = line.split()
    fast = parse_fast_call(words)
    assert fast is not None
    before = words[: words.index(fast.command)]
    params, switched = as_click_has_it(fast.command, words[len(before) + 1 :])
    expected = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in params.items()
        if value not in (None, False, (), "") and (name, value) != ("form", "table")
    }
    if fast.command == "get":
        (expected["key"],) = expected.pop("keys")
    assert fast.options == expected
    settings = {one[2:] for one in before if one in {"--json", "--debug", "--quiet"}}
    assert {one for one in ("json", "debug", "quiet") if getattr(fast.settings, one)} == switched | settings
    for name in ("spec", "profile", "pipeline"):
        given = before[before.index(f"--{name}") + 1] if f"--{name}" in before else None
        assert getattr(fast.settings, name) == given


@pytest.mark.parametrize("line", LEFT_TO_CLICK)
def test_what_is_not_plain_is_left_to_click(line):
    assert parse_fast_call([word.strip("'") for word in line.split()]) is None


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_is_one_of_the_command_with_the_same_choices(name):
    plain = COMMANDS[name]
    command = getattr(importlib.import_module(module_of(name)), f"{name}_command")
    known = {spelling: one for one in command.params for spelling in one.opts}
    assert {known[one].name for one in plain.flags} == set(plain.flags.values())
    assert all(known[one].is_flag for one in plain.flags)
    assert {one: known[one].name for one in plain.values} == dict(plain.values)
    choices = {
        one.name: tuple(one.type.choices) for one in command.params if isinstance(one.type, click.Choice)
    }
    assert choices == dict(plain.choices)
    assert callable(plain.load())


PLAIN = """\
version: 1
pipelines: {a: {provider: {type: memory}}}
secrets:
  PORT: {type: port, default: 5432}
  DEBUG: {type: boolean, default: false}
  NAMES: {type: json, default: '["a", "b"]'}
  ABSENT: {key: absent, required: false}
  TEXT: {default: "{{ PORT }} & <b>"}
"""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n\n",
        "{{ PORT }}{{ DEBUG }}\n",
        "{{PORT}} {{ DEBUG}}",
        "[{{ NAMES }}] {{ ABSENT }}",
        '{{ "{" }}{{ TEXT }}\n',
        "}} { {",
    ],
)
def test_a_plain_template_comes_to_what_jinja_makes_of_it(tmp_path, monkeypatch, text):
    spec = tmp_path / "strongroom.yaml"
    spec.write_text(PLAIN)
    with SecretProviderRegistry(spec) as registry:
        plain = rendering._plainly(text, "t.j2", registry)
        monkeypatch.setattr(rendering, "_plainly", lambda *_: None)
        assert rendering.render(text, "t.j2", registry) == plain


@pytest.mark.parametrize(
    "text",
    [
        "{{ PORT | string }}",
        "{{ range }}",
        "{# PORT #}",
        "{% if PORT %}{% endif %}",
        "a\r\n",
        "{{ secret('a') }}",
    ],
)
def test_a_template_that_is_more_is_left_to_jinja(tmp_path, text):
    spec = tmp_path / "strongroom.yaml"
    spec.write_text(PLAIN)
    with SecretProviderRegistry(spec) as registry:
        assert rendering._plainly(text, "t.j2", registry) is None


def test_an_undeclared_name_of_a_plain_template_is_an_error_with_its_line(tmp_path):
    spec = tmp_path / "strongroom.yaml"
    spec.write_text(PLAIN)
    with (
        SecretProviderRegistry(spec) as registry,
        pytest.raises(UsageError, match=r"t\.j2:2: 'PORTT' is undefined") as caught,
    ):
        rendering.render("{{ PORT }}\n{{ PORTT }}\n", "t.j2", registry)
    assert "PORT" in caught.value.hint


AT_THE_END = """
import atexit, sys
from strongroom.cli import script
def last():
    print("a report")
    sys.stderr.write("the last spans")
atexit.register(last)
script()
"""


@pytest.mark.parametrize(
    ("words", "code"),
    [("list", 0), ("get no/such", 3), pytest.param("plugins", 0, marks=pytest.mark.torture)],
)
def test_what_others_have_registered_for_the_end_is_done(tmp_path, warm_python, words, code):
    """As by OpenTelemetry's launcher: what its exporter has not sent yet would be lost."""
    spec = tmp_path / "strongroom.yaml"
    spec.write_text("version: 1\npipelines: {app: {provider: {type: memory}}}\n")
    is_fast = words.split()[0] in COMMANDS
    start = [warm_python] if is_fast else [sys.executable, "-E"]  # for all others, Python's own end does it
    command = [*start, "-c", AT_THE_END, "--spec", str(spec), *words.split()]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr.endswith("the last spans")) == (code, True)
    assert done.stdout.endswith("a report\n")


def test_the_module_says_that_the_current_folder_is_gone(tmp_path, monkeypatch):
    """As the command does, and without a traceback."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for words, code in (("--version",), 0), (("--spec", "absent.yaml", "get", "key"), 2):
        done = subprocess.run(
            [sys.executable, "-m", "strongroom", *words], check=False, capture_output=True, text=True
        )
        assert (done.returncode, "Traceback" in done.stderr) == (code, False)
