"""Rotators: what they are asked, the values that are good at once, rehearsals, and the signed requests of `http`."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import trustme
from rotation_support import KEY, NAMED, NEW, OLD, Clock, Killed, Mortal, backend, leftovers, memory_with
from sampling import crossed
from strongroom import SecretProviderRegistry, SecretRotation
from strongroom.cache import MemoryCacheStore
from strongroom.deadlines import Deadline, DeadlineExecutor
from strongroom.errors import (
    AuthenticationError,
    ConfigurationError,
    RotationError,
    SecretNotFoundError,
    SpecError,
    UnsupportedOperationError,
    ValidationError,
)
from strongroom.rotation import UserRotator, credentials, current_step, with_password
from strongroom.rotation.http import HttpRotator
from strongroom.rotation.rotators import DeferredRotator


class Passwords:
    """A target system that takes several passwords, and its rotator."""

    def __init__(self, *first):
        self.good = set(first or [OLD])
        self.steps = []
        self.broken = ()

    def _step(self, name):
        self.steps.append((name, current_step()))
        if name in self.broken:
            raise RuntimeError(f"cannot {name}")

    def apply(self, key, old, new):
        self._step("apply")
        self.good.add(new)

    def verify(self, key, new):
        self._step("verify")
        return new in self.good

    def retire(self, key, stale, current):
        self._step("retire")
        assert current in self.good
        self.good.discard(stale)

    @contextmanager
    def rehearsal(self, key, old):
        made = Passwords("throwaway")
        yield made, "throwaway"
        self.rehearsed = made


def rotation_with(provider, rotator, clock=None, **options):
    return SecretRotation(
        provider, rotator=rotator, lock=MemoryCacheStore(), clock=clock or Clock(), **options
    )


# --- values that are good at once ---


def test_without_grace_the_old_value_is_taken_away_as_the_rotation_ends(abilities):
    memory, rotator = memory_with(), Passwords()
    assert rotation_with(backend(memory, abilities), rotator).rotate(KEY, NEW).state == "current"
    assert rotator.good == {NEW}
    assert leftovers(memory) == []


@pytest.mark.parametrize("way", ["rotate", "rotate_if_due", "status_of"])
def test_the_first_look_after_the_grace_takes_the_old_value_away(abilities, way):
    memory, rotator, clock = memory_with(), Passwords(), Clock()
    rotation = rotation_with(backend(memory, abilities), rotator, clock, grace_seconds=60)
    rotation.rotate(KEY, NEW)
    if "describe_secret" in abilities or way != "rotate_if_due":
        getattr(rotation, "status_of" if way == "rotate" else way)(KEY)
    assert rotator.good == {OLD, NEW}
    clock.pass_by(seconds=61)
    with suppress(UnsupportedOperationError):  # a backend that does not say how old a secret is
        getattr(rotation, way)(KEY, *(["the third value"] if way == "rotate" else []))
    assert OLD not in rotator.good
    assert NEW in rotator.good
    if way != "rotate":
        assert leftovers(memory) == []


def test_a_rotation_within_the_grace_leaves_each_value_its_own_time(abilities):
    memory, rotator, clock = memory_with(), Passwords(), Clock()
    rotation = rotation_with(backend(memory, abilities), rotator, clock, grace_seconds=60)
    rotation.rotate(KEY, NEW)
    clock.pass_by(seconds=40)
    rotation.rotate(KEY, "third")
    assert rotator.good == {OLD, NEW, "third"}
    clock.pass_by(seconds=40)
    rotation.status_of(KEY)
    assert rotator.good == {NEW, "third"}
    assert rotation.rollback(KEY).state == "rolled_back"
    assert memory.get_secret(KEY) == NEW
    assert rotator.good == {NEW}


def test_of_many_values_within_one_grace_the_oldest_go_before_their_time():
    rotator = Passwords()
    rotation = rotation_with(memory_with(), rotator, grace_seconds=60)
    for number in range(20):
        rotation.rotate(KEY, f"value {number}")
    assert rotator.good == {f"value {number}" for number in range(10, 20)}


def test_a_value_that_comes_back_within_its_grace_is_not_taken_away(abilities):
    memory, rotator, clock = memory_with(), Passwords(), Clock()
    rotation = rotation_with(backend(memory, abilities), rotator, clock, grace_seconds=60)
    for value in (NEW, OLD, NEW, OLD):
        rotation.rotate(KEY, value)
    clock.pass_by(seconds=61)
    rotation.status_of(KEY)
    assert rotator.good == {OLD}


def test_a_rollback_in_flight_takes_the_new_value_away(abilities):
    memory, rotator = memory_with(), Passwords()
    rotator.broken = ("verify",)
    rotation = rotation_with(backend(memory, abilities), rotator, grace_seconds=60)
    with pytest.raises(RotationError, match="verify failed: RuntimeError: cannot verify"):
        rotation.rotate(KEY, NEW)
    rotator.broken = ()
    assert rotation.rollback(KEY).state == "rolled_back"
    assert rotator.good == {OLD}
    assert leftovers(memory) == []


def test_one_that_cannot_be_taken_away_is_in_flight_and_then_resumed(abilities):
    memory, rotator = memory_with(), Passwords()
    rotator.broken = ("retire",)
    rotation = rotation_with(backend(memory, abilities), rotator)
    with pytest.raises(RotationError, match="retire failed"):
        rotation.rotate(KEY, NEW)
    assert memory.get_secret(KEY) == NEW
    assert rotation.status_of(KEY).state == "verified"
    rotator.broken = ()
    assert rotation.resume(KEY).state == "current"
    assert rotator.good == {NEW}


def test_a_look_that_cannot_take_it_away_warns_and_the_next_one_does(abilities, caplog):
    memory, rotator, clock = memory_with(), Passwords(), Clock()
    rotation = rotation_with(backend(memory, abilities), rotator, clock, grace_seconds=60)
    rotation.rotate(KEY, NEW)
    clock.pass_by(seconds=61)
    rotator.broken = ("retire",)
    assert rotation.status_of(KEY).state == "current"
    assert "an earlier value could not be revoked" in caplog.text
    assert OLD not in caplog.text
    rotator.broken = ()
    rotation.status_of(KEY)
    assert rotator.good == {NEW}


def test_a_rotation_mends_a_value_that_somebody_set_and_the_target_system_does_not_take(abilities, caplog):
    """No earlier value is taken away before; that must not keep the rotation from beginning."""
    memory, rotator, clock = memory_with(), Passwords(), Clock()
    provider = backend(memory, abilities)
    rotation = rotation_with(provider, rotator, clock, grace_seconds=60)
    rotation.rotate(KEY, NEW)
    provider.set_secret(KEY, "set by hand")
    clock.pass_by(seconds=61)
    assert rotation.rotate(KEY, "third").state == "current"
    assert "an earlier value could not be revoked" in caplog.text
    assert OLD not in caplog.text
    assert "third" in rotator.good
    assert OLD not in rotator.good


def test_who_has_no_rotator_leaves_it_to_the_others(abilities):
    memory, rotator, clock = memory_with(), Passwords(), Clock()
    provider = backend(memory, abilities)
    rotation_with(provider, rotator, clock, grace_seconds=60).rotate(KEY, NEW)
    clock.pass_by(seconds=61)
    assert SecretRotation(provider, clock=clock, lock=MemoryCacheStore()).status_of(KEY).state == "current"
    rotation_with(provider, rotator, clock).status_of(KEY)
    assert rotator.good == {NEW}


@pytest.mark.parametrize(
    ("abilities", "grace", "way"),
    crossed(
        NAMED,
        [pytest.param(*one) for one in ((60, "rollback"), (0, "resume"), (60, "resume"), (0, "rollback"))],
    ),
)
def test_after_a_death_at_any_step_one_value_is_left(abilities, grace, way):
    for after in (False, True):
        for step in range(1, 200):
            memory, rotator, clock, mortal = memory_with(), Passwords(), Clock(), Mortal()
            provider = backend(memory, abilities, mortal)

            def rotation():
                return rotation_with(provider, rotator, clock, grace_seconds=grace)  # noqa: B023  # called within the round

            mortal.die_at(step, after=after)
            try:
                rotation().rotate(KEY, NEW)
            except Killed:
                pass
            else:
                break
            mortal.live_on()
            with suppress(RotationError):
                getattr(rotation(), way)(KEY)
            clock.pass_by(seconds=grace + 1)
            assert rotation().status_of(KEY).state == "current"
            assert rotator.good == {memory.get_secret(KEY)}, (step, after)
            assert leftovers(memory) == []
    assert step > 5


def test_a_value_that_was_rolled_back_to_has_one_grace_as_it_is_replaced(abilities):
    """Also where the rotation that is undone had not ended: its old value is not good for ever."""
    for step in range(5, 200):
        memory, rotator, clock, mortal = memory_with(), Passwords(), Clock(), Mortal()
        provider = backend(memory, abilities, mortal)
        rotation = rotation_with(provider, rotator, clock, grace_seconds=60)
        mortal.die_at(step)
        ended = False
        with suppress(Killed):
            rotation.rotate(KEY, NEW)
            ended = True
        mortal.live_on()
        if memory.get_secret(KEY) == OLD:
            continue
        assert rotation_with(provider, rotator, clock, grace_seconds=60).rollback(KEY).state == "rolled_back"
        assert memory.get_secret(KEY) == OLD
        rotation.rotate(KEY, "third")
        assert rotator.good == {OLD, "third"}
        clock.pass_by(seconds=61)
        rotation.status_of(KEY)
        assert rotator.good == {"third"}
        assert leftovers(memory) == []
        if ended:
            break


def test_a_death_in_a_rollback_leaves_no_value_good_for_ever(abilities):
    for step in range(1, 200):
        memory, rotator, clock, mortal = memory_with(), Passwords(), Clock(), Mortal()
        provider = backend(memory, abilities, mortal)
        rotator.broken = ("retire",)
        rotation = rotation_with(provider, rotator, clock)
        with pytest.raises(RotationError):
            rotation.rotate(KEY, NEW)  # readers have the new value, and it is in flight
        rotator.broken = ()
        mortal.die_at(step)
        try:
            rotation_with(provider, rotator, clock).rollback(KEY)
        except Killed:
            mortal.live_on()
        else:
            break
        with suppress(RotationError):
            rotation_with(provider, rotator, clock).resume(KEY)
        clock.pass_by(days=1)
        assert rotation.status_of(KEY).state == "current"
        assert rotator.good == {memory.get_secret(KEY)}, step
        assert leftovers(memory) == []
    assert step > 5


# --- what a rotator is asked ---


def test_a_repeated_step_has_its_id_again_and_no_other_step_has_it():
    memory, rotator = memory_with(), Passwords()
    rotator.broken = ("verify",)
    rotation = rotation_with(memory, rotator, grace_seconds=60)
    with pytest.raises(RotationError):
        rotation.rotate(KEY, NEW)
    with pytest.raises(RotationError):
        rotation.resume(KEY)
    rotator.broken = ()
    rotation.resume(KEY)
    rotation.rollback(KEY)
    rotation.rotate(KEY, NEW)  # the same values once more: another rotation
    steps = [(name, step.name, step.id) for name, step in rotator.steps if name != "retire"]
    ids = [one[2] for one in steps]
    assert ids[0] == ids[3]
    assert ids[1] == ids[2] == ids[4] == ids[5]
    assert len(set(ids)) == len(ids) - 4
    tried = ["apply", "verify"]
    refused = ["verify", "apply", "verify"]  # the resumption lets the target system have it once more
    assert [one[1] for one in steps[:8]] == [*tried, *refused, "verify", "rollback", "verify"]
    olds = [step.old for name, step in rotator.steps if name != "retire"]
    assert olds[:6] == [OLD] * 6
    assert OLD not in repr(rotator.steps)
    assert current_step() is None


def test_a_step_says_whether_it_may_have_been_done_before():
    memory, rotator = memory_with(), Passwords()
    rotator.broken = ("apply",)
    rotation = rotation_with(memory, rotator, grace_seconds=60)
    for again in (rotation.rotate, rotation.resume):
        with pytest.raises(RotationError):
            again(KEY)
    rotator.broken = ()
    rotation.rollback(KEY)
    rotation.rotate(KEY)
    steps = [(name, step.name, step.repeated) for name, step in rotator.steps if name == "apply"]
    assert steps == [
        ("apply", "apply", False),
        ("apply", "apply", True),
        ("apply", "rollback", True),
        ("apply", "apply", False),
    ]


def test_one_takes_the_place_of_both_functions():
    with pytest.raises(ConfigurationError, match="a rotator replaces"):
        SecretRotation(memory_with(), rotator=Passwords(), apply=lambda *_: None)


@pytest.mark.parametrize(
    ("composed", "expected"),
    [
        (lambda old, new: None, "returned a NoneType, not text"),
        (lambda old, new: new.encode(), "returned a bytes, not text"),
        (lambda old, new: old, "returned the old value"),
        (lambda old, new: {}[f"{old} {new}"], r"failed: KeyError: '\*+ \*+'"),
    ],
)
def test_what_goes_wrong_in_compose_names_the_rotator_and_changes_nothing(composed, expected):
    """The values of a rotation are in no chain of the error."""

    class Composing(Passwords):
        def compose(self, key, old, new):
            return composed(old, new)

    memory = memory_with()
    rotation = rotation_with(memory, Composing())
    for attempt in (lambda: rotation.rotate(KEY, NEW), lambda: rotation.rotate(KEY)):
        with pytest.raises(RotationError, match=f"its rotator Composing {expected}") as caught:
            attempt()
        assert caught.value.__context__ is None
        assert OLD not in str(caught.value)
        assert NEW not in str(caught.value)
    assert memory.get_secret(KEY) == OLD
    assert rotation.status_of(KEY).state == "current"


def test_one_that_is_deferred_is_not_made_by_a_look():
    made = []

    def make():
        made.append(1)
        return Passwords()

    rotation = rotation_with(memory_with(), DeferredRotator(make))
    rotation.status_of(KEY)
    rotation.needs_rotation(KEY)
    assert made == []
    rotation.rotate(KEY, NEW)
    assert made == [1]


@pytest.mark.parametrize("step", ["apply", "verify"])
def test_an_error_of_an_encoding_shows_no_character_of_a_value(step):
    """Python's own shows the first one that it cannot encode, and where."""
    rotator = Passwords()
    setattr(rotator, step, lambda *values: values[-1].encode("ascii"))
    with pytest.raises(RotationError, match="UnicodeEncodeError") as caught:
        rotation_with(memory_with(), rotator).rotate(KEY, "gr\u00fcn")
    assert "xfc" not in str(caught.value)


