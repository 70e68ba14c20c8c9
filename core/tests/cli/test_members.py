"""A member that is added to a secret in JSON while others write there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from strongroom import SecretProviderRegistry, generate_key
from strongroom.backends import MemorySecretProvider
from strongroom.cli.app import run_app
from strongroom.cli.declared.members import add_member, put_member
from strongroom.errors import (
    ConflictError,
    PermissionDeniedError,
    SecretNotFoundError,
    UnsupportedOperationError,
    ValidationError,
)
from strongroom.middleware import CachingMiddleware
from strongroom_file import FileSecretProvider


class Busy(MemorySecretProvider):
    """Others write `theirs` right before a write of ours, as often as there is something in it."""

    def __init__(self, *theirs):
        super().__init__()
        self.theirs = list(theirs)

    def set_secret_if(self, key, value, expected_version):
        if self.theirs:
            self.set_secret(key, self.theirs.pop(0))
        return super().set_secret_if(key, value, expected_version)


class Unconditional(MemorySecretProvider):
    def set_secret_if(self, key, value, expected_version):
        raise UnsupportedOperationError("no conditional writes")


def registry_of(provider):
    registry = SecretProviderRegistry({"version": 1, "pipelines": {"own": {"provider": {"type": "memory"}}}})
    registry.register("busy", provider, prefix="b/")
    return registry


def test_what_others_wrote_meanwhile_stays():
    registry = registry_of(Busy('{"a": "1"}', '{"a": "1", "b": "2"}'))
    assert add_member(registry, "b/k", "ours", "v") == "v"
    assert json.loads(registry.get_secret("b/k")) == {"a": "1", "b": "2", "ours": "v"}


def test_the_member_that_another_process_made_counts():
    registry = registry_of(Busy('{"ours": "theirs"}'))
    assert add_member(registry, "b/k", "ours", "v") == "theirs"
    assert registry.get_secret("b/k") == '{"ours": "theirs"}'


def test_endless_writes_of_others_are_told():
    registry = registry_of(Busy(*(f'{{"n": {n}}}' for n in range(9))))
    with pytest.raises(ConflictError):
        add_member(registry, "b/k", "ours", "v")


def test_without_conditional_writes_it_is_written_all_the_same():
    registry = registry_of(Unconditional())
    assert add_member(registry, "b/k", "ours", "v") == "v"
    assert registry.get_secret("b/k") == '{"ours": "v"}'


def test_text_is_not_replaced():
    registry = registry_of(MemorySecretProvider())
    registry.set_secret("b/k", "plain")
    with pytest.raises(ValidationError):
        add_member(registry, "b/k", "ours", "v")
    assert registry.get_secret("b/k") == "plain"
    with pytest.raises(SecretNotFoundError):
        registry.get_secret("b/none")


FIELDS = """\
version: 1
pipelines: {app: {provider: {type: file, file_path: secrets.enc, key_file: app.key}}}
secrets:
  DB_USER: {key: db, field: username}
  DB_PASSWORD: {key: db, field: password}
  FIRST: {key: shared}
  SECOND: {key: shared}
