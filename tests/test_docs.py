"""Every command, snippet and spec of the documentation is run as it is written.

A page is one shell session in an empty folder with an empty home. Its blocks are, in their order:

- `console`: lines that begin with `$ ` are typed (`> ` continues them), what follows is what they print, in which
  `…` stands for anything; a command that is meant to fail says so by `# exit 7`;
- `python`, and `sh`: run, and expected to succeed;
- any block with `title="name"`: written to that file;
- `yaml` that says `version:`: a whole spec, checked by the JSON Schema and by strongroom itself.

A block after the comment `<!-- not run: why -->` is only looked at.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from strongroom.spec import load_plan

# pytest's importlib mode keeps test folders off the path; these helpers have names of their own.
sys.path.insert(0, str(Path(__file__).parent))

from doc_pages import Block, blocks
from postgres_server import PostgresServer
from psycopg import sql

ROOT = Path(__file__).parent.parent
POSTGRES = {
    ROOT / "docs" / "tutorials" / "rotate-a-database-password.md",
    ROOT / "docs" / "how-to" / "rotate-postgresql.md",
}
KIT = ROOT / "docs" / "how-to" / "backends" / "exec.md"
SEED = ROOT / "docs" / "explanation" / "secret-management.md"  # has a test of its own
PAGES = sorted(
    path
    for path in [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("plugins/*/README.md"),
    ]
    if path != SEED
)
SCHEMA = json.loads((ROOT / "schemas" / "strongroom.schema.json").read_text())
_EXIT = re.compile(r"\s+# exit (\d+)$")
_MARK = "\x1e"


@dataclass(frozen=True)
class Step:
    """One thing typed, the exit status that it ends with, and what it prints, None where the page does not say."""

    typed: str
    status: int = 0
    printed: str | None = None


def steps(block: Block) -> list[Step]:
    if block.title is not None:
        name = shlex.quote(block.title)
        return [Step(f"mkdir -p $(dirname {name}) && cat > {name} <<'END OF FILE'\n{block.text}END OF FILE")]
    if block.language == "python":
        return [Step(f"warm-python - <<'END OF SCRIPT'\n{block.text}END OF SCRIPT")]
    if block.language == "sh":
        return [Step(block.text)]
    return conversation(block.text) if block.language == "console" else []


def conversation(text: str) -> list[Step]:
    found: list[Step] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            status = _EXIT.search(line)
            found.append(Step(_EXIT.sub("", line[2:]), int(status[1]) if status else 0))
            continue
        assert found, f"output before any command: {line}"
        last = found[-1]
        if line.startswith("> ") and last.printed is None:
            found[-1] = Step(f"{last.typed}\n{line[2:]}", last.status)
        else:
            found[-1] = Step(last.typed, last.status, f"{last.printed or ''}{line}\n")
    return found


def matches(expected: str, printed: str) -> bool:
    """Tell whether `printed` is what the page shows; `…` stands for anything, also for whole lines."""
    pattern = re.escape(expected.rstrip("\n")).replace("…", "(?s:.*?)")
    return re.fullmatch(pattern, printed.rstrip("\n")) is not None


@pytest.fixture
def around(request):
    """The variables of what a page needs to be there already."""
    if request.node.callspec.params["page"] == KIT:
        # The kit needs none of the plugins that happen to be here; its first chapter is enough for a page.
        yield {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "-k 'set or delete or list'"}
        return
    if request.node.callspec.params["page"] not in POSTGRES:
        yield {}
        return
    server = PostgresServer()
    with server.login("postgres", server.password) as connection:
        # Most superusers are not called `postgres`, and have no database of their own name.
        connection.execute(sql.SQL("CREATE ROLE boss SUPERUSER LOGIN PASSWORD {}").format(server.password))
    yield server.environment() | {"PGUSER": "boss"}
    server.stop()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_does_what_it_says(page, tmp_path, around, warm_strongroom):
    does_what_it_says(page, tmp_path, around, warm_strongroom)


@pytest.mark.torture
def test_the_program_of_a_page_passes_the_whole_kit(tmp_path, warm_strongroom):
    does_what_it_says(KIT, tmp_path, {}, warm_strongroom)


def does_what_it_says(page, tmp_path, around, warm_strongroom):
    planned = [step for block in blocks(page) if block.reason is None for step in steps(block)]
    if not planned:
        return  # specs alone: the test below
    home, folder = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    folder.mkdir()
    script = "".join(f"{step.typed}\nprintf '{_MARK}%d{_MARK}' $?\n" for step in planned)
    done = subprocess.run(
        ["bash", "-c", f"exec 2>&1\n{script}"],
        cwd=folder,
        env={
            "HOME": str(home),
            "PATH": f"{Path(warm_strongroom).parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            "PYTEST_ADDOPTS": "-p no:schemathesis",  # it takes long to import, and no page needs it
            **around,
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=False,
        timeout=300,
    )
    parts = done.stdout.decode(errors="replace").split(_MARK)
    for step, (printed, status) in zip(planned, zip(parts[0::2], parts[1::2], strict=False), strict=True):
        assert int(status) == step.status, f"{step.typed}\n{printed}"
        if step.printed is not None:
            assert matches(step.printed, printed), (
                f"{step.typed}\n--- printed:\n{printed}\n--- page:\n{step.printed}"
            )


SPECS = [
    pytest.param(block.text, id=f"{page.relative_to(ROOT)}-{number}")
    for page in [*PAGES, SEED]
    for number, block in enumerate(blocks(page))
    if block.language == "yaml" and block.reason is None and re.search(r"^version:", block.text, re.MULTILINE)
]


@pytest.fixture(scope="module")
def schema():
    """What judges by the JSON Schema."""
    from jsonschema import Draft202012Validator

    return Draft202012Validator(SCHEMA)


@pytest.mark.parametrize("text", SPECS)
def test_each_spec_of_the_documentation_is_right(text, tmp_path, schema):
    schema.validate(yaml.safe_load(text))
    path = tmp_path / "strongroom.yaml"
    path.write_text(text)
    plan = load_plan(path, look_up=False)
    assert plan.pipelines
    for profile in yaml.safe_load(text).get("profiles", {}):
        assert load_plan(path, profile=profile, look_up=False).pipelines


def test_the_reader_of_pages_sees_what_is_there():
    page = "$ echo one  # exit 3\none\n$ cat <<X\n> two\n> X\ntwo\n"
    assert conversation(page) == [Step("echo one", 3, "one\n"), Step("cat <<X\ntwo\nX", 0, "two\n")]
    assert matches("a … c\n", "a b c\n")
    assert not matches("a … c\n", "a b d\n")


def test_links_between_pages_lead_somewhere():
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert broken == []
