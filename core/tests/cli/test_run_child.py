"""A program under `run` ends, and is signalled, as if it had been started directly."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import tty
from pathlib import Path

import pytest
from sampling import crossed
from strongroom.cli.child.relay import Relay
from strongroom.cli.child.running import run_child
from strongroom.cli.errors import UsageError
from strongroom.masking import Masker

VALUE = "hunter22-geheim"
DRIVER = """
import fcntl, os, sys, termios
if sys.argv[1] == "terminal":
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from strongroom.cli.child.running import run_child
from strongroom.cli.errors import UsageError
from strongroom.masking import Masker
masker = (lambda: Masker([os.environ["VALUE"]])) if sys.argv[2] == "masked" else None
try:
    code = run_child(sys.argv[3:], os.environ, masker).end()
except UsageError as error:
    print(error.message, file=sys.stderr)
    code = error.code
sys.exit(code)
"""
MANY = """
# Runs the driver in a fork for each command, on a terminal of its own or on pipes: one start of Python for all.
import json, os, pty, sys
import strongroom.cli.child.running, strongroom.masking
driver, *words = sys.argv[1:]
codes = {}
for name, command in json.load(sys.stdin).items():
    if words[0] == "terminal":
        pid, ours = pty.fork()
    else:
        given, never = os.pipe()
        ours, theirs = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.setsid()
            for target, source in enumerate((given, theirs, theirs)):
                os.dup2(source, target)
            os.closerange(3, 64)
        else:
            os.close(given)
            os.close(theirs)
    if pid == 0:
        sys.argv[1:] = [*words, *command]
        code = 99
        try:
            exec(driver)
        except SystemExit as ended:
            code = ended.code
        finally:
            sys.stdout.flush()
            os._exit(code)
    try:
        while os.read(ours, 4096):
            pass
    except OSError:  # the terminal's other side is closed
        pass
    codes[name] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(ours)
    if words[0] != "terminal":
        os.close(never)
print(json.dumps(codes))
"""
PATIENCE = 300  # seconds: a watchdog, which a machine that is busy with other things does not come near
READY = "echo ready; "
WAIT = f"{READY}read nothing"
PYTHON_COUNTS = """
import os, signal, sys
count = 0
def met(number, frame):
    global count
    count += 1
    print("met", signal.Signals(number).name, count, flush=True)
signal.signal(signal.SIGINT, met)
signal.signal(signal.SIGWINCH, met)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(count))
# Not `pause`, which would wait for another one where one came just before it.
read, write = os.pipe()
os.set_blocking(write, False)
signal.set_wakeup_fd(write)
print("ready", flush=True)
while True:
    os.read(read, 1)
