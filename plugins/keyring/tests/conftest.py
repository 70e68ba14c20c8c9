"""A folder for each test, and a real Secret Service where one is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from keyrings.alt.file import PlaintextKeyring

_LOGIN = "/org/freedesktop/secrets/collection/login"
_STARTS = 3
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
    with _secret_service() as address:
        yield address


@pytest.fixture
def other_bus_address() -> Iterator[str]:
    """Another one for one test alone, which may lock it."""
    with _secret_service() as address:
        yield address


@contextmanager
def _secret_service() -> Iterator[str]:
    missing = [name for name in _DAEMONS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"no real Secret Service: {', '.join(missing)} missing (apt: gnome-keyring dbus-daemon)")
    # Sockets' paths must be short, which pytest's folders are not.
    with tempfile.TemporaryDirectory(prefix="ss-") as home:
        folders = ("HOME", "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")
        environment = {"PATH": os.environ["PATH"]} | dict.fromkeys(folders, home)
        bus = ["dbus-daemon", "--session", "--nofork", "--print-address=1"]
        keyring = ["gnome-keyring-daemon", "--unlock", "--foreground", "--components=secrets"]
        with _running(bus, environment) as address:
            environment["DBUS_SESSION_BUS_ADDRESS"] = address
            for left in reversed(range(_STARTS)):
                with _running(keyring, environment, stdin=b"pw\n"):
                    # Now and then, on a busy machine, the daemon comes up without having taken the password.
                    if _is_unlocked(address) or not left:
                        yield address
                        return


def _is_unlocked(address: str) -> bool:
    # Installed where there can be a Secret Service.
    from jeepney.io.blocking import open_dbus_connection
    from secretstorage.collection import Collection
    from secretstorage.exceptions import ItemNotFoundException, SecretServiceNotAvailableException

    with closing(open_dbus_connection(bus=address)) as connection:
        try:
            return not Collection(connection, _LOGIN).is_locked()
        except (ItemNotFoundException, SecretServiceNotAvailableException):
            return False


@contextmanager
def _running(command: list[str], environment: dict[str, str], *, stdin: bytes = b"") -> Iterator[str]:
    """Run a daemon; give the line that it prints once it is up."""
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(stdin)
        process.stdin.close()
        try:
            yield process.stdout.readline().decode().strip()
        finally:
            process.terminate()
            process.wait(timeout=10)


@pytest.fixture
def secret_service(bus_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", bus_address)
