"""The server as a process: what it prints, its sockets, signals, and what makes it not start."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from served import ADMIN, Reply, spec_of
from served_process import PATIENCE, Process, write
from strongroom import SecretProviderRegistry, TenantContext
from strongroom.cli import main
from strongroom.errors import ConfigurationError, ConflictError
from strongroom_serve import sockets, systemd
from strongroom_serve.asking import Backend
from strongroom_serve.config import address_of, config_of
from strongroom_serve.server import _audit_lines_shown, _Server, see_to_rotations, serve
from strongroom_serve.sockets import bound_tcp, bound_unix, taken_over


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=PATIENCE)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self.path)


STRANGER = {"name": "stranger", "token": "stranger-token-0123456789", "allow": ["**"]}


def ask(path, target, *, method="GET", token=ADMIN, body=None):
    connection = Unix(path)
    connection.request(method, target, headers={"X-Vault-Token": token}, body=body and json.dumps(body))
    reply = Reply(connection.getresponse())
    connection.close()
    return reply


def with_file(**serve):
    return spec_of(provider={"type": "file", "file_path": "s.enc", "key_file": "k"}, **serve)


def test_its_life_from_its_line_over_reloads_to_its_end(process, tmp_path):
    spec = with_file(socket="strongroom.sock", socket_mode="0660")
    path = tmp_path / "strongroom.sock"
    SecretProviderRegistry(
        {
            **spec,
            "pipelines": {
                "app": {
                    "provider": {
                        "type": "file",
                        "file_path": str(tmp_path / "s.enc"),
                        "key_file": str(tmp_path / "k"),
                    }
                }
            },
        }
    ).set_secret("k", "1")
    running = process(spec)
    assert running.line == f"listening at unix:{path}\n"
    assert path.stat().st_mode & 0o777 == 0o660
    assert ask(path, "/v1/secret/data/k").data["data"] == {"value": "1"}

    # Read again: a new client is known, an old one is not.
    second = "second-token-0123456789"
    clients = [{"name": "b", "token": second, "allow": ["k"]}]
    write(tmp_path, {**spec, "serve": {**spec["serve"], "clients": clients}})
    running.reload()
    assert ask(path, "/v1/secret/data/k", token=second).status == 200
    assert ask(path, "/v1/secret/data/k").status == 403

    # One that is wrong is told, and the one before stays in force.
    write(tmp_path, {**spec, "serve": {"clients": []}})
    running.reload()
    assert ask(path, "/v1/secret/data/k", token=second).status == 200

    code, rest, log = running.end()
    assert (code, rest) == (0, "")
    assert log.count("not reloaded: ") == log.count("serve has no clients") == 1
    assert ADMIN not in log
    assert not path.exists()


def test_audit_lines_without_a_path_are_in_the_servers_log(process, tmp_path):
    """In a container without a folder to write to, as the pod in `deploy/`, it is the only trail."""
    running = process({**spec_of(socket="s"), "hooks": [{"type": "audit"}]})
    assert ask(tmp_path / "s", "/v1/secret/data/k").status == 404
    code, _, log = running.end()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert (code, "go nowhere" in log) == (0, False)
    assert [(one["actor"], one["operation"], one["key"], one["outcome"]) for one in lines] == [
        ("all", "get", "k", "not_found")
    ]
    assert ADMIN not in log


def test_the_log_of_audit_lines_is_as_before_after_the_server():
    log = logging.getLogger("strongroom.audit")
    before = list(log.handlers), log.level, log.propagate
    with _audit_lines_shown():
        assert (log.level, log.propagate) == (logging.INFO, False)
        assert len(log.handlers) == len(before[0]) + 1
    assert (list(log.handlers), log.level, log.propagate) == before


def test_a_signal_during_a_reading_leads_to_another(tmp_path):
    begun, goes_on, readings = threading.Event(), threading.Event(), []

    def open_registry():
        readings.append(len(readings))
        begun.set()
        assert goes_on.wait(PATIENCE)
        raise ConfigurationError("not this time")

    async def signalled():
        registry = SecretProviderRegistry(spec_of())
        backend = Backend(registry, config_of(registry.serve_options(), "spec"))
        server = _Server(backend, [], open_registry, None)
        server._read_again()
        await asyncio.to_thread(begun.wait, PATIENCE)
        server._read_again()
        server._read_again()
        goes_on.set()
        await server._reading
        await server._app.close()

    asyncio.run(signalled())
    assert readings == [0, 1]


READS_FOR_EVER = """\
import json, sys, threading
from strongroom import SecretProviderRegistry
from strongroom_serve import server
server._END_SECONDS = 0.5
readings = []
def open_registry():
    readings.append(1)
    if len(readings) > 1:
        print("hangs", flush=True)
        threading.Event().wait()
    return SecretProviderRegistry(json.loads(sys.argv[1]))