"""


class Running:
    """A driver with a child, on pipes or on a terminal of its own; waits end by themselves."""

    def __init__(
        self, command, *, on_terminal=False, masked=True, cwd=None, wrap=(), environment=(), pass_fds=()
    ):
        self.master = None
        words = [sys.executable, "-c", DRIVER, "terminal" if on_terminal and not wrap else "pipes"]
        words = [*words, "masked" if masked else "bare", *command]
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        if on_terminal:
            self.master, slave = pty.openpty()
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
            streams = dict.fromkeys(streams, slave)
        self.process = subprocess.Popen(
            [*wrap, *words],
            env={**os.environ, "VALUE": VALUE, "PS1": "", **dict(environment)},
            start_new_session=True,
            cwd=cwd,
            pass_fds=pass_fds,
            **streams,
        )
        if on_terminal:
            os.close(slave)
        self.seen = b""
        self.source = self.master if on_terminal else self.process.stdout.fileno()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()  # it passes that on: a driver that was killed would leave its child behind
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.master is not None:
            os.close(self.master)
        else:
            self.process.stdout.close()
            self.process.stdin.close()

    def read(self):
        ready, _, _ = select.select([self.source], [], [], PATIENCE)
        assert ready, self.seen
        try:
            return os.read(self.source, 4096)
        except OSError:  # the terminal's other side is closed
            return b""

    def until(self, text):
        """Read until `text` comes and return what came before it."""
        while text not in self.seen:
            data = self.read()
            assert data, self.seen
            self.seen += data
        before, _, self.seen = self.seen.partition(text)
        return before

    def type(self, data):
        os.write(self.master if self.master is not None else self.process.stdin.fileno(), data)

    def end(self):
        """Read to the end and return the exit code and what was read."""
        while data := self.read():
            self.seen += data
        return self.process.wait(PATIENCE), self.seen


def sh(script):
    return ["sh", "-c", script]


MODES = {
    "masked": (False, True),
    "bare": (False, False),
    "terminal": (True, True),
    "bare-terminal": (True, False),
}


def in_mode(name):
    """Return what makes a `Running` run so."""
    on_terminal, masked = MODES[name]
    return {"on_terminal": on_terminal, "masked": masked}


@pytest.fixture(params=MODES)
def mode(request):
    return in_mode(request.param)


ENDS = {
    "success": (sh("exit 0"), 0),
    "failure": (sh("exit 1"), 1),
    "own code": (sh("exit 7"), 7),
    "highest code": (sh("exit 255"), 255),
    "code like a shell's": (sh("exit 127"), 127),
    "code like a signal's": (sh("exit 143"), 143),
    "killed by TERM": (sh("kill -TERM $$"), 143),
    "killed by KILL": (sh("kill -KILL $$"), 137),
    "killed by INT": (sh("kill -INT $$"), 130),
    "killed by HUP": (sh("kill -HUP $$"), 129),
    "killed by ABRT": (sh("ulimit -c 0; kill -ABRT $$"), 134),
    "killed by SEGV": (sh("ulimit -c 0; kill -SEGV $$"), 139),
    "killed by PIPE": (sh("kill -PIPE $$"), 141),
    "killed by USR1": (sh("kill -USR1 $$"), 138),
    "no such command": (["no-such-command-here"], 127),
    "no such path": (["./no-such-command-here"], 127),
    "a folder": (["/"], 126),
    "not executable": (["./data"], 126),
    "no interpreter": (["./lost"], 126),
    "script without a first line": (["./bare"], 5),
}


@pytest.mark.parametrize("way", MODES)
@pytest.mark.parametrize("one_in", [len(MODES), pytest.param(1, marks=pytest.mark.torture)])
def test_the_exit_code_is_the_childs(way, one_in, tmp_path):
    """In `make test` each way of running has its share of the ends, so that each end is met once."""
    mode = in_mode(way)
    ends = dict(list(ENDS.items())[list(MODES).index(way) % one_in :: one_in])
    for name, text, rights in (
        ("data", "x", 0o644),
        ("lost", "#!/no/such/interpreter\n", 0o755),
        ("bare", "exit 5\n", 0o755),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(rights)
    words = ["terminal" if mode["on_terminal"] else "pipes", "masked" if mode["masked"] else "bare"]
    ended = subprocess.run(
        [sys.executable, "-c", MANY, DRIVER, *words],
        input=json.dumps({case: command for case, (command, _) in ends.items()}),
        env={**os.environ, "VALUE": VALUE, "PS1": ""},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert json.loads(ended.stdout) == {case: expected for case, (_, expected) in ends.items()}


SENT = {
    "TERM": (WAIT, signal.SIGTERM, 143),
    "INT": (WAIT, signal.SIGINT, 130),
    "HUP": (WAIT, signal.SIGHUP, 129),
    "QUIT": (f"ulimit -c 0; {WAIT}", signal.SIGQUIT, 131),
    "USR1": (WAIT, signal.SIGUSR1, 138),
    "TERM, trapped": (f"trap 'exit 3' TERM; {WAIT}", signal.SIGTERM, 3),
    "INT, trapped": (f"trap 'exit 4' INT; {WAIT}", signal.SIGINT, 4),
    "USR2, trapped": (f"trap 'exit 5' USR2; {WAIT}", signal.SIGUSR2, 5),
    "HUP, trapped": (f"trap 'exit 6' HUP; {WAIT}", signal.SIGHUP, 6),
}


@pytest.mark.parametrize(("case", "name"), crossed(list(SENT), list(MODES)))
def test_signals_are_passed_on(case, name):
    script, number, expected = SENT[case]
    with Running(sh(script), **in_mode(name)) as running:
        running.until(b"ready")
        running.process.send_signal(number)
        assert running.end()[0] == expected


def test_a_signal_reaches_the_whole_group_of_a_child_without_a_terminal():
    inner = "trap 'echo inner; exit' TERM; echo ready; read nothing <&3"
    script = f"exec 3<&0; trap 'wait; exit 9' TERM; ({inner}) & wait"
    with Running(sh(script)) as running:
        running.until(b"ready")
        running.process.send_signal(signal.SIGTERM)
        code, seen = running.end()
        assert (code, b"inner" in seen) == (9, True)


@pytest.mark.parametrize("masked", [True, False])
def test_a_key_of_the_terminal_reaches_the_child_once(masked):
    with Running([sys.executable, "-c", PYTHON_COUNTS], on_terminal=True, masked=masked) as running:
        running.until(b"ready")
        running.type(b"\x03")
        running.until(b"met SIGINT 1")
        running.process.send_signal(signal.SIGTERM)
        assert running.end()[0] == 1


def test_the_childs_terminal_has_our_size_and_follows_it():
    script = "import os; print(os.get_terminal_size())\n" + PYTHON_COUNTS
    with Running([sys.executable, "-c", script], on_terminal=True) as running:
        running.until(b"columns=80, lines=24")
        running.until(b"ready")
        fcntl.ioctl(running.master, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 132, 0, 0))
        running.until(b"met SIGWINCH 1")
        running.process.send_signal(signal.SIGTERM)
        assert running.end()[0] == 1


def test_a_change_of_size_is_passed_on_without_a_terminal():
    with Running([sys.executable, "-c", PYTHON_COUNTS]) as running:
        running.until(b"ready")
        running.process.send_signal(signal.SIGWINCH)
        running.until(b"met SIGWINCH 1")
        running.process.send_signal(signal.SIGTERM)
        assert running.end()[0] == 1


@pytest.mark.parametrize("masked", [True, False])
def test_a_job_is_stopped_and_continued_by_its_shell(masked):
    """Ctrl-Z gives the terminal back to the shell, `fg` to the child, and `bg` lets it run without."""
    child = sh("echo ready; read line; echo got:$line; read line; echo got:$line")
    with Running(child, on_terminal=True, masked=masked, wrap=[sys.executable, "-c", SHELL]) as running:
        running.until(b"ready")
        running.type(b"\x1a")
        running.until(b"job stopped, echo on")
        running.type(b"\n")
        running.until(b"continued")
        running.type(b"hello\n")
        running.until(b"got:hello")
        running.type(b"\x1a")
        running.until(b"job stopped, echo on")
        running.type(b"\n")
        running.until(b"continued")
        running.type(b"again\n")
        running.until(b"got:again")
        running.until(b"job ended with 0")


# Ctrl-Z comes again as soon as a stop would be heeded, once: the child has stopped by the time that run goes on.
STOPS_AGAIN = """
import os, signal
from pathlib import Path
real = signal.signal
def install(number, handler):
    before = real(number, handler)
    if number == signal.SIGTSTP and handler == signal.SIG_DFL:
        stops.append(number)
    elif number == signal.SIGTSTP and len(stops) == 1:
        stops.append(number)
        os.killpg(0, number)
        for child in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split():
            status = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            while int(status[2]) == os.getpgrp() and status[0] not in "TZ" and os.getppid() == ours:
                status = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    return before
