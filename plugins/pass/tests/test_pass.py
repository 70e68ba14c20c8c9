"""What is special about pass: the real program, the first line, names, and what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from base64 import b64encode
from pathlib import Path

import pytest
from hypothesis import strategies as st
from properties import holds_for
from strongroom import SecretProviderRegistry
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    InvalidKeyError,
    PermissionDeniedError,
    ReadOnlyError,
    SecretNotFoundError,
    TamperedError,
    ValidationError,
)
from strongroom.keys import check_key
from strongroom.rotation import SecretRotation
from strongroom.testing.conformance.base import SECRET, assert_harmless
from strongroom_pass import PassSecretProvider
from strongroom_pass.config import PassConfig
from strongroom_pass.names import key_of, name_of

NOBODY = 65534


def _is_key(text):
    try:
        check_key(text)
    except InvalidKeyError:
        return False
    return True


keys = st.text(alphabet="a=_.-~/ gpt", min_size=1, max_size=10).filter(_is_key)


@holds_for(keys, keys)
def test_names(first, second):
    """Each key comes back from its name, which is not an option, a hidden file, or another key's."""
    name = name_of(first)
    assert key_of(name) == first
    assert not any(part.startswith((".", "-", "~")) for part in name.split("/"))
    assert not name.endswith((".gpg", ".git"))
    assert (name == name_of(second)) == (first == second)


