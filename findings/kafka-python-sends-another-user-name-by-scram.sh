#!/usr/bin/env bash
# kafka-python 3.0.12, aiokafka 0.14.0 and kafkajs 2.2.4 of npm, with scramp 1.5.0 as the server: a user whose name has a comma or an equals sign
# cannot log in by SCRAM with kafka-python.
# Seen: RFC 5802 (section 5.1) has a comma of the name sent as =2C and an equals sign as =3D. aiokafka and kafkajs send them so, and the server finds
# the user. kafka-python sends the name as it is written: of "app,eu" and of "team=billing" scramp says "other-error" and "invalid-username-encoding"
# before any password is looked at, so that a new password, which one tries next, changes nothing. "app" and "app.eu" are found by all three. A name that
# is made of labels or of a certificate's subject has such letters. The clients' classes were run without a broker, against scramp's server, and
# kafka-python and aiokafka through to the end. Guess: a name that a user can be given can be logged in with. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check kafka-python==3.0.12 aiokafka==0.14.0 scramp==1.5.0
npm install --silent --no-fund --no-audit kafkajs@2.2.4
cat >see.cjs <<'END'
const scram = require("kafkajs/src/broker/saslAuthenticator/scram256");

const logger = { debug() {}, error() {} };
const saslAuthenticate = async ({ request }) => {
  console.log((await request.encode()).subarray(4).toString()); // after the length
  process.exit();
};
scram({ username: process.argv[2], password: "hush" })({ host: "localhost", port: 0, logger, saslAuthenticate }).authenticate();
END
cat >see.py <<'END'
import subprocess

from aiokafka.conn import ScramAuthenticator
from kafka.net.sasl.scram import ScramClient
from scramp import ScramMechanism

NAMES = ["app", "app.eu", "app,eu", "team=billing"]
mechanism = ScramMechanism("SCRAM-SHA-256")
users = {name: mechanism.make_auth_info("hush") for name in NAMES}


class Kafka:
    def __init__(self, name):
        self.client = ScramClient(name, "hush", "SCRAM-SHA-256")

    def first(self):
        return self.client.first_message().decode()

    def last(self, answer):
        self.client.process_server_first_message(answer.encode())
        return self.client.final_message().decode()


class Aiokafka:
    def __init__(self, name):
        self.client = ScramAuthenticator(
            loop=None, sasl_plain_username=name, sasl_plain_password="hush", sasl_mechanism="SCRAM-SHA-256"
        )

    def first(self):
        return self.client.first_message()

    def last(self, answer):
        self.client.process_server_first_message(answer)
        return self.client.final_message()


class Kafkajs:
    def __init__(self, name):
        self.name = name

    def first(self):
        done = subprocess.run(["node", "see.cjs", self.name], capture_output=True, text=True, check=True, timeout=60)
        return done.stdout.strip()


def see(kind, name):
    """The name that the client sends, and the user whom the server finds by it, or what the server says."""
    client, asked = kind(name), []
    server = mechanism.make_server(lambda user: asked.append(user) or users[user])
    first = client.first()
    try:
        server.set_client_first(first)
        if kind is not Kafkajs:
            server.set_client_final(client.last(server.get_server_first()))
            assert server.get_server_final().startswith("v=")
        found = asked[0]
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
    return first.removeprefix("n,,n=").rpartition(",r=")[0], found


seen = {kind.__name__: [see(kind, name) for name in NAMES] for kind in (Kafka, Aiokafka, Kafkajs)}
for name, one in seen.items():
    print(f"{name}: {one}")
good = [("app", "app"), ("app.eu", "app.eu"), ("app=2Ceu", "app,eu"), ("team=3Dbilling", "team=billing")]
assert seen["Aiokafka"] == seen["Kafkajs"] == good
assert seen["Kafka"][:2] == good[:2]
assert [said.rpartition(": ")[2] for _, said in seen["Kafka"][2:]] == ["other-error", "invalid-username-encoding"]
END
venv/bin/python see.py
