"""Passwords made by the operating system's random source."""

from __future__ import annotations

import secrets
import string
from collections.abc import Iterable

from strongroom.errors import ConfigurationError

__all__ = ["CHARACTER_CLASSES", "generate_password"]

CHARACTER_CLASSES = {
    "lower": string.ascii_lowercase,
    "upper": string.ascii_uppercase,
    "digit": string.digits,
    "symbol": "!#%&()*+,-./:;<=>?@[]^_{|}~",
}
_TRIES = 1000
_DEFAULT_ALPHABET = string.ascii_letters + string.digits


def generate_password(
    length: int = 32,
    *,
    alphabet: str = _DEFAULT_ALPHABET,
    require: Iterable[str] = (),
) -> str:
    """Return a random password, every allowed one being equally likely.

    Args:
        length: Characters, at least 1.
        alphabet: The characters to choose from; letters and digits by default, which survive every
            shell, URL and file format unquoted.
        require: Classes of which at least one character must be there: `lower`, `upper`, `digit`,
            `symbol`, or a text of characters of your own. A class of which the alphabet has
            none is added to it.

    Raises:
        ConfigurationError: No such password exists.
    """
    classes = []
    characters = dict.fromkeys(alphabet)
    for wanted in require:
        group = CHARACTER_CLASSES.get(wanted, wanted)
        if not group:
            raise ConfigurationError("generate_password: a required class is empty")
        usable = [character for character in group if character in characters]
        if not usable:
            characters.update(dict.fromkeys(group))
            usable = list(group)
        classes.append(frozenset(usable))
    if length < max(1, len(classes)) or not characters:
        raise ConfigurationError(
            f"generate_password: length {length} cannot hold {len(classes)} required classes"
            if characters
            else "generate_password: the alphabet is empty"
        )
    pool = tuple(characters)
    # Rejection keeps the distribution uniform; placing one of each class first would not, and is
    # left for demands so narrow that chance alone would not meet them.
    for _ in range(_TRIES):
        password = "".join(secrets.choice(pool) for _ in range(length))
        if all(not group.isdisjoint(password) for group in classes):
            return password
    drawn = [secrets.choice(tuple(group)) for group in classes]
    drawn += [secrets.choice(pool) for _ in range(length - len(drawn))]
    secrets.SystemRandom().shuffle(drawn)
    return "".join(drawn)