# --- rehearsals ---


def test_a_rehearsal_does_every_step_there_and_back_and_writes_nothing():
    memory, rotator = memory_with(), Passwords()
    before = memory.list_versions(KEY)
    rotation_with(memory, rotator).rehearse(KEY)
    assert rotator.steps == []
    assert [name for name, _ in rotator.rehearsed.steps].count("apply") == 2
    assert [name for name, _ in rotator.rehearsed.steps].count("retire") == 2
    assert rotator.rehearsed.good == {"throwaway"}
    assert memory.list_versions(KEY) == before
    assert leftovers(memory) == []


@pytest.mark.parametrize("raised", [RuntimeError, ValidationError, ConfigurationError])
def test_what_fails_in_one_is_told_without_values(raised):
    class Talker(Passwords):
        @contextmanager
        def rehearsal(self, key, old):
            made = Passwords(old)
            made.apply = self.talk
            yield made, old

        def talk(self, key, old, new):
            raise raised(f"no {old} and no {new} here")

    rotation = SecretRotation(memory_with(), rotator=Talker(), generator=lambda *_: NEW)
    with pytest.raises(
        RotationError, match=r"the rehearsal for 'database/password' failed: .*here"
    ) as caught:
        rotation.rehearse(KEY)
    assert OLD not in str(caught.value)
    assert NEW not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("raised", [ValueError, KeyError, SecretNotFoundError])
