"""The files of the how-to pages about hosts, in the real hosts: uvicorn, gunicorn, Celery."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from strongroom_file import FileSecretProvider

# pytest's importlib mode keeps test folders off the path; these helpers have names of their own.
sys.path.insert(0, str(Path(__file__).parent))

from doc_pages import DOCS, write_files
from lease_servers import LeaseServers

BIN = Path(sys.executable).parent
PATIENCE_SECONDS = 120
LEASED = """
version: 1
pipelines:
  app:
    provider: {{type: vault.leases, url: "{url}", token: "{token}"}}
"""


class Host:
    """A server or worker that a test started, and what it wrote."""

    def __init__(self, folder, command, **variables):
        self.log = folder / f"{Path(command[0]).name}.log"
        env = {**os.environ, "HOME": str(folder), "PYTHONPATH": str(folder), **variables}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [BIN / command[0], *command[1:]], cwd=folder, env=env, stdout=log, stderr=log
            )

    def until(self, found):
        """Return what `found` returns, as soon as that is something; the host tells of it in no other way."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            value = found()
            if value is not None and value is not False:
                return value
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.02)

    def end(self):
        """Ask it to end, and return its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(PATIENCE_SECONDS)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def start():
    hosts = []

    def begin(folder, *command, **variables):
        hosts.append(Host(folder, command, **variables))
        return hosts[-1]

    yield begin
    for host in hosts:
        host.kill()


@pytest.fixture
def folder(tmp_path, request):
    """A folder with the files of a page, whose store holds `values`."""

    def make(page, **values):
        write_files(DOCS / "how-to" / page, tmp_path)
        with FileSecretProvider(tmp_path / "secrets.enc", key_file=tmp_path / "app.key") as provider:
            provider.set_secrets({name.replace("__", "/"): text for name, text in values.items()})
        return tmp_path

    return make


def stored(folder, key, value):
    with FileSecretProvider(folder / "secrets.enc", key_file=folder / "app.key") as provider:
        provider.set_secret(key, value)


class Over(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=PATIENCE_SECONDS)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE_SECONDS)
        self.sock.connect(str(self.path))


def ask(path):
    """Return what a server answers and the process that did; None while there is none."""
    try:
        with closing(Over(path)) as connection:
            connection.request("GET", "/")
            answer = connection.getresponse()
            return answer.read().decode(), answer.headers["X-Process"]
    except (OSError, http.client.HTTPException):
        return None


FAILING = {
    "strongroom.yaml": (
        "version: 1\n"
        "pipelines: {app: {provider: {type: memory, secrets: {a/short: hunter2-is-short}}}}\n"
        "secrets: {PASSWORD: {key: database/password}, SHORT: {key: a/short, min_length: 40}}\n"
    ),
    "app.py": (
        "from fastapi import FastAPI\n"
        "from strongroom.integrations.fastapi import lifespan\n"
        "app = FastAPI(lifespan=lifespan('strongroom.yaml'))\n"
    ),
}


@pytest.mark.parametrize(
    "command",
    [
        ("uvicorn", "app:app", "--uds", "web.sock"),
        pytest.param(
            ("gunicorn", "-k", "asgi", "-b", "unix:web.sock", "--no-control-socket", "app:app"),
            marks=pytest.mark.torture,
        ),
    ],
)
def test_an_application_of_fastapi_does_not_start_without_its_secrets(tmp_path, start, command):
    """The server ends, and its log names what is missing, and its key, but no value."""
    for name, text in FAILING.items():
        (tmp_path / name).write_text(text)
    host = start(tmp_path, *command)
    assert host.process.wait(PATIENCE_SECONDS) == 3
    log = host.log.read_text()
    assert "PASSWORD: missing: nothing is stored at 'database/password'" in log
    assert "SHORT: it has 16 characters" in log
    assert "hunter2" not in log


def test_gunicorn_replaces_its_workers_where_a_secret_changes(folder, start):
    """No request fails; what an application read once is read again, by a new worker."""
    here = folder("gunicorn.md", api__token="correct horse battery", signing__key="x" * 40)
    host = start(here, "gunicorn", "-b", "unix:web.sock", "--no-control-socket", "app:app")
    text, first = host.until(lambda: ask(here / "web.sock"))
    assert text == "21 40"
    stored(here, "signing/key", "y" * 50)
    answers = []

    def renewed():
        answers.append(ask(here / "web.sock"))
        return answers[-1][0] == "21 50" and answers[-1]

    _, second = host.until(renewed)
    assert second != first
    assert None not in answers
    assert host.end() == 0


@pytest.mark.torture
def test_gunicorn_watches_in_workers_that_were_forked_from_a_loaded_application(folder, start):
    """A worker gets what changed without an end of its own."""
    here = folder("gunicorn.md", api__token="correct horse battery", signing__key="x" * 40)
    (here / "gunicorn.conf.py").unlink()
    words = ("--preload", "-c", "workers.conf.py", "-b", "unix:web.sock", "--no-control-socket", "app:app")
    host = start(here, "gunicorn", *words)
    text, first = host.until(lambda: ask(here / "web.sock"))
    assert text == "21 40"
    stored(here, "signing/key", "y" * 50)
    _, second = host.until(lambda: (found := ask(here / "web.sock"))[0] == "21 50" and found)
    assert second == first
    assert host.end() == 0


def test_gunicorn_does_not_start_without_a_secret(folder, start):
    here = folder("gunicorn.md", api__token="correct horse battery")
    host = start(here, "gunicorn", "--check-config", "app:app")
    assert host.process.wait(PATIENCE_SECONDS) == 1
    assert "SIGNING_KEY: missing: nothing is stored at 'signing/key'" in host.log.read_text()


ASK = """
import sys, tasks
for _ in range(int(sys.argv[1])):
    print(tasks.password_length.delay().get(timeout=60), flush=True)
