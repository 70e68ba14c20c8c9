#!/usr/bin/env bash
# SQLAlchemy 2.1.9, pydantic 2.14.4 and kombu 5.7.0: the mask that each prints in place of a password is a password when it is read back.
# Seen: str() of an engine's URL has *** for the password, and an engine that is made of that text gives *** to the driver; a model with a
# SecretStr, written by model_dump_json and read by model_validate_json, has a password of ten asterisks; as_uri() of kombu's Connection has
# **, and a Connection of that text has the password **. Nothing warns or raises. Guess: a masked text cannot be read back as a value.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check sqlalchemy==2.1.9 psycopg2-binary==2.9.13 pydantic==2.14.4 kombu==5.7.0
cat >see.py <<'END'
import warnings

from kombu import Connection
from pydantic import BaseModel, SecretStr
from sqlalchemy import create_engine, event

warnings.simplefilter("error")


class Login(BaseModel):
    user: str
    password: SecretStr


def given_to_the_driver(engine):
    """The password with which the engine connects; no server is asked."""
    seen = []

    @event.listens_for(engine, "do_connect")
    def connect(_dialect, _record, _words, named):
        seen.append(named["password"])
        raise ConnectionRefusedError

    try:
        engine.connect()
    except ConnectionRefusedError:
        pass
    return seen


engine = create_engine("postgresql+psycopg2:" + "//app:hush@127.0.0.1/app")
copied = create_engine(str(engine.url))
sent = given_to_the_driver(engine) + given_to_the_driver(copied)
print("SQLAlchemy:", str(engine.url), "->", sent)
assert sent == ["hush", "***"]
assert engine.url.render_as_string(hide_password=False).count("hush") == 1

login = Login(user="app", password="hush")
text = login.model_dump_json()
read = Login.model_validate_json(text)
print("pydantic:", text, "->", repr(read.password.get_secret_value()))
assert read.password.get_secret_value() == "*" * 10
assert Login.model_validate(login.model_dump()).password.get_secret_value() == "hush"

broker = Connection("amqp:" + "//app:hush@127.0.0.1//")
again = Connection(broker.as_uri())
print("kombu:", broker.as_uri(), "->", repr(again.password))
assert (broker.password, again.password) == ("hush", "**")
assert Connection(broker.as_uri(include_password=True)).password == "hush"
END
venv/bin/python see.py