def test_an_error_of_one_that_composes_holds_no_value_and_nothing_begins(raised):
    class Composing(Passwords):
        def compose(self, key, old, new):
            raise raised(f"{old} {new}")

    memory, rotator = memory_with(), Composing()
    rotation = SecretRotation(memory, rotator=rotator, generator=lambda *_: NEW)
    with pytest.raises(RotationError, match="its rotator Composing failed") as caught:
        rotation.rotate(KEY)
    assert OLD not in repr(vars(caught.value))
    assert NEW not in repr(vars(caught.value))
    assert caught.value.__context__ is None
    assert (rotator.steps, leftovers(memory)) == ([], [])


def test_without_a_rotator_there_is_none():
    with pytest.raises(UnsupportedOperationError, match="only a rotator can rehearse"):
        SecretRotation(memory_with()).rehearse(KEY)
    with pytest.raises(UnsupportedOperationError, match="nothing to rehearse on"):
        rotation_with(memory_with(), HttpRotator("http://127.0.0.1:9", "a key of hmac")).rehearse(KEY)


# --- user and password ---


def test_a_password_stands_alone_or_in_an_object():
    assert credentials(KEY, "{not json") == (None, "{not json")
    assert credentials(KEY, "[1]") == (None, "[1]")
    assert credentials(KEY, '{"username": "u", "password": "p", "port": 1}') == ("u", "p")
    with pytest.raises(ValidationError, match="without the text `password`"):
        credentials(KEY, '{"user": "u", "pass": "p"}')


