"""What is special about files of a folder: mounts, links, endings, permissions, and other writers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from strongroom.cli import main
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    PermissionDeniedError,
    ReadOnlyError,
    SecretNotFoundError,
    ValidationError,
)
from strongroom.providers import BatchReader, Closeable, ConditionalWriter, Describer, capabilities
from strongroom_directory import DirectorySecretProvider
from strongroom_directory.config import DirectoryConfig


class Mount:
    """A folder as the kubelet writes it: a link to a folder of one state, and links into that."""

    def __init__(self, path):
        self.path, self.number = path, 0
        path.mkdir()

    def update(self, **files):
        self.number += 1
        old = self.path / "..data"
        previous = old.readlink() if old.is_symlink() else None
        folder = self.path / f"..2026_{self.number}"
        folder.mkdir()
        for name, text in files.items():
            (folder / name.replace("__", "/")).parent.mkdir(exist_ok=True)
            (folder / name.replace("__", "/")).write_text(text)
        (self.path / "..data_tmp").symlink_to(folder.name)
        (self.path / "..data_tmp").rename(old)
        for name in {name.partition("__")[0] for name in files}:
            if not (self.path / name).is_symlink():
                (self.path / name).symlink_to(f"..data/{name}")
        if previous:
            shutil.rmtree(self.path / previous)


@pytest.fixture
def mount(tmp_path):
    return Mount(tmp_path / "mount")


def test_capabilities():
    """Files have no history and no transactions, and nothing pretends them."""
    found = capabilities(DirectorySecretProvider("/nowhere"))
    assert found >= {BatchReader, Closeable, ConditionalWriter, Describer}
    assert {one.__name__ for one in found}.isdisjoint({"BatchWriter", "VersionReader", "StagedWriter"})


def test_the_configuration_is_the_constructor():
    options = DirectoryConfig(path=Path("x")).model_dump()
    assert repr(DirectorySecretProvider(**options)) == "<DirectorySecretProvider 'x'>"


def test_an_empty_path_is_not_the_current_folder(tmp_path, monkeypatch):
    """A variable that is not set must not make secrets of all files that lie around."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("no secret")
    with pytest.raises(ConfigurationError, match="the path is empty"):
        DirectorySecretProvider("")
    assert DirectorySecretProvider(".").list_secrets() == ["file"]


def test_docker_and_systemd(tmp_path):
    """Files that others put there are read byte for byte."""
    (tmp_path / "db_password").write_bytes(b"s3cret\r\n\n")
    (tmp_path / "empty").touch()
    (tmp_path / ".dockerenv").write_text("x")
    provider = DirectorySecretProvider(tmp_path)
    assert provider.list_secrets() == ["db_password", "empty"]
    assert provider.get_secrets(["db_password", "empty", ".dockerenv"]) == {
        "db_password": "s3cret\r\n\n",
        "empty": "",
    }


def test_a_file_with_a_time_that_no_calendar_has_is_described_without_one(tmp_path):
    """As of milliseconds that some program gave for seconds; not every file system holds them."""
    (tmp_path / "k").write_text("v")
    os.utime(tmp_path / "k", (1_790_000_000_000, 1_790_000_000_000))
    described = DirectorySecretProvider(tmp_path).describe_secret("k")
    assert described.updated_at is None or described.updated_at.year < 9999


def test_a_kubernetes_mount_is_read_through_its_link(mount):
    mount.update(username="u", password="p", tls__key="k")
    provider = DirectorySecretProvider(mount.path)
    assert provider.list_secrets() == ["password", "tls/key", "username"]
    before = provider.describe_secret("password")
    mount.update(username="u2", password="p2")
    assert provider.get_secrets(["username", "password", "tls/key"]) == {"username": "u2", "password": "p2"}
    assert provider.list_secrets() == ["password", "username"]
    assert provider.describe_secret("password").version != before.version
    with pytest.raises(SecretNotFoundError):
        provider.get_secret("tls/key")


