"""The `strongroom` command without the start of a Python: forked from a process that has imported it already.

`warm_command(folder)` starts that process and writes an executable `strongroom` into `folder`. Whoever runs it
gets a real process of their own, with their words, variables, folder and file descriptors, some 20 times faster.
It runs the command from a cold start, as users do, where that could differ: on a terminal, with a closed
descriptor, with a locale or variables of Python's own.

Beside it is `warm-python`, for `warm-python -c CODE …`: a Python that has imported core, file, memory and env
already. It is not for code that looks at what is imported, or at how that is done.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import types
from collections.abc import Iterator
from pathlib import Path

CLIENT = """\
#!{python} -IS
import json, os, socket, struct, sys
cold = not os.path.exists({address!r})
try:
    fds = [0, 1, 2]
    cold = cold or any(os.isatty(fd) or not os.fstat(fd) for fd in fds)
    folder = os.getcwd()
except OSError:
    cold = True
cold = cold or any(
    name.startswith("PYTHON") or (name.startswith(("LC_", "LANG")) and not text.upper().endswith("UTF-8"))
    for name, text in os.environ.items()
    if name != "PYTHONUNBUFFERED"
)
if cold:
    os.execv({python!r}, [{python!r}, *{cold!r}, *sys.argv[1:]])
mask = os.umask(0)
asked = json.dumps([{program!r}, sys.argv[1:], dict(os.environ), folder, mask]).encode()
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
socket.send_fds(server, [struct.pack("!I", len(asked))], fds)
server.sendall(asked)
os.close(0), os.close(1), os.close(2)
status = struct.unpack("!i", server.recv(4))[0]
if status < 0:
    os.kill(os.getpid(), -status)
os._exit(status)
"""

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
    address = folder / "warm.socket"
    with subprocess.Popen(
        [sys.executable, __file__, str(address)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        for program, cold in (("strongroom", ["-m", "strongroom"]), ("warm-python", [])):
            text = CLIENT.format(python=sys.executable, address=str(address), program=program, cold=cold)
            (folder / program).write_text(text)
            (folder / program).chmod(0o755)
        yield folder / "strongroom"
        server.stdin.close()  # tells it to end


def _serve(address: str) -> None:
    """Fork a command for each that connects, until standard input ends."""
    _import_all()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        os.write(1, b"ready\n")
        while True:
            readable, _, _ = select.select([listener, 0], [], [])
            if 0 in readable:
                return
            connection, _ = listener.accept()
            with connection:
                if os.fork():
                    continue
                listener.close()
                _attend(connection)


def _attend(connection: socket.socket) -> None:
    """Run what is asked for in a child, tell its end, and end it where nobody waits for that any more."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    head, fds, _, _ = socket.recv_fds(connection, 4, 3)
    length = struct.unpack("!I", head)[0]
    asked = b""
    while len(asked) < length:
        asked += connection.recv(length - len(asked))
    child = os.fork()
    if not child:
        connection.close()
        _become(fds, *json.loads(asked))
        return
    for fd in [*fds, 0, 1, 2]:
        os.close(fd)
    ended = os.pidfd_open(child)
    readable, _, _ = select.select([ended, connection], [], [])
    if ended not in readable:
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(OSError):
        connection.sendall(struct.pack("!i", status))
    os._exit(0)


def _become(
    fds: list[int], program: str, words: list[str], variables: dict[str, str], folder: str, mask: int
) -> None:
    """Make of this process what the command would be that was started with all this, and run it."""
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder)
    os.umask(mask)
    gc.enable()
    status: object = 0
    try:
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
    assert words[0] == "-c"
    sys.argv = ["-c", *words[2:]]
    sys.path.insert(0, "")
    sys.modules["__main__"] = types.ModuleType("__main__")
    exec(compile(words[1], "<string>", "exec"), vars(sys.modules["__main__"]))


def _import_all() -> None:
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
            codes = [main(words) for words in (["set", "a", "--generate"], ["check"], ["get", "a"])]
        finally:
            os.chdir(here)
            os.environ.clear()
            os.environ.update(variables)
    assert codes == [0, 0, 0], codes


if __name__ == "__main__":
    _serve(sys.argv[1])
