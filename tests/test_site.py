"""The documentation site: complete, without a dead link, without anything fetched from elsewhere.

What needs a browser is marked `torture` and run by `make site-check` too; without a Chromium on the PATH it is skipped.
"""

from __future__ import annotations

import functools
import http.server
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import lxml.html
import pytest
from lxml import etree

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#\s]+)(?:#[^)]*)?\)")
_FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)


def navigation(entries):
    """Return the pages of a navigation, in their order."""
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        else:
            for below in entry.values():
                yield from navigation([below] if isinstance(below, str) else below)


def settings():
    return tomllib.loads((ROOT / "zensical.toml").read_text())["project"]


def build(folder):
    """Build the site of `folder`, and return what came of it."""
    pytest.importorskip("zensical", reason="needs zensical, and that Python 3.11.5")
    return subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"],
        cwd=folder,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def copied(folder):
    """Copy what the site is made of to `folder`, so that no other build is disturbed."""
    shutil.copytree(DOCS, folder / "docs")
    shutil.copy(ROOT / "zensical.toml", folder)
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = copied(tmp_path_factory.mktemp("site"))
    done = build(folder)
    assert done.returncode == 0, done.stdout
    return folder / settings()["site_dir"]


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path) for path in site.rglob("*.html")}


class Page:
    """The anchors of a page, where its links lead, and what a browser loads for it."""

    def __init__(self, path):
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        for element in lxml.html.document_fromstring(path.read_text()).iter(etree.Element):
            self._add(element.tag, element.attrib)

    def _add(self, tag, attributes):
        self.anchors |= {attributes[name] for name in ("id", "name") if attributes.get(name)}
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        elif (
            tag == "link"
            and "href" in attributes
            and attributes.get("rel") not in {"canonical", "next", "prev"}
        ):
            self.loaded.append(attributes["href"])
        elif "src" in attributes:
            self.loaded.append(attributes["src"])


def outside(link):
    return urlsplit(link).scheme in {"http", "https", "mailto"} or link.startswith("//")


# --- quick: part of `make test` ---


