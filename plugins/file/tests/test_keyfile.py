"""Key files: links as in a Kubernetes volume, who else may read them, and the old key that a rekey leaves."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import warnings
from pathlib import Path

import pytest
from strongroom.encryption import keyfiles
from strongroom.encryption.keyfiles import KeyFileWarning, next_for_all
from strongroom.encryption.keys import KeyMaterial, generate_key
from strongroom.errors import ConfigurationError, ConflictError, DecryptionError, SecretNotFoundError
from strongroom_file import FileSecretProvider, key_source

STRANGER = 65_534


def _key(path, text=None, mode=0o600):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text or generate_key()}\n")
    path.chmod(mode)
    return path


@pytest.fixture
def volume(tmp_path):
    """A volume as Kubernetes makes it: `app.key -> ..data/app.key`, `..data -> ..1`."""
    folder = tmp_path / "volume"
    text = generate_key()
    for number in ("..1", "..2"):
        _key(folder / number / "app.key", text, 0o400)
    (folder / "..data").symlink_to("..1")
    (folder / "app.key").symlink_to("..data/app.key")
    return folder


def _swap(volume):
    (volume / "..data_tmp").symlink_to("..2")
    (volume / "..data_tmp").rename(volume / "..data")
    shutil.rmtree(volume / "..1")


# --- links ---


def test_a_kubernetes_volume(volume, tmp_path):
    """The key is read through the links, also after the volume was swapped under a running process."""
    with FileSecretProvider(tmp_path / "store", key_file=volume / "app.key") as provider:
        provider.set_secret("key", "value")
        _swap(volume)
        assert provider.get_secret("key") == "value"
        provider.close()
        provider.set_secret("key", "again")
    with FileSecretProvider(tmp_path / "store", key_file=volume / "app.key") as provider:
        assert provider.get_secret("key") == "again"
    assert (volume / "app.key").is_symlink()


def test_a_link_is_not_replaced(volume, tmp_path):
    """A rekey would put a file into its place: it names the target, and changes nothing."""
    with FileSecretProvider(tmp_path / "store", key_file=volume / "app.key") as provider:
        provider.set_secret("key", "value")
        with pytest.raises(ConfigurationError) as caught:
            provider.rekey()
        assert str((volume / "..1" / "app.key").resolve()) in caught.value.message
        assert provider.get_secret("key") == "value"
    assert sorted(path.name for path in volume.iterdir()) == ["..1", "..2", "..data", "app.key"]


def test_a_link_that_leads_nowhere(tmp_path):
    """It is an error, and no key is made behind it."""
    (tmp_path / "app.key").symlink_to("nowhere")
    provider = FileSecretProvider(tmp_path / "store", key_file=tmp_path / "app.key")
    with pytest.raises(ConfigurationError, match="leads nowhere"):
        provider.set_secret("key", "value")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("what", ["file", "target", "link"])
def test_a_strangers_key_file_is_refused(tmp_path, what):
    """Whether the file is theirs, what a link leads to, or the link itself."""
    key = _key(tmp_path / "app.key")
    link = tmp_path / "link"
    link.symlink_to(key)
    os.chown(link if what == "link" else key, STRANGER, STRANGER, follow_symlinks=False)
    provider = FileSecretProvider(tmp_path / "store", key_file=key if what == "file" else link)
    with pytest.raises(ConfigurationError, match="belongs to another user"):
        provider.set_secret("key", "value")


@pytest.mark.parametrize("through", ["itself", "a link"])
def test_what_everybody_may_write_is_refused(tmp_path, through):
    """Somebody else may have put the key there."""
    key = _key(tmp_path / "app.key", mode=0o602)
    if through == "a link":
        (tmp_path / "link").symlink_to(key)
        key = tmp_path / "link"
    provider = FileSecretProvider(tmp_path / "store", key_file=key)
    with pytest.raises(ConfigurationError, match="everybody may write"):
        provider.set_secret("key", "value")


# --- who may read it ---


@pytest.mark.parametrize(
    ("mode", "expected"), [(0o644, "everybody"), (0o604, "everybody"), (0o640, "its group")]
)
def test_others_may_read_it(tmp_path, mode, expected):
    """A warning that names it and does not show it; the store works."""
    key = _key(tmp_path / "app.key", mode=mode)
    with FileSecretProvider(tmp_path / "store", key_file=key) as provider:
        with pytest.warns(KeyFileWarning, match=expected) as caught:
            provider.set_secret("key", "value")
        assert provider.get_secret("key") == "value"
    text = str(caught[0].message)
    assert "app.key" in text
    assert key.read_text().strip() not in text


def test_nobody_else_may_read_it(tmp_path, monkeypatch):
    """The owner's own, and root's that a process may read by its group, are told nothing of."""
    for mode in (0o600, 0o400):
        with FileSecretProvider(
            tmp_path / str(mode), key_file=_key(tmp_path / f"{mode}.key", mode=mode)
        ) as provider:
            provider.set_secret("key", "value")
    root = _key(tmp_path / "root.key", mode=0o440)
    if root.stat().st_uid == 0:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert keyfiles.read_bytes(root)


# --- the old key ---


def _store(tmp_path):
    provider = FileSecretProvider(tmp_path / "store", key_file=tmp_path / "app.key")
    provider.set_secret("key", "value")
    return provider


def test_a_backup_names_the_key_that_it_needs(tmp_path):
    """After a rekey it can be put back with the old key, which the error names; no temporary name is told."""
    with _store(tmp_path) as provider:
        provider.backup(tmp_path / "before.enc")
        key_id = provider.key_id()
        provider.set_secret("key", "later")
        old = provider.rekey()
        with pytest.raises(DecryptionError) as caught:
            provider.restore(tmp_path / "before.enc")
        text = f"{caught.value}{caught.value.hint}"
        assert f"wrong key for {tmp_path / 'before.enc'}" in text
        assert key_id in text
        assert str(old) in text
        assert ".tmp" not in text
        assert provider.get_secret("key") == "later"
        provider.restore(tmp_path / "before.enc", key_file=old)
        assert provider.get_secret("key") == "value"
        assert provider.verify() == []
        assert provider.key_id() != key_id
    with FileSecretProvider(tmp_path / "store", key_file=tmp_path / "app.key") as again:
        assert again.get_secret("key") == "value"
    old.unlink()
    with _store(tmp_path) as provider, pytest.raises(DecryptionError, match=key_id) as caught:
        provider.restore(tmp_path / "before.enc")
    assert str(old) not in f"{caught.value}{caught.value.hint}"
    assert not list(tmp_path.glob(".*.tmp*"))


def test_a_backup_under_another_key_where_no_store_is(tmp_path):
    """It is put under the new store's own key."""
    with _store(tmp_path) as provider:
        provider.backup(tmp_path / "before.enc")
    elsewhere = tmp_path / "elsewhere"
    with FileSecretProvider(elsewhere / "store", key_file=elsewhere / "app.key") as provider:
        provider.restore(tmp_path / "before.enc", key=(tmp_path / "app.key").read_text().strip())
        assert provider.get_secret("key") == "value"
    assert (elsewhere / "app.key").read_text() != (tmp_path / "app.key").read_text()
    for wrong in ({"key": "a", "key_file": "b"}, {"key_file": tmp_path / "none"}):
        with pytest.raises(ConfigurationError):
            provider.restore(tmp_path / "before.enc", **wrong)


