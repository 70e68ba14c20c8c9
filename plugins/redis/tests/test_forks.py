"""Forked children of a process that uses a Redis over TLS: the store alone, and below a cache."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest
import trustme
from fork_crossing import crossing
from strongroom import generate_key
from strongroom.cache import HierarchicalSecretCache
from strongroom.encryption import AESGCMEncryption
from strongroom.runtime import forks
from strongroom.testing.conformance.forks import Children
from strongroom_redis import RedisCacheStore
from strongroom_redis import store as store_module

# pytest's importlib mode keeps test folders off the path; this helper has a name of its own.
sys.path.insert(0, str(Path(__file__).parent))

from tls_front import TlsFront  # as above

FEW = pytest.param({"rounds": 2, "reads": 5}, 4, id="few")
OFTEN = [FEW, pytest.param({"rounds": 50, "reads": 223}, 8, marks=pytest.mark.torture, id="many")]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with certificates of an authority, the server and a client."""
    folder, ca = tmp_path_factory.mktemp("tls"), trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    for name, made in (("server", ca.issue_cert("127.0.0.1")), ("client", ca.issue_cert("client"))):
        made.private_key_pem.write_to_path(folder / f"{name}.key")
        made.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
    return folder


@pytest.fixture
def make(server, files, monkeypatch):
    """Return a function that makes stores behind TLS; all end with the test."""
    # redis-py reads all authorities of the system for each connection, which would take half of the time.
    for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.setenv(variable, str(files / "none"))
    made = []
    with TlsFront(server.port, files) as front:

        def store():
            tls = {"ca_file": "ca.pem", "cert_file": "client.pem", "key_file": "client.key"}
            paths = {name: files / file for name, file in tls.items()}
            url = f"rediss://127.0.0.1:{front.port}/0"
            made.append(RedisCacheStore(url, timeout_seconds=60, **paths))
            return made[-1]

        yield store
        for one in made:
            one.close()


def many(how_often, children):
    return how_often["rounds"] * how_often["reads"] * (children + 1)


@pytest.mark.parametrize(("how_often", "children"), OFTEN)
def test_children_and_parent_read_their_own(make, how_often, children):
    store = make()
    values = [f"value of {number}".encode() * 40 for number in range(children + 1)]
    for number, value in enumerate(values):
        store.set(f"a:{number}", value, 3600)
    assert crossing(lambda number: store.get(f"a:{number}"), values, **how_often) == many(how_often, children)


@pytest.mark.parametrize(
    ("how_often", "children"),
    [FEW, pytest.param({"rounds": 50, "reads": 25}, 8, marks=pytest.mark.torture, id="many")],
)
def test_children_read_and_write_what_a_cache_above_it_gives(make, how_often, children):
    """Each value is in the second level alone most of the time; locks, writes and drops go through it too."""
    cache = HierarchicalSecretCache(
        l1_ttl_seconds=1e-9,
        l2=make(),
        l2_timeout_seconds=60,
        lock_seconds=30,
        encryption=AESGCMEncryption(generate_key()),
    )
    values = [f"value of {number}" for number in range(children + 1)]

    def read(number):
        reads[number] += 1
        if reads[number] % 4 == 0:
            cache.invalidate(f"k{number}")
        return cache.get_or_fetch(f"k{number}", lambda key: f"value of {key[1:]}")

    reads = [0] * len(values)
    assert crossing(read, values, **how_often) == many(how_often, children)
    cache.close()


@pytest.mark.parametrize("rounds", [1, pytest.param(25, marks=pytest.mark.torture)])
def test_children_of_a_process_that_connects_for_the_first_time(make, rounds):
    """The fork happens in the middle of the first connection's handshake, or of the import before it."""
    make().set("a:b", b"data", 3600)
    for _ in range(rounds):
        store = make()
        assert crossing(lambda _, store=store: store.get("a:b"), [b"data"] * 4, rounds=1, reads=2) == 8


def test_a_fork_waits_for_the_first_connection(make, monkeypatch):
    """A child could not make it again: the imports of a thread that is gone would be in its way."""
    real, waited_for = store_module.connect, []

    def connect(options):
        waited_for.append(threading.get_ident() in {build.thread for build in forks._builds.values()})
        return real(options)

    monkeypatch.setattr(store_module, "connect", connect)
    assert make().get("a:b") is None
    assert waited_for == [True]


@pytest.mark.parametrize(("rounds", "children"), [(2, 4), pytest.param(50, 8, marks=pytest.mark.torture)])
def test_locks_of_children_follow_one_another(make, rounds, children):
    """Tokens only grow, and no two have the same, while the parent holds and leaves the lock as well."""
    store = make()

    def take(_):
        found = []
        for _ in range(rounds):
            with store.lock("a:lock", ttl_seconds=60, wait_seconds=120) as token:
                found.append(token)
        return found

    own = []
    tokens = Children(children, take).results(meanwhile=lambda: own.extend(take(0)))
    assert all(found == sorted(set(found)) for found in [*tokens, own])
    every = [token for found in [*tokens, own] for token in found]
    assert len(set(every)) == rounds * (children + 1)
