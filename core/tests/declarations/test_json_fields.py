"""Members of secrets in JSON, read and written one at a time."""

from __future__ import annotations

import json

import pytest
from strongroom.declarations.json_fields import member_of, with_member
from strongroom.errors import SecretNotFoundError, ValidationError

HALVED = '{"cut": "long\\ud83d", "\\udc80": 1.50, "whole": "\\ud83d\\ude00 é"}'


def test_half_a_character_is_not_text():
    """JSON can hold half of a surrogate pair, as a program leaves it that has cut a text; nothing can send it."""
    with pytest.raises(ValidationError, match="the field 'cut' of 'k' holds a lone surrogate") as refused:
        member_of(HALVED, "k", "cut")
    assert "long" not in str(refused.value)
    assert member_of(HALVED, "k", "whole") == "😀 é"


def test_another_member_is_written_beside_it_and_it_can_be_replaced():
    """What was not asked for stays as it is, in text that can be stored."""
    after = with_member(HALVED, "k", "whole", "new")
    assert after.encode().decode() == '{"cut": "long\\ud83d", "\\udc80": 1.50, "whole": "new"}'
    assert json.loads(with_member(HALVED, "k", "cut", "new"))["cut"] == "new"
    assert member_of('{"inner": {"cut": "\\ud83d"}}', "k", "inner") == '{"cut": "\\ud83d"}'


@pytest.mark.parametrize("value", ["[1, 2]", "{}"])
def test_a_member_that_is_not_there(value):
    with pytest.raises(SecretNotFoundError, match="has no field 'a'"):
        member_of(value, "k", "a")
    with pytest.raises(SecretNotFoundError, match="has no field 'a'"):
        with_member(value, "k", "a", "new")


def test_an_object_gets_a_member_and_a_list_does_not():
    assert with_member("{}", "k", "a.b", "new", add=True) == '{"a.b": "new"}'
    with pytest.raises(SecretNotFoundError):
        with_member("[]", "k", "a", "new", add=True)
