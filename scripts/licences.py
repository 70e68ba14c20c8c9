"""Check the licences of what strongroom needs at run time against those that its users can live with.

`python scripts/licences.py [SITE-PACKAGES]` looks at all distributions of an environment, by default at those
that strongroom's own need, and ends with 1 naming each whose licence is not one of `ALLOWED`.
"""

from __future__ import annotations

import functools
import importlib.metadata
import re
import sys
from collections.abc import Iterable
from typing import Any

from license_expression import ExpressionError, get_spdx_licensing
from packaging.requirements import Requirement

ALLOWED = frozenset(
    {
        *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "MIT-CMU"),
        *("MPL-2.0", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib", "CNRI-Python"),
        "LGPL-3.0-only",  # psycopg: imported as it is, it asks nothing of those who use it
    }
)
"""SPDX identifiers: permissive ones, and the Mozilla licence, which asks nothing of those who only use."""

OLDER: dict[str, str] = {
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "apache-2.0": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
    "the unlicense (unlicense)": "Unlicense",
}
"""How metadata before PEP 639 says it, in lower case."""

KNOWN: dict[str, str] = {"pycryptodomex": "BSD-2-Clause AND Unlicense"}
"""Distributions whose metadata says nothing, or not enough, by name: looked up in their source by hand."""

CHOSEN: dict[str, str] = {"pykeepass": "strongroom-keepass"}
"""Distributions of another licence, each with the one of ours that needs it. It says so, and nothing else of
ours needs it: anyone who installs that one chooses the licence (docs/decisions/0069-keepass.md)."""

_EXTRA = re.compile(r"\bextra\b")


def licence_of(distribution: importlib.metadata.Distribution) -> str | None:
    """Return the licence as an SPDX expression, None where the metadata does not tell."""
    meta = distribution.metadata
    if normal(meta["Name"]) in KNOWN:
        return KNOWN[normal(meta["Name"])]
    if meta.get("License-Expression"):
        return str(meta["License-Expression"])
    classified = [
        line.rpartition(" :: ")[2].lower()
        for line in meta.get_all("Classifier") or ()
        if line.startswith("License :: ") and line != "License :: OSI Approved"
    ]
    expressions = [OLDER[one] for one in classified if one in OLDER]
    if expressions and len(expressions) == len(classified):
        return " AND ".join(sorted(set(expressions)))
    text = (meta.get("License") or "").strip()
    return OLDER.get(text.lower(), text if text and "\n" not in text else None)


@functools.cache
def spdx() -> Any:
    """Return what reads SPDX expressions; making it takes a quarter of a second."""
    return get_spdx_licensing()


def is_allowed(expression: str | None) -> bool:
    """Return whether one of the choices that `expression` leaves is allowed in all its parts."""
    if not expression:
        return False
    licensing = spdx()
    try:
        parsed = licensing.parse(expression, validate=True)
    except ExpressionError:
        return False
    # AND and OR are boolean, and each licence is true where it is allowed.
    values = {
        symbol: licensing.TRUE if str(symbol) in ALLOWED else licensing.FALSE for symbol in parsed.symbols
    }
    return bool(parsed.subs(values, simplify=True) == licensing.TRUE)


def normal(name: str) -> str:
    """Return a distribution's name in its one normal form (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(names: Iterable[str]) -> dict[str, importlib.metadata.Distribution]:
    """Return the installed distributions that `names` need, with what those need, extras aside."""
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = [normal(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found[name] = importlib.metadata.distribution(name)
        for line in found[name].requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or (
                not _EXTRA.search(str(requirement.marker)) and requirement.marker.evaluate()
            ):
                waiting.append(normal(requirement.name))
    return found


def own() -> list[str]:
    """Return the names of strongroom's distributions that are installed here."""
    names = {normal(one.metadata["Name"]) for one in importlib.metadata.distributions()}
    return sorted(name for name in names if name == "strongroom" or name.startswith("strongroom-"))


def main(*folders: str) -> int:
    """Tell of each distribution that is not allowed, and how many were looked at."""
    if folders:
        looked_at = {
            normal(d.metadata["Name"]): d for d in importlib.metadata.distributions(path=list(folders))
        }
    else:
        looked_at = needed(own())
    licences = {name: licence_of(distribution) for name, distribution in sorted(looked_at.items())}
    bad = {
        name: licence for name, licence in licences.items() if not is_allowed(licence) and name not in CHOSEN
    }
    elsewhere = needed(set(own()) - set(CHOSEN.values())) if not folders else {}
    bad.update({name: licences[name] for name in CHOSEN if name in elsewhere})
    for name, licence in bad.items():
        print(f"{name}: {licence or 'its metadata tells no licence'}; see ALLOWED and KNOWN in {__file__}")
    print(f"{len(licences)} distributions, {len(bad)} with a licence that is not allowed")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
