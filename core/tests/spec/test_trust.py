"""A spec that nobody named does no more than a closed one until the user trusts it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from strongroom.aio import AsyncSecretRegistry
from strongroom.cli import main
from strongroom.errors import SecretNotFoundError, UntrustedSpecError
from strongroom.registry import SecretProviderRegistry
from strongroom.spec import closed, trust
from strongroom.spec.document import node_of
from strongroom.spec.found import FoundSpec
from strongroom.spec.locate import find_plan
from strongroom.spec.source import read_source

sys.path.insert(0, str(Path(__file__).parent.parent))

from user_support import STRANGER, USER, acting_as, give  # as above

FILE = "{type: file, file_path: secrets.enc, key_file: app.key}"
CLOSED = f"version: 1\npipelines:\n  app: {{provider: {FILE}}}\nsecrets: {{NAME: {{default: a default}}}}\n"
OPEN = CLOSED.replace("app.key", '"${env:KEY_OF_A_TEST:-app.key}"')


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Make a folder of the user's the current one; who runs the test is not root."""
    monkeypatch.delenv("STRONGROOM_TRUST_SPEC", raising=False)
    tmp_path.chmod(0o755)
    place = tmp_path / "project"
    place.mkdir()
    home = Path(os.environ["HOME"])
    with acting_as(USER) as user:
        if os.getuid() == 0:
            give(place, user)
            give(home, user)
        monkeypatch.chdir(place)
        yield place


def write(text, path="strongroom.yaml", uid=None):
    Path(path).write_text(text)
    Path(path).chmod(0o644)
    if uid is not None:
        give(path, uid)


def refused(call=SecretProviderRegistry):
    with pytest.raises(UntrustedSpecError) as caught:
        call()
    assert "strongroom trust" in caught.value.hint
    return str(caught.value)


def used():
    with SecretProviderRegistry():
        return True


# --- what is closed ---

PIPELINE = "version: 1\npipelines:\n  app: {{provider: {}}}\n"
WITH = "version: 1\npipelines:\n  app: {{provider: {{type: memory}}, {}}}\n"


