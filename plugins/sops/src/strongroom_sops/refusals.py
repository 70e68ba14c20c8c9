"""Messages about keys and recipients from the output of sops, without any part of a key."""

from __future__ import annotations

import re
from typing import Final

from strongroom.clients import redact_credentials

__all__ = ["differing_recipients", "why_locked"]

_FEW: Final = 4
"""The most recipients that an error names."""
_LONG: Final = 200
"""The longest recipient that is shown whole. An ARN fits; a post-quantum key of age has 1,959 letters."""


def why_locked(said: str) -> str:
    """Return why no key opens a file, and its recipients, from the output of sops."""
    # One may be the address of a server, with a login.
    failed_for = re.findall(r"^ {2}(\S+): FAILED", said, re.MULTILINE)
    recipients = list(dict.fromkeys(map(redact_credentials, failed_for)))
    # It breaks its lines anywhere.
    text = re.sub(r"\s*\n[\s|]*", " ", said)
    reasons: list[str] = []
    if unopened := re.search(r"failed to open (SOPS_\w+) file", text):
        reasons.append(f"{unopened.group(1)} names a file that cannot be opened")
    elif unread := re.search(r"failed to parse '([^']+)' age identities", text):
        reasons.append(f"{unread.group(1)} holds something other than an age key")
    elif failed := re.search(r"from (SOPS_AGE_KEY_CMD)", text):
        reasons.append(f"the program of {failed.group(1)} failed")
    elif "did not match any of the recipients" in text:
        reasons.append("the age key that sops found does not belong to a recipient")
    elif "failed to load age identities. Did not find" in text:
        reasons.append("sops found no age key")
    if recipients:
        more = f" and {len(recipients) - _FEW} more" if len(recipients) > _FEW else ""
        reasons.append(f"it is for {', '.join(map(_shortened, recipients[:_FEW]))}{more}")
    about = "no key that it has opens the file"
    return f"{about}: {'; '.join(reasons)}" if reasons else about


def _shortened(recipient: str) -> str:
    """Return the recipient, or the start and the end of a long one, by which it can be searched for."""
    return recipient if len(recipient) <= _LONG else f"{recipient[:24]}…{recipient[-8:]}"


def differing_recipients(out: str) -> tuple[int, int]:
    """Return how many recipients `sops updatekeys` would add, and how many it would take away."""
    added, gone = (re.findall(rf"^{re.escape(sign)} \S", out, re.MULTILINE) for sign in ("+++", "---"))
    return len(added), len(gone)
