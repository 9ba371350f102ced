"""10,000 maps: the page stays as quick as with few.

Budgets are wide here (a busy machine is no defect); what they guard is the growth with the number
of maps. The narrow figures are measured by hand.
"""

from __future__ import annotations

import gzip

import pytest

pytestmark = pytest.mark.browser

FIRST = """
new MutationObserver((_, watch) => {
  if (document.querySelector("a.tile")) {
    window.first = performance.now();
    watch.disconnect();
  }
}).observe(document, { childList: true, subtree: true });
"""
CHANGED = """([name, value]) => {
  const menu = document.querySelector(name);
  const began = performance.now();
  menu.value = value;
  menu.dispatchEvent(new Event(menu.type === "search" ? "input" : "change"));
  return performance.now() - began;
}"""


def _first(look, url):
    page = look("about:blank")
    page.add_init_script(FIRST)
    milliseconds = []
    for _ in range(3):
        page.goto("about:blank")
        page.goto(url)
        page.wait_for_function("window.first")
        milliseconds.append(page.evaluate("window.first"))
    return page, min(milliseconds)


def test_first_tiles_and_orders_of_ten_thousand_maps(look, large_site, site):
    _, few = _first(look, site.as_uri())
    page, large = _first(look, large_site.as_uri())
    assert page.text_content("#count") == "10000 maps"
    assert large < 900 and large < 8 * few  # the budget is 300 ms
    assert page.locator("a.tile").count() < 500
    for menu, value in (
        ("#sort", "score"),
        ("#sort", "mi"),
        ("#group", "all"),
        ("#sort", "index"),
        ("#verdict", "=dead"),
        ("#search", "block3 17"),
    ):
        took = min(page.evaluate(CHANGED, [menu, value]) for _ in range(2))
        assert took < 300, (menu, value)  # the budget is 100 ms
        assert page.locator("a.tile").count() < 500


SCROLL = """async by => {
  const took = [];
  let last = performance.now();
  for (let i = 1; i <= 120; i += 1) {
    scrollTo(0, i * by);
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    took.push(now - last);
    last = now;
  }
  took.sort((a, b) => a - b);
  return took[Math.floor(0.95 * took.length)];
}"""


def _frames(look, url):
    """95th percentile (ms) of the frames while the page scrolls within its first 300 maps."""
    page = look(url)
    page.wait_for_selector("a.tile")
    return min(page.evaluate(SCROLL, 15) for _ in range(3))


def test_frames_of_ten_thousand_maps_are_as_quick_as_of_few(look, large_site, site):
    few = _frames(look, site.as_uri())
    large = _frames(look, large_site.as_uri())
    assert large < 4 * max(few, 1000 / 60)  # the budget is 50 ms


@pytest.mark.parametrize("window", [(1920, 1080), (2560, 1440), (3840, 2160)])
def test_tiles_in_the_page_stay_under_500(look, large_site, window):
    width, height = window
    page = look(f"{large_site.as_uri()}#size=s", viewport=(width, height))
    page.wait_for_selector("a.tile")
    for position in (0, 3000, 20_000):
        page.evaluate("place => scrollTo(0, place)", position)
        page.evaluate("() => new Promise(requestAnimationFrame)")
        page.evaluate("() => new Promise(requestAnimationFrame)")
        assert 100 < page.locator("a.tile").count() < 500


def test_scripts_are_small(large_site):
    assert len(gzip.compress((large_site.parent / "data/maps.js").read_bytes())) <= 200 * 1024
