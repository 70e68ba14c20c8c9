"""Write docs/reference/conformance.md anew: how many of the kit's tests each provider is held to, and passes.

It runs the kit on every backend, with `--whole` also what `make test` leaves to `make torture`, so all
of their servers must be installed; paths as arguments run those alone and keep what is known of the
others. `--check` runs nothing: it collects, and fails where the page knows other classes, numbers of
tests or waivers than there are now.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, STDOUT, run
from typing import Any

from strongroom.testing.middleware import CHAIN

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "conformance.md"
DATA = ROOT / "docs" / "reference" / "conformance.json"
_LEAD = """\
Every provider is held to [the kit](../how-to/write-a-provider.md#what-the-kit-holds-you-to), on the server
that its tests start. *Selected* are the tests that its capabilities ask for: one without batches is not
asked for them. `make test` runs what is marked ●, `make torture` the rest (○), which is counted here by
`python scripts/write_conformance.py --whole`.
"""
_BEHIND = """\
Keys are longer behind `prefix` and `tenant`, and values behind `encryption`, so some tests of the longest
have no room there. What one provider remembers another may change, so behind `caching` there is no second
one; how a provider is imported and made is tested without middleware alone. `all` is each of them around
the next: caching, retry, validation, tenant, prefix, encryption.
"""
_HELD = ("tests", "torture", "waivers")
_RUN = ("passed", "skipped")
_RECORDER = "conformance_recorder"
_NAMED = {
    "TestMemory": "memory",
    "TestMemoryBehindACacheOnRedis": "memory, behind a cache on Redis",
    "TestEnv": "env",
    "TestFile": "file",
    "TestVault": "vault",
    "Vault": "vault",
    "TestSecretsManager": "aws",
    "TestDeletingAtOnce": "aws, deleting at once",
    "TestPlainMoto": "aws, on moto's own rules",
    "TestPlainMotoDeletingAtOnce": "aws, deleting at once, on moto's own rules",
    "TestParameterStore": "aws.parameters",
    "TestGrpc": "gcp, gRPC",
    "TestRest": "gcp, REST",
    "TestAzure": "azure",
    "TestAzureThatPurges": "azure, purging",
    "TestFileBackend": "keyring, a backend that cannot list",
    "TestSecretService": "keyring, GNOME's Secret Service",
}


def modules() -> list[str]:
    """Return the test modules that hold a provider to the kit."""
    return sorted(
        path.relative_to(ROOT).as_posix() for path in ROOT.glob("plugins/*/tests/test_conformance*.py")
    )


def recorded(paths: list[str], *options: str) -> dict[str, dict[str, Any]]:
    """Run pytest on `paths` and return what it found, by class."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder, "found.json")
        environment = {
            **os.environ,
            "CONFORMANCE_RECORD": str(found),
            "PYTHONPATH": str(Path(__file__).parent),
        }
        command = [sys.executable, "-m", "pytest", "-q", "-m", "", "-p", _RECORDER, *options, *paths]
        done = run(command, cwd=ROOT, env=environment, stdout=PIPE, stderr=STDOUT, text=True, check=False)
        if done.returncode:
            sys.exit(f"{done.stdout[-4000:]}\nthe kit did not pass")
        told: dict[str, dict[str, Any]] = json.loads(found.read_text())
        return told


def page(told: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of the page."""
    yield "# Conformance"
    yield ""
    yield "<!-- Made by `python scripts/write_conformance.py` from a run; changes here are lost. -->"
    yield ""
    yield _LEAD
    bare = {name: one for name, one in told.items() if not _behind(name)}
    yield "## Providers"
    yield ""
    yield "| provider | run | tests | selected | passed | waived |"
    yield "|---|---|---|---|---|---|"
    for name, one in bare.items():
        yield f"| {_title(name)} | {_mark(one)} | {_numbers(one)} |"
    yield ""
    yield "## Behind middleware"
    yield ""
    yield _BEHIND
    yield "| provider | behind | run | tests | selected | passed | waived |"
    yield "|---|---|---|---|---|---|---|"
    for name, one in told.items():
        if _behind(name):
            kit = name.rpartition("Behind")[0]
            yield f"| {_title(kit)} | {_behind(name)} | {_mark(one)} | {_numbers(one)} |"
    yield ""
    yield "## Not selected"
    yield ""
    yield "| provider | tests | why |"
    yield "|---|---|---|"
    for name, one in bare.items():
        for why, number in sorted(one["skipped"].items()):
            yield f"| {_title(name)} | {number} | {why} |"
    yield ""
    yield "## Waivers"
    yield ""
    waivers = [(name, *waiver) for name, one in told.items() for waiver in one["waivers"].items()]
    if not waivers:
        yield "None: no provider is excused from a test that its capabilities select."
        return
    yield "| provider | test | why |"
    yield "|---|---|---|"
    for name, test, why in waivers:
        yield f"| {_title(name)} | `{test}` | {why} |"


def _behind(name: str) -> str | None:
    """Return the middleware that the kit of this name is run behind."""
    behind = name.rpartition("Behind")[2].lower()
    return behind if behind in {"all", *CHAIN} else None


def _title(name: str) -> str:
    kit = name.partition("::")[2]
    return _NAMED.get(kit, kit)


def _mark(one: dict[str, Any]) -> str:
    return "○" if one["torture"] else "●"


def _numbers(one: dict[str, Any]) -> str:
    if not one["passed"]:
        return f"{one['tests']} | not counted here | | {len(one['waivers'])}"
    skipped = sum(one["skipped"].values())
    waived = len(one["waivers"])
    return f"{one['tests']} | {one['tests'] - skipped} | {one['passed']} | {waived}"


def check() -> int:
    """Compare the page with what is collected now."""
    known = _known()
    now = recorded(modules(), "--collect-only", "-n", "0")
    stale = [
        name
        for name in sorted({*now, *known})
        if any(now.get(name, {}).get(what) != known.get(name, {}).get(what) for what in _HELD)
    ]
    if PAGE.read_text() != "\n".join(page(known)) + "\n":
        stale.append(str(PAGE.relative_to(ROOT)))
    for name in stale:
        sys.stderr.write(f"{name}: another than the page says\n")
    if stale:
        sys.stderr.write("run scripts/write_conformance.py, with the paths of those modules\n")
    return int(bool(stale))


def write(chosen: list[str], *, whole: bool) -> int:
    """Run the kit and write the page."""
    paths = chosen or modules()
    collected = recorded(paths, "--collect-only", "-n", "0")
    ran = recorded(paths, "-n", "auto", *([] if whole else ["-m", "not torture"]))
    known = _known()
    told = {name: one for name, one in known.items() if chosen and name.partition("::")[0] not in chosen}
    for name, one in collected.items():
        # What is not run now is as it was when it was run last.
        run_last = ran.get(name) or known.get(name, one)
        told[name] = {**one, **{what: run_last[what] for what in _RUN}}
    told = dict(sorted(told.items()))
    missing = [name for name, one in told.items() if not one["passed"] and not one["torture"]]
    if missing:
        sys.exit(f"not run here: {', '.join(missing)}")
    DATA.write_text(json.dumps(told, indent=1) + "\n")
    PAGE.write_text("\n".join(page(told)) + "\n")
    passed = sum(one["passed"] for one in told.values())
    print(f"{PAGE.relative_to(ROOT)}: {len(told)} kits, {passed} tests passed")
    return 0


def _known() -> dict[str, dict[str, Any]]:
    known: dict[str, dict[str, Any]] = json.loads(DATA.read_text()) if DATA.is_file() else {}
    return known


if __name__ == "__main__":
    options = {one for one in sys.argv[1:] if one.startswith("--")}
    paths = [one for one in sys.argv[1:] if one not in options]
    sys.exit(check() if "--check" in options else write(paths, whole="--whole" in options))