signal.signal, stops, ours = install, [], os.getppid()  # who waits ends with whoever started it
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the child in /proc")
def test_a_job_that_is_stopped_again_at_once_stops(monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "DRIVER", STOPS_AGAIN + DRIVER)
    child = sh("echo ready; read line; echo got:$line")
    with Running(child, on_terminal=True, masked=False, wrap=[sys.executable, "-c", SHELL]) as running:
        running.until(b"ready")
        running.type(b"\x1a")
        for _ in range(2):
            running.until(b"job stopped")
            running.type(b"\n")
            running.until(b"continued")
        running.type(b"hello\n")
        running.until(b"got:hello")
        running.until(b"job ended with 0")


STOPPED_FROM_OUTSIDE = {
    "stops": ("printf 'last hun'; kill -STOP $$; echo on; exit 4", b"stopped after 'last hun', ended with 4"),
    "goes on": ("echo goes on; exit 5", b"ended with 5"),
}


@pytest.mark.parametrize("case", STOPPED_FROM_OUTSIDE)
def test_asked_to_stop_it_does_as_the_child_does(case):
    trap, expected = STOPPED_FROM_OUTSIDE[case]
    with Running(sh(f'trap "{trap}" TSTP; {WAIT}'), wrap=[sys.executable, "-c", MANAGER]) as running:
        assert expected in running.end()[1]