def test_a_new_password_keeps_what_stands_beside_it():
    before = '{"username": "a", "password": "old", "host": "h"}'
    assert json.loads(with_password(KEY, before, "new")) == {"username": "a", "password": "new", "host": "h"}
    assert json.loads(with_password(KEY, before, "new", username="b"))["username"] == "b"
    settings = '{"password": "old", "ratio": 1.50, "id": 12345678901234567890.0}'
    assert with_password(KEY, settings, "new") == settings.replace("old", "new")
    assert (
        with_password(KEY, settings, "new", username="b")
        == settings.replace("old", "new")[:-1] + ', "username": "b"}'
    )
    whole = '{"username": "b", "password": "p"}'
    assert with_password(KEY, before, whole, username="b") == whole
    with pytest.raises(ValidationError, match="not for the user whose turn it is: 'a'"):
        with_password(KEY, before, whole)
    assert with_password(KEY, "plain", whole) == "p"
    assert with_password(KEY, "plain", "other") == "other"


# --- requests ---


class Service(ThreadingHTTPServer):
    """Takes steps, and answers with a status."""

    daemon_threads = True

    def __init__(self, context=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen, self.answers = [], []
        self.over = threading.Event()
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.scheme = "http" if context is None else "https"
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.server_port}/hooks?of=app"

    def handle_error(self, request, client_address):
        pass

    def takes(self, headers, body):
        return 204

    def stop(self):
        self.over.set()
        self.shutdown()
        self.server_close()
        self.thread.join()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.seen.append((self.path, self.headers, body))
        default = self.server.takes(self.headers, body), {}, b""
        status, headers, said = self.server.answers.pop(0) if self.server.answers else default
        if status == "trickle":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while not self.server.over.wait(0.02):
                with suppress(OSError):
                    self.wfile.write(b"x-more: 1\r\n")
            return
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_):
        pass