@pytest.mark.parametrize(
    "spec",
    [
        "version: 1\n",
        CLOSED,
        PIPELINE.format("{type: memory, secrets: {a/key: value}}"),
        PIPELINE.format("{type: file, file_path: deep/er/secrets.enc, encryption_key: '${file:deep/key}'}"),
        PIPELINE.format("{type: file, file_path: ./a/../secrets.enc}"),
        WITH.format("middleware: [{type: retry}, {type: caching}, {type: prefix, prefix: a/}]"),
        WITH.format("middleware: [{type: tenant}, {type: validation, min_length: 3}, {type: read-only}]"),
        WITH.format("middleware: [{type: encryption, key: '${file:a.key}'}]"),
        WITH.format("middleware: [{type: encryption, cipher: {type: chacha20, key: '${file:a.key}'}}]"),
        WITH.format("hooks: [{type: audit, path: audit.log}, {type: audit, path: [a.log, b/c.log]}]"),
        CLOSED + "profiles: {test: {pipelines: {app: {provider: {type: memory}}}}}\n",
        CLOSED + "profiles: {test: {pipelines: {app: {provider: {file_path: test.enc}}}}}\n",
        CLOSED + "hooks: [{type: audit, logger: audit}]\nroutes: [{prefix: a/, pipeline: app}]\n",
        CLOSED.replace("default: a default", "compose: '{{ B }}'}, B: {rotate: {grace_seconds: 5}"),
        PIPELINE.format("{type: memory, secrets: {a/key: '$${env:HOME}'}}"),
    ],
)
def test_a_closed_spec_is_used_by_everybody(folder, spec):
    write(spec)
    for name in ("deep", "deep/er", "b"):
        Path(name).mkdir()
    for name in ("deep/key", "a.key"):
        Path(name).write_text("a passphrase that is long\n")
    plan = find_plan(None)
    assert (plan.origin, plan.closed) == ("found", True)


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (PIPELINE.format("{type: vault, url: 'https://vault.example.com'}"), "provider 'vault'"),
        (PIPELINE.format("{type: env}"), "provider 'env'"),
        (PIPELINE.format("{type: file.more, file_path: a}"), "provider 'file.more'"),
        (PIPELINE.format("{type: strangers}"), "provider 'strangers'"),
        (PIPELINE.format("{type: memory, secrets: {a/key: '${env:KEY_OF_A_TEST}'}}"), "KEY_OF_A_TEST"),
        (PIPELINE.format("{type: memory, secrets: {a/key: 'a ${env:KEY_OF_A_TEST:-b}'}}"), "KEY_OF_A_TEST"),
        (PIPELINE.format("{type: memory, secrets: {a/key: '${file:/etc/hostname}'}}"), "'/etc/hostname'"),
        (PIPELINE.format("{type: memory, secrets: {a/key: '${file:../key}'}}"), "outside of its folder"),
        (PIPELINE.format("{type: memory, secrets: {a/key: '${file:~/key}'}}"), "outside of its folder"),
        (PIPELINE.format("{type: file, file_path: ../secrets.enc}"), "outside of its folder"),
        (PIPELINE.format("{type: file, file_path: a/../../secrets.enc}"), "outside of its folder"),
        (PIPELINE.format("{type: file, file_path: /tmp/secrets.enc}"), "outside of its folder"),
        (PIPELINE.format("{type: file, file_path: s, key_file: ~/key}"), "outside of its folder"),
        (PIPELINE.format("{type: file, file_path: s, key_file: ~no-such-user/key}"), "a home folder"),
        (PIPELINE.format("{type: file, file_path: s, key_file: '${file:name}'}"), "puts together"),
        (PIPELINE.format("{type: file, file_path: s, key_file: '${secret:app:name}'}"), "puts together"),
        (WITH.format("middleware: [{type: strangers}]"), "middleware 'strangers'"),
        (
            WITH.format("middleware: [{type: caching, l2: {type: redis, url: 'redis://127.0.0.1'}}]"),
            "'redis'",
        ),
        (WITH.format("middleware: [{type: caching, l2: {type: file.cache, path: c}}]"), "'file.cache'"),
        (WITH.format("middleware: [{type: caching, encryption: {type: vault.transit}}]"), "'vault.transit'"),
        (WITH.format("middleware: [{type: encryption, cipher: {type: vault.transit}}]"), "'vault.transit'"),
        (WITH.format("hooks: [{type: telemetry}]"), "hook 'telemetry'"),
        (WITH.format("hooks: [{type: audit, path: ../audit.log}]"), "outside of its folder"),
        (WITH.format("hooks: [{type: audit, path: [a.log, ../audit.log]}]"), "outside of its folder"),
        (CLOSED + "hooks: [{type: strangers}]\n", "hook 'strangers'"),
        (CLOSED + "hooks: [{type: audit, path: a.log, key_file: /etc/hostname}]\n", "'/etc/hostname'"),
        (CLOSED + "rotation_lock: {type: redis, url: 'redis://127.0.0.1'}\n", "cache 'redis'"),
        (CLOSED + "serve: {socket: run.sock}\n", "opens a server"),
        (CLOSED.replace("default: a default", "rotate: {command: [touch, run]}"), "runs a program"),
        (CLOSED.replace("default: a default", "rotate: {verify: [touch, run]}"), "runs a program"),
        (CLOSED.replace("default: a default", "rotate: {rotator: {type: http}}"), "has a rotator"),
        (CLOSED.replace("a default", "'${env:KEY_OF_A_TEST}'"), "KEY_OF_A_TEST"),
        (CLOSED + "profiles: {p: {pipelines: {app: {provider: {type: vault}}}}}\n", "provider 'vault'"),
        (CLOSED + "profiles: {p: {pipelines: {app: {provider: {file_path: ../s}}}}}\n", "outside"),
        (CLOSED + "profiles: {p: {hooks: [{type: strangers}]}}\n", "hook 'strangers'"),
        (CLOSED + "profiles: {p: {serve: {}}}\n", "opens a server"),
        (CLOSED + "profiles: {p: {secrets: {N: {rotate: {command: [touch, run]}}}}}\n", "runs a program"),
    ],
)
def test_any_other_is_refused_before_anything_is_done(folder, spec, why, monkeypatch):
    monkeypatch.setenv("KEY_OF_A_TEST", "its value")

    write(spec)
    modules = set(sys.modules)
    said = refused()
    assert why in said
    assert "strongroom.yaml" in said
    assert "its value" not in said
    assert not {name for name in set(sys.modules) - modules if name.startswith("strongroom_")}
    assert os.listdir() == ["strongroom.yaml"]


