"""A pytest plugin for `write_conformance.py`: counts the kit's tests by class, and what became of them."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from strongroom.testing import ProviderConformance


class _Recorder:
    def __init__(self) -> None:
        self.classes: dict[str, dict[str, Any]] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            cls = getattr(item, "cls", None)
            if isinstance(cls, type) and issubclass(cls, ProviderConformance):
                one = self._of(item.nodeid)
                one["tests"] += 1
                one["torture"] = item.get_closest_marker("torture") is not None
                waiver = item.get_closest_marker("xfail")
                if waiver is not None:
                    one["waivers"][item.name] = waiver.kwargs.get("reason", "")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.rpartition("::")[0]
        if report.skipped and not hasattr(report, "wasxfail"):
            told = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self._of(report.nodeid)["skipped"][told.removeprefix("Skipped: ")] += 1
        elif report.when == "call" and report.passed and name:
            self._of(report.nodeid)["passed"] += 1

    def pytest_sessionfinish(self) -> None:
        target = Path(os.environ["CONFORMANCE_RECORD"])
        target.write_text(json.dumps(self.classes))

    def _of(self, nodeid: str) -> dict[str, Any]:
        path, cls = nodeid.split("::")[:2]
        empty = {"tests": 0, "passed": 0, "torture": False, "skipped": Counter(), "waivers": {}}
        return self.classes.setdefault(f"{path}::{cls}", empty)


def pytest_configure(config: pytest.Config) -> None:
    """Record in the process that sees all: the one that starts the workers, or the only one."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Recorder())
