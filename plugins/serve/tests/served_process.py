"""`strongroom serve` as a process of its own, with a supervisor's socket."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

PATIENCE = 120
"""Seconds."""


class Process:
    """`strongroom serve` in a folder; it has printed its line when this returns. `heard` is what systemd hears.

    Flags are those of Python, words the options of the command. With `cwd` it finds the spec from there.
    """

    def __init__(self, folder, *flags, words=(), cwd=None):
        self._hears = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._hears.bind(str(folder / "n"))
        self._hears.settimeout(PATIENCE)
        here = {"STRONGROOM_SPEC": str(folder / "strongroom.yaml"), "NOTIFY_SOCKET": str(folder / "n")}
        found = {"STRONGROOM_TRUST_SPEC": "1", "NOTIFY_SOCKET": str(folder / "n"), "HOME": str(folder)}
        self.child = subprocess.Popen(
            [sys.executable, *flags, "-m", "strongroom", "serve", *words],
            cwd=cwd or folder,
            env={**os.environ, **(here if cwd is None else found)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.line = self.child.stdout.readline()
        assert self.heard() == "READY=1"

    def heard(self):
        return self._hears.recv(1000).decode().partition("\n")[0]

    def reload(self):
        self.child.send_signal(signal.SIGHUP)
        assert [self.heard(), self.heard()] == ["RELOADING=1", "READY=1"]

    def end(self, number=signal.SIGTERM):
        self.child.send_signal(number)
        rest, log = self.child.communicate(timeout=PATIENCE)
        return self.child.returncode, rest, log

    def stop(self):
        self._hears.close()
        if self.child.poll() is None:
            self.child.kill()
        self.child.communicate()


def write(folder, spec):
    path = folder / "strongroom.yaml"
    path.write_text(json.dumps(spec))
    path.chmod(0o600)
