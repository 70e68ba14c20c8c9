"""What a sealed store's provider makes of what its server has; real servers are in the plugins' tests."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
from cryptography.fernet import Fernet
from strongroom.deadlines import held_within
from strongroom.encryption.keyfiles import next_key_file
from strongroom.encryption.keys import generate_key
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    DecryptionError,
    TamperedError,
)
from strongroom.sealed import Found, SealedSecretProvider, StoreGoneError, StoreKeySource
from strongroom.sealed.header import open_header, wrap

NAME = "app/key"


class Server:
    """What a server keeps: a header, heads, and rows by name and number."""

    def __init__(self):
        self.stored = {}
        self.heads_of = {}
        self.rows_of = {}

    def state(self):
        return dict(self.stored), dict(self.heads_of), dict(self.rows_of)

    def put_back(self, state):
        _, self.heads_of, self.rows_of = map(dict, state)


class Backend:
    """The calls of a `SealedBackend` on a `Server`, as far as these tests make them."""

    def __init__(self, server):
        self.server = server

    def header(self, _deadline):
        if "header" not in self.server.stored:
            raise StoreGoneError
        return self.server.stored["header"]

    def create(self, header, _deadline):
        return self.server.stored.setdefault("header", header)

    def replace_header(self, before, after, _deadline):
        if self.server.stored["header"] != before:
            return False
        self.server.stored["header"] = after
        return True

    def read(self, names, _deadline):
        heads, rows = self.server.heads_of, self.server.rows_of
        return {
            name: Found(heads[name], [max((row[1], body) for row, body in rows.items() if row[0] == name)])
            for name in names
            if name in heads
        }

    heads = read

    def row(self, name, number, _deadline):
        return self.server.rows_of.get((name, number))

    def scan(self, start, _part, after=None):
        names = sorted(
            name for name in self.server.heads_of if name.startswith(start) and name > (after or b"")
        )
        yield list(self.read(names, None).items())

    def write(self, changes, _deadline):
        heads = self.server.heads_of
        conflicts = {one.name: heads.get(one.name) for one in changes if heads.get(one.name) != one.before}
        if conflicts:
            return conflicts
        for one in changes:
            heads[one.name] = one.head
            self.server.rows_of[one.name, one.number] = one.body
            for number in one.dropped:
                del self.server.rows_of[one.name, number]
        return None

    def lock(self, _name, _ttl_seconds, _deadline):
        return nullcontext()

    def close(self):
        pass


class Provider(SealedSecretProvider[Backend]):
    """A sealed store on a `Server`."""

    type_name = "kept"

    def __init__(self, server, **key):
        super().__init__(
            StoreKeySource("kept", key.get("encryption_key"), key.get("key_file"), ()),
            max_value_bytes=1000,
            timeout=key.get("timeout", 10),
        )
        self._server = server

    def _connect_backend(self):
        return Backend(self._server)


class NotingBackend(Backend):
    """Notes each call, and when it has to end."""

    def __init__(self, server):
        super().__init__(server)
        self.noted = []

    def __getattribute__(self, name):
        found = super().__getattribute__(name)
        if name not in {"header", "create", "read", "heads", "row", "write"}:
            return found

        def noting(*arguments):
            self.noted.append((name, arguments[-1]))
            return found(*arguments)

        return noting


class NotingProvider(Provider):
    """Keeps a `NotingBackend`."""

    def _connect_backend(self):
        return NotingBackend(self._server)


class HangingBackend(Backend):
    """Hangs at the header until `released`."""

    asked, released = threading.Event(), threading.Event()

    def header(self, deadline):
        self.asked.set()
        assert self.released.wait(60)
        return super().header(deadline)


class HangingProvider(Provider):
    """Keeps a `HangingBackend`."""

    def _connect_backend(self):
        return HangingBackend(self._server)


@pytest.fixture
def server():
    return Server()


def test_a_lock_makes_no_key_beside_a_store_whose_key_file_is_missing(server, tmp_path):
    path = tmp_path / "app.key"
    Provider(server, key_file=path).set_secret(NAME, "value")
    path.rename(tmp_path / "away")
    with (
        pytest.raises(ConfigurationError, match="is missing"),
        Provider(server, key_file=path).lock("work", ttl_seconds=1, wait_seconds=0),
    ):
        pass
    assert not path.exists()


@pytest.mark.parametrize(
    ("call", "requests"),
    [
        (lambda provider, _: provider.get_secret(NAME), ["header", "read"]),
        (lambda provider, _: provider.get_secrets([NAME]), ["header", "read"]),
        (lambda provider, _: provider.describe_secret(NAME), ["header", "heads"]),
        (lambda provider, _: provider.list_versions(NAME), ["header", "heads"]),
        (
            lambda provider, version: provider.get_secret_version(NAME, version),
            ["header", "heads", "row"],
        ),
        (lambda provider, _: provider.set_secret(NAME, "new"), ["header", "write", "write"]),
        (lambda provider, _: provider.delete_secret(NAME), ["header", "heads", "write"]),
    ],
)
def test_all_requests_of_a_call_have_one_deadline(server, call, requests):
    key = generate_key()
    Provider(server, encryption_key=key).set_secret(NAME, "value")
    provider = NotingProvider(server, encryption_key=key)
    call(provider, Provider(server, encryption_key=key).describe_secret(NAME).version)
    names, deadlines = zip(*provider._backend.noted, strict=True)
    assert list(names) == requests
    assert len(set(deadlines)) == 1


def test_what_is_tampered_with_is_told_after_a_list_that_took_long(server, monkeypatch):
    """The header is then read again: within a timeout of its own, as each page of the list is."""
    now = [0.0]
    monkeypatch.setattr("strongroom.deadlines.time", SimpleNamespace(monotonic=lambda: now[0]))

    class Slow(Backend):
        def header(self, deadline):
            deadline.remaining()
            return super().header(deadline)

        def scan(self, start, part, after=None):
            part()
            now[0] += 60
            yield [(name, Found(b"x", [])) for name in self.server.heads_of]

    monkeypatch.setattr(Provider, "_connect_backend", lambda provider: Slow(provider._server))
    provider = Provider(server, encryption_key=generate_key())
    provider.set_secret(NAME, "value")
    with pytest.raises(TamperedError):
        provider.list_secrets()


def test_the_first_write_has_one_deadline(server):
    provider = NotingProvider(server, encryption_key=generate_key())
    provider.set_secret(NAME, "value")
    names, deadlines = zip(*provider._backend.noted, strict=True)
    assert list(names) == ["header", "create", "write"]
    assert len(set(deadlines)) == 1


def test_while_another_thread_opens_the_store_a_call_ends_at_its_own_deadline(server):
    key = generate_key()
    Provider(server, encryption_key=key).set_secret(NAME, "value")
    provider = HangingProvider(server, encryption_key=key, timeout=0.05)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(provider.get_secret, NAME)
        assert provider._backend.asked.wait(60)
        try:
            with pytest.raises(BackendUnavailableError, match="no answer in time"):
                provider.get_secret(NAME)
        finally:
            provider._backend.released.set()
        assert first.result() == "value"
    assert provider.get_secret(NAME) == "value"


def test_while_another_thread_derives_the_key_a_call_waits_beyond_its_deadline(server, monkeypatch):
    """That takes this machine's time, and no call counts it."""
    key = generate_key()
    Provider(server, encryption_key=key).set_secret(NAME, "value")
    provider = Provider(server, encryption_key=key, timeout=0.05)
    deriving, late = threading.Event(), threading.Event()

    def derive(*given):
        deriving.set()
        assert late.wait(60)
        provider._derived += 60  # so that no machine is too slow
        return open_header(*given)

    @contextmanager
    def held(*given):
        with held_within(*given) as is_held:
            if not is_held:
                late.set()
            yield is_held

    monkeypatch.setattr("strongroom.sealed.engine.open_header", derive)
    monkeypatch.setattr("strongroom.sealed.engine.held_within", held)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(provider.get_secret, NAME)
        assert deriving.wait(60)
        assert provider.get_secret(NAME) == "value"
        assert first.result() == "value"


