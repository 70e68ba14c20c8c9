"""Values that `import` and `copy` store: in batches where the backend has them, each read back."""

from __future__ import annotations

import json

import pytest
from strongroom.cli.actions.transfer import move
from strongroom.cli.context import GlobalOptions
from strongroom.errors import SecretNotFoundError, SecretTooLargeError, StrongroomError
from strongroom_memory import MemorySecretProvider


class Target(MemorySecretProvider):
    def invalidate(self, key):
        """There is no cache."""


class Counting(Target):
    """Counts its writes, and takes no more than `limit` in one."""

    def __init__(self, limit=1000):
        super().__init__()
        self.limit, self.batches, self.single = limit, [], 0

    def set_secrets(self, values):
        self.batches.append(len(values))
        if len(values) > self.limit:
            raise SecretTooLargeError("does not fit into one transaction")
        super().set_secrets(values)

    def set_secret(self, key, value):
        self.single += 1
        super().set_secret(key, value)


def store(values, target):
    return move(GlobalOptions(quiet=True), values, target, overwrite=True, dry_run=False)


def test_a_thousand_are_two_transactions():
    target = Counting()
    values = {f"k/{number:04}": str(number) for number in range(1000)}
    assert len(store(values, target).new) == 1000
    assert target.batches == [500, 500]
    assert target.single == 0
    assert target.get_secrets(list(values)) == values


def test_a_batch_that_does_not_fit_is_stored_one_by_one():
    target = Counting(limit=2)
    store({"a": "1", "b": "2", "c": "3"}, target)
    assert target.batches == [3]
    assert target.single == 3
    assert target.list_secrets() == ["a", "b", "c"]


def test_what_changes_on_the_way_is_an_error():
    class Changing(Counting):
        def set_secrets(self, values):
            super().set_secrets({key: value.upper() for key, value in values.items()})

    with pytest.raises(
        StrongroomError, match="1 key was read back with a value that was not written; the first is 'a'"
    ):
        store({"a": "x"}, Changing())


class Keeping(Target):
    """Tells of a key that is no longer there why, as backends do that keep versions."""

    def __init__(self, reason):
        super().__init__()
        self.reason, self.gone = reason, {"a"}

    def _tell(self, keys):
        for key in self.gone.intersection(keys):
            raise SecretNotFoundError(key, reason=self.reason)

    def get_secret(self, key):
        self._tell([key])
        return super().get_secret(key)

    def get_secrets(self, keys):
        self._tell(keys)
        return super().get_secrets(keys)

    def set_secrets(self, values):
        super().set_secrets(values)
        self.gone -= set(values)


@pytest.mark.parametrize("reason", ["deleted", "destroyed"])
def test_what_was_deleted_in_the_target_is_begun_again(reason):
    target = Keeping(reason)
    target.set_secrets({"b": "2"})
    plan = store({"a": "1", "b": "2", "c": "3"}, target)
    assert (plan.new, plan.same, plan.other) == (["a", "c"], ["b"], [])
    assert target.get_secrets(["a", "b", "c"]) == {"a": "1", "b": "2", "c": "3"}


def test_what_is_disabled_in_the_target_is_not_replaced():
    target = Keeping("disabled")
    with pytest.raises(SecretNotFoundError, match="disabled"):
        store({"a": "1", "b": "2"}, target)
    assert target.list_secrets() == []


COPIED = """\
version: 1
pipelines:
  files: {provider: {type: directory, path: files}}
  given: {provider: {type: directory, path: given, writable: true}}
"""


@pytest.fixture
def folders(in_process, tmp_path):
    """Return what runs `strongroom` beside a folder with a binary secret and two of text, and an empty one."""
    for name, data in (("binary", b"\xff"), ("a", b"text"), ("z", b"last")):
        path = tmp_path / "files" / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "given").mkdir(mode=0o700)
    return in_process(COPIED)


def test_copy_goes_past_a_binary_secret(folders, tmp_path):
    """It is named, the others are there, and the exit code tells."""
    code, out, err = folders("copy", "files", "given")
    assert (code, out) == (2, "2 stored, 0 replaced, 0 were there already, 1 could not be read\n")
    assert err.startswith("warning: 'binary' is not copied: ")
    assert sorted(path.name for path in (tmp_path / "given").iterdir()) == ["a", "z"]
    code, out, _ = folders("copy", "files", "given", "--json", "--dry-run")
    assert json.loads(out) == {
        "dry_run": True, "new": [], "same": ["a", "z"], "other": [], "failed": ["binary"],
    }  # fmt: skip


def test_copy_of_none_that_can_be_read_is_its_error(folders):
    code, out, err = folders("copy", "files", "given", "--prefix", "b")
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert "binary" in err


def test_a_binary_secret_at_the_destination_is_another_value(folders, tmp_path):
    (tmp_path / "given" / "a").write_bytes(b"\xfe")
    code, _, err = folders("copy", "files", "given", "--prefix", "a")
    assert (code, "holds another value" in err) == (8, True)
    assert (tmp_path / "given" / "a").read_bytes() == b"\xfe"
    assert folders("copy", "files", "given", "--prefix", "a", "--overwrite")[0] == 0
    assert (tmp_path / "given" / "a").read_bytes() == b"text"


def test_copy_deletes_nothing_that_it_could_not_read(folders, tmp_path):
    spec = (tmp_path / "strongroom.yaml").read_text().replace("path: files", "path: files, writable: true")
    (tmp_path / "strongroom.yaml").write_text(spec)
    assert folders("copy", "files", "given", "--delete-source")[0] == 2
    assert [path.name for path in (tmp_path / "files").iterdir()] == ["binary"]


def test_diff_goes_past_a_binary_secret(folders, tmp_path):
    (tmp_path / "given" / "a").write_bytes(b"text")
    code, out, err = folders("diff", "files", "given", "--json")
    assert (code, json.loads(out)["secrets"]) == (
        7,
        {"a": "same", "binary": "invalid in files", "z": "only in files"},
    )
    assert err.startswith('{"warning": {"message": "not everything can be compared in files: ')
