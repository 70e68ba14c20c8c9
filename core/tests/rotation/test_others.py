"""Others beside a rotation: an operator, another tool, another process that is slow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress

import pytest
from rotation_support import (
    BACKENDS,
    KEY,
    NAMED,
    NEW,
    OLD,
    Clock,
    Killed,
    Mortal,
    Target,
    backend,
    leftovers,
    memory_with,
)
from strongroom import SecretProviderRegistry, SecretRotation
from strongroom.cache import MemoryCacheStore
from strongroom.encryption import AESGCMEncryption, generate_key
from strongroom.errors import (
    BackendUnavailableError,
    ConflictError,
    RotationError,
    SecretNotFoundError,
    UnsupportedOperationError,
    ValidationError,
)
from strongroom.keys import record_key
from strongroom.middleware import CachingMiddleware, EncryptionMiddleware, PrefixMiddleware
from strongroom.rotation import attempts
from strongroom.rotation.ledger import Ledger, Record
from strongroom_memory import MemorySecretProvider

BY_HAND = "value-made-by-hand"


class Slow(Target):
    """A target system whose `apply` waits until it is let go on."""

    def __init__(self):
        super().__init__()
        self.entered, self.goes_on = threading.Event(), threading.Event()

    def apply(self, key, old, new):
        self.entered.set()
        assert self.goes_on.wait(300)
        super().apply(key, old, new)


def half_way(provider, target, lock):
    """Leave a rotation to `NEW` in flight, whose `apply` failed."""

    def failing(*_):
        raise ConnectionError

    with pytest.raises(RotationError):
        SecretRotation(provider, apply=failing, verify=target.verify, lock=lock).rotate(KEY, NEW)


def in_thread(work):
    raised = []

    def run():
        try:
            work()
        except Exception as error:  # it is looked at by the test
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, raised


def test_a_rollback_is_refused_while_an_apply_runs(abilities):
    memory, slow, lock = memory_with(), Slow(), MemoryCacheStore()
    provider = backend(memory, abilities)
    half_way(provider, slow, lock)
    rotation = SecretRotation(provider, apply=slow.apply, verify=slow.verify, lock=lock)
    thread, raised = in_thread(lambda: rotation.resume(KEY))
    assert slow.entered.wait(300)
    for method in (rotation.rollback, rotation.resume, rotation.rotate, rotation.forget):
        with pytest.raises(ConflictError, match="in flight") as caught:
            method(KEY)
        assert NEW not in str(caught.value)
    assert f"process {os.getpid()}" in str(caught.value)
    slow.goes_on.set()
    thread.join()
    assert not raised
    assert memory.get_secret(KEY) == NEW == slow.password


def test_an_apply_that_comes_in_late_is_made_good(abilities):
    """An attempt that others had to count as dead was only slow."""
    memory, slow, lock, clock = memory_with(), Slow(), MemoryCacheStore(), Clock()
    provider = backend(memory, abilities)
    half_way(provider, slow, lock)
    cron = SecretRotation(provider, apply=slow.apply, verify=slow.verify, lock=lock, clock=clock)
    thread, raised = in_thread(lambda: cron.resume(KEY))
    assert slow.entered.wait(300)
    clock.pass_by(minutes=16)
    quick = Target()
    operator = SecretRotation(provider, apply=quick.apply, lock=lock, clock=clock)
    assert operator.rollback(KEY).state == "rolled_back"
    slow.goes_on.set()
    thread.join()
    assert [type(error) for error in raised] == [ConflictError]
    assert memory.get_secret(KEY) == OLD == slow.password
    assert operator.status_of(KEY).state == "current"


@pytest.mark.parametrize("command", ["resume", "rollback", "rotate_due"])
def test_what_an_operator_repaired_is_left_alone(abilities, command):
    memory, target, lock, clock = memory_with(), Target(), MemoryCacheStore(), Clock()
    provider = backend(memory, abilities)
    half_way(provider, target, lock)
    target.password = BY_HAND
    memory.set_secret(KEY, BY_HAND)
    clock.pass_by(hours=1)
    rotation = SecretRotation(provider, apply=target.apply, verify=target.verify, lock=lock, clock=clock)
    if command == "rollback":
        assert rotation.rollback(KEY).state == "rolled_back"
    elif command == "resume":
        with pytest.raises(ConflictError, match="changed while it was being rotated"):
            rotation.resume(KEY)
    else:
        with pytest.raises(ConflictError, match="changed while it was being rotated"):
            rotation.rotate_due()
    assert memory.get_secret(KEY) == BY_HAND == target.password
    assert not target.calls
    (status,) = rotation.status()
    assert status.state == ("current" if command == "rollback" else "pending")
    if command != "rollback":
        assert rotation.rollback(KEY).state == "rolled_back"
        assert memory.get_secret(KEY) == BY_HAND == target.password


class Overwriting(Mortal):
    """An operator sets the secret between a rotation's last look and its write; its process dies after that."""

    def __init__(self, memory, target):
        super().__init__()
        self.memory, self.target, self.armed = memory, target, True

    def call(self, method, *args, **kwargs):
        if not (self.armed and method.__name__ == "set_secret" and args == (KEY, NEW)):
            return super().call(method, *args, **kwargs)
        self.armed = False
        self.memory.set_secret(KEY, BY_HAND)
        self.target.password = BY_HAND
        method(*args)
        raise Killed


