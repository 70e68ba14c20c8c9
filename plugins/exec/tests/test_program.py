"""Programs that die, hang, flood and talk nonsense; their errors; what they say; several requests at once."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from pathlib import Path

import pytest
from strongroom.deadlines import Deadline, DeadlineExceededError
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    PermissionDeniedError,
    ReadOnlyError,
    SecretNotFoundError,
    SecretTooLargeError,
    StrongroomError,
    ThrottledError,
    UnsupportedOperationError,
    ValidationError,
)
from strongroom.testing.conformance.base import OTHER, SECRET, assert_harmless
from strongroom.testing.conformance.forks import Children
from strongroom_exec import ExecSecretProvider, channel
from strongroom_exec.channel import Channel, _Waiting
from strongroom_exec.config import ExecConfig
from strongroom_exec.errors import TYPES
from strongroom_exec.words import Words

ECHO = "def reply(request, params): tell(request, params['key'])\n"


def test_the_configuration_is_the_constructor():
    provider = ExecSecretProvider(**ExecConfig(command=["./a", "b"], folder=Path("/x")).model_dump())
    assert provider.address() == {"command": ["/x/a", "b"], "folder": "/x"}


@pytest.mark.parametrize("command", ["python3", [], [""], [7], ["a", None]])
def test_what_is_not_a_command(command):
    with pytest.raises(ConfigurationError):
        ExecSecretProvider(command)


def test_a_program_that_is_not_there():
    with pytest.raises(ConfigurationError, match="no such program"):
        ExecSecretProvider(["no-such-program-anywhere"]).get_secret("a")


def test_without_a_thread_for_its_answers_the_program_ends(program, tmp_path, monkeypatch):
    """At the end of the process, or if the machine has no more; the next call starts it again."""
    provider = program("def reply(request, params): tell(request, 'v')\n")
    started = []
    real = threading.Thread.start

    def refuse_the_second(thread):
        started.append(thread)
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        real(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse_the_second)
        with pytest.raises(BackendUnavailableError, match="can't start new thread"):
            provider.get_secret("a")
        started[0].join(60)
        assert not started[0].is_alive()
        assert provider.get_secret("a") == "v"


def test_it_is_started_once_and_goes_on(program, tmp_path):
    provider = program(ECHO)
    assert [provider.get_secret(key) for key in "abc"] == ["a", "b", "c"]
    assert (tmp_path / "starts").read_text() == "x"
    provider.close()
    assert provider.get_secret("d") == "d"
    assert (tmp_path / "starts").read_text() == "xx"


def test_requests_are_under_way_together(program):
    """The first is answered last, and each caller gets its own answer."""
    provider = program(
        "held = []\n"
        "def reply(request, params):\n"
        "    held.append(request)\n"
        "    if len(held) == 3:\n"
        "        for one in reversed(held): tell(one, 'value of ' + one['params']['key'])\n"
    )
    assert provider.get_secrets(["a", "b", "c"]) == {key: f"value of {key}" for key in "abc"}


def test_a_program_without_batches_is_asked_for_each_key(program):
    provider = program(
        "def reply(request, params):\n"
        "    if params['key'] == 'b': fail(request, {'code': 1, 'message': 'm', 'data': {'type': 'SecretNotFoundError'}})\n"
        "    else: tell(request, 'v')\n"
    )
    assert provider.get_secrets(["a", "b", "c"]) == {"a": "v", "c": "v"}


@pytest.mark.parametrize(
    "capabilities",
    [
        ["Describer"],
        ["describe_secret", "no_such"],
        {"capabilities": ["Describer"], "protocol": 1},
        {"methods": ["describe_secret"]},
        {"Describer": True, "VersionReader": False},
        {"capabilities": {"Describer": True}, "methods": 5},
        {"capabilities": True, "methods": ["describe_secret", 5, None]},
    ],
)
def test_a_program_has_the_capabilities_that_it_says_and_no_others(program, capabilities):
    provider = program(
        f"capabilities = {capabilities!r}\ndef reply(request, params): tell(request, {{'version': '7'}})\n"
    )
    assert provider.describe_secret("a").version == "7"
    for call in (
        lambda: provider.list_versions("a"),
        lambda: provider.set_secret_if("a", "v", None),
        lambda: provider.set_secrets({"a": "v"}),
        lambda: provider.stage_secret("a", "v"),
    ):
        with pytest.raises(UnsupportedOperationError):
            call()


def test_a_program_that_does_not_know_capabilities_has_the_four_methods(program):
    provider = program(
        "import sys as _s\n"
        "def reply(request, params): tell(request, 'v')\n"
        "class Lines:\n"
        "    def __iter__(self):\n"
        "        for line in _s.__stdin__:\n"
        "            request = json.loads(line)\n"
        "            if request['method'] == 'capabilities': fail(request, {'code': -32601, 'message': 'no'})\n"
        "            else: yield line\n"
        "sys.stdin = Lines()\n"
    )
    assert provider.get_secret("a") == "v"
    with pytest.raises(UnsupportedOperationError):
        provider.describe_secret("a")


# --- errors ---


@pytest.mark.parametrize("name", sorted(TYPES))
def test_each_class_of_errors(parrot, name):
    data = {"type": name, "hint": "do this", "reason": "deleted", "retry_after": 3}
    provider = parrot(f"{{'error': {{'code': 1, 'message': 'why', 'data': {data!r}}}}}")
    with pytest.raises(StrongroomError) as caught:
        provider.get_secret("a/b")
    assert type(caught.value) is TYPES[name]
    assert (caught.value.provider, caught.value.key, caught.value.hint) == ("exec", "a/b", "do this")
    if name == "SecretNotFoundError":
        assert caught.value.reason == "deleted"
    if name == "ThrottledError":
        assert caught.value.retry_after == 3


@pytest.mark.parametrize("asked", ["10**400", "float('inf')", "float('nan')", "-1", "True", "'3'"])
def test_a_time_that_nobody_can_wait_is_none(parrot, asked):
    data = f"{{'type': 'ThrottledError', 'retry_after': {asked}}}"
    provider = parrot(f"{{'error': {{'code': 1, 'message': 'why', 'data': {data}}}}}")
    with pytest.raises(ThrottledError) as caught:
        provider.get_secret("a")
    assert caught.value.retry_after is None


def test_the_classes_are_those_that_a_backend_can_say():
    assert {
        *(SecretNotFoundError, ValidationError, PermissionDeniedError, AuthenticationError, ConflictError),
        *(
            BackendUnavailableError,
            ThrottledError,
            UnsupportedOperationError,
            ReadOnlyError,
            SecretTooLargeError,
        ),
    } <= set(TYPES.values())
    assert {"SpecError", "PluginError", "AuditError", "TenantContextError", "StrongroomError"}.isdisjoint(
        TYPES
    )


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"code": -32601, "message": "no"}, UnsupportedOperationError),
        ({"code": -32603, "message": "oh"}, BackendUnavailableError),
        ({"code": 1, "message": "m", "data": {"type": "SpecError"}}, BackendUnavailableError),
        ({"code": 1, "message": "m", "data": {"type": ["x"]}}, BackendUnavailableError),
        ({}, BackendUnavailableError),
        ("text", BackendUnavailableError),
        ([], BackendUnavailableError),
        (None, BackendUnavailableError),
    ],
)
def test_an_error_of_an_unknown_form_is_one_of_ours(parrot, error, expected):
    provider = parrot(f"{{'error': {error!r}}}")
    with pytest.raises(expected) as caught:
        provider.get_secret("a")
    assert type(caught.value) is expected


@pytest.mark.parametrize("wait", ["10 ** 400", "float('nan')", "float('inf')", "-1", "True", "'3'", "[3]"])
def test_a_wait_that_is_none(parrot, wait):
    data = f"{{'type': 'ThrottledError', 'retry_after': {wait}}}"
    provider = parrot(f"{{'error': {{'code': 1, 'data': {data}}}}}")
    with pytest.raises(ThrottledError) as caught:
        provider.get_secret("a")
    assert caught.value.retry_after is None


def test_no_error_holds_a_value(program):
    """Neither the value that is written, as it stands or as JSON has it, nor one that was read before."""
    provider = program(
        "def reply(request, params):\n"
        f"    if request['method'] == 'get_secret': tell(request, {OTHER!r})\n"
        f"    else: fail(request, {{'code': 1, 'message': 'no: ' + json.dumps(params) + {OTHER!r}}})\n"
    )
    assert provider.get_secret("a") == OTHER
    for value in (SECRET, f'"{SECRET}"\n'):
        with pytest.raises(BackendUnavailableError) as caught:
            provider.set_secret("a", value)
        assert_harmless(caught.value, SECRET, OTHER)
    with pytest.raises(BackendUnavailableError, match="is left out"):
        provider.set_secret("a", "xyz")


def test_an_answer_with_a_member_that_is_null(program):
    """Libraries that write both members are understood; two that are not null are not an answer."""
    provider = program(
        "def reply(request, params):\n"
        "    answer = {'id': request['id'], 'result': None, 'error': None}\n"
        "    answer.update({'result': 'v'} if params['key'] == 'a' else {'error': {'data': {'type': 'ReadOnlyError'}}})\n"
        "    say(json.dumps(answer) + '\\n')\n"
    )
    assert provider.get_secret("a") == "v"
    with pytest.raises(ReadOnlyError):
        provider.delete_secret("b")


# --- programs that fail ---


def starts(folder):
    return len((folder / "starts").read_text())


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("sys.exit(3)", "ended with exit code 3"),
        ("os.kill(os.getpid(), 9)", "ended by signal 9"),
        ("say('hunter2\\n')", "a line of 7 bytes is not a JSON object"),
        ("say('[1]\\n')", "not a JSON object"),
        ("say('{}\\n')", "not an answer of JSON-RPC"),
        ("say('[' * 100000 + '\\n')", "not a JSON object"),
        ("say(json.dumps({'id': True, 'result': 1}) + '\\n')", "not an answer"),
        ("say(json.dumps({'id': request['id'], 'result': 1, 'error': {}}) + '\\n')", "not an answer"),
        ("tell({'id': 99}, 'x')", "answers what was not asked"),
        ("tell(request, 'x'); tell(request, 'x'); time.sleep(600)", None),
        ("say((json.dumps({'method': 'hello'}) + '\\n') * 2000)", "floods"),
        ("os.close(1); time.sleep(600)", "closed its standard output"),
        pytest.param(
            "[say('x' * (1 << 20)) for _ in range(70)]; time.sleep(600)", "floods", marks=pytest.mark.torture
        ),
    ],
)
def test_what_it_did_is_told_and_it_is_started_again(program, tmp_path, code, expected):
    pauses = []
    provider = program(
        f"def reply(request, params):\n    if params['key'] == 'bad':\n        {code}\n    else: tell(request, 'good')\n",
        pause=pauses.append,
    )
    assert provider.get_secret("fine") == "good"
    if expected is None:
        provider.get_secret("bad")  # its answer comes first, and then a second one
        while provider._channel.ended is None:
            threading.Event().wait(0.01)
    else:
        with pytest.raises(BackendUnavailableError, match=expected) as caught:
            provider.get_secret("bad")
        assert "hunter2" not in str(caught.value)
        assert caught.value.retryable
    assert provider.get_secret("fine") == "good"
    assert starts(tmp_path) == 2
    assert len(pauses) == 1
    assert 0 < pauses[0] <= 0.1


def test_a_line_without_end_is_a_flood(program, tmp_path, monkeypatch):
    monkeypatch.setattr(channel, "_LONGEST_LINE", 2 << 20)
    provider = program(
        "def reply(request, params):\n"
        "    if params['key'] == 'bad': [say('x' * (1 << 19)) for _ in range(6)]; time.sleep(600)\n"
        "    else: tell(request, 'good')\n",
        pause=lambda _: None,
    )
    with pytest.raises(BackendUnavailableError, match="floods: a line of more than 2 MiB"):
        provider.get_secret("bad")
    assert provider.get_secret("fine") == "good"
    assert starts(tmp_path) == 2


def test_a_program_that_hangs_is_ended_in_time(program, tmp_path):
    provider = program(
        "def reply(request, params):\n    if params['key'] == 'bad': time.sleep(600)\n    else: tell(request, 'good')\n",
        pause=lambda _: None,
    )
    assert provider.get_secret("fine") == "good"
    provider._timeout = 1
    with pytest.raises(BackendUnavailableError, match="within 1 s"):
        provider.get_secret("bad")
    provider._timeout = 300
    assert provider.get_secret("fine") == "good"
    assert starts(tmp_path) == 2


def test_one_slow_request_does_not_end_the_others(program, tmp_path):
    """A program that answers others goes on, and the answer that comes too late is passed over."""
    provider = program(
        "held = []\n"
        "def reply(request, params):\n"
        "    if params['key'] == 'slow': held.append(request)\n"
        "    else:\n"
        "        tell(request, 'good')\n"
        "        if params['key'] == 'free': [tell(one, 'late') for one in held]\n",
    )
    provider.get_secret("a")
    errors = []

    def slow():
        try:
            provider._channel.ask("get_secret", {"key": "slow"}, Deadline(0.4))
        except DeadlineExceededError as error:
            errors.append(error)

    thread = threading.Thread(target=slow)
    thread.start()
    while thread.is_alive():
        assert provider.get_secret("a") == "good"
    assert len(errors) == 1
    assert [provider.get_secret(key) for key in ("free", "a")] == ["good", "good"]
    assert starts(tmp_path) == 1


def test_a_program_that_does_not_read_is_ended(program):
    provider = program("def reply(request, params): time.sleep(600)\n", timeout=1)
    with pytest.raises(BackendUnavailableError):
        provider.set_secret("a", "x" * 1_000_000)
    assert provider._channel.ended is not None


def test_pauses_grow_until_it_answers(program):
    pauses = []
    provider = program("sys.exit(1)\n", pause=pauses.append)
    for _ in range(6):
        with pytest.raises(BackendUnavailableError, match="exit code 1"):
            provider.get_secret("a")
    assert len(pauses) == 5
    assert pauses == sorted(pauses)
    assert pauses[-1] > 1
    provider._timeout = 1
    with pytest.raises(BackendUnavailableError, match="the next start is in"):
        provider.get_secret("a")


def test_a_program_that_has_failed_all_night_is_still_unavailable(program):
    """A pause that was doubled a thousand times would be no number."""
    pauses = []
    provider = program("sys.exit(1)\n", pause=pauses.append, timeout=60)
    provider._failures = 2000
    for _ in range(2):
        with pytest.raises(BackendUnavailableError, match="exit code 1"):
            provider.get_secret("a")
    assert 29 < pauses[0] <= 30


@pytest.mark.parametrize(
    ("method", "result"),
    [
        ("get_secret", 7),
        ("get_secret", None),
        ("get_secret", {"value": "x"}),
        ("list_secrets", "abc"),
        ("list_secrets", [1]),
        ("get_secrets", ["a"]),
        ("get_secrets", {"other": "x"}),
        ("get_secrets", {"a": None}),
        ("describe_secret", "1"),
        ("describe_secret", {}),
        ("describe_secret", {"version": 1}),
        ("describe_secret", {"version": "1", "updated_at": "soon"}),
        ("describe_secret", {"version": "1", "updated_at": "2026-01-01T00:00:00"}),
        ("describe_secret", {"version": "1", "updated_at": "0001-01-01T00:00:00+12:00"}),
        ("describe_secret", {"version": "1", "created_at": 5}),
        ("describe_secret", {"version": "1", "tags": {"a": 1}}),
        ("list_versions", {}),
        ("list_versions", [{"version": "1"}]),
        ("list_versions", [{"version": "1", "state": "fresh"}]),
        ("set_secret_if", None),
        ("stage_secret", ""),
    ],
)
def test_a_result_of_another_form_is_an_error(parrot, method, result):
    provider = parrot(f"{{'result': {result!r}}}")
    arguments = {
        "list_secrets": [],
        "get_secrets": [["a"]],
        "set_secret_if": ["a", "v", None],
        "stage_secret": ["a", "v"],
    }
    with pytest.raises(BackendUnavailableError, match="answer is not"):
        getattr(provider, method)(*arguments.get(method, ["a"]))


def test_a_lone_surrogate_is_not_text(program):
    provider = program("def reply(request, params): tell(request, 'hunter2\\ud800')\n")
    with pytest.raises(ValidationError) as caught:
        provider.get_secret("a")
    assert_harmless(caught.value, "hunter2")


def test_what_is_not_a_key_is_not_listed(program):
    provider = program(
        "def reply(request, params): tell(request, ['b', '', 'a//b', '.rotation/x', 'a', 'a'])\n"
    )
    assert provider.list_secrets() == ["a", "b"]


# --- what it says ---


def test_what_it_says_is_logged_without_values(program, caplog):
    """Also a value that it writes down before its answer brings it."""
    caplog.set_level(logging.INFO, "strongroom.exec")
    provider = program(
        "def reply(request, params):\n"
        "    if request['method'] == 'get_secret':\n"
        "        sys.stderr.write('read hunter2-hunter2\\n'); sys.stderr.flush()\n"
        "        tell(request, 'hunter2-hunter2')\n"
        "    else:\n"
        "        sys.stderr.write('set ' + params['value'] + '\\x1b[31m\\n'); sys.stderr.flush()\n"
        "        tell(request, None)\n"
    )
    provider.get_secret("a")
    provider.set_secret("a", "correct-horse")
    provider.close()
    while len(caplog.messages) < 2:
        threading.Event().wait(0.01)
    assert not any("hunter2" in one or "horse" in one or "\x1b" in one for one in caplog.messages)
    assert [one.split()[1] for one in caplog.messages] == ["read", "set"]


def test_a_value_that_comes_too_late_is_not_logged_either(program, caplog, monkeypatch):
    """The caller has given up, the program goes on: others have their answers meanwhile."""
    caplog.set_level(logging.INFO, "strongroom.exec")
    provider = program(
        "held = {}\n"
        "def reply(request, params):\n"
        "    held[params['key']] = request\n"
        "    if params['key'] == 'slow': tell(held['other'], 'fine')\n"
        "    if params['key'] == 'now':\n"
        "        tell(held['slow'], 'hunter2hunter2')\n"
        "        sys.stderr.write('gave hunter2hunter2\\n'); sys.stderr.flush()\n"
        "        tell(request, 'done')\n"
    )
    answers = []
    other = threading.Thread(target=lambda: answers.append(provider.get_secret("other")))
    other.start()
    wait = _Waiting.wait

    def give_up(waiting, deadline):
        if threading.current_thread() is other:
            return wait(waiting, deadline)
        other.join(60)
        raise DeadlineExceededError

    while provider._channel is None or not provider._channel._waiting:
        time.sleep(0.01)
    with monkeypatch.context() as patch:
        patch.setattr(_Waiting, "wait", give_up)
        with pytest.raises(BackendUnavailableError):
            provider.get_secret("slow")
    assert answers == ["fine"]
    assert provider.get_secret("now") == "done"
    while not caplog.messages:
        time.sleep(0.01)
    assert caplog.messages[0].split()[1] == "gave"
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("raised", [KeyboardInterrupt, TimeoutError, BackendUnavailableError])
def test_a_caller_that_is_interrupted_harms_no_other(program, tmp_path, caplog, monkeypatch, raised):
    """By Ctrl-C, or by the signal of a worker's time limit: the answer that comes later is passed over."""
    caplog.set_level(logging.INFO, "strongroom.exec")
    provider = program(
        "held = []\n"
        "def reply(request, params):\n"
        "    if params['key'] == 'slow': held.append(request)\n"
        "    else:\n"
        "        if params['key'] == 'free':\n"
        "            sys.stderr.write('gives hunter2hunter2\\n'); sys.stderr.flush()\n"
        "            [tell(one, 'hunter2hunter2') for one in held]\n"
        "        tell(request, 'good')\n",
    )
    assert provider.get_secret("a") == "good"

    def interrupted(waiting, deadline):
        raise raised("interrupted")

    with monkeypatch.context() as patch:
        patch.setattr(_Waiting, "wait", interrupted)
        with pytest.raises(raised, match="interrupted"):
            provider.get_secret("slow")
    assert [provider.get_secret(key) for key in ("free", "a")] == ["good", "good"]
    assert starts(tmp_path) == 1
    while not caplog.messages:
        time.sleep(0.01)
    assert caplog.messages[0].split()[1] == "gives"
    assert "hunter2" not in caplog.text


