"""The rotator `http` passes the kit for rotators, over a service that keeps one password."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from strongroom.rotation.http import HttpRotator
from strongroom.testing import RotatorConformance


class Service(ThreadingHTTPServer):
    """Takes the password of the last `apply` or `rollback`."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.password = "the-password-at-first"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if message["step"] == "verify":
            self.send_response(204 if message["new"] == self.server.password else 409)
        else:
            self.server.password = message["new"]
            self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def running():
    with Service() as service:
        thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield service
        service.shutdown()
        thread.join()


class TestHttp(RotatorConformance):
    @pytest.fixture
    def service(self, running):
        running.password = "the-password-at-first"
        return running

    @pytest.fixture
    def rotator(self, service):
        return HttpRotator(f"http://127.0.0.1:{service.server_port}/hooks", "a key of hmac")

    @pytest.fixture
    def secret(self, service):
        return service.password

    @pytest.fixture
    def logs_in(self, service):
        return lambda value: value == service.password


@pytest.mark.torture
class TestHttpAtEachStep(TestHttp):
    deaths_every = 1
    deaths_times = 25
