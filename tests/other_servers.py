"""Real servers of `docs/how-to/rotate-others.md`, each on free ports of the loopback address, and what speaks to them.

CI has none of them but etcd and NATS, which come from wheels; where a program is not in PATH, the test is skipped.
On Debian: `apt-get install rabbitmq-server slapd ldap-utils mosquitto haproxy`.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from free_ports import free_port

PATIENCE_SECONDS = 180
_PATH = os.pathsep.join(
    [str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin", "/usr/local/sbin"]
)


def program(name):
    """Return the path of a program, or skip the test."""
    found = shutil.which(name, path=_PATH)
    if found is None:
        pytest.skip(f"there is no {name} here")
    return found


def until(ready, *, process=None):
    """Wait for what says no other way that it is so."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not ready():
        assert process is None or process.poll() is None, "the server ended"
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


class Server:
    """Runs from construction to `stop`; a subclass says by `command` how."""

    environment: Mapping[str, str] = MappingProxyType({})

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="strongroom-other-"))
        self.port = free_port()
        self.log = self.folder / "log"
        self.start()

    def command(self):
        raise NotImplementedError

    def ready(self):
        return listens(self.port)

    def start(self):
        words = self.command()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [program(words[0]), *map(str, words[1:])],
                cwd=self.folder,
                env={"PATH": _PATH, "LANG": "C.UTF-8", "HOME": str(self.folder), **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until(self.ready, process=self.process)

    def signal(self, number):
        self.process.send_signal(number)

    def logged(self, words):
        """Wait until the log says so."""
        until(lambda: words in self.log.read_text(errors="replace"), process=self.process)

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(300)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def stop(self):
        """Stop the server and remove what it wrote."""
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)