def test_a_caller_that_is_interrupted_within_a_long_request_ends_the_program(program, tmp_path, monkeypatch):
    """What follows half a request would be read as its other half."""
    provider = program(ECHO)
    write, left = Channel._write, [1]

    def once(channel, data, deadline):
        if not left.pop():
            raise KeyboardInterrupt
        left.append(0)
        return write(channel, data[:100], deadline)

    provider.get_secret("a")
    with monkeypatch.context() as patch:
        patch.setattr(Channel, "_write", once)
        with pytest.raises(KeyboardInterrupt):
            provider.set_secret("a", "x" * 1000)
    assert "broke off" in provider._channel.ended
    assert provider.get_secret("a") == "a"
    assert starts(tmp_path) == 2


def test_no_number_of_a_request_is_used_again_by_the_next_program(program):
    """Else the end of an old request would be taken for that of a new one, whose values are not known yet."""
    provider = program("def reply(request, params): tell(request, str(request['id']))\n")
    before = int(provider.get_secret("a"))
    provider._channel.end("it ended")
    assert int(provider.get_secret("a")) > before


def test_no_login_and_no_private_key_is_logged_or_told(caplog):
    caplog.set_level(logging.INFO, "strongroom.exec")
    words = Words("program")
    said = "https://me:hunter2@host/ is down -----BEGIN PRIVATE KEY-----hunter2"
    words.hear(said.encode())
    shown = "https://…@host/ is down -----BEGIN PRIVATE KEY-----…"
    assert words.clean(said) == shown
    assert caplog.messages == [f"program: {shown}"]