def test_an_older_state_is_found_after_a_rekey_too(server, tmp_path):
    """A rekey changes how the store's key is wrapped, and nothing of what is known of its secrets."""
    reader, writer = (Provider(server, key_file=tmp_path / "app.key") for _ in range(2))
    writer.set_secret(NAME, "old")
    before = server.state()
    writer.set_secret(NAME, "new")
    assert reader.get_secret(NAME) == "new"
    writer.rekey()
    server.put_back(before)
    for _ in range(2):
        with pytest.raises(TamperedError, match="older state"):
            reader.get_secret(NAME)


@pytest.mark.parametrize("again", ["older", "removed"])
def test_a_list_finds_what_a_read_finds(server, again):
    """A secret that was put back, or removed, after this process has seen it; not in another folder."""
    key = generate_key()
    writer = Provider(server, encryption_key=key)
    writer.set_secret("other/key", "value")
    before = server.state()
    writer.set_secret(NAME, "value")
    if again == "older":
        before = server.state()
        writer.delete_secret(NAME)
    server.put_back(before)
    for attempt in (
        lambda: writer.get_secret(NAME),
        writer.list_secrets,
        lambda: writer.list_secrets("app/"),
    ):
        with pytest.raises(TamperedError, match=r"app/key.* was (removed|put back)"):
            attempt()
    assert len(writer.verify()) == 1
    assert writer.list_secrets("other/") == ["other/key"]
    whoever_begins_now = Provider(server, encryption_key=key)
    assert whoever_begins_now.list_secrets() == ([NAME] if again == "older" else []) + ["other/key"]


