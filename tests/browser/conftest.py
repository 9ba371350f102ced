"""A browser that sees files only, and galleries to look at."""

from __future__ import annotations

import importlib.util
import shutil
import time
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest

from oip import gallery
from oip.core import files

ARGUMENTS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-gpu",
]
MEDIA = {"color_scheme": "light", "reduced_motion": "no-preference", "forced_colors": "none"}
"""Of a page for which a test asks for nothing else."""
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "=1+1",
    "../../x",
    "‮txet thgir",
    "x" * 300,
]


def _runs():
    """The module that makes up runs."""
    path = Path(__file__).parent.parent / "gallery" / "conftest.py"
    spec = importlib.util.spec_from_file_location("gallery_runs", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _until(page, expression, arg=None):
    """Waits until an expression, or a function of `arg`, holds.

    Playwright's own polling needs the eval that the page's policy forbids.
    """
    end = time.monotonic() + 30
    while not page.evaluate(expression, arg):
        assert time.monotonic() < end, f"never true: {expression}"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def browser():
    """Chromium: the system's, or the one that playwright brought."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = next(
        (shutil.which(name) for name in ("chromium", "google-chrome", "chrome")), None
    )
    with sync_api.sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        except sync_api.Error as error:
            pytest.skip(f"no Chromium could be started: {error}")
        yield started
        started.close()


class Pages:
    """Pages of a browser, which tests use one after the other: new ones take longer than a look.

    Windows and media are set on a page that is there; a new context begins new processes.
    """

    def __init__(self, browser):
        self.errors = []
        self._browser = browser
        self._free, self._used = [], []

    def open(self, url, viewport=(1280, 800), **options):
        """Open a page in a window of (width, height); options as for a context."""
        media = {name: options.pop(name, usual) for name, usual in MEDIA.items()}
        slot = next((n for n, (_, given) in enumerate(self._free) if given == options), None)
        page = self._new(options) if slot is None else self._free.pop(slot)[0]
        self._used.append((page, options))
        page.set_viewport_size(dict(zip(("width", "height"), viewport, strict=True)))
        page.emulate_media(**media)
        page.goto(url)
        return page

    def leave(self):
        """Free the pages of a test, their history forgotten, and return what went wrong."""
        used = [(page, options) for page, options in self._used if not page.is_closed()]
        self._used.clear()
        for page, _ in used:
            page.title()  # what was reported meanwhile is received
        errors = list(self.errors)  # without pictures that are no longer waited for
        for page, _ in used:
            page.goto("about:blank")
            page.developer_tools.send("Page.resetNavigationHistory")
        self._free += used
        return errors

    def _new(self, options):
        page, errors = self._browser.new_context(**options).new_page(), self.errors
        page.developer_tools = page.context.new_cdp_session(page)
        page.wait_for_function = partial(_until, page)
        page.on("console", lambda message: errors.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: errors.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (errors.append("dialog"), dialog.dismiss()))
        page.on("requestfailed", lambda request: errors.append(f"failed: {request.url}"))

        def requested(request):
            if not request.url.startswith(("file:", "data:", "about:")):
                errors.append(f"request: {request.url}")

        page.on("request", requested)
        page.expose_function("reportViolation", lambda text: errors.append(f"policy: {text}"))
        page.add_init_script(
            "addEventListener('securitypolicyviolation', event => "
            "reportViolation(event.violatedDirective + ' ' + event.blockedURI))"
        )
        return page


@pytest.fixture(scope="session")
def pages(browser):
    """The `Pages` of all tests."""
    return Pages(browser)


@pytest.fixture
def look(pages):
    """Opens a page; at the end nothing may have gone wrong and nothing been asked for elsewhere."""
    pages.errors.clear()
    yield pages.open
    errors = pages.leave()
    assert errors == []


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """index.html of two layers with 12 and 300 maps and everything that can be known of them."""
    runs = _runs()
    run = runs.make_run(tmp_path_factory.mktemp("site") / "run", counts=(12, 300))
    for index, count in ((0, 12), (1, 300)):
        runs.add_evidence(run, index, count, len(runs.CLASSES))
    runs.add_record(run)
    return gallery.build(run)


@pytest.fixture(scope="session")
def clipped_site(tmp_path_factory):
    """index.html of a layer of which one map's estimate was under 0."""
    run = _runs().make_run(tmp_path_factory.mktemp("clipped") / "run", grown=())
    path = run.folder(0) / "ranking.json"
    record = files.read_json(path)
    first = record["estimators"][0]
    first["notices"] = ["decoder: 1 estimate below 0 is shown as 0."]
    next(row for row in first["maps"] if row["map"] == 7).update(mi=0.0, low=0.0)
    files.write_json(path, record)
    return gallery.build(run)


@pytest.fixture(scope="session")
def objective_site(tmp_path_factory):
    """index.html of a layer and of images that were grown for other objectives."""
    run = _runs().make_run(tmp_path_factory.mktemp("objectives") / "run", ranked=(0,))
    names = [f"class:{number} - <img src=x onerror=alert(1)>" for number in range(40)]
    first, second = run.layers
    objectives = msgspec.structs.replace(second, name="objectives", objectives=names)
    run.record = msgspec.structs.replace(run.record, layers=[first, objectives])
    return gallery.build(run)


@pytest.fixture(scope="session")
def units_site(tmp_path_factory):
    """index.html of 12 dense units, 8 of them ranked, and of 5 that were ranked alone."""
    path = tmp_path_factory.mktemp("units") / "run"
    names, classes = ("Dense_1", "Dense_2"), ["ankle boot", "кошка", "coat", "dress"]
    run = _runs().make_run(path, names=names, counts=(12, 5), grown=(0,), classes=classes)
    units = [msgspec.structs.replace(layer, kind="units", size=[]) for layer in run.layers]
    run.record = msgspec.structs.replace(run.record, layers=units)
    record = files.read_json(run.folder(0) / "ranking.json")
    for table in record["estimators"]:
        table["maps"] = [row for row in table["maps"] if row["map"] < 8]
        for rank, row in enumerate(table["maps"], start=1):
            row["rank"] = rank
    files.write_json(run.folder(0) / "ranking.json", record)
    return gallery.build(run)


@pytest.fixture(scope="session")
def few_site(tmp_path_factory):
    """index.html of two images that were grown for objectives; nothing was ranked."""
    path = tmp_path_factory.mktemp("few") / "run"
    run = _runs().make_run(path, names=("objectives",), counts=(2,), ranked=(), grown=(0,))
    (layer,) = run.layers
    layer = msgspec.structs.replace(layer, objectives=["class:4", "class:4 - class:9"])
    run.record = msgspec.structs.replace(run.record, layers=[layer])
    return gallery.build(run)


@pytest.fixture(scope="session")
def nested_site(tmp_path_factory):
    """index.html of maps of a layer within a model within the model."""
    path = tmp_path_factory.mktemp("nested") / "run"
    names = ("backbone/block5b_expand",)
    return gallery.build(_runs().make_run(path, names=names, counts=(40,), grown=(0,), ranked=()))


@pytest.fixture(scope="session", params=[2, 1])
def lines_site(request, tmp_path_factory):
    """index.html of a network of lines of 64 numbers, with images of the data."""
    runs = _runs()
    bands = request.param
    run = runs.make_run(
        tmp_path_factory.mktemp("lines") / "run", counts=(12, 12), shape=(64, bands)
    )
    lines = np.random.default_rng(0).normal(size=(30, 64, bands)).astype(np.float32)
    return gallery.build(run, data_images=lines)


@pytest.fixture(scope="session")
def single_site(tmp_path_factory):
    """gallery.html of two layers with 12 and 40 maps, with images of the data."""
    runs = _runs()
    run = runs.make_run(tmp_path_factory.mktemp("single") / "run")
    for index, count in ((0, 12), (1, 40)):
        runs.add_evidence(run, index, count, len(runs.CLASSES))
    runs.add_record(run)
    images = np.random.default_rng(0).integers(0, 256, (30, 12, 12, 1)).astype(np.uint8)
    return gallery.build(run, data_images=images, data_labels=np.arange(30) % 4, single_file=True)


@pytest.fixture(scope="session")
def large_site(tmp_path_factory):
    """index.html of 10,000 maps in five layers."""
    run = _runs().make_run(
        tmp_path_factory.mktemp("large") / "run",
        names=tuple(f"block{number}" for number in range(5)),
        counts=(2400, 2400, 2400, 2400, 400),
        shape=(4, 4, 1),
        ranked=tuple(range(5)),
        grown=(4,),
        estimators=("decoder",),
    )
    return gallery.build(run)


@pytest.fixture(scope="session")
def hostile_site(tmp_path_factory):
    """index.html of layers, classes and a model with hostile names."""
    run = _runs().make_run(
        tmp_path_factory.mktemp("hostile") / "run",
        names=tuple(HOSTILE),
        counts=(3,) * len(HOSTILE),
        ranked=tuple(range(len(HOSTILE))),
        grown=tuple(range(len(HOSTILE))),
        classes=HOSTILE,
        model="<b>bold</b>.keras",
    )
    return gallery.build(run)
