"""A real PostgreSQL server on a free port of the loopback address, run by a user who is not root."""

from __future__ import annotations

import atexit
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
from free_ports import free_port

NOBODY = 65534
_PATIENCE_SECONDS = 120
_MADE = []  # the files that this process's first `initdb` wrote, which takes a second of a processor


def programs():
    """Return the folder of `initdb` and `postgres` in the wheel; its package is not imported, for it writes files."""
    spec = importlib.util.find_spec("pgserver")
    return Path(spec.origin).parent / "pginstall" / "bin"


class PostgresServer:
    """Runs from construction to `stop`; the superuser is `postgres`, who logs in by a password like all."""

    def __init__(self, *settings, primary=None):
        self._settings = settings
        self.password = primary.password if primary else secrets.token_hex(16)
        # Not in a folder of pytest's: the user who runs the server may not enter those.
        self.folder = Path(tempfile.mkdtemp(prefix="strongroom-postgres-"))
        self.as_its_user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        if self.as_its_user:
            os.chown(self.folder, NOBODY, NOBODY)
        self._bin = self._runnable(programs())
        if primary:
            self._copy(primary)
        else:
            self._make()
        self.port = free_port()
        self.process = self._start()

    def _make(self):
        password = self.folder / "password"
        password.write_text(self.password)
        password.chmod(0o644)
        if _MADE:
            self._copy_what_was_made(_MADE[0])
            return
        words = ("-D", "data", "-U", "postgres", "-A", "scram-sha-256", "--pwfile=password", "--no-sync")
        # A log-in computes a hash so many times, on both sides: it would take most of the time of a short test.
        words += ("--set", "scram_iterations=1")
        self._run("initdb", *words)
        kept = Path(tempfile.mkdtemp(prefix="strongroom-postgres-"))
        atexit.register(shutil.rmtree, kept, ignore_errors=True)
        subprocess.run(["cp", "-a", self.folder / "data", kept], check=True)
        _MADE.append(kept / "data")

    def _copy_what_was_made(self, data):
        """Copy the files of this process's first server as they were before its start; the password is another."""
        subprocess.run(["cp", "-a", data, self.folder], check=True)
        subprocess.run(
            [self._bin / "postgres", "--single", "-D", "data", "postgres"],
            cwd=self.folder,
            env={"LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"},
            input=f"ALTER ROLE postgres PASSWORD '{self.password}'\n",
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
            **self.as_its_user,
        )

    def _copy(self, primary):
        login = f"{primary.url(database='postgres')}?application_name=replica"
        self._run("pg_basebackup", "-D", "data", "-d", login, "-R", "-c", "fast", "--no-sync")

    def replica(self, *settings):
        """Return a server that follows this one by streaming, and answers reads."""
        return PostgresServer(*settings, primary=self)

    def promote(self):
        """Make a replica a server that takes writes."""
        with self.login("postgres", self.password) as connection:
            connection.execute("SELECT pg_promote()")

    def crash(self):
        """End it at once with all of its sessions; nothing of what it has in memory alone is written."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()

    def _runnable(self, folder):
        tried = self._program(folder / "initdb", "--version")
        if tried.wait() == 0:
            return folder
        # The environment is in a folder that the other user may not enter.
        shutil.copytree(folder.parent, self.folder / "programs")
        return self.folder / "programs" / "bin"

    def _program(self, path, *words):
        try:
            return subprocess.Popen(
                [path, *words],
                cwd=self.folder,
                env={"LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                **self.as_its_user,
            )
        except PermissionError:
            return subprocess.Popen(["false"])

    def _run(self, name, *words):
        assert self._program(self._bin / name, *words).wait() == 0, f"{name} failed"

    def _start(self):
        settings = ["fsync=off", "shared_buffers=16MB", "max_connections=60", "unix_socket_directories="]
        settings += self._settings
        words = [word for setting in settings for word in ("-c", setting)]
        process = self._program(
            self._bin / "postgres", "-D", "data", "-h", "127.0.0.1", "-p", str(self.port), *words
        )
        until = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                self.login("postgres", self.password).close()
            except psycopg.OperationalError:
                assert process.poll() is None, "the server ended"
                assert time.monotonic() < until, "the server does not answer"
                time.sleep(0.02)  # it tells no other way that it listens
            else:
                return process

    def login(self, user, password):
        """Return a new connection."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=user, password=password, dbname="postgres", autocommit=True
        )

    def url(self, user="postgres", password=None, database="postgres"):
        """Return the URI of a log-in."""
        return f"postgresql://{user}:{password or self.password}@127.0.0.1:{self.port}/{database}"

    def environment(self):
        """Return the variables by which PostgreSQL's own programs and psycopg log in as the superuser."""
        return {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": "postgres",
            "PGPASSWORD": self.password,
        }

    def stop(self):
        """Stop the server and remove what it wrote."""
        self.process.send_signal(signal.SIGINT)  # which does not wait for sessions to end
        try:
            self.process.wait(300)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder)
