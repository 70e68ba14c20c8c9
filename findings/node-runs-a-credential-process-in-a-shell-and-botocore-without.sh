#!/usr/bin/env bash
# botocore 1.44.8 and @aws-sdk/credential-provider-process 3.972.86: one `credential_process` gets other words, and its answer another end.
# Seen: Node runs the command in a shell, botocore splits it into words and runs it without one. A password "pa$WORD" reaches the command as it is
# from botocore, and with the variable's value from Node; what follows " #" is dropped by Node alone; behind "|" is a second command for Node, and
# further words for botocore. With an `Expiration` without a zone botocore ends with TypeError; Node reads it as local time, so that
# keys that live two hours have expired in Tokyo, and live seven hours where clocks are five behind UTC. With Z both read the same.
# Guess: a line of ~/.aws/config runs one command in all SDKs, and a time without a zone means one time, or an error.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check botocore==1.44.8
npm install --silent --no-fund --no-audit @aws-sdk/credential-provider-process@3.972.86
cat >helper.py <<'END'
import json
import os
import sys

answer = {"Version": 1, "AccessKeyId": "key", "SecretAccessKey": "|".join(sys.argv[1:])}
if "UNTIL" in os.environ:
    answer["Expiration"] = os.environ["UNTIL"]
print(json.dumps(answer))
END
cat >who.py <<'END'
import json

import botocore.session

try:
    credentials = botocore.session.Session().get_credentials()
    secret = credentials.get_frozen_credentials().secret_key
    until = getattr(credentials, "_expiry_time", None)
    print(json.dumps([secret, until and until.timestamp()]))
except TypeError as error:
    print(json.dumps([str(error), None]))
END
cat >who.mjs <<'END'
import { fromProcess } from "@aws-sdk/credential-provider-process";

try {
  const { secretAccessKey, expiration } = await fromProcess({ profile: "default" })();
  console.log(JSON.stringify([secretAccessKey, expiration ? expiration.getTime() / 1000 : null]));
} catch (error) {
  console.log(JSON.stringify([error.message, null]));
}
END
mkdir .aws
cat >see.py <<'END'
import json
import os
import subprocess
import time
from pathlib import Path

clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
clean |= {"HOME": str(Path.cwd()), "AWS_EC2_METADATA_DISABLED": "true", "WORD": "hush"}


def see(words, **variables):
    """What botocore has from the command, and Node: the words that reached it (or an error), and when the keys end."""
    Path(".aws/config").write_text(f"[default]\ncredential_process = python3 helper.py {words}\n")

    def run(*command):
        done = subprocess.run(command, env=clean | variables, capture_output=True, text=True, check=True, timeout=60)
        return tuple(json.loads(done.stdout))

    seen = run("venv/bin/python", "who.py"), run("node", "who.mjs")
    print(words, variables, seen)
    return seen


def words_of(words):
    return tuple(secret for secret, _ in see(words))


assert words_of("'pa$WORD' b") == ("pa$WORD|b", "pa$WORD|b")
assert words_of('"pa$WORD"') == ("pa$WORD", "pahush")
assert words_of("a #b") == ("a|#b", "a")
assert words_of("a | cat") == ("a|||cat", "a")
end = int(time.time()) + 2 * 3600
until = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(end))
naive = "can't subtract offset-naive and offset-aware datetimes"
for zone in ("Asia/Tokyo", "EST5"):
    assert see("a", TZ=zone, UNTIL=until + "Z") == (("a", end), ("a", end))
ahead, behind = (see("a", TZ=zone, UNTIL=until) for zone in ("Asia/Tokyo", "EST5"))
assert ahead == ((naive, None), ("Profile default credential_process returned expired credentials.", None))
assert behind == ((naive, None), ("a", end + 5 * 3600))
END
venv/bin/python see.py
