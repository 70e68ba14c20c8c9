"""Vault's KV version 2, sentence by sentence, by raw HTTP."""

from __future__ import annotations

import json
import math
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest
from served import ADMIN, WEB, spec_of
from strongroom import SecretProviderRegistry, SecretRotation
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConflictError,
    DecryptionError,
    PermissionDeniedError,
    SecretNotFoundError,
    ThrottledError,
    UnsupportedOperationError,
)
from strongroom.middleware.caching import CachingMiddleware
from strongroom.pipeline.fallback import FallbackProvider
from strongroom.providers import report_version
from strongroom.registry.watch import Watch
from strongroom_directory import DirectorySecretProvider
from strongroom_memory import MemorySecretProvider
from strongroom_vault import VaultSecretProvider

CAS = {"errors": ["check-and-set parameter did not match the current version"]}
ABSENT = {"errors": []}


def test_a_value_is_written_and_read_in_vaults_envelope(served):
    server = served()
    written = server.put("app/x", "hello")
    assert written.status == 200
    metadata = written.data
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", metadata.pop("created_time"))
    assert metadata == {"custom_metadata": None, "deletion_time": "", "destroyed": False, "version": 1}
    read = server.get("app/x")
    assert read.status == 200
    assert read.headers["cache-control"] == "no-store"
    whole = read.json()
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", whole.pop("request_id"))
    assert whole["data"]["data"] == {"value": "hello"}
    assert whole["data"]["metadata"]["version"] == 1
    assert whole["data"]["metadata"]["deletion_time"] == ""
    del whole["data"]
    assert whole == {
        "lease_id": "",
        "renewable": False,
        "lease_duration": 0,
        "wrap_info": None,
        "warnings": None,
        "auth": None,
    }


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("plain", {"value": "plain"}),
        ("", {"value": ""}),
        ("{}", {"value": "{}"}),
        ('{"value": "x"}', {"value": '{"value": "x"}'}),
        ('{"user": "u", "password": "p"}', {"user": "u", "password": "p"}),
        ('{"value": "x", "user": "u"}', {"value": "x", "user": "u"}),
        (' {"user":"u"}\n', {"user": "u"}),
        ('{"port": 5}', {"value": '{"port": 5}'}),
        ('{"a": "1", "a": "2"}', {"value": '{"a": "1", "a": "2"}'}),
        ('{"a": "\\ud800"}', {"value": '{"a": "\\ud800"}'}),
        ('["a"]', {"value": '["a"]'}),
        ("{" * 5000, {"value": "{" * 5000}),
        ("zwölf\n\0\u2028", {"value": "zwölf\n\0\u2028"}),
    ],
)
def test_how_a_text_is_answered(served, text, members):
    server = served()
    server.registry.set_secret("k", text)
    assert server.get("k").data["data"] == members


def test_how_members_are_stored(served):
    server = served()
    assert server.put("one", {"value": "x"}).status == 200
    assert server.registry.get_secret("one") == "x"
    assert server.put("two", {"user": "ü", "value": "x"}).status == 200
    assert server.registry.get_secret("two") == '{"user": "ü", "value": "x"}'
    assert server.put("none", {}).status == 200
    assert server.registry.get_secret("none") == "{}"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"{}",
        b'{"data": null}',
        b'{"data": {"a": 1}}',
        b'{"data": {"a": null}}',
        b'{"data": {"a": "\\ud800"}}',
        b'{"data": {"a": "b"}, "options": 1}',
        b'{"data": {"a": "b"}, "options": {"cas": "1x"}}',
        b'{"data": {"a": "b"}, "options": {"cas": -1}}',
        b'{"data": {"a": "b"}, "options": {"cas": true}}',
        b"[" * 100_000,
    ],
    ids=lambda body: body[:40].decode("latin-1"),
)
def test_a_bad_body_is_400_with_a_reason_and_stores_nothing(served, body):
    server = served()
    reply = server.ask("POST", "/v1/secret/data/k", body=body)
    assert (reply.status, len(reply.json()["errors"])) == (400, 1)
    assert server.registry.list_secrets() == []


