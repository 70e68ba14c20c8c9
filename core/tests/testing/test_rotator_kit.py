"""The kit for rotators passes a good one, and finds what is wrong with each bad one."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest
from strongroom.testing import RotatorConformance


class Passwords:
    """The passwords of a target system, in a file."""

    def __init__(self, path):
        self.path = path

    def good(self):
        return set(json.loads(self.path.read_text()))

    def write(self, good):
        self.path.write_text(json.dumps(sorted(good)))


class One:
    """A rotator of one password."""

    def __init__(self, passwords):
        self.passwords = passwords

    def apply(self, key, old, new):
        self.passwords.write({new})

    def verify(self, key, new):
        return new in self.passwords.good()


class Both(One):
    """A rotator that leaves the old password until it is to go."""

    def apply(self, key, old, new):
        self.passwords.write(self.passwords.good() | {new})

    def retire(self, key, stale, current):
        self.passwords.write(self.passwords.good() - {stale})

    @contextmanager
    def rehearsal(self, key, old):
        path = self.passwords.path.with_name("throwaway")
        made = Passwords(path)
        made.write({"first"})
        try:
            yield Both(made), "first"
        finally:
            path.unlink()


class Kit(RotatorConformance):
    made = One

    @pytest.fixture
    def rotator(self, passwords):
        return self.made(passwords)

    @pytest.fixture
    def passwords(self, tmp_path, secret):
        found = Passwords(tmp_path / "passwords")
        found.write({secret})
        return found

    @pytest.fixture
    def secret(self):
        return "the-password-at-first"

    @pytest.fixture
    def logs_in(self, passwords):
        return lambda value: value in passwords.good()

    @pytest.fixture
    def users(self, passwords):
        return lambda: sorted(path.name for path in passwords.path.parent.iterdir())


class Frozen:
    """One with slots, of which none can be set."""

    __slots__ = ("passwords",)

    def __init__(self, passwords):
        object.__setattr__(self, "passwords", passwords)

    def __setattr__(self, name, value):
        raise AttributeError(name)

    def apply(self, key, old, new):
        self.passwords.write({new})

    def verify(self, key, new):
        return new in self.passwords.good()


class WithFunction(One):
    """One with a function among its attributes."""

    def __init__(self, passwords):
        super().__init__(passwords)
        self.known = passwords.good

    def verify(self, key, new):
        return new in self.known()


class TestOne(Kit):
    pass


class TestFrozen(Kit):
    made = Frozen
    deaths_every = 24  # that a process dies at all is what these two have of their own


class TestWithFunction(Kit):
    made = WithFunction
    deaths_every = 24


class TestBoth(Kit):
    made = Both
    deaths_every = 4


@pytest.mark.torture
class TestBothAtEachStep(TestBoth):
    deaths_every = 1


# --- wrong ones ---


class Lazy(One):
    def apply(self, key, old, new):
        pass


class Blind(One):
    def verify(self, key, new):
        return True


class Forgetful(Both):
    def retire(self, key, stale, current):
        pass


class Sloppy(Both):
    @contextmanager
    def rehearsal(self, key, old):
        made = Passwords(self.passwords.path.with_name("throwaway"))
        made.write({"first"})
        yield Both(made), "first"


class Fragile(One):
    def apply(self, key, old, new):
        if old not in self.passwords.good():
            raise RuntimeError("the old one is gone")
        super().apply(key, old, new)


class Pickled(One):
    def apply(self, key, old, new):
        super().apply(key, old, new)
        self.last = new


class Shown(Pickled):
    def __repr__(self):
        return f"<Shown {self.last}>"

    def __reduce__(self):
        raise TypeError("not to be pickled")


class Talkative(One):
    def verify(self, key, new):
        if new not in self.passwords.good():
            raise RuntimeError(f"{new} is refused")


@pytest.mark.parametrize(
    ("wrong", "test", "wanted"),
    [
        (Lazy, "test_readers_get_a_value_that_works", ("secret", "logs_in", "store")),
        (Blind, "test_verify_refuses_what_the_target_system_does_not_take", ("secret",)),
        (Pickled, "test_no_text_of_it_holds_a_value", ("secret",)),
        (Shown, "test_no_text_of_it_holds_a_value", ("secret",)),
        (Talkative, "test_verify_refuses_what_the_target_system_does_not_take", ("secret",)),
        (Forgetful, "test_the_old_value_works_until_it_is_taken_away", ("secret", "logs_in", "store")),
        (Sloppy, "test_a_rehearsal_leaves_nothing", ("secret", "logs_in", "users", "store")),
        (Sloppy, "test_one_that_fails_leaves_nothing", ("secret", "users")),
        (Fragile, "test_a_repeated_step_does_no_harm", ("secret", "logs_in")),
        (Lazy, "test_a_process_that_is_killed_at_any_step_loses_nothing", ("logs_in", "store")),
    ],
)
def test_what_is_wrong_is_found(tmp_path, wrong, test, wanted):
    from strongroom.testing.rotators import KEY, _FileStore

    secret = "the-password-at-first"
    passwords = Passwords(tmp_path / "passwords")
    passwords.write({secret})
    store = _FileStore(tmp_path / "store.json")
    store.set_secret(KEY, secret)
    given = {
        "secret": secret,
        "logs_in": lambda value: value in passwords.good(),
        "users": lambda: sorted(path.name for path in tmp_path.iterdir()),
        "store": store,
    }
    with pytest.raises(Exception) as caught:  # noqa: PT011  # a failure of pytest is one of many classes
        getattr(Kit(), test)(wrong(passwords), **{name: given[name] for name in wanted})
    assert not isinstance(caught.value, TypeError | AttributeError | NameError)