@holds_for(st.text(alphabet="a=_.-~/ gptü+", min_size=12, max_size=60).filter(_is_key))
def test_names_of_long_segments(key):
    """A segment over the limit is split into parts that are names as others are, and comes back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("strongroom_pass.names._LONGEST", 12)
        name = name_of(key)
        assert key_of(name) == key
    assert all(len(part.encode()) <= 12 for part in name.split("/"))
    assert not any(part.startswith((".", "-", "~", " ")) for part in name.split("/"))


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("web/example.com", "web/example.com"),
        (".ssh/-key", "=_2essh/=_2dkey"),
        ("a.gpg", "a=_2egpg"),
        (" a ", "=_20a=_20"),
        ("x" * 251, f"{'x' * 247}=_+/{'x' * 4}"),
    ],
)
def test_documented_names(key, name):
    assert name_of(key) == name


def test_the_configuration_is_the_constructor(monkeypatch):
    monkeypatch.setenv("PASSWORD_STORE_DIR", "/from/the/variable")
    assert PassSecretProvider(**PassConfig().model_dump()).address()["path"] == "/from/the/variable"
    assert PassSecretProvider(**PassConfig(path=Path("/x")).model_dump()).address()["path"] == "/x"


def test_an_empty_path_is_not_the_current_folder():
    with pytest.raises(ConfigurationError, match="the path is empty"):
        PassSecretProvider("")


@pytest.mark.parametrize("writer", ["line", "entry", "by_name"])
def test_a_cache_of_the_line_and_one_of_the_entry_drop_what_the_other_writes(store, writer):
    """They are two pipelines over one store, whichever program and part they name."""

    def pipeline(**options):
        return {
            "provider": {"type": "pass", "path": str(store), "timeout": 60, **options},
            "middleware": [{"type": "caching"}],
        }

    pipelines = {
        "line": pipeline(),
        "entry": pipeline(whole=True),
        "by_name": pipeline(program=shutil.which("pass")),
    }
    with SecretProviderRegistry({"version": 1, "pipelines": pipelines}) as registry:
        registry.pipeline("entry").set_secret("a", "old")
        assert {registry.pipeline(name).get_secret("a") for name in pipelines} == {"old"}
        registry.pipeline(writer).set_secret("a", "new")
        assert {registry.pipeline(name).get_secret("a").rstrip("\n") for name in pipelines} == {"new"}


def test_what_is_not_a_store(tmp_path):
    provider = PassSecretProvider(tmp_path / "absent", program="true")
    reads = (lambda: provider.get_secret("a"), lambda: provider.get_secrets(["a"]), provider.list_secrets)
    writes = (lambda: provider.set_secret("a", "1"), lambda: provider.delete_secret("a"))
    for call in (*reads, *writes, lambda: provider.describe_secret("a"), provider.diagnose):
        with pytest.raises(ConfigurationError, match="is not a password store"):
            call()


def fake(tmp_path, script, name="program"):
    (tmp_path / "store").mkdir()
    (tmp_path / "store/a.gpg").write_text("x")
    program = tmp_path / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    return PassSecretProvider(tmp_path / "store", program=str(program), timeout=5)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo 'gpg: decryption failed: No secret key' >&2; exit 2", AuthenticationError),
        ("echo 'Error: a is not in the password store.' >&2; exit 1", SecretNotFoundError),
        ("echo 'Error: You must run: pass init' >&2; exit 1", ConfigurationError),
        ("echo 'gpg: 0123ABCD: skipped: Unusable public key' >&2; exit 2", ConfigurationError),
        ("echo 'gpg: nobody@example.com: skipped: No name' >&2; exit 2", ConfigurationError),
        ("echo 'gpg: WARNING: encrypted message has been manipulated!' >&2; exit 2", TamperedError),
        ("echo 'gpg: decryption failed: Invalid packet' >&2; exit 2", TamperedError),
        ("echo 'gpg: no valid OpenPGP data found.' >&2; exit 2", TamperedError),
        ("exit 9", BackendUnavailableError),
        ("kill -9 $$", BackendUnavailableError),
        ("printf 'hunter2\\377'", ValidationError),
    ],
)
def test_errors(tmp_path, script, expected):
    with pytest.raises(expected) as caught:
        fake(tmp_path, script).get_secret("a")
    assert type(caught.value) is expected
    assert_harmless(caught.value, "hunter2")


def test_no_error_holds_a_value(tmp_path):
    provider = fake(tmp_path, 'test "$1" = show || { cat >&2; exit 1; }')
    with pytest.raises(BackendUnavailableError) as caught:
        provider.set_secret("a", SECRET)
    assert_harmless(caught.value, SECRET)


def test_no_error_shows_the_login_of_the_store_s_remote(tmp_path):
    """As git quotes it, which the program runs."""
    provider = fake(
        tmp_path, "echo \"fatal: unable to access 'https://me:hunter2@host/s.git/'\" >&2; exit 128"
    )
    with pytest.raises(BackendUnavailableError, match="unable to access") as caught:
        provider.get_secret("a")
    assert_harmless(caught.value, "hunter2")


def test_doctor_opens_a_secret_and_finds_that_there_is_no_program(tmp_path):
    provider = fake(tmp_path, "echo 'gpg: decryption failed: No secret key' >&2; exit 2")
    (tmp_path / "store/.gpg-id").write_text("0123ABCD")
    with pytest.raises(AuthenticationError):
        provider.diagnose()
    (tmp_path / "store/a.gpg").unlink()
    assert provider.diagnose()["decrypts"].startswith("not tried")
    (tmp_path / "program").unlink()
    with pytest.raises(ConfigurationError, match="there is no program"):
        provider.diagnose()


@pytest.fixture
def private():
    """A folder of a user who is not root, and this process as that user."""
    folder = Path(tempfile.mkdtemp(prefix="strongroom-pass-"))  # into a folder of pytest's only root may go
    is_root = os.geteuid() == 0
    if is_root:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    yield folder
    if is_root:
        os.seteuid(0)
    shutil.rmtree(folder)


@pytest.mark.parametrize("folder", [".", "team"])
def test_a_folder_that_this_user_may_not_read(private, folder):
    """It is an error, and not a store without those entries."""
    provider = fake(private, "echo one")
    (private / "store/.gpg-id").write_text("0123ABCD")
    (private / "store/team").mkdir()
    (private / "store/team/a.gpg").write_text("x")
    key = "a" if folder == "." else "team/a"
    (private / "store" / folder).chmod(0)
    try:
        for call in (
            provider.list_secrets,
            provider.diagnose,
            lambda: provider.get_secret(key),
            lambda: provider.describe_secret(key),
            lambda: provider.set_secret(key, "1"),
            lambda: provider.delete_secret(key),
        ):
            with pytest.raises(PermissionDeniedError, match="Permission denied"):
                call()
    finally:
        (private / "store" / folder).chmod(0o700)


def test_another_program_of_the_name_gopass(tmp_path):
    """Debian's package 1.5 says that it stored what it did not: it is used for nothing."""
    provider = fake(tmp_path, f'test "$1" != --version && echo "$*" >> {tmp_path}/done', "gopass")
    (tmp_path / "store/.gpg-id").write_text("0123ABCD")
    for call in (
        lambda: provider.get_secret("a"),
        lambda: provider.set_secret("a", "1"),
        lambda: provider.delete_secret("a"),
        provider.diagnose,
    ):
        with pytest.raises(ConfigurationError, match="another program") as caught:
            call()
        assert "Debian" in caught.value.hint
    (tmp_path / "store/a.gpg").unlink()
    with pytest.raises(ConfigurationError, match="another program"):
        provider.diagnose()
    assert not (tmp_path / "done").exists()


