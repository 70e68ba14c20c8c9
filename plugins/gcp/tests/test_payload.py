from __future__ import annotations

import pytest
from hypothesis import strategies as st
from properties import holds_for
from strongroom.errors import BackendUnavailableError, SecretTooLargeError, ValidationError
from strongroom_gcp.payload import EMPTY_MARK, MAX_BYTES, check_crc, decode, encode

values = st.text() | st.text().map(lambda text: EMPTY_MARK.decode() + text) | st.just(EMPTY_MARK.decode() * 2)


@holds_for(values)
def test_values_come_back_and_no_payload_is_empty(value):
    data = encode("k", value)
    assert data
    assert decode("k", data) == value


@holds_for(values)
def test_text_of_other_tools_is_itself(value):
    if value and not value.startswith(EMPTY_MARK.decode()):
        assert encode("k", value) == value.encode()


def test_the_limit_counts_bytes():
    assert len(encode("k", "é" * (MAX_BYTES // 2))) == MAX_BYTES
    for value in ("x" * (MAX_BYTES + 1), "é" * (MAX_BYTES // 2) + "x", EMPTY_MARK.decode() + "x" * MAX_BYTES):
        with pytest.raises(SecretTooLargeError) as caught:
            encode("k", value)
        assert (caught.value.provider, caught.value.key) == ("gcp", "k")


def test_binary_is_a_clear_error_that_holds_no_byte_of_it():
    with pytest.raises(ValidationError, match="7 bytes that are not UTF-8") as caught:
        decode("k", b"\xff\xfesecre")
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


def test_damage_is_noticed_and_a_server_without_check_sums_is_not_distrusted():
    check_crc("k", None, 1)
    check_crc("k", 1, 1)
    with pytest.raises(BackendUnavailableError, match="damaged"):
        check_crc("k", 1, 2)
