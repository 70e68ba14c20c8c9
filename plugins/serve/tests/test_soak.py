"""Tens of thousands of mixed requests in one process: every answer is right, and its memory does not grow."""

from __future__ import annotations

import http.client
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from served import ADMIN, spec_of

pytestmark = [
    pytest.mark.torture,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc"),
]
REQUESTS, WARM_UP, KEYS = 45_000, 15_000, 2_000
MOST_GROWTH_KIB = 4 << 10


@pytest.fixture
def process(tmp_path):
    spec = spec_of(middleware=[{"type": "caching", "ttl_seconds": 5, "max_entries": 500}])
    path = tmp_path / "strongroom.yaml"
    path.write_text(json.dumps(spec))
    path.chmod(0o600)
    words = [sys.executable, "-m", "strongroom", "--spec", str(path), "serve", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        yield child
        child.terminate()


def private_kib(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0])


def test_memory_does_not_grow_with_the_number_of_requests(process):
    port = int(process.stdout.readline().rpartition(":")[2])
    chance, stored = random.Random(21), {}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)

    def ask(method, path, token=ADMIN, body=None):
        data = json.dumps(body) if body is not None else None
        connection.request(method, path, body=data, headers={"X-Vault-Token": token})
        reply = connection.getresponse()
        return reply.status, reply.read()

    before = 0
    for number in range(REQUESTS):
        if number == WARM_UP:
            before = private_kib(process.pid)
        key, kind = f"app/{chance.randrange(KEYS)}", chance.random()
        path = f"/v1/secret/data/{key}"
        if kind < 0.1:
            value = f"value-{number}"
            status, _ = ask("POST", path, body={"data": {"value": value}})
            assert status == 200
            stored[key] = value
        elif kind < 0.12:
            assert ask("DELETE", path)[0] == 204
            stored.pop(key, None)
        elif kind < 0.14:
            assert ask("GET", path, token=f"guess-{number:020}")[0] in {403, 429}
        elif kind < 0.16:
            assert ask("GET", f"/nothing/{number}")[0] == 404
        else:
            status, body = ask("GET", path)
            assert status == (200 if key in stored else 404)
            if key in stored:
                assert json.loads(body)["data"]["data"] == {"value": stored[key]}
    connection.close()
    assert private_kib(process.pid) - before < MOST_GROWTH_KIB