print("ended with", server.serve(open_registry), flush=True)
"""


def test_a_reading_that_never_ends_does_not_keep_the_server_from_ending():
    words = [sys.executable, "-c", READS_FOR_EVER, json.dumps(spec_of(listen="127.0.0.1:0"))]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout.readline().startswith("listening at ")
            child.send_signal(signal.SIGHUP)
            assert child.stdout.readline() == "hangs\n"
            child.send_signal(signal.SIGTERM)
            assert child.wait(PATIENCE) == 0
            assert child.stdout.readline() == "ended with 0\n"
        finally:
            child.kill()


def test_what_a_failed_reload_has_opened_is_closed(caplog):
    closed = []

    def open_registry():
        registry = SecretProviderRegistry(spec_of())
        close = registry.close
        registry.close = lambda: (closed.append(registry), close())
        return registry

    async def signalled():
        backend = Backend(first, config_of(first.serve_options(), "spec"))
        server = _Server(backend, [], open_registry, None)
        server._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # and the spec has no certificate any more
        server._read_again()
        await server._reading
        assert len(closed) == 1
        assert server._app.backend is backend
        await server._app.close()

    first = SecretProviderRegistry(spec_of())
    asyncio.run(signalled())
    assert "not reloaded: serve.tls is gone" in caplog.text


@pytest.mark.parametrize(
    "section",
    [
        {"listen": "127.0.0.1:0", "tls": {"cert": "/dev/null", "key": "/dev/null"}},
        {},
    ],
    ids=["certificate", "nowhere"],
)
def test_what_a_failed_start_has_opened_is_closed(section):
    closed = []

    def open_registry():
        registry = SecretProviderRegistry(spec_of(**section))
        close = registry.close
        registry.close = lambda: (closed.append(registry), close())
        return registry

    with pytest.raises(ConfigurationError):
        serve(open_registry)
    assert len(closed) == 1


def test_a_socket_may_have_as_long_a_path_as_the_system_takes():
    """107 bytes, and one more is an error."""
    with tempfile.TemporaryDirectory() as folder:
        inner = Path(folder) / ("x" * (107 - len(folder) - len("//s.sock")))
        inner.mkdir()
        listener = bound_unix(inner / "s.sock", 0o600, None)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(inner / "s.sock"))
        assert os.listdir(inner) == ["s.sock"]
        listener.close()
        with pytest.raises(ConfigurationError):
            bound_unix(inner / "ss.sock", 0o600, None)
        assert os.listdir(inner) == []


def test_rotations_of_the_tenants_that_clients_name_are_looked_after():
    """Else the old password of one would be good for ever; but nobody is asked twice for what has no tenants."""
    from strongroom import TenantMiddleware, current_tenant
    from strongroom.cli.actions.overview import Overview
    from strongroom.cli.context import GlobalOptions
    from strongroom_memory import MemorySecretProvider

    class Seen(Overview):
        def rotations(self, registry):
            rows = super().rotations(registry)
            looks.append((current_tenant(), [one["state"] for one in rows]))
            return rows

    clients = [
        {"name": name, "token": f"{name}-token-0123456789", "allow": ["**"], "tenants": tenants}
        for name, tenants in (("a", ["globex", "acme"]), ("b", ["*"]), ("c", ["acme"]))
    ]
    for prefix, expected in (
        ("t/", [(None, ["unknown"]), ("acme", ["current"]), ("globex", ["absent"])]),
        ("", [(None, ["current"])]),
    ):
        looks = []
        spec = spec_of(*clients) | {"secrets": {"A": {"key": f"{prefix}a", "rotate_days": 9}}}
        with SecretProviderRegistry(spec) as registry:
            registry.register("t", TenantMiddleware(MemorySecretProvider()), prefix="t/")
            with TenantContext("acme"):
                registry.set_secret(f"{prefix}a", "v")
            backend = Backend(registry, config_of(registry.serve_options(), "spec"))
            asyncio.run(see_to_rotations(backend, Seen(GlobalOptions())))
        assert looks == expected


def test_a_spec_that_is_gone_is_not_replaced_by_one_of_a_folder_above(tmp_path):
    """A signal between the removal of a spec and its return leaves clients and pipelines as they are."""
    inner = tmp_path / "inner"
    inner.mkdir()
    write(inner, spec_of(socket="s"))
    write(tmp_path, {**spec_of(socket="s"), "serve": {"socket": "s", "clients": [STRANGER]}})
    running = Process(tmp_path, cwd=inner)
    try:
        (inner / "strongroom.yaml").rename(inner / "away")
        running.reload()
        path = inner / "s"
        assert ask(path, "/v1/secret/data/k", token=STRANGER["token"]).status == 403
        assert ask(path, "/v1/secret/data/k", token=ADMIN).status == 404
        (inner / "away").rename(inner / "strongroom.yaml")
        running.reload()
        code, rest, log = running.end()
        assert (code, rest) == (0, "")
        assert log.count("not reloaded: strongroom.yaml is gone") == log.count("not reloaded") == 1
    finally:
        running.stop()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"socket": "other.sock"}, "serve.socket"),
        ({"socket_mode": "0660"}, "serve.socket_mode"),
        ({"listen": "127.0.0.1:1"}, "serve.listen"),
    ],
)
def test_a_reload_says_which_changes_need_a_restart(process, tmp_path, change, named):
    spec = with_file(socket="s", ui=False)
    spec["serve"]["clients"].append({"name": "batch", "uid": 1, "allow": ["**"]})
    running = process(spec)
    write(tmp_path, {**spec, "serve": {**spec["serve"], **change, "ui": True}})
    running.reload()
    assert ask(tmp_path / "s", "/ui/login").status == 200  # the rest is in force
    write(tmp_path, spec)
    running.reload()
    log = running.end()[2]
    warning = f"the rest of the spec is in force; for another {named} restart the server\n"
    assert log == warning


def test_addresses_that_the_spec_does_not_decide_may_differ_from_it(tmp_path):
    write(tmp_path, with_file(socket="s"))
    running = Process(tmp_path, words=("--socket", str(tmp_path / "other")))
    try:
        write(tmp_path, with_file(socket="third", listen="127.0.0.1:1"))
        running.reload()
        assert running.end()[2] == ""
    finally:
        running.stop()


def test_a_client_with_a_uid_that_no_request_can_be_from_is_named_at_start_and_at_a_reload(process, tmp_path):
    here = {"name": "batch", "uid": os.getuid(), "allow": ["**"]}
    spec = with_file(listen="127.0.0.1:0")
    spec["serve"]["clients"].append(here)
    running = process(spec)
    running.reload()
    log = running.end()[2]
    problem = "no request can be from serve's client batch: only a Unix socket shows a uid"
    assert log.count(problem) == 2


def test_check_warns_of_a_client_with_a_uid_where_there_is_no_socket(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    here = [{"name": "batch", "uid": 1, "allow": ["**"]}]
    warnings = []
    for places in ({"listen": "127.0.0.1:1"}, {"listen": "127.0.0.1:1", "socket": "s"}, {}):
        write(tmp_path, {**with_file(), "secrets": {}, "serve": {"clients": here, **places}})
        assert main(["check"]) == 0
        warnings.append(
            "serve's client batch: a uid is seen only on a Unix socket" in capsys.readouterr().err
        )
    assert warnings == [True, False, False]


def test_a_request_in_flight_is_answered_at_the_end(process, tmp_path):
    running = process(with_file(socket="s"))
    body = json.dumps({"data": {"value": "late"}}).encode()
    head = "POST /v1/secret/data/k HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
    head += f"X-Vault-Token: {ADMIN}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(str(tmp_path / "s"))
        sock.sendall(head.encode())
        assert sock.recv(100).startswith(b"HTTP/1.1 100")  # it is under way
        running.send(signal.SIGTERM)
        assert running.heard() == "STOPPING=1"
        sock.sendall(body)
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answer.lower()
    assert running.child.wait(PATIENCE) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_idle_connections_do_not_hold_up_the_end(process, tmp_path, number):
    running = process(spec_of(socket="s"))
    idle = [Unix(tmp_path / "s") for _ in range(3)]
    for one in idle:
        one.connect()
    assert running.end(number)[0] == 0
    for one in idle:
        one.close()


# --- sockets ---


def test_a_stale_socket_is_replaced_and_a_live_one_is_a_conflict(tmp_path):
    path = tmp_path / "s"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    live = bound_unix(path, 0o600, None)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConflictError, match="listens"):
        bound_unix(path, 0o600, None)
    assert [one.name for one in tmp_path.iterdir()] == ["s"]
    live.close()
    assert not path.exists()


def test_of_two_servers_that_start_at_once_one_listens(tmp_path, monkeypatch):
    """Both have seen that the socket is stale before one of them replaces it."""
    path = tmp_path / "s"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    seen = threading.Barrier(2)
    judge = sockets._refuse_taken

    def judge_together(path):
        judge(path)
        with contextlib.suppress(threading.BrokenBarrierError):
            seen.wait(0.1)  # the other one comes only if nothing keeps it

    monkeypatch.setattr(sockets, "_refuse_taken", judge_together)

    def start(_):
        try:
            return bound_unix(path, 0o600, None)
        except ConflictError as error:
            return error.message

    with ThreadPoolExecutor(2) as pool:
        started = list(pool.map(start, range(2)))
    assert f"a server listens at {path} already" in started
    for one in started:
        if not isinstance(one, str):
            one.close()
    assert not path.exists()


def test_where_it_cannot_listen_it_says_what_to_do(tmp_path):
    with pytest.raises(ConfigurationError, match="No such file") as refused:
        bound_unix(tmp_path / "none" / "s", 0o600, None)
    assert refused.value.hint == f"make its folder: mkdir -m 0750 {tmp_path / 'none'}"
    with pytest.raises(ConfigurationError, match="'8300': not an address of the form HOST:PORT"):
        address_of("8300")
    taken = bound_tcp("127.0.0.1", 0)
    with pytest.raises(ConflictError) as refused:
        bound_tcp("127.0.0.1", taken.socket.getsockname()[1])
    assert refused.value.hint == "end it, or listen elsewhere"
    taken.close()


def test_what_a_killed_server_with_the_same_number_has_left_is_not_in_the_way(tmp_path):
    """In a container each has the number 1."""
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / f".{os.getpid()}"))
    left.close()
    bound_unix(tmp_path / "s", 0o600, None).close()


def test_what_is_not_a_socket_is_left_alone(tmp_path):
    (tmp_path / "s").write_text("mine")
    with pytest.raises(ConflictError, match="not a socket"):
        bound_unix(tmp_path / "s", 0o600, None)
    assert (tmp_path / "s").read_text() == "mine"


def test_a_socket_that_another_server_has_put_there_is_not_removed(tmp_path):
    path = tmp_path / "s"
    first = bound_unix(path, 0o600, None)
    path.unlink()
    second = bound_unix(path, 0o600, None)
    first.close()
    assert path.exists()
    second.close()


def test_folders_groups_and_addresses_that_are_not_there_are_told(tmp_path):
    for call in (
        lambda: bound_unix(tmp_path / "no" / "s", 0o600, None),
        lambda: bound_unix(tmp_path / ("s" * 200), 0o600, None),
        lambda: bound_unix(tmp_path / "s", 0o600, "no-such-group-here"),
        lambda: bound_tcp("192.0.2.1", 0),
    ):
        with pytest.raises(ConfigurationError):
            call()
    assert list(tmp_path.iterdir()) == []


def test_an_address_that_is_taken_is_a_conflict():
    taken = bound_tcp("127.0.0.1", 0)
    with pytest.raises(ConflictError):
        bound_tcp("127.0.0.1", taken.socket.getsockname()[1])
    taken.close()


def test_systemd_hands_over_its_socket_and_hears_of_the_state(process, tmp_path):
    """As systemd does it: the socket is descriptor 3, and `LISTEN_PID` the process that gets it."""
    write(tmp_path, spec_of())
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "s"))
    listening.listen()
    hears = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    hears.bind(str(tmp_path / "n"))
    hears.settimeout(PATIENCE)
    starter = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True); "
        "os.environ['LISTEN_PID'] = str(os.getpid()); "
        "os.execv(sys.executable, [sys.executable, '-m', 'strongroom', 'serve'])"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", starter, str(listening.fileno())],
        env={
            **os.environ,
            "LISTEN_FDS": "1",
            "NOTIFY_SOCKET": str(tmp_path / "n"),
            "STRONGROOM_SPEC": str(tmp_path / "strongroom.yaml"),
        },
        pass_fds=[listening.fileno()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert hears.recv(1000).startswith(b"READY=1")
        assert ask(tmp_path / "s", "/v1/secret/data/k").status == 404
        child.send_signal(signal.SIGHUP)
        assert hears.recv(1000).startswith(b"RELOADING=1")
        assert hears.recv(1000).startswith(b"READY=1")
        child.send_signal(signal.SIGTERM)
        assert hears.recv(1000).startswith(b"STOPPING=1")
        assert child.wait(PATIENCE) == 0
    finally:
        child.kill()
        output = child.communicate()
    assert (tmp_path / "s").exists(), output  # it is systemd's
    listening.close()
    hears.close()


def test_variables_for_another_process_are_passed_over(monkeypatch):
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_PID", "1")
    assert taken_over() == []
    monkeypatch.setenv("NOTIFY_SOCKET", "relative")
    systemd.notify("READY=1")


def test_the_watchdog_is_told_twice_within_its_time(monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "10000000")
    assert systemd.watchdog_seconds() == 5
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert systemd.watchdog_seconds() is None


# --- what makes it not start ---


@pytest.mark.parametrize(
    ("change", "code", "expected"),
    [
        (lambda spec: spec.pop("serve"), 2, "has no section `serve`"),
        (lambda spec: spec["serve"].update(clients=[]), 2, "no clients"),
        (lambda spec: spec["serve"].pop("socket"), 2, "nowhere to listen"),
        (lambda spec: spec["serve"].update(listen="0.0.0.0:0"), 2, "needs `tls"),
        (
            lambda spec: spec["serve"].update(listen="127.0.0.1:0", tls={"cert": "no", "key": "no"}),
            2,
            "No such file",
        ),
        (lambda spec: spec["serve"].update(sokcet="x"), 2, "did you mean 'socket'"),
    ],
)
def test_what_makes_it_end_at_once(tmp_path, capsys, change, code, expected):
    spec = spec_of(socket=str(tmp_path / "s"))
    change(spec)
    write(tmp_path, spec)
    assert main(["--spec", str(tmp_path / "strongroom.yaml"), "serve"]) == code
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


def test_a_live_server_at_its_socket_is_exit_8(tmp_path, capsys):
    write(tmp_path, spec_of())
    live = bound_unix(tmp_path / "s", 0o600, None)
    words = ["--spec", str(tmp_path / "strongroom.yaml"), "serve", "--socket", str(tmp_path / "s")]
    assert main(words) == 8
    assert "listens" in capsys.readouterr().err
    live.close()


def test_an_address_beyond_loopback_on_the_command_line_needs_tls_too(tmp_path, capsys):
    write(tmp_path, spec_of())
    words = ["--spec", str(tmp_path / "strongroom.yaml"), "serve", "--listen", "0.0.0.0:0"]
    assert main(words) == 2
    assert "is not loopback" in capsys.readouterr().err


def test_without_the_distribution_the_command_names_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("STRONGROOM_PLUGINS", "strongroom-memory")
    write(tmp_path, spec_of())
    assert main(["--spec", str(tmp_path / "strongroom.yaml"), "serve"]) == 2
    assert "strongroom-serve" in capsys.readouterr().err