def test_a_volume_that_is_mounted_below_another_one_is_read_too(mount):
    """The kubelet makes a folder for it beside its link; so may be a single file, by a `subPath`."""
    mount.update(username="u", tls__key="k")
    below = Mount(mount.path / "db")
    below.update(password="p")
    (mount.path / "license").write_text("single")
    provider = DirectorySecretProvider(mount.path)
    everything = {"db/password": "p", "license": "single", "tls/key": "k", "username": "u"}
    assert provider.list_secrets() == sorted(everything)
    assert provider.list_secrets("db/") == ["db/password"]
    assert provider.get_secrets(everything) == everything
    below.update(password="p2")
    mount.update(username="u2")
    assert provider.get_secret("db/password") == "p2"
    assert provider.list_secrets() == ["db/password", "license", "username"]
    with pytest.raises(SecretNotFoundError):
        provider.get_secret("tls/key")


def test_an_update_is_one_change(mount, monkeypatch):
    """A batch that an update meets in its middle is of one state, whatever was read before it."""
    mount.update(a="1", b="1", c="1")
    provider = DirectorySecretProvider(mount.path)
    real, seen = DirectorySecretProvider._file, []

    def file(self, base, key, **options):
        if key == "b" and len(seen) < 3:
            seen.append(base)
            mount.update(**dict.fromkeys("abc", str(len(seen) + 1)))
        return real(self, base, key, **options)

    monkeypatch.setattr(DirectorySecretProvider, "_file", file)
    assert provider.get_secrets(list("abc")) == {"a": "4", "b": "4", "c": "4"}
    assert len(set(seen)) == 3


def test_a_list_in_the_middle_of_an_update(mount, monkeypatch):
    mount.update(a="1", b="1")
    real, turns = DirectorySecretProvider._walk, []

    def walk(self, root, folder, above, way, **options):
        if not turns:
            turns.append(folder)
            mount.update(c="2")
        return real(self, root, folder, above, way, **options)

    monkeypatch.setattr(DirectorySecretProvider, "_walk", walk)
    assert DirectorySecretProvider(mount.path).list_secrets() == ["c"]


def test_a_mount_that_never_settles_is_unavailable(mount, monkeypatch):
    mount.update(a="1")
    real = DirectorySecretProvider._file

    def file(self, base, key, **options):
        mount.update(a="x")
        return real(self, base, key, **options)

    monkeypatch.setattr(DirectorySecretProvider, "_file", file)
    with pytest.raises(BackendUnavailableError, match="again and again"):
        DirectorySecretProvider(mount.path).get_secret("a")


def test_a_mount_is_not_written(mount):
    mount.update(a="1")
    provider = DirectorySecretProvider(mount.path, writable=True)
    for write in (lambda: provider.set_secret("a", "x"), lambda: provider.delete_secret("a")):
        with pytest.raises(ReadOnlyError, match="Kubernetes"):
            write()
    assert provider.get_secret("a") == "1"
    assert provider.diagnose()["mounted"] == "by Kubernetes"


def test_without_writable_nothing_is_written(tmp_path):
    (tmp_path / "a").write_text("1")
    provider = DirectorySecretProvider(tmp_path)
    for write in (
        lambda: provider.set_secret("a", "x"),
        lambda: provider.set_secret_if("b", "x", None),
        lambda: provider.delete_secret("a"),
        lambda: provider.delete_secret("absent"),
    ):
        with pytest.raises(ReadOnlyError, match="read-only") as caught:
            write()
        assert "writable" in caught.value.hint
    assert os.listdir(tmp_path) == ["a"]


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigurationError, match="file is not a folder"):
        DirectorySecretProvider(tmp_path / "file").get_secret("a")


def test_a_folder_that_is_not_there(tmp_path):
    """A mount that is missing is no empty store; a folder to be written is made."""
    absent = tmp_path / "absent"
    for call in ("list_secrets", "get_secret", "describe_secret"):
        with pytest.raises(ConfigurationError, match="no folder"):
            getattr(DirectorySecretProvider(absent), call)(*[] if call == "list_secrets" else ["a"])
    provider = DirectorySecretProvider(absent, writable=True)
    assert provider.list_secrets() == []
    with pytest.raises(SecretNotFoundError):
        provider.get_secret("a")
    with pytest.raises(SecretNotFoundError):
        provider.delete_secret("a")
    assert not absent.exists()
    provider.set_secret("a", "1")
    assert absent.stat().st_mode & 0o777 == 0o700
    assert (absent / "a").stat().st_mode & 0o777 == 0o600


