"""What is special about KeePass: the real program, credentials, the kept key, fields, twins, and other writers."""

from __future__ import annotations

import io
import shutil
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from pykeepass import PyKeePass
from strongroom.cli.app import run_app
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    DecryptionError,
    SecretNotFoundError,
    TamperedError,
    ValidationError,
)
from strongroom.plugins.credentials import ReferencedText
from strongroom.rotation import SecretRotation
from strongroom.testing.conformance.base import SECRET, assert_harmless
from strongroom.testing.conformance.forks import Children
from strongroom_keepass import KeePassSecretProvider
from strongroom_keepass.config import KeePassConfig

PASSWORD = "master of the tests"
needs_keepassxc = pytest.mark.skipif(
    shutil.which("keepassxc-cli") is None, reason="there is no keepassxc-cli"
)


@pytest.fixture
def derivations(monkeypatch):
    """Count how often a key is derived from the password."""
    import pykeepass.pykeepass as module

    found, real = [], module.PyKeePass.read

    def read(self, *args, **options):
        found.append(options.get("transformed_key") or (args[3] if len(args) > 3 else None))
        return real(self, *args, **options)

    monkeypatch.setattr(module.PyKeePass, "read", read)
    return lambda: sum(one is None for one in found)


def xc(path, *words, given="", code=0):
    """Run the real program; the last word is the entry's name."""
    command = ["keepassxc-cli", words[0], "-q", *words[1:-1], str(path), *words[-1:]]
    done = subprocess.run(command, input=f"{PASSWORD}\n{given}", capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout


def test_the_configuration_is_the_constructor():
    options = KeePassConfig(path=Path("/x/a.kdbx"), password=SECRET).model_dump()
    provider = KeePassSecretProvider(**options)
    assert provider.address() == {"path": "/x/a.kdbx", "field": "password"}
    assert SECRET not in repr(KeePassConfig(path=Path("x"), password=SECRET)) + repr(provider)


def test_without_credentials():
    with pytest.raises(ConfigurationError, match="neither password nor key_file"):
        KeePassSecretProvider("a.kdbx")
    with pytest.raises(ConfigurationError, match="cannot be a secret"):
        KeePassSecretProvider("a.kdbx", "p", field="title")


def test_a_wrong_password_changes_nothing(path, quick):
    wrong = KeePassSecretProvider(path, SECRET)
    for call in (lambda: wrong.get_secret("a"), lambda: wrong.set_secret("a", "1"), wrong.list_secrets):
        with pytest.raises(DecryptionError) as caught:
            call()
        assert type(caught.value) is DecryptionError
        assert_harmless(caught.value, SECRET)
    assert path.read_bytes() == quick


def test_a_key_file(tmp_path, path, provider):
    provider.set_secret("a", "1")
    key_file = tmp_path / "a.key"
    key_file.write_text("key material")
    provider._read().opened.keyfile = str(key_file)
    provider._read().opened.save(str(path))
    both = KeePassSecretProvider(path, PASSWORD, key_file=key_file)
    assert both.get_secret("a") == "1"
    with pytest.raises(DecryptionError):
        KeePassSecretProvider(path, PASSWORD).get_secret("a")


def key_file_text(version="2.0", text="0" * 64, checksum="66687AAD"):
    """The XML of KeePass; by default a key of 32 zero bytes, and the beginning of their hash."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<KeyFile><Meta><Version>{version}</Version></Meta>'
        f'<Key><Data Hash="{checksum}">{text}</Data></Key></KeyFile>\n'
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "is not there"),
        (b"", "is empty"),
        (key_file_text(checksum="00000000").encode(), "is damaged"),
        (key_file_text(text="0" * 63).encode(), "is damaged"),
    ],
)
@pytest.mark.parametrize("name", ["secrets.kdbx", "new.kdbx"])
def test_a_key_file_that_has_no_key(tmp_path, path, quick, data, reason, name):
    """It is the key file that is wrong, not the database; and none is made that nobody else could open."""
    if data is not None:
        (tmp_path / "a.key").write_bytes(data)
    provider = KeePassSecretProvider(tmp_path / name, PASSWORD, key_file=tmp_path / "a.key")
    for call in (lambda: provider.get_secret("a"), lambda: provider.set_secret("a", "1"), provider.diagnose):
        with pytest.raises(ConfigurationError, match=rf"the key file \S+ {reason}"):
            call()
    assert path.read_bytes() == quick
    assert not (tmp_path / "new.kdbx").exists()


@needs_keepassxc
@pytest.mark.parametrize(
    "data",
    [
        None,
        bytes(range(32)),
        b"0123456789abcdef" * 4,
        b"0123456789ABCDEF" * 4 + b"\n",
        b"any text",
        key_file_text(text=f"\n  {'00000000 ' * 4}\n  {'00000000 ' * 4}\n").encode(),
        key_file_text("1.00", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").encode(),
        b"<a>another kind of XML</a>",
    ],
    ids=["made by it", "32 bytes", "hexadecimal", "and a line end", "hashed", "XML 2.0", "XML 1.0", "XML"],
)
def test_key_files_of_keepassxc(tmp_path, path, data):
    key_file = tmp_path / "a.key"
    if data is not None:
        key_file.write_bytes(data)
    command = ["keepassxc-cli", "db-edit", "-q", "--set-key-file", str(key_file), str(path)]
    subprocess.run(command, input=f"{PASSWORD}\n", capture_output=True, text=True, check=True)
    xc(path, "add", "-k", str(key_file), "-p", "theirs", given="one\none\n")
    with KeePassSecretProvider(path, PASSWORD, key_file=key_file) as provider:
        assert provider.get_secret("theirs") == "one"
        provider.set_secret("ours", "two")
    assert xc(path, "show", "-k", str(key_file), "-s", "-a", "Password", "ours") == "two\n"


@pytest.mark.parametrize("data", [b"", b"hunter2 is text", b"\x03\xd9\xa2\x9a\x67\xfb\x4b\xb5"])
def test_what_is_not_a_database(tmp_path, data):
    path = tmp_path / "a.kdbx"
    path.write_bytes(data)
    with pytest.raises((ConfigurationError, TamperedError)) as caught:
        KeePassSecretProvider(path, PASSWORD).get_secret("a")
    assert_harmless(caught.value, "hunter2", PASSWORD)


def test_a_changed_byte_is_found(path, provider):
    """Wherever it is: in the header, or in what is encrypted."""
    provider.set_secret("a", "x" * 500)
    data = path.read_bytes()
    for at in (9, 60, len(data) // 2, len(data) - 40):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises((DecryptionError, ConfigurationError)):
            KeePassSecretProvider(path, PASSWORD).get_secret("a")
        with pytest.raises((DecryptionError, ConfigurationError)) as refused:
            provider.get_secret("a")
        assert refused.value.__context__ is None  # what was decrypted may be in a parser's error


def test_the_derived_key_is_kept(path, provider, reopened, derivations):
    """One derivation for any number of reads, writes, and writes of another process."""
    for number in range(3):
        provider.set_secret("a", str(number))
        assert provider.get_secret("a") == str(number)
    assert derivations() == 1
    reopened.set_secret("a", "theirs")
    assert derivations() == 2
    assert provider.get_secret("a") == "theirs"
    assert derivations() == 2
    provider.close()
    assert provider.get_secret("a") == "theirs"
    assert derivations() == 3


def test_fields(path, provider):
    """Each is a view of the same entries, and leaves the others alone."""
    provider.set_secret("web/login", "the password")
    for field in ("username", "URL", "notes", "API key"):
        other = KeePassSecretProvider(path, PASSWORD, field=field)
        other.set_secret("web/login", f"the {field}")
        assert other.get_secret("web/login") == f"the {field}"
    assert provider.get_secret("web/login") == "the password"
    assert KeePassSecretProvider(path, PASSWORD, field="API key").list_secrets() == ["web/login"]
    with pytest.raises(SecretNotFoundError):
        KeePassSecretProvider(path, PASSWORD, field="other").get_secret("web/login")


def test_a_deleted_attribute_leaves_the_rest_of_the_entry_alone(path, provider):
    """It is gone from the history as well; an entry that has nothing else goes whole."""
    provider.set_secret("web/login", "the password")
    tokens = KeePassSecretProvider(path, PASSWORD, field="API key")
    tokens.set_secrets({"web/login": "old", "web/other": "1"})
    tokens.set_secret("web/login", "new")
    seen = {one.version for one in tokens.list_versions("web/login")}
    tokens.delete_secret("web/login")
    tokens.delete_secret("web/other")
    assert tokens.list_secrets() == []
    with pytest.raises(SecretNotFoundError):
        tokens.get_secret("web/login")
    assert provider.get_secret("web/login") == "the password"
    assert provider.list_secrets() == ["web/login"]
    assert b"API key" not in PyKeePass(path, PASSWORD).xml()
    version = tokens.set_secret_if("web/login", "again", None)
    assert version not in seen
    assert [one.version for one in tokens.list_versions("web/login")] == [version]
    tokens.close()
    assert tokens.get_secret("web/login") == "again"
    assert tokens.describe_secret("web/login").version == version
    provider.delete_secret("web/login")
    assert tokens.list_secrets() == []


def test_titles_of_other_programs(provider):
    """Twins are told by doctor; a title with a slash is a key; what has no key is left out."""
    database = provider._read()
    kp = database.opened
    kp.add_entry(kp.root_group, "a/b", "", "flat")
    kp.add_entry(kp.root_group, "twin", "one", "first")
    kp.add_entry(kp.root_group, "twin", "two", "second")
    kp.add_entry(kp.root_group, "", "", "no title")
    kp.trash_entry(kp.add_entry(kp.root_group, "gone", "", "thrown away"))
    kp.save(str(provider._path))
    provider._state = None
    assert provider.list_secrets() == ["a/b", "twin"]
    assert provider.get_secrets(["a/b", "twin", "gone"]) == {"a/b": "flat", "twin": "first"}
    assert provider.diagnose()["entries of one name"].startswith("1 keys")
    provider.delete_secret("twin")
    assert provider.list_secrets() == ["a/b"]
    provider.set_secret("Recycle Bin/x", "1")
    assert provider.get_secret("Recycle Bin/x") == "1"


def test_an_empty_password_and_a_reference_of_other_programs_are_texts(provider):
    """pykeepass gives None for the one, and neither of them has a history before it is set here."""
    opened = provider._read().opened
    shop = opened.add_entry(opened.root_group, "shop", "ann", "a value")
    reference = f"{{REF:P@I:{shop.uuid.hex.upper()}}}"
    opened.add_entry(opened.root_group, "empty", "", "")
    opened.add_entry(opened.root_group, "same", "ann", reference)
    opened.save(str(provider._path))
    assert PyKeePass(provider._path, PASSWORD).find_entries(title="empty", first=True).password is None
    provider._state = None
    assert provider.get_secrets(["shop", "empty", "same"]) == {
        "shop": "a value",
        "empty": "",
        "same": reference,
    }
    assert len(provider.list_versions("empty")) == 1
    provider.set_secret("empty", "x")
    assert [provider.get_secret_version("empty", one.version) for one in provider.list_versions("empty")] == [
        "x",
        "",
    ]


def test_history_is_as_long_as_the_database_says(provider):
    for number in range(14):
        provider.set_secret("a", str(number))
    versions = provider.list_versions("a")
    assert len(versions) == 11
    assert provider.get_secret_version("a", versions[-1].version) == "3"


def test_another_programs_write_is_not_lost(path, provider, reopened, monkeypatch):
    """It comes between the look and the new file; the change begins again on theirs."""
    provider.set_secret("a", "one")
    version = provider.describe_secret("a").version
    real, turns = KeePassSecretProvider._saved, []

    def saved(self, database, *rest):
        if self is provider:
            turns.append(1)
            if len(turns) == 1:
                theirs = KeePassSecretProvider(path, PASSWORD)._read()
                theirs.set("b", "theirs")
                theirs.opened.save(str(path))
        return real(self, database, *rest)

    monkeypatch.setattr(KeePassSecretProvider, "_saved", saved)
    provider.set_secret_if("a", "mine", version)
    assert reopened.get_secrets(["a", "b"]) == {"a": "mine", "b": "theirs"}
    assert len(turns) == 2
    with pytest.raises(ConflictError):
        provider.set_secret_if("a", "x", version)


def test_a_write_that_waits_for_another_process_holds_up_no_read(provider, monkeypatch):
    waiting, go_on = threading.Event(), threading.Event()

    @contextmanager
    def locked(*_, **__):
        waiting.set()
        assert go_on.wait(60)
        yield

    provider.set_secret("a", "1")
    monkeypatch.setattr("strongroom_keepass.provider.folder_locked", locked)
    found = []
    writer = threading.Thread(target=provider.set_secret, args=("a", "2"))
    reader = threading.Thread(target=lambda: found.append(provider.get_secret("a")))
    writer.start()
    assert waiting.wait(60)
    reader.start()
    reader.join(30)
    go_on.set()
    writer.join(60)
    reader.join(60)
    assert found == ["1"]
    assert provider.get_secret("a") == "2"


def test_a_full_disk_leaves_what_was_there(path, provider, monkeypatch):
    from strongroom.providers import files

    provider.set_secret("a", "old")
    monkeypatch.setattr(
        files.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(BackendUnavailableError, match="No space"):
        provider.set_secret("a", "new")
    monkeypatch.undo()
    assert provider.get_secret("a") == "old"
    assert [one.name for one in path.parent.iterdir()] == ["secrets.kdbx"]


def test_children_write_while_threads_write(provider):
    provider.set_secret("a", "1")
    ended = threading.Event()
    thread = threading.Thread(
        target=lambda: [provider.set_secret("a", "1") for _ in iter(ended.is_set, True)]
    )
    thread.start()
    try:
        assert Children(2, lambda number: provider.set_secret(f"c{number}", "x")).results() == [None, None]
    finally:
        ended.set()
        thread.join()
    assert provider.list_secrets() == ["a", "c1", "c2"]


# --- the real program ---


@needs_keepassxc
def test_each_reads_what_the_other_writes(path, provider):
    provider.set_secrets({"group/entry": SECRET, "spaces ": " x "})
    assert xc(path, "show", "-s", "-a", "Password", "group/entry") == f"{SECRET}\n"
    xc(path, "add", "-p", "group/theirs", given="their password\ntheir password\n")
    xc(path, "edit", "-p", "group/entry", given="edited\nedited\n")
    assert provider.get_secrets(["group/entry", "group/theirs", "spaces "]) == {
        "group/entry": "edited",
        "group/theirs": "their password",
        "spaces ": " x ",
    }
    assert [
        provider.get_secret_version("group/entry", one.version)
        for one in provider.list_versions("group/entry")
    ] == [
        "edited",
        SECRET,
    ]
    xc(path, "rm", "group/theirs")
    assert "group/theirs" not in provider.list_secrets()
    provider.set_secret("group/entry", "mine again")
    assert xc(path, "show", "-s", "-a", "Password", "group/entry") == "mine again\n"


@needs_keepassxc
@pytest.mark.torture
def test_kdbx_3(tmp_path):
    """What keepassxc-cli makes by default is read, and written as it is."""
    path = tmp_path / "old.kdbx"
    made = subprocess.run(
        ["keepassxc-cli", "db-create", "-q", "-p", "-t", "100", str(path)],
        input=f"{PASSWORD}\n{PASSWORD}\n", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    xc(path, "add", "-p", "a", given="theirs\ntheirs\n")
    provider = KeePassSecretProvider(path, PASSWORD)
    assert provider.get_secret("a") == "theirs"
    assert provider.diagnose()["format"].startswith("KDBX 3")
    provider.set_secret("b/c", "mine")
    assert xc(path, "show", "-s", "-a", "Password", "b/c") == "mine\n"
    for key in ("a", "b/c"):
        Path(tmp_path, "note").write_text(f"of {key}")
        attach(path, "attachment-import", key, "note", str(tmp_path / "note"))
    provider.delete_secret("a")
    assert PyKeePass(path, PASSWORD).binaries == [b"of b/c"]
    attach(path, "attachment-export", "b/c", "note", str(tmp_path / "out"))
    assert Path(tmp_path, "out").read_text() == "of b/c"


@needs_keepassxc
@pytest.mark.parametrize("into", ["older", "newer"])
def test_a_new_value_outlives_a_merge_with_an_older_copy(path, provider, tmp_path, into):
    provider.set_secret("a", "1")
    older = tmp_path / "older.kdbx"
    shutil.copy(path, older)
    provider.set_secret("a", "2")
    one, other = (older, path) if into == "older" else (path, older)
    attach(one, "merge", "-s", str(other))
    assert KeePassSecretProvider(one, PASSWORD).get_secret("a") == "2"


def test_a_deletion_is_noted_where_the_file_has_no_place_for_it(path, provider):
    """With a time after that of the entry's last change, or KeeWeb's merge brings it back from an older copy."""
    provider.set_secret("a", "1")
    opened = PyKeePass(path, password=PASSWORD)
    [entry] = opened.entries
    uuid, changed = entry._element.findtext("UUID"), entry.mtime
    place = opened.tree.find("Root/DeletedObjects")
    place.getparent().remove(place)
    opened.save()
    provider.delete_secret("a")
    opened = PyKeePass(path, password=PASSWORD)
    [noted] = opened.tree.findall("Root/DeletedObjects/DeletedObject")
    assert noted.findtext("UUID") == uuid
    assert opened._decode_time(noted.findtext("DeletionTime")) > changed


def attach(path, command, *words):
    done = subprocess.run(
        ["keepassxc-cli", command, "-q", str(path), *words],
        input=f"{PASSWORD}\n", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.torture
def _without(tag):
    def spoil(opened):
        for element in list(opened.tree.iter(tag)):
            element.getparent().remove(element)

    return spoil


def _with_time(text):
    def spoil(opened):
        for element in opened.tree.iter("LastModificationTime"):
            element.text = text

    return spoil


@pytest.mark.parametrize(
    "spoil",
    [
        *map(_without, ("Times", "LastModificationTime", "CreationTime", "History", "UUID")),
        *map(_with_time, (None, "yesterday", "2024-01-01T00:00:00Z", "fziGd0kAAAA=", "//////////8=")),
    ],
)
def test_what_other_programs_leave_out_of_an_entry(path, provider, spoil):
    provider.set_secret("web/a", "1")
    provider.set_secret("web/a", "2")
    opened = PyKeePass(path, PASSWORD)
    spoil(opened)
    opened.save()
    assert provider.get_secret("web/a") == "2"
    versions = [one.version for one in provider.list_versions("web/a")]
    assert versions[0] == provider.describe_secret("web/a").version
    assert len(set(versions)) == len(versions)
    assert provider.get_secret_version("web/a", versions[0]) == "2"
    newer = provider.set_secret_if("web/a", "3", versions[0])
    assert newer not in versions
    assert provider.describe_secret("web/a").updated_at is not None
    with pytest.raises(ConflictError):
        provider.set_secret_if("web/a", "4", versions[0])
    provider.delete_secret("web/a")
    assert provider.list_secrets() == []


def test_a_database_that_is_removed_while_it_is_looked_at(tmp_path, monkeypatch):
    path = tmp_path / "secrets.kdbx"
    path.touch()
    provider = KeePassSecretProvider(path, PASSWORD)
    monkeypatch.setattr(provider, "_seen", lambda: None)
    assert "not there" in provider.diagnose()["file"]


def test_a_new_database(tmp_path):
    """The first write makes it: KDBX 4, with the key derivation that KeePass chooses."""
    path = tmp_path / "new/secrets.kdbx"
    provider = KeePassSecretProvider(path, PASSWORD)
    assert "not there" in provider.diagnose()["file"]
    assert not path.exists()
    provider.set_secret("a/b", "1")
    assert path.stat().st_mode & 0o777 == 0o600
    assert provider.diagnose()["format"] == "KDBX 4.0"
    assert KeePassSecretProvider(path, PASSWORD).get_secret("a/b") == "1"
    if shutil.which("keepassxc-cli"):
        assert xc(path, "show", "-s", "-a", "Password", "a/b") == "1\n"


def test_what_reads_of_a_database_that_is_not_there_makes_none(tmp_path, monkeypatch):
    """That takes seconds: the key of a new one is derived from the password."""
    provider = KeePassSecretProvider(tmp_path / "secrets.kdbx", PASSWORD)
    monkeypatch.setattr("pykeepass.PyKeePass.__init__", None)
    assert provider.list_secrets() == []
    assert provider.get_secrets(["a"]) == {}
    for read in (provider.get_secret, provider.describe_secret, provider.list_versions):
        with pytest.raises(SecretNotFoundError):
            read("a")


def test_a_database_in_the_place_of_one_that_was_removed_opens_with_its_password(
    path, quick, tmp_path, provider, reopened, monkeypatch
):
    """The key that was derived for the old one is not that of the new one, which has a salt of its own."""
    blank = tmp_path / "blank.kdbx"
    PyKeePass(io.BytesIO(quick), PASSWORD).save(blank)  # with a new salt; pykeepass's takes seconds to open
    monkeypatch.setattr("pykeepass.pykeepass.BLANK_DATABASE_LOCATION", str(blank))
    monkeypatch.setattr("pykeepass.pykeepass.BLANK_DATABASE_PASSWORD", PASSWORD)
    provider.set_secret("a", "old")
    assert provider.get_secret("a") == "old"
    path.unlink()
    with pytest.raises(SecretNotFoundError):
        provider.get_secret("a")
    provider.set_secret("a", "new")
    assert reopened.get_secret("a") == "new"


def test_a_rotation_leaves_no_group_of_its_own_behind(provider):
    """The user sees the groups; one of theirs stays though it is empty."""
    provider.set_secrets({"a": "1", "web/a": "1", "mine/a": "1"})
    rotation = SecretRotation(provider)
    for key in ("a", "web/a"):
        rotation.rotate(key, "2")
    provider.delete_secret("mine/a")
    groups = [group.name for group in provider._read().opened.groups if not group.is_root_group]
    assert sorted(groups) == ["mine", "web"]


def test_a_value_that_a_database_cannot_hold_is_refused_before_the_target_system_gets_it(provider):
    provider.set_secret("a", "1")
    applied = []
    rotation = SecretRotation(provider, apply=lambda *values: applied.append(values))
    with pytest.raises(ValidationError, match="holds a character"):
        rotation.rotate("a", "\x01")
    assert applied == []
    assert rotation.status_of("a").state == "current"


def test_versions_of_one_second_have_names_of_their_own(path, provider):
    """Another program may make several in a second; which name is whose does not change with the next one."""
    provider.set_secret("a", "one")
    opened = PyKeePass(path, password=PASSWORD)
    [entry] = [one for one in opened.entries if one.title == "a"]
    made = entry.mtime
    named = [provider.describe_secret("a").version]
    for value in ("two", "three"):
        entry.save_history()
        entry.password = value
        entry.mtime = made
        opened.save()
        named.append(provider.describe_secret("a").version)
    assert len(set(named)) == 3
    assert [provider.get_secret_version("a", name) for name in named] == ["one", "two", "three"]
    assert [one.version for one in provider.list_versions("a")] == named[::-1]
    with pytest.raises(ConflictError):
        provider.set_secret_if("a", "four", named[0])


def add_entry(opened, title, *attachments):
    entry = opened.add_entry(opened.root_group, title, "", "x")
    for number in attachments:
        entry.add_attachment(number, f"{number}.pem")


def attachments_of(path):
    opened = PyKeePass(path, PASSWORD)
    return {one.entry.title: one.data for one in opened.attachments}, len(opened.binaries)


def test_a_deleted_entry_takes_the_attachments_along_that_are_its_alone(path, provider):
    opened = PyKeePass(path, PASSWORD)
    for data in (b"only a's", b"shared", b"b's"):
        opened.add_binary(data)
    add_entry(opened, "a", 0, 1)
    add_entry(opened, "b", 2)
    add_entry(opened, "c", 1)
    opened.save()
    provider.delete_secret("a")
    assert attachments_of(path) == ({"b": b"b's", "c": b"shared"}, 2)
    provider.delete_secret("b")
    assert attachments_of(path) == ({"c": b"shared"}, 1)


def test_a_changed_master_password_is_tried_at_once(path):
    now = ["not the master"]
    with KeePassSecretProvider(path, ReferencedText("not the master", lambda: now[0])) as provider:
        with pytest.raises(DecryptionError):
            provider.list_secrets()
        now[0] = PASSWORD
        provider.set_secret("a", "v")
        assert provider.get_secret("a") == "v"


def test_a_missing_file_is_told_where_a_secret_is_not_found(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    spec = "version: 1\npipelines: {a: {provider: {type: keepass, path: secrets.kdbx, password: a master password}}}\n"
    Path("own.yaml").write_text(spec + "secrets: {A: {key: a}}\n")
    there_is_none = f"there is no database {tmp_path}/secrets.kdbx"
    assert run_app(["--spec", "own.yaml", "get", "a"]) == 3
    assert (
        f"'a' not found: {there_is_none}; a fresh clone has none: copy it there, or "
        in capfd.readouterr().err
    )
    assert run_app(["--spec", "own.yaml", "run", "true"]) == 3
    assert there_is_none in capfd.readouterr().err