def test_a_manager_that_stops_it_again_at_once_sees_it_stop(monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "DRIVER", STOPS_AGAIN + DRIVER)
    with Running(
        sh("echo ready; read line; echo got:$line"), wrap=[sys.executable, "-c", CONTINUES]
    ) as running:
        running.until(b"stopped\nstopped\n")
        running.type(b"hello\n")
        assert running.end()[1] == b"got:hello\nended with 0\n"


# What stops one process by a signal, and continues it as often as it stops.
CONTINUES = """
import os, signal, subprocess, sys
run = subprocess.Popen(sys.argv[1:], process_group=0, stdout=subprocess.PIPE, bufsize=0)
assert run.stdout.readline() == b"ready\\n"
run.send_signal(signal.SIGTSTP)
while os.WIFSTOPPED(status := os.waitpid(run.pid, os.WUNTRACED)[1]):
    print("stopped", flush=True)
    run.send_signal(signal.SIGCONT)
print(run.stdout.read().decode() + "ended with", os.waitstatus_to_exitcode(status), flush=True)
"""
# What stops and continues one process by signals, without a terminal.
MANAGER = """
import os, signal, subprocess, sys
run = subprocess.Popen(sys.argv[1:], process_group=0, stdout=subprocess.PIPE, bufsize=0)
assert run.stdout.readline() == b"ready\\n"
run.send_signal(signal.SIGTSTP)
_, status = os.waitpid(run.pid, os.WUNTRACED)
if os.WIFSTOPPED(status):
    print("stopped after", ascii(os.read(run.stdout.fileno(), 100).decode()), end=", ")
    run.send_signal(signal.SIGCONT)
    _, status = os.waitpid(run.pid, 0)
print("ended with", os.waitstatus_to_exitcode(status), flush=True)
"""
# What a shell does with one job.
SHELL = """
import fcntl, os, signal, subprocess, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
modes = termios.tcgetattr(0)
def states(group):
    told = subprocess.run(["ps", "-eo", "pgid=,stat="], check=True, capture_output=True, text=True).stdout
    return [line.split()[1][0] for line in told.splitlines() if int(line.split()[0]) == group]
def foreground():
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.tcsetpgrp(0, os.getpgrp())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
job = subprocess.Popen(sys.argv[1:], process_group=0, preexec_fn=foreground)
while True:
    _, status = os.waitpid(job.pid, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        break
    # A real shell would not wait for all of them, but then who gets the next key would be chance.
    while any(state not in "TZ" for state in states(job.pid)):
        pass
    os.tcsetpgrp(0, os.getpgrp())
    echo = bool(termios.tcgetattr(0)[3] & termios.ECHO)
    print("job stopped, echo", "on" if echo else "off", flush=True)
    input()
    print("continued", flush=True)
    os.tcsetpgrp(0, job.pid)
    os.killpg(job.pid, signal.SIGCONT)
os.tcsetpgrp(0, os.getpgrp())
print("job ended with", os.waitstatus_to_exitcode(status), flush=True)
"""


