"""`run` in a shell: what is seen, and what the shell does then, are the same as without `run`.

Each situation is a few words to a real shell on a terminal and what a person types there. It is gone through
with the program alone and under `run`; the marks `<…>` that its programs print, and the shell's exit code, must
be the same. `make test` goes through some with dash and bash, `make torture` through all with zsh and fish too.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import sys
import termios
from typing import NamedTuple

import pytest

RUN = """\
#!{python}
import os, sys
sys.path[:0] = {path!r}
from strongroom.cli.standard_streams import fill_closed
fill_closed()
from strongroom.cli.child.running import run_child
from strongroom.cli.errors import UsageError
from strongroom.masking import Masker
# The last character of each mark could begin the second value, so that it is held back for a moment.
masker = (lambda: Masker(["hunter22-geheim", ">hunter22-geheim"])) if {masked} else None
try:
    code = run_child(sys.argv[1:], os.environ, masker).end()
except UsageError as error:
    os.write(2, error.message.encode() + b"\\n")
    code = error.code
os._exit(code)
"""
PROGRAMS = {
    # A mark, which cannot be mistaken for the words that are typed.
    "say": 'echo "<$*>"',
    "hang": 'echo "<ready>"; exec sleep 100',
    "lines": 'echo "<ready>"; while read x; do echo "<got $x>"; done; echo "<end>"',
    "asks": 'read x < /dev/tty; echo "<got $x>"',
    "hidden": 'stty -echo < /dev/tty; echo "<ready>"; read x < /dev/tty; stty echo < /dev/tty; echo "<got ${#x}>"',
    "stops": 'printf "<ready>"; kill -STOP $$; echo "<on>"',
    "stops_twice": 'printf "<out>"; printf "<err>" >&2; kill -STOP $$; echo "<on>"',
    "size": 'echo "<ready>"; read x; echo "<$(stty size)>"',
    "signals": (
        "for s in INT QUIT HUP TERM USR1; do trap \"echo '<met $s>'; exit 5\" $s; done\n"
        'echo "<ready>"; while :; do sleep 0.05; done'
    ),
    "forks": '(read go < go; echo x; echo "<late>" > late) & exit 3',
    "keys": 'stty -icanon -echo min 1 < /dev/tty; echo "<ready>"; k=$(dd bs=1 count=1 2>/dev/null < /dev/tty); '
    'stty icanon echo < /dev/tty; echo "<key $k>"',
    "repl": 'trap "" INT; echo "<ready>"; stty -icanon; read x; stty icanon; echo "<got $x>"',
}
PYTHON = {
    # python3's own handlers take the place of what it inherits, as those of servers do.
    "handles": (
        "import os, signal, sys\n"
        "def met(number, frame):\n"
        "    os.write(1, f'<met {signal.Signals(number).name}>\\n'.encode())\n"
        "    os._exit(5)\n"
        "for name in sys.argv[1:]: signal.signal(getattr(signal, name), met)\n"
        "read, write = os.pipe()\n"
        "os.set_blocking(write, False)\n"
        "signal.set_wakeup_fd(write)\n"
        "os.write(1, b'<ready>\\n')\n"
        "open('up', 'w').close()\n"
        "while True: os.read(read, 1)\n"
    ),
    "graceful": (
        "import os, signal\n"
        "def met(number, frame): print('<met>', flush=True); raise SystemExit(0)\n"
        "signal.signal(signal.SIGINT, met)\n"
        "read, write = os.pipe()\n"
        "os.set_blocking(write, False)\n"
        "signal.set_wakeup_fd(write)\n"
        "print('<ready>', flush=True)\n"
        "while True: os.read(read, 1)\n"
    ),
    "tidies": (
        # As vim and less do: it tidies up, here for as long as nobody types, and stops only then.
        "import os, signal\n"
        "def met(number, frame):\n"
        "    print('<met>', flush=True)\n"
        "    print(f'<got {input()}>', flush=True)\n"
        "    signal.signal(number, signal.SIG_DFL)\n"
        "    os.kill(os.getpid(), number)\n"
        "signal.signal(signal.SIGTSTP, met)\n"
        "read, write = os.pipe()\n"
        "os.set_blocking(write, False)\n"
        "signal.set_wakeup_fd(write)\n"
        "print('<ready>', flush=True)\n"
        "os.read(read, 1)\n"
        "print('<on>', flush=True)\n"
    ),
    # Python calls a handler between two steps: a signal just before `input` waits would wait with it.
    "stubborn": (
        "import os, select, signal\n"
        "signal.signal(signal.SIGINT, lambda *_: print('<met>', flush=True))\n"
        "woken, wake = os.pipe()\n"
        "os.set_blocking(wake, False)\n"
        "signal.set_wakeup_fd(wake)\n"
        "print('<ready>', flush=True)\n"
        "select.select([woken], [], [])\n"
        "print(f'<got {input()}>')\n"
    ),
    "loop": (
        "import subprocess, sys\n"
        "for _ in range(3):\n"
        "    try: subprocess.run(sys.argv[1:])\n"
        "    except KeyboardInterrupt: sys.exit(9)\n"
    ),
    "getpass_": "import getpass; print('<%d>' % len(getpass.getpass('<pw> ')))",
}


class Situation(NamedTuple):
    """What a shell is given, and what is done then: `…` waits for a mark, anything else is typed."""

    script: str
    steps: tuple[str, ...] = ()
    shells: str = "dash bash zsh fish"
    interactive: bool = False
    often: bool = False
    bare: bool = True
    """Whether it is the same with `--no-mask`."""


C, Z, Q = "\x03", "\x1a", "\x1c"
SITUATIONS = {
    # Ctrl-C and the script around
    "the script ends with the program": Situation("R hang; say second", ("…ready", C), often=True),
    "a loop ends": Situation("while true; do R hang; done", ("…ready", C), "dash bash zsh", often=True),
    "of a program that ends by itself": Situation("R graceful; say second", ("…ready", C), "dash bash"),
    "a program that goes on": Situation(
        "R stubborn; say second", ("…ready", C, "…met", "on\n"), "dash bash fish"
    ),
    "Ctrl-backslash": Situation("ulimit -c 0; R hang; say second", ("…ready", Q), "dash bash zsh"),
    "a pipe behind": Situation("R hang | cat; say second", ("…ready", C), "dash bash zsh"),
    "find -exec": Situation("find go say -exec R hang \\;; say second", ("…ready", C), "dash bash"),
    "a loop in Python": Situation("loop R hang; say $?", ("…ready", C), "dash bash zsh"),
    "an inner shell": Situation("R sh -c 'hang; say inner'; say second", ("…ready", C), "dash bash zsh"),
    "a program that reads keys": Situation("R repl; say second", ("…ready", C, "x\n"), "bash"),
    "of the program alone": Situation("R sh -c 'kill -INT $$'; say $?", (), "dash bash zsh"),
    "and the code": Situation("R hang", ("…ready", C), often=True),
    # standard input that is not the terminal
    "a pipe and a question": Situation(
        "echo data | R asks; say $?", ("type me\n",), "dash bash zsh", often=True
    ),
    "a pipe and a password": Situation(
        "echo data | R hidden; say $?", ("…ready", "secret\n"), "dash bash zsh"
    ),
    "a pipe and keys": Situation("seq 9 | R keys; say $?", ("…ready", "q"), "dash bash zsh", often=True),
    "no input and a question": Situation("R asks </dev/null; say $?", ("me\n",), "dash bash zsh"),
    "no input and getpass": Situation("R getpass_ </dev/null; say $?", ("…pw", "secret\n"), "dash bash zsh"),
    "xargs": Situation("echo x | xargs R asks; say $?", ("me\n",), "dash bash zsh"),
    "keys for the left": Situation(
        "lines | R cat; say $?", ("…ready", "one\n", "…got one", "\x04"), "dash bash zsh", often=True
    ),
    "the pipe's text": Situation("seq 3 | R lines; say $?", (), "dash bash zsh"),
    # jobs
    "stop and go on": Situation(
        "R lines",
        ("…ready", "a\n", "…got a", Z, "!stopped", "fg\n", "b\n", "…got b", "\x04", "…end"),
        "bash zsh fish",
        interactive=True,
        often=True,
    ),
    "started in the background": Situation(
        "R lines &",
        ("!stopped", "fg\n", "b\n", "…got b", "\x04", "…end"),
        "bash zsh",
        interactive=True,
        often=True,
    ),
    "stopped, bg, fg": Situation(
        "R lines",
        ("…ready", Z, "!stopped", "bg\n", "!stopped", "fg\n", "b\n", "…got b", "\x04", "…end"),
        "bash zsh",
        interactive=True,
    ),
    "stops when it has tidied up": Situation(
        "R tidies",
        ("…ready", Z, "…met", "x\n", "…got x", "!stopped", "fg\n", "…on"),
        "bash zsh",
        interactive=True,
    ),
    "stops itself by the terminal's signal": Situation(
        "R sh -c 'say ready; kill -TSTP $$; say on'",
        ("…ready", "!stopped", "fg\n", "…on"),
        "bash zsh",
        interactive=True,
    ),
    "stops itself": Situation(
        "R stops", ("…ready", "!stopped", "fg\n", "…on"), "bash zsh fish", interactive=True, often=True
    ),
    "stops itself, with both streams in files": Situation(
        "R stops_twice > out 2> err",
        ("!stopped", "cat out err\n", "…out", "…err", "fg\n", "!prompt", "!prompt", "cat out\n", "…on"),
        "bash zsh",
        interactive=True,
    ),
    "stops itself, with one stream in a file": Situation(
        "R stops_twice > out",
        ("…err", "!stopped", "cat out\n", "…out", "fg\n", "!prompt", "!prompt", "cat out\n", "…on"),
        "bash zsh",
        interactive=True,
    ),
    "another size meanwhile": Situation(
        "R size",
        ("…ready", Z, "!stopped", "#20x70", "fg\n", "x\n", "…20 70"),
        "bash zsh",
        interactive=True,
        often=True,
    ),
    "another size": Situation("R size", ("…ready", "#20x70", "x\n"), "dash"),
    "Ctrl-C at the prompt": Situation(
        "R hang", ("…ready", C, "!prompt", "say st\n", "…st"), "bash zsh", interactive=True
    ),
    # signals that were ignored at the start
    "INT in the background": Situation(
        "R handles SIGINT & p=$!; while ! test -e up; do :; done; kill -INT $p; wait $p; say $?",
        (),
        "dash bash",
        often=True,
    ),
    "QUIT in the background": Situation(
        "R handles SIGQUIT & p=$!; while ! test -e up; do :; done; kill -QUIT $p; wait $p; say $?",
        (),
        "dash bash",
    ),
    "HUP under nohup": Situation(
        "nohup R handles SIGHUP >out & p=$!; while ! test -e up; do :; done; kill -HUP $p; wait $p; say $?; cat out",
        (),
        "dash bash",
    ),
    "HUP that stays ignored": Situation(
        "trap '' HUP; R sh -c 'kill -HUP $$; say alive'; say $?", (), "dash bash"
    ),
    "CHLD that is ignored": Situation("trap '' CHLD; R sh -c 'say in; exit 4'", (), "bash zsh"),
    # standard output
    "closed output": Situation("R sh -c 'exit 3' >&-; say $?", (), "dash bash", often=True),
    "closed output that is used": Situation("R sh -c 'echo x 2>&- || exit 4' >&-; say $?", (), "dash bash"),
    "closed input": Situation("R lines <&-; say $?", (), "dash bash"),
    "closed errors": Situation("R sh -c 'echo x >&2; say out; exit 6' 2>&-; say $?", (), "dash bash"),
    "a reader that is gone": Situation("R yes | head -n 1 > first; say $?; cat first", (), "dash bash zsh"),
    "both streams in one file": Situation(
        "R sh -c 'echo a; echo b >&2; echo c' >both 2>&1; cat both; say done"
    ),
    # processes that outlive the program
    "outlives it": Situation(
        "R forks > out; say $?; echo go > go; while ! test -s late; do :; done; cat late",
        (),
        "dash bash",
        often=True,
    ),
    "outlives it on the terminal": Situation(
        "R forks; say $?; echo go > go; while ! test -s late; do :; done; cat late", (), "dash bash"
    ),
    # large ones
    "a large environment": Situation(
        "X=$(printf %0100000d 7); export X; R sh -c 'say ${#X}'", (), "dash bash zsh"
    ),
}
FORMS = ("masked", "bare")


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """A folder of programs for a PATH; `masked` is `run`, `bare` is `run --no-mask`, `R` nothing at all."""
    folder = tmp_path_factory.mktemp("programs")
    texts = {name: f"#!/bin/sh\n{text}\n" for name, text in PROGRAMS.items()}
    texts |= {name: f"#!{sys.executable} -S\n{text}\n" for name, text in PYTHON.items()}
    texts |= {name: RUN.format(python=sys.executable, path=[], masked=name == "masked") for name in FORMS}
    texts["R"] = '#!/bin/sh\nexec "$@"\n'
    for name, text in texts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


SHELLS = {
    "dash": (["dash", "-c"], ["dash", "-i"]),
    "bash": (["bash", "--norc", "-c"], ["bash", "--norc", "--noediting", "-b", "-i"]),
    "zsh": (["zsh", "-f", "-c"], ["zsh", "-f", "-i", "+Z"]),
    "fish": (["fish", "-N", "-c"], ["fish", "-N", "-i", "-C", "function fish_prompt; printf '@@ '; end"]),
}
MARK = re.compile(rb"<([a-zA-Z0-9 ]+)>")
STOPPED = re.compile(rb"topped|uspended")


class Terminal:
    """A shell on a terminal of its own, in which `situation` is gone through with `form` before the program."""

    def __init__(self, shell, situation, form, programs, folder):
        folder.mkdir()
        os.mkfifo(folder / "go")
        (folder / "say").write_text("")
        script = re.sub(r"\bR ", f"{form} " if form else "", situation.script)
        words = [*SHELLS[shell][situation.interactive], *([] if situation.interactive else [script])]
        environment = {
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PS1": "@@ ",
            "TERM": "dumb",
            "HOME": str(folder),
            "PYTHONPATH": "",
            "ENV": "",
        }
        self.seen, self.at = b"", 0
        self.pid, self.master = pty.fork()
        if self.pid == 0:  # pragma: no cover  # another process
            with contextlib.suppress(OSError):
                os.chdir(folder)
                for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM, signal.SIGPIPE):
                    signal.signal(number, signal.SIG_DFL)
                os.execvpe(words[0], words, environment)
            os._exit(99)
        self.resize(24, 80)
        steps = situation.steps
        if situation.interactive:
            steps = ("!prompt", f"{script}\n", *steps, "!prompt", "say over\n", "…over", "!prompt", "exit\n")
        self.status = None
        try:
            for step in steps:
                self.do(step)
            self.end()
        finally:
            if self.status is None:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
            os.close(self.master)

    def do(self, step):
        if step.startswith("…"):
            self.until(re.compile(re.escape(f"<{step[1:]}>".encode())))
        elif step == "!stopped":
            self.until(STOPPED)
        elif step == "!prompt":
            self.until(re.compile(b"@@ "))
        elif step.startswith("#"):
            self.resize(*map(int, step[1:].split("x")))
        else:
            os.write(self.master, step.encode())

    def until(self, wanted):
        while (found := wanted.search(self.seen, self.at)) is None:
            assert self.read(), self.seen
        self.at = found.end()

    def read(self):
        ready, _, _ = select.select([self.master], [], [], 120)
        assert ready, self.seen
        try:
            data = os.read(self.master, 4096)
        except OSError:  # the other side is closed
            return False
        self.seen += data
        return bool(data)

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def end(self):
        while self.read():
            pass
        self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    @property
    def screen(self):
        return [mark.decode() for mark in MARK.findall(self.seen)], self.status


def cases(*, often):
    for name, one in SITUATIONS.items():
        shells = one.shells.split()
        if often and one.often:
            # Each in one shell, and one form of `run`: which one its name decides.
            plain = [shell for shell in shells if shell in {"dash", "bash"}]
            yield pytest.param(name, plain[len(name) % len(plain)], "masked", id=f"{name}")
        elif not often:
            yield from (
                pytest.param(name, shell, form, id=f"{name}-{shell}-{form}")
                for shell in shells
                for form in FORMS
            )


def go_through(name, shell, form, programs, folder):
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    situation = SITUATIONS[name]
    plain = Terminal(shell, situation, "", programs, folder / "plain").screen
    assert plain[0] or plain[1], "this situation tells nothing"
    assert Terminal(shell, situation, form, programs, folder / "run").screen == plain


@pytest.mark.parametrize(("name", "shell", "form"), list(cases(often=True)))
def test_it_is_as_without_run(name, shell, form, programs, tmp_path):
    go_through(name, shell, form, programs, tmp_path)


@pytest.mark.torture
@pytest.mark.parametrize(("name", "shell", "form"), list(cases(often=False)))
def test_all_situations_are_as_without_run(name, shell, form, programs, tmp_path):
    go_through(name, shell, form, programs, tmp_path)


def test_the_table_has_forty_situations():
    assert len(SITUATIONS) >= 40
