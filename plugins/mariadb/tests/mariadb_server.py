"""A real MariaDB on a free port of the loopback address, run by a user who is not root."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pymysql
from free_ports import free_port

NOBODY = 65534
_PATIENCE_SECONDS = 120


def is_here():
    """Tell whether the server's programs are in `PATH`."""
    return all(shutil.which(name) for name in ("mariadbd", "mariadb-install-db"))


class MariaDBServer:
    """Runs from construction to `stop`; the administrator is `root`, who logs in by a password."""

    def __init__(self, *options):
        self.password = secrets.token_hex(16)
        # Not in a folder of pytest's: the user who runs the server may not enter those.
        self.folder = Path(tempfile.mkdtemp(prefix="strongroom-mariadb-"))
        self._as = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        if self._as:
            os.chown(self.folder, NOBODY, NOBODY)
        made = self._program(
            *("mariadb-install-db", f"--datadir={self.folder}/data", "--skip-test-db"),
            "--auth-root-authentication-method=normal",
        )
        assert made.wait() == 0, "mariadb-install-db failed"
        self.port = free_port()
        (self.folder / "first.sql").write_text(
            f"CREATE USER keeper@'%' IDENTIFIED BY '{self.password}';\n"
            "GRANT CREATE USER ON *.* TO keeper@'%';\nGRANT SELECT ON mysql.global_priv TO keeper@'%';\n"
            f"CREATE USER admin@'%' IDENTIFIED BY '{self.password}';\n"
            "GRANT ALL ON *.* TO admin@'%' WITH GRANT OPTION;\n"
        )
        self._options = [
            *("--no-defaults", f"--datadir={self.folder}/data", f"--port={self.port}"),
            *("--bind-address=127.0.0.1", f"--socket={self.folder}/s", "--innodb-buffer-pool-size=16M"),
            *(
                "--innodb-flush-log-at-trx-commit=0",
                "--general-log=1",
                f"--general-log-file={self.folder}/log",
            ),
            *("--log-bin", "--server-id=1", "--skip-name-resolve", f"--init-file={self.folder}/first.sql"),
            *options,
        ]
        self.process = self._start()

    def _program(self, *words):
        with (self.folder / "errors").open("ab") as errors:
            return subprocess.Popen(
                [shutil.which(words[0]), *words[1:]],
                cwd=self.folder,
                env={"LANG": "C.UTF-8", "PATH": os.environ["PATH"]},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                **self._as,
            )

    def _start(self):
        process = self._program("mariadbd", *self._options)
        until = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                self.login("admin", self.password).close()
            except pymysql.OperationalError:
                assert process.poll() is None, (self.folder / "errors").read_text()[-2000:]
                assert time.monotonic() < until, "the server does not answer"
                time.sleep(0.05)  # it tells no other way that it listens
            else:
                return process

    def login(self, user, password):
        """Return a new connection."""
        return pymysql.connect(
            host="127.0.0.1", port=self.port, user=user, password=password, autocommit=True, read_timeout=30
        )

    def url(self, user="keeper", password=None):
        """Return the URL of a log-in."""
        return f"mariadb://{user}:{password or self.password}@127.0.0.1:{self.port}/"

    def texts(self):
        """Return all that the server has written where statements are: its logs."""
        logs = [self.folder / "log", *(self.folder / "data").glob("*-bin.0*")]
        return b"".join(path.read_bytes() for path in logs)

    def stop(self):
        """Stop the server and remove what it wrote."""
        self.process.terminate()
        try:
            self.process.wait(300)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder)