@pytest.fixture
def service():
    running = Service()
    yield running
    running.stop()


HMAC_KEY = "whsec_" + base64.b64encode(b"a key of some thirty-two bytes ok").decode()


def test_steps_are_posted_and_signed(service):
    memory = memory_with()
    rotation = SecretRotation(memory, rotator=HttpRotator(service.url, HMAC_KEY), grace_seconds=60)
    rotation.rotate(KEY, NEW)
    rotation.rollback(KEY)
    messages = [json.loads(body) for _, _, body in service.seen]
    assert [(one["step"], one["key"], one["old"], one["new"]) for one in messages] == [
        ("apply", KEY, OLD, NEW),
        ("verify", KEY, OLD, NEW),
        ("rollback", KEY, NEW, OLD),
        ("verify", KEY, NEW, OLD),
    ]
    for path, headers, body in service.seen:
        assert path == "/hooks?of=app"
        identity, stamp = headers["webhook-id"], headers["webhook-timestamp"]
        assert json.loads(body)["id"] == identity
        signed = f"{identity}.{stamp}.".encode() + body
        expected = hmac.new(b"a key of some thirty-two bytes ok", signed, hashlib.sha256).digest()
        assert headers["webhook-signature"] == f"v1,{base64.b64encode(expected).decode()}"
    assert len({one["id"] for one in messages}) == 4


class SignedService(Service):
    """Does what is signed with its key, which is what it is given."""

    def __init__(self):
        self.key = OLD
        super().__init__()

    def takes(self, headers, body):
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.digest(self.key.encode(), signed, "sha256")).decode()
        if f"v1,{expected}" not in headers["webhook-signature"].split():
            return 401
        message = json.loads(body)
        if message["step"] != "verify":
            self.key = message["new"]
        return 204 if message["new"] == self.key else 409


@pytest.fixture
def signed_service():
    running = SignedService()
    yield running
    running.stop()


@pytest.mark.parametrize("way", ["resume", "rollback"])
def test_the_key_of_the_signature_is_rotated_by_itself(signed_service, way):
    """Each step is signed with both: the reference leads to the old one, and the service may have the new one."""
    declared = spec(
        {"rotator": {"type": "http", "url": signed_service.url, "hmac_key": f"${{secret:app:{KEY}}}"}}
    )
    with SecretProviderRegistry(declared) as registry:
        for _ in range(2):
            SecretRotation(registry, rotator=registry.rotator("PASSWORD")).rotate(KEY)
            assert registry.get_secret(KEY) == signed_service.key
        dying = registry.rotator("PASSWORD")

        def dies(*_):
            raise KeyboardInterrupt

        dying.verify = dies
        with pytest.raises(KeyboardInterrupt):
            SecretRotation(registry, rotator=dying).rotate(KEY)
        assert registry.get_secret(KEY) != signed_service.key
        getattr(SecretRotation(registry, rotator=registry.rotator("PASSWORD")), way)(KEY)
        assert registry.get_secret(KEY) == signed_service.key
    assert all(
        one.count("v1,") == 2
        for one in (headers["webhook-signature"] for _, headers, _ in signed_service.seen)
    )


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_status_of_success_is_one(service, status):
    service.answers = [(status, {}, b"" if status == 204 else b"fine")]
    HttpRotator(service.url, "plain key").apply(KEY, OLD, NEW)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (301, "status 301, a redirect, which is not followed"),
        (307, "status 307, a redirect, which is not followed"),
        (404, "status 404, refused"),
        (500, "status 500, refused"),
    ],
)
def test_any_other_is_an_error_without_values(service, status, expected):
    said = f"sorry, {NEW} and {OLD} and plain key".encode()
    service.answers = [(status, {"location": service.url}, said)]
    with pytest.raises(RotationError, match=expected) as caught:
        HttpRotator(service.url, "plain key").apply(KEY, OLD, NEW)
    assert len(service.seen) == 1
    assert "sorry" in str(caught.value)
    for secret in (NEW, OLD, "plain key", "of=app"):
        assert secret not in str(caught.value)
    assert caught.value.__context__ is None


