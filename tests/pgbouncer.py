"""A real pgbouncer in front of a real PostgreSQL server, on a free port of the loopback address."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
from free_ports import free_port

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")  # where Debian has it
_QUERY = "auth_user = postgres\nauth_query = SELECT usename, passwd FROM pg_shadow WHERE usename=$1\n"


class PgBouncer:
    """Runs from construction to `stop`; `users` are the lines of its auth_file, `console` may give it commands."""

    def __init__(self, server, users, *, auth_query=False, query_wait_timeout=120):
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="strongroom-pgbouncer-"))
        self.userlist = self.folder / "users.txt"
        users = {"console": "of-the-console", **users}
        self.userlist.write_text("".join(f'"{name}" "{secret}"\n' for name, secret in users.items()))
        settings = self.folder / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n* = host=127.0.0.1 port={server.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {self.port}\nunix_socket_dir =\nauth_type = scram-sha-256\n"
            f"auth_file = {self.userlist}\nadmin_users = console\nserver_login_retry = 1\n"
            f"query_wait_timeout = {query_wait_timeout}\n{_QUERY if auth_query else ''}"
        )
        for path in (self.folder, *self.folder.iterdir()):
            path.chmod(0o777 if path.is_dir() else 0o666)
        self.process = subprocess.Popen(
            [PROGRAM, "-q", settings],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **server.as_its_user,
        )
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except ConnectionRefusedError:
                assert self.process.poll() is None, "it ended"
                time.sleep(0.02)  # it tells no other way that it listens
            else:
                return

    def url(self, user, password, database="postgres"):
        """Return the URI of a log-in."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    @property
    def console(self):
        """The URI at which it takes commands such as RELOAD."""
        return self.url("console", "of-the-console", "pgbouncer")

    def reload(self):
        """Have it read its files again, as far as it sees that they have changed."""
        self._command("RELOAD")

    def reconnect(self):
        """Have it leave each connection to the server as it becomes free."""
        self._command("RECONNECT")

    def _command(self, word):
        with psycopg.connect(self.console, autocommit=True) as console:
            psycopg.ClientCursor(console).execute(word)  # it takes simple queries alone

    def logs_in(self, user, password):
        """Tell whether somebody gets through to the server."""
        try:
            with psycopg.connect(
                self.url(user, password), connect_timeout=300, autocommit=True
            ) as connection:
                connection.execute("SELECT 1", prepare=False)
        except psycopg.OperationalError:
            return False
        return True

    def stop(self):
        """Stop it and remove what it wrote."""
        self.process.terminate()
        self.process.wait(300)
        shutil.rmtree(self.folder)
