"""`strongroom doctor --serve`: each outage that the spec or the machine foretells, with nothing started."""

import datetime as dt
import http.server
import json
import socket
import ssl
import tempfile
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from served import ADMIN, WEB, spec_of
from strongroom.cli.app import run_app
from strongroom.errors import ConfigurationError
from strongroom.registry import SecretProviderRegistry
from strongroom_serve.doctor import findings
from strongroom_serve.sockets import bound_unix


def look(spec, **stored):
    with SecretProviderRegistry(spec) as registry:
        registry.set_secrets({"app/x": "1", **stored})
        return list(findings(registry))


def wrong(found):
    assert all(hint for _, ok, _, hint in found if ok is False)
    assert not any(secret in str(found) for secret in (ADMIN, WEB))
    return [problem for _, ok, problem, _ in found if ok is False]


def certificate(folder, *, begins=-1, ends=100):
    day, now = dt.timedelta(days=1), dt.datetime.now(dt.UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "server")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now + begins * day).not_valid_after(now + ends * day)
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(private)
    (folder / "key.pem").chmod(0o600)
    return {"cert": str(folder / "cert.pem"), "key": str(folder / "key.pem")}


def test_a_good_section_has_nothing_wrong_and_makes_nothing(tmp_path):
    tls = certificate(tmp_path)
    found = look(spec_of(socket=str(tmp_path / "s"), listen="127.0.0.1:0", tls=tls))
    assert wrong(found) == []
    assert {one.name for one in tmp_path.iterdir()} == {"cert.pem", "key.pem"}
    assert ("client all", True, "its rules match 1 stored keys", None) in found


def test_the_running_server_is_asked(served, tmp_path):
    server = served(spec_of(), unix=tmp_path / "s")
    found = look(spec_of(socket=str(tmp_path / "s"), listen=f"127.0.0.1:{server.port}"))
    assert [ok for what, ok, *_ in found if what.startswith(("socket", "address"))] == [True, True]
    # By this spec it would speak TLS.
    tls = certificate(tmp_path)
    (problem,) = wrong(look(spec_of(listen=f"127.0.0.1:{server.port}", tls=tls)))
    assert "does not answer as" in problem


@pytest.mark.parametrize("name", ["s.sock", "s", "a-longer-name.sock"])
def test_as_long_a_path_as_the_server_takes_is_right(name):
    with tempfile.TemporaryDirectory() as folder:
        for length in range(99, 110):
            inner = Path(folder) / ("x" * (length - len(folder) - len(f"//{name}")))
            inner.mkdir()
            problems = wrong(look(spec_of(socket=str(inner / name))))
            try:
                bound_unix(inner / name, 0o600, None).close()
            except ConfigurationError:
                assert len(problems) == 1
                assert "longer than" in problems[0]
            else:
                assert problems == []


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_a_server_that_is_not_healthy_and_shows_an_older_certificate_is_wrong(tmp_path):
    tls = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls["cert"], tls["key"])
    certificate(tmp_path)
    with http.server.HTTPServer(("127.0.0.1", 0), Answers) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        answering = threading.Thread(target=server.handle_request)
        answering.start()
        down, older = wrong(look(spec_of(listen=f"127.0.0.1:{server.server_port}", tls=tls)))
        answering.join()
    assert ("is not available" in down, "another certificate" in older) == (True, True)