def test_what_is_not_there_is_404_and_its_deletion_204(served):
    server = served()
    for method, path in [
        ("GET", "data/no"),
        ("GET", "data/no?version=1"),
        ("GET", "metadata/no"),
        ("LIST", "metadata/no"),
        ("LIST", "metadata/"),
        ("GET", "metadata/?list=true"),
    ]:
        reply = server.ask(method, f"/v1/secret/{path}")
        assert (reply.status, reply.json()) == (404, ABSENT)
    assert server.ask("DELETE", "/v1/secret/data/no").status == 204
    assert server.ask("DELETE", "/v1/secret/metadata/no").status == 204


def test_names_and_folders_are_listed_as_vault_does(served):
    server = served()
    for key in ("a", "b/c", "b/d/e", "b d", "b"):
        server.put(key.replace(" ", "%20"), "x")
    for ask in (("LIST", "metadata"), ("LIST", "metadata/"), ("GET", "metadata/?list=true")):
        assert server.ask(ask[0], f"/v1/secret/{ask[1]}").data == {"keys": ["a", "b", "b d", "b/"]}
    assert server.ask("LIST", "/v1/secret/metadata/b").data == {"keys": ["c", "d/"]}
    assert server.ask("LIST", "/v1/secret/metadata/b/").data == {"keys": ["c", "d/"]}
    assert server.ask("LIST", "/v1/secret/metadata/?after=a&limit=1").data == {"keys": ["b"]}
    for limit in ("0", "-1"):  # -1 is what OpenBao's documentation gives as the default
        assert len(server.ask("LIST", f"/v1/secret/metadata/?limit={limit}").data["keys"]) == 4
    for limit in ("-", "--1", "1.0", "x"):
        assert server.ask("LIST", f"/v1/secret/metadata/?limit={limit}").status == 400


def test_a_list_is_asked_for_by_every_spelling_of_true(served):
    server = served()
    server.put("a/b", "x")
    for text in ("true", "True", "TRUE", "t", "T", "1"):
        assert server.ask("GET", f"/v1/secret/metadata/a?list={text}").data == {"keys": ["b"]}
    for text in ("false", "0", "F", ""):
        assert server.ask("GET", f"/v1/secret/metadata/a/b?list={text}").data["current_version"] == 1
    assert server.ask("GET", "/v1/secret/metadata/a?list=yes").status == 400
    assert server.ask("GET", "/v1/secret/data/a/b?list=true").status == 405


def test_metadata_are_those_that_openbao_gives(served):
    server = served()
    server.put("k", "one")
    server.put("k", "two")
    metadata = server.ask("GET", "/v1/secret/metadata/k").data
    assert list(metadata["versions"]) == ["1", "2"]
    assert metadata["versions"]["1"].keys() == {"created_time", "deletion_time", "destroyed"}
    del metadata["versions"], metadata["created_time"], metadata["updated_time"]
    assert metadata == {
        "cas_required": False,
        "current_metadata_version": 0,
        "current_version": 2,
        "custom_metadata": None,
        "delete_version_after": "0s",
        "max_versions": 0,
        "metadata_cas_required": False,
        "oldest_version": 0,
    }


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "undelete/k"),
        ("PUT", "destroy/k"),
        ("GET", "config"),
        ("POST", "config"),
        ("GET", "subkeys/k"),
        ("POST", "delete/k"),
        ("LIST", "detailed-metadata/k"),
        ("PATCH", "data/k"),
        ("PATCH", "metadata/k"),
        ("POST", "metadata/k"),
        ("PUT", "metadata/k"),
        ("LIST", "data/k"),
        ("HEAD", "data/k"),
    ],
)
def test_what_is_not_offered_is_405_and_says_so(served, method, path):
    reply = served().ask(method, f"/v1/secret/{path}", body={} if method != "GET" else None)
    assert reply.status == 405
    if method != "HEAD":
        assert reply.json()["errors"][0].startswith("unsupported operation: ")


def test_what_nobody_has_below_the_mount_is_absent(served):
    server = served()
    for path in ("/v1/secret", "/v1/secret/", "/v1/secret/nothing", "/v1/secret/nothing/k"):
        assert (server.ask("GET", path).status, server.ask("GET", path).json()) == (404, ABSENT)


