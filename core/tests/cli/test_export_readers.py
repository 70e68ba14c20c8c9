"""What `export` writes is read back byte for byte by those whom each format is for, or refused by name."""

from __future__ import annotations

import atexit
import ctypes
import functools
import http.server
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

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
ENV = {"PATH": os.environ["PATH"], "HOME": "/dev/null", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
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
    env = home_of(path)
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


def of_dotenvx(text, path):
    path.write_text(text)
    code = "console.log(JSON.stringify(process.env))"
    words = [dotenvx(), "run", "--quiet", "-f", path, "--", "node", "-e", code]
    done = subprocess.run(words, env=home_of(path), check=True, capture_output=True, text=True)
    assert done.stderr == ""
    return json.loads(done.stdout)


@functools.cache
def dotenvx():
    """Return the program that npm has installed into the folder of this user's caches, once for all tests."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    words = ["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", folder, DOTENVX]
    if subprocess.run(words, check=False, capture_output=True).returncode:
        pytest.skip("npm cannot install dotenvx here")
    return folder / "node_modules" / ".bin" / "dotenvx"


def of_fish(text, path):
    path.write_text(text)
    words = ["fish", "--no-config", "-c", f"source {path}; {PRINT}"]
    done = subprocess.run(words, env=home_of(path), check=True, capture_output=True, text=True)
    assert done.stderr == ""
    return json.loads(done.stdout)


def of_systemd(text, path):
    """By the function that systemd itself reads `EnvironmentFile=` with."""
    path.write_text(text)
    libc, systemd = ctypes.CDLL(None), ctypes.CDLL(str(systemd_library()))
    libc.fopen.restype = ctypes.c_void_p
    systemd.load_env_file.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    lines = ctypes.POINTER(ctypes.c_char_p)()
    file = ctypes.c_void_p(libc.fopen(os.fsencode(path), b"r"))
    assert systemd.load_env_file(file, None, ctypes.byref(lines)) == 0
    libc.fclose(file)
    found, at = {}, 0
    while (line := lines[at]) is not None:
        name, _, value = line.decode().partition("=")
        found[name] = value
        at += 1
    return found


def systemd_library():
    folders = ("/usr/lib/x86_64-linux-gnu/systemd", "/usr/lib/aarch64-linux-gnu/systemd", "/usr/lib/systemd")
    return next((one for folder in folders for one in Path(folder).glob("libsystemd-shared-*.so")), None)


class Daemon(http.server.BaseHTTPRequestHandler):
    """As much of Docker's daemon as it takes to see what its client asks for."""

    asked: list[dict[str, object]]

    def do_GET(self):
        self.answer(200, b"OK")

    do_HEAD = do_GET

    def do_POST(self):
        self.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.answer(201, b'{"Id": "1", "Warnings": []}')

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Api-Version", "1.43")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


def of_docker_client(text, path):
    path.write_text(text)
    daemon = type("OneDaemon", (Daemon,), {"asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), daemon) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            env = home_of(path) | {"DOCKER_HOST": f"tcp://127.0.0.1:{server.server_port}"}
            words = ["docker", "create", "--pull", "never", "--env-file", path, "image"]
            subprocess.run(words, env=env, check=True, capture_output=True)
        finally:
            server.shutdown()
            thread.join()
    (asked,) = daemon.asked
    return dict(one.split("=", 1) for one in asked["Env"])


def home_of(path):
    return ENV | {"HOME": str(path.parent)}


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
    ("env", "busybox"): sh("busybox", "ash"),
    ("env", "zsh"): sh("zsh", "-f"),
    ("dotenv", "python-dotenv"): of_python_dotenv,
    ("env", "strongroom"): of_strongroom,
    ("dotenv", "strongroom"): of_strongroom,
    ("dotenv", "node"): of_node,
    ("env", "direnv"): of_direnv,
    ("dotenv", "dash"): sh("dash"),
    ("docker", "rules"): of_docker,
    ("docker", "docker"): of_docker_client,
    ("fish", "fish"): of_fish,
    ("env", "systemd"): of_systemd,
    ("dotenv", "systemd"): of_systemd,
    ("dotenv", "dotenvx"): of_dotenvx,
    ("github", "rules"): of_github,
    ("json", "python"): lambda text, _: json.loads(text),
    ("yaml", "pyyaml"): lambda text, _: yaml.safe_load(text),
}
RARE = {
    "busybox": "busybox",
    "zsh": "zsh",
    "node": "node",
    "direnv": "direnv",
    "docker": "docker",
    "fish": "fish",
    "dotenvx": "npm",
    "systemd": None,
}
"""Readers that not every machine has, and the program that is looked for."""
DOTENVX = "@dotenvx/dotenvx@2.38.2"


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
    if reader == "strongroom":  # whose lines of a value end in a newline, whatever they end in in the file
        values = {name: value for name, value in values.items() if "\r\n" not in value}
    found = READERS[form, reader](FORMATS[form](values), tmp_path / "file")
    assert {name: found.get(name) for name in values} == values


def test_there_are_sixty_values():
    assert len(set(VALUES)) >= 60


def test_what_dotenvx_takes_for_ciphertext_is_refused():
    with pytest.raises(UsageError, match="A begins with `encrypted:`"):
        FORMATS["dotenv"]({"A": "encrypted:BD1"})


@pytest.mark.parametrize(
    ("value", "quoted"),
    [("a", "'a'"), ("it's", "'it\\'s'"), ("a\\", "'a\\\\'"), ("$x (y)\nz", "'$x (y)\nz'")],
)
def test_fish_is_quoted_by_its_own_rules(value, quoted):
    assert FORMATS["fish"]({"A": value}) == f"set -gx A {quoted}\n"


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
    program = RARE[reader]
    if systemd_library() is None if program is None else shutil.which(program) is None:
        pytest.skip(f"there is no {reader} here")
    read_back(form, reader, tmp_path)
