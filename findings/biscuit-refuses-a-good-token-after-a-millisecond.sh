#!/usr/bin/env bash
# biscuit-python 0.4.0: whether a good token is let in depends on how busy the machine is.
# Seen: a token grants reading of 450 secrets, the server has a list of 450 names that it no longer serves, and the policy joins the two. The
# token is in order, and authorize() refuses it: an authorizer gives up after one millisecond of wall time, if no limits were set, and
# says so with AuthorizationError ("Reached Datalog execution limits"), the class that it also has for a token that may not do a thing, so that
# a server answers 403. With set_limits and max_time of a minute the same token is let in, and with a policy on 10 names it
# is without. In between, at some 100 names, it is refused at one request and let in at the next. A test with a small token
# on a quiet machine passes. Guess: a refusal says something of the token and the policy.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check biscuit-python==0.4.0
cat >see.py <<'END'
from datetime import timedelta

from biscuit_auth import AuthorizationError, AuthorizerBuilder, Biscuit, BiscuitBuilder, KeyPair

pair = KeyPair()


def see(number, wanted, seconds=None):
    """What comes of a token for so many secrets, against so many names that are gone."""
    granted = "".join(f'right("secret/{one}");' for one in range(number))
    gone = "".join(f'gone("old/{one}");' for one in range(number))
    sent = BiscuitBuilder(granted).build(pair.private_key).to_base64()
    builder = AuthorizerBuilder(f'{gone} deny if right($name), gone($name); allow if right("{wanted}");')
    limits = builder.limits()
    assert limits.max_time == timedelta(milliseconds=1)
    if seconds:
        limits.max_time = timedelta(seconds=seconds)
        builder.set_limits(limits)
    authorizer = builder.build(Biscuit.from_base64(sent, pair.public_key))
    try:
        authorizer.authorize()
    except AuthorizationError as error:
        return str(error).partition(":")[0]
    return "let in"


few = [see(10, "secret/5") for _ in range(50)]
some = [see(100, "secret/5") for _ in range(200)]
many, patient, other = see(450, "secret/5"), see(450, "secret/5", 60), see(450, "secret/450", 60)
print(f"10 secrets: let in {few.count('let in')} times of 50; 100 secrets: {some.count('let in')} times of 200")
print(f"450 secrets: {many}; with a minute: {patient}; with a minute, a secret that is not granted: {other}")
assert "let in" in few
assert many == "Reached Datalog execution limits"
assert patient == "let in"
assert other == "authorization failed"
END
venv/bin/python see.py