def test_an_answer_that_is_too_long_to_be_read_shows_no_part_of_a_value(service):
    """It may break off in the middle of one, of which the first half is not found."""
    for length in (16_384 - 12, 16_384 - 12 - len(NEW)):
        said = b"x" * length + NEW.encode() + b" was refused by a page of many words" * 9
        service.answers = [(500, {}, said)]
        with pytest.raises(RotationError, match="status 500, refused") as caught:
            HttpRotator(service.url, "plain key").apply(KEY, OLD, NEW)
        assert NEW[:8] not in str(caught.value)


def test_an_answer_that_trickles_in_ends_at_the_time_out(service):
    service.answers = [("trickle", {}, b"")]
    with pytest.raises(RotationError, match=r"no answer within 0\.3 s"):
        HttpRotator(service.url, "plain key", timeout_seconds=0.3).verify(KEY, NEW)


def test_nothing_is_sent_after_the_time_out(service, monkeypatch):
    """As where a name service hangs, or the first of two addresses: the step has failed by then."""
    go, connect = threading.Event(), socket.create_connection

    def late(*args, **options):
        assert go.wait(300)
        return connect(*args, **options)

    monkeypatch.setattr(socket, "create_connection", late)
    rotator = HttpRotator(service.url, "plain key", timeout_seconds=0.3)
    rotator._runner = DeadlineExecutor(1)
    with pytest.raises(RotationError, match=r"no answer within 0\.3 s"):
        rotator.apply(KEY, OLD, NEW)
    go.set()
    rotator._runner.run(lambda: None, Deadline(300))  # the only thread is free again
    HttpRotator(service.url, "plain key").verify(KEY, NEW)
    assert [json.loads(body)["step"] for _, _, body in service.seen] == ["verify"]


def test_an_interrupt_ends_the_request(service):
    """What it was about to change is not changed later, behind a rollback."""
    rotator = HttpRotator(service.url, "plain key")
    ends = []

    class Interrupted(DeadlineExecutor):
        def run(self, call, deadline, discard=None):
            ends.append(call)
            raise KeyboardInterrupt

    rotator._runner = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        rotator.apply(KEY, OLD, NEW)
    with pytest.raises(TimeoutError):
        ends[0]()
    assert service.seen == []


def test_nobody_there_is_told():
    with pytest.raises(RotationError, match=r"apply at http://127\.0\.0\.1:9/: Connection refused"):
        HttpRotator("http://127.0.0.1:9/", "plain key").apply(KEY, OLD, NEW)