def test_the_place_in_the_spec_is_told(folder):
    write(OPEN)
    assert "reads the variable KEY_OF_A_TEST" not in refused()  # it is a part of a path
    assert "pipelines.app.provider.key_file at strongroom.yaml:3" in refused()


def test_a_type_is_told_without_what_a_terminal_would_obey(folder):
    write(PIPELINE.format('{type: "\\e[31mred"}'))
    assert "\x1b" not in refused()


def test_what_is_wrong_is_told_as_ever(folder, capfd):
    write(CLOSED + "secret: {}\n")
    assert main(["list"]) == 2
    assert "unknown key; did you mean 'secrets'?" in capfd.readouterr().err


def test_every_path_and_part_of_the_closed_types_is_known():
    """An option that holds a path or a component may not be added without being looked at."""
    from strongroom.plugins import UnknownTypeError, finder

    for kind, names in closed.CLOSED_TYPES.items():
        for name in names:
            try:
                fields = finder.find(kind, name).config.model_fields
            except UnknownTypeError:
                assert name == "directory"
                continue
            for option, info in fields.items():
                assert (option in closed.PATHS) == ("Path" in repr(info.annotation)), option
                extra = info.json_schema_extra
                part = extra.get("component") if isinstance(extra, dict) else None
                assert closed.PARTS.get(option) == part, option


def test_every_member_of_a_spec_is_known():
    from strongroom.spec.models import Rotate, Spec

    assert set(Spec.model_fields) == closed.CLOSED_MEMBERS | set(closed.OPEN_MEMBERS)
    closed_rotation = {"timeout_seconds", "grace_seconds", "jitter", "generator"}
    assert set(Rotate.model_fields) - closed_rotation <= set(closed.OPEN_ROTATION)


def test_a_spec_without_positions_is_looked_through_too():
    node = node_of({"version": 1, "pipelines": {"app": {"provider": {"type": "vault"}}}})
    assert list(closed.openings(node, "spec", "/tmp")) == [
        "it uses the provider 'vault' (pipelines.app.provider)"
    ]


# --- symbolic and hard links ---


@pytest.mark.parametrize("link", ["secrets.enc", "app.key", "secrets.enc-wal", "app.key.old-1"])
def test_a_link_out_of_the_folder_opens_a_spec(folder, link):
    outside = folder.parent / "outside"
    write(CLOSED)
    assert used()
    Path(link).symlink_to(outside)
    assert "where" in refused()
    Path(link).unlink()
    Path("inside").write_text("")
    Path(link).symlink_to("inside")
    assert find_plan(None).closed


def test_a_folder_that_is_a_link_out_opens_a_spec(folder):
    write(CLOSED.replace("secrets.enc", "data/secrets.enc"))
    Path("data").symlink_to(folder.parent)
    refused()


def test_a_link_in_a_folder_of_files_opens_a_spec(folder):
    write(CLOSED.replace(FILE, "{type: directory, path: files}"))
    Path("files/deep").mkdir(parents=True)
    Path("files/deep/leaf").symlink_to("/etc/hostname")
    assert "/etc/hostname" in refused()


def test_links_beside_a_log_are_looked_at(folder):
    write(CLOSED + "hooks: [{type: audit, path: audit.log}]\n")
    assert find_plan(None).closed
    for name in ("audit.log.key", "audit.log.head", "audit.log.1"):
        Path(name).symlink_to("/etc/hostname")
        refused()
        Path(name).unlink()


def test_a_second_name_of_a_file_opens_a_spec(folder):
    write("a passphrase that is long", "elsewhere")
    write(CLOSED)
    os.link("elsewhere", "app.key")
    assert "hard link" in refused()


def test_a_spec_with_a_second_name_in_a_folder_of_all_is_not_closed(folder):
    write(CLOSED, "elsewhere.yaml")
    os.link("elsewhere.yaml", "strongroom.yaml")
    assert used()
    folder.chmod(0o777)
    assert "hard link" in refused()