def test_what_a_child_prints_on_a_terminal_is_masked_there():
    with Running(sh('test -t 0 && test -t 1 && test -t 2 && echo "<$VALUE>"'), on_terminal=True) as running:
        assert running.end() == (0, b"<********>\r\n")


def test_what_is_piped_in_comes_in_and_streams_stay_apart(tmp_path):
    with Running(sh('cat; echo "$VALUE" >&2'), cwd=tmp_path) as running:
        running.process.stdin.write(b"from outside ")
        running.process.stdin.close()
        assert running.end() == (0, b"from outside ********\n")


def test_a_prompt_that_could_begin_a_value_is_shown_before_its_answer():
    with Running(sh(f"printf 'go {VALUE[:3]}'; read answer; echo $answer")) as running:
        running.until(b"go " + VALUE[:3].encode())
        running.type(b"yes\n")
        running.until(b"yes")


def test_four_characters_of_a_value_are_held_back_until_what_follows_decides():
    with Running(sh(f"printf 'go {VALUE[:4]}'; read answer; echo $answer")) as running:
        assert running.until(b"go ") + running.seen == b""
        running.type(b"yes\n")
        assert running.end() == (0, VALUE[:4].encode() + b"yes\n")


def test_what_outlives_the_child_is_not_waited_for():
    with Running(sh("(read never) <&- & read x & echo done; exit 3")) as running:
        assert running.end() == (3, b"done\n")


@pytest.mark.parametrize("on_terminal", [False, True])
def test_what_outlives_the_child_goes_on_and_what_it_prints_is_masked(on_terminal, tmp_path):
    os.mkfifo(tmp_path / "go")
    with Running(
        sh('(read go < go; echo "late $VALUE"; echo alive > done) & exit 3'),
        on_terminal=on_terminal,
        cwd=tmp_path,
    ) as running:
        assert running.process.wait(PATIENCE) == 3
        (tmp_path / "go").write_text("go\n")
        running.until(b"late ********")
        assert running.end()[0] == 3
    assert (tmp_path / "done").read_text() == "alive\n"


def test_what_goes_on_printing_ends_as_its_reader_does():
    """What it printed while the child ran is waited for: who does not read keeps `run` from its end."""
    reader, writer = os.pipe()
    with Running(sh("while :; do echo more; done & exit 3"), pass_fds=[writer]) as running:
        os.close(writer)
        while running.process.poll() is None:
            assert running.read()
        assert running.process.returncode == 3
        running.until(b"more\n")
    ready, _, _ = select.select([reader], [], [], PATIENCE)
    assert ready
    assert os.read(reader, 1) == b""
    os.close(reader)


@pytest.mark.parametrize("on_terminal", [False, True])
def test_all_that_the_child_printed_is_passed_on_to_a_slow_reader(on_terminal):
    script = "import os, sys; sys.stdout.write('x' * 63 + '\\n')\nfor i in range(5000): print('y' * 63)"
    with Running([sys.executable, "-c", script], on_terminal=on_terminal) as running:
        running.until(b"x" * 63)
        code, seen = running.end()
        assert (code, seen.count(b"y" * 63)) == (0, 5000)


def test_what_was_written_is_passed_on_however_long_it_takes(monkeypatch, tmp_path):
    monkeypatch.setattr("strongroom.cli.child.relay._CHUNK", 1000)
    reader, writer = os.pipe()
    with (tmp_path / "out").open("wb") as out:
        relay = Relay(reader, out.fileno(), lambda: Masker(["hunter22"]))
        os.write(writer, b"x" * 50_000 + b"hunter22")
        relay.drain()
        relay.release()
    os.close(writer)
    assert (tmp_path / "out").read_bytes() == b"x" * 50_000 + b"********"


