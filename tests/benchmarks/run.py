"""`make bench`: run the benchmarks, print and store their ratios, and end with 1 where one exceeds its limit.

Each module `bench_*.py` beside this file has a function `rows()` that returns a list of rows: `name`, `ratio`
(ours divided by a peer's, measured in the same run), `limit` (what it must not exceed) and `detail`. Modules
run one after the other, each in a process of its own. Arguments name modules, without `bench_` and `.py`.

With `--check` nothing is stored: it ends with 1 where a ratio is worse than the table's by more than the slack,
measured twice.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent.parent / "docs" / "explanation"
TABLE, DATA, PICTURE = DOCS / "performance.md", DOCS / "performance.json", DOCS / "performance.svg"
BEGIN, END = "<!-- rows: written by `make bench` -->", "<!-- end of rows -->"
_LOAD = (
    "import json, runpy, sys; rows = runpy.run_path(sys.argv[1])['rows'](); print('\\x1e' + json.dumps(rows))"
)
_SLACK = 1.75
_WIDTH, _LINE, _LABEL = 640, 26, 360


def measured(module: Path) -> list[dict[str, Any]]:
    """Run a module in a process of its own and return its rows."""
    command = [sys.executable, "-c", _LOAD, str(module)]
    # As where it is installed: without compiled modules a start takes twice as long.
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE, env=environment)
    if done.returncode:
        sys.exit(f"{module.name}: {done.stdout}{done.stderr}")
    found: list[dict[str, Any]] = json.loads(done.stdout.rpartition("\x1e")[2])
    return [{"topic": module.stem.removeprefix("bench_"), **row} for row in found]


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    lines = ["| what | ratio | at most | measured |", "|---|---|---|---|"]
    lines += [f"| {row['name']} | {row['ratio']:.2f} | {row['limit']:g} | {row['detail']} |" for row in rows]
    return "\n".join(lines)


def picture(rows: list[dict[str, Any]]) -> str:
    """Return the rows as bars: each ratio as a share of its limit, which is the line on the right."""
    height = _LINE * len(rows) + 10
    bars = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-size="12">']
    limit_at = _WIDTH - 40
    for index, row in enumerate(rows):
        y = 5 + index * _LINE
        share = min(row["ratio"] / row["limit"], 1.1)
        colour = "#3a7d44" if share <= 1 else "#b3261e"
        name = row["name"].replace("&", "&amp;").replace("<", "&lt;")
        bars.append(f'<text x="4" y="{y + 16}" font-family="sans-serif" fill="#666">{name[:58]}</text>')
        width = max(1.0, share * (limit_at - _LABEL))
        bars.append(f'<rect x="{_LABEL}" y="{y + 4}" width="{width:.0f}" height="15" fill="{colour}"/>')
    bars.append(f'<path d="M{limit_at} 0V{height}" stroke="#666" stroke-dasharray="3"/>')
    return "\n".join([*bars, "</svg>"]) + "\n"


def store(rows: list[dict[str, Any]]) -> None:
    """Write the rows to the documentation, beside those of topics that were not run."""
    topics = {row["topic"] for row in rows}
    known = json.loads(DATA.read_text()) if DATA.is_file() else []
    merged = sorted(
        [row for row in known if row["topic"] not in topics] + rows, key=lambda row: str(row["topic"])
    )
    DATA.write_text(json.dumps(merged, indent=1) + "\n")
    PICTURE.write_text(picture(merged))
    before, _, rest = TABLE.read_text().partition(BEGIN)
    TABLE.write_text(f"{before}{BEGIN}\n{table(merged)}\n{END}{rest.partition(END)[2]}")


def show(row: dict[str, Any], *, bad: bool) -> None:
    """Print a row."""
    mark = "! " if bad else "  "
    sys.stdout.write(
        f"{mark}{row['ratio']:8.2f} (at most {row['limit']:g})  {row['name']}: {row['detail']}\n"
    )


def regressed(module: Path) -> bool:
    """Run a module, print its rows, and tell whether one is worse than the table says."""
    known = {row["name"]: row["ratio"] for row in json.loads(DATA.read_text())}
    worse = False
    for row in measured(module):
        if row["name"] not in known:
            sys.exit(f"{row['name']!r} is not in {DATA.name}: run `make bench`")
        row["limit"] = known[row["name"]] * _SLACK
        bad = row["ratio"] > row["limit"]
        show(row, bad=bad)
        worse |= bad
    return worse


def main(*chosen: str) -> int:
    """Run the chosen modules, or all."""
    names = [name for name in chosen if name != "--check"]
    modules = [path for path in sorted(HERE.glob("bench_*.py")) if not names or path.stem[6:] in names]
    if "--check" in chosen:
        return int(any(regressed(module) and regressed(module) for module in modules))
    rows = [row for module in modules for row in measured(module)]
    for row in rows:
        show(row, bad=row["ratio"] > row["limit"])
    store(rows)
    return int(any(row["ratio"] > row["limit"] for row in rows))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
