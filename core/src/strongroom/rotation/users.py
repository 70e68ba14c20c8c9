"""What rotators of a user's password share: the form of the secret, two users in turn, rehearsals."""

from __future__ import annotations

import copy
import json
import re
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, Self, TypeVar

from strongroom.declarations.json_fields import with_member
from strongroom.errors import (
    AuthenticationError,
    ConfigurationError,
    RotationError,
    StrongroomError,
    ValidationError,
    show_key,
)
from strongroom.generators import generate_password

__all__ = ["Credentials", "UserRotator", "credentials", "with_password"]

T = TypeVar("T")
_THROWAWAY: Final = "strongroom_rehearsal_"
_THROWAWAY_NAME: Final = re.compile(_THROWAWAY + r"(\d+)_[0-9a-z]+")
_THROWAWAY_LIFE: Final = 3600


class Credentials(NamedTuple):
    """User and password as a secret has them."""

    username: str | None
    """None if the secret does not name one."""
    password: str

    def __repr__(self) -> str:
        return f"<Credentials of {self.username!r}>"


def credentials(key: str, value: str) -> Credentials:
    """Return user and password of `value`, which is a JSON object with `password`, or a password alone.

    Raises:
        ValidationError: It is a JSON object without a password.
    """
    members = _members(key, value)
    if members is None:
        return Credentials(None, value)
    username = members.get("username")
    return Credentials(username if isinstance(username, str) else None, members["password"])


def with_password(key: str, old: str, new: str, *, username: str | None = None) -> str:
    """Return `old` with the password `new`; or `new` itself if it is a whole JSON object.

    Args:
        key: The secret, for errors.
        old: The previous value.
        new: The new password, or a whole new value.
        username: The new user; None to keep it.

    Raises:
        ValidationError: One of them is a JSON object without a password, or `new` names another user.
    """
    before, after = _members(key, old), _members(key, new)
    if before is None:
        return new if after is None else str(after["password"])
    if after is None:
        named = old if username is None else with_member(old, key, "username", username, add=True)
        return with_member(named, key, "password", new)
    expected = username if username is not None else before.get("username")
    if after.get("username") != expected:
        raise ValidationError(
            f"the new value of {show_key(key)} is not for the user whose turn it is: {expected!r}",
            key=key,
            hint="give the password alone, or a JSON object with that user",
        )
    return new


def _members(key: str, value: str) -> dict[str, Any] | None:
    if not value.lstrip().startswith("{"):
        return None
    try:
        members = json.loads(value)
    except (ValueError, RecursionError):
        return None
    if not isinstance(members, dict):
        return None
    if not isinstance(members.get("password"), str):
        # Otherwise the whole object would count as a password.
        raise ValidationError(
            f"{show_key(key)} is a JSON object without the text `password`",
            key=key,
            hint='store {"username": …, "password": …}, or the password alone',
        )
    return members