def test_the_first_line_is_held_no_longer_than_others_while_the_masker_is_made(tmp_path, monkeypatch):
    """A prompt that ends as a value begins: it waited for the masker, and then as long as any other."""
    now = [100.0]
    monkeypatch.setattr("strongroom.cli.child.relay.time.monotonic", lambda: now[0])

    def make():
        now[0] += 0.025
        return Masker(["hunter22"])

    reader, writer = os.pipe()
    with (tmp_path / "out").open("wb") as out:
        relay = Relay(reader, out.fileno(), make)
        os.write(writer, b"password: hun")
        relay.forward()
        assert relay.wait_seconds() == pytest.approx(0.005)
        now[0] += 0.005
        relay.release_due()
        os.close(writer)
        relay.abandon()
    assert (tmp_path / "out").read_bytes() == b"password: hun"


def test_a_value_that_is_half_printed_when_the_secrets_change_is_masked_whole(tmp_path):
    reader, writer = os.pipe()
    values = ["the-former-value"]
    with (tmp_path / "out").open("wb") as out:
        relay = Relay(reader, out.fileno(), lambda: Masker(values))
        for part in (b"a: the-form", b"er-value, the-next", b"-value\n"):
            os.write(writer, part)
            relay.drain()
            values.append("the-next-value")
            relay.change_masker()
        os.close(writer)
        relay.drain()
    assert (tmp_path / "out").read_bytes() == b"a: ********, ********\n"


def test_all_that_a_terminal_holds_is_passed_on_though_it_counts_only_a_part(tmp_path):
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(slave, False)
    written = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            written += os.write(slave, b"x" * 1000)
    with (tmp_path / "out").open("wb") as out:
        relay = Relay(master, out.fileno(), lambda: Masker(["hunter22"]))
        relay.drain()
        relay.release()
        relay.abandon()
    os.close(slave)
    assert written > 5000
    assert (tmp_path / "out").stat().st_size == written


def test_a_reader_that_goes_away_ends_the_child_as_usual():
    script = "import sys\ntry:\n while True: print('x' * 4096)\nexcept BrokenPipeError: sys.exit(11)"
    command = [
        sys.executable,
        "-c",
        "import signal; signal.signal(signal.SIGPIPE, signal.SIG_IGN)\n" + script,
    ]
    with Running(command) as running:
        running.read()
        running.process.stdout.close()
        assert running.process.wait(PATIENCE) in {11, 120}  # 120: Python could not flush either


@pytest.mark.parametrize("stream", ["pipe", "terminal"])
def test_the_exit_code_of_a_program_on_another_thread_is_not_taken_away(stream, tmp_path):
    """As of one that a provider runs for a watch: its failure would be an empty value."""
    script = (
        "import os, sys, threading\n"
        "from strongroom.cli.child.running import run_child\n"
        "from strongroom.deadlines import Deadline\n"
        "from strongroom.masking import Masker\n"
        "from strongroom.providers.programs import run_program\n"
        "codes = []\n"
        "def work():\n"
        "    for _ in range(20):\n"
        "        codes.append(run_program(['false'], Deadline(60), provider='t').code)\n"
        "    open(sys.argv[2], 'w').close()\n"
        "threading.Thread(target=work).start()\n"
        "masker = (lambda: Masker(['correct horse'])) if sys.argv[1] == 'terminal' else None\n"
        "wait = 'until [ -e \"$0\" ]; do sleep 0.05; done'\n"
        "run_child(['sh', '-c', wait, sys.argv[2]], os.environ, masker)\n"
        "print(codes == [1] * 20 or codes)\n"
    )
    command = [sys.executable, "-c", script, stream, str(tmp_path / "over")]
    if stream == "pipe":
        done = subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)
        assert done.stdout == b"True\n"
        return
    pid, ours = pty.fork()
    if pid == 0:
        os.execv(command[0], command)
    said = b""
    with contextlib.suppress(OSError):  # the terminal's other side is closed
        while data := os.read(ours, 4096):
            said += data
    os.close(ours)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert said == b"True\r\n"


