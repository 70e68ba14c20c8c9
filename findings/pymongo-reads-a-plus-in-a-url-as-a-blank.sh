#!/usr/bin/env bash
# pymongo 4.20.1: a plus sign in the password of a URL is a blank, where redis-py, kombu, pika, SQLAlchemy and libpq read a plus sign.
# Seen: of user:p+w@127.0.0.1 pymongo takes "p w" for the password; redis-py 8.1.0, kombu 5.7.0, pika 1.4.4, SQLAlchemy 2.1.9 and
# psycopg 3.3.9 (libpq) take "p+w". All six read %2B as a plus sign and %20 as a blank. A plus sign is allowed there by RFC 3986, and a
# password in base64 holds one more often than not; nothing warns, the server refuses the login. Guess: a plus sign is a blank in the
# query of a form alone.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pymongo==4.20.1 redis==8.1.0 kombu==5.7.0 pika==1.4.4
venv/bin/pip install -q --disable-pip-version-check SQLAlchemy==2.1.9 psycopg==3.3.9 psycopg-binary==3.3.9
cat >see.py <<'END'
import kombu.utils.url
import pika
import redis.connection
from psycopg.conninfo import conninfo_to_dict
from pymongo.uri_parser import parse_uri
from sqlalchemy import make_url

READERS = {
    "pymongo": ("mongodb", lambda url: parse_uri(url)["password"]),
    "redis-py": ("redis", lambda url: redis.connection.parse_url(url)["password"]),
    "kombu": ("amqp", lambda url: kombu.utils.url.parse_url(url)["password"]),
    "pika": ("amqp", lambda url: pika.URLParameters(url).credentials.password),
    "SQLAlchemy": ("postgresql", lambda url: make_url(url).password),
    "libpq": ("postgresql", lambda url: conninfo_to_dict(url)["password"]),
}


def read(written):
    said = {name: parse(f"{kind}:{'//'}user:{written}@127.0.0.1/0") for name, (kind, parse) in READERS.items()}
    print(written, said)
    return said


plus = read("p+w")
assert plus.pop("pymongo") == "p w"
assert set(plus.values()) == {"p+w"}
assert set(read("p%2Bw").values()) == {"p+w"}
assert set(read("p%20w").values()) == {"p w"}
END
venv/bin/python see.py
