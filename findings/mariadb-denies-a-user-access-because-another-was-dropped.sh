#!/usr/bin/env bash
# MariaDB 10.11.19 (Debian 12) with PyMySQL 1.2.4: after the old one of two users was dropped, the new one gets "Access denied … (using password: YES)" at a query.
# Seen: an application logs in as `blue` and makes a view and a trigger. It goes on as `green`, who has the same rights, and `blue` is dropped, as a rotation with two users
# does: DROP USER succeeds without a warning. `green` still logs in, and may read the table; a query of the view is refused with error 1045, "Access denied for user
# 'green'@'%' (using password: YES)", which is the error of a wrong password except for the host, and an INSERT with 1449, "The user specified as a definer ('blue'@'%') does not exist".
# A user `blue` with a new password and the same rights makes both work again. RENAME USER breaks them in the same way. To do: before a user is dropped, look for its name in the
# column DEFINER of information_schema.views, triggers, routines and events; or lock the user instead, after which all works on. Guess: the drop is refused, as PostgreSQL does, or warns.
# Ends with 0 where that is still so. Needs Debian 12 with its package lists.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check PyMySQL==1.2.4
for package in mariadb-server-core=1:10.11.19-0+deb12u1 liburing2 libaio1; do
    apt-get download -q "$package" >/dev/null 2>&1
done
for file in *.deb; do dpkg -x "$file" root; done
cat >see.py <<'END'
import glob
import os
import socket
import subprocess
import time
from pathlib import Path

import pymysql

folder = Path.cwd()
data = folder / "data"
data.mkdir()
who = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
if who:
    os.chown(data, 65534, 65534)
shared = folder / "root/usr/share/mysql"
libraries = ":".join(str(Path(one).resolve()) for one in glob.glob("root/usr/lib/*-linux-gnu"))
with socket.socket() as one:
    one.bind(("127.0.0.1", 0))
    port = one.getsockname()[1]
words = [
    folder / "root/usr/sbin/mariadbd", "--no-defaults", f"--datadir={data}", f"--socket={data}/socket", f"--lc-messages-dir={shared}",
    f"--character-sets-dir={shared}/charsets", "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=4M", "--skip-name-resolve",
]
how = {"env": os.environ | {"LD_LIBRARY_PATH": libraries}, "stderr": subprocess.DEVNULL, **who}
tables = "".join((shared / f"mysql_{name}.sql").read_text() for name in ("system_tables", "performance_tables", "system_tables_data"))
subprocess.run([*words, "--bootstrap", "--skip-grant-tables"], input=f"create database mysql;\nuse mysql;\n{tables}".encode(), check=True, **how)
server = subprocess.Popen([*words, "--bind-address=127.0.0.1", f"--port={port}"], **how)


DONE = (), ()


def connect(user, password="", **more):
    return pymysql.connect(host="127.0.0.1", port=port, user=user, password=password, autocommit=True, **more)


def run(user, statement):
    """What a new login gets: the rows and warnings, or the number and the text of the error."""
    with connect(user, "hush" if user != "root" else "", database="app" if user != "root" else None) as connection:
        with connection.cursor() as cursor:
            try:
                cursor.execute(statement)
            except pymysql.Error as error:
                return error.args
            return tuple(cursor.fetchall()), tuple(connection.show_warnings())


def uses(user):
    return [run(user, statement) for statement in ("SELECT a FROM t", "SELECT a FROM v", "INSERT INTO t VALUES (1)")]


def refused(user, password):
    try:
        connect(user, password).close()
    except pymysql.err.OperationalError as error:
        return error.args


def set_up(user):
    for statement in f"CREATE USER {user}@'%' IDENTIFIED BY 'hush'", f"GRANT ALL ON app.* TO {user}@'%'":
        assert run("root", statement) == DONE


try:
    for _ in range(300):
        try:
            connect("root").close()
            break
        except pymysql.err.OperationalError:
            time.sleep(0.1)
    run("root", "CREATE DATABASE app")
    run("root", "CREATE TABLE app.t (a INT)")
    set_up("blue")
    set_up("green")
    made = run("blue", "CREATE VIEW v AS SELECT a FROM t WHERE a = 0")
    made += run("blue", "CREATE TRIGGER tidy BEFORE INSERT ON t FOR EACH ROW SET new.a = abs(new.a)")
    before = uses("green")[1:]
    run("root", "ALTER USER blue@'%' ACCOUNT LOCK")
    locked = refused("blue", "hush")[0], uses("green")[1:]
    dropped = run("root", "DROP USER blue@'%'")
    after, wrong = uses("green"), refused("green", "wrong")
    set_up("blue")
    again = uses("green")[1:]
    renamed = run("root", "RENAME USER blue@'%' TO blau@'%'")
    last = [one[0] for one in uses("green")[1:]]
finally:
    server.terminate()
    server.wait()
print("before:", before, "| blue locked:", locked, "| DROP USER:", dropped)
print("after:", after)
print("a wrong password:", wrong, "| with blue again:", again, "| RENAME USER:", renamed, last)
assert made == DONE * 2 and locked == (4151, [DONE] * 2) and before == again == [DONE] * 2 and dropped == renamed == DONE
assert after[0][0] == ((1,), (1,))
assert after[1] == (1045, "Access denied for user 'green'@'%' (using password: YES)")
assert after[2] == (1449, "The user specified as a definer ('blue'@'%') does not exist")
assert wrong == (1045, "Access denied for user 'green'@'127.0.0.1' (using password: YES)")
assert last == [1045, 1449]
END
venv/bin/python see.py
