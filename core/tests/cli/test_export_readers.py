"""What `export` writes is read back byte for byte by those whom each format is for, or refused by name."""

from __future__ import annotations

import functools
import io
import json
import os
import shutil
import subprocess
import sys

import dotenv
import pytest
import yaml
from strongroom.cli.errors import UsageError
from strongroom.cli.formats.dotenv_file import expanded, read_assignments
from strongroom.cli.formats.export import FORMATS, as_env

PEM = "-----BEGIN PRIVATE KEY-----\nMIIB+/==\n-----END PRIVATE KEY-----"
VALUES = [
    *(
        "",
        " ",
        "x",
        " lead",
        "trail ",
        "two  blanks",
        "tab\there",
        "\t",
        "new\nline",
        "\nfirst",
        "last\n",
        "a\n\nb",
    ),
    *(
        PEM,
        f"{PEM}\n",
        "cr\rmiddle",
        "crlf\r\nend",
        "it's",
        "'",
        "''",
        "'quoted'",
        '"',
        '"quoted"',
        "both'\"",
        "`cmd`",
    ),
    *(
        "$HOME",
        "${HOME}",
        "$(id)",
        "$",
        "cost$",
        "$$",
        "pa$1word",
        "a${X:-d}b",
        "\\",
        "\\\\",
        "a\\nb",
        "C:\\temp\\new",
    ),
    *(
        "end\\",
        "\\'",
        '\\"',
        "\\$x",
        "#",
        "a#b",
        "a #b",
        "#first",
        "=",
        "=ls",
        "x:=ls",
        "a=b=c",
        "~",
        "~root",
        "x:~",
    ),
    *(
        "!",
        "hi!there",
        "*",
        "[a]",
        "{a,b}",
        "<in",
        "a|b",
        "a;b",
        "a&b",
        "(x)",
        "-n",
        "export",
        "0123",
        "1e3",
        "true",
    ),
    *(
        "null",
        "on",
        "é",
        "日本語",
        "🔑",
        "\u2028",
        "\u00a0",
        "\x1b[31m",
        "\x01",
        "{{ x }}",
        "%s",
        "@int 5",
        "a,b",
        "x" * 5000,
    ),
    *(
        '{"k": "v w"}',
        "postgres://u:p%40@h/db?x=1&y=2#f",
        "encrypted:",
        "EOF",
        "::add-mask::",
        "%0A",
        "A=1\nB=2",
        "\0",
    ),
]
ENV = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
PRINT = f"{sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"


def of_shell(shell, text, path):
    path.write_text(text)
    done = subprocess.run(
        [*shell, f'set -a; eval "$(cat {path})"; {PRINT}'],
        env=ENV,
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)


def of_python_dotenv(text, path):
    path.write_text(text)
    return dict(dotenv.dotenv_values(path))


def of_strongroom(text, path):
    return expanded(read_assignments(path, text, lambda _: None))


def of_node(text, path):
    path.write_text(text)
    code = "console.log(JSON.stringify(process.env))"
    done = subprocess.run(
        ["node", f"--env-file={path}", "-e", code], env=ENV, check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)


def of_direnv(text, path):
    """As the page says: `eval "$(strongroom export --format env --exported)"` in `.envrc`."""
    folder = path.parent
    exported = as_env(of_strongroom_env(text, path), before="export ")
    (folder / "out").write_text(exported)
    (folder / ".envrc").write_text('eval "$(cat out)"\n')
    env = ENV | {"HOME": str(folder)}
    subprocess.run(["direnv", "allow", folder], env=env, check=True, capture_output=True)
    words = [
        "direnv",
        "exec",
        folder,
        sys.executable,
        "-c",
        "import json, os; print(json.dumps(dict(os.environ)))",
    ]
    done = subprocess.run(words, env=env, check=True, capture_output=True, text=True, cwd=folder)
    return json.loads(done.stdout)


def of_strongroom_env(text, path):
    found = of_shell(["dash", "-c"], text, path)
    return {name: value for name, value in found.items() if name.startswith("V")}


def of_docker(text, path):
    """By the rules of the client: a line each, no quotes, comments begin a line, blanks at its left go."""
    lines = (line.lstrip() for line in text.split("\n"))
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def of_github(text, path):
    """By the rules of the runner: `NAME<<WORD`, lines up to one that is WORD, each line end as it is."""
    found, lines = {}, iter(io.StringIO(text, newline=""))
    for line in lines:
        name, _, word = line.rstrip("\n").partition("<<")
        body = []
        while (part := next(lines)) != f"{word}\n":
            body.append(part)
        found[name] = "".join(body).removesuffix("\n")
    return found


def sh(name, *words):
    return functools.partial(of_shell, [name, *words, "-c"])


READERS = {
    ("env", "dash"): sh("dash"),
    ("env", "bash"): sh("bash", "--norc"),
    ("env", "bash --posix"): sh("bash", "--posix"),
    ("env", "zsh"): sh("zsh", "-f"),
    ("dotenv", "python-dotenv"): of_python_dotenv,
    ("dotenv", "strongroom"): of_strongroom,
    ("dotenv", "node"): of_node,
    ("env", "direnv"): of_direnv,
    ("dotenv", "dash"): sh("dash"),
    ("docker", "rules"): of_docker,
    ("github", "rules"): of_github,
    ("json", "python"): lambda text, _: json.loads(text),
    ("yaml", "pyyaml"): lambda text, _: yaml.safe_load(text),
}
RARE = {"zsh", "node", "direnv"}


def held(form):
    """Return the values that a format takes; the others are refused by name."""
    found = {}
    for number, value in enumerate(VALUES):
        name = f"V{number}"
        try:
            FORMATS[form]({name: value})
        except UsageError as error:
            said = error.message
        else:
            found[name] = value
            continue
        assert name in said
    return found


def cases(*, rare):
    return [one for one in READERS if (one[1] in RARE) == rare]


def read_back(form, reader, tmp_path):
    values = held(form)
    assert len(values) >= {"dotenv": 60, "docker": 60}.get(form, len(VALUES) - 4)
    found = READERS[form, reader](FORMATS[form](values), tmp_path / "file")
    assert {name: found.get(name) for name in values} == values


def test_there_are_sixty_values():
    assert len(set(VALUES)) >= 60


@pytest.mark.parametrize(("form", "reader"), cases(rare=False))
def test_it_is_read_back(form, reader, tmp_path):
    read_back(form, reader, tmp_path)


def test_it_is_exported_to_programs_that_are_started(tmp_path):
    values = held("env")
    path = tmp_path / "file"
    path.write_text(as_env(values, before="export "))
    done = subprocess.run(
        ["dash", "-c", f". {path}; {PRINT}"], env=ENV, check=True, capture_output=True, text=True
    )
    found = json.loads(done.stdout)
    assert {name: found.get(name) for name in values} == values


@pytest.mark.torture
@pytest.mark.parametrize(("form", "reader"), cases(rare=True))
def test_it_is_read_back_by_programs_that_not_every_machine_has(form, reader, tmp_path):
    if shutil.which(reader) is None:
        pytest.skip(f"there is no {reader} here")
    read_back(form, reader, tmp_path)
