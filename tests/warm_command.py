"""The `strongroom` command without the start of a Python: forked from a process that has imported it already.

`warm_command(folder)` starts that process and writes an executable `strongroom` into `folder`. Whoever runs it
gets a real process of their own, with their words, variables, folder and file descriptors, some 20 times faster.
It runs the command from a cold start, as users do, where that could differ: on a terminal, with a closed
descriptor, with a locale or variables of Python's own.

`run([command, …])` does as `subprocess.run` does, without the start of that executable: half the cost again.

Beside it is `warm-python`, for `warm-python -c CODE …`, and `-` for code from standard input: a Python that has imported core, file, memory and env
already. It is not for code that looks at what is imported, or at how that is done.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import marshal
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

CLIENT = """\
#!{python} -IS
import marshal, posix, sys
from _socket import AF_UNIX, SCM_RIGHTS, SOL_SOCKET, socket
def cold(variables):
    try:
        posix.stat({address!r})
        folder = posix.getcwd()
        for fd in (0, 1, 2):
            posix.fstat(fd)
            if posix.isatty(fd):
                return True
    except OSError:
        return True
    for name, text in variables.items():
        if name.startswith(b"PYTHON") and name != b"PYTHONUNBUFFERED":
            return True
        if name.startswith((b"LC_", b"LANG")) and not text.upper().endswith(b"UTF-8"):
            return True
    return False
if cold(posix.environ):
    posix.execv({python!r}, [{python!r}, *{cold!r}, *sys.argv[1:]])
asked = marshal.dumps(({program!r}, sys.argv[1:], posix.environ, posix.getcwd(), posix.umask(0)))
server = socket(AF_UNIX)
server.connect({address!r})
fds = b"".join(fd.to_bytes(4, sys.byteorder) for fd in (0, 1, 2))
server.sendmsg([len(asked).to_bytes(4, "big")], [(SOL_SOCKET, SCM_RIGHTS, fds)])
server.sendall(asked)
for fd in (0, 1, 2):
    posix.close(fd)
status = int.from_bytes(server.recv(4), "big", signed=True)
if status < 0:
    posix.kill(posix.getpid(), -status)
posix._exit(status)
"""

ADDRESS = "warm.socket"
SPEC = """\
version: 1
pipelines:
  a:
    provider: {type: file, file_path: s.enc, key_file: s.key}
    middleware: [{type: caching}, {type: validation}]