@pytest.mark.parametrize("command", ["resume", "rollback", "rotate_due"])
def test_a_value_that_a_dead_rotation_wrote_over_is_told(command):
    """Nothing refuses such a write without conditional ones: the target follows the operator's value."""
    memory, target, lock, clock = memory_with(), Target(), MemoryCacheStore(), Clock()
    provider = backend(memory, BACKENDS["no conditions"], Overwriting(memory, target))
    rotation = SecretRotation(provider, apply=target.apply, verify=target.verify, lock=lock, clock=clock)
    with pytest.raises(Killed):
        rotation.rotate(KEY, NEW)
    assert (memory.get_secret(KEY), target.password) == (NEW, BY_HAND)
    if command == "rollback":
        assert rotation.rollback(KEY).state == "rolled_back"
        assert memory.get_secret(KEY) == target.password == OLD
        return
    if command == "resume":
        with pytest.raises(RotationError, match=r"changed by somebody else.*") as raised:
            rotation.resume(KEY)
        assert not {OLD, NEW, BY_HAND} & set(str(raised.value).split())
    else:
        assert [one.state for one in rotation.rotate_due()] == ["pending"]
    (status,) = rotation.status()
    assert status.state == "pending"
    assert "changed by somebody else" in status.last_error
    assert rotation.resume(KEY).state == "current"
    assert memory.get_secret(KEY) == target.password == NEW


def test_rotate_due_leaves_what_another_tool_has_staged():
    memory, clock = memory_with(), Clock()
    staged = memory.stage_secret(KEY, NEW)
    rotation = SecretRotation(memory, 30, clock=clock)
    assert rotation.rotate_due() == []
    assert memory.get_secret(KEY) == OLD
    assert [one.state for one in rotation.status()] == ["pending"]
    clock.pass_by(days=31)
    with pytest.raises(ConflictError, match="another tool"):
        rotation.rotate_due()
    assert memory.get_secret_version(KEY, staged) == NEW
    assert rotation.resume(KEY).new_version == staged


@pytest.mark.parametrize("names", NAMED)
def test_a_rollback_ends_though_each_of_its_applies_is_met_by_another_write(names):
    """It stays in flight, and ends as soon as nobody sets the secret any more."""
    memory, target, lock = memory_with(), Target(), MemoryCacheStore()
    provider = backend(memory, names)
    half_way(provider, target, lock)

    def busy(key, old, new):
        assert len(target.calls) < 100
        target.apply(key, old, new)
        memory.set_secret(key, f"set by somebody else, {len(target.calls)}")

    with pytest.raises(RotationError, match="in flight: the secret was changed each time") as caught:
        SecretRotation(provider, apply=busy, verify=target.verify, lock=lock).rollback(KEY)
    assert "stop what sets the secret" in caught.value.hint
    rotation = SecretRotation(provider, apply=target.apply, verify=target.verify, lock=lock)
    assert "changed each time" in rotation.status_of(KEY).last_error
    rotation.rollback(KEY)
    assert target.password == memory.get_secret(KEY) == f"set by somebody else, {len(target.calls) - 1}"
    assert not leftovers(memory)


def test_an_attempt_that_is_overtaken_again_and_again_ends():
    """Others write the record between each of its looks and its write."""

    class Restless(MemorySecretProvider):
        others = 0

        def set_secret_if(self, key, value, expected_version):
            if self.others:
                assert self.others < 100
                self.others += 1
                record = json.loads(self.get_secret(key)) | {"attempt": f"another, {self.others}"}
                self.set_secret(key, json.dumps(record))
            return super().set_secret_if(key, value, expected_version)

    memory, target = Restless(secrets={KEY: OLD}), Target()

    def apply(key, old, new):
        target.apply(key, old, new)
        memory.others = 1

    with pytest.raises(ConflictError, match="overtaken again and again"):
        SecretRotation(memory, apply=apply).rotate(KEY, NEW)
    memory.others = 0
    assert SecretRotation(memory).status_of(KEY).state == "pending"  # as those have left it


def test_a_rollback_leaves_what_another_tool_has_staged():
    memory, target = memory_with(), Target()
    with pytest.raises(RotationError):
        SecretRotation(memory, apply=target.apply, verify=lambda *_: False).rotate(KEY, NEW)
    theirs = memory.stage_secret(KEY, "of another tool")
    assert SecretRotation(memory, apply=target.apply).rollback(KEY).state == "rolled_back"
    assert memory.get_secret_version(KEY, theirs) == "of another tool"
    assert target.password == OLD == memory.get_secret(KEY)


def test_a_pending_version_that_somebody_dropped_is_staged_again():
    memory, target = memory_with(), Target()

    def verify(key, new):
        (pending,) = [one.version for one in memory.list_versions(key) if one.state == "pending"]
        memory.discard_version(key, pending)

    assert SecretRotation(memory, apply=target.apply, verify=verify).rotate(KEY, NEW).state == "current"
    assert memory.get_secret(KEY) == NEW == target.password


# --- attempts ---


def held_by(process):
    """Return a provider with a rotation that `process`, a pid, is at in its `apply`."""
    memory, target = memory_with(), Target()
    half_way(memory, target, None)
    ledger = Ledger(memory, KEY, None)
    record = ledger.read()
    machine, _, _, rest = next(_ids()).split("/")
    started = attempts._started(process) or "1"
    ledger.write(
        Record(
            **{name: getattr(record, name) for name in ("key", "state", "old_version", "new_version", "new")},
            begun=True,
            attempt=f"{machine}/{process}/{started}/{rest}",
            host="some host",
            held_until=(Clock().now.replace(year=2100)).isoformat(),
            step="apply",
        )
    )
    return memory, target


def _ids():
    with attempts.attempting() as one:
        yield one.id


def test_an_attempt_ends_with_its_process():
    process = subprocess.Popen(
        [sys.executable, "-c", "import signal; print(flush=True); signal.pause()"], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout.readline()
        memory, target = held_by(process.pid)
        rotation = SecretRotation(memory, apply=target.apply)
        with pytest.raises(ConflictError, match="some host is at its apply"):
            rotation.rollback(KEY)
    finally:
        process.kill()
        process.communicate()
    assert rotation.rollback(KEY).state == "rolled_back"


def test_an_attempt_of_another_process_with_the_same_number_is_over(monkeypatch):
    memory, target = held_by(os.getppid())
    rotation = SecretRotation(memory, apply=target.apply)
    with pytest.raises(ConflictError):
        rotation.rollback(KEY)
    monkeypatch.setattr(attempts, "_started", lambda pid: "12345")
    assert rotation.rollback(KEY).state == "rolled_back"


def test_an_attempt_of_another_user_is_not_over_where_nothing_of_its_process_is_shown(monkeypatch):
    """By `hidepid` of /proc: the process lives, for it cannot be signalled; when it began is not known."""

    def refused(pid, signal):
        raise PermissionError

    memory, target = held_by(os.getppid())
    monkeypatch.setattr(attempts, "_started", lambda pid: None)
    monkeypatch.setattr(attempts.os, "kill", refused)
    monkeypatch.setattr(attempts.os, "access", lambda path, mode: False)
    rotation = SecretRotation(memory, apply=target.apply)
    with pytest.raises(ConflictError, match="some host is at its apply"):
        rotation.rollback(KEY)
    monkeypatch.setattr(attempts.os, "access", lambda path, mode: True)  # a zombie's is shown
    assert rotation.rollback(KEY).state == "rolled_back"


def test_of_an_attempt_on_another_machine_nothing_is_known_but_its_time(monkeypatch):
    memory, target = held_by(1)
    monkeypatch.setattr(attempts, "_machine", lambda: "another")
    clock = Clock()
    rotation = SecretRotation(memory, apply=target.apply, clock=clock)
    with pytest.raises(ConflictError):
        rotation.resume(KEY)
    clock.pass_by(days=40_000)
    assert rotation.resume(KEY).state == "current"


def test_a_forked_child_is_not_its_parents_attempt():
    with attempts.attempting() as one:
        child = os.fork()
        if child == 0:
            with suppress(BaseException):
                # Its parent lives, so the attempt does; and its own are its own.
                ended = attempts._has_ended(one.id)
                with attempts.attempting() as own:
                    os._exit(10 + ended + (own.id.split("/")[1] == one.id.split("/")[1]))
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 10
    assert attempts._has_ended(one.id)


def test_a_record_of_before_is_read(abilities):
    """Without the members that came with attempts."""
    memory, target = memory_with(), Target(NEW)
    version = memory.describe_secret(KEY).version
    staged = memory.stage_secret(KEY, NEW) if "stage_secret" in abilities else None
    record = {
        "format": 1,
        "key": KEY,
        "state": "applied",
        "old_version": version if "describe_secret" in abilities else None,
        "new_version": staged,
        "new": None if staged else NEW,
        "old": None if "list_versions" in abilities else OLD,
        "begun": True,
        "abandoned": False,
        "undoes": False,
        **dict.fromkeys(("error", "retry_at", "rotated_at", "until")),
        "failures": 0,
    }
    memory.set_secret(record_key(KEY), json.dumps(record))
    rotation = SecretRotation(
        backend(memory, abilities), apply=target.apply, verify=target.verify, lock=MemoryCacheStore()
    )
    assert rotation.status_of(KEY).state == "applied"
    assert rotation.resume(KEY).state == "current"
    assert memory.get_secret(KEY) == NEW


# --- what is kept, and for how long ---


@pytest.mark.parametrize("command", ["status", "rotate", "resume", "rollback", "rotate_if_due", "rotate_due"])
def test_the_value_before_does_not_outlive_its_grace(abilities, command):
    memory, clock = memory_with(), Clock()
    rotation = SecretRotation(
        backend(memory, abilities), 1000, grace_seconds=60, lock=MemoryCacheStore(), clock=clock
    )
    rotation.rotate(KEY, NEW)
    if "describe_secret" not in abilities:
        kept = memory.get_secret(record_key(KEY))
        assert OLD in kept
        assert NEW not in kept
    clock.pass_by(days=400)
    with suppress(RotationError, UnsupportedOperationError):
        if command in {"status", "rotate_due"}:
            getattr(rotation, command)()
        else:
            getattr(rotation, command)(KEY)
    assert OLD not in memory.get_secrets([record_key(KEY)]).get(record_key(KEY), "")
    if command != "rotate":
        assert not memory.get_secrets([record_key(KEY)])


def test_a_record_can_be_forgotten_also_one_that_cannot_be_understood():
    memory = memory_with()
    rotation = SecretRotation(memory)
    half_way(memory, Target(), None)
    rotation.forget(KEY)
    assert not memory.get_secrets([record_key(KEY)])
    memory.set_secret(record_key(KEY), "{}")
    rotation.forget(KEY)
    assert not memory.get_secrets([record_key(KEY)])
    rotation.forget(KEY)


def test_one_unreadable_record_stops_no_other_key():
    clock = Clock()
    memory = MemorySecretProvider(secrets={"a": "1", "b": "2", "c": "3"}, clock=clock)
    memory.set_secret(record_key("b"), "rubbish")
    rotation = SecretRotation(memory, 30, clock=clock)
    states = {one.key: (one.state, one.last_error) for one in rotation.status()}
    assert states["a"] == states["c"] == ("current", None)
    assert states["b"][0] == "unknown"
    assert "cannot be understood" in states["b"][1]
    clock.pass_by(days=31)
    with pytest.raises(RotationError, match="'b' cannot be understood"):
        rotation.rotate_due()
    assert memory.get_secrets(["a", "b", "c"])["b"] == "2"
    assert memory.get_secret("a") != "1"
    assert memory.get_secret("c") != "3"


def test_a_foreign_error_about_one_key_hides_no_other_state():
    """As of a hook that vetoes a look, with a value in its words."""

    class Vetoed(MemorySecretProvider):
        def describe_secret(self, key):
            if key == "b":
                raise RuntimeError("2")
            return super().describe_secret(key)

    rotation = SecretRotation(Vetoed(secrets={"a": "1", "b": "2", "c": "3"}))
    states = {one.key: (one.state, one.last_error) for one in rotation.status()}
    assert states == {"a": ("current", None), "b": ("unknown", "RuntimeError"), "c": ("current", None)}


# --- outages, and deletes ---


def test_an_outage_in_between_names_the_secret_and_what_to_do(abilities):
    down = []

    memory, target, lock = memory_with(), Target(), MemoryCacheStore()
    provider = backend(memory, abilities)

    def unavailable(name):
        method = getattr(type(provider), name)

        def call(self, key, *args, **options):
            if down:
                raise BackendUnavailableError(
                    f"vault: read {key!r}: InternalServerError", key=key, hint="look"
                )
            return method(self, key, *args, **options)

        return call

    broken = type("Broken", (type(provider),), {n: unavailable(n) for n in dir(provider) if "secret" in n})()

    def apply(key, old, new):
        target.apply(key, old, new)
        down.append(True)

    with pytest.raises(BackendUnavailableError) as caught:
        SecretRotation(broken, apply=apply, lock=lock).rotate(KEY, NEW)
    error = caught.value
    assert error.key == KEY
    assert error.message.startswith(f"the rotation of '{KEY}' is in flight: ")
    assert ".rotation" not in str(error)
    assert error.hint.startswith("look; ")
    assert "`resume`" in error.hint
    assert "roll it back" in error.hint
    down.clear()
    assert SecretRotation(broken, apply=target.apply, lock=lock).resume(KEY).state == "current"
    assert memory.get_secret(KEY) == NEW == target.password


@pytest.mark.parametrize("command", ["resume", "rollback"])
def test_whoever_cannot_take_it_over_is_told_that_it_is_in_flight(command):
    """As by a cluster without a leader, which answers reads and refuses writes."""
    memory, target = memory_with(), Target()
    half_way(memory, target, None)

    def refused(*_, **__):
        raise BackendUnavailableError("vault: write: no leader", key=KEY, hint="look")

    names = [name for name in dir(memory) if name.startswith(("set_", "stage_", "promote_", "discard_"))]
    broken = type("Broken", (type(memory),), dict.fromkeys(names, refused))()
    broken.__dict__ = memory.__dict__
    with pytest.raises(BackendUnavailableError) as caught:
        getattr(SecretRotation(broken, apply=target.apply), command)(KEY)
    assert caught.value.message.startswith(f"the rotation of '{KEY}' is in flight: ")
    assert "`resume`" in caught.value.hint


# --- values that the backend would refuse ---


class Particular(MemorySecretProvider):
    """A backend that stages nothing, and takes no value of several lines."""

    stage_secret = promote_secret = discard_secret = None
    asked = ()

    def check_new_value(self, key, old, new):
        self.asked = (key, old, new)
        self.refuse(key, new)

    def refuse(self, key, value):
        if "\n" in value:
            raise ValidationError("several lines", key=key)

    def set_secret(self, key, value):
        self.refuse(key, value)
        super().set_secret(key, value)

    def set_secret_if(self, key, value, expected_version):
        self.refuse(key, value)
        return super().set_secret_if(key, value, expected_version)


def test_a_value_that_the_backend_would_refuse_is_refused_before_the_target_system_gets_it():
    target, memory = Target(), Particular(secrets={KEY: OLD})
    rotation = SecretRotation(memory, apply=target.apply)
    with pytest.raises(ValidationError, match="several lines"):
        rotation.rotate(KEY, "two\nlines")
    assert target.password == OLD
    assert rotation.status_of(KEY).state == "current"
    assert rotation.rotate(KEY, NEW).state == "current"
    assert memory.get_secret(KEY) == NEW == target.password


@pytest.mark.parametrize(
    ("around", "asked"),
    [
        (lambda memory: memory, (KEY, OLD, NEW)),
        (lambda memory: CachingMiddleware(PrefixMiddleware(memory, "team/")), (f"team/{KEY}", OLD, NEW)),
        (lambda memory: EncryptionMiddleware(memory, AESGCMEncryption(generate_key())), ()),
    ],
    ids=["alone", "prefix", "encryption"],
)
def test_a_backend_is_asked_about_a_value_that_it_would_get(around, asked):
    memory = Particular()
    provider = around(memory)
    provider.set_secret(KEY, OLD)
    SecretRotation(provider).rotate(KEY, NEW)
    assert memory.asked == asked
    assert provider.get_secret(KEY) == NEW


SPEC = {"version": 1, "pipelines": {"app": {"provider": {"type": "memory"}}}}


def test_a_delete_takes_the_record_along():
    with SecretProviderRegistry(SPEC) as registry:
        registry.set_secret(KEY, OLD)
        half_way(registry, Target(), None)
        inner = registry.pipeline("app").inner
        assert inner.get_secrets([record_key(KEY)])
        registry.delete_secret(KEY)
        assert not inner.get_secrets([record_key(KEY)])
        registry.set_secret(KEY, "another life")
        assert SecretRotation(registry).rotate(KEY).state == "current"


def test_a_record_that_was_left_behind_goes_with_the_next_delete():
    with SecretProviderRegistry(SPEC) as registry:
        inner = registry.pipeline("app").inner
        inner.set_secret(record_key(KEY), "left behind")
        with pytest.raises(SecretNotFoundError) as caught:
            registry.delete_secret(KEY)
        assert caught.value.key == KEY
        assert not inner.get_secrets([record_key(KEY)])


def test_a_secret_that_is_deleted_while_its_apply_runs_is_told():
    with SecretProviderRegistry(SPEC) as registry:
        registry.set_secret(KEY, OLD)

        def apply(key, old, new):
            registry.delete_secret(key)

        with pytest.raises(ConflictError, match="deleted while it was being rotated"):
            SecretRotation(registry, apply=apply).rotate(KEY, NEW)
        assert not registry.pipeline("app").inner.get_secrets([KEY, record_key(KEY)])


def test_a_rotation_makes_few_requests(abilities):
    counts, memory = [], memory_with()
    for grace in (0, 60, 60):
        counted = Mortal()
        target = Target()
        SecretRotation(
            backend(memory, abilities, counted),
            apply=target.apply,
            verify=target.verify,
            grace_seconds=grace,
            lock=MemoryCacheStore(),
        ).rotate(KEY)
        counts.append(counted.count)
    if abilities == BACKENDS["everything"]:
        assert counts == [11, 10, 11]
    else:
        assert max(counts) <= 24