@pytest.mark.parametrize(
    ("more", "shown"),
    [
        (["-----END PRIVATE KEY-----", "done"], ["-----END PRIVATE KEY-----", "done"]),
        (["it is not a key", "done"], ["it is not a key", "done"]),  # no END came
    ],
)
def test_no_private_key_is_logged_that_has_lines_of_its_own(caplog, more, shown):
    caplog.set_level(logging.INFO, "strongroom.exec")
    words = Words("p")
    for line in ("bad: -----BEGIN PRIVATE KEY-----", "Comment: mine", "hunter2+/", "hunter2==\r", *more):
        words.hear(line.encode())
    assert caplog.messages == [f"p: {one}" for one in ("bad: -----BEGIN PRIVATE KEY-----…", *shown)]


def test_a_line_waits_for_the_requests_it_came_in(caplog):
    caplog.set_level(logging.INFO, "strongroom.exec")
    words = Words("p", clock=lambda: 0.0)
    words.begin(1)
    words.hear(b"about 1: hunter2-hunter2")
    words.begin(2)
    words.hear(b"about 2")
    words.finish(2)
    assert caplog.messages == []
    words.know(["hunter2-hunter2"])
    words.finish(1)
    assert len(caplog.messages) == 2
    assert "hunter2" not in caplog.text


