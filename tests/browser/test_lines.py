"""Networks of lines: patterns and data are drawn over time."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser


def test_lines_are_drawings_on_tiles_and_pages(look, lines_site):
    page = look(lines_site.as_uri())
    page.wait_for_selector("a.tile")
    box = page.locator("a.tile .picture").first.bounding_box()
    assert box["width"] == pytest.approx(1.5 * box["height"], rel=0.02)
    assert page.locator("a.tile").count() == 24
    assert "px" not in page.text_content("#grid") and "samples" in page.text_content("#grid")
    page.evaluate("() => { location.hash = 'm=0.7' }")
    page.wait_for_selector("dialog .field")
    assert page.text_content("dialog .axis") == "0time, in samples63"
    bands = page.locator("dialog .bands span").count()
    assert bands in (0, 2)
    field = page.locator("dialog .field").first
    assert float(field.get_attribute("height")) == 280
    assert float(field.get_attribute("width")) == pytest.approx(3 * 420 / 64, abs=0.01)
    text = page.text_content("dialog .map-body")
    assert "px" not in text and "Windows of the data that excite it most" in text
    assert "contrast" not in text
    decoded = """image => {
        const copy = new Image();
        copy.src = image.href.baseVal;
        return copy.decode().then(() => [copy.naturalWidth, copy.naturalHeight]);
    }"""
    size = page.locator("dialog .moving image").evaluate(decoded)
    assert size[0] / size[1] == pytest.approx(5 * 1.5, rel=0.01)
    size = page.locator("dialog .portrait image").evaluate(decoded)
    assert size == [420, 280], "one row: lines are not drawn with more contrast"
