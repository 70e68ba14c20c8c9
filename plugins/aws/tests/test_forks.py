"""Forked children of a process that uses AWS: in the middle of reads, of a first build, of leases."""

from __future__ import annotations

import json
import threading

import pytest
from fork_crossing import crossing
from sampling import sample
from strongroom import SecretProviderRegistry
from strongroom.runtime import forks
from strongroom.testing.conformance.forks import Children
from strongroom_aws import AWSParameterProvider, AWSRoleProvider, AWSSecretProvider, connection

CHILDREN = 8
KINDS = {"aws": AWSSecretProvider, "aws.parameters": AWSParameterProvider}
VALUES = [f"value of {number}" for number in range(CHILDREN + 1)]
ROLES = {f"r{number}": f"arn:aws:iam::123456789012:role/r{number}" for number in range(CHILDREN + 1)}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def stored(make, kind):
    """A provider of that kind with a value for each child, which holds a login and connections."""
    provider = make(KINDS[kind], timeout=120)
    for number, value in enumerate(VALUES):
        provider.set_secret(f"w{number}", value)
    return provider


@pytest.mark.parametrize(
    ("children", "rounds", "reads"),
    [(3, 1, 3), pytest.param(CHILDREN, 50, 40, marks=pytest.mark.torture, id="many")],
)
def test_children_and_parent_read_their_own(stored, children, rounds, reads):
    def read(number):
        return stored.get_secret(f"w{number}")

    values = VALUES[: children + 1]
    assert crossing(read, values, rounds=rounds, reads=reads) == rounds * reads * len(values)


@pytest.mark.parametrize("kind", sample(KINDS, one_in=2), indirect=True)
@pytest.mark.parametrize("rounds", [1, pytest.param(25, marks=pytest.mark.torture)])
def test_children_of_a_process_that_builds_its_client(stored, make, kind, rounds):
    """The fork happens while threads make the session, log in, and open the first connection."""
    del stored
    for _ in range(rounds):
        children, own = first_reads(make(KINDS[kind], timeout=120))
        assert (children, own) == (VALUES[1:4], VALUES[:1] * 3)


@pytest.mark.parametrize("kind", sample(reversed(KINDS), one_in=2), indirect=True)
def test_a_fork_waits_for_the_client_that_is_made(stored, make, kind, monkeypatch):
    """A child could not make it again: the imports and locks of a thread that is gone would be in its way."""
    del stored
    real, waited_for = connection.client_of, []

    def client_of(*given):
        waited_for.append(threading.get_ident() in {build.thread for build in forks._builds.values()})
        return real(*given)

    monkeypatch.setattr(connection, "client_of", client_of)
    assert make(KINDS[kind], timeout=120).get_secret("w0") == VALUES[0]
    assert waited_for
    assert all(waited_for)


def first_reads(provider):
    """Read for the first time in three threads, fork meanwhile, and return what children and threads read."""
    begun, own = threading.Event(), []

    def read(number):
        return provider.get_secret(f"w{number}")

    def first():
        begun.set()
        own.append(read(0))

    threads = [threading.Thread(target=first) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert begun.wait(300)
    children = Children(3, read).results()
    for thread in threads:
        thread.join(300)
    return children, own


@pytest.mark.parametrize("kind", sample(reversed(KINDS), one_in=2), indirect=True)
@pytest.mark.parametrize("rounds", [1, pytest.param(25, marks=pytest.mark.torture)])
def test_batches_lists_and_writes_of_children(stored, rounds):
    """What a batch runs by threads or by one request, each child does alone."""

    def work(number):
        found = []
        for turn in range(rounds):
            stored.set_secret(f"child{number}", f"{number} {turn}")
            found.append(stored.get_secrets([f"w{number}", f"child{number}", "absent"]))
            assert f"child{number}" in stored.list_secrets("child")
        return found

    own = []
    read = Children(3, work).results(meanwhile=lambda: own.append(work(0)))
    for number, found in enumerate([own[0], *read]):
        expected = [
            {f"w{number}": VALUES[number], f"child{number}": f"{number} {turn}"} for turn in range(rounds)
        ]
        assert found == expected


@pytest.mark.parametrize(
    ("children", "rounds", "reads"),
    [(3, 1, 2), pytest.param(CHILDREN, 25, 20, marks=pytest.mark.torture, id="many")],
)
def test_credentials_of_roles_in_children(make, children, rounds, reads):
    """Each process has leases of its own; what one role gets is no other's."""
    provider = make(AWSRoleProvider, roles=ROLES, timeout=120)

    def read(number):
        lease = provider.issue_lease(f"r{number}")
        held = json.loads(provider.get_secret(f"r{number}"))
        return [lease.key, sorted(held), held == json.loads(provider.get_secret(f"r{number}"))]

    names = ["access_key_id", "secret_access_key", "session_token"]
    expected = [[f"r{number}", names, True] for number in range(children + 1)]
    assert crossing(read, expected, rounds=rounds, reads=reads) == rounds * reads * len(expected)


def test_a_child_has_credentials_of_its_own(options, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    spec = {
        "version": 1,
        "pipelines": {"app": {"provider": {"type": "aws.sts", "roles": ROLES, **options}}},
    }
    with SecretProviderRegistry(spec) as registry:
        before = registry.lease("r0").values["access_key_id"]
        found = Children(3, lambda _: registry.lease("r0").values["access_key_id"]).results()
        assert registry.lease("r0").values["access_key_id"] == before
    assert len({before, *found}) == 4
