"""Every way out of a process, with every encoding of a value: nothing of it comes out."""

from __future__ import annotations

import base64
import errno
import gc
import html
import http.server
import io
import json
import logging
import logging.handlers
import os
import pty
import queue
import re
import shlex
import socket
import subprocess
import sys
import threading
from urllib.parse import quote, quote_plus

import pytest
from strongroom.masking import Masker, MaskingFilter
from strongroom.masking import log_filter as masking_logs

VALUES = [
    "tok_9fK2mQ7xW4bT1zR8",
    "p@ss \"w/rd\" <ü> 'it' & $HOME\\n%41~",
    "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\n9w0BAQEFAASCBKcwggSj\n-----END KEY-----\n",
]
ENCODINGS = {
    "plain": lambda v: v,
    "in text": lambda v: f"user=karl password={v}; retry",
    "base64": lambda v: base64.b64encode(v.encode()).decode(),
    "base64 for URLs": lambda v: base64.urlsafe_b64encode(v.encode()).decode(),
    "base64 behind 1": lambda v: base64.b64encode(b"x" + v.encode()).decode(),
    "base64 behind 2": lambda v: base64.b64encode(b"xy" + v.encode() + b"z").decode(),
    "base64 of a login": lambda v: base64.urlsafe_b64encode(b"user:" + v.encode() + b"@host").decode(),
    "hex": lambda v: v.encode().hex(),
    "HEX": lambda v: v.encode().hex().upper(),
    "URL path": quote,
    "URL component": lambda v: quote(v, safe=""),
    "URL lower": lambda v: re.sub("%..", lambda escape: escape[0].lower(), quote(v, safe="")),
    "form": quote_plus,
    "JSON": json.dumps,
    "JSON Unicode": lambda v: json.dumps(v, ensure_ascii=False),
    "JSON with slashes": lambda v: json.dumps(v).replace("/", "\\/"),
    "JSON in JSON": lambda v: json.dumps(json.dumps(v)),
    "shell": shlex.quote,
    "Python": repr,
    "Python ASCII": ascii,
    "Python bytes": lambda v: repr(v.encode()),
    "HTML": html.escape,
    "terminal lines": lambda v: v.replace("\n", "\r\n"),
    "lines": lambda v: "\n".join(f"  | {line}" for line in v.splitlines()),
}
WINDOW = 8


def telling(value, name):
    """Return pieces of an encoded value that are long enough to tell something, edges left out."""
    encoded = ENCODINGS[name](value)
    if name in {"in text", "lines"}:
        encoded = value
    for line in encoded.splitlines():
        core = line[4:-4] if name.startswith("base64") else line.strip("\"' |\\n")
        yield from (core[at : at + WINDOW] for at in range(len(core) - WINDOW + 1))


def check(shown: bytes) -> None:
    text = shown.decode(errors="replace")
    assert "*" * 8 in text, text
    for value in VALUES:
        for name in ENCODINGS:
            found = {piece for piece in telling(value, name) if piece in text}
            assert not found, (name, found)


def all_texts():
    return [ENCODINGS[name](value) for value in VALUES for name in ENCODINGS]


@pytest.fixture
def masker(monkeypatch):
    masker = Masker(VALUES)
    monkeypatch.setattr(masking_logs, "known", masker)
    return masker


@pytest.fixture
def logged(masker):
    """Return a function that logs every text through a handler."""

    def through(handler, log=lambda logger, text: logger.error("said %s", text)):
        handler.addFilter(MaskingFilter(masker))
        logger = logging.Logger("sinks")  # noqa: LOG001  # not one of the process
        logger.addHandler(handler)
        for text in all_texts():
            log(logger, text)
        handler.close()

    return through


@pytest.mark.parametrize(
    "make",
    [
        logging.FileHandler,
        logging.handlers.WatchedFileHandler,
        lambda path: logging.handlers.RotatingFileHandler(path, maxBytes=10_000_000, backupCount=1),
        logging.handlers.TimedRotatingFileHandler,
    ],
)
def test_a_file_handler_writes_masked_text(logged, make, tmp_path):
    path = tmp_path / "log"
    logged(make(path))
    check(path.read_bytes())


@pytest.mark.parametrize(
    "log",
    [
        lambda logger, text: logger.error(text),
        lambda logger, text: logger.error(text.replace("%", "%%"), "one too many"),
        lambda logger, text: logger.error("%(a)s", {"a": text}),
        lambda logger, text: logger.error("%s", {"deep": [({text},)]}),
        lambda logger, text: logger.error("%.30s", text),
        lambda logger, text: logger.error("%d", text),
        lambda logger, text: logger.error("m", exc_info=ValueError(text)),
        lambda logger, text: logging.LoggerAdapter(logger, {"user": text}).error("m"),
    ],
)
def test_a_stream_handler_writes_masked_text_however_it_is_logged(logged, log):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s %(user)s", defaults={"user": ""}))
    logged(handler, log)
    check(stream.getvalue().encode())