def test_links_count_as_what_owns_them_and_their_target(folder):
    write(OPEN, "mine.yaml")
    Path("strongroom.yaml").symlink_to("mine.yaml")
    refused()
    give("mine.yaml", 0)
    refused()  # the link is the user's
    give("strongroom.yaml", 0)
    assert used()
    give("mine.yaml", USER)
    refused()


def test_a_link_to_a_trusted_spec_is_that_spec(folder):
    Path("real").mkdir()
    write(OPEN, "real/strongroom.yaml")
    assert main(["trust", "real"]) == 0
    Path("strongroom.yaml").symlink_to("real/strongroom.yaml")
    assert find_plan(None).folder == folder / "real"


def test_roots_spec_is_used(folder):
    write(OPEN, uid=0)
    assert used()


def test_roots_spec_under_another_name_in_a_strangers_folder_is_not(folder):
    write(OPEN, "elsewhere.yaml", uid=0)
    os.link("elsewhere.yaml", "strongroom.yaml")
    refused()
    give(folder, 0)
    folder.chmod(0o755)
    assert used()


def test_a_strangers_spec_is_refused_trusted_or_not(folder, capfd):
    write(CLOSED, uid=STRANGER)
    with pytest.raises(UntrustedSpecError, match=f"user {STRANGER}"):
        SecretProviderRegistry()
    assert main(["trust"]) == 2
    assert main(["trust", "--folder"]) == 0
    with pytest.raises(UntrustedSpecError, match=f"user {STRANGER}"):
        SecretProviderRegistry()


# --- trusting ---


def test_trust_is_for_path_and_bytes(folder, capfd):
    write(OPEN)
    refused()
    assert main(["trust"]) == 0
    said = capfd.readouterr().out
    assert f"trusted as it is now: {folder}/strongroom.yaml" in said
    assert "pipelines.app.provider.key_file" in said  # what it does is told
    assert used()
    write(OPEN + "# other bytes\n")
    assert "has changed since you trusted it" in refused()
    write(OPEN)
    assert used()
    Path("copy").mkdir()
    write(OPEN, "copy/strongroom.yaml")
    os.chdir("copy")
    refused()


def test_a_spec_that_cannot_be_used_is_told_as_it_is_trusted(folder, capfd):
    write(OPEN.replace("provider:", "providr:", 1))
    assert main(["trust"]) == 0
    told = capfd.readouterr().err
    assert "warning: it cannot be used as it is: strongroom.yaml:" in told
    assert "a pipeline needs a provider, or a fallback and 1 more" in told
    assert told.endswith("; once you have changed it, trust it again\n")
    write("version: 1\npipelines: {app")
    assert main(["trust"]) == 0
    assert "not YAML" in capfd.readouterr().err


def test_what_is_trusted_is_for_the_user_alone(folder):
    write(OPEN)
    assert main(["trust"]) == 0
    (kept,) = Path(os.environ["HOME"], ".local/state/strongroom/trusted").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    assert kept.stat().st_uid == os.geteuid()


def test_the_state_folder_is_the_one_of_the_environment(folder, monkeypatch):
    write(OPEN)
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    assert main(["trust"]) == 0
    assert len(list((folder / "state/strongroom/trusted").iterdir())) == 1
    monkeypatch.setenv("XDG_STATE_HOME", "state")  # a relative one is none
    refused()


@pytest.mark.parametrize("damage", ["empty", "cut", "of another", "long"])
def test_a_damaged_record_is_told_and_trusts_nothing(folder, damage, capfd):
    write(OPEN)
    assert main(["trust"]) == 0
    (kept,) = Path(os.environ["HOME"], ".local/state/strongroom/trusted").iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(
        {
            "empty": b"",
            "cut": whole[:-1],
            "of another": whole.replace(b"project", b"another"),
            "long": whole + b"\n",
        }[damage]
    )
    assert str(kept) in refused()
    assert "is damaged" in refused()
    capfd.readouterr()
    assert main(["--json", "trust", "--list"]) == 0
    assert json.loads(capfd.readouterr().out) == {"trusted": []}
    assert main(["trust"]) == 0  # it is written again
    assert used()


