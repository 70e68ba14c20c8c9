"""The base of rotators of a user's password, and secrets that hold a user and a password."""

from __future__ import annotations

import json

import pytest
from rotation_support import KEY, NEW, OLD
from strongroom.errors import AuthenticationError, ConfigurationError, RotationError, ValidationError
from strongroom.rotation import UserRotator, credentials, with_password


def test_a_password_stands_alone_or_in_an_object():
    assert credentials(KEY, "{not json") == (None, "{not json")
    assert credentials(KEY, "[1]") == (None, "[1]")
    assert credentials(KEY, '{"username": "u", "password": "p", "port": 1}') == ("u", "p")
    with pytest.raises(ValidationError, match="without the text `password`"):
        credentials(KEY, '{"user": "u", "pass": "p"}')


def test_a_new_password_keeps_what_stands_beside_it():
    before = '{"username": "a", "password": "old", "host": "h"}'
    assert json.loads(with_password(KEY, before, "new")) == {"username": "a", "password": "new", "host": "h"}
    assert json.loads(with_password(KEY, before, "new", username="b"))["username"] == "b"
    settings = '{"password": "old", "ratio": 1.50, "id": 12345678901234567890.0}'
    assert with_password(KEY, settings, "new") == settings.replace("old", "new")
    assert (
        with_password(KEY, settings, "new", username="b")
        == settings.replace("old", "new")[:-1] + ', "username": "b"}'
    )
    whole = '{"username": "b", "password": "p"}'
    assert with_password(KEY, before, whole, username="b") == whole
    with pytest.raises(ValidationError, match="not for the user whose turn it is: 'a'"):
        with_password(KEY, before, whole)
    assert with_password(KEY, "plain", whole) == "p"
    assert with_password(KEY, "plain", "other") == "other"


class Accounts(UserRotator):
    """A rotator of a directory of users, whose administrator is one of them."""

    def __init__(self, users, *names, **options):
        super().__init__("accounts", names or ("app",), **options)
        self.directory = users
        self.refuses = set()

    def apply(self, key, old, new):
        user, password = self.login_of(key, new)
        self.directory[user] = password

    def verify(self, key, new):
        user, password = self.login_of(key, new)
        return self.directory.get(user) == password

    def _step(self, name):
        if name in self.refuses:
            raise RotationError(f"no {name}, for a test")

    def prepare_rehearsal(self, key, old):
        self._step("prepare")
        for name in [*filter(self.is_left_over, self.directory)]:
            del self.directory[name]

    def make_throwaway(self, key, old, names, password):
        for name, real in names.items():
            assert real in self.directory
            self.directory[name] = password
            self._step("make")

    def remove_throwaway(self, key, old, names):
        for name in names:
            self.directory.pop(name, None)


def login(user, password, **more):
    return json.dumps({**more, "username": user, "password": password})


def test_two_users_take_turns():
    two = Accounts({}, "app", "app_b", alternating=True)
    assert two.compose(KEY, login("app", OLD, host="db"), NEW) == json.dumps(
        {"host": "db", "username": "app_b", "password": NEW}
    )
    assert json.loads(two.compose(KEY, login("app_b", OLD), NEW))["username"] == "app"
    for value in ("plain", login("eve", OLD)):
        with pytest.raises(ValidationError, match="two take turns, app and app_b"):
            two.compose(KEY, value, NEW)
    one = Accounts({}, "app")
    assert one.compose(KEY, OLD, NEW) == NEW
    with pytest.raises(ValidationError, match="is of 'eve', and its rotator changes app"):
        one.compose(KEY, login("eve", OLD), NEW)


@pytest.mark.parametrize(("names", "alternating"), [(("a",), True), (("a", "b"), False), (("a", "a"), True)])
def test_a_strategy_has_the_users_that_it_needs(names, alternating):
    with pytest.raises(ConfigurationError, match="rotator accounts: "):
        Accounts({}, *names, alternating=alternating)


@pytest.mark.parametrize("has", ["configured", OLD, NEW, "none of these"])
def test_an_administrator_logs_in_by_the_password_that_it_has_by_now(has):
    tried = []

    def connect(password):
        tried.append(password)
        if password != has:
            raise AuthenticationError(f"refused try {len(tried)}")
        return "connected"

    def log_in(user):
        tried.clear()
        values = (login("root", OLD), login("root", NEW))
        return Accounts({}, "root").as_administrator(connect, user, "configured", KEY, values)

    if has == "none of these":
        with pytest.raises(AuthenticationError, match="refused try 1") as caught:
            log_in("root")
        assert caught.value.__context__ is None
        assert tried == ["configured", OLD, NEW]
    else:
        assert log_in("root") == "connected"
    if has in {OLD, NEW}:
        with pytest.raises(AuthenticationError):
            log_in("somebody")  # whose password is not the one that is rotated
        assert tried == ["configured"]


@pytest.mark.parametrize("shape", [OLD, login("app", OLD)])
@pytest.mark.parametrize("refuses", [None, "prepare", "make"])
def test_a_rehearsal_is_on_users_of_its_own_of_which_none_is_left(shape, refuses):
    users = {"app": OLD, "strongroom_rehearsal_1577836800_0": OLD}
    rotator = Accounts(users, "app")
    rotator.refuses = {refuses}
    if refuses is None:
        with rotator.rehearsal(KEY, shape) as (other, value):
            assert other.verify(KEY, value)
            other.apply(KEY, value, other.compose(KEY, value, NEW))
            assert NEW in users.values()
    else:
        with pytest.raises(RotationError, match=f"no {refuses}"), rotator.rehearsal(KEY, shape):
            pass
    assert {*users} - {"strongroom_rehearsal_1577836800_0"} == {"app"}
    assert users["app"] == OLD
    assert (len(users) == 1) == (refuses != "prepare")


def test_a_rehearsal_for_two_users_names_the_real_ones_if_the_secret_is_for_neither():
    """It made throwaway users first, and its hint was to store the name of one of them."""
    users = {"app": OLD, "app_b": OLD}
    rotator = Accounts(users, "app", "app_b", alternating=True)
    rotator.refuses = {"prepare", "make"}
    with pytest.raises(ValidationError, match="two take turns, app and app_b") as caught:
        rotator.rehearsal(KEY, "plain").__enter__()
    assert '"username": "app"' in caught.value.hint
