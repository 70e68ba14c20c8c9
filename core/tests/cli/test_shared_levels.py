"""What a command writes through one pipeline, no other one gives the older value of out of a shared level."""

from __future__ import annotations

from pathlib import Path

import pytest
from strongroom import SecretProviderRegistry, TenantContext
from strongroom.cli.app import run_app
from strongroom.errors import SecretNotFoundError
from strongroom_file import FileSecretProvider

CACHE = '{type: caching, l2: {type: file.cache, path: cache.db}, encryption: {type: aes-gcm, key: "a passphrase"}}'
STORE = "{type: file, file_path: app.enc, key_file: app.key}"
SPEC = f"""\
version: 1
default: plain
pipelines:
  plain: {{provider: {STORE}}}
  other: {{provider: {{type: file, file_path: other.enc, key_file: app.key}}}}
  cached: {{provider: {STORE}, middleware: [{CACHE}]}}
  below: {{provider: {STORE}, middleware: [{CACHE}, {{type: prefix, prefix: a/}}]}}
  waits:
    provider: {STORE}
    middleware: [{CACHE}, {{type: validation, key_pattern: "${{secret:other:pattern}}"}}]
  behind: {{fallback: {{pipelines: [plain, other]}}, middleware: [{CACHE}]}}
"""
READERS = {"cached": "a/db", "below": "db", "waits": "a/db", "behind": "a/db"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("strongroom.yaml").write_text(SPEC)
    with FileSecretProvider("other.enc", key_file="app.key") as other:
        other.set_secret("pattern", ".*")
        other.set_secret("a/db", "copied")
    with FileSecretProvider("app.enc", key_file="app.key") as store:
        store.set_secret("a/db", "newer")
        store.backup("newer.backup")
        store.set_secret("a/db", "older")
    Path("vars.env").write_text("db=imported\n")
    return tmp_path


def read(pipeline):
    """Return what another process gives that begins now, and so has only the second level."""
    with SecretProviderRegistry(pipeline=pipeline) as registry:
        try:
            return registry.get_secret(READERS[pipeline])
        except SecretNotFoundError:
            return None


def read_all():
    found = {name: read(name) for name in READERS}
    with TenantContext("acme"):
        found["cached, of acme"] = read("cached")
    return found


COMMANDS = {
    "set": (["set", "a/db", "written"], "written"),
    "delete": (["delete", "a/db"], None),
    "import": (["import", "vars.env", "--prefix", "a/", "--overwrite"], "imported"),
    "restore": (["restore", "newer.backup"], "newer"),
}


@pytest.mark.parametrize(("words", "expected"), COMMANDS.values(), ids=COMMANDS)
def test_a_command_tells_the_levels_of_other_pipelines(words, expected, folder, capsys):
    assert set(read_all().values()) == {"older"}
    assert run_app(["--pipeline", "plain", *words]) == 0, capsys.readouterr()
    if expected is None:
        assert {read(name) for name in READERS if name != "behind"} == {None}
        assert read("behind") == "copied"  # it goes on to the next
    else:
        assert set(read_all().values()) == {expected}


def test_so_do_rotations_and_copies(folder, capsys):
    read_all()
    assert run_app(["--pipeline", "plain", "rotate", "a/db"]) == 0, capsys.readouterr()
    (rotated,) = set(read_all().values())
    assert rotated not in {"older", None}
    assert run_app(["copy", "other", "plain", "--overwrite"]) == 0, capsys.readouterr()
    assert set(read_all().values()) == {"copied"}


@pytest.mark.parametrize(
    "words", [["--pipeline", "cached", "import", "vars.env", "--prefix", "a/"], ["copy", "other", "cached"]]
)
@pytest.mark.parametrize(("theirs", "code"), [("theirs", 8), ("wanted", 0)])
def test_what_is_brought_in_is_compared_with_the_store_and_not_with_a_shared_level(
    words, theirs, code, folder, capsys
):
    """Somebody else has changed it: else nothing would be written, and all be well."""
    Path("vars.env").write_text("db=wanted\n")
    with FileSecretProvider("other.enc", key_file="app.key") as other:
        other.delete_secret("pattern")
        other.set_secret("a/db", "wanted")
    with FileSecretProvider("app.enc", key_file="app.key") as store:
        store.set_secret("a/db", "older" if theirs == "wanted" else "wanted")
        read("cached")
        store.set_secret("a/db", theirs)
        assert run_app(words) == code, capsys.readouterr()
        assert store.get_secret("a/db") == theirs


def test_what_is_copied_is_what_is_stored_and_not_what_a_shared_level_remembers(folder, capsys):
    """Somebody else has changed it: else the older value would take the place of the present one."""
    with FileSecretProvider("app.enc", key_file="app.key") as store:
        assert read("cached") == "older"
        store.set_secret("a/db", "theirs")
    assert run_app(["copy", "cached", "other", "--overwrite"]) == 0, capsys.readouterr()
    with FileSecretProvider("other.enc", key_file="app.key") as other:
        assert other.get_secret("a/db") == "theirs"


def test_a_write_in_python_tells_a_pipeline_that_was_not_used_yet(folder):
    """One that reads secrets for itself is assembled at its first use; others have shared its level before."""
    kept = [line for line in SPEC.splitlines() if line.partition(":")[0].strip() not in {"cached", "below"}]
    Path("strongroom.yaml").write_text("\n".join(line for line in kept if "behind" not in line))
    assert read("waits") == "older"
    with SecretProviderRegistry() as registry:
        registry.pipeline("plain").set_secret("a/db", "written")
        assert read("waits") == "written"


def test_a_pipeline_of_another_store_is_left_alone(folder):
    """It is not even assembled, where its provider is of another type."""
    Path("strongroom.yaml").write_text(
        SPEC.replace("other: {", "far: {provider: {type: env}, middleware: [CACHE]}\n  other: {").replace(
            "CACHE", CACHE
        )
    )
    with SecretProviderRegistry(pipeline="plain") as registry:
        registry.set_secret("a/db", "written")
        assert "far" not in registry._assembly._chains
        assert "below" in registry._assembly._chains


def test_a_level_that_cannot_be_told_is_named_and_the_write_is_done(folder, monkeypatch, caplog):
    Path("strongroom.yaml").write_text(SPEC.replace('key: "a passphrase"', 'key: "${env:CACHE_KEY}"', 1))
    with SecretProviderRegistry(pipeline="plain") as registry:
        for value in ("written", "again"):
            registry.set_secret("a/db", value)
        assert registry.get_secret("a/db") == "again"
    (warning,) = [one.getMessage() for one in caplog.records if "not be cleared" in one.getMessage()]
    assert "cache of cached could not be cleared" in warning
    assert "CACHE_KEY" in warning


def test_a_write_elsewhere_does_not_ask_a_shared_level_that_cannot_have_it(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    server = '{type: redis, url: "redis://127.0.0.1:1/0"}'  # nobody listens there
    apart = CACHE.replace("{type: file.cache, path: cache.db}", server)
    other = "{type: file, file_path: other.enc, key_file: app.key}"
    Path("strongroom.yaml").write_text(
        f"version: 1\ndefault: plain\npipelines:\n  plain: {{provider: {STORE}}}\n"
        f"  cached: {{provider: {other}, middleware: [{apart}]}}\n"
    )
    assert run_app(["--quiet", "set", "a/db", "written"]) == 0
    assert caplog.messages == []
    assert run_app(["--quiet", "--pipeline", "cached", "set", "a/db", "written"]) == 0
    assert any("127.0.0.1:1" in message for message in caplog.messages)
