"""Real servers that load an application, let it read, and then fork: gunicorn, uWSGI and Celery."""

from __future__ import annotations

import collections
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
KEYS = 8
PATIENCE_SECONDS = 120
WEB = """
import json, os
from strongroom import SecretProviderRegistry

registry = SecretProviderRegistry(json.loads(os.environ["APP_SPEC"]))
registry.get_secrets(["w0/pw", "w1/pw"])  # before the fork

def application(environ, start_response):
    key = environ["QUERY_STRING"]
    values = {registry.get_secret(key) for _ in range(3)} | set(registry.get_secrets([key, "w0/pw"]).values())
    start_response("200 OK", [("X-Process", str(os.getpid()))])
    return [json.dumps(sorted(values)).encode()]
"""
TASKS = """
import json, os, sys
from celery import Celery
from strongroom import SecretProviderRegistry

registry = SecretProviderRegistry(json.loads(os.environ["APP_SPEC"]))
registry.get_secrets(["w0/pw", "w1/pw"])  # before the fork
folder = os.environ["APP_FOLDER"]
app = Celery("tasks", broker="filesystem://", backend=f"file://{folder}/results")
app.conf.broker_transport_options = {
    "data_folder_in": f"{folder}/queue", "data_folder_out": f"{folder}/queue", "control_folder": f"{folder}/control"
}

@app.task
def read(key):
    return [os.getpid(), registry.get_secret(key)]

if __name__ == "__main__":
    keys = [f"w{number % 8}/pw" for number in range(int(sys.argv[1]))]
    waiting = [(key, read.delay(key)) for key in keys]
    print(json.dumps([[key, *one.get(timeout=120)] for key, one in waiting]))
"""


@pytest.fixture
def application(server, mount, tmp_path):
    """The environment of an application that reads from Vault, and its folder."""
    for number in range(KEYS):
        server.client.secrets.kv.v2.create_or_update_secret(
            f"w{number}/pw", {"value": f"value of {number}"}, mount_point=mount
        )
    provider = {"type": "vault", "url": server.url, "token": server.token, "mount_point": mount}
    spec = {"version": 1, "pipelines": {"app": {"provider": provider}}}
    for name, text in {"web.py": WEB, "tasks.py": TASKS}.items():
        (tmp_path / name).write_text(text)
    for folder in ("queue", "control", "results"):
        (tmp_path / folder).mkdir()
    env = {
        **os.environ,
        "APP_SPEC": json.dumps(spec),
        "APP_FOLDER": str(tmp_path),
        "PYTHONPATH": str(tmp_path),
    }
    return env, tmp_path


class Over(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=PATIENCE_SECONDS)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE_SECONDS)
        self.sock.connect(str(self.path))


def ask(path, number):
    with closing(Over(path)) as connection:
        connection.request("GET", f"/?w{number}/pw")
        answer = connection.getresponse()
        return answer.status, answer.headers["X-Process"], answer.read().decode()


def served(command, application, path, requests):
    """Run a server, ask it from eight threads, and return how many requests each process answered."""
    env, folder = application
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=env, cwd=folder, stdout=log, stderr=log)
    try:
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                ask(path, 0)
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < until, (folder / "log").read_text()
                time.sleep(0.02)  # the server tells no other way that it listens
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda turn: (turn % KEYS, ask(path, turn % KEYS)), range(requests)))
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for number, (status, _, body) in answers:
        assert status == 200, (folder / "log").read_text()
        assert json.loads(body) == sorted({f"value of {number}", "value of 0"})
    return collections.Counter(process for _, (_, process, _) in answers)


@pytest.mark.parametrize("requests", [40, pytest.param(4000, marks=pytest.mark.torture)])
def test_gunicorn_with_preload(application, requests):
    path = application[1] / "web.sock"
    command = [
        BIN / "gunicorn",
        "--preload",
        "--workers=4",
        f"--bind=unix:{path}",
        "--no-control-socket",
        "web",
    ]
    assert len(served(command, application, path, requests)) > 1


@pytest.mark.torture
def test_uwsgi(application):
    """It forks in C, and runs none of Python's handlers of forks unless it is told to."""
    path = application[1] / "web.sock"
    command = [BIN / "uwsgi", "--master", "--processes=4", "--enable-threads", "--need-app", "--die-on-term"]
    command += [f"--http-socket={path}", "--wsgi-file=web.py", f"--home={sys.prefix}"]
    assert len(served(command, application, path, 2000)) > 1


@pytest.mark.torture
def test_celery_with_prefork(application):
    env, folder = application
    command = [
        BIN / "celery",
        "--app=tasks",
        "worker",
        "--pool=prefork",
        "--concurrency=4",
        "--without-mingle",
    ]
    with (folder / "log").open("w") as log:
        worker = subprocess.Popen(
            [*command, "--without-gossip", "--loglevel=ERROR"], env=env, cwd=folder, stdout=log, stderr=log
        )
    try:
        done = subprocess.run(
            [sys.executable, "tasks.py", "200"],
            env=env,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE_SECONDS,
            check=False,
        )
    finally:
        worker.terminate()
        worker.wait(PATIENCE_SECONDS)
    assert done.returncode == 0, done.stderr + (folder / "log").read_text()
    answers = json.loads(done.stdout)
    assert [value for _, _, value in answers] == [f"value of {key[1]}" for key, _, _ in answers]
    assert len({process for _, process, _ in answers}) > 1