def test_gopass_is_tried_once(tmp_path):
    provider = fake(tmp_path, f'echo "$1" >> {tmp_path}/done', "gopass")
    assert provider.get_secrets(["a", "b"]) == {"a": ""}
    provider.get_secret("a")
    assert (tmp_path / "done").read_text().split() == ["--version", "show", "show"]


INSERTS = {
    "half of it": 'head -c 3 > "$file"; exit 1',
    "nothing": ': > "$file"; exit 2',
    "killed": 'head -c 3 > "$file"; kill -9 $$',
    "in its own time": 'head -c 3 > "$file"; exec sleep 600',
}


def writes_in_place(tmp_path, insert):
    """A program that stores in clear, and whose `insert` does what is given."""
    script = f'file="$PASSWORD_STORE_DIR/$(eval echo "\\${{$#}}").gpg"\ncase $1 in show) cat "$file";; insert) {insert};; esac'
    return fake(tmp_path, script)


@pytest.mark.parametrize("insert", INSERTS.values(), ids=INSERTS)
def test_a_write_that_fails_in_the_middle_leaves_what_was_there(tmp_path, insert):
    """`pass` empties the file of an entry before it knows whether it can write it anew."""
    provider = writes_in_place(tmp_path, insert)
    provider._pass._timeout = 1 if "sleep" in insert else 60
    (tmp_path / "store/a.gpg").write_text("old\n")
    for key in ("a", "new"):
        with pytest.raises(BackendUnavailableError):
            provider.set_secret(key, SECRET)
    assert provider.get_secret("a") == "old"
    assert provider.list_secrets() == ["a"]


def test_a_write_that_was_made_stays_though_what_follows_fails(tmp_path):
    provider = writes_in_place(tmp_path, 'cat > "$file"; echo "a hook of git refused it" >&2; exit 1')
    with pytest.raises(BackendUnavailableError, match="a hook of git"):
        provider.set_secret("a", "new")
    assert provider.get_secret("a") == "new"


@pytest.mark.parametrize(
    ("said", "expected", "hint"),
    [
        ("Read-only file system", ReadOnlyError, "mounted read-only"),
        ("No space left on device", BackendUnavailableError, "free space"),
        ("Disk quota exceeded", BackendUnavailableError, "free space"),
        ("Permission denied", PermissionDeniedError, "right"),
    ],
)
def test_what_the_disk_refuses(tmp_path, said, expected, hint):
    provider = fake(tmp_path, f'test "$1" = show || {{ echo "gpg: can\'t create: {said}" >&2; exit 2; }}')
    for call in (lambda: provider.set_secret("a", "1"), lambda: provider.delete_secret("a")):
        with pytest.raises(expected) as caught:
            call()
        assert hint in caught.value.hint