"""


def asked(folder, code, *words):
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=folder, env={**os.environ, "HOME": str(folder)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.split()


@pytest.mark.torture
def test_each_process_of_celery_gets_what_changed(folder, start):
    here = folder("celery.md", queue__broker="filesystem://", mail__password="correct horse battery")
    for name in ("queue", "control", "results"):
        (here / name).mkdir()
    host = start(here, "celery", "-A", "tasks", "worker", "--concurrency", "2")
    assert asked(here, ASK, "6") == ["21"] * 6
    stored(here, "mail/password", "sesame")
    host.until(lambda: asked(here, ASK, "6") == ["6"] * 6)
    assert host.end() == 0


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = LeaseServers(tmp_path_factory.mktemp("bao"))
    running.role("app", 600, 3600)
    yield running
    running.stop()


LEASING = {
    "app.py": """
import os
from strongroom import SecretProviderRegistry
registry = SecretProviderRegistry("strongroom.yaml")
registry.get_field("app", "username")  # the master's own
def app(environ, start_response):
    start_response("200 OK", [("X-Process", str(os.getpid()))])
    return [registry.get_field("app", "username").encode()]
""",
    "tasks.py": """
import os
from celery import Celery
from celery.signals import worker_process_shutdown
from strongroom import SecretProviderRegistry
registry = SecretProviderRegistry("strongroom.yaml")
app = Celery("tasks", broker="filesystem://")
app.config_from_object("celeryconfig")
registry.get_field("app", "username")  # the worker's own
@worker_process_shutdown.connect
def end(**_):
    registry.close()
@app.task
def user():
    return f"{os.getpid()}:{registry.get_field('app', 'username')}"
""",
}
ASK_USERS = "import tasks\nprint(*(one.get(timeout=60) for one in [tasks.user.delay() for _ in range(30)]))"


def leasing(tmp_path, server):
    write_files(DOCS / "how-to" / "celery.md", tmp_path)
    for name, text in LEASING.items():
        (tmp_path / name).write_text(text)
    spec = LEASED.format(url=server.bao.url, token=server.bao.token)
    (tmp_path / "strongroom.yaml").write_text(spec)
    for name in ("queue", "control", "results"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.mark.torture
def test_each_worker_of_gunicorn_has_a_lease_of_its_own_and_gives_it_back(tmp_path, server, start):
    here = leasing(tmp_path, server)
    words = ("--preload", "--workers", "3", "-b", "unix:web.sock", "--no-control-socket", "app:app")
    host = start(here, "gunicorn", *words, XDG_STATE_HOME=str(tmp_path / "state"))
    users = {}

    def all_three():
        found = ask(here / "web.sock")
        if found is not None:
            assert users.setdefault(found[1], found[0]) == found[0]
        return len(users) == 3

    host.until(all_three)
    assert len(set(users.values())) == 3
    assert len(server.leases("app")) == 4
    assert host.end() == 0
    assert server.leases("app") == []


@pytest.mark.torture
def test_each_process_of_celery_has_a_lease_of_its_own_and_gives_it_back(tmp_path, server, start):
    here = leasing(tmp_path, server)
    state = {"XDG_STATE_HOME": str(tmp_path / "state")}
    host = start(here, "celery", "-A", "tasks", "worker", "--concurrency", "2", **state)
    users = {}

    def both():
        for one in asked(here, ASK_USERS):
            process, _, user = one.partition(":")
            assert users.setdefault(process, user) == user
        return len(users) == 2

    host.until(both)
    assert len(set(users.values())) == 2
    assert host.end() == 0
    assert server.leases("app") == []
