#!/usr/bin/env bash
# standardwebhooks 1.1.0 and svix 2.9.1 of PyPI: sign() replaces the zone of its time by UTC, so that every receiver refuses the signature.
# Seen: sign(id, datetime.now(zone), body) of Python, with a zone other than UTC, signs the hour of that zone as if it were UTC. The header
# webhook-timestamp is the moment, in seconds, so that Webhook.verify of both packages and of standardwebhooks 1.1.1 of npm says "No matching
# signature found", which is what it says to a wrong secret too, and a secret that is right looks as if it had to be replaced. With UTC, and
# with sign() of Node in any zone, all three take it. For senders: datetime.now(timezone.utc). Guess: a datetime with a zone is one
# moment, whatever the zone is.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check standardwebhooks==1.1.0 svix==2.9.1
npm install --silent --no-fund --no-audit standardwebhooks@1.1.1
cat >see.mjs <<'END'
import { Webhook } from "standardwebhooks";

const [secret, body, when, moment, signature] = process.argv.slice(2);
const webhook = new Webhook(secret);
const verified = (text) => {
  try {
    webhook.verify(body, { "webhook-id": "msg_1", "webhook-timestamp": moment, "webhook-signature": text });
    return "taken";
  } catch (error) {
    return error.message;
  }
};
console.log(JSON.stringify([verified(signature), verified(webhook.sign("msg_1", new Date(when), body))]));
END
cat >see.py <<'END'
import base64
import json
import subprocess
from datetime import datetime, timedelta, timezone

import standardwebhooks
import svix

SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()
REFUSED = "No matching signature found"
BODY = '{"event":"rotated"}'


def verified(library, headers, secret=SECRET):
    try:
        library.Webhook(secret).verify(BODY, headers)
    except library.WebhookVerificationError as error:
        return str(error)
    return "taken"


def see(library, hours):
    """What each receiver says to a message that this package signs now, on a clock with this zone."""
    now = datetime.now(timezone(timedelta(hours=hours)))
    moment, signature = str(int(now.timestamp())), library.Webhook(SECRET).sign("msg_1", now, BODY)
    headers = {"webhook-id": "msg_1", "webhook-timestamp": moment, "webhook-signature": signature}
    words = ["node", "see.mjs", SECRET, BODY, now.isoformat(), moment, signature]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    by_node, of_node = json.loads(done.stdout)
    seen = {verified(standardwebhooks, headers), verified(svix, headers), by_node}
    print(f"{library.__name__}, UTC{hours:+}: {seen}; what Node signs for that time: {of_node}")
    assert of_node == "taken"
    assert verified(library, headers, "whsec_" + "A" * 32) == REFUSED
    return seen


for library in (standardwebhooks, svix):
    assert see(library, 0) == {"taken"}
    for hours in (-5, 2):
        assert see(library, hours) == {REFUSED}
END
venv/bin/python see.py