def test_only_files_with_the_suffix_are_secrets(tmp_path):
    provider = DirectorySecretProvider(tmp_path, writable=True, suffix=".txt")
    provider.set_secret("a/b", "1")
    (tmp_path / "README.md").write_text("no secret")
    (tmp_path / "c.txt").write_text("2")
    assert (tmp_path / "a/b.txt").read_text() == "1"
    assert provider.list_secrets() == ["a/b", "c"]


@pytest.mark.parametrize("suffix", ["/x", "a\0", "\n", 7, "x" * 65])
def test_what_cannot_end_a_name_is_no_suffix(suffix):
    with pytest.raises(ConfigurationError, match="suffix"):
        DirectorySecretProvider("x", suffix=suffix)


def test_what_is_not_text_is_told(tmp_path):
    (tmp_path / "binary").write_bytes(b"hunter2\xff")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to("circle")
    provider = DirectorySecretProvider(tmp_path)
    for key in ("binary", "pipe", "circle"):
        with pytest.raises(ValidationError) as caught:
            provider.get_secret(key)
        assert "hunter2" not in repr(caught.value.__context__) + str(caught.value)
    assert provider.list_secrets() == ["binary"]
    assert len(provider.verify()) == 1


def test_links_stay_inside(tmp_path):
    """A link in a folder that somebody else filled must not have another file of the user's read."""
    (tmp_path / "private").write_text("hunter2")
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "real").write_text("1")
    (folder / "inside").symlink_to("real")
    (folder / "outside").symlink_to("../private")
    (folder / "up").symlink_to(tmp_path)
    (folder / "deep/loop").symlink_to("..")
    provider = DirectorySecretProvider(folder, writable=True)
    assert provider.list_secrets() == ["inside", "real"]
    assert provider.get_secret("inside") == "1"
    for key in ("outside", "up/private"):
        with pytest.raises(ConfigurationError, match="leads out"):
            provider.get_secret(key)
    with pytest.raises(ConfigurationError, match="leads out"):
        provider.set_secret("up/new", "x")
    provider.set_secret("outside", "mine")
    assert (tmp_path / "private").read_text() == "hunter2"
    assert provider.get_secret("outside") == "mine"


def test_links_that_lead_to_each_other_end(tmp_path):
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "key").write_text(name)
        for link in ("one", "two"):
            (tmp_path / name / link).symlink_to(f"../{other}")
    provider = DirectorySecretProvider(tmp_path)
    keys = ["a/key", "a/one/key", "a/two/key", "b/key", "b/one/key", "b/two/key"]
    assert provider.list_secrets() == keys
    assert list(provider.get_secrets(keys).values()) == ["a", "b", "b", "b", "a", "a"]


def test_a_file_and_a_folder_of_one_name(tmp_path):
    """Neither keeps the other from being stored, in whatever order; and what is freed is used again."""
    provider = DirectorySecretProvider(tmp_path, writable=True)
    provider.set_secret("a", "1")
    provider.set_secret("a/b", "2")
    provider.set_secret("c/d", "3")
    provider.set_secret("c", "4")
    assert sorted(os.listdir(tmp_path)) == ["=_63", "a", "a=_2fb", "c"]
    assert provider.get_secrets(provider.list_secrets()) == {"a": "1", "a/b": "2", "c/d": "3", "c": "4"}
    provider.delete_secret("a")
    provider.set_secret("a/b", "5")
    assert (tmp_path / "a/b").read_text() == "5"
    assert not (tmp_path / "a=_2fb").exists()
    provider.delete_secret("c/d")
    provider.set_secret("c", "6")
    assert (tmp_path / "c").read_text() == "6"
    for key in provider.list_secrets():
        provider.delete_secret(key)
    assert os.listdir(tmp_path) == []


