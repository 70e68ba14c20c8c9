"""The pages in a real browser: nothing is blocked, nothing overflows a phone, axe-core finds nothing."""

from __future__ import annotations

import os
import shutil
from importlib.resources import files
from pathlib import Path

import pytest
from pages import BOSS, VALUE, Crowded, Fixed, crowded_spec, spec_with_pages

pytestmark = pytest.mark.torture

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SCREENSHOTS = os.environ.get("STRONGROOM_SCREENSHOTS")
"""A folder for pictures of what is looked at, for whoever changes the pages."""
LOOKS = {"desktop": (1280, "light"), "phone": (360, "light"), "phone-dark": (360, "dark")}


@pytest.fixture(scope="module")
def chromium():
    if CHROMIUM is None:
        pytest.skip("no Chromium on the PATH (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = player.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@pytest.fixture
def server(served):
    made = served(spec_with_pages(), overview=Fixed())
    made.registry.set_secret("db/password", VALUE)
    for _ in range(3):
        made.get("db/password")
    return made


@pytest.fixture
def seen_by_chromium():
    """Return what the browser complained of, and what it loaded."""
    return {"console": [], "loaded": []}


@pytest.fixture(params=LOOKS)
def page(request, chromium, server, seen_by_chromium):
    width, scheme = LOOKS[request.param]
    context = chromium.new_context(
        viewport={"width": width, "height": 740}, color_scheme=scheme, base_url=server.url
    )
    made = context.new_page()
    made.look = request.param
    made.on("console", lambda line: seen_by_chromium["console"].append(line.text))
    made.on("pageerror", lambda error: seen_by_chromium["console"].append(str(error)))
    made.on("request", lambda asked: seen_by_chromium["loaded"].append(asked.url))
    yield made
    context.close()


def looked_at(page, name):
    if SCREENSHOTS:
        page.screenshot(path=Path(SCREENSHOTS) / f"{name}-{page.look}.png", full_page=True)
    page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text())
    result = page.evaluate(
        "axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice']})"
    )
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in result["violations"]] == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_an_administrator_logs_in_looks_and_logs_out(page, server, seen_by_chromium):
    reply = page.goto("/ui/")
    assert "unsafe" not in reply.headers["content-security-policy"]
    looked_at(page, "login")
    page.get_by_label("Token of a client").fill("wrong-token-0123456789")
    page.get_by_role("button", name="Log in").click()
    assert page.get_by_role("alert").is_visible()
    looked_at(page, "refused")
    page.get_by_label("Token of a client").fill(BOSS)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{server.url}/ui/")
    assert [one.inner_text() for one in page.get_by_role("heading", level=2).all()] == [
        "Pipelines", "Declared secrets", "Rotations", "Leases", "Requests", "Audit trail"
    ]  # fmt: skip
    looked_at(page, "overview")
    assert VALUE not in page.content()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the content"
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url(f"{server.url}/ui/**")
    page.goto("/ui/")
    assert page.get_by_label("Token of a client").is_visible()
    # A refused login, and a page without one, are 403: the browser says that, and nothing else.
    assert [one for one in seen_by_chromium["console"] if "403" not in one] == []
    assert all(one.startswith(server.url) for one in seen_by_chromium["loaded"])


def test_the_policy_is_heeded_so_a_script_would_not_run(page, server):
    page.set_extra_http_headers({"X-Vault-Token": BOSS})
    page.goto("/ui/")
    with pytest.raises(Exception, match=r"(?i)content.security.policy|CSP|Failed"):
        page.add_script_tag(content="window.ran = true")
    assert page.evaluate("window.ran") is None


def test_a_page_with_more_than_fits_is_readable_too(chromium, served):
    server = served(crowded_spec(), overview=Crowded())
    for look, (width, scheme) in LOOKS.items():
        page = chromium.new_page(
            viewport={"width": width, "height": 740},
            color_scheme=scheme,
            base_url=server.url,
            extra_http_headers={"X-Vault-Token": BOSS},
        )
        page.look = look
        page.goto("/ui/")
        looked_at(page, "crowded")
        first = page.get_by_role("row").nth(1)
        assert first.inner_text().startswith("away")  # what does not answer is first
        state = first.get_by_role("cell").first.bounding_box()
        assert state["x"] < width / 2  # and its state is seen without scrolling to the side
        page.close()