"""


@pytest.fixture
def fields(in_process):
    run = in_process(FIELDS)
    Path("app.key").write_text(generate_key())
    Path("app.key").chmod(0o600)
    return run


def test_import_puts_names_with_a_field_into_one_object(fields):
    """Each is stored; before, the last was all that was stored, and none could be read."""
    Path(".env").write_text("DB_USER=bob\nDB_PASSWORD=hunter22\n")
    assert fields("import", ".env", "--dry-run")[:2] == (0, "KEY  WHAT\ndb   copy\n")
    assert fields("import", ".env")[0] == 0
    assert fields("get", "DB_USER", "DB_PASSWORD")[1] == "DB_USER=bob\nDB_PASSWORD=hunter22\n"
    # Again: nothing is another value, however the object is written.
    fields("set", "db", '{ "password":"hunter22",  "username": "bob" }')
    assert fields("import", ".env")[1] == "0 stored, 0 replaced, 1 were there already\n"


def test_import_leaves_the_other_members_in_place(fields):
    fields("set", "db", '{"username": "amy", "port": 5.10}')
    Path(".env").write_text("DB_USER=bob\nDB_PASSWORD=hunter22\n")
    code, _, said = fields("import", ".env")
    assert code == 8
    assert "hunter22" not in said
    assert fields("import", ".env", "--overwrite")[0] == 0
    assert fields("get", "db")[1] == '{"username": "bob", "port": 5.10, "password": "hunter22"}'


def test_import_does_not_replace_a_text_by_an_object(fields):
    fields("set", "db", "one-text")
    Path(".env").write_text("DB_USER=bob\n")
    code, _, said = fields("import", ".env", "--overwrite")
    assert (code, "not a JSON object" in said) == (2, True)
    assert fields("get", "db")[1] == "one-text"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"FIRST": "v-1", "SECOND": "v-2"}, "FIRST and SECOND are both at 'shared', with different values"),
        ({"shared": "v-1", "FIRST": "v-2"}, "shared and FIRST are both at 'shared', with different values"),
        ({"db": "{}", "DB_USER": "v-2"}, "DB_USER is a field of 'db', and db is all of it"),
        ({"a//b": "v-1"}, "invalid key 'a//b'"),
    ],
)
def test_import_tells_names_that_would_replace_each_other(fields, written, said):
    """With the file in front, and never a value."""
    Path("in.json").write_text(json.dumps(written))
    code, _, message = fields("import", "in.json")
    assert code == 2
    assert f"error: in.json: {said}" in message
    assert "v-" not in message
    assert fields("list")[1] == ""


def test_import_takes_one_value_for_two_names_of_one_key(fields):
    Path(".env").write_text("FIRST=same\nSECOND=same\n")
    assert fields("import", ".env")[:2] == (0, "1 stored, 0 replaced, 0 were there already\n")
    assert fields("get", "SECOND")[1] == "same"


def test_a_missing_member_is_not_taken_for_a_misspelt_key(fields):
    fields("set", "db", '{"username": "amy"}')
    said = "error: secret 'db' has no field 'password'; `strongroom get 'db'` shows all that it has\n"
    assert fields("get", "DB_PASSWORD") == (3, "", said)


def test_run_names_each_secret_whose_value_has_no_fields(fields):
    fields("set", "db", "one-text")
    code, _, said = fields("run", "--only", "DB_USER,DB_PASSWORD", "--", "true")
    assert code == 2
    assert "2 of 2 declared secrets cannot be used: DB_USER: 'db' has no fields" in said
    assert "; DB_PASSWORD: 'db' has no fields" in said
    assert "one-text" not in said


CACHED = """\
version: 1
pipelines:
  app:
    provider: {type: file, file_path: app.enc, key_file: app.key}
    middleware:
      - {type: caching, l2: {type: file.cache, path: cache.db}, encryption: {type: aes-gcm, key: a passphrase}}
secrets:
  PASSWORD: {key: db, field: password}
  OTHER: {key: db, field: other, required: false, generate: {length: 12}}
"""


@pytest.mark.parametrize("command", [["set", "PASSWORD", "new"], ["check", "--fix"]])
def test_a_member_is_put_into_what_is_stored_and_not_into_what_a_cache_remembers(
    command, tmp_path, monkeypatch
):
    """Else what somebody has changed at the backend meanwhile would be taken back."""
    monkeypatch.chdir(tmp_path)
    Path("strongroom.yaml").write_text(CACHED)
    with FileSecretProvider("app.enc", key_file="app.key") as store:
        store.set_secret("db", '{"user": "first", "password": "old"}')
        with SecretProviderRegistry() as registry:
            registry.get_secret("db")  # which the second level remembers
        store.set_secret("db", '{"user": "second", "password": "old"}')
        run_app(["--spec", "strongroom.yaml", *command])
        found = json.loads(store.get_secret("db"))
    assert found["user"] == "second"
    assert found.get("other", found["password"]) != "old"


def test_what_others_wrote_while_a_member_was_replaced_stays():
    registry = registry_of(Busy('{"a": "1"}', '{"a": "1", "ours": "theirs"}'))
    put_member(registry, "b/k", "ours", "v")
    assert json.loads(registry.get_secret("b/k")) == {"a": "1", "ours": "v"}


def test_a_member_is_replaced_where_no_version_can_be_compared():
    class Unversioned(Unconditional):
        def describe_secret(self, key):
            raise PermissionDeniedError("no metadata for you")

    for provider in (Unconditional(), Unversioned()):
        registry = registry_of(CachingMiddleware(provider))
        registry.set_secret("b/k", '{"a": "0", "ours": "old"}')
        assert registry.get_secret("b/k")  # which the cache remembers
        provider.set_secret("b/k", '{"a": "1", "ours": "old"}')
        put_member(registry, "b/k", "ours", "v")
        assert json.loads(registry.get_secret("b/k")) == {"a": "1", "ours": "v"}
