"""Values that `import` and `copy` store: in batches where the backend has them, each read back."""

from __future__ import annotations

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