def test_permissions_and_owner_of_a_file_that_was_there(tmp_path):
    (tmp_path / "a").write_text("1")
    (tmp_path / "a").chmod(0o640)
    provider = DirectorySecretProvider(tmp_path, writable=True)
    provider.set_secret("a", "2")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["a"]


def test_a_change_by_another_program_is_a_conflict(tmp_path):
    """Also one that keeps size and time of the file."""
    provider = DirectorySecretProvider(tmp_path, writable=True)
    version = provider.set_secret_if("a", "one", None)
    status = (tmp_path / "a").stat()
    (tmp_path / "a").write_text("two")
    os.utime(tmp_path / "a", ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(ConflictError):
        provider.set_secret_if("a", "three", version)
    assert provider.get_secret("a") == "two"


def test_a_change_between_look_and_write_is_a_conflict(tmp_path, monkeypatch):
    provider = DirectorySecretProvider(tmp_path, writable=True)
    version = provider.set_secret_if("a", "one", None)
    real = DirectorySecretProvider._make_room

    def make_room(self, base, names, key):
        (tmp_path / "a").write_text("theirs")
        return real(self, base, names, key)

    monkeypatch.setattr(DirectorySecretProvider, "_make_room", make_room)
    written = threading.Event()
    import strongroom_directory.provider as module

    look = module.status_of

    def status_of(path):
        found = look(path)
        if not written.is_set():
            written.set()
            (tmp_path / "a").write_text("another's")
        return found

    monkeypatch.setattr(module, "status_of", status_of)
    with pytest.raises(ConflictError):
        provider.set_secret_if("a", "mine", version)
    assert provider.get_secret("a") == "another's"
    assert os.listdir(tmp_path) == ["a"]


def test_processes_that_count_together_lose_nothing(tmp_path):
    """Conditional writes of several processes are each seen by the next."""
    code = (
        "import sys; from strongroom_directory import DirectorySecretProvider as P\n"
        "from strongroom.errors import ConflictError\n"
        "p = P(sys.argv[1], writable=True); done = 0\n"
        "while done < 20:\n"
        "    seen = p.describe_secret('n').version\n"
        "    value = str(int(p.get_secret('n')) + 1)\n"
        "    try:\n"
        "        p.set_secret_if('n', value, seen); done += 1\n"
        "    except ConflictError: pass\n"
    )
    provider = DirectorySecretProvider(tmp_path, writable=True)
    provider.set_secret("n", "0")
    workers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(2)]
    assert [worker.wait(300) for worker in workers] == [0, 0]
    assert provider.get_secret("n") == "40"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_denied(tmp_path):
    (tmp_path / "a").write_text("1")
    (tmp_path / "a").chmod(0)
    with pytest.raises(PermissionDeniedError):
        DirectorySecretProvider(tmp_path).get_secret("a")


def test_a_full_disk_changes_nothing(tmp_path, monkeypatch):
    provider = DirectorySecretProvider(tmp_path, writable=True)
    provider.set_secret("a", "old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(BackendUnavailableError, match="No space left") as caught:
        provider.set_secret("a", "hunter2")
    assert "hunter2" not in str(caught.value)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["a"]
    assert provider.get_secret("a") == "old"


def test_doctor_names_files_that_are_not_text_and_no_backup_that_there_is_not(tmp_path, monkeypatch, capsys):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/a").write_bytes(b"\xff")
    spec = {"version": 1, "pipelines": {"app": {"provider": {"type": "directory", "path": "secrets"}}}}
    (tmp_path / "strongroom.yaml").write_text(json.dumps(spec))
    monkeypatch.chdir(tmp_path)
    assert main(["doctor"]) == 7
    output = capsys.readouterr().out
    assert "UTF-8" in output
    assert "backup" not in output


def test_doctor_tells_of_newlines(tmp_path):
    (tmp_path / "a").write_text("x\n")
    (tmp_path / "b").write_text("x")
    assert DirectorySecretProvider(tmp_path).diagnose()["end in a newline"].startswith("1 value, ")
