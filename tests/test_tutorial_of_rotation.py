"""The programs of the tutorial on rotation: what they leave in the server's log, and what a pooler makes of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from psycopg import sql
from strongroom import SecretProviderRegistry

# pytest's importlib mode keeps test folders off the path; these helpers have names of their own.
sys.path.insert(0, str(Path(__file__).parent))

from doc_pages import DOCS, write_files
from pgbouncer import PROGRAM, PgBouncer
from postgres_server import PostgresServer

KEY = "database/password"
LOGGING = ("logging_collector=on", "log_directory=log", "log_filename=all.log", "log_statement=all")
TO_THE_SERVER = 'psycopg.connect(user="app", '
LISTS_USERS = """
import re
from pathlib import Path

users = Path({path!r})
beside = users.with_name("new")
beside.write_text(re.sub('"app" ".*"', f'"app" "{{verifier}}"', users.read_text()))
beside.chmod(0o644)
beside.replace(users)
with psycopg.connect({console!r}, autocommit=True) as pooler:
    psycopg.ClientCursor(pooler).execute("RELOAD")
"""
needs_pgbouncer = pytest.mark.skipif(PROGRAM is None, reason="there is no pgbouncer here")


@pytest.fixture(scope="module")
def server():
    running = PostgresServer(*LOGGING)
    yield running
    running.stop()


class Tutorial:
    """The tutorial's folder as it is after its first step: the role `app` has the password of the store."""

    def __init__(self, folder, server):
        write_files(DOCS / "tutorials" / "rotate-a-database-password.md", folder)
        self.folder, self.server = folder, server
        for words in (["trust"], ["check", "--fix"]):
            self.strongroom(*words)
        self.run(sys.executable, "create.py")

    def run(self, *words, code=0):
        done = subprocess.run(
            words,
            cwd=self.folder,
            env={
                "HOME": str(self.folder),
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                **self.server.environment(),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stderr

    def strongroom(self, *words, code=0):
        return self.run(Path(sys.executable).with_name("strongroom"), *words, code=code)

    def password(self):
        with SecretProviderRegistry(self.folder / "strongroom.yaml") as registry:
            return registry.get_secret(KEY)

    def logs_in_through(self, pooler):
        login = self.folder / "login.py"
        text = login.read_text()
        assert TO_THE_SERVER in text
        login.write_text(text.replace(TO_THE_SERVER, f"{TO_THE_SERVER}port={pooler.port}, "))

    def lists_users_of(self, pooler):
        path = self.folder / "change.py"
        path.write_text(
            path.read_text() + LISTS_USERS.format(path=str(pooler.userlist), console=pooler.console)
        )

    def verifier(self):
        with self.server.login("postgres", self.server.password) as admin:
            return admin.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'app'").fetchone()[0]


@pytest.fixture
def tutorial(tmp_path, server):
    yield Tutorial(tmp_path, server)
    with server.login("postgres", server.password) as admin:
        admin.execute("DROP ROLE app")


@pytest.fixture
def pooler(server):
    """A function that starts a pgbouncer in front of the server."""
    running = []

    def start(users, **options):
        running.append(PgBouncer(server, users, **options))
        return running[-1]

    yield start
    for one in running:
        one.stop()


def test_no_password_is_in_the_servers_log(tutorial, server):
    first = tutorial.password()
    tutorial.strongroom("rotate", KEY)
    second = tutorial.password()
    said = (server.folder / "data" / "log" / "all.log").read_text()
    assert "ALTER ROLE app PASSWORD 'SCRAM-SHA-256$" in said
    assert first != second
    assert first not in said
    assert second not in said


@needs_pgbouncer
def test_a_verify_at_the_server_does_not_see_that_the_pooler_lets_in_the_old_password_alone(tutorial, pooler):
    old = tutorial.password()
    front = pooler({"app": old})
    assert front.logs_in("app", old)
    tutorial.strongroom("rotate", KEY)
    assert not front.logs_in("app", tutorial.password())
    assert front.logs_in("app", old)


@needs_pgbouncer
def test_a_verify_through_the_pooler_is_true(tutorial, pooler):
    old = tutorial.password()
    front = pooler({"app": old})
    tutorial.logs_in_through(front)
    tutorial.strongroom("trust")
    said = tutorial.strongroom("rotate", KEY, code=1)
    assert "SASL authentication failed" in said
    assert tutorial.password() == old
    tutorial.strongroom("rotate", "--rollback", KEY)
    assert tutorial.password() == old
    assert front.logs_in("app", old)


@needs_pgbouncer
@pytest.mark.parametrize("kind", ["auth_file", "auth_query"])
def test_a_pooler_that_learns_the_new_password(tutorial, pooler, server, kind):
    is_query = kind == "auth_query"
    users = {"postgres": server.password} if is_query else {"app": tutorial.verifier()}
    front = pooler(users, auth_query=is_query)
    tutorial.logs_in_through(front)
    if not is_query:
        tutorial.lists_users_of(front)
    tutorial.strongroom("trust")
    for _ in range(2):
        old = tutorial.password()
        tutorial.strongroom("rotate", KEY)
        assert tutorial.password() != old
        assert front.logs_in("app", tutorial.password())
        assert not front.logs_in("app", old)


@needs_pgbouncer
def test_a_file_that_is_written_in_place_within_the_second_is_passed_over_at_reload(tutorial, server, pooler):
    """It has the time and the length that it had: a file of another inode is read, so take its place."""
    old = tutorial.password()
    new = old[::-1]
    front = pooler({"app": old})
    assert front.logs_in("app", old)
    with server.login("postgres", server.password) as admin:
        admin.execute(sql.SQL("ALTER ROLE app PASSWORD {}").format(sql.Literal(new)))
    seen = front.userlist.stat().st_mtime_ns
    text = front.userlist.read_text().replace(old, new)
    front.userlist.write_text(text)
    os.utime(front.userlist, ns=(seen, seen))
    front.reload()
    assert not front.logs_in("app", new)
    beside = front.folder / "new"
    beside.write_text(text)
    beside.chmod(0o666)
    os.utime(beside, ns=(seen, seen))
    beside.replace(front.userlist)
    front.reload()
    assert front.logs_in("app", new)