def test_an_answer_to_head_has_no_body_and_leaves_no_line(served, caplog):
    server = served()
    for path, status in (("/v1/sys/health", 200), ("/healthz", 200), ("/v1/secret/data/k", 405)):
        reply = server.ask("HEAD", path)
        assert (reply.status, reply.body) == (status, b"")
        assert int(reply.headers["content-length"]) > 0
    assert caplog.records == []


# --- versions ---


def test_versions_are_numbered_by_their_place_and_counted_on(served):
    """Memory counts for all keys together, and keeps two of each here."""
    server = served(spec_of(provider={"type": "memory", "max_versions": 2}))
    server.put("other", "x")
    assert [server.put("k", f"v{number}").data["version"] for number in range(1, 5)] == [1, 2, 3, 4]
    assert server.get("k").data["metadata"]["version"] == 4
    assert server.ask("GET", "/v1/secret/data/k?version=3").data["data"] == {"value": "v3"}
    assert server.ask("GET", "/v1/secret/data/k?version=0").data["data"] == {"value": "v4"}
    for gone in (1, 2, 5, 10**17):
        assert server.ask("GET", f"/v1/secret/data/k?version={gone}").status == 404
    metadata = server.ask("GET", "/v1/secret/metadata/k").data
    assert (metadata["current_version"], list(metadata["versions"]), metadata["oldest_version"]) == (
        4,
        ["3", "4"],
        3,
    )


@pytest.mark.parametrize("version", ["x", "-1", "1.0", "", "%31%30x", "9" * 30, "٣"])
def test_a_version_that_is_no_number_is_400(served, version):
    server = served()
    assert server.raw(
        f"GET /v1/secret/data/k?version={version} HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: {ADMIN}\r\n"
        "Connection: close\r\n\r\n".encode()
    ).startswith(b"HTTP/1.1 400 ")


def test_cas_takes_the_number_for_the_version_that_it_stood_for(served):
    server = served()
    assert server.put("k", "one", cas=0).data["version"] == 1
    assert (server.put("k", "x", cas=0).status, server.put("k", "x", cas=0).json()) == (400, CAS)
    assert server.put("k", "two", cas=1).data["version"] == 2
    assert server.put("k", "x", cas=1).json() == CAS
    assert server.put("k", "x", cas=7).json() == CAS
    assert server.registry.get_secret("k") == "two"
    server.registry.set_secret("k", "by another")
    assert server.put("k", "x", cas=2).json() == CAS
    assert server.get("k").data["metadata"]["version"] == 3
    assert server.put("k", "three", cas=3).status == 200


@pytest.mark.parametrize("why", [BackendUnavailableError("down"), PermissionDeniedError("not for you")])
def test_a_write_with_cas_is_answered_as_done_though_its_history_cannot_be_had(served, why):
    """A token of a backend may write, and not see versions: who is told of an error would write again."""
    provider = MemorySecretProvider()
    server = served(of_provider(provider))
    assert server.put("own/k", "one", cas=0).data["version"] == 1
    listed = provider.list_versions

    def refuse(key):
        raise why

    provider.list_versions = refuse
    assert server.put("own/k", "two", cas=1).data["version"] == 2
    assert server.put("own/k", "x", cas=1).json() == CAS
    assert server.put("own/k", "three", cas=2).data["version"] == 3
    provider.list_versions = listed
    assert server.get("own/k").data["data"] == {"value": "three"}
    assert server.get("own/k").data["metadata"]["version"] == 3
    assert server.put("own/k", "four", cas=3).data["version"] == 4


def test_cas_is_read_from_text_and_null_is_0(served):
    """As OpenBao reads it: who sends one, in whatever form, never writes over what it has not seen."""
    server = served()

    def put(cas):
        return server.ask(
            "POST", "/v1/secret/data/k", body={"data": {"value": "x"}, "options": {"cas": cas}}
        ).status

    assert [put("0"), put(None), put("1"), put(2)] == [200, 400, 200, 200]


def test_cas_of_a_number_that_was_never_given_is_refused(served):
    """As after a restart: what a client holds from before stands for a version that nobody remembers."""
    server = served()
    server.registry.set_secret("k", "one")
    assert server.put("k", "x", cas=1).json() == CAS
    assert server.get("k").data["metadata"]["version"] == 1
    assert server.put("k", "two", cas=1).status == 200


