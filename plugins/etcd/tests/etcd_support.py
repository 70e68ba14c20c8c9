"""What the tests of etcd share: a key that opens the store, and raw reads and writes beside it."""

from __future__ import annotations

from base64 import b64encode

from strongroom.encryption.keys import generate_key

KEY = generate_key()
VALUE = "hunter2-correct-horse"


def b64(text):
    return b64encode(text.encode() if isinstance(text, str) else text).decode()


def put(server, key, value):
    server.ask("/v3/kv/put", {"key": b64(key), "value": b64(value)})
