#!/usr/bin/env bash
# mssql-python 1.16.0 (Python) and mssql 12.7.14 of npm: one connection string of SQL Server is two passwords where the password is in quotes.
# Seen: in the form of .NET a password with a semicolon or a blank is put in quotes. Of Password="a""b" and of Password='a b'
# mssql logs in with a"b and a b, mssql-python with the quotes and the doubled one too, as ODBC reads them; of "a;b" it raises an error
# about a keyword without a value. In braces, {a;b}, both send a;b. So a string that works in one
# program is a wrong password in the other as soon as a rotation brings a letter that needs quotes. Both were seen on the wire, in the
# login packet. Guess: two drivers of one server read one string alike. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check mssql-python==1.16.0
npm install --silent --no-fund --no-audit mssql@12.7.14
apt-get download -q libltdl7 >/dev/null 2>&1
for file in *.deb; do dpkg -x "$file" root; done
cat >see.cjs <<'END'
const { ConnectionPool } = require("mssql");

new ConnectionPool(process.argv[2]).connect().catch(() => process.exit());
END
cat >see.py <<'END'
import socket
import struct
import subprocess
import threading

import mssql_python

logins = []


def packet(connection):
    """The content of the client's next packet of TDS."""
    with connection.makefile("rb") as stream:
        head = stream.read(8)
        return stream.read(struct.unpack(">H", head[2:4])[0] - 8)


def serve(server):
    while True:
        connection = server.accept()[0]
        packet(connection)
        # the answer to PRELOGIN: a version, and that there is no encryption
        options = struct.pack(">BHHBHHB", 0, 11, 6, 1, 17, 1, 255) + bytes([16, 0, 0, 0, 0, 0, 2])
        connection.sendall(struct.pack(">BBHHBB", 4, 1, len(options) + 8, 0, 1, 0) + options)
        login = packet(connection)
        start, length = struct.unpack("<HH", login[44:48])
        plain = [byte ^ 0xA5 for byte in login[start : start + 2 * length]]
        logins.append(bytes(byte >> 4 | (byte & 15) << 4 for byte in plain).decode("utf-16-le"))
        connection.close()


def sent(call, *arguments):
    """The password that a login has on the wire, or the error of the client."""
    logins.clear()
    try:
        call(*arguments)
    except Exception as error:
        return logins[0] if logins else str(error)
    return logins[0]


def by_node(text):
    subprocess.run(["node", "see.cjs", text], check=True, timeout=60)


server = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=serve, args=(server,), daemon=True).start()
place = f"Server=127.0.0.1,{server.getsockname()[1]};Database=app;"
seen = {}
for password in ("hush", "{a;b}", '"a""b"', "'a b'", '"a;b"'):
    python = sent(mssql_python.connect, f"{place}UID=app;PWD={password};Encrypt=no;")
    seen[password] = python, sent(by_node, f"{place}User Id=app;Password={password};Encrypt=false;")
    print(password, seen[password])
refused, read = seen.pop('"a;b"')
assert seen == {"hush": ("hush",) * 2, "{a;b}": ("a;b",) * 2, '"a""b"': ('"a""b"', 'a"b'), "'a b'": ("'a b'", "a b")}
assert "has no value" in refused and read == "a;b"
END
LD_LIBRARY_PATH=$(echo "$work"/root/usr/lib/*-linux-gnu) venv/bin/python see.py
