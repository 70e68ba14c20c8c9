"""/metrics as Prometheus reads it: its own linter, a real scrape, and the alert rules that we give."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from free_ports import free_port
from served import WEB, spec_of

RULES = Path(__file__).parents[3] / "deploy" / "prometheus"
pytestmark = [
    pytest.mark.torture,
    pytest.mark.skipif(
        shutil.which("promtool") is None, reason="needs Prometheus (Debian: apt-get install prometheus)"
    ),
]


@pytest.fixture
def server(served):
    made = served(
        spec_of(
            {"name": "web", "token": WEB, "allow": ["app/**"]},
            middleware=[{"type": "caching", "ttl_seconds": 300}],
        )
    )
    made.registry.set_secret("app/x", "value")
    for _ in range(3):
        made.get("app/x", token=WEB)
    made.get("other", token=WEB)
    return made


def promtool(*words, given=None):
    done = subprocess.run(["promtool", *words], input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_its_own_linter_finds_nothing(server):
    assert promtool("check", "metrics", given=server.ask("GET", "/metrics").body.decode()) == ""


def test_each_alert_fires_on_what_it_is_for_and_on_nothing_else():
    promtool("check", "rules", str(RULES / "alerts.yaml"))
    promtool("test", "rules", str(RULES / "alerts-test.yaml"))


def test_every_name_in_a_rule_is_one_that_the_server_gives(server):
    given = re.findall(r"^# TYPE (\w+)", server.ask("GET", "/metrics").body.decode(), re.MULTILINE)
    named = re.findall(r"strongroom_\w+", (RULES / "alerts.yaml").read_text())
    assert {one.removesuffix("_bucket") for one in named} <= set(given)


class Prometheus:
    """A real one that scrapes each second; stopped by its handle."""

    def __init__(self, folder, port):
        self.port = free_port()
        (folder / "token").write_text(WEB)
        shutil.copy(RULES / "alerts.yaml", folder)
        (folder / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n"
            "rule_files: [alerts.yaml]\n"
            "scrape_configs:\n"
            f"  - {{job_name: strongroom, static_configs: [{{targets: ['127.0.0.1:{port}']}}],\n"
            "     authorization: {credentials_file: token}}\n"
        )
        self._child = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def asked(self, path, **query):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=300) as reply:
            return json.load(reply)["data"]

    def eventually(self, holds):
        """Wait until `holds` returns something, which it may after a scrape or two."""
        for _ in range(600):
            try:
                if found := holds():
                    return found
            except OSError:  # it is still starting
                pass
            threading.Event().wait(0.1)
        raise AssertionError("Prometheus has not come to it")

    def value(self, query):
        found = self.asked("query", query=query)["result"]
        return float(found[0]["value"][1]) if found else None

    def stop(self):
        self._child.terminate()
        self._child.wait()


@pytest.fixture
def prometheus(server, tmp_path):
    running = Prometheus(tmp_path, server.port)
    yield running
    running.stop()


def test_a_real_one_scrapes_it_with_a_clients_token(server, prometheus):
    assert prometheus.eventually(lambda: prometheus.value('up{job="strongroom"}')) == 1
    reads = 'strongroom_serve_requests_total{client="web",operation="get",status="200"}'
    assert prometheus.eventually(lambda: prometheus.value(reads)) == 3
    assert prometheus.value('strongroom_cache_requests_total{pipeline="app",result="hit"}') == 2
    assert prometheus.value('strongroom_serve_refused_total{reason="rule"}') == 1
    groups = prometheus.eventually(lambda: prometheus.asked("rules")["groups"])
    states = lambda: {one["health"] for one in prometheus.asked("rules")["groups"][0]["rules"]}  # noqa: E731
    assert len(groups[0]["rules"]) == 8
    prometheus.eventually(lambda: states() == {"ok"})
