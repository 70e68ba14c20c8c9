#!/usr/bin/env bash
# httpx 0.28.1, aiohttp 3.14.5, lightkube 1.0.1, kubernetes 37.0.1, hvac 2.4.0, requests 2.34.2, redis 8.1.0: after a certificate was renewed on disk some clients
# show the old one at each new connection, until the process ends.
# Seen: a server wants a client's certificate. Each client has the paths of certificate and key, and connects. Both files are then replaced by a new
# pair, the old certificate ends, and each client connects once more. requests, hvac, kubernetes and redis show the new one. httpx, lightkube
# and aiohttp show the old one, which the server refuses: the errors name an expired certificate, or a connection that was reset. Another
# client made of the same paths shows the new one. So an agent that renews short certificates in time keeps half of the clients alive, and
# the others fail hours after the renewal, at their next connection.
# Guess: who is given a path follows it, or all read it once. To do: make httpx.Client and the ssl.SSLContext of aiohttp again after a renewal (or
# call load_cert_chain of the same context again, which new connections follow), and lightkube's Client too. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export HOME=$work
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check httpx==0.28.1 aiohttp==3.14.5 lightkube==1.0.1 kubernetes==37.0.1 hvac==2.4.0 requests==2.34.2 redis==8.1.0 trustme==1.2.1
cat >see.py <<'END'
import asyncio
import os
import socket
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta

import aiohttp
import httpx
import hvac
import kubernetes
import lightkube
import redis
import requests
import trustme
from lightkube.resources.core_v1 import Secret

shown = []
ca = trustme.CA()
ca.cert_pem.write_to_path("ca.pem")


def renew(name, until):
    """Put a certificate and its key at the two paths, as an agent does."""
    made = ca.issue_cert(f"{name}.test", not_before=datetime.now(UTC) - timedelta(hours=1), not_after=until)
    made.cert_chain_pems[0].write_to_path("new.pem")
    made.private_key_pem.write_to_path("new.key")
    os.replace("new.pem", "app.pem")
    os.replace("new.key", "app.key")


def serve(listener, context):
    while True:
        raw, _ = listener.accept()
        raw.settimeout(10)
        try:
            with context.wrap_socket(raw, server_side=True) as peer:
                shown.append(peer.getpeercert()["subjectAltName"][0][1])
                peer.recv(65536)
                peer.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{}")
        except ssl.SSLError as error:
            shown.append(error.reason)
        except OSError:
            pass


end = datetime.now(UTC) + timedelta(seconds=25)
renew("old", end)
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile="ca.pem")
context.verify_mode = ssl.CERT_REQUIRED
ca.issue_cert("127.0.0.1").configure_cert(context)
listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]
threading.Thread(target=serve, args=(listener, context), daemon=True).start()
url = f"http://127.0.0.1:{port}".replace("http", "https")
pair = ("app.pem", "app.key")


def kept_context():
    made = ssl.create_default_context(cafile="ca.pem")
    made.load_cert_chain(*pair)
    return made


async def by_aiohttp():
    async with aiohttp.ClientSession() as session, session.get(url, ssl=for_aiohttp):
        pass


cluster = {"server": url, "certificate-authority": "ca.pem"}
names = {"client-certificate": "app.pem", "client-key": "app.key"}
config = {
    "apiVersion": "v1", "kind": "Config", "current-context": "x", "clusters": [{"name": "x", "cluster": cluster}],
    "users": [{"name": "x", "user": names}], "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
}
for_aiohttp, for_httpx = kept_context(), httpx.Client(verify=kept_context())
session = requests.Session()
session.cert, session.verify = pair, "ca.pem"
vault = hvac.Client(url, token="x", cert=pair, verify="ca.pem")
core = kubernetes.client.CoreV1Api(kubernetes.config.new_client_from_config_dict(config))
light = lightkube.Client(lightkube.KubeConfig.from_dict(config, fname="./kubeconfig"))
cache = redis.Redis(host="127.0.0.1", port=port, ssl=True, ssl_certfile="app.pem", ssl_keyfile="app.key", ssl_ca_certs="ca.pem", socket_timeout=10)
clients = {
    "requests": lambda: session.get(url),
    "hvac": lambda: vault.read("secret/data/db"),
    "kubernetes": lambda: core.read_namespaced_secret("db", "default"),
    "redis": cache.ping,
    "httpx": lambda: for_httpx.get(url),
    "httpx, made again": lambda: httpx.Client(verify=kept_context()).get(url),
    "aiohttp": lambda: asyncio.run(by_aiohttp()),
    "lightkube": lambda: light.get(Secret, "db", namespace="default"),
}


def each():
    """What the server saw of each client, by name."""
    seen = {}
    for name, ask in clients.items():
        shown.clear()
        try:
            ask()
            said = "answered"
        except Exception as error:
            said = f"{type(error).__name__}: {error}"[:60].replace("\n", " ")
        for _ in range(100):
            if shown:
                break
            time.sleep(0.05)
        seen[name] = shown[0] if shown else None
        print(f"{name}: {seen[name]} ({said})")
    return seen


assert set(each().values()) == {"old.test"}
renew("new", end + timedelta(days=1))
time.sleep(max(0.0, (end - datetime.now(UTC)).total_seconds() + 1.5))
after = each()
refused = {name for name, what in after.items() if what == "CERTIFICATE_VERIFY_FAILED"}
assert refused == {"httpx", "aiohttp", "lightkube"}
assert {what for name, what in after.items() if name not in refused} == {"new.test"}
for_aiohttp.load_cert_chain(*pair)
assert each()["aiohttp"] == "new.test"
END
venv/bin/python see.py