def test_a_stale_value_has_the_number_of_its_own_version(served):
    """Else a client would write over what it has not seen."""
    spec = spec_of()
    spec["pipelines"]["app"]["middleware"] = [{"type": "caching", "ttl_seconds": 300}]
    server = served(spec)
    server.put("k", "one")
    server.get("k")
    inner = server.registry.pipeline("app")
    while hasattr(inner, "inner"):
        inner = inner.inner
    inner.set_secret("k", "two")  # as another host does it: the cache here does not hear of it
    read = server.get("k").data
    assert (read["data"], read["metadata"]["version"]) == ({"value": "one"}, 1)
    server.backend.numbers._known.clear()  # as where it was not asked for by anybody for long
    read = server.get("k").data
    assert (read["data"], read["metadata"]["version"]) == ({"value": "one"}, 1)
    assert server.put("k", "x", cas=1).json() == CAS
    read = server.get("k").data  # the refusal made the cache forget
    assert (read["data"], read["metadata"]["version"]) == ({"value": "two"}, 2)
    assert server.put("k", "three", cas=2).status == 200


def test_the_agent_gives_a_stale_value_with_the_id_of_its_own_version(served):
    spec = spec_of()
    spec["pipelines"]["app"]["middleware"] = [{"type": "caching", "ttl_seconds": 300}]
    server = served(spec)
    inner = server.registry.pipeline("app")
    while hasattr(inner, "inner"):
        inner = inner.inner
    inner.set_secret("k", "one")

    def told(more=""):
        said = server.ask("GET", f"/secretsmanager/get?secretId=k{more}", headers=AGENT).json()
        return said["SecretString"], said["VersionId"], said["VersionStages"], float(said["CreatedDate"]) > 0

    old = inner.list_versions("k")[0].version
    assert told() == ("one", old, ["AWSCURRENT"], True)
    inner.set_secret("k", "two")  # as another host does it: the cache here does not hear of it
    new = inner.list_versions("k")[0].version
    assert told() == ("one", old, ["AWSCURRENT"], True)
    server.backend.numbers._known.clear()
    assert told() == ("one", old, ["AWSCURRENT"], True)
    assert told("&refreshNow=true") == ("two", new, ["AWSCURRENT"], True)
    assert told(f"&versionId={old}") == ("one", old, ["AWSPREVIOUS"], True)


def test_the_same_value_written_again_elsewhere_does_not_make_cas_fail_for_ever(served):
    server = served()
    server.put("k", "same")
    server.registry.set_secret("k", "same")
    assert server.put("k", "x", cas=1).json() == CAS
    number = server.get("k").data["metadata"]["version"]
    assert number == 2
    assert server.put("k", "new", cas=number).status == 200


class Four:
    """A backend with the four methods alone."""

    def __init__(self, **values):
        self.values, self.asked = dict(values), []

    def get_secret(self, key):
        self.asked.append(key)
        if key not in self.values:
            raise KeyError(key)
        return self.values[key]

    def set_secret(self, key, value):
        self.values[key] = value

    def delete_secret(self, key):
        if key not in self.values:
            raise KeyError(key)
        del self.values[key]

    def list_secrets(self, prefix=""):
        return sorted(key for key in self.values if key.startswith(prefix))


def of_provider(provider, *clients):
    registry = SecretProviderRegistry(spec_of(*clients))
    registry.register("own", provider, prefix="own/")
    return registry


def test_without_versions_every_secret_is_version_1(served):
    server = served(of_provider(Four()))
    assert server.put("own/k", "one").data["version"] == 1
    assert server.put("own/k", "two").data["version"] == 1
    assert server.get("own/k").data["metadata"]["version"] == 1
    assert server.ask("GET", "/v1/secret/data/own/k?version=1").data["data"] == {"value": "two"}
    assert server.ask("GET", "/v1/secret/data/own/k?version=2").status == 404
    metadata = server.ask("GET", "/v1/secret/metadata/own/k").data
    assert (metadata["current_version"], list(metadata["versions"])) == (1, ["1"])
    assert server.ask("GET", "/v1/secret/metadata/own/no").json() == ABSENT
    for cas in (0, 1):
        assert server.put("own/k", "x", cas=cas).json() == CAS


