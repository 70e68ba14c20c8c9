"""What is special about Vault."""

from __future__ import annotations

import datetime as dt
import functools
import http.server
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest
import requests
from strongroom import SecretProviderRegistry
from strongroom.cli import main
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    PermissionDeniedError,
    SecretNotFoundError,
    SecretTooLargeError,
    ThrottledError,
    UnsupportedOperationError,
    ValidationError,
)
from strongroom.registry.watch import Watch
from strongroom.testing.faults import ends_in_time
from strongroom_vault import VaultSecretProvider
from strongroom_vault.errors import shown, translate
from strongroom_vault.wire import Reply

STATUSES = {
    400: ValidationError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: SecretNotFoundError,
    405: UnsupportedOperationError,
    413: SecretTooLargeError,
    429: ThrottledError,
}


def test_each_status_has_its_error():
    """What is in no table is an outage, which may end: also what no server sends today."""
    for status in range(300, 600):
        reply = Reply(status, {}, b'{"errors": ["said by the server"]}')
        ours = translate(reply, "read", "k", where=" at http://h")
        assert type(ours) is STATUSES.get(status, BackendUnavailableError)


def test_both_kv_versions_keep_secrets(server, any_mount):
    with VaultSecretProvider(server.url, server.token, any_mount) as provider:
        provider.set_secret("a/b", "x")
        assert provider.get_secrets(["a/b", "c"]) == {"a/b": "x"}
        assert provider.list_secrets("a/") == ["a/b"]
        if provider._mount.known == 1:
            with pytest.raises(UnsupportedOperationError):
                provider.list_versions("a/b")
        provider.delete_secret("a/b")
        assert provider.list_secrets() == []


def test_reason_tells_deleted_from_destroyed(server, mount, provider):
    provider.set_secret("k", "1")
    provider.delete_secret("k")
    with pytest.raises(SecretNotFoundError) as deleted:
        provider.get_secret("k")
    server.client.secrets.kv.v2.destroy_secret_versions("k", [1], mount_point=mount)
    with pytest.raises(SecretNotFoundError) as destroyed:
        provider.get_secret("k")
    assert (deleted.value.reason, destroyed.value.reason) == ("deleted", "destroyed")


def test_other_fields_are_not_lost(server, mount, provider):
    server.client.secrets.kv.v2.create_or_update_secret(
        "k", {"user": "u", "password": "p"}, mount_point=mount
    )
    with pytest.raises(ValidationError):
        provider.set_secret("k", "plain")
    with VaultSecretProvider(server.url, server.token, mount, field="password") as one:
        one.set_secret("k", "new")
        assert one.get_secret("k") == "new"
    assert provider.get_secret("k") == '{"password": "new", "user": "u"}'


@pytest.mark.parametrize("value", ["{}", '{"value": "x"}', '{"other": "x", "value": "y"}', '{"one": ""}'])
def test_an_object_over_several_fields_is_read_as_it_was_written(server, any_mount, value):
    """Also one that has no member but `value`, which alone would be read as a text."""
    with VaultSecretProvider(server.url, server.token, any_mount, field="a") as one:
        one.set_secret("k", "1")
    with VaultSecretProvider(server.url, server.token, any_mount) as provider:
        provider.set_secret("k", value)
        assert provider.get_secret("k") == value


def test_a_field_that_is_missing_may_be_written_first(server, mount):
    """The secret itself is there, with what another tool keeps in it."""
    server.client.secrets.kv.v2.create_or_update_secret("k", {"user": "u"}, mount_point=mount)
    with VaultSecretProvider(server.url, server.token, mount, field="password") as one:
        with pytest.raises(ConflictError, match="secret 'k' has no field 'password'"):
            one.set_secret_if("k", "p", "1")
        assert one.set_secret_if("k", "p", None) == "2"
        with pytest.raises(ConflictError):
            one.set_secret_if("k", "q", None)
        assert one.set_secret_if("k", "q", "2") == "3"
    with VaultSecretProvider(server.url, server.token, mount) as whole:
        assert whole.get_secret("k") == '{"password": "q", "user": "u"}'


def test_check_makes_a_field_that_is_missing(server, mount, tmp_path):
    server.client.secrets.kv.v2.create_or_update_secret("db", {"user": "u"}, mount_point=mount)
    provider = {"type": "vault", "url": server.url, "token": server.token, "mount_point": mount}
    declared = {"DB_PASSWORD": {"key": "db", "generate": {"length": 20}}}
    spec = {
        "version": 1,
        "pipelines": {"app": {"provider": {**provider, "field": "password"}}},
        "secrets": declared,
    }
    (tmp_path / "strongroom.yaml").write_text(json.dumps(spec))
    assert main(["--spec", str(tmp_path / "strongroom.yaml"), "check", "--fix"]) == 0
    with VaultSecretProvider(server.url, server.token, mount) as whole:
        found = json.loads(whole.get_secret("db"))
    assert (found["user"], len(found["password"])) == ("u", 20)


def test_fields_that_are_deleted_at_once_are_all_deleted(server, mount):
    """Each deletion writes what is left: one that comes second reads again, as a write does."""
    names = [f"f{number}" for number in range(4)]
    server.client.secrets.kv.v2.create_or_update_secret("k", dict.fromkeys(names, "v"), mount_point=mount)
    providers = [VaultSecretProvider(server.url, server.token, mount, field=name) for name in names]
    meet = threading.Barrier(len(names))

    def delete(provider):
        with provider:
            read, first = provider._read, iter([True])

            def read_together(*args):
                found = read(*args)
                if next(first, False):
                    meet.wait(120)
                return found

            provider._read = read_together
            provider.delete_secret("k")

    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(delete, providers))
    with (
        VaultSecretProvider(server.url, server.token, mount) as whole,
        pytest.raises(SecretNotFoundError) as gone,
    ):
        whole.get_secret("k")
    assert gone.value.reason == "deleted"


def test_a_secret_of_which_only_metadata_were_written_has_no_versions(server, mount, provider):
    server.client.secrets.kv.v2.update_metadata("k", max_versions=3, mount_point=mount)
    for ask in (provider.get_secret, provider.describe_secret, provider.list_versions):
        with pytest.raises(SecretNotFoundError):
            ask("k")
    assert provider.list_secrets() == []
    provider.set_secret("k", "v")
    assert [one.version for one in provider.list_versions("k")] == ["1"]


@pytest.mark.parametrize("version", ["0", "00", "9" * 18, "9" * 19, "9" * 5000, "-1", "1.0", "x", ""])
def test_a_version_that_cannot_be_there_is_not_found(provider, version):
    provider.set_secret("k", "v")
    with pytest.raises(SecretNotFoundError):
        provider.get_secret_version("k", version)


@pytest.mark.parametrize(
    ("what", "expected"),
    [("write", SecretTooLargeError), ("encrypt with the transit key k", SecretTooLargeError)]
    + [(what, ValidationError) for what in ("issue", "renew a lease", "login")],
)
def test_only_a_value_is_too_large(what, expected):
    """An engine's role has limits, too: that of AWS a longest life."""
    said = b'{"errors": ["The requested DurationSeconds exceeds the MaxSessionDuration set for this role."]}'
    assert type(translate(Reply(400, {}, said), what, "k")) is expected


def test_conditional_write_conflicts(provider):
    assert provider.set_secret_if("k", "1", None) == "1"
    with pytest.raises(ConflictError, match="secret 'k' is at version 1; read it again"):
        provider.set_secret_if("k", "2", None)
    with pytest.raises(ConflictError, match="secret 'absent' is not there; read it again"):
        provider.set_secret_if("absent", "2", "1")


def test_wrong_mount_is_configuration(server):
    with (
        VaultSecretProvider(server.url, server.token, "nowhere") as provider,
        pytest.raises(ConfigurationError),
    ):
        provider.get_secret("k")


def test_denied_and_not_logged_in_differ(server, mount):
    token = server.client.auth.token.create(policies=["default"])["auth"]["client_token"]
    with VaultSecretProvider(server.url, token, mount) as denied, pytest.raises(PermissionDeniedError):
        denied.get_secret("k")
    with VaultSecretProvider(server.url, "bogus", mount) as bogus, pytest.raises(AuthenticationError):
        bogus.get_secret("k")


def test_dead_token_leads_to_a_new_login(server, mount):
    client = server.client
    client.sys.enable_auth_method("userpass", path=mount)
    client.auth.userpass.create_or_update_user("u", "pw", policies=["root"], mount_point=mount)
    client.sys.create_or_update_policy(
        mount, f'path "{mount}/*" {{ capabilities = ["create", "read", "update"] }}'
    )
    client.auth.userpass.create_or_update_user("u", "pw", policies=[mount], mount_point=mount)
    auth = {"method": "userpass", "username": "u", "password": "pw", "mount_point": mount}
    with VaultSecretProvider(server.url, auth=auth, mount_point=mount) as provider:
        provider.set_secret("k", "v")
        client.auth.token.revoke(provider._client.login._token)
        assert provider.get_secret("k") == "v"


def test_black_hole_ends_at_the_deadline():
    with socket.create_server(("127.0.0.1", 0)) as hole:
        provider = VaultSecretProvider(f"http://127.0.0.1:{hole.getsockname()[1]}", "t", timeout=0.3)
        ends_in_time(lambda: provider.get_secret("k"), BackendUnavailableError, 0.3)
        provider.close()


def test_diagnose_tells_who_is_logged_in(server, provider):
    report = provider.diagnose()
    assert report["identity"] == "token (root)"
    assert server.token not in repr(report)


@pytest.mark.parametrize(
    "options",
    [
        {"url": ""},
        {"url": None},
        {"mount_point": None},
        {"mount_point": "/"},
        {"kv_version": 3},
        {"kv_version": "2"},
        {"kv_version": True},
        {"auth": "approle"},
        {"client_key": "key.pem"},
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": float("nan")},
        {"max_connections": 0},
    ],
)
def test_options_that_make_no_sense_are_refused_at_once(options):
    with pytest.raises(ConfigurationError):
        VaultSecretProvider(**({"url": "http://127.0.0.1:1", "token": "t"} | options))


def test_a_version_that_is_no_text_is_not_there(provider):
    provider.set_secret("k", "v")
    with pytest.raises(SecretNotFoundError):
        provider.get_secret_version("k", 1)


def test_numbers_keep_their_text_on_version_1(server):
    """KV version 2 rounds beyond 2^53 when it stores; version 1 keeps every digit."""
    text = '{"a": 1.10, "b": 12345678901234567890, "c": 0.12345678901234567890123, "e": -0, "f": [1e5]}'
    server.client.sys.enable_secrets_engine("kv", path="numbers", options={"version": "1"})
    try:
        server.client.adapter.post("/v1/numbers/k", data=text)
        with VaultSecretProvider(server.url, server.token, "numbers") as provider:
            assert provider.get_secret("k") == text
        with VaultSecretProvider(server.url, server.token, "numbers", field="c") as one:
            assert one.get_secret("k") == "0.12345678901234567890123"
        with VaultSecretProvider(server.url, server.token, "numbers", field="new") as one:
            one.set_secret("k", "v")
        with VaultSecretProvider(server.url, server.token, "numbers") as provider:
            assert provider.get_secret("k") == text[:-1] + ', "new": "v"}'
    finally:
        server.client.sys.disable_secrets_engine("numbers")


@pytest.mark.parametrize("value", ['{"a": "\\ud800", "b": "x"}', '{"a": "1", "a": "2"}', '{"a": 1}', "[]"])
def test_an_object_that_the_server_would_change_is_refused(server, mount, provider, value):
    """It turns a lone surrogate into U+FFFD, and keeps one of two members of one name."""
    server.client.secrets.kv.v2.create_or_update_secret("k", {"a": "1", "b": "2"}, mount_point=mount)
    with pytest.raises(ValidationError):
        provider.set_secret("k", value)
    assert provider.get_secret("k") == '{"a": "1", "b": "2"}'