def test_a_record_that_others_could_have_written_trusts_nothing(folder):
    write(OPEN)
    assert main(["trust"]) == 0
    (kept,) = Path(os.environ["HOME"], ".local/state/strongroom/trusted").iterdir()
    kept.chmod(0o666)
    assert "open to others" in refused()
    kept.chmod(0o600)
    moved = kept.rename(folder / "moved")
    kept.symlink_to(moved)
    assert "cannot be read" in refused()
    kept.unlink()
    moved.rename(kept)
    assert used()
    give(kept, STRANGER)
    assert f"user {STRANGER}" in refused()


def test_what_is_hashed_is_what_is_used(folder, monkeypatch):
    """A spec that is replaced between the look at it and its use is not used."""
    write(CLOSED)
    require = trust.require

    def replaced(*given):
        answer = require(*given)
        write(OPEN.replace("app:", "other:"))
        return answer

    monkeypatch.setattr(trust, "require", replaced)
    with SecretProviderRegistry() as registry:
        assert registry.pipelines() == ["app"]


def test_a_spec_is_read_once(folder, monkeypatch):
    write(CLOSED)
    opened = []
    real = os.open

    def counted(path, *rest, **options):
        if str(path).endswith("strongroom.yaml"):
            opened.append(path)
        return real(path, *rest, **options)

    monkeypatch.setattr(os, "open", counted)
    read_source(FoundSpec("strongroom.yaml"))
    assert len(opened) == 1


def test_a_folder_is_trusted_with_what_this_user_writes_there(folder, capfd):
    assert main(["trust", "--folder"]) == 0
    write(OPEN)
    assert used()
    write(OPEN + "# other bytes\n")
    assert used()
    Path("below/more").mkdir(parents=True)
    write(OPEN, "below/more/strongroom.yaml")
    os.chdir("below/more")
    assert used()
    os.chdir(folder)
    folder.chmod(0o777)  # now others may put a file of this user's there
    refused()
    folder.chmod(0o755)
    assert used()
    Path("strongroom.yaml").chmod(0o664)
    if os.getuid() == 0:
        refused()  # others of that group may write it
    assert main(["trust", "--forget", "."]) == 0
    refused()


def test_a_folder_beside_with_a_longer_name_is_not_in_it(folder):
    assert main(["trust", "--folder"]) == 0
    beside = Path(f"{folder}-2")
    beside.mkdir()
    os.chdir(beside)
    write(OPEN)
    refused()


@pytest.mark.parametrize("named", ["option", "variable", "python path", "python mapping", "all"])
def test_who_names_a_spec_is_not_asked(folder, named, monkeypatch, capfd):
    write(OPEN)
    if named == "option":
        assert main(["--spec", "strongroom.yaml", "list"]) == 0
    elif named == "variable":
        monkeypatch.setenv("STRONGROOM_SPEC", "strongroom.yaml")
        assert used()
    elif named == "python path":
        SecretProviderRegistry("strongroom.yaml").close()
    elif named == "python mapping":
        provider = {"type": "memory", "secrets": {"a/key": "${env:KEY_OF_A_TEST:-b}"}}
        SecretProviderRegistry({"version": 1, "pipelines": {"app": {"provider": provider}}}).close()
    else:
        monkeypatch.setenv("STRONGROOM_TRUST_SPEC", "yes")
        refused()
        monkeypatch.setenv("STRONGROOM_TRUST_SPEC", "1")
        assert used()


def test_what_init_writes_is_trusted(folder, capfd):
    assert main(["init"]) == 0
    data = Path("strongroom.yaml").read_bytes()
    assert trust.is_trusted(str(folder / "strongroom.yaml"), data, Path("strongroom.yaml").stat())


def test_listing_and_forgetting(folder, capfd):
    write(OPEN)
    assert main(["trust", "strongroom.yaml"]) == 0
    assert main(["trust", "--folder", "/"]) == 0
    capfd.readouterr()
    assert main(["--json", "trust", "--list"]) == 0
    rows = json.loads(capfd.readouterr().out)["trusted"]
    assert [(row["path"], row["state"]) for row in rows] == [
        ("/", "there"),
        (f"{folder}/strongroom.yaml", "as trusted"),
    ]
    write(OPEN + "# other bytes\n")
    assert main(["trust"]) == 0
    capfd.readouterr()
    assert main(["trust", "--list"]) == 0
    output = capfd.readouterr().out
    assert "changed" in output
    assert "a folder" in output
    assert main(["trust", "--forget"]) == 0
    said = capfd.readouterr()
    assert said.out == f"trusted no longer: {folder}/strongroom.yaml\n"
    assert "what you write in / and below is still trusted" in said.err
    assert main(["trust", "--forget"]) == 3
    assert main(["trust", "--forget", "/"]) == 0
    refused()


