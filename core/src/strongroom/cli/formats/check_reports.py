"""Findings of `check` in formats of CI systems: JUnit XML, and SARIF 2.1.0 (OASIS)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as ET

from strongroom._version import __version__
from strongroom.spec.plan import Position

__all__ = ["junit", "sarif"]


def junit(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return rows of `check` as a JUnit test suite, a case for each declared secret."""
    failed = [row for row in rows if row["status"] != "ok"]
    suite = ET.Element("testsuite", name="strongroom check", tests=str(len(rows)), failures=str(len(failed)))
    for row in rows:
        case = ET.SubElement(suite, "testcase", classname="strongroom", name=row["name"])
        if row["status"] != "ok":
            ET.SubElement(case, "failure", type=row["status"], message=row["problem"] or row["status"])
    text: bytes = ET.tostring(suite, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def sarif(rows: Sequence[Mapping[str, Any]], places: Mapping[str, Position]) -> dict[str, Any]:
    """Return rows of `check` as a SARIF log, each at its line of the spec."""
    results = []
    for row in rows:
        if row["status"] == "ok":
            continue
        place = places[row["name"]]
        region = {"startLine": place.line, "startColumn": place.column} if place.line else {"startLine": 1}
        physical = {"artifactLocation": {"uri": place.file}, "region": region}
        results.append(
            {
                "ruleId": f"secret-{row['status']}",
                "level": "error",
                "message": {"text": f"{row['name']}: {row['problem'] or row['status']}"},
                "locations": [{"physicalLocation": physical}],
            }
        )
    driver = {"name": "strongroom", "version": __version__, "rules": []}
    return {
        "version": "2.1.0",
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }
