#!/usr/bin/env bash
# Python's smtplib and aiosmtplib 5.1.3, nodemailer 10.6.1: how many refused logins one call with an old password is, as the server counts.
# Seen: a server that offers CRAM-MD5, PLAIN and LOGIN gets three logins from one login() of either library of Python: after a refusal
# with 535 the same password goes out again by the next method, and the error names the last one alone. nodemailer logs in once. A server
# that locks an account at five refusals locks it at the second mail of one program that still has the old password after a rotation, and then
# refuses those that have the new one, too. For mail from Python: auth() with one method, which is one login, and no second mail
# after SMTPAuthenticationError. Guess: a password that was refused for good is not sent again within one call.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check aiosmtplib==5.1.3 aiosmtpd==1.4.6
npm install --silent --no-fund --no-audit nodemailer@10.6.1
cat >see.mjs <<'END'
import nodemailer from "nodemailer";

const [port] = process.argv.slice(2);
const mail = nodemailer.createTransport({ host: "127.0.0.1", port: +port, ignoreTLS: true, auth: { user: "app", pass: "old" } });
await mail.verify().catch((error) => process.exit(error.responseCode === 535 ? 0 : 1));
END
cat >see.py <<'END'
import asyncio
import smtplib
import subprocess

import aiosmtplib
from aiosmtpd.smtp import SMTP, AuthResult

refused = []


def refuse(_server, _session, _envelope, method, _login):
    refused.append(method)
    return AuthResult(success=False, handled=False)


class Handler:
    async def auth_CRAM__MD5(self, server, _words):
        await server.challenge_auth(b"<1@127.0.0.1>")  # the digest that comes is not that of the right password
        return refuse(server, None, None, "CRAM-MD5", None)


def by_smtplib(port, *, one_method=False):
    with smtplib.SMTP("127.0.0.1", port) as mail:
        if one_method:
            mail.ehlo()
            mail.user, mail.password = "app", "old"
            mail.auth("PLAIN", mail.auth_plain)
        else:
            mail.login("app", "old")


async def by_aiosmtplib(port):
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False) as mail:
        await mail.login("app", "old")


LOGINS = {
    "smtplib": by_smtplib,
    "aiosmtplib": lambda port: asyncio.run(by_aiosmtplib(port)),
    "nodemailer": lambda port: subprocess.run(["node", "see.mjs", str(port)], check=True, timeout=60),
    "auth() of smtplib": lambda port: by_smtplib(port, one_method=True),
}


async def main():
    loop, seen = asyncio.get_running_loop(), {}
    server = await loop.create_server(
        lambda: SMTP(Handler(), authenticator=refuse, auth_require_tls=False, loop=loop), "127.0.0.1", 0
    )
    for name, login in LOGINS.items():
        refused.clear()
        try:
            await asyncio.to_thread(login, server.sockets[0].getsockname()[1])
        except (smtplib.SMTPAuthenticationError, aiosmtplib.SMTPAuthenticationError) as error:
            assert error.args[0] == 535
        seen[name] = list(refused)
    print(seen)
    assert seen["smtplib"] == seen["aiosmtplib"] == ["CRAM-MD5", "PLAIN", "LOGIN"]
    assert seen["nodemailer"] == seen["auth() of smtplib"] == ["PLAIN"]


asyncio.run(main())
END
venv/bin/python see.py
