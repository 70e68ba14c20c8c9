#!/usr/bin/env bash
# kombu 5.7.0, with which Celery reads its broker's URL: a semicolon in a password makes two brokers of one.
# Seen: of amqp:…app:4821;quiet@127.0.0.1 kombu makes a first broker, host app and port 4821 without a password, and a second, host 127.0.0.1
# without a user; of app:hush;quiet@… it makes the error "Port could not be cast to integer value as 'hush'", which has the half of the password.
# redis 8.1.0, SQLAlchemy 2.1.9 and urllib read the same place with the whole password. With %3B kombu does too. Guess: a URL may hold a
# semicolon there, as RFC 3986 says, and a password is not shown. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check kombu==5.7.0 redis==8.1.0 sqlalchemy==2.1.9
cat >see.py <<'END'
from urllib.parse import urlsplit

import redis
from kombu import Connection
from sqlalchemy import make_url


def url(scheme, password):
    return f"{scheme}:{'//'}app:{password}@127.0.0.1:5672/"


def by_kombu(password):
    """The first broker's host, port, user and password, and how many brokers there are; or the error."""
    try:
        read = Connection(url("amqp", password) + "/")
    except ValueError as error:
        return str(error)
    return read.hostname, read.port, read.userid, read.password, max(1, len(read.alt))


for password in ("hush-quiet", "4821;quiet", "hush;quiet", "hush%3Bquiet"):
    print(f"{password}: kombu {by_kombu(password)}")
for password in ("4821;quiet", "hush;quiet"):
    others = [
        redis.Redis.from_url(url("redis", password) + "0").connection_pool.connection_kwargs["password"],
        make_url(url("mysql", password)).password,
        urlsplit(url("amqp", password)).password,
    ]
    print(f"{password}: redis, SQLAlchemy and urllib {others}")
    assert others == [password] * 3
assert by_kombu("hush-quiet") == ("127.0.0.1", 5672, "app", "hush-quiet", 1)
assert by_kombu("4821;quiet") == ("app", 4821, None, None, 2)
assert by_kombu("hush;quiet") == "Port could not be cast to integer value as 'hush'"
assert by_kombu("hush%3Bquiet") == ("127.0.0.1", 5672, "app", "hush;quiet", 1)
END
venv/bin/python see.py