@pytest.mark.parametrize(
    ("lines", "added"),
    [
        (["*.enc", "/keys/app.key"], "/keys/app.key.*"),
        (["*.key"], "app.key.*"),
        (["/keys/*.key"], "/keys/app.key.*"),
        (["**/app.key"], "**/app.key.*"),
        (["# app.key", "keys/app.?ey"], "keys/app.key.*"),
        (["app.key", "app.key.old*"], "app.key.*"),
        (["app.key", "app.key.*"], None),
        (["*.key*"], None),
        (["keys/"], None),
    ],
)
def test_copies_of_a_key_stay_out_of_git_as_the_key_does(tmp_path, lines, added):
    """The next key during a rekey, and old keys after it; git agrees."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text("\n".join(lines))

    def shown(*_):
        asked = ["git", "-C", tmp_path, "status", "--porcelain", "-uall", "--", "keys"]
        return subprocess.run(asked, check=True, capture_output=True, text=True).stdout

    with FileSecretProvider(tmp_path / "s.enc", key_file=tmp_path / "keys" / "app.key") as provider:
        provider.set_secret("a", "1")
        during = []
        for _ in range(2):
            provider.rekey(progress=lambda *_: during.append((shown(), len(list(tmp_path.glob("keys/*"))))))
    assert (tmp_path / ".gitignore").read_text().splitlines() == [*lines, *filter(None, [added])]
    assert during[0] == ("", 3)  # the key, the old one, and the next
    assert {text for text, _ in during} == {""}
    assert shown() == ""


def test_a_gitignore_that_does_not_hold_the_key_stays_as_it_is(tmp_path):
    (tmp_path / ".gitignore").write_text("app.keys\n")
    with _store(tmp_path) as provider:
        assert provider.rekey().exists()
    assert (tmp_path / ".gitignore").read_text() == "app.keys\n"


def test_another_file_in_the_old_keys_place(tmp_path):
    """It is not overwritten, and the store stays as it is."""
    with _store(tmp_path) as provider:
        taken = tmp_path / f"app.key.old-{provider.key_id()}"
        _key(taken)
        with pytest.raises(ConflictError, match=r"app\.key\.old-"):
            provider.rekey()
        assert provider.get_secret("key") == "value"


def test_while_all_is_rekeyed_nobody_rekeys_alone(tmp_path):
    """The next key for all opens the store as well, and does not take the key file's place by itself."""
    with _store(tmp_path) as provider:
        before, new = (tmp_path / "app.key").read_text(), generate_key()
        _key(next_for_all(tmp_path / "app.key"), new)
        with pytest.raises(ConflictError, match="rekey --all"):
            provider.rekey()
        provider.rekey(new, keep_key_file=True)
        assert provider.get_secret("key") == "value"
    for _ in range(2):
        with FileSecretProvider(tmp_path / "store", key_file=tmp_path / "app.key") as again:
            assert again.get_secret("key") == "value"
    assert (tmp_path / "app.key").read_text() == before