class FirstVersion(Four):
    """A backend that has versions only by its methods, as `vault` at a mount of KV version 1."""

    def refuse(self, *_):
        raise UnsupportedOperationError("no versions")

    describe_secret = list_versions = get_secret_version = set_secret_if = refuse


@pytest.mark.parametrize("kind", [Four, FirstVersion, DirectorySecretProvider])
def test_strongrooms_own_provider_writes_to_a_pipeline_without_versions(served, tmp_path, kind):
    """It compares versions where there are any; without, it writes over what is there, as any client may."""
    comparing = kind is DirectorySecretProvider
    server = served(of_provider(kind(tmp_path, writable=True) if comparing else kind()))
    with VaultSecretProvider(server.url, ADMIN) as ours:
        for value in ("one", "two", '{"a": "b"}', "three"):
            ours.set_secret("own/k", value)
            assert ours.get_secret("own/k") == value
        with pytest.raises(ConflictError):
            ours.set_secret_if("own/k", "x", None)
        with pytest.raises(UnsupportedOperationError, match="no conditional write for 'own/k'"):
            ours.set_secret_if("own/k", "x", "1")
        rotation = SecretRotation(ours, apply=lambda key, old, new: None)
        with nullcontext() if comparing else pytest.warns(UserWarning, match="no conditional writes"):
            assert rotation.rotate("own/k").state == "current"
        assert ours.get_secret("own/k") != "three"
    refused = [one.error_type for one in server.recorder.events if one.outcome == "error"]
    assert {"ConflictError"} <= set(refused) <= {"ConflictError", "UnsupportedOperationError"}


@pytest.mark.parametrize("dated", [False, True])
def test_strongrooms_own_provider_watches_a_pipeline_without_versions(served, tmp_path, dated):
    """Each version is 1: what changes is the date; without dates, which are not made up, the value."""
    provider = {"type": "directory", "path": str(tmp_path), "writable": True}
    server = served(spec_of(provider=provider) if dated else of_provider(Four()))
    now, heard = [0.0], []
    with VaultSecretProvider(server.url, ADMIN) as ours, SecretProviderRegistry(spec_of()) as registry:
        ours.set_secrets({"own/k": "one", "own/l": "one"})
        metadata = ours.describe_secret("own/k")
        assert (metadata.updated_at is not None, metadata.created_at is not None) == (dated, dated)
        registry.register("far", ours, prefix="own/")
        watch = Watch(registry, ["own/k", "own/l"], heard.append, clock=lambda: now[0])
        watch.wake = lambda: None  # without a thread: this test says what the time is
        watch.start()
        ours.set_secret("own/k", "two")
        registry.set_secret("own/l", "two")
        for _ in range(5):
            now[0] += 30.0
            watch.work()
        watch.close()
    version = "1" if dated else None
    assert sorted((one.key, one.version) for batch in heard for one in batch) == [
        ("own/k", version),
        ("own/l", version),
    ]


class Telling(MemorySecretProvider):
    """A backend that numbers versions from 1 on, and tells with a value which one it is; as `vault` does."""

    def __init__(self, **options):
        super().__init__(**options)
        self.asked, self.goes_on = [], threading.Event()
        self.goes_on.set()

    def get_secret(self, key):
        self.asked.append("get")
        self.goes_on.wait(300)
        value = super().get_secret(key)
        versions = super().list_versions(key)
        report_version(value, versions[0], len(versions))
        return value

    def list_versions(self, key):
        self.asked.append("list")
        return super().list_versions(key)

    def get_secret_version(self, key, version):
        self.asked.append("get version")
        return super().get_secret_version(key, version)


@pytest.fixture
def telling(served):
    provider = Telling()
    server = served(of_provider(provider))
    for value in ("one", "two"):
        provider.set_secret("own/k", value)
    return provider, server