@pytest.mark.parametrize("words", [["--forget", "--folder"], ["--folder", "--forget", "."]], ids=" ".join)
def test_a_folder_is_forgotten_and_not_the_spec_in_it(folder, words, capfd):
    write(OPEN)
    assert main(["trust"]) == 0
    assert main(["trust", "--folder"]) == 0
    assert main(["trust", *words]) == 0
    assert main(["trust", *words]) == 3
    capfd.readouterr()
    assert main(["--json", "trust", "--list"]) == 0
    rows = json.loads(capfd.readouterr().out)["trusted"]
    assert [row["path"] for row in rows] == [f"{folder}/strongroom.yaml"]


def test_a_spec_that_is_gone_can_be_forgotten(folder, capfd):
    write(OPEN)
    assert main(["trust"]) == 0
    Path("strongroom.yaml").unlink()
    capfd.readouterr()
    assert main(["--json", "trust", "--list"]) == 0
    assert json.loads(capfd.readouterr().out)["trusted"][0]["state"] == "gone"
    assert main(["trust", "--forget", "strongroom.yaml"]) == 0
    assert main(["trust", "--forget", "strongroom.yaml"]) == 3


def test_mistakes_with_trust_are_told(folder, capfd):
    Path(".git").mkdir()
    for words, why in [
        (["trust"], "there is no strongroom.yaml here or above"),
        (["trust", "no-such-file"], "does not exist"),
        (["trust", "--folder", "no-such-folder"], "is not a folder"),
        (["trust", "--list", "x"], "leave PATH out"),
        (["trust", "--list", "--folder"], "different things"),
        (["trust", "--forget", "--list"], "different things"),
    ]:
        capfd.readouterr()
        assert main(words) == 2
        assert why in capfd.readouterr().err


def test_without_a_home_nothing_can_be_trusted(folder, monkeypatch, capfd):
    write(OPEN)
    monkeypatch.setenv("HOME", "")
    refused()
    assert main(["trust"]) == 2
    assert "no home folder" in capfd.readouterr().err


# --- every way in ---


def test_a_spec_above_is_asked_about_by_its_path(folder):
    write(OPEN)
    Path("a b").mkdir()
    os.chdir("a b")
    with pytest.raises(UntrustedSpecError) as caught:
        SecretProviderRegistry()
    assert f"`strongroom trust {folder}/strongroom.yaml`" in caught.value.hint


@pytest.mark.parametrize(
    "words",
    [
        "get a/key",
        "run -- touch started",
        "--json get a/key",
        "set a/key value",
        "delete a/key",
        "list",
        "history a/key",
        "check",
        "check --offline",
        "explain a/key",
        "graph",
        "export --format json",
        "render template",
        "scan",
        "rotate --due",
        "rotate --status",
        "import values.json",
        "copy app app",
        "backup saved",
        "restore saved",
        "rekey",
        "cache clear",
        "audit verify",
        "audit show",
    ],
)
def test_every_command_asks(folder, words, capfd):
    write(OPEN)
    Path("template").write_text("")
    Path("values.json").write_text("{}")
    before = sorted(os.listdir())
    assert main(words.split()) == 2
    assert "strongroom trust" in capfd.readouterr().err
    assert sorted(os.listdir()) == before


def test_doctor_names_the_command_that_trusts_a_spec(folder, capfd):
    write(OPEN)
    assert main(["doctor"]) == 7
    assert "strongroom trust" in capfd.readouterr().out


