"""A browser that sees files only, and galleries to look at."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

import gallery

ARGUMENTS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-gpu",
]
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "=1+1",
    "‮txet thgir",
    "x" * 300,
]


def _maker():
    path = Path(__file__).parent.parent / "gallery" / "conftest.py"
    spec = importlib.util.spec_from_file_location("gallery_runs", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make_run


@pytest.fixture(scope="session")
def browser():
    """Chromium: the system's, or the one that playwright brought."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next((shutil.which(name) for name in ("chromium", "google-chrome", "chrome")), None)
    with sync_api.sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        except sync_api.Error as error:
            pytest.skip(f"no Chromium could be started: {error}")
        yield started
        started.close()


@pytest.fixture
def look(browser):
    """Opens a page; at the end nothing may have gone wrong and nothing been asked for elsewhere."""
    contexts, wrong = [], []

    def opened(url, **options):
        options = {"viewport": {"width": 1280, "height": 800}, **options}
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (wrong.append("dialog"), dialog.dismiss()))
        page.on("requestfailed", lambda request: wrong.append(f"failed: {request.url}"))

        def requested(request):
            if not request.url.startswith(("file:", "data:")):
                wrong.append(f"request: {request.url}")

        page.on("request", requested)
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """index.html of two layers with 12 and 300 maps."""
    run = _maker()(tmp_path_factory.mktemp("site") / "run", counts=(12, 300))
    return gallery.build(run)


@pytest.fixture(scope="session")
def hostile_site(tmp_path_factory):
    """index.html of layers, classes and a model with hostile names."""
    run = _maker()(
        tmp_path_factory.mktemp("hostile") / "run",
        names=tuple(HOSTILE),
        counts=(3, 3, 3, 3, 3),
        ranked=tuple(range(5)),
        grown=tuple(range(5)),
        classes=HOSTILE,
        model="<b>bold</b>.keras",
    )
    return gallery.build(run)