def test_orphans_are_reaped_where_nobody_else_does():
    """As process 1 of a container, which this process's adoption of orphans stands for."""
    adopt = (
        "import ctypes, os, sys\nctypes.CDLL(None).prctl(36, 1, 0, 0, 0)\nos.execv(sys.argv[1], sys.argv[1:])"
    )
    orphan = (
        "pid=$(sh -c 'true & echo $!')\n"
        "for i in $(seq 1000); do kill -0 $pid 2>/dev/null || { echo reaped; exit 0; }; sleep 0.01; done"
    )
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux lets a process adopt orphans")
    with Running(sh(orphan), wrap=[sys.executable, "-c", adopt]) as running:
        assert running.end() == (0, b"reaped\n")


def test_many_orphans_do_not_wait_for_one_another():
    """Where a provider may have programs of its own, each could be one of those: zombies would pile up."""
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux lets a process adopt orphans")
    orphans = (
        "pids=$(for i in $(seq 30); do sh -c 'true & echo $!'; done)\n"
        "for i in $(seq 1000); do kill -0 $pids 2>/dev/null || all=gone; for pid in $pids; do\n"
        " kill -0 $pid 2>/dev/null && all=; done; [ $all ] && { echo reaped; exit 0; }; sleep 0.01; done"
    )
    script = (
        "import ctypes, os, subprocess, sys\n"
        "ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)\n"
        "from strongroom.cli.child.running import run_child\n"
        "run_child(['sh', '-c', sys.argv[1]], os.environ, None)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, orphans], check=True, capture_output=True, timeout=PATIENCE
    )
    assert done.stdout == b"reaped\n"


def test_it_is_process_1_of_a_container():
    if not sys.platform.startswith("linux"):
        pytest.skip("process 1 is made by Linux's name spaces")
    wrap = ["unshare", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*wrap, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine does not let us make a name space")
    with Running(sh(f"trap 'exit 3' TERM; echo parent:$PPID; {WAIT}"), wrap=wrap) as running:
        running.until(b"parent:1\n")
        running.until(b"ready")
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(running.process.pid)], check=True, capture_output=True
        ).stdout
        os.kill(int(children), signal.SIGTERM)
        assert running.end()[0] == 3