def test_every_integration_asks(folder):
    import asyncio

    from fastapi import FastAPI
    from keyring.errors import KeyringError
    from pydantic_settings import BaseSettings
    from strongroom.integrations.fastapi import lifespan
    from strongroom.integrations.keyring import StrongroomKeyring
    from strongroom.integrations.pydantic_settings import StrongroomSettingsSource

    async def opened(context):
        async with context:
            pass

    class Wanted(BaseSettings):
        name: str

    write(OPEN)
    refused(lambda: asyncio.run(opened(AsyncSecretRegistry())))
    refused(lambda: asyncio.run(opened(lifespan()(FastAPI()))))
    refused(StrongroomSettingsSource(Wanted))
    with pytest.raises(KeyringError, match="have not trusted it"):
        StrongroomKeyring().get_password("service", "user")


def test_what_is_completed_is_not_that_of_a_spec_that_is_not_used(folder):
    from strongroom.cli import completions
    from strongroom.cli.app import app

    write(OPEN.replace("NAME:", "NAME: {key: a/key}, OTHER:"))
    with app.make_context("strongroom", ["get", "x"], obj=None) as context:
        assert completions.keys(context, None, "") == []
        assert main(["trust"]) == 0
        assert "a/key" in completions.keys(context, None, "")


# --- the quick way ---


def test_what_was_remembered_is_asked_about_each_time(folder, capfd):
    """A spec that is plain, and open by another pipeline: what is remembered of it is trusted no longer than it."""
    write(
        CLOSED.replace(
            "secrets:", '  other: {provider: {type: vault, url: "http://x"}}\ndefault: app\nsecrets:'
        )
    )
    assert main(["get", "a/key"]) == 2
    assert main(["trust"]) == 0
    assert main(["set", "a/key", "value"]) == 0
    for _ in range(2):
        assert main(["get", "a/key"]) == 0
    assert main(["trust", "--forget"]) == 0
    assert main(["get", "a/key"]) == 2
    assert main(["--spec", "strongroom.yaml", "get", "a/key"]) == 0
    assert main(["--spec", "strongroom.yaml", "get", "a/key"]) == 0
    assert main(["get", "a/key"]) == 2
    assert main(["run", "--", "touch", "started"]) == 2
    assert not Path("started").exists()


def test_what_was_remembered_as_closed_is_closed_no_more_where_a_link_leads_out(folder, capfd):
    write(CLOSED)
    assert main(["set", "a/key", "value"]) == 0
    for _ in range(2):
        assert main(["get", "a/key"]) == 0
    (folder.parent / "project" / "app.key").rename(folder / "kept")
    outside = (folder / "kept").rename(folder.parent / "app.key")
    Path("app.key").symlink_to(outside)
    assert main(["get", "a/key"]) == 2
    assert main(["--spec", "strongroom.yaml", "get", "a/key"]) == 0
    assert main(["get", "a/key"]) == 2


def test_nothing_is_remembered_under_the_name_of_other_bytes(folder, monkeypatch, capfd):
    from strongroom.spec import recording, records

    write(CLOSED)

    def replaced(spec):
        write(CLOSED + "# other bytes\n")
        return records.read_spec(spec)

    monkeypatch.setattr(recording, "read_spec", replaced)
    assert main(["set", "a/key", "value"]) == 0
    assert records.recall("strongroom.yaml", None) is None


def test_a_missing_secret_of_a_closed_spec_is_missing(folder):
    write(CLOSED)
    with SecretProviderRegistry() as registry, pytest.raises(SecretNotFoundError):
        registry.get_secret("a/key")


# --- the git hook ---


def test_the_git_hook_asks_each_time(folder, capfd, monkeypatch):
    """It does not name the spec that was found when it was installed: that would be trust for all time."""
    from strongroom.cli.commands import scan

    # git is a program of its own, which does not get into the folders of who runs the tests.
    monkeypatch.setattr(scan, "hooks_folder", lambda: Path("hooks"))
    monkeypatch.setattr(scan, "staged", iter)
    write(CLOSED)
    assert main(["scan", "--install-hook"]) == 0
    hook = Path("hooks/pre-commit").read_text()
    assert f"--found={folder}/strongroom.yaml" in hook
    assert "--spec" not in hook
    given = ["scan", "--staged", "--hook", f"--found={folder}/strongroom.yaml"]
    assert main(given) == 0
    write(OPEN)
    capfd.readouterr()
    assert main(given) == 2
    assert "`strongroom trust`" in capfd.readouterr().err
    assert main(["trust"]) == 0
    assert main(given) == 0