def test_many_who_ask_for_one_cold_key_are_one_request_to_the_backend(served):
    """Which version it is comes with it, where the backend tells."""
    provider = Telling(secrets={"k": "two"})
    provider.goes_on.clear()
    registry = SecretProviderRegistry(spec_of())
    middleware = CachingMiddleware(provider, ttl_seconds=300)
    registry.register("own", middleware, prefix="own/")
    provider.set_secret("own/k", "one")
    provider.set_secret("own/k", "two")
    server = served(registry)
    request = f"GET /v1/secret/data/own/k HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: {ADMIN}\r\nConnection: close\r\n\r\n"
    with ThreadPoolExecutor(40) as threads:
        answers = [threads.submit(server.raw, request.encode()) for _ in range(40)]
        until = time.monotonic() + 60
        while server.backend.requests < 40 and time.monotonic() < until:
            time.sleep(0.01)  # the server tells of it in no other way
        provider.goes_on.set()
        bodies = [json.loads(one.result().partition(b"\r\n\r\n")[2])["data"] for one in answers]
    assert [(one["data"], one["metadata"]["version"]) for one in bodies] == [({"value": "two"}, 2)] * 40
    assert provider.asked == ["get"]


def test_a_number_that_came_with_a_value_stands_for_its_version(telling):
    provider, server = telling
    assert server.get("own/k").data["metadata"]["version"] == 2
    assert provider.asked == ["get"]
    assert server.ask("GET", "/v1/secret/data/own/k?version=1").data["data"] == {"value": "one"}
    assert server.put("own/k", "x", cas=1).json() == CAS
    assert server.put("own/k", "three", cas=2).data["version"] == 3
    provider.set_secret("own/k", "four")
    provider.set_secret("own/k", "five")
    del provider.asked[:]
    assert server.get("own/k").data["metadata"]["version"] == 5
    assert provider.asked == ["get"]
    versions = server.ask("GET", "/v1/secret/metadata/own/k").data["versions"]
    assert list(versions) == ["1", "2", "3", "4", "5"]
    assert server.put("own/k", "x", cas=4).json() == CAS
    assert server.put("own/k", "six", cas=5).data["version"] == 6


def test_numbers_that_were_counted_are_not_mixed_with_those_that_come_with_values(telling):
    """Where the backend had dropped some before it was first asked for all, its places are others."""
    provider, server = telling
    listed = provider.list_versions
    provider.list_versions = lambda key: listed(key)[:1]  # the oldest is gone
    assert list(server.ask("GET", "/v1/secret/metadata/own/k").data["versions"]) == ["1"]
    assert server.get("own/k").data["metadata"]["version"] == 1
    provider.set_secret("own/k", "three")
    provider.list_versions = lambda key: listed(key)[:2]
    assert server.get("own/k").data["metadata"]["version"] == 2
    assert server.put("own/k", "x", cas=1).json() == CAS
    assert server.put("own/k", "four", cas=2).status == 200


def test_what_another_member_of_a_fallback_tells_is_not_a_version_of_the_first(served):
    provider = Telling()
    registry = SecretProviderRegistry(spec_of())
    fallback = FallbackProvider(MemorySecretProvider(), others=[provider], when=frozenset({"not_found"}))
    registry.register("own", fallback, prefix="own/")
    server = served(registry)
    for value in ("one", "two"):
        provider.set_secret("own/k", value)
    assert server.get("own/k").data["metadata"]["version"] == 1


class Deleted(Four):
    """A backend that tells that a secret was deleted."""

    reason = "deleted"

    def get_secret(self, key):
        raise SecretNotFoundError(key, reason=self.reason)


@pytest.mark.parametrize("reason", ["deleted", "destroyed"])
def test_a_deleted_secret_is_404_with_vaults_body(served, reason):
    provider = Deleted()
    provider.reason = reason
    reply = served(of_provider(provider)).get("own/k")
    assert reply.status == 404
    assert reply.data["data"] is None
    metadata = reply.data["metadata"]
    assert metadata["deletion_time"] != ""
    assert metadata["destroyed"] is (reason == "destroyed")
    assert metadata["version"] == 1


# --- errors ---


class Failing(Four):
    error: Exception = RuntimeError("password123")

    def get_secret(self, key):
        raise self.error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BackendUnavailableError("down"), 503),
        (AuthenticationError("not logged in"), 503),
        (PermissionDeniedError("no"), 403),
        (ThrottledError("slow down", retry_after=7.2), 429),
        (DecryptionError("wrong key"), 500),
        (RuntimeError("password123"), 500),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, Exception) else str(one),
)
def test_each_error_has_its_status_and_none_shows_a_text_that_is_not_ours(served, error, status, caplog):
    provider = Failing()
    provider.error = error
    reply = served(of_provider(provider)).get("own/k")
    assert reply.status == status
    assert "password123" not in reply.body.decode() + caplog.text
    if status == 429:
        assert reply.headers["retry-after"] == "8"