NAMES = [
    "a..b",
    "..c",
    "a..",
    "x...y",
    "x ",
    "  y",
    "q/ r",
    " ",
    "...",
    "a/...",
    "~x20",
    "a~xb",
    "a\u00a0b",
    "é",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_the_server_takes_are_used_as_they_are(server, mount, provider, name):
    """Whatever other tools called a secret, it is read and listed; others' escapes stay apart."""
    provider.set_secret(name, name)
    assert provider.get_secret(name) == name
    assert provider.list_secrets() == [name]
    assert provider.list_secrets(name[:1]) == [name]
    if "~x" not in name and name.isprintable():
        path = quote(name)
        assert server.client.adapter.get(f"/v1/{mount}/data/{path}")["data"]["data"]["value"] == name


def test_null_data_is_an_empty_object(server, mount, provider):
    """Another tool wrote `"data": null`, or patched it away: the server takes both, and reads with 200."""
    url, token = f"{server.url}/v1/{mount}/data", {"X-Vault-Token": server.token}
    provider.set_secrets({"patched": "x", "good": "g"})
    written = requests.post(f"{url}/written", json={"data": None}, headers=token)
    merge = {**token, "Content-Type": "application/merge-patch+json"}
    patched = requests.patch(f"{url}/patched", data='{"data": null}', headers=merge)
    assert (written.status_code, patched.status_code) == (200, 200)
    assert provider.get_secrets(["written", "patched", "good"]) == {
        "written": "{}",
        "patched": "{}",
        "good": "g",
    }
    assert provider.get_secret("written") == provider.get_secret_version("written", "1") == "{}"
    provider.set_secret("written", "v")
    assert provider.get_secret("written") == "v"
    with VaultSecretProvider(server.url, server.token, mount, field="password") as one:
        with pytest.raises(SecretNotFoundError):
            one.get_secret("patched")
        one.set_secret("patched", "p")
    assert provider.get_secret("patched") == '{"password": "p"}'


def test_more_strings_than_the_server_takes_are_too_large(server, mount, provider):
    many = json.dumps({f"k{number}": "v" for number in range(600)})
    server.client.secrets.kv.v2.create_or_update_secret("k", {"a": "1", "b": "2"}, mount_point=mount)
    with pytest.raises(SecretTooLargeError, match="maximum number of strings"):
        provider.set_secret("k", many)
    assert provider.get_secret("k") == '{"a": "1", "b": "2"}'


def test_errors_name_address_mount_and_the_servers_reason(server, mount):
    token = server.client.auth.token.create(policies=["default"])["auth"]["client_token"]
    host = server.url.removeprefix("http://")
    with (
        VaultSecretProvider(f"http://somebody:pass-word@{host}", token, mount) as provider,
        pytest.raises(PermissionDeniedError) as caught,
    ):
        provider.get_secret("k")
    assert f"at {server.url} (mount {mount})" in str(caught.value)
    assert "permission denied" in str(caught.value)
    assert "pass-word" not in str(caught.value)


def test_what_the_server_repeats_of_a_request_is_not_told():
    said = "cannot use hunter2-is-my-password here"
    assert shown(said, ["other"]) == said
    for sent in ("hunter2-is-my-password", "xx hunter2-is-my xx", "here", "my-password and more"):
        assert not shown(said, [sent])
    assert shown("e" * 300, []) == "e" * 200 + "…"


def test_no_answer_says_why(server):
    with socket.create_server(("127.0.0.1", 0)) as one:
        url = f"http://127.0.0.1:{one.getsockname()[1]}"
    with VaultSecretProvider(url, "t") as provider, pytest.raises(BackendUnavailableError) as caught:
        provider.get_secret("k")
    assert url in str(caught.value)
    assert "connection refused" in str(caught.value)


def test_a_list_takes_the_servers_time_and_not_that_of_this_host(provider, monkeypatch):
    provider.set_secret("k", "v")
    provider.set_secret("gone", "v")
    provider.delete_secret("gone")

    for days in (1, -1):
        shifted = type("Shifted", (dt.datetime,), {"now": classmethod(functools.partial(_now, days))})
        monkeypatch.setattr("strongroom_vault.versions.datetime", shifted)
        assert provider.list_secrets() == ["k"]


def _now(days, _, tz=None):
    return dt.datetime.now(tz) + dt.timedelta(days=days)


@pytest.mark.parametrize("status", [301, 302, 303])
@pytest.mark.parametrize("version", [1, 2])
def test_a_redirect_that_turns_a_write_into_a_read_is_no_success(server, status, version):
    """A GET of the same path, as many a client makes of it, says 200."""

    class Redirecting(http.server.BaseHTTPRequestHandler):
        def answer(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.command == "GET" and "list=" not in self.path:
                self.send_response(200)
                body = b'{"data": {"data": {"value": "x"}, "metadata": {"version": 1}}, "request_id": "r"}'
                self.send_header("Content-Length", str(len(body)))
            else:
                self.send_response(status)
                self.send_header("Location", self.path.partition("?")[0])
                body = b""
                self.send_header("Content-Length", "0")
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_LIST = do_DELETE = do_PUT = answer

        def log_message(self, *_):
            """Say nothing."""

    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Redirecting)
    thread = threading.Thread(target=made.serve_forever, args=(0.02,))
    thread.start()
    try:
        url = f"http://127.0.0.1:{made.server_port}"
        for destroy in (False, True):
            with VaultSecretProvider(
                url, server.token, kv_version=version, destroy_on_delete=destroy
            ) as provider:
                for call in (
                    lambda: provider.delete_secret("k"),
                    lambda: provider.set_secret("k", '{"data": "x"}'),
                ):
                    with pytest.raises((BackendUnavailableError, ValidationError), match="'k'"):
                        call()
    finally:
        made.shutdown()
        thread.join()
        made.server_close()


def test_many_descriptions_of_a_folder_take_one_request(server, mount):
    """As OpenBao lists metadata; a policy that does not allow it costs a request a key."""
    with VaultSecretProvider(server.url, server.token, mount) as provider:
        keys = [f"app/k{number}" for number in range(12)]
        provider.set_secrets(dict.fromkeys([*keys, "top", "app/sub/x"], "1"))
        provider.delete_secret("app/k3")
        asked = []
        call = provider._client.call
        provider._client.call = lambda method, path, *args, **kwargs: (
            asked.append(method),
            call(method, path, *args, **kwargs),
        )[1]
        found = provider.describe_secrets([*keys, "top", "absent/a", "absent/b", "absent/c"])
        assert asked.count("list") == 2
        assert len(asked) == 2 + 1 + 3
        assert sorted(found) == sorted({*keys, "top"} - {"app/k3"})
        assert found["app/k1"] == provider.describe_secret("app/k1")
        asked.clear()
        assert len(provider.describe_secrets(keys)) == len(keys) - 1
        assert asked == ["list"]  # the folder that is not there has not changed the way
        provider._lists_metadata = False
        assert provider.describe_secrets([*keys, "top"]) == found


def test_a_poll_of_watched_secrets_is_one_request(server, mount):
    """And a change of two of them comes in one call, with nothing asked for any key alone."""
    now, heard, asked = [0.0], [], []
    spec = {"version": 1, "pipelines": {"other": {"provider": {"type": "memory"}}}}
    with (
        VaultSecretProvider(server.url, server.token, mount) as provider,
        SecretProviderRegistry(spec) as own,
    ):
        own.register("app", provider, prefix="")
        keys = [f"app/k{number:03}" for number in range(50)]
        provider.set_secrets(dict.fromkeys(keys, "1"))
        watch = Watch(own, keys, heard.append, clock=lambda: now[0])
        watch.wake = lambda: None  # without a thread: this test says what the time is
        watch.start()
        call = provider._client.call
        provider._client.call = lambda method, path, *args, **kwargs: (
            asked.append(method),
            call(method, path, *args, **kwargs),
        )[1]
        for _ in range(3):
            assert watch.work() == 30.0
            now[0] += 30.0
        assert asked == ["list"] * 2  # the third is due now
        provider.set_secrets({"app/k007": "2", "app/k043": "2"})
        asked.clear()
        watch.work()
        assert asked == ["list"]
        assert [[(one.key, one.version) for one in batch] for batch in heard] == [
            [("app/k007", "2"), ("app/k043", "2")]
        ]
        watch.close()


@pytest.mark.parametrize("count", [1, 12])
def test_a_watch_reports_a_secret_whose_metadata_were_deleted_and_that_was_made_again(server, mount, count):
    """Its versions are counted from 1 again; whether it is described alone or with a folder, it is reported."""
    now, heard = [0.0], []
    spec = {"version": 1, "pipelines": {"other": {"provider": {"type": "memory"}}}}
    keys = [f"app/k{number:02}" for number in range(count)]
    with (
        VaultSecretProvider(server.url, server.token, mount, destroy_on_delete=True) as provider,
        SecretProviderRegistry(spec) as own,
    ):
        own.register("app", provider, prefix="")
        provider.set_secrets(dict.fromkeys(keys, "old"))
        watch = Watch(own, keys, heard.append, clock=lambda: now[0])
        watch.wake = lambda: None  # as above
        watch.start()
        provider.delete_secret(keys[0])
        provider.set_secret(keys[0], "new")
        for _ in range(3):
            now[0] += 30.0
            watch.work()
        watch.close()
    assert [[(one.key, one.version) for one in batch] for batch in heard] == [[(keys[0], "1")]]


@pytest.mark.parametrize("password", ["12/hunter", "hun?ter", "7/@x"])
def test_a_password_that_ends_the_address_is_refused_and_not_shown(password):
    """A parser takes what is before it for host and port, and errors show those."""
    with pytest.raises(ConfigurationError) as caught:
        VaultSecretProvider(f"http://user:{password}@127.0.0.1:8200", token="t")
    assert "holds a / or ?" in str(caught.value)
    assert not any(part in f"{caught.value!r} {caught.value}" for part in ("12", "hun", "7"))
