"""What the base module of providers gives to all of them."""

from __future__ import annotations

import pytest
from strongroom.errors import ConflictError
from strongroom.providers import expect_version


@pytest.mark.parametrize(
    ("current", "expected", "there"),
    [("2", "1", "is at version 2"), ("2", None, "is at version 2"), (None, "1", "is not there")],
)
def test_another_version_than_the_expected_one_is_a_conflict(current, expected, there):
    with pytest.raises(ConflictError) as caught:
        expect_version("memory", "app/key", current, expected)
    error = caught.value
    assert f"secret 'app/key' {there}" == error.message
    assert (error.key, error.provider, error.hint) == ("app/key", "memory", "read it again, then decide")


@pytest.mark.parametrize("version", ["1", None])
def test_the_expected_version_is_not_a_conflict(version):
    expect_version("memory", "app/key", version, version)
