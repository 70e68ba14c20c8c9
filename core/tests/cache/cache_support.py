"""What the tests of the caches share: a clock that is turned by hand, and a backend that counts."""

from __future__ import annotations

import threading
from collections.abc import Callable

from strongroom import generate_key
from strongroom.encryption import AESGCMEncryption
from strongroom.errors import BackendUnavailableError, SecretNotFoundError
from strongroom.hooks.observation import Observation, observation


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


class Backend:
    """Counts its calls, holds them up where told to, and fails where told to."""

    def __init__(self, **values: str) -> None:
        self.values = dict(values)
        self.calls: list[str] = []
        self.fails: Callable[[], Exception] | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.at_once = 0
        self.most_at_once = 0
        self._lock = threading.Lock()

    def __call__(self, key: str) -> str:
        with self._lock:
            self.calls.append(key)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        value, fails = self.values.get(key), self.fails
        self.entered.release()
        self.gate.wait(300)
        with self._lock:
            self.at_once -= 1
        if fails is not None:
            raise fails()
        if value is None:
            raise SecretNotFoundError(key)
        return value


def together(count: int, call: Callable[[], object]) -> list[object]:
    """Run `call` in `count` threads that begin together; return what each returned or raised."""
    outcomes: list[object] = [None] * count
    ready = threading.Barrier(count)

    def run(index: int) -> None:
        ready.wait(300)
        try:
            outcomes[index] = call()
        except Exception as error:  # handed over to the test
            outcomes[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert not any(thread.is_alive() for thread in threads)
    return outcomes


KEY = generate_key()


def down() -> Exception:
    return BackendUnavailableError("down")


def source_of(read):
    """Return what `read` returns, and where the event says that it came from."""
    seen = Observation()
    token = observation.set(seen)
    try:
        return read(), seen.source
    finally:
        observation.reset(token)


class Remote:
    """A cipher that is a server, as Vault's transit is, and may be down for either way."""

    def __init__(self):
        self.inner = AESGCMEncryption(KEY)
        self.down = None

    def encrypt(self, plaintext, *, context=b""):
        if self.down == "encrypt":
            raise BackendUnavailableError("the cipher is down")
        return self.inner.encrypt(plaintext, context=context)

    def decrypt(self, token, *, context=b""):
        if self.down == "decrypt":
            raise BackendUnavailableError("the cipher is down")
        return self.inner.decrypt(token, context=context)