def test_a_line_waits_for_an_answer_that_nobody_waits_for_but_not_for_ever(caplog):
    """The program may write a value down, and give it after the caller's deadline; or it may never answer."""
    caplog.set_level(logging.INFO, "strongroom.exec")
    now = [0.0]
    words = Words("p", clock=lambda: now[0])
    for number in (1, 2):
        words.begin(number)
        words.finish(number, may_be_answered=True)
    words.hear(b"about 1: hunter2-hunter2")
    words.know(["hunter2-hunter2"])
    words.finish(1)
    assert caplog.messages == []
    now[0] = 60.0
    words.hear(b"another")
    assert len(caplog.messages) == 2
    assert "hunter2" not in caplog.text


def test_lines_that_nobody_reads_are_not_masked(caplog, monkeypatch):
    """Getting ready to mask takes longer the more values are known, and each new value asks for it again."""
    caplog.set_level(logging.WARNING, "strongroom.exec")
    monkeypatch.setattr("strongroom_exec.words.Masker", lambda _: pytest.fail("it masks"))
    words = Words("p")
    words.know(["hunter2-hunter2"])
    words.hear(b"hunter2-hunter2")
    assert words.clean("") == ""
    assert not caplog.messages


def test_a_flood_of_words_is_counted(caplog):
    caplog.set_level(logging.INFO, "strongroom.exec")
    now = [0.0]
    words = Words("p", clock=lambda: now[0])
    for number in range(250):
        words.hear(b"line %d" % number)
    assert len(caplog.messages) == 100
    now[0] = 2.0
    words.hear(b"last")
    assert caplog.messages[-2:] == ["p: 150 lines were left out", "p: last"]


