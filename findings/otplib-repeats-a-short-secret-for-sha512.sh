#!/usr/bin/env bash
# otplib 12.0.1 and 13.5.0 and otpauth 9.5.2 of npm with pyotp 2.12.1: version 12 of otplib makes codes of SHA512 that no other has for the secret.
# Seen: for SHA512 and a secret of 20 bytes, and for SHA256 and one of 10 bytes, which generateSecret() makes if no length is given, otplib 12 repeats
# the secret before it hashes, and so has other codes than pyotp, otpauth and otplib 13 for the URL that it wrote itself. A login by an app that heeds
# the algorithm fails, and an update to version 13 refuses who computed codes with 12. SHA1, and a secret of 32 bytes or more, give the same codes
# everywhere. Guess: one URL, one code. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pyotp==2.12.1
npm install --silent --no-fund --no-audit otplib@13.5.0 otpauth@9.5.2
npm install --prefix=before --silent --no-fund --no-audit otplib@12.0.1
cat >see.mjs <<'END'
import { createRequire } from "node:module";
import { Secret, TOTP, URI } from "otpauth";
import { generateSync } from "otplib";

const { authenticator } = createRequire(new URL("before/", import.meta.url))("otplib");
const times = Array.from({ length: 8 }, (_, step) => 1700000000 + 30 * step);
const seen = [];
for (const size of [10, 20, 32]) {
  for (const algorithm of ["sha1", "sha256", "sha512"]) {
    const before = authenticator.clone({ algorithm });
    const secret = size === 10 ? before.generateSecret() : before.generateSecret(size);
    const uri = before.keyuri("app", "example", secret);
    const bytes = Secret.fromBase32(secret).bytes.length;
    const codes = {
      "otplib 12": times.map((time) => authenticator.clone({ algorithm, epoch: time * 1000 }).generate(secret)),
      otpauth: times.map((time) => URI.parse(uri).generate({ timestamp: time * 1000 })),
    };
    if (size > 10) codes["otplib 13"] = times.map((epoch) => generateSync({ secret, algorithm, epoch }));
    seen.push({ bytes, algorithm, uri, times, codes });
  }
}
console.log(JSON.stringify(seen));
END
cat >see.py <<'END'
import json
import subprocess

import pyotp

results = {}
for one in json.loads(subprocess.run(["node", "see.mjs"], capture_output=True, text=True, check=True, timeout=60).stdout):
    codes = one["codes"]
    if one["bytes"] > 10:
        codes["pyotp"] = [pyotp.parse_uri(one["uri"]).at(time) for time in one["times"]]
    others = [codes[name] for name in codes if name != "otplib 12"]
    assert all(other == others[0] for other in others)  # these agree on each code
    results[one["bytes"], one["algorithm"]] = codes["otplib 12"] == others[0]
    print(f"{one['bytes']} bytes, {one['algorithm']}: otplib 12 has the codes of {', '.join(list(codes)[1:])}: {codes['otplib 12'] == others[0]}")
assert [one for one, same in results.items() if not same] == [(10, "sha256"), (10, "sha512"), (20, "sha512")]
assert len(results) == 9
END
venv/bin/python see.py