secrets: {A: {key: a, required: false}}
"""


@contextlib.contextmanager
def warm_command(folder: Path) -> Iterator[Path]:
    """Start the process, and yield the path of the executable in `folder`."""
    address = folder / ADDRESS
    with subprocess.Popen(
        [sys.executable, __file__, str(address)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        for program, cold in (("strongroom", ["-P", "-m", "strongroom"]), ("warm-python", [])):
            text = CLIENT.format(python=sys.executable, address=str(address), program=program, cold=cold)
            (folder / program).write_text(text)
            (folder / program).chmod(0o755)
        yield folder / "strongroom"
        server.stdin.close()  # tells it to end


def run(
    command: list[str],
    *,
    check: bool = False,
    input: str | bytes | None = None,  # noqa: A002 - as `subprocess.run` calls it
    text: bool = True,
    env: Mapping[str, str] | None = None,
    cwd: Path | str | None = None,
) -> subprocess.CompletedProcess[Any]:
    """Run a command that `warm_command` wrote, as `subprocess.run` with `capture_output` would."""
    variables = os.environ if env is None else env
    given = input.encode() if isinstance(input, str) else input or b""
    if _needs_a_cold_start(variables):
        done = subprocess.run(command, check=False, capture_output=True, input=given, env=variables, cwd=cwd)
        status, wrote = done.returncode, [done.stdout, done.stderr]
    else:
        status, wrote = _ask(command, given, variables, str(cwd or Path.cwd()))
    texts = [one.decode().replace("\r\n", "\n").replace("\r", "\n") if text else one for one in wrote]
    if check and status:
        raise subprocess.CalledProcessError(status, command, *texts)
    return subprocess.CompletedProcess(command, status, *texts)


def _needs_a_cold_start(variables: Mapping[str, str]) -> bool:
    return any(
        (name.startswith("PYTHON") and name != "PYTHONUNBUFFERED")
        or (name.startswith(("LC_", "LANG")) and not text.upper().endswith("UTF-8"))
        for name, text in variables.items()
    )


def _ask(
    command: list[str], given: bytes, variables: Mapping[str, str], folder: str
) -> tuple[int, list[bytes]]:
    """Let the warm process run `command`, and return its status and what it wrote to both of its streams."""
    program = Path(command[0])
    named = {os.fsencode(name): os.fsencode(text) for name, text in variables.items()}
    os.umask(mask := os.umask(0))
    asked = marshal.dumps((program.name, command[1:], named, folder, mask))
    (stdin, feed), (stdout, writes), (stderr, tells) = os.pipe(), os.pipe(), os.pipe()
    feeding = threading.Thread(target=_feed, args=(feed, given))
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(str(program.with_name(ADDRESS)))
        socket.send_fds(server, [len(asked).to_bytes(4, "big")], [stdin, writes, tells])
        server.sendall(asked)
        for fd in (stdin, writes, tells):
            os.close(fd)
        feeding.start()
        wrote = {stdout: b"", stderr: b""}
        is_open = set(wrote)
        while is_open:
            for fd in select.select(is_open, [], [])[0]:
                if piece := os.read(fd, 1 << 16):
                    wrote[fd] += piece
                else:
                    is_open.remove(fd)
                    os.close(fd)
        feeding.join()
        status = server.recv(4)
    assert len(status) == 4
    return int.from_bytes(status, "big", signed=True), list(wrote.values())


def _feed(fd: int, given: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), os.fdopen(fd, "wb") as stream:
        stream.write(given)


def _serve(address: str) -> None:
    """Fork a command for each that connects, until standard input ends."""
    _import_all()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        os.write(1, b"ready\n")
        commands: list[_Running] = []
        while True:
            readable, _, _ = select.select(
                [listener, 0, *(fd for one in commands for fd in one.fds())], [], []
            )
            if 0 in readable:
                return
            for one in [one for one in commands if one.attend(readable)]:
                commands.remove(one)
            if listener in readable:
                connection, _ = listener.accept()
                commands.append(_Running(connection))


class _Running:
    """A command that was forked, and the connection of whoever waits for its end."""

    def __init__(self, connection: socket.socket) -> None:
        head, fds, _, _ = socket.recv_fds(connection, 4, 3)
        length = int.from_bytes(head, "big")
        asked = b""
        while len(asked) < length:
            asked += connection.recv(length - len(asked))
        self._connection: socket.socket | None = connection
        self._child = os.fork()
        if not self._child:
            _become(fds, *marshal.loads(asked))
        for fd in fds:
            os.close(fd)
        self._end = os.pidfd_open(self._child)

    def fds(self) -> list[int]:
        """Return what is to be waited for."""
        return [self._end, *([self._connection.fileno()] if self._connection else [])]

    def attend(self, readable: list[Any]) -> bool:
        """Tell that it has ended, if so; end it where nobody waits for that any more."""
        if self._end in readable:
            _, status = os.waitpid(self._child, 0)
            os.close(self._end)
            if self._connection:
                code = os.waitstatus_to_exitcode(status).to_bytes(4, "big", signed=True)
                with contextlib.suppress(OSError), self._connection:
                    self._connection.sendall(code)
            return True
        if self._connection and self._connection.fileno() in readable:
            self._connection.close()
            self._connection = None
            os.kill(self._child, signal.SIGKILL)
        return False


def _become(
    fds: list[int], program: str, words: list[str], variables: dict[bytes, bytes], folder: str, mask: int
) -> NoReturn:
    """Make of this process what the command would be that was started with all this, and run it."""
    status: object = 0
    try:
        for number, fd in enumerate(fds):
            os.dup2(fd, number)
        os.closerange(3, 1024)
        os.environb.clear()
        os.environb.update(variables)
        os.chdir(folder)
        os.umask(mask)
        gc.enable()
        if program == "strongroom":
            _command(words)
        else:
            _code(words)
    except SystemExit as ended:
        status = ended.code
    except BaseException:  # as Python itself does at the end of a program
        sys.excepthook(*sys.exc_info())
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    # Clearing up would touch, and so copy, all the memory that is shared with the process of departure.
    os._exit(status if isinstance(status, int) else status is not None)


def _command(words: list[str]) -> None:
    sys.argv = ["strongroom", *words]
    from strongroom.cli import script

    script()


def _code(words: list[str]) -> None:
    assert words[0] in {"-c", "-"}
    code, name = (words.pop(1), "<string>") if words[0] == "-c" else (sys.stdin.read(), "<stdin>")
    sys.argv = words
    sys.path.insert(0, "")
    sys.modules["__main__"] = types.ModuleType("__main__")
    exec(compile(code, name, "exec"), vars(sys.modules["__main__"]))


def _import_all() -> None:
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]  # see conftest.py
    leave = ("strongroom.integrations", "strongroom.testing")
    for package in ("strongroom", "strongroom_file", "strongroom_memory", "strongroom_env"):
        paths = importlib.import_module(package).__path__
        for module in pkgutil.walk_packages(paths, f"{package}."):
            if not module.name.startswith(leave) and not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    _run_once()
    gc.collect()
    gc.freeze()
    gc.disable()


def _run_once() -> None:
    """Let the models be built, the plugins be found, and all that is imported late be imported."""
    from strongroom.cli import main

    here, variables = Path.cwd(), dict(os.environ)
    with (
        tempfile.TemporaryDirectory() as folder,
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
    ):
        os.environ["HOME"] = folder
        os.chdir(folder)
        try:
            Path("strongroom.yaml").write_text(SPEC)
            Path("strongroom.yaml").chmod(0o644)
            codes = [
                main(words) for words in (["set", "a", "--generate"], ["check"], ["get", "a"], ["plugins"])
            ]
        finally:
            os.chdir(here)
            os.environ.clear()
            os.environ.update(variables)
    assert not any(codes), codes


if __name__ == "__main__":
    _serve(sys.argv[1])