def test_a_rekey_between_the_header_and_the_key_file_is_no_wrong_key(server, tmp_path):
    writer, reader = (Provider(server, key_file=tmp_path / "app.key") for _ in range(2))
    writer.set_secret(NAME, "value")
    candidates, rekeys = reader._source.candidates, iter([writer.rekey])

    def after_a_rekey():
        for rekey in rekeys:
            rekey()
        return candidates()

    reader._source.candidates = after_a_rekey
    assert reader.get_secret(NAME) == "value"


@pytest.mark.parametrize("content", [None, Fernet.generate_key()], ids=["missing", "fernet"])
def test_a_rekey_takes_its_key_from_a_file(server, tmp_path, content):
    """Which is made where it is missing, and may hold a Fernet key."""
    other = tmp_path / "new.key"
    if content is not None:
        other.write_bytes(content)
        other.chmod(0o600)
    writer = Provider(server, key_file=tmp_path / "app.key")
    writer.set_secret(NAME, "value")
    writer.rekey(new_key_file=other)
    assert not next_key_file(tmp_path / "app.key").exists()
    for key_file in (tmp_path / "app.key", other):
        assert Provider(server, key_file=key_file).get_secret(NAME) == "value"


@pytest.mark.parametrize("by", ["itself", "another host"])
def test_a_rekey_whose_first_answer_was_lost(server, tmp_path, by):
    """The backend asks again, and its header is there already, or another one."""
    writer, other = (Provider(server, key_file=tmp_path / "app.key") for _ in range(2))
    writer.set_secret(NAME, "value")
    replace_header = writer._backend.replace_header

    def twice(before, after, deadline):
        if by == "itself":
            replace_header(before, after, deadline)
        else:
            server.stored["header"] = wrap(
                open_header(before, other._source.candidates())[0], other._source.create()
            )
        return replace_header(before, after, deadline)

    writer._backend.replace_header = twice
    if by == "itself":
        assert writer.rekey().name.startswith("app.key.old-")
    else:
        with pytest.raises(ConflictError):
            writer.rekey()
    assert next_key_file(tmp_path / "app.key").exists() == (by != "itself")
    assert (
        other.get_secret(NAME) == Provider(server, key_file=tmp_path / "app.key").get_secret(NAME) == "value"
    )


def test_another_store_in_its_place_is_read_as_such(server):
    key = generate_key()
    reader = Provider(server, encryption_key=key)
    reader.set_secret(NAME, "first")
    reader.set_secret(NAME, "second")
    other = Server()
    Provider(other, encryption_key=key).set_secret(NAME, "another")
    server.stored, server.heads_of, server.rows_of = other.state()
    assert reader.get_secret(NAME) == "another"


def test_another_store_whose_key_comes_later_is_read_as_such(server, tmp_path):
    """Nothing of the first store counts as removed from it."""
    path, other_path = tmp_path / "app.key", tmp_path / "other.key"
    reader = Provider(server, key_file=path)
    reader.set_secret(NAME, "first")
    other = Server()
    Provider(other, key_file=other_path).set_secret("app/other", "another")
    server.stored, server.heads_of, server.rows_of = other.state()
    with pytest.raises(DecryptionError):
        reader.list_secrets()
    other_path.replace(path)
    assert reader.list_secrets() == ["app/other"]
    assert reader.verify() == []


def test_no_write_goes_on_top_of_a_state_that_others_made_of_an_older_one(server):
    """As no read does: it has as many operations as this process has seen, and not the same ones."""
    key = generate_key()
    writer, other = (Provider(server, encryption_key=key) for _ in range(2))
    writer.set_secret(NAME, "old")
    before = server.state()
    writer.set_secret(NAME, "new")
    server.put_back(before)
    other.set_secret(NAME, "on top of the old one")
    for attempt in (lambda: writer.get_secret(NAME), lambda: writer.set_secret(NAME, "newer")):
        with pytest.raises(TamperedError, match="older state"):
            attempt()
    assert other.get_secret(NAME) == "on top of the old one"


def test_a_conflict_with_the_state_that_is_known_is_not_an_older_state(server, monkeypatch):
    """A server that waits for another writer may answer with what it saw before: the write is tried again."""
    writer = Provider(server, encryption_key=generate_key())
    writer.set_secret(NAME, "old")
    backend = writer._backend
    write, answers = backend.write, [lambda: dict(server.heads_of)]

    def behind_another(changes, deadline):
        return answers.pop()() if answers else write(changes, deadline)

    monkeypatch.setattr(backend, "write", behind_another)
    writer.set_secret(NAME, "new")
    assert (writer.get_secret(NAME), answers) == ("new", [])
