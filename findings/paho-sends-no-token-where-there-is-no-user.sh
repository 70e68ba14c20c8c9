#!/usr/bin/env bash
# paho-mqtt 2.2.0, aiomqtt 2.5.1, mqtt 5.16.0 of npm (MQTT.js): a token without a user name, which version 5 of MQTT allows, is not sent.
# Seen: paho and aiomqtt with a password and no user connect without the password and without a warning, so that a broker that asks for a token
# says "Not authorized", as to a token that has expired. MQTT.js closes without an error event, and no login reaches the broker, as if that
# were down. With an empty text as the user's name all three send the token. Other than version 3.1.1, version 5 allows a
# password without a user (3.1.2.9), so that it can carry a token. For clients of brokers that take tokens: username="".
# Guess: a password that was given is sent, or refused with an error. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check paho-mqtt==2.2.0 aiomqtt==2.5.1
npm install --silent --no-fund --no-audit mqtt@5.16.0
cat >see.mjs <<'END'
import mqtt from "mqtt";

const [port, ...names] = process.argv.slice(2);
const user = names.length ? { username: names[0] } : {};
const client = mqtt.connect({ host: "127.0.0.1", port: +port, protocolVersion: 5, password: "token", reconnectPeriod: 0, ...user });
client.on("error", (error) => console.log(error.message));
client.on("close", () => console.log("closed") ?? client.end(true));
END
cat >see.py <<'END'
import asyncio
import subprocess

import aiomqtt
import paho.mqtt.client as paho

logins = []


async def broker(reader, writer):
    """Note the user and password of a CONNECT (version 5, less than 128 bytes), and answer "Not authorized"."""
    packet = await reader.readexactly((await reader.readexactly(2))[1])
    at, fields = 11 + packet[10], []  # behind the properties
    while at < len(packet):
        end = at + 2 + int.from_bytes(packet[at : at + 2], "big")
        fields.append(packet[at + 2 : end].decode())
        at = end
    logins.append((fields[1] if packet[7] & 0x80 else None, fields[-1] if packet[7] & 0x40 else None))
    writer.write(bytes([0x20, 3, 0, 0x87, 0]))
    await writer.drain()
    writer.close()


def by_paho(port, user):
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.username_pw_set(user, "token")
    said = []
    client.on_connect = lambda *words: said.append(str(words[3]))
    client.connect("127.0.0.1", port)
    while not said:
        assert client.loop(1) == paho.MQTT_ERR_SUCCESS or said
    return said[0]


def by_aiomqtt(port, user):
    return asyncio.run(login_of_aiomqtt(port, user))


async def login_of_aiomqtt(port, user):
    version = aiomqtt.ProtocolVersion.V5
    try:
        async with aiomqtt.Client("127.0.0.1", port, username=user, password="token", protocol=version):
            pass
    except aiomqtt.MqttError as error:
        return str(error)


def by_node(port, user):
    words = ["node", "see.mjs", str(port), *([] if user is None else [user])]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


async def main():
    server = await asyncio.start_server(broker, "127.0.0.1", 0)
    seen, answers = {}, {}
    for user in (None, ""):
        for connect in (by_paho, by_aiomqtt, by_node):
            logins.clear()
            answers[user, connect] = answer = await asyncio.to_thread(connect, server.sockets[0].getsockname()[1], user)
            seen[user, connect] = list(logins)
            print(f"{connect.__name__}, user {user!r}: {logins}, {answer!r}")
            assert ("Not authorized" in answer) == bool(logins)
    assert seen[None, by_paho] == seen[None, by_aiomqtt] == [(None, None)]
    assert (seen[None, by_node], answers[None, by_node]) == ([], "closed")
    for connect in (by_paho, by_aiomqtt, by_node):
        assert seen["", connect] == [("", "token")]


asyncio.run(main())
END
venv/bin/python see.py
