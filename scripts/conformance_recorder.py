"""A pytest plugin for `write_conformance.py`: counts the kit's tests by class.

It also tells each test of the kit behind middleware, and whether `make test` runs it.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from strongroom.testing import ProviderConformance
from strongroom.testing.conformance.base import why_not_asked


class _Recorder:
    def __init__(self) -> None:
        self.classes: dict[str, dict[str, Any]] = {}
        self.sample: list[str] = []
        self.beyond: list[str] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            cls = getattr(item, "cls", None)
            if isinstance(cls, type) and issubclass(cls, ProviderConformance):
                one = self._of(item.nodeid.partition("::")[0], cls)
                one["title"] = cls.title
                one["tests"] += 1
                torture = item.get_closest_marker("torture") is not None
                one["torture"] += torture
                one["left_out"] = _left_out(cls)
                if "Behind" in cls.__name__:
                    (self.beyond if torture else self.sample).append(item.nodeid)
                waiver = item.get_closest_marker("xfail")
                if waiver is not None:
                    one["waivers"][item.name] = waiver.kwargs.get("reason", "")

    def pytest_sessionfinish(self) -> None:
        target = Path(os.environ["CONFORMANCE_RECORD"])
        target.write_text(json.dumps({"classes": self.classes, "sample": self.sample, "beyond": self.beyond}))

    def _of(self, path: str, cls: type) -> dict[str, Any]:
        empty = {"title": "", "tests": 0, "torture": 0, "left_out": {}, "waivers": {}}
        return self.classes.setdefault(f"{path}::{cls.__name__}", empty)


def _left_out(cls: type[ProviderConformance]) -> dict[str, int]:
    """Return why tests are not collected: for each reason, how many."""
    tests = [getattr(cls, name) for name in dir(cls) if name.startswith("test_")]
    return dict(Counter(reasons[0] for test in tests if (reasons := why_not_asked(cls, test))))


def pytest_configure(config: pytest.Config) -> None:
    """Record in the process that sees all: the one that starts the workers, or the only one."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Recorder())