class RabbitMQ(Server):
    """One node with an epmd of its own; `ctl` is rabbitmqctl, `user` an application's."""

    def __init__(self):
        program("rabbitmqctl")  # where there is none, before anything starts
        self.epmd_port = free_port()
        self.epmd = subprocess.Popen(
            [program("epmd"), "-address", "127.0.0.1", "-port", str(self.epmd_port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(lambda: listens(self.epmd_port), process=self.epmd)  # or the server starts one that outlives it
        super().__init__()

    def command(self):
        for name in ("mnesia", "logs"):
            (self.folder / name).mkdir(exist_ok=True)
        (self.folder / "enabled_plugins").write_text("[].\n")
        (self.folder / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{self.port}\n")
        self.environment = {
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"strongroom{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 -kernel inet_dist_use_interface {127,0,0,1}",
        }
        # The programs in PATH change the user; these do not.
        return ("/usr/lib/rabbitmq/bin/rabbitmq-server",)

    def ready(self):
        return listens(self.port) and "Server startup complete" in self._logs()

    def _logs(self):
        return "".join(path.read_text(errors="replace") for path in (self.folder / "logs").glob("*.log"))

    def ctl(self, *words):
        done = subprocess.run(
            ["/usr/lib/rabbitmq/bin/rabbitmqctl", "--quiet", *words],
            env={"PATH": _PATH, "LANG": "C.UTF-8", "HOME": str(self.folder), **self.environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def end(self):
        super().end()
        self.epmd.terminate()
        self.epmd.wait()


SUFFIX = "dc=example,dc=org"
ADMINISTRATOR = f"cn=admin,{SUFFIX}"
USER = f"cn=app,{SUFFIX}"


class OpenLDAP(Server):
    """A slapd with one database in its folder, and the overlay ppolicy where `policy` has attributes."""

    def __init__(self, policy=()):
        self.policy = policy
        super().__init__()
        entries = [
            (f"dn: {SUFFIX}", "objectClass: domain", "dc: example"),
            self.entry(),
        ]
        if policy:
            entries.append((f"dn: cn=policy,{SUFFIX}", "objectClass: device", "objectClass: pwdPolicy",
                            "cn: policy", "pwdAttribute: userPassword", *policy))  # fmt: skip
        for entry in entries:
            code, said = self.tool("ldapadd", text="\n".join(entry) + "\n")
            assert code == 0, said

    @staticmethod
    def entry(*passwords):
        """Return the application's entry."""
        return (f"dn: {USER}", "objectClass: person", "cn: app", "sn: app",
                *(f"userPassword: {one}" for one in passwords or ("one",)))  # fmt: skip

    def command(self):
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        schema = Path("/etc/ldap/schema")
        lines = [
            *(f"include {schema / name}.schema" for name in ("core", "cosine", "inetorgperson")),
            "modulepath /usr/lib/ldap",
            "moduleload back_mdb",
            "moduleload ppolicy" if self.policy else "",
            f"pidfile {self.folder / 'pid'}",
            "database mdb",
            "maxsize 10485760",
            f"suffix {SUFFIX}",
            f"rootdn {ADMINISTRATOR}",
            "rootpw root",
            f"directory {data}",
            "access to attrs=userPassword by self write by anonymous auth by * none",
            "access to * by users read",
            *(("overlay ppolicy", f"ppolicy_default cn=policy,{SUFFIX}") if self.policy else ()),
        ]
        (self.folder / "slapd.conf").write_text("\n".join(lines) + "\n")
        return ("slapd", "-d", "0", "-h", self.url, "-f", self.folder / "slapd.conf")

    @property
    def url(self):
        return f"ldap://127.0.0.1:{self.port}"

    def tool(self, name, *words, who=ADMINISTRATOR, password="root", text=""):
        """Run a program of ldap-utils; return its exit code and what it says."""
        done = subprocess.run(
            [program(name), "-x", "-H", self.url, "-D", who, "-w", password, *words],
            input=text,
            env={"PATH": _PATH, "LDAPNOINIT": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
        return done.returncode, done.stderr

    def binds(self, password):
        return self.tool("ldapwhoami", who=USER, password=password)[0] == 0

    def set_passwords(self, *passwords, **by):
        """Replace all values."""
        lines = (f"dn: {USER}", "changetype: modify", "replace: userPassword")
        text = "\n".join([*lines, *(f"userPassword: {one}" for one in passwords)]) + "\n"
        return self.tool("ldapmodify", text=text, **by)


class NATS(Server):
    """A nats-server whose users are those of `write`."""

    def __init__(self, **users):
        self.users = users
        super().__init__()

    def command(self):
        self.write(self.users.items())
        return ("nats-server", "-c", self.folder / "nats.conf")

    def write(self, users):
        logins = ", ".join(f'{{user: {name}, password: "{password}"}}' for name, password in users)
        (self.folder / "nats.conf").write_text(
            f"listen: 127.0.0.1:{self.port}\nauthorization {{ users = [{logins}] }}\n"
        )

    def reload(self):
        """Return the exit code of `nats-server --signal reload`."""
        words = [program("nats-server"), "--signal", f"reload={self.process.pid}"]
        return subprocess.run(words, check=False, capture_output=True, timeout=PATIENCE_SECONDS).returncode


class LineClient:
    """A client of NATS as its protocol says: lines of text."""

    def __init__(self, server, user, password):
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS)
        self.lines = self.socket.makefile("rb")
        assert self.lines.readline().startswith(b"INFO")
        greeting = f'CONNECT {{"verbose":false,"user":"{user}","pass":"{password}"}}\r\n'
        self.socket.sendall(greeting.encode())

    def answers(self):
        """Ask, and return what comes: `PONG`, or the error with which it ends."""
        try:
            self.socket.sendall(b"PING\r\n")
            return self.read()
        except ConnectionError:
            return "closed"

    def read(self):
        while (line := self.lines.readline()).startswith(b"INFO"):
            pass
        return line.decode().strip() or "closed"

    def close(self):
        self.lines.close()
        self.socket.close()


class Mosquitto(Server):
    """A mosquitto with a file of passwords."""

    def __init__(self, **users):
        self.users = users
        super().__init__()

    @property
    def passwords(self):
        return self.folder / "passwords"

    def command(self):
        self.write(**self.users)
        (self.folder / "mosquitto.conf").write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous false\npassword_file {self.passwords}\n"
            "user root\nlog_dest stderr\nlog_type all\n"
        )
        return ("mosquitto", "-c", self.folder / "mosquitto.conf")

    def write(self, **users):
        """Write the file, each password as its hash; also an empty one."""
        made = self.folder / "new"
        made.write_text("".join(f"{name}:{password}\n" for name, password in users.items()))
        if users:
            subprocess.run([program("mosquitto_passwd"), "-U", made], check=True, capture_output=True)
        made.replace(self.passwords)

    def hup(self):
        """Send HUP, and wait until it was heard."""
        before = self.log.read_text().count("Reloading config")
        self.signal(signal.SIGHUP)
        until(lambda: self.log.read_text().count("Reloading config") > before, process=self.process)


class MQTTClient:
    """A client of MQTT 3.1.1 that connects, and asks whether it still is."""

    def __init__(self, server, user, password):
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS)
        fields = (f"client-{user}-{id(self)}", user, password)
        rest = b"\0\4MQTT\4\xc2\0\0" + b"".join(len(one).to_bytes(2, "big") + one.encode() for one in fields)
        self.socket.sendall(bytes([0x10, len(rest)]) + rest)
        self.code = self._read(4)[3]

    def _read(self, count):
        found = b""
        while len(found) < count and (part := self.socket.recv(count - len(found))):
            found += part
        return found

    def lives(self):
        try:
            self.socket.sendall(b"\xc0\0")
            return self._read(2) == b"\xd0\0"
        except ConnectionError:
            return False

    def close(self):
        self.socket.close()


class HAProxy(Server):
    """An HAProxy that answers by itself, where its password is given, with the certificate in its file."""

    def __init__(self, password, certificate):
        self.password, self.certificate = password, certificate
        super().__init__()

    def write(self, password, certificate):
        (self.folder / "site.pem").write_bytes(certificate)
        (self.folder / "haproxy.cfg").write_text(
            "global\n  nbthread 1\n"
            "defaults\n  mode http\n  timeout client 60s\n  timeout connect 5s\n  timeout server 60s\n"
            f"userlist people\n  user app insecure-password {password}\n"
            f"frontend site\n  bind 127.0.0.1:{self.port} ssl crt {self.folder / 'site.pem'}\n"
            "  http-request auth unless { http_auth(people) }\n  http-request return status 200\n"
        )

    def command(self):
        self.write(self.password, self.certificate)
        return ("haproxy", "-W", "-db", "-f", self.folder / "haproxy.cfg")

    def reload(self):
        """Let the master start another worker, and wait until it is there."""
        before = self.log.read_text().count("forked")
        self.signal(signal.SIGUSR2)
        until(lambda: self.log.read_text().count("forked") > before, process=self.process)