def test_the_program_speaks_english_whatever_the_user_does(tmp_path, monkeypatch):
    """What it says tells the errors apart."""
    monkeypatch.setenv("LANGUAGE", "de")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert fake(tmp_path, 'echo "$LANGUAGE"').get_secret("a") == "C"


def test_a_program_that_waits(tmp_path):
    provider = fake(tmp_path, "exec sleep 600")
    provider._pass._timeout = 0.2
    with pytest.raises(BackendUnavailableError, match="did not end"):
        provider.get_secret("a")


def test_no_program(tmp_path, monkeypatch):
    provider = fake(tmp_path, "")
    provider._pass._program = None
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigurationError, match="neither pass nor gopass"):
        provider.get_secret("a")


# --- the real program ---


@pytest.fixture
def small_disk(store):
    """A file system of 64 kB in the store, which root alone can make."""
    folder = store / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
    made = os.geteuid() == 0 and shutil.which("mount")
    if not made or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(provider, there):
    """Write until the disk is full, and note in `there` what was acknowledged."""
    for number in range(20):
        value = b64encode(os.urandom(6000)).decode()  # gpg compresses
        provider.set_secret(f"small/{number}", value)
        there[f"small/{number}"] = value


@pytest.mark.torture
def test_a_full_disk_loses_nothing_that_was_acknowledged(make, small_disk):
    provider, there = make(), {"small/a": "one"}
    provider.set_secret("small/a", "one")
    with pytest.raises(BackendUnavailableError, match="No space left") as caught:
        fill(provider, there)
    assert "free space" in caught.value.hint
    for key in ("small/a", "small/0"):
        with pytest.raises(BackendUnavailableError, match="No space left"):
            provider.set_secret(key, b64encode(os.urandom(30_000)).decode())
    assert provider.get_secrets(provider.list_secrets()) == there
    provider.delete_secret("small/0")
    provider.set_secret("small/a", "two")
    assert provider.get_secret("small/a") == "two"


def test_the_first_line(make, passes, store):
    """The other lines, which tools keep a user's name in, stay as they are."""
    passes("insert", "--multiline", "web/site", given=f"{SECRET}\nlogin: me\nurl: x\n")
    provider = make()
    assert provider.get_secret("web/site") == SECRET
    provider.set_secret("web/site", "new one ")
    assert passes("show", "web/site") == "new one \nlogin: me\nurl: x\n"
    provider.set_secret("plain", " blanks ")
    assert passes("show", "plain") == " blanks \n"
    assert provider.list_secrets() == ["plain", "web/site"]
    assert make(whole=True).get_secret("web/site") == "new one \nlogin: me\nurl: x\n"
    with pytest.raises(ValidationError, match="several lines"):
        provider.set_secret("plain", "two\nlines")
    applied = []
    with pytest.raises(ValidationError, match="several lines"):
        SecretRotation(provider, apply=lambda *values: applied.append(values)).rotate("plain", "two\nlines")
    assert applied == []
    with pytest.raises(SecretNotFoundError):
        provider.get_secret("web")  # a folder, of which `pass show` prints the tree
    provider.delete_secret("web/site")
    assert sorted(os.listdir(store)) == [".gpg-id", "plain.gpg"]
    assert provider.diagnose()["can_list"] == "yes, 1 keys"


def test_conditional_writes(make, passes):
    provider = make()
    version = provider.set_secret_if("a", "one", None)
    passes("insert", "--multiline", "--force", "a", given="theirs\n")
    with pytest.raises(ConflictError):
        provider.set_secret_if("a", "two", version)
    assert provider.get_secret("a") == "theirs"
    assert provider.get_secrets(["a", "b"]) == {"a": "theirs"}


def test_a_key_that_is_not_there(make, monkeypatch, tmp_path):
    make().set_secret("a", "one")
    home = tmp_path / "g"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("GNUPGHOME", str(home))
    with pytest.raises(AuthenticationError, match="No secret key"):
        make().get_secret("a")


