#!/usr/bin/env bash
# pyotp 2.12.1 and 2.3.0, otplib 13.5.0 and otpauth 9.5.2 of npm: a second factor that was enrolled with 16 letters works in some of them alone.
# Seen: random_base32() of pyotp 2.3.0 makes 16 letters (80 bits). Of such a secret pyotp 2.12.1 makes no code, and reads neither the secret nor
# its otpauth URI: "Secrets must be at least 112 bits after decoding". otplib wants 128 bits, so that one of 14 bytes is good for pyotp and not
# for otplib; otpauth takes all of them, and where they take one the codes are the same. Guess: what was enrolled goes on after an upgrade.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv new
python3 -m venv old
new/bin/pip install -q --disable-pip-version-check pyotp==2.12.1
old/bin/pip install -q --disable-pip-version-check pyotp==2.3.0
npm install --silent --no-fund --no-audit otplib@13.5.0 otpauth@9.5.2
cat >code.py <<'END'
import json
import sys

import pyotp


def code(read):
    try:
        return read().at(1000000)
    except ValueError as error:
        return str(error)


print(json.dumps([[code(lambda: pyotp.TOTP(one)), code(lambda: pyotp.parse_uri(f"otpauth:{'//'}totp/app?secret={one}"))]
                  for one in sys.argv[1:]]))
END
cat >code.mjs <<'END'
import { TOTP } from "otpauth";
import { generateSync } from "otplib";

const code = (make) => {
  try {
    return make();
  } catch (error) {
    return error.message;
  }
};
console.log(JSON.stringify(process.argv.slice(2).map((secret) => [
  code(() => new TOTP({ secret }).generate({ timestamp: 1000000 * 1000 })),
  code(() => generateSync({ secret, epoch: 1000000 })),
])));
END
cat >see.py <<'END'
import base64
import json
import os
import subprocess


def run(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


made = run("old/bin/python", "-c", "import pyotp; print(pyotp.random_base32())")
secrets = [made, *(base64.b32encode(os.urandom(size)).decode().rstrip("=") for size in (14, 20))]
before = [run("old/bin/python", "-c", f"import pyotp; print(pyotp.TOTP('{one}').at(1000000))") for one in secrets]
python = json.loads(run("new/bin/python", "code.py", *secrets))
node = json.loads(run("node", "code.mjs", *secrets))
for secret, old, (new, by_uri), (otpauth, otplib) in zip(secrets, before, python, node, strict=True):
    print(f"{len(secret)} letters: pyotp 2.3.0 {old}, 2.12.1 {new}, its URI {by_uri}, otpauth {otpauth}, otplib {otplib}")
short = "Secrets must be at least 112 bits after decoding"
assert len(made) == 16
assert python == [[short, short], [before[1]] * 2, [before[2]] * 2]
assert [one[0] for one in node] == before
assert node[0][1].endswith("at least 16 bytes (128 bits), got 10 bytes")
assert node[1][1].endswith("at least 16 bytes (128 bits), got 14 bytes")
assert node[2][1] == before[2]
END
new/bin/python see.py