def test_a_certificate_is_checked(tmp_path):
    authority, stranger = trustme.CA(), trustme.CA()
    for name, one in (("ca.pem", authority), ("stranger.pem", stranger)):
        one.cert_pem.write_to_path(tmp_path / name)
    mine = authority.issue_cert("me@example.com")
    mine.private_key_and_cert_chain_pem.write_to_path(tmp_path / "me.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    running = Service(context)
    try:
        known = {"ca_file": tmp_path / "ca.pem", "cert_file": tmp_path / "me.pem"}
        HttpRotator(running.url, "plain key", **known).apply(KEY, OLD, NEW)
        with pytest.raises(RotationError, match=r"(?i)certificate.verify.failed"):
            HttpRotator(running.url, "plain key", ca_file=tmp_path / "stranger.pem").apply(KEY, OLD, NEW)
        with pytest.raises(RotationError):
            HttpRotator(running.url, "plain key", ca_file=tmp_path / "ca.pem").apply(KEY, OLD, NEW)
        assert len(running.seen) == 1
        with pytest.raises(ConfigurationError, match="certificate files cannot be used: No such file"):
            HttpRotator(running.url, "plain key", ca_file=tmp_path / "none.pem")
    finally:
        running.stop()


@pytest.mark.parametrize(
    "url",
    ["ftp://127.0.0.1/", "https://", "https://me:hunter22@h/", "http://127.0.0.1:port/", "http://10.0.0.1/x"],
)
def test_addresses_that_would_give_values_away_are_refused(url):
    with pytest.raises(ConfigurationError) as caught:
        HttpRotator(url, "plain key")
    assert "hunter22" not in str(caught.value)
    assert "hunter22" not in repr(caught.value.__context__)


def test_an_address_without_tls_is_taken_where_that_is_meant():
    assert (
        repr(HttpRotator("http://10.0.0.1/x", "plain key", allow_http=True))
        == "<HttpRotator http://10.0.0.1/x>"
    )
    for here in ("http://localhost:1/", "http://[::1]/", "http://127.8.0.1"):
        HttpRotator(here, "plain key")
    with pytest.raises(ConfigurationError, match="not base64"):
        HttpRotator("http://[::1]/", "whsec_ä")
    with pytest.raises(ConfigurationError, match="stands for 1 bytes, and a key has 8 at least"):
        HttpRotator("http://[::1]/", "whsec_QQ==")


# --- in a spec ---


def spec(rotate, **more):
    return {
        "version": 1,
        "pipelines": {"app": {"provider": {"type": "memory", "secrets": {KEY: OLD, "hmac": "the hmac key"}}}},
        "secrets": {"PASSWORD": {"key": KEY, "rotate": rotate}},
        **more,
    }


def test_a_spec_names_one_and_its_options_may_be_references(service, monkeypatch):
    monkeypatch.setenv("HOOK_URL", service.url)
    declared = spec({"rotator": {"type": "http", "url": "${env:HOOK_URL}", "hmac_key": "${secret:app:hmac}"}})
    with SecretProviderRegistry(declared) as registry:
        assert "HOOK_URL" in registry.environment()
        assert registry.plan.secrets["PASSWORD"].rotate["rotator"] == "http"
        rotator = registry.rotator("PASSWORD")
        assert isinstance(rotator, HttpRotator)
        assert SecretRotation(registry, rotator=rotator).rotate(KEY).state == "current"
        with pytest.raises(ConfigurationError, match="'OTHER' is declared with no rotator"):
            registry.rotator("OTHER")
    assert len(service.seen) == 2


def test_who_only_reads_need_not_have_what_a_rotation_needs(monkeypatch):
    monkeypatch.delenv("HOOK_URL", raising=False)
    declared = spec({"rotator": {"type": "http", "url": "${env:HOOK_URL}", "hmac_key": "the hmac key"}})
    with SecretProviderRegistry(declared) as registry:
        assert registry.get_secret(KEY) == OLD
        with pytest.raises(SpecError, match=r"secrets\.PASSWORD\.rotate\.rotator\.url.*HOOK_URL"):
            registry.rotator("PASSWORD")


@pytest.mark.parametrize(
    ("rotate", "line", "expected"),
    [
        (
            "{rotator: {type: htp}}",
            6,
            r"rotate\.rotator\.type: unknown rotator 'htp'; did you mean 'http'\?",
        ),
        ("{rotator: {type: http, hmac_key: '12345678'}}", 6, r"rotator\.url: required, and missing"),
        ("{rotator: {type: http, url: 'http://h', hmac_ky: k}}", 6, "unknown key; did you mean 'hmac_key'"),
        ("{rotator: {}}", 6, r"rotate\.rotator\.type: required, and missing"),
        ("{rotator: {type: memory}}", 6, "has no rotator 'memory'"),
        (
            "{rotator: {type: http, url: 'https://h', hmac_key: '12345678'}, command: [x]}",
            6,
            "give one or the other",
        ),
        (
            "{rotator: {type: http, url: 'https://h', hmac_key: '12345678'}, timeout_seconds: 5}",
            6,
            "of its own",
        ),
        (
            "{rotator: {type: http, url: 'https://h', hmac_key: '${secret:ap:k}'}}",
            6,
            "no pipeline 'ap'; did you mean",
        ),
        ("{rotater: {type: http}}", 6, "unknown key; did you mean 'rotator'"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path, rotate, line, expected):
    path = tmp_path / "strongroom.yaml"
    path.write_text(
        "version: 1\npipelines:\n  app: {provider: {type: memory}}\nsecrets:\n"
        f"  PASSWORD: {{key: a,\n    rotate: {rotate}}}\n"
    )
    with pytest.raises(SpecError, match=expected) as caught:
        SecretProviderRegistry(path)
    assert f"strongroom.yaml:{line}:" in str(caught.value)


def test_a_profile_may_change_the_options(service):
    rotator = {"type": "http", "url": "https://production.example.com", "hmac_key": "the hmac key"}
    local = {"secrets": {"PASSWORD": {"rotate": {"rotator": {"url": service.url}}}}}
    declared = spec({"rotator": rotator}, profiles={"test": local})
    with SecretProviderRegistry(declared, profile="test") as registry:
        assert registry.rotator("PASSWORD").address == service.url.partition("?")[0]


# --- the base of rotators of a user's password ---


class Accounts(UserRotator):
    """A rotator of a directory of users, whose administrator is one of them."""

    def __init__(self, users, *names, **options):
        super().__init__("accounts", names or ("app",), **options)
        self.directory = users
        self.refuses = set()

    def apply(self, key, old, new):
        user, password = self.login_of(key, new)
        self.directory[user] = password

    def verify(self, key, new):
        user, password = self.login_of(key, new)
        return self.directory.get(user) == password

    def _step(self, name):
        if name in self.refuses:
            raise RotationError(f"no {name}, for a test")

    def prepare_rehearsal(self, key, old):
        self._step("prepare")
        for name in [*filter(self.is_left_over, self.directory)]:
            del self.directory[name]

    def make_throwaway(self, key, old, names, password):
        for name, real in names.items():
            assert real in self.directory
            self.directory[name] = password
            self._step("make")

    def remove_throwaway(self, key, old, names):
        for name in names:
            self.directory.pop(name, None)


def login(user, password, **more):
    return json.dumps({**more, "username": user, "password": password})


def test_two_users_take_turns():
    two = Accounts({}, "app", "app_b", alternating=True)
    assert two.compose(KEY, login("app", OLD, host="db"), NEW) == json.dumps(
        {"host": "db", "username": "app_b", "password": NEW}
    )
    assert json.loads(two.compose(KEY, login("app_b", OLD), NEW))["username"] == "app"
    for value in ("plain", login("eve", OLD)):
        with pytest.raises(ValidationError, match="two take turns, app and app_b"):
            two.compose(KEY, value, NEW)
    one = Accounts({}, "app")
    assert one.compose(KEY, OLD, NEW) == NEW
    with pytest.raises(ValidationError, match="is of 'eve', and its rotator changes app"):
        one.compose(KEY, login("eve", OLD), NEW)


@pytest.mark.parametrize(("names", "alternating"), [(("a",), True), (("a", "b"), False), (("a", "a"), True)])
def test_a_strategy_has_the_users_that_it_needs(names, alternating):
    with pytest.raises(ConfigurationError, match="rotator accounts: "):
        Accounts({}, *names, alternating=alternating)


@pytest.mark.parametrize("has", ["configured", OLD, NEW, "none of these"])
def test_an_administrator_logs_in_by_the_password_that_it_has_by_now(has):
    tried = []

    def connect(password):
        tried.append(password)
        if password != has:
            raise AuthenticationError(f"refused try {len(tried)}")
        return "connected"

    def log_in(user):
        tried.clear()
        values = (login("root", OLD), login("root", NEW))
        return Accounts({}, "root").as_administrator(connect, user, "configured", KEY, values)

    if has == "none of these":
        with pytest.raises(AuthenticationError, match="refused try 1") as caught:
            log_in("root")
        assert caught.value.__context__ is None
        assert tried == ["configured", OLD, NEW]
    else:
        assert log_in("root") == "connected"
    if has in {OLD, NEW}:
        with pytest.raises(AuthenticationError):
            log_in("somebody")  # whose password is not the one that is rotated
        assert tried == ["configured"]


@pytest.mark.parametrize("shape", [OLD, login("app", OLD)])
@pytest.mark.parametrize("refuses", [None, "prepare", "make"])
def test_a_rehearsal_is_on_users_of_its_own_of_which_none_is_left(shape, refuses):
    users = {"app": OLD, "strongroom_rehearsal_1577836800_0": OLD}
    rotator = Accounts(users, "app")
    rotator.refuses = {refuses}
    if refuses is None:
        with rotator.rehearsal(KEY, shape) as (other, value):
            assert other.verify(KEY, value)
            other.apply(KEY, value, other.compose(KEY, value, NEW))
            assert NEW in users.values()
    else:
        with pytest.raises(RotationError, match=f"no {refuses}"), rotator.rehearsal(KEY, shape):
            pass
    assert {*users} - {"strongroom_rehearsal_1577836800_0"} == {"app"}
    assert users["app"] == OLD
    assert (len(users) == 1) == (refuses != "prepare")


def test_a_rehearsal_for_two_users_names_the_real_ones_if_the_secret_is_for_neither():
    """It made throwaway users first, and its hint was to store the name of one of them."""
    users = {"app": OLD, "app_b": OLD}
    rotator = Accounts(users, "app", "app_b", alternating=True)
    rotator.refuses = {"prepare", "make"}
    with pytest.raises(ValidationError, match="two take turns, app and app_b") as caught:
        rotator.rehearsal(KEY, "plain").__enter__()
    assert '"username": "app"' in caught.value.hint
