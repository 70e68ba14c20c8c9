"""Many processes write one log, and are killed in the middle of a line: it stays whole, and no answer is without its record.

`make test` does a fraction of it, `make torture` the whole: 8 writers x 10,000 events, 200 kills.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import textwrap

import pytest
from strongroom import verify_audit_log

# Reads keys of its own name and says each after the answer has come. `die` lets it write only a part of a line
# and kill itself there; `stop` kills it between the line and its head.
WRITER = textwrap.dedent("""
    import os, random, signal, sys, time
    from strongroom import AuditLoggingHook, SecretProviderRegistry

    path, name, count, fate, at = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5])

    class Answers:
        def get_secret(self, key): return "value"
        def set_secret(self, key, value): pass
        def delete_secret(self, key): pass
        def list_secrets(self, prefix=""): return []

    registry = SecretProviderRegistry({"version": 1, "pipelines": {"app": {"provider": {"type": "memory"}}}})
    registry.register("answers", Answers(), prefix=f"{name}/")
    hook = AuditLoggingHook(path=path)
    registry.add_hook(hook)
    write, pwrite, written = os.write, os.pwrite, 0

    def dying_write(descriptor, data):
        global written
        if descriptor == hook._files[0]._log_fd:
            written += 1
            if written == at:
                write(descriptor, data[: random.Random(at).randrange(len(data))])
                os.kill(os.getpid(), signal.SIGKILL)
        return write(descriptor, data)

    def dying_pwrite(descriptor, data, offset):
        global written
        written += 1
        if written == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return pwrite(descriptor, data, offset)

    if fate == "die":
        os.write = dying_write
    if fate == "stop":
        os.pwrite = dying_pwrite
    for number in range(count):
        if number % 10 == 9:
            registry.set_secret(f"{name}/{number}", "value")
        else:
            registry.get_secret(f"{name}/{number}")
        write(1, f"{name}/{number}\\n".encode())
""")


@pytest.fixture
def start(warm_python):
    """Return a function that starts a writer."""

    def begin(path, name, count, fate="live", at=0):
        words = ["-c", WRITER, str(path), name, str(count), fate, str(at)]
        return subprocess.Popen([warm_python, *words], stdout=subprocess.PIPE)

    return begin


def whole(path, answered):
    """Check the log: every line parses, the chain holds, each answer has its record; return the entries."""
    report = verify_audit_log(path)
    assert (report.ok, report.anchored) == (True, True), report
    entries = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [one["seq"] for one in entries] == list(range(1, len(entries) + 1))
    recorded = {one["key"] for one in entries if one["outcome"] == "ok"}
    assert answered <= recorded
    return entries


def together(start, path, writers, count):
    running = [start(path, f"w{at}", count) for at in range(writers)]
    answered = {line for one in running for line in one.communicate()[0].decode().split()}
    assert [one.returncode for one in running] == [0] * writers
    entries = whole(path, answered)
    assert len(entries) == len(answered) == writers * count
    assert len({one["pid"] for one in entries}) == writers


def killed(start, path, kills, count, writers=2):
    """Start writers that live beside writers that die, until `kills` of them have."""
    rng = random.Random(kills)
    answered, dead = set(), 0
    while dead < kills:
        fates = [rng.choice(["die", "die", "stop"]) for _ in range(min(writers, kills - dead))]
        running = [
            start(path, f"d{dead + at}", count, fate, rng.randrange(1, count))
            for at, fate in enumerate(fates)
        ]
        running.append(start(path, f"l{dead}", count))
        for one in running:
            answered |= set(one.communicate()[0].decode().split())
        assert [one.returncode for one in running[:-1]] == [-signal.SIGKILL] * len(fates)
        assert running[-1].returncode == 0
        dead += len(fates)
    last = start(path, "last", 1)
    answered |= set(last.communicate()[0].decode().split())
    entries = whole(path, answered)
    cut = [one for one in entries if one["operation"] == "note"]
    assert {one["note"]["what"] for one in cut} <= {"cut short"}
    assert cut, "no line was cut short: the test does not test what it says"


def test_several_writers_make_one_chain(start, tmp_path):
    together(start, tmp_path / "audit.jsonl", 4, 250)


def test_writers_that_are_killed_in_mid_write_leave_a_whole_log(start, tmp_path):
    killed(start, tmp_path / "audit.jsonl", 6, 40, writers=3)


def test_a_writer_that_is_killed_at_any_moment_leaves_a_whole_log(start, tmp_path):
    at_any_moment(start, tmp_path / "audit.jsonl", 3)


def at_any_moment(start, path, kills):
    rng = random.Random(kills)
    answered = set()
    for at in range(kills):
        with start(path, f"k{at}", 1_000_000) as running:
            for _ in range(rng.randrange(1, 400)):
                answered.add(running.stdout.readline().decode().strip())
            running.kill()
            # What it had said and nobody had read yet was answered as well; a last line may be half said.
            answered |= {line.decode() for line in running.stdout.read().split(b"\n")[:-1] if line}
        report = verify_audit_log(path)
        assert report.ok, report
    with start(path, "last", 1) as last:
        answered |= set(last.communicate()[0].decode().split())
    whole(path, answered - {""})


@pytest.mark.torture
def test_eight_writers_of_ten_thousand_events(start, tmp_path):
    together(start, tmp_path / "audit.jsonl", 8, 10_000)


@pytest.mark.torture
def test_two_hundred_kills_in_mid_write(start, tmp_path):
    killed(start, tmp_path / "audit.jsonl", 150, 200, writers=5)
    at_any_moment(start, tmp_path / "other.jsonl", 50)
