"""Networks of lines: patterns and data are strips."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser


def test_lines_are_strips_on_tiles_and_pages(look, lines_site):
    page = look(lines_site.as_uri())
    page.wait_for_selector("a.tile")
    box = page.locator("a.tile .picture").first.bounding_box()
    assert box["width"] == pytest.approx(4 * box["height"], rel=0.02)
    assert page.locator("a.tile").count() == 24
    page.evaluate("() => { location.hash = 'm=0.7' }")
    page.wait_for_selector("dialog .field")
    strip = page.locator("dialog .strip svg").last
    box = strip.bounding_box()
    assert box["width"] == pytest.approx(4 * box["height"], rel=0.1)
    high = float(page.locator("dialog .field").first.get_attribute("height"))
    assert high == 16 and float(page.locator("dialog .field").first.get_attribute("width")) == 3
    decoded = """image => {
        const copy = new Image();
        copy.src = image.href.baseVal;
        return copy.decode().then(() => [copy.naturalWidth, copy.naturalHeight]);
    }"""
    size = page.locator("dialog .moving image").evaluate(decoded)
    assert size[0] / size[1] == 5 * 4
    assert size[1] in (16, 32)