def test_every_page_stands_in_the_navigation_once():
    found = list(navigation(settings()["nav"]))
    pages = [str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")]
    assert sorted(found) == sorted(pages), "zensical.toml's `nav` and docs/ differ"


def test_every_page_begins_with_a_title_and_says_something():
    poor = [
        str(path)
        for path in DOCS.rglob("*.md")
        if not re.search(r"^# .+\n[\s\S]{150}", path.read_text(), re.MULTILINE)
    ]
    assert poor == []


def test_a_broken_link_or_anchor_ends_the_build(tmp_path):
    """As it is set up; two pages say it as well as all of them."""
    text = (ROOT / "zensical.toml").read_text()
    (tmp_path / "zensical.toml").write_text(
        re.sub(r"^nav = \[.*?^\]$", "", text, flags=re.MULTILINE | re.DOTALL)
    )
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "index.md"
    page.with_name("run.md").write_text("# Another\n\n## Part\n")
    page.write_text("# One\n\n[here](run.md#part)\n")
    assert build(tmp_path).returncode == 0
    page.write_text("# One\n\n[gone](gone.md) [nowhere](run.md#nowhere)\n")
    done = build(tmp_path)
    assert done.returncode != 0
    assert "page does not exist" in done.stdout
    assert "anchor does not exist" in done.stdout


def test_every_link_of_the_site_leads_to_a_page_and_an_anchor(site, pages):
    @functools.cache
    def whither(folder, link):
        target = urlsplit(urljoin(f"{folder.as_uri()}/", link))
        return Path(unquote(target.path)), unquote(target.fragment)

    @functools.cache
    def is_dead(file, anchor):
        return not file.is_file() or bool(
            anchor and anchor not in (pages[file].anchors if file in pages else ())
        )

    dead = [
        f"{path.relative_to(site)}: {link}"
        for path, page in pages.items()
        for link in {*page.links, *page.loaded}
        if path.name != "404.html" and not outside(link)
        if is_dead(*((path, unquote(link[1:])) if link.startswith("#") else whither(path.parent, link)))
    ]
    assert dead == []


def test_nothing_is_loaded_from_elsewhere(site, pages):
    loaded = {
        f"{path.relative_to(site)}: {link}"
        for path, page in pages.items()
        for link in page.loaded
        if outside(link)
    }
    loaded |= {
        f"{path.relative_to(site)}: {link}"
        for path in site.rglob("*.css")
        for link in re.findall(r"(?:@import\s+|url\()[\"']?((?:https?:)?//[^\"')]+)", path.read_text())
    }
    assert loaded == set()


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_of_pages_outside_of_the_site_lead_somewhere(name):
    links = _LINK.findall(_FENCE.sub("", (ROOT / name).read_text()))
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize(
    "page",
    [ROOT / "core" / "README.md", *sorted(ROOT.glob("plugins/*/README.md"))],
    ids=lambda page: page.parent.name,
)
def test_a_page_that_the_package_index_shows_names_pages_of_the_repository_and_links_to_none(page):
    """A relative link leads nowhere there, and an address of the repository does not exist yet."""
    text = _FENCE.sub("", page.read_text())
    assert _LINK.findall(text) == []
    assert re.findall(r"https?://[^ )]*strongroom", text) == []
    assert [name for name in re.findall(r"`(docs/[^`]+)`", text) if not (ROOT / name).is_file()] == []


KIT = ROOT / "core" / "src" / "strongroom" / "testing" / "conformance"
GUARANTEES = (DOCS / "explanation" / "guarantees.md").read_text()
_HOLDER = re.compile(r"`([\w/]+\.py)(?:::(\w+))?`")


def test_every_promise_names_the_test_that_holds_it():
    rows = [line.strip(" |").split(" | ") for line in GUARANTEES.splitlines() if line.startswith("| ")]
    promises = [
        row for row in rows if row[-1] != "checked by" and not any(cell.startswith("*Not:*") for cell in row)
    ]
    assert len(promises) > 60
    assert [row for row in promises if _HOLDER.sub("", row[-1]).strip(", ") or not row[-1]] == []


_TEST = re.compile(r"`([\w./-]+\.py)(?:::([\w:]+))?`")
BESIDE = {"explanation/guarantees.md": KIT, "how-to/audit.md": ROOT / "core" / "tests" / "audit"}
"""Where the tests are that a page names without a folder; elsewhere such a name stands for each plugin's."""


def missing_tests(text, beside):
    gone = []
    for name, test in _TEST.findall(text):
        if ("/" not in name and beside is None) or not (test or beside or "/test_" in name):
            continue
        file = (ROOT if "/" in name else beside) / name
        source = file.read_text() if file.is_file() else ""
        wanted = [
            *(rf"^class {one}\b" for one in test.split("::")[:-1]),
            rf"^ *def {test.split('::')[-1] or 'test_'}",
        ]
        if not all(re.search(rf"{one}\b" if test else one, source, re.MULTILINE) for one in wanted):
            gone.append(f"{name}::{test}")
    return gone


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_every_test_that_a_page_names_is_there(page):
    beside = BESIDE.get(page.relative_to(DOCS).as_posix()) if page.is_relative_to(DOCS) else None
    assert missing_tests(page.read_text(), beside) == []


@pytest.mark.parametrize(
    "named",
    [
        "tests/test_site.py::test_that_nobody_wrote",
        "tests/test_site.py::test_every_test_that_a_page_nam",
        "tests/test_site.py::TestNothing::test_every_test_that_a_page_names_is_there",
        "tests/test_that_nobody_wrote.py",
        "tests/test_that_nobody_wrote.py::test_every_test_that_a_page_names_is_there",
    ],
)
def test_a_test_that_a_page_only_believes_to_be_there_is_found(named):
    there = "`tests/test_site.py::test_every_test_that_a_page_names_is_there`, `tests/test_site.py`"
    assert missing_tests(f"{there}, `{named}`", None) == [named if "::" in named else f"{named}::"]


SERVERS = (DOCS / "explanation" / "servers.md").read_text()


def test_every_surprise_names_the_test_or_the_script_that_shows_it():
    rows = [line.strip(" |").split(" | ") for line in SERVERS.splitlines() if line.startswith("| ")]
    shown = [row[-1] for row in rows if row[0] != "seen"]
    assert len(shown) > 40
    assert [
        cell for cell in shown if not re.fullmatch(r"`[^`]+(?:\.sh|\.py::\w[\w:]*)`(?:, `[^`]+`)*", cell)
    ] == []


def test_the_scripts_of_surprises_are_those_of_the_folder():
    named = re.findall(r"`([\w-]+\.sh)`", SERVERS)
    assert sorted(named) == sorted(path.name for path in (ROOT / "findings").iterdir())


# --- in a browser: `make site-check`, and part of `make torture` ---


@pytest.fixture
def address(site):
    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(site))
    ) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium on the PATH (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        # What it would do in the background is to look for its maker's servers.
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
        options += ["--disable-component-update", "--no-first-run"]
        chromium = player.chromium.launch(executable_path=CHROMIUM, args=options)
        yield chromium
        chromium.close()


def addresses(address, site):
    return [f"{address}/{path.relative_to(site)}" for path in sorted(site.rglob("*.html"))]


@pytest.mark.torture
def test_every_page_loads_without_a_complaint_and_asks_nobody_else(browser, address, site):
    page = browser.new_page()
    complaints: list[str] = []
    page.on(
        "console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda asked: complaints.append(f"failed: {asked.url}"))
    page.on("request", lambda asked: None if asked.url.startswith(address) else complaints.append(asked.url))
    links = set()
    for one in addresses(address, site):
        page.goto(one, wait_until="networkidle")
        links |= set(page.eval_on_selector_all("a[href]", "all => all.map(one => one.href)"))
    assert complaints == []
    inside = sorted({link.partition("#")[0] for link in links if link.startswith(address)})
    assert len(inside) > 40
    assert [link for link in inside if page.request.get(link).status != 200] == []


@pytest.mark.torture
def test_the_search_finds_a_page(browser, address):
    page = browser.new_page()
    page.goto(f"{address}/index.html", wait_until="networkidle")
    page.get_by_role("button", name="Search").click()
    page.keyboard.type("tampered")
    page.get_by_role("option", name="What a read proves").click()
    page.wait_for_url("**/explanation/threat-model.html*")
    assert "encrypted store protects" in page.locator("h1").inner_text()


@pytest.mark.torture
def test_dark_mode_is_switched_on_and_stays(browser, address):
    page = browser.new_page(color_scheme="light")
    page.goto(f"{address}/index.html", wait_until="networkidle")

    def brightness():
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(float, re.findall(r"[\d.]+", colour)[:3])) / 3

    assert brightness() > 200
    page.get_by_title("Switch to light mode").click()
    page.get_by_title("Switch to dark mode").click()
    page.wait_for_function("document.body.dataset.mdColorScheme === 'slate'")
    assert brightness() < 60
    page.goto(f"{address}/reference/spec.html", wait_until="networkidle")
    assert brightness() < 60


@pytest.mark.torture
def test_dark_is_what_a_system_in_dark_mode_gets(browser, address):
    page = browser.new_page(color_scheme="dark")
    page.goto(f"{address}/index.html")
    # The script that asks the system runs when it can, which on a busy machine is after all has been loaded.
    page.wait_for_function("document.body.dataset.mdColorScheme === 'slate'")


@pytest.mark.torture
def test_no_page_is_wider_than_a_phone(browser, address, site):
    page = browser.new_page(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    wide = {}
    for one in addresses(address, site):
        page.goto(one, wait_until="domcontentloaded")
        width = page.evaluate("document.scrollingElement.scrollWidth")
        if width > 390:
            wide[one.removeprefix(address)] = width
    assert wide == {}


@pytest.mark.torture
def test_a_phone_reaches_every_section_by_the_menu(browser, address):
    page = browser.new_page(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    page.goto(f"{address}/index.html", wait_until="networkidle")
    page.locator("header label[for=__drawer]").click()
    page.locator("nav.md-nav--primary").get_by_text("How-to", exact=True).first.click()
    page.locator("nav.md-nav--primary").get_by_text("Backends", exact=True).first.click()
    page.locator("nav.md-nav--primary").get_by_role("link", name="Azure Key Vault").first.click()
    page.wait_for_url("**/azure.html")
