#!/usr/bin/env bash
# amqplib 2.3.1 of npm: a password with an umlaut in a URL is another one than for pika, kombu and @cloudamqp/amqp-client.
# Seen: of m%C3%BC in an amqp URL, and of mü written as it is, amqplib sends c3 83 c2 bc, which is "mÃ¼" in UTF-8; the client of CloudAMQP
# 4.1.1, pika 1.4.4 and kombu 5.7.0 send c3 bc, which is "mü". The broker refuses the login as it does for a wrong password, so that
# a rotation to such a password ends the programs with amqplib alone. Given as credentials.plain(user, password), amqplib sends the
# same bytes as the others, and so it does for %40, %25 and + in a URL. For programs with amqplib: generate ASCII, or pass an object.
# Guess: one URL, one password. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pika==1.4.4 kombu==5.7.0
npm install --silent --no-fund --no-audit amqplib@2.3.1 @cloudamqp/amqp-client@4.1.1
cat >login.cjs <<'END'
const amqplib = require("amqplib");
const { AMQPClient } = require("@cloudamqp/amqp-client");

const [how, url, password] = process.argv.slice(2);
const credentials = amqplib.credentials.plain("app", password);
const login = {
  amqplib: () => amqplib.connect(url),
  cloudamqp: () => new AMQPClient(url).connect(),
  object: () => amqplib.connect(url.replace(/app:.*@/, ""), { credentials }),
}[how];
login().catch(() => process.exit());
END
cat >see.py <<'END'
import contextlib
import socket
import struct
import subprocess
import threading
import warnings

import kombu
import pika

sent = []


def text(kind, value):
    return struct.pack(kind, len(value)) + value


def serve():
    """Ask each client for its credentials, note the password, and hang up."""
    method = struct.pack(">HHBB", 10, 10, 0, 9) + text(">I", b"") + text(">I", b"PLAIN") + text(">I", b"en_US")
    while True:
        with contextlib.closing(listener.accept()[0]) as client:
            client.recv(8)
            client.sendall(b"\x01\0\0" + text(">I", method) + b"\xce")
            answer = client.recv(65536)
            begin = answer.find(b"\x05PLAIN") + 6
            if begin > 5:
                length = int.from_bytes(answer[begin : begin + 4], "big")
                sent.append(answer[begin + 4 : begin + 4 + length].split(b"\0")[2])


listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=serve, daemon=True).start()


def by_node(how, url, password):
    subprocess.run(["node", "login.cjs", how, url, password], check=True, timeout=60)


CLIENTS = {
    "amqplib": lambda url, password: by_node("amqplib", url, password),
    "object": lambda url, password: by_node("object", url, password),
    "cloudamqp": lambda url, password: by_node("cloudamqp", url, password),
    "pika": lambda url, _password: pika.BlockingConnection(pika.URLParameters(url)),
    "kombu": lambda url, _password: kombu.Connection(url).connect(),
}


def see(written, password):
    """The bytes that each client sends for the password."""
    url = f"amqp:{'//'}app:{written}@127.0.0.1:{listener.getsockname()[1]}/%2F"
    seen = {}
    for name, login in CLIENTS.items():
        sent.clear()
        with contextlib.suppress(pika.exceptions.AMQPError, OSError):
            login(url, password)
        seen[name] = sent[0]
    print(written, seen)
    return seen


warnings.simplefilter("ignore")
for written, password in {"mu": "mu", "m%40%25": "m@%", "m+%2B": "m++"}.items():
    assert see(written, password) == dict.fromkeys(CLIENTS, password.encode())
for written in ("m%C3%BC", "mü"):
    assert see(written, "mü") == dict.fromkeys(CLIENTS, b"m\xc3\xbc") | {"amqplib": b"m\xc3\x83\xc2\xbc"}
END
LC_ALL=C.UTF-8 venv/bin/python see.py