# --- the process ---


def test_strongrooms_own_key_is_not_handed_on(program, monkeypatch):
    monkeypatch.setenv("STRONGROOM_ENCRYPTION_KEY", "k")
    monkeypatch.setenv("STORE_TOKEN", "t")
    provider = program("def reply(request, params): tell(request, os.environ.get(params['key'], 'none'))\n")
    assert provider.get_secret("STRONGROOM_ENCRYPTION_KEY") == "none"
    assert provider.get_secret("STORE_TOKEN") == "t"


def test_a_child_has_a_program_of_its_own(program, tmp_path):
    provider = program("def reply(request, params): tell(request, str(os.getpid()))\n")
    mine = provider.get_secret("a")
    theirs = Children(2, lambda _: provider.get_secret("a")).results(
        meanwhile=lambda: [provider.get_secret("a") for _ in range(20)]
    )
    assert provider.get_secret("a") == mine
    assert len({mine, *theirs}) == 3
    assert starts(tmp_path) == 3


def test_a_program_ends_with_its_provider(program, tmp_path):
    """Its input ends, and it has the time to put things in order."""
    provider = program(ECHO + "import atexit; atexit.register(note, 'ended')\n")
    provider.get_secret("a")
    provider.close()
    assert (tmp_path / "ended").exists()


def test_a_name_with_a_slash_is_relative_to_the_folder(tmp_path):
    store = tmp_path / "store"
    store.write_text(f"#!{sys.executable}\nimport sys\nfor line in sys.stdin: pass\n")
    store.chmod(0o700)
    provider = ExecSecretProvider(["./store"], folder=tmp_path)
    assert provider._command == [str(tmp_path / "store")]
    assert os.fspath(provider._folder) == str(tmp_path)
