"""Ten thousand guessed tokens: nothing is found, they are counted and slowed, and nobody else is held up."""

from __future__ import annotations

import itertools
import logging
import re

import pytest
from served import ADMIN, WEB, spec_of

pytestmark = pytest.mark.torture
GUESSES = 10_000
HIDDEN = "value-that-nobody-may-see"


@pytest.fixture
def server(served):
    made = served(spec_of({"name": "web", "token": WEB, "allow": ["app/*"]}))
    made.registry.set_secret("app/x", HIDDEN)
    return made


def guesses():
    """Yield tokens, many of which differ from a good one in a character, a case or a space."""
    for number in range(GUESSES // 2):
        yield f"guess-{number:020}"
    near = (WEB[:at] + one + WEB[at + 1 :] for at in range(len(WEB)) for one in "abcxyz0123456789-_ABCXYZ~.")
    others = (WEB[:cut] for cut in range(len(WEB)))
    found = (one for one in itertools.chain(near, others, [WEB.upper(), WEB + "x", ADMIN[:-1]]) if one != WEB)
    yield from itertools.islice(itertools.cycle(list(found)), GUESSES // 2)


def test_ten_thousand_guesses_find_nothing_are_counted_and_slowed_and_hold_up_nobody(server, caplog):
    caplog.set_level(logging.DEBUG)
    answers, waits = [], []
    for at, token in enumerate(guesses()):
        reply = server.ask("GET", "/v1/secret/data/app/x", token=token)
        answers.append(reply.status)
        assert HIDDEN.encode() not in reply.body
        if reply.status == 429:
            waits.append(int(reply.headers["retry-after"]))
        if at % 500 == 0:
            assert server.get("app/x", token=WEB).status == 200  # from the same address
    assert set(answers) == {403, 429}
    assert answers.count(403) < GUESSES / 10
    assert min(waits) >= 1
    text = server.ask("GET", "/metrics").body.decode()
    counted = dict(re.findall(r'strongroom_serve_refused_total\{reason="(token|guessing)"\} (\d+)', text))
    assert int(counted["token"]) + int(counted["guessing"]) == GUESSES
    assert int(counted["token"]) == answers.count(403)
    denied = [one for one in server.recorder.events if one.actor == "unknown" and one.outcome == "denied"]
    assert len(denied) == answers.count(403)
    for told in (WEB, ADMIN, HIDDEN, "guess-0"):
        assert told not in caplog.text
