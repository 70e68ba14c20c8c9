"""Programs as rotators: what they get, what is told of them, and that they end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path

import pytest
from rotation_support import KEY, NEW, OLD, memory_with
from strongroom import SecretRotation
from strongroom.errors import ConfigurationError, ConflictError, RotationError
from strongroom.rotation import GENERATORS, CommandRotator, generator_of
from strongroom_file import FileSecretProvider


def program(folder, body, name="rotator"):
    path = folder / name
    # Without `site`, which takes longer than the rest.
    path.write_text(f"#!{sys.executable} -IS\nimport json, os, sys, time\n{body}\n")
    path.chmod(0o700)
    return [f"./{name}"]


def test_it_gets_the_values_on_its_standard_input_alone(tmp_path):
    body = "open('got', 'a').write(json.dumps([sys.argv[1:], sorted(os.environ), os.getcwd(), json.load(sys.stdin)]) + '\\n')"
    rotator = CommandRotator(
        [*program(tmp_path, body), "--role", "app"], folder=tmp_path, environment={"LANG": "C"}
    )
    rotator.apply(KEY, OLD, NEW)
    rotator.verify(KEY, NEW)
    apply, verify = map(json.loads, (tmp_path / "got").read_text().splitlines())
    folder = os.path.realpath(tmp_path)
    assert apply[0] == ["--role", "app"]
    assert set(apply[1]) <= {"LANG", "LC_CTYPE"}
    assert os.path.realpath(apply[2]) == folder
    assert apply[3] == {"step": "apply", "key": KEY, "old": OLD, "new": NEW}
    assert verify[3] == {"step": "verify", "key": KEY, "new": NEW}


def test_values_of_any_text_arrive(tmp_path):
    value = 'zwei\nZeilen "mit" \\ und \U0001f511 \x7f'
    rotator = CommandRotator(
        program(tmp_path, "assert json.load(sys.stdin)['new'] == open('want').read()"), folder=tmp_path
    )
    (tmp_path / "want").write_text(value)
    rotator.verify(KEY, value)


def test_what_is_shown_of_its_output_has_no_login(tmp_path):
    body = "sys.exit('cannot connect to postgresql://admin:hunter2@db/app')"
    with pytest.raises(RotationError, match="cannot connect to postgresql://…@db/app") as caught:
        CommandRotator(program(tmp_path, body), folder=tmp_path).apply(KEY, OLD, NEW)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


KILLED = """
import sys
from strongroom import SecretRotation
from strongroom.rotation import CommandRotator
from strongroom_file import FileSecretProvider

folder = sys.argv[1]
with FileSecretProvider(f"{folder}/s.enc", key_file=f"{folder}/app.key") as provider:
    SecretRotation(provider, apply=CommandRotator(["./rotator"], folder=folder).apply).rotate("db", "NEW")
"""
LATE = """
new = json.load(sys.stdin)["new"]
if new == "NEW":
    open("begun", "w").close()
    while not os.path.exists("go"): time.sleep(0.001)
open("target", "w").write(new)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows the variables of programs")
def test_nobody_goes_on_while_the_program_of_a_killed_process_still_runs(tmp_path):
    """It would set its value after a rollback, and no version would hold that."""

    def wait(until):
        deadline = time.monotonic() + 300
        while not until():
            assert time.monotonic() < deadline
            time.sleep(0.001)

    rotator = CommandRotator(program(tmp_path, LATE), folder=tmp_path)
    with FileSecretProvider(tmp_path / "s.enc", key_file=tmp_path / "app.key") as provider:
        provider.set_secret("db", "OLD")
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)])
        wait((tmp_path / "begun").exists)
        process.kill()
        process.wait(300)
        rotation = SecretRotation(provider, apply=rotator.apply)
        with pytest.raises(ConflictError, match="is at its apply"):
            rotation.rollback("db")
        (tmp_path / "go").touch()

        def rolled_back():
            try:
                return rotation.rollback("db").state == "rolled_back"
            except ConflictError:
                return False

        wait(rolled_back)
        assert provider.get_secret("db") == (tmp_path / "target").read_text() == "OLD"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("sys.exit(3)", "ended with exit code 3"),
        ("os.kill(os.getpid(), 9)", "ended with signal 9"),
        ("sys.exit('no such role')", "exit code 1: no such role"),
        ("print(sys.stdin.read()); sys.exit(1)", "********"),
        ("print('x' * 1_000_000, 'the end'); sys.exit(1)", "x the end"),
        ("os.write(2, b'\\xff\\xfe'); sys.exit(1)", "exit code 1"),
    ],
)
def test_a_failure_tells_what_the_program_said(tmp_path, body, expected):
    rotator = CommandRotator(program(tmp_path, body), folder=tmp_path)
    with pytest.raises(RotationError) as caught:
        rotator.apply(KEY, OLD, NEW)
    assert expected in str(caught.value)
    shown = "".join(traceback.format_exception(caught.value))
    assert OLD not in shown
    assert NEW not in shown
    assert len(str(caught.value)) < 600
    assert caught.value.__context__ is None