def test_a_socket_that_a_dead_server_left_is_not_wrong(tmp_path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s"))
    found = look(spec_of(socket=str(tmp_path / "s")))
    assert (wrong(found), "the next one replaces it" in str(found)) == ([], True)


@pytest.mark.parametrize(
    ("path", "options", "expected"),
    [
        ("s" * 100, {}, "longer than"),
        ("none/s", {}, "cannot be used: No such file"),
        ("file/s", {}, "is not a folder"),
        ("open/s", {}, "every user may write in its folder"),
        ("file", {}, "not a socket"),
        ("s", {"socket_group": "no-such-group"}, "no group"),
        ("s", {"socket_mode": "0060"}, "its owner cannot connect"),
    ],
)
def test_what_is_wrong_with_the_socket(tmp_path, path, options, expected):
    (tmp_path / "file").touch()
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (one,) = wrong(look(spec_of(socket=str(tmp_path / path), **options)))
    assert expected in one


def test_who_else_may_connect_is_reported(tmp_path):
    for mode, expected in (("0666", "every user"), ("0660", "a group, which is not named")):
        found = look(spec_of(socket=str(tmp_path / "s"), socket_mode=mode))
        assert (wrong(found), expected in str(found)) == ([], True)


def test_an_address_of_another_machine_is_wrong(tmp_path):
    (one,) = wrong(look(spec_of(listen="192.0.2.1:8300", tls=certificate(tmp_path))))
    assert "cannot listen there" in one


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ({"ends": 3}, "it ends on"),
        ({"begins": -9, "ends": -1}, "it ended on"),
        ({"begins": 1}, "it begins on"),
    ],
)
def test_when_the_certificate_is_good(tmp_path, days, expected):
    (one,) = wrong(look(spec_of(listen="127.0.0.1:0", tls=certificate(tmp_path, **days))))
    assert expected in one


def test_what_is_wrong_with_the_files_of_tls(tmp_path):
    tls = certificate(tmp_path)
    Path(tls["key"]).chmod(0o644)
    assert "others may read its key" in wrong(look(spec_of(listen="127.0.0.1:0", tls=tls)))[0]
    (tmp_path / "other").mkdir()
    other = certificate(tmp_path / "other")
    mixed = {"cert": tls["cert"], "key": other["key"]}
    assert "are not a pair" in wrong(look(spec_of(listen="127.0.0.1:0", tls=mixed)))[0]
    Path(tls["cert"]).unlink()
    assert "cannot be read" in wrong(look(spec_of(listen="127.0.0.1:0", tls=mixed)))[0]


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        ({"token": WEB, "allow": ["ap/**"]}, "match nothing that is stored"),
        ({"token": WEB, "allow": ["app/**"], "deny": ["app/x"]}, "match nothing that is stored"),
        ({"token": WEB}, "no `allow`"),
        ({"token": f"{WEB}\n", "allow": ["**"]}, "white space"),
        ({"uid": 1, "allow": ["**"]}, "known by its uid"),
        ({"token": ADMIN, "allow": ["**"]}, "have the same token"),
    ],
)
def test_what_is_wrong_with_a_client(client, expected):
    (one,) = wrong(look(spec_of({"name": "web", **client}, listen="127.0.0.1:0")))
    assert expected in one


def test_who_may_write_or_looks_at_pages_alone_needs_nothing_stored():
    writer = {"name": "web", "token": WEB, "allow": ["new/**"], "operations": ["set"]}
    pages = {"name": "eye", "token": f"{WEB}-2", "admin": True}
    assert wrong(look(spec_of(writer, pages, ui=True, listen="127.0.0.1:0"))) == []


def test_the_command_says_it_in_json_and_ends_with_7(tmp_path, capsys):
    spec = tmp_path / "strongroom.yaml"
    spec.write_text(json.dumps({"version": 1, "pipelines": {"app": {"provider": {"type": "memory"}}}}))
    assert run_doctor(spec, capsys) == (7, [["serve", False]])
    spec.write_text(json.dumps(spec_of(socket="s")))
    code, found = run_doctor(spec, capsys)
    assert (code, found) == (0, [[f"socket {tmp_path / 's'}", None], ["client all", None]])


def run_doctor(spec, capsys):
    code = run_app(["--spec", str(spec), "doctor", "--serve", "--json"])
    found = json.loads(capsys.readouterr().out)["findings"]
    return code, [[one["subject"], one["ok"]] for one in found]
