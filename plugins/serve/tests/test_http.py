"""The header fields that the server adds to each answer."""

from __future__ import annotations

from email.utils import formatdate, parsedate_to_datetime

from hypothesis import given
from hypothesis import strategies as st
from served import ADMIN
from strongroom_serve.http import http_date


@given(st.integers(0, 253_402_300_799))  # the last second that has a year of four digits
def test_a_date_is_written_as_http_has_it(second):
    assert http_date(second).decode() == formatdate(second, usegmt=True)


def test_every_answer_has_one_date_and_one_name_of_the_server(served):
    reply = served().get("absent", token=ADMIN)
    for name in ("Date", "Server"):
        assert len([one for one in reply.headers if one == name]) == 1
    assert reply.headers["Server"] == "gunicorn/asgi"
    assert parsedate_to_datetime(reply.headers["Date"]).tzinfo is not None
