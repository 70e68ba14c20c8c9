from __future__ import annotations

import pytest
from hypothesis import strategies as st
from properties import holds_for
from strongroom.errors import BackendUnavailableError, SecretTooLargeError, ValidationError
from strongroom_azure.payload import EMPTY_MARK, MAX_BYTES, decode, encode

values = st.text() | st.text().map(lambda text: EMPTY_MARK + text) | st.just(EMPTY_MARK * 2)


@holds_for(values)
def test_values_come_back_and_none_is_kept_empty(value):
    text = encode("k", value)
    assert text
    assert decode("k", text, named=True) == value


@holds_for(values)
def test_text_of_other_tools_is_itself(value):
    if value and not value.startswith(EMPTY_MARK):
        assert encode("k", value) == value


def test_the_limit_counts_bytes():
    assert len(encode("k", "é" * (MAX_BYTES // 2)).encode()) == MAX_BYTES
    for value in ("x" * (MAX_BYTES + 1), "é" * (MAX_BYTES // 2) + "x", EMPTY_MARK + "x" * (MAX_BYTES - 20)):
        with pytest.raises(SecretTooLargeError) as caught:
            encode("k", value)
        assert (caught.value.provider, caught.value.key) == ("azure", "k")


def test_a_secret_without_a_value_is_a_clear_error():
    with pytest.raises(ValidationError, match="no text"):
        decode("k", None, named=True)
    with pytest.raises(BackendUnavailableError, match="not Key Vault's"):
        decode("k", None, named=False)