# --- keys that are refused today ---


def test_older_keys_lead_away_from_a_weak_one(tmp_path, monkeypatch):
    """A store that was made under a passphrase that is refused now opens by `older_keys`, and can be rekeyed."""
    weak = key_source.GivenKey(KeyMaterial("passphrase", b"short"))
    with monkeypatch.context() as patched:
        patched.setattr("strongroom_file.provider.key_source", lambda *_: weak)
        with FileSecretProvider(tmp_path / "store", "x") as made:
            made.set_secret("key", "value")
            made.backup(tmp_path / "backup")
    with pytest.raises(ConfigurationError, match="at least 8"):
        FileSecretProvider(tmp_path / "store", "short")
    key = generate_key()
    with FileSecretProvider(tmp_path / "store", key) as provider, pytest.raises(DecryptionError):
        provider.get_secret("key")
    with FileSecretProvider(tmp_path / "store", key, older_keys=["short"]) as provider:
        assert provider.get_secret("key") == "value"
        assert provider.rekey() is None
        assert provider.get_secret("key") == "value"
    with FileSecretProvider(tmp_path / "store", key) as provider:
        assert provider.get_secret("key") == "value"
        provider.restore(tmp_path / "backup", key="short")
        assert provider.get_secret("key") == "value"
    shutil.copy(tmp_path / "backup", tmp_path / "second")
    with FileSecretProvider(
        tmp_path / "second", key_file=_key(tmp_path / "app.key", key), older_keys=["short"]
    ) as provider:
        assert provider.get_secret("key") == "value"
        provider.rekey()
        assert (tmp_path / "app.key").read_text().strip() == key
    with FileSecretProvider(tmp_path / "second", key) as provider:
        assert provider.get_secret("key") == "value"


@pytest.mark.parametrize("text", ["short\n", "   \n", "{}\n\n", "'{}'\n", " {}\n"])
def test_a_key_file_with_a_key_that_is_nearly_right(tmp_path, text):
    """One line end at its end is the file's; what else stands around a key is not."""
    key = generate_key()
    _key(tmp_path / "app.key").write_text(text.format(key))
    provider = FileSecretProvider(tmp_path / "store", key_file=tmp_path / "app.key")
    with pytest.raises(ConfigurationError, match=r"app\.key") as caught:
        provider.set_secret("key", "value")
    assert key[5:20] not in str(caught.value)
    assert caught.value.__context__ is None


def test_the_variable_is_named(tmp_path, monkeypatch):
    """As `echo` leaves it in a Kubernetes secret."""
    monkeypatch.setenv("STRONGROOM_ENCRYPTION_KEY", f"{generate_key()}\n")
    with pytest.raises(
        ConfigurationError, match="STRONGROOM_ENCRYPTION_KEY: the encryption key is a generated key"
    ):
        FileSecretProvider(tmp_path / "store")


def test_it_is_not_pickled(tmp_path):
    with pytest.raises(TypeError, match="FileSecretProvider holds a key and cannot be pickled"):
        pickle.dumps(FileSecretProvider(tmp_path / "store", generate_key()))


# --- a fresh clone ---


def test_a_store_that_is_not_there_says_so(tmp_path):
    """A clone has neither store nor key: what is read is not found, with the reason."""
    provider = FileSecretProvider(tmp_path / "store", key_file=tmp_path / "app.key")
    with pytest.raises(SecretNotFoundError, match=r"there is no store .*/store, and no key file .*/app\.key"):
        provider.get_secret("key")
    assert provider.absent()
    provider.set_secret("key", "value")
    assert provider.absent() is None
    provider.close()
    Path(tmp_path / "store").unlink()
    again = FileSecretProvider(tmp_path / "store", key_file=tmp_path / "app.key")
    assert again.absent() == f"there is no store {tmp_path / 'store'}"