def test_a_program_that_reads_nothing_is_fine(tmp_path):
    rotator = CommandRotator(program(tmp_path, "os.close(0)"), folder=tmp_path)
    rotator.apply(KEY, OLD, "x" * 1_000_000)


def test_a_program_that_is_not_there_is_told(tmp_path):
    with pytest.raises(RotationError, match="cannot be started: there is no such program"):
        CommandRotator(["./none"], folder=tmp_path).verify(KEY, NEW)
    (tmp_path / "plain").write_text("")
    with pytest.raises(RotationError, match="cannot be started: Permission denied"):
        CommandRotator(["./plain"], folder=tmp_path).verify(KEY, NEW)


def test_a_child_that_is_forked_meanwhile_does_not_keep_the_program_waiting(tmp_path, monkeypatch):
    """As a server's next worker: it would have the program's input open for as long as it lives."""
    communicate, children = subprocess.Popen.communicate, []
    release, done = os.pipe()

    def beside_a_fork(process, *given, **more):
        child = os.fork()
        if child == 0:
            os.close(done)
            os.read(release, 1)  # until the test ends
            os._exit(0)
        children.append(child)
        return communicate(process, *given, **more)

    monkeypatch.setattr(subprocess.Popen, "communicate", beside_a_fork)
    rotator = CommandRotator(program(tmp_path, "sys.stdin.read()"), folder=tmp_path)
    try:
        rotator.apply(KEY, OLD, NEW)
    finally:
        os.close(done)
        os.close(release)
        for child in children:
            os.waitpid(child, 0)


def gone(pid):
    """Tell whether a process has ended: reaped, or a zombie of whoever adopts orphans here."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_program_that_takes_too_long_is_ended_with_all_it_started(tmp_path):
    body = """
child = os.fork()
if child:
    open('pids', 'w').write(f'{os.getpid()} {child}')
time.sleep(600)
"""
    rotator = CommandRotator(program(tmp_path, body), folder=tmp_path, timeout_seconds=3)
    with pytest.raises(RotationError, match="took longer than 3 s"):
        rotator.apply(KEY, OLD, NEW)
    for pid in map(int, (tmp_path / "pids").read_text().split()):
        until = time.monotonic() + 60
        while not gone(pid) and time.monotonic() < until:
            time.sleep(0.01)  # a process that was killed has yet to run once more to end
        assert gone(pid)


def test_a_program_found_by_its_name_is_looked_up(tmp_path):
    CommandRotator(["true"], folder=tmp_path).verify(KEY, NEW)
    with pytest.raises(RotationError, match="false ended with exit code 1"):
        CommandRotator(["false"], folder=tmp_path).verify(KEY, NEW)


@pytest.mark.parametrize(
    "options", [{"command": []}, {"command": "true"}, {"command": ["x"], "timeout_seconds": 0}]
)
def test_what_is_no_command_is_refused(options):
    with pytest.raises(ConfigurationError):
        CommandRotator(**options)


def test_two_programs_apply_and_verify_a_rotation(tmp_path):
    memory = memory_with()
    apply = CommandRotator(
        program(tmp_path, "open('set', 'w').write(json.load(sys.stdin)['new'])"), folder=tmp_path
    )
    verify = CommandRotator(
        program(tmp_path, "sys.exit(json.load(sys.stdin)['new'] != open('set').read())", "verifier"),
        folder=tmp_path,
    )
    SecretRotation(memory, apply=apply.apply, verify=verify.verify).rotate(KEY)
    assert memory.get_secret(KEY) == (tmp_path / "set").read_text() != OLD


# --- generators ---


def test_every_generator_makes_another_value_each_time():
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    small = {"rsa": {"bits": 2048}}  # a pair of the usual size takes a second
    made = {
        kind: {generator_of(kind, **small.get(kind, {}))(KEY, OLD) for _ in range(2)} for kind in GENERATORS
    }
    assert all(len(values) == 2 for values in made.values())
    made["rsa"] = {generator_of("rsa")(KEY, OLD)}
    keys = {kind: load_pem_private_key(made[kind].pop().encode(), None) for kind in ("rsa", "ed25519")}
    assert isinstance(keys["rsa"], RSAPrivateKey)
    assert keys["rsa"].key_size == 3072
    assert isinstance(keys["ed25519"], Ed25519PrivateKey)
    assert len(bytes.fromhex(made["hex"].pop())) == 32


def test_generators_take_options():
    assert len(generator_of("password", length=40, require=["symbol"])(KEY, OLD)) == 40
    assert len(bytes.fromhex(generator_of("hex", count=16)(KEY, OLD))) == 16


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("passphrase", {}),
        ("hex", {"length": 5}),
        ("uuid", {"count": 16}),
        ("hex", {"count": 4}),
        ("rsa", {"bits": 1024}),
        ("password", {"length": 0}),
        ("ed25519", {"bits": 4096}),
    ],
)
def test_generators_refuse_what_they_do_not_know(kind, options):
    with pytest.raises(ConfigurationError):
        generator_of(kind, **options)