def test_an_entry_whose_file_is_damaged(make, passes, store):
    """Of a file that was cut off gpg says nothing, and ends well: it is not an empty secret."""
    provider = make()
    passes("insert", "--multiline", "--force", "a", given=SECRET)
    whole = (store / "a.gpg").read_bytes()
    for data in (b"", b"x", whole[:50], whole[:-5], whole[:-1] + bytes([whole[-1] ^ 1])):
        (store / "a.gpg").write_bytes(data)
        with pytest.raises(TamperedError) as caught:
            provider.get_secret("a")
        assert_harmless(caught.value, SECRET)
    passes("insert", "--multiline", "--force", "a", given="")
    assert provider.get_secret("a") == ""
    provider.set_secret("k" * 512, "long")
    assert make().list_secrets() == ["a", "k" * 512]
    assert provider.get_secret("k" * 512) == "long"
    with pytest.raises(SecretNotFoundError):
        provider.get_secret("j" * 512)


def test_a_recipient_who_is_not_in_the_keyring(make, store):
    (store / ".gpg-id").write_text("nobody@example.com\n")
    with pytest.raises(ConfigurationError, match="nobody@") as caught:
        make().set_secret("a", "1")
    assert ".gpg-id" in caught.value.hint


@pytest.mark.parametrize(
    "reason", ["No public key", "No data", "No name", "Network error", "Certificate expired"]
)
def test_a_recipient_that_gpg_passes_over_is_one_whatever_its_look_up_on_the_network_met(tmp_path, reason):
    """gpg 2.2 asks the domain of an address for its key, and then gives that answer as its reason."""
    with pytest.raises(ConfigurationError, match="nobody@") as caught:
        fake(tmp_path, f'echo "gpg: nobody@example.com: skipped: {reason}" >&2; exit 2').set_secret("a", "1")
    assert ".gpg-id" in caught.value.hint


def test_doctor_tries_the_keys_of_each_gpg_id(make, passes, store, gnupg):
    """What is read well may be written for nobody; a folder's own `.gpg-id` counts there."""
    provider = make()
    passes("insert", "--multiline", "a", given="one\n")
    (store / ".gpg-id").write_text(f"# mine\n{gnupg[1]} # me\n")
    assert provider.diagnose()["encrypts"] == "for 1 key"
    (store / "team").mkdir()
    (store / "team/.gpg-id").write_text(f"{gnupg[1]}\nnobody@example.com\n")
    assert provider.get_secret("a") == "one"
    with pytest.raises(ConfigurationError, match=r"team/\.gpg-id: .*nobody@example\.com") as caught:
        provider.diagnose()
    assert "gpg --list-keys" in caught.value.hint
    (store / "team/.gpg-id").write_text("\n")
    with pytest.raises(ConfigurationError, match="names no key"):
        provider.diagnose()


def test_the_hint_of_a_failed_write_is_a_write(tmp_path):
    with pytest.raises(BackendUnavailableError) as caught:
        fake(tmp_path, 'test "$1" = show && echo x || exit 9').set_secret("a", "1")
    assert "pass insert" in caught.value.hint


def test_entries_below_linked_folders_are_listed_as_pass_does(make, passes, store, tmp_path):
    passes("insert", "-m", "team/a", given="1")
    (tmp_path / "shared").mkdir()
    (store / "team/a.gpg").rename(tmp_path / "shared/b.gpg")
    passes("insert", "-m", "team/a", given="2")
    (store / "theirs").symlink_to(tmp_path / "shared")
    (tmp_path / "shared/back").symlink_to(store / "team")
    (store / "team/to").symlink_to(tmp_path / "shared")
    (store / "team/up").symlink_to("..")
    provider = make()
    keys = ["team/a", "team/to/b", "theirs/b", "theirs/back/a"]
    assert provider.list_secrets() == keys
    assert provider.get_secrets(keys) == {
        "team/a": "2",
        "team/to/b": "1",
        "theirs/b": "1",
        "theirs/back/a": "2",
    }
    assert "theirs" in passes("ls")
