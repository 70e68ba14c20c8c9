#!/usr/bin/env bash
# pyotp 2.12.1 with otpauth 9.5.2 and otplib 13.5.0 of npm: a counter in an otpauth URL is added to every count in pyotp.
# Seen: a second factor by counter (hotp) is moved with its URL, which has counter=5. `parse_uri(url).at(5)` of pyotp is the code that the others
# compute for 10; `verify(code, 5)` refuses the code for 5 that they compute, and takes it for the count 0. The URL that it writes has the same counter=5.
# With counter=0 all agree. So a program that keeps the next count beside the URL works until it reads the first URL of somebody who has
# used the factor before. For those who write it: compute with `HOTP(parse_uri(url).secret)`, and count from `initial_count`.
# Guess: `at(5)` is the code for 5, whatever the URL says.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pyotp==2.12.1
npm install --silent --no-fund --no-audit otpauth@9.5.2 otplib@13.5.0
cat >see.mjs <<'END'
import { URI } from "otpauth";
import { generateSync } from "otplib";

const [url, ...counts] = process.argv.slice(2);
const key = URI.parse(url);
const secret = key.secret.base32;
console.log(JSON.stringify([
  key.counter,
  counts.map((count) => key.generate({ counter: Number(count) })),
  counts.map((count) => generateSync({ strategy: "hotp", secret, counter: Number(count) })),
]));
END
cat >see.py <<'END'
import json
import subprocess

import pyotp

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
COUNTS = list(range(11))


def see(counter):
    """The codes of pyotp for the counts from 0 to 10, where the URL has that counter; those of the others; and the object of pyotp."""
    url = "otpauth:" + f"//hotp/Acme:app?secret={SECRET}&issuer=Acme&counter={counter}"
    key = pyotp.parse_uri(url)
    done = subprocess.run(["node", "see.mjs", url, *map(str, COUNTS)], capture_output=True, text=True, check=True, timeout=60)
    read, by_otpauth, by_otplib = json.loads(done.stdout)
    assert by_otpauth == by_otplib
    assert (read, key.provisioning_uri()) == (counter, url)
    return [key.at(count) for count in COUNTS], by_otpauth, key


same, codes, _ = see(0)
shifted, again, key = see(5)
print(f"counter=0: pyotp {same}\ncounter=5: pyotp {shifted}\nthe others:      {again}")
print("for 5:", key.at(5), "| taken for 5:", key.verify(codes[5], 5), "| taken for 0:", key.verify(codes[5], 0))
assert same == codes == again
assert shifted[:6] == codes[5:]
assert [key.verify(codes[5], count) for count in (5, 0)] == [False, True]
assert pyotp.HOTP(key.secret).at(key.initial_count) == codes[5]
END
venv/bin/python see.py