@pytest.mark.parametrize(
    ("asked", "told"), [(None, "1"), (0, "1"), (math.inf, "86400"), (math.nan, "1"), (-5, "1")]
)
def test_any_time_that_a_backend_asks_to_wait_is_told_as_seconds(served, asked, told):
    provider = Failing()
    provider.error = ThrottledError("slow down", retry_after=asked)
    reply = served(of_provider(provider)).get("own/k")
    assert (reply.status, reply.headers["retry-after"]) == (429, told)


def test_a_key_that_no_pipeline_answers_is_absent(served):
    spec = spec_of()
    spec["pipelines"]["b"] = {"provider": {"type": "memory"}}
    spec["routes"] = [{"prefix": "b/", "pipeline": "b"}]
    server = served(spec)
    assert server.get("a").json() == ABSENT
    assert server.put("b/x", "1").status == 200


def test_a_value_that_validation_refuses_is_400_without_the_value(served):
    server = served(spec_of(middleware=[{"type": "validation", "min_length": 12}]))
    reply = server.put("k", "short-pw")
    assert reply.status == 400
    assert "short-pw" not in reply.body.decode()


# --- events ---


def test_each_operation_is_an_event_whose_actor_is_the_client(served):
    server = served(spec_of({"name": "web", "token": WEB, "allow": ["app/*"], "operations": ["get", "set"]}))
    server.put("app/k", "one", token=WEB)
    server.get("app/k", token=WEB)
    server.get("app/none", token=WEB)
    server.get("other", token=WEB)
    server.put("app/k", "x", token=WEB, cas=9)
    events = [(one.operation, one.key, one.actor, one.outcome) for one in server.recorder.events]
    assert events == [
        ("set", "app/k", "web", "ok"),
        ("get", "app/k", "web", "ok"),
        ("get", "app/none", "web", "not_found"),
        ("get", "other", "web", "denied"),
        ("set", "app/k", "web", "error"),
    ]


class WithoutHistory(MemorySecretProvider):
    """A backend whose versions cannot be asked for at present."""

    def list_versions(self, key):
        raise BackendUnavailableError("down")


AGENT = {"X-Aws-Parameters-Secrets-Token": ADMIN}


@pytest.mark.parametrize(
    ("provider", "path", "status", "outcome"),
    [
        (MemorySecretProvider, "/v1/secret/data/own/k?version=7", 404, "not_found"),
        (MemorySecretProvider, "/secretsmanager/get?secretId=own/k&versionId=7", 404, "not_found"),
        (
            MemorySecretProvider,
            "/secretsmanager/get?secretId=own/k&versionStage=AWSPENDING",
            404,
            "not_found",
        ),
        (Four, "/v1/secret/data/own/k?version=7", 404, "not_found"),
        (Four, "/secretsmanager/get?secretId=own/k&versionId=7", 404, "not_found"),
        (WithoutHistory, "/v1/secret/data/own/k?version=7", 503, "error"),
        (WithoutHistory, "/secretsmanager/get?secretId=own/k&versionId=7", 503, "error"),
    ],
)
def test_a_version_that_is_not_given_is_an_event(served, provider, path, status, outcome):
    server = served(of_provider(provider()))
    server.put("own/k", "one")
    server.recorder.events.clear()
    assert server.ask("GET", path, headers=AGENT).status == status
    events = [(one.operation, one.key, one.actor, one.outcome) for one in server.recorder.events]
    assert events == [("get", "own/k", "all", outcome)]


def test_a_value_is_in_no_event_and_not_in_the_memory_of_numbers(served):
    server = served()
    server.put("k", "value-that-must-not-stay")
    server.get("k")
    histories = [
        [getattr(one, name) for name in one.__slots__] for one in server.backend.numbers._known.values()
    ]
    assert histories
    kept = repr([server.recorder.events, histories, server.app.metrics.__dict__])
    assert "value-that-must-not-stay" not in kept
    assert json.dumps(kept)