class UserRotator(ABC):
    """The base of rotators that change the password of a user, or of two users that take turns.

    The secret is the password alone, or a JSON object with `username` and `password`; where two take turns it
    is the latter, and the new value names the other one. A rotator adds `apply` and `verify`, and for
    rehearsals `prepare_rehearsal`, `make_throwaway` and `remove_throwaway`.

    Args:
        system: The rotator's type, with which messages begin.
        users: The user; or the two that take turns.
        alternating: Whether two take turns.
        option: The option that names the user; that of the other one ends in `_b`.

    Raises:
        ConfigurationError: There are not as many different users as the strategy needs.
    """

    def __init__(
        self, system: str, users: Sequence[str], *, alternating: bool = False, option: str = "role"
    ) -> None:
        if len(users) != 1 + alternating:
            raise ConfigurationError(
                f"rotator {system}: `alternating` needs a second user, `{option}_b`, and `single` has none"
            )
        if len({*users}) != len(users):
            raise ConfigurationError(f"rotator {system}: {option} and {option}_b are the same user")
        self._option = option
        self.users = tuple(users)
        """The user; or the two that take turns."""

    def compose(self, key: str, old: str, new: str) -> str:
        """Return `old` with the password `new`, and with the other user's name if two take turns.

        Raises:
            ValidationError: The secret is not for these users.
        """
        if len(self.users) == 1:
            self.login_of(key, old)
            return with_password(key, old, new)
        current = self._current(key, old)
        return with_password(key, old, new, username=self.users[1 - self.users.index(current)])

    def _current(self, key: str, value: str) -> str:
        """Return which of two users `value` is for."""
        current = credentials(key, value).username
        if current is None or current not in self.users:
            raise ValidationError(
                f"{show_key(key)} does not name the user in use: two take turns, {self._named()}",
                key=key,
                hint='store a JSON object first: {"username": "' + self.users[0] + '", "password": "…"}',
            )
        return current

    def login_of(self, key: str, value: str) -> tuple[str, str]:
        """Return user and password of `value`.

        Raises:
            ValidationError: It is another user's.
        """
        login = credentials(key, value)
        user = self.users[0] if login.username is None else login.username
        if user not in self.users:
            raise ValidationError(
                f"{show_key(key)} is of {user!r}, and its rotator changes {self._named()}",
                key=key,
                hint=f"correct `{self._option}` of the rotator, or `username` of the secret",
            )
        return user, login.password

    def as_administrator(
        self,
        connect: Callable[[str | None], T],
        user: str | None,
        password: str | None,
        key: str,
        values: Sequence[str],
    ) -> T:
        """Call `connect` with the passwords that the administrator may have, until the server accepts one.

        Args:
            connect: Logs in by a password. If that is refused, it raises `RotationError` or
                `AuthenticationError` with no password in the message.
            user: The administrator.
            password: Its password, as far as it is known.
            key: The secret that is rotated.
            values: Values of the secret. If it is the administrator's own, these are tried, too: the server
                may have any of them by now.

        Raises:
            RotationError, AuthenticationError: What `connect` raised first.
        """
        tried = [password]
        for value in values:
            found = credentials(key, value)
            if (found.username or self.users[0]) == user:
                tried.append(found.password)
        first: StrongroomError | None = None
        for one in dict.fromkeys(tried):
            try:
                return connect(one)
            except (RotationError, AuthenticationError) as error:
                first = first or error
        assert first is not None  # noqa: S101  # there was one try at least
        raise first

    # --- rehearsals ---

    @contextmanager
    def rehearsal(self, key: str, old: str) -> Iterator[tuple[Self, str]]:
        """Yield a rotator of throwaway users, which are removed at the end.

        Raises:
            StrongroomError: The administrator may not make users, or not change the real ones.
            ValidationError: The secret is not for these users.
        """
        self.login_of(key, old)
        if len(self.users) > 1:
            self._current(key, old)
        self.prepare_rehearsal(key, old)
        stem = f"{_THROWAWAY}{int(time.time())}_{secrets.token_hex(5)}"
        names = tuple(f"{stem}{number}" for number, _ in enumerate(self.users))
        password = generate_password()
        other = copy.copy(self)
        other.users = names
        try:
            self.make_throwaway(key, old, dict(zip(names, self.users, strict=True)), password)
            named = credentials(key, old).username is not None
            yield other, with_password(key, old, password, username=names[0]) if named else password
        finally:
            self.remove_throwaway(key, old, names)

    @abstractmethod
    def prepare_rehearsal(self, key: str, old: str) -> None:
        """Raise if the real users cannot be changed, and remove what killed rehearsals have left."""

    @abstractmethod
    def make_throwaway(self, key: str, old: str, names: dict[str, str], password: str) -> None:
        """Make the users that `names` maps to the real ones, all with `password` and without any rights."""

    @abstractmethod
    def remove_throwaway(self, key: str, old: str, names: Sequence[str]) -> None:
        """Remove those of `names` that exist."""

    @staticmethod
    def is_left_over(name: str) -> bool:
        """Return whether `name` is that of a throwaway user whose rehearsal ended long ago."""
        match = _THROWAWAY_NAME.fullmatch(name)
        return match is not None and int(match[1]) < time.time() - _THROWAWAY_LIFE

    def _named(self) -> str:
        return " and ".join(self.users)
