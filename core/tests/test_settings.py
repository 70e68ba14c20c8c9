"""The environment variable that replaces an argument of ciphers and caches."""

from __future__ import annotations

import pytest
from strongroom.errors import ConfigurationError
from strongroom.settings import required_encryption_key

NAME = "STRONGROOM_ENCRYPTION_KEY"


def test_the_key_is_that_of_the_variable_and_of_no_other(monkeypatch):
    """`run` keeps this one from its child, and none that is only nearly called so."""
    monkeypatch.setenv(NAME.lower(), "hunter2 in small letters")
    with pytest.raises(ConfigurationError, match=NAME):
        required_encryption_key("there is no key", "key")
    monkeypatch.setenv(NAME, "hunter2 in capitals")
    assert required_encryption_key("there is no key", "key") == "hunter2 in capitals"