GUARDED = """
import os, signal, subprocess, sys
from strongroom.cli.child.guard import Guard
fork = os.fork
def hung_up_at_once():
    pid = fork()
    if pid == 0:
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
    return pid
os.fork = hung_up_at_once
with Guard() as guard:
    program = subprocess.Popen(["sleep", "1000"], pass_fds=[int(sys.argv[1])], start_new_session=True)
    assert os.getpgid(guard._process) == guard._process
    guard.watch(program.pid, group=False)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_guard_that_gets_the_jobs_signals_before_it_runs_still_kills_the_program():
    reader, writer = os.pipe()
    subprocess.run([sys.executable, "-c", GUARDED, str(writer)], pass_fds=[writer], check=False)
    os.close(writer)
    ready, _, _ = select.select([reader], [], [], PATIENCE)
    assert ready
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_a_killed_run_takes_its_program_along(mode):
    """Whoever of them lived on would keep the pipe open."""
    reader, writer = os.pipe()
    script = "trap '' TERM HUP INT; (trap '' TERM HUP INT; sleep 1000) & echo ready; wait"
    if mode == {"on_terminal": True, "masked": False}:
        script = "trap '' TERM HUP INT; echo ready; exec sleep 1000"  # one job: its group is ours
    with Running(sh(script), pass_fds=[writer], **mode) as running:
        os.close(writer)
        running.until(b"ready")
        running.process.kill()
        ready, _, _ = select.select([reader], [], [], PATIENCE)
        assert ready
        assert os.read(reader, 1) == b""
    os.close(reader)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds its parent's parent in /proc")
def test_a_program_that_kills_run_at_once_ends_with_it():
    """Whoever leads its session may not know by then that it has started it."""
    script = "trap '' TERM HUP INT; read -r _ _ _ run _ < /proc/$PPID/stat; kill -KILL $run; exec sleep 1000"
    for _ in range(5):
        reader, writer = os.pipe()
        with Running(sh(script), pass_fds=[writer], on_terminal=True) as running:
            os.close(writer)
            running.process.wait(PATIENCE)
            ready, _, _ = select.select([reader], [], [], PATIENCE)
            assert ready
            assert os.read(reader, 1) == b""
        os.close(reader)


def test_what_is_too_large_for_an_environment_is_named():
    with pytest.raises(UsageError, match="BIG has 140000 bytes") as caught:
        run_child(["true"], {**os.environ, "BIG": "x" * 140_000}, None)
    assert caught.value.code == 126
    assert "as_file" in caught.value.hint
    if sys.platform == "linux":
        assert f"allows a variable {32 * os.sysconf('SC_PAGE_SIZE')} bytes" in caught.value.message


def test_the_longest_variable_that_the_system_allows_is_passed_on():
    longest = 32 * os.sysconf("SC_PAGE_SIZE") - len("BIG=\0")
    assert run_child(["true"], {**os.environ, "BIG": "x" * longest}, None).code == 0
    with pytest.raises(UsageError, match=f"BIG has {longest + 1} bytes"):
        run_child(["true"], {**os.environ, "BIG": "x" * (longest + 1)}, None)


def test_what_is_too_large_only_together_is_named_with_the_limit():
    many = {f"MANY_{number}": "x" * 100_000 for number in range(90)} | {"MOST": "x" * 110_000}
    with pytest.raises(UsageError, match=r"larger together than the system allows \(\d+ bytes\)") as caught:
        run_child(["true"], {**os.environ, **many}, None)
    assert "the largest is MOST, 110000 bytes" in caught.value.message
    assert "as_file" in caught.value.hint


def test_what_a_full_disk_does_not_hold_is_told():
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", DRIVER, "pipes", "masked", "sh", "-c", "echo much; exit 0"],
            env={**os.environ, "VALUE": VALUE},
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
        )
    assert (done.returncode, done.stderr) == (
        1,
        b"not everything that sh printed could be written: No space left on device\n",
    )


def test_what_we_ignore_the_child_ignores():
    command = [
        "sh",
        "-c",
        f"trap '' HUP; exec {sys.executable} -c \"$0\" pipes masked sh -c '{WAIT}'",
        DRIVER,
    ]
    with subprocess.Popen(
        command, env={**os.environ, "VALUE": VALUE}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGHUP)
        process.stdin.write(b"still here\n")
        process.stdin.flush()
        assert process.wait(PATIENCE) == 0


def test_output_split_at_every_point_is_masked():
    """The child writes one byte at a time, and cannot be outrun."""
    script = (
        "import os, sys\nfor byte in ('<' + os.environ['VALUE'] + '>').encode(): os.write(1, bytes([byte]))"
    )
    with Running([sys.executable, "-c", script]) as running:
        assert running.end() == (0, b"<********>")


def test_the_masker_is_made_while_a_child_is_quiet(tmp_path, capfdbinary):
    """The child prints only once it is: its first line does not wait for the masker."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    made = []

    def make():
        if not made:
            made.append(Masker([VALUE]))
            pipe.write_text(VALUE)
        return made[0]

    assert run_child(["cat", str(pipe)], dict(os.environ), make).code == 0
    assert VALUE.encode() not in capfdbinary.readouterr().out


LATE = """
import os, signal, sys
from strongroom.cli.child.signals import keyboard_signals_apart
told = []
sys.setswitchinterval(1000)  # no other thread has a turn but where we wait for one
with keyboard_signals_apart(frozenset({signal.SIGINT}), told.append, told.append):
    os.kill(os.getpid(), signal.SIGINT)
print(*map(int, told))
"""


def test_a_signal_that_comes_just_before_the_end_is_known_by_then():
    """A script goes by whether `run` died of it, and a program may die of it before our thread has a turn."""
    ended = subprocess.run([sys.executable, "-c", LATE], check=True, capture_output=True, timeout=300)
    assert ended.stdout.split() == [b"2"]
