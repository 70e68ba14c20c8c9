"""`strongroom serve` as a process of its own, with a supervisor's socket."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys

PATIENCE = 120
"""Seconds."""
CREDENTIALS = struct.Struct("3i")
"""Of the process that says something, as Linux tells them: its id, its user, its group."""


class Process:
    """`strongroom serve` in a folder; it has printed its line when this returns. `heard` is what systemd hears.

    Flags are those of Python, words the options of the command. With `cwd` it finds the spec from there.
    `warm` is a command that need not import itself first: another process than `child`, which waits for it.
    """

    def __init__(self, folder, *flags, words=(), cwd=None, warm=None):
        warm = warm if hasattr(socket, "SO_PASSCRED") else None
        self._pid = None
        self._hears = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._hears.bind(str(folder / "n"))
        self._hears.settimeout(PATIENCE)
        if warm:
            self._hears.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        here = {"STRONGROOM_SPEC": str(folder / "strongroom.yaml"), "NOTIFY_SOCKET": str(folder / "n")}
        found = {"STRONGROOM_TRUST_SPEC": "1", "NOTIFY_SOCKET": str(folder / "n"), "HOME": str(folder)}
        self.child = subprocess.Popen(
            [*([warm] if warm else [sys.executable, *flags, "-m", "strongroom"]), "serve", *words],
            cwd=cwd or folder,
            env={**os.environ, **(here if cwd is None else found)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.line = self.child.stdout.readline()
        assert self.heard() == "READY=1"

    def heard(self):
        said, credentials, *_ = self._hears.recvmsg(1000, socket.CMSG_SPACE(CREDENTIALS.size))
        self._pid = CREDENTIALS.unpack(credentials[0][2])[0] if credentials else self.child.pid
        return said.decode().partition("\n")[0]

    def send(self, number):
        os.kill(self._pid, number)

    def reload(self):
        self.send(signal.SIGHUP)
        assert [self.heard(), self.heard()] == ["RELOADING=1", "READY=1"]

    def end(self, number=signal.SIGTERM):
        self.send(number)
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
