#!/usr/bin/env bash
# mqtt 5.16.0 of npm (MQTT.js) and amqtt 0.12.1: a colon in the password of a URL moves the first part of the password to the user name.
# Seen: of app:pa%3Ass@127.0.0.1 MQTT.js decodes the whole first and splits it at the last colon: it sends the user app:pa with the password
# ss. amqtt of Python sends app and pa:ss, as does MQTT.js with username and password as options. Encoding the percent sign too does not help:
# of pa%253Ass both send pa%3Ass. Of app:@, a user with an empty password, MQTT.js makes a user "app:". The broker refuses such a
# login as it refuses a wrong password, so that a rotation to a password with a colon ends the programs in Node alone. For programs that give
# MQTT.js a URL: user and password as options, or a password without a colon. Guess: what is percent-encoded separates nothing.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check amqtt==0.12.1
npm install --silent --no-fund --no-audit mqtt@5.16.0
cat >see.mjs <<'END'
import mqtt from "mqtt";

const [url, options] = process.argv.slice(2);
const client = mqtt.connect(url, { ...JSON.parse(options), reconnectPeriod: 0 });
client.on("error", () => client.end(true));
END
cat >see.py <<'END'
import asyncio
import json

from amqtt.client import MQTTClient
from amqtt.errors import ConnectError

logins = []


async def broker(reader, writer):
    """Note the user and password of a CONNECT (version 3.1.1, less than 128 bytes), and refuse it."""
    packet = await reader.readexactly((await reader.readexactly(2))[1])
    fields, rest, at = [], packet[10:], 0  # behind the name of the protocol, its version, the flags and the keep-alive
    while at < len(rest):
        end = at + 2 + int.from_bytes(rest[at : at + 2], "big")
        fields.append(rest[at + 2 : end].decode())
        at = end
    logins.append(fields[1:])  # without the client's id
    writer.write(bytes([0x20, 2, 0, 5]))
    await writer.drain()
    writer.close()


async def see(userinfo, options=None):
    """What each client logs in with, by a URL with this user and password, or by options."""
    server = await asyncio.start_server(broker, "127.0.0.1", 0)
    at = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    url = f"mqtt:{'//'}{userinfo}{at}"
    logins.clear()
    node = await asyncio.create_subprocess_exec("node", "see.mjs", url, json.dumps(options or {}))
    assert await asyncio.wait_for(node.wait(), 60) == 0
    if options is None:
        try:
            await asyncio.wait_for(MQTTClient(config={"auto_reconnect": False}).connect(url), 60)
        except ConnectError:
            pass
    server.close()
    print(f"{userinfo or options}: {logins}")
    return list(logins)


async def main():
    assert await see("app:pass@") == [["app", "pass"]] * 2
    assert await see("app:p%40ss@") == [["app", "p@ss"]] * 2
    assert await see("app:pa%3Ass@") == [["app:pa", "ss"], ["app", "pa:ss"]]
    assert await see("app:pa%253Ass@") == [["app", "pa%3Ass"]] * 2
    assert (await see("app:@"))[0] == ["app:"]
    assert await see("", {"username": "app", "password": "pa:ss"}) == [["app", "pa:ss"]]


asyncio.run(main())
END
venv/bin/python see.py
