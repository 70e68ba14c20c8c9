#!/usr/bin/env bash
# uvicorn 0.54.0 (python-dotenv 1.2.4, watchfiles 1.3.0) and gunicorn 25.0.3: uvicorn restarts its processes for a changed --env-file, and they have the
# old password.
# Seen: with --env-file .env --reload --reload-include .env, uvicorn notes the change ("detected changes in '.env'. Reloading...") and starts another
# process, in which the variable has the old value. With --workers 2 SIGHUP replaces the workers, and the new ones have the old value too. gunicorn,
# whose configuration reads the same file into raw_env, gives the new value to the worker that SIGHUP starts. uvicorn's parent put the file's
# values into its own environment at its start, and what is set there already wins over the file in every process that it starts.
# Guess: what is restarted for a change of the file has what is in the file. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check uvicorn==0.54.0 python-dotenv==1.2.4 watchfiles==1.3.0 gunicorn==25.0.3
cat >app.py <<'END'
import os


def text():
    return f"{os.getpid()} {os.environ['DB_PASSWORD']}".encode()


async def asgi(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": text()})


def wsgi(environ, start_response):
    start_response("200 OK", [])
    return [text()]
END
cat >gunicorn.conf.py <<'END'
from dotenv import dotenv_values

raw_env = [f"{name}={value}" for name, value in dotenv_values(".env").items()]
END
cat >see.py <<'END'
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

folder = Path(sys.executable).parent
environment = {name: value for name, value in os.environ.items() if name != "DB_PASSWORD"}


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def answer(port):
    """The process that answers, and its password."""
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=5) as got:
                process, password = got.read().decode().split()
                return process, password
        except OSError:
            time.sleep(0.1)
    raise SystemExit("no answer")


def started():
    """The processes of the application that the server has started so far, by its log."""
    found = re.findall(r"Started server process \[(\d+)\]|Booting worker with pid: (\d+)", Path("log").read_text())
    return {first or second for first, second in found}


def see(*words, workers, signalled):
    """The passwords before the file changes and in the process that the server starts afterwards, and what the server logs."""
    Path(".env").write_text("DB_PASSWORD=old\n")
    port = free_port()
    words = [word.format(port=port) for word in words]
    with open("log", "w") as log:
        server = subprocess.Popen([folder / words[0], *words[1:]], env=environment, stdout=log, stderr=log)
    try:
        _, before = answer(port)
        for _ in range(100):
            if len(started()) == workers:
                break
            time.sleep(0.1)
        time.sleep(1)
        old = started()
        assert len(old) == workers
        Path(".env").write_text("DB_PASSWORD=new\n")
        if signalled:
            server.send_signal(signal.SIGHUP)
        for _ in range(300):
            process, after = answer(port)
            if process not in old:
                break
            time.sleep(0.1)
        else:
            raise SystemExit("the process was not replaced")
    finally:
        server.terminate()
        server.wait()
    print(" ".join(words), (before, after))
    return before, after, Path("log").read_text()


uvicorn = ("uvicorn", "app:asgi", "--port", "{port}", "--env-file", ".env")
before, after, log = see(*uvicorn, "--reload", "--reload-include", ".env", workers=1, signalled=False)
assert (before, after) == ("old", "old")
assert "detected changes in '.env'. Reloading..." in log
assert see(*uvicorn, "--workers", "2", workers=2, signalled=True)[:2] == ("old", "old")
gunicorn = ("gunicorn", "app:wsgi", "--bind", "127.0.0.1:{port}", "--config", "gunicorn.conf.py")
assert see(*gunicorn, workers=1, signalled=True)[:2] == ("old", "new")
END
venv/bin/python see.py
