"""Values that `import` and `copy` store: in batches where the backend has them, each read back."""

from __future__ import annotations

import pytest
from strongroom.cli.context import GlobalOptions
from strongroom.cli.transfer import move
from strongroom.errors import SecretTooLargeError, StrongroomError
from strongroom_memory import MemorySecretProvider


class Counting(MemorySecretProvider):
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
        StrongroomError, match="1 keys read back other than they were written, the first is 'a'"
    ):
        store({"a": "x"}, Changing())
