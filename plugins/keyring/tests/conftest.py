"""A folder for each test, and a real Secret Service where one is installed."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
import secretstorage
from _pytest.runner import runtestprotocol
from jeepney.io.blocking import open_dbus_connection
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


class _SecretService:
    """A private D-Bus with an unlocked GNOME Keyring, headless."""

    def __init__(self) -> None:
        self._opened = ExitStack()
        self.start()

    def start(self) -> None:
        self.address, self._daemon = self._opened.enter_context(_secret_service())

    def has_crashed(self) -> bool:
        return self._daemon.poll() is not None

    def close(self) -> None:
        self._opened.close()


_service: pytest.StashKey[_SecretService] = pytest.StashKey()


@pytest.fixture(scope="session")
def _shared_service(request: pytest.FixtureRequest) -> Iterator[_SecretService]:
    service = request.config.stash[_service] = _SecretService()
    yield service
    del request.config.stash[_service]
    service.close()


@pytest.fixture
def secret_service(_shared_service: _SecretService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", _shared_service.address)
    # A busy machine's bus may need more than the second that is given to it otherwise.
    monkeypatch.setattr(
        secretstorage, "open_dbus_connection", partial(open_dbus_connection, auth_timeout=300)
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a test again whose GNOME Keyring crashed, which version 42 does once in some thousand calls.

    Only a daemon that is dead by itself counts: what fails beside one that lives has failed.
    """
    if "secret_service" not in getattr(item, "fixturenames", ()):
        return None
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    service = item.config.stash.get(_service, None)
    if service is not None and service.has_crashed():
        service.start()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()  # connections to the dead one, which the keyring library leaves open
        item._initrequest()  # type: ignore[attr-defined]  # as every plugin does that runs a test again
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.fixture
def other_bus_address() -> Iterator[str]:
    """Another one for one test alone, which may lock it."""
    with _secret_service() as (address, _):
        yield address


@contextmanager
def _secret_service() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    missing = [name for name in _DAEMONS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"no real Secret Service: {', '.join(missing)} missing (apt: gnome-keyring dbus-daemon)")
    # Sockets' paths must be short, which pytest's folders are not.
    with tempfile.TemporaryDirectory(prefix="ss-", ignore_cleanup_errors=True) as home:
        folders = ("HOME", "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")
        environment = {"PATH": os.environ["PATH"]} | dict.fromkeys(folders, home)
        bus = ["dbus-daemon", "--session", "--nofork", "--print-address=1"]
        keyring = ["gnome-keyring-daemon", "--unlock", "--foreground", "--components=secrets"]
        with _running(bus, environment) as (address, _):
            environment["DBUS_SESSION_BUS_ADDRESS"] = address
            with _running(keyring, environment, stdin=b"pw\n") as (_, daemon):
                yield address, daemon


@contextmanager
def _running(
    command: list[str], environment: dict[str, str], *, stdin: bytes = b""
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a daemon; give the line that it prints once it is up, and its process."""
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
            yield process.stdout.readline().decode().strip(), process
        finally:
            process.terminate()
            process.wait(timeout=300)