def test_a_buffer_of_records_is_masked(logged, tmp_path):
    target = logging.FileHandler(tmp_path / "log")
    logged(logging.handlers.MemoryHandler(7, target=target))
    target.close()
    check((tmp_path / "log").read_bytes())


def test_a_formatter_that_shows_all_a_record_has(logged):
    class AsJSON(logging.Formatter):
        def format(self, record):
            return json.dumps(vars(record), default=str)

    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(AsJSON())
    logged(handler, lambda logger, text: logger.error("m %s", text, extra={"request": {"body": text}}))
    check(stream.getvalue().encode())


def test_records_in_a_queue_are_masked(logged):
    waiting = queue.SimpleQueue()
    logged(logging.handlers.QueueHandler(waiting))
    shown = []
    while not waiting.empty():
        shown.append(repr(vars(waiting.get())))
    check("\n".join(shown).encode())


def test_records_sent_by_a_socket_are_masked(logged):
    with socket.create_server(("127.0.0.1", 0)) as server:
        received = []

        def receive():
            connection, _ = server.accept()
            with connection:
                while data := connection.recv(65536):
                    received.append(data)

        reader = threading.Thread(target=receive)
        reader.start()
        logged(logging.handlers.SocketHandler(*server.getsockname()))
        reader.join(300)
    check(b"".join(received))


@pytest.mark.parametrize(
    "make", [logging.handlers.DatagramHandler, lambda *at: logging.handlers.SysLogHandler(at)]
)
def test_datagrams_are_masked(logged, make):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        logged(make(*receiver.getsockname()))
        receiver.settimeout(30)
        check(b"\n".join(receiver.recv(65536) for _ in all_texts()))


def test_an_http_request(logged):
    received = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            received.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        logged(logging.handlers.HTTPHandler(f"127.0.0.1:{server.server_port}", "/log"))
        server.shutdown()
        thread.join(300)
    check("\n".join(received).replace("%2A", "*").encode())


def test_what_ends_a_process(masker, capsys):
    for text in all_texts():
        masking_logs._print_uncaught(ValueError, ValueError(text), None)
    check(capsys.readouterr().err.encode())


def test_what_ends_a_thread(masker, capsys, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", masking_logs._print_uncaught_of_thread)

    def fail(text):
        raise ValueError(text)

    for text in all_texts():
        thread = threading.Thread(target=fail, args=(text,), name=text)
        thread.start()
        thread.join(300)
    check(capsys.readouterr().err.encode())


def test_what_nobody_can_catch(masker, capsys, monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", masking_logs._print_unraisable)

    class Fails:
        def __init__(self, text):
            self.text = text

        def __del__(self):
            raise ValueError(self.text)

    for text in all_texts():
        Fails(text)
    gc.collect()
    check(capsys.readouterr().err.encode())


class FullStream(io.StringIO):
    """Standard error on a disk that is full for a moment."""

    def write(self, _text):
        raise OSError(errno.ENOSPC, "full")


def test_a_stream_that_takes_not_every_text_gets_no_value_either():
    """A hook that fails is the worst: Python shows the exception as it is, and its `repr`."""
    code = (
        "import io, sys\n"
        "from strongroom.masking import install, remember\n"
        "install(); remember('the-secret-value')\n"
        "sys.stderr = io.TextIOWrapper(sys.stderr.buffer, encoding='ascii')\n"
        "raise ValueError('the-secret-value \\xe4')\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ValueError: ******** \\xe4" in ended.stderr
    assert "the-secret" not in ended.stderr


def test_a_stream_that_cannot_be_written_fails_no_hook(masker, monkeypatch):
    monkeypatch.setattr(sys, "stderr", FullStream())
    masking_logs._print_uncaught(ValueError, ValueError("text"), None)


DRIVER = """
import json, os, sys
from strongroom.cli.child.running import run_child
from strongroom.masking import Masker
sys.exit(run_child(sys.argv[1:], os.environ, lambda: Masker(json.loads(os.environ["VALUES"]))).end())
"""


def child(stream):
    script = f"import json, os, sys\nfor t in json.loads(os.environ['TEXTS']): print(t, file=sys.{stream})"
    environment = {**os.environ, "VALUES": json.dumps(VALUES), "TEXTS": json.dumps(all_texts())}
    environment["PYTHONIOENCODING"] = "utf-8"
    return [sys.executable, "-c", DRIVER, sys.executable, "-S", "-c", script], environment


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_run_on_pipes(stream):
    command, environment = child(stream)
    done = subprocess.run(command, env=environment, check=True, capture_output=True)
    check(getattr(done, stream))


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_run_on_a_terminal(stream):
    command, environment = child(stream)
    master, slave = pty.openpty()
    with subprocess.Popen(
        command, env=environment, start_new_session=True, stdin=slave, stdout=slave, stderr=slave
    ) as process:
        os.close(slave)
        shown = b""
        try:
            while data := os.read(master, 65536):
                shown += data
        except OSError:  # its other side is closed
            pass
        assert process.wait(300) == 0
    os.close(master)
    check(shown)
