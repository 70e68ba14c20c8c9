"""A folder for each test, and a real Secret Service where one is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from keyrings.alt.file import PlaintextKeyring

_DAEMONS = ("dbus-daemon", "gnome-keyring-daemon")


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("PYTHON_KEYRING_BACKEND", raising=False)


@pytest.fixture
def file_backend(tmp_path: Path) -> PlaintextKeyring:
    backend = PlaintextKeyring()
    backend.file_path = str(tmp_path / "keyring.cfg")
    return backend


@pytest.fixture(scope="session")
def bus_address() -> Iterator[str]:
    """The address of a private D-Bus with an unlocked GNOME Keyring, headless."""
    missing = [name for name in _DAEMONS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"no real Secret Service here: {', '.join(missing)} not installed (apt: gnome-keyring dbus-daemon)")
    # Its sockets' paths must be short, which pytest's folders are not.
    with tempfile.TemporaryDirectory(prefix="ss-") as home:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": home,
            "XDG_RUNTIME_DIR": home,
            "XDG_DATA_HOME": home,
            "XDG_CONFIG_HOME": home,
            "XDG_CACHE_HOME": home,
        }
        with _running(
            ["dbus-daemon", "--session", "--nofork", "--print-address=1"], environment
        ) as bus:
            assert bus.stdout is not None
            address = bus.stdout.readline().decode().strip()
            environment["DBUS_SESSION_BUS_ADDRESS"] = address
            with _running(
                ["gnome-keyring-daemon", "--unlock", "--foreground", "--components=secrets"],
                environment,
                stdin=b"pw\n",
            ) as keyring:
                assert keyring.stdout is not None
                keyring.stdout.readline()  # it prints where its control socket is once it is up
                yield address


class _running:  # noqa: N801  # used as a function
    def __init__(self, command: list[str], environment: dict[str, str], *, stdin: bytes = b"") -> None:
        self._arguments = (command, environment, stdin)

    def __enter__(self) -> subprocess.Popen[bytes]:
        command, environment, stdin = self._arguments
        self._process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(stdin)
        self._process.stdin.close()
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=10)
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture
def secret_service(bus_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", bus_address)
