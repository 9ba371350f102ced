"""Names are text wherever they are shown, and pages work without their script."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser


def test_hostile_names_are_text(look, hostile_site):
    page = look(hostile_site.as_uri())
    page.wait_for_selector("a.tile")
    found = set(page.eval_on_selector_all(".layer-row h2", "all => all.map(h => h.textContent)"))
    names = page.eval_on_selector_all("#layer option", "all => all.map(o => o.textContent)")[1:]
    assert found <= set(names) and len(names) == 5
    assert "<script>alert(1)</script>" in names and '"><img src=x onerror=alert(1)>' in names
    assert page.text_content("h1") == "<b>bold</b>.keras"
    for index in range(5):
        page.evaluate("index => { location.hash = 'm=' + index + '.1' }", index)
        page.wait_for_function(
            "name => document.querySelector('dialog .layer-name')?.textContent === name",
            arg=names[4 - index],
        )
        page.wait_for_selector("dialog .class-bar")
        wide = "(d => d.scrollWidth - d.clientWidth)(document.querySelector('#map'))"
        assert page.evaluate(wide) <= 0
    assert page.locator("img[src=x], b:not(.x) > b, main script, dialog script").count() == 0
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wide) <= 0


def test_hostile_names_on_pages_without_script(look, hostile_site):
    for name in (
        "about.html",
        "model.html",
        "layers/000-p1.html",
        "layers/004-p1.html",
        "layers/000.html",
        "layers/004.html",
    ):
        page = look((hostile_site.parent / name).as_uri())
        assert page.locator("img[src=x], body script").count() == 0
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(wide) <= 0


def test_objectives_are_shown_by_their_expressions(look, objective_site):
    page = look(f"{objective_site.as_uri()}#m=1.2")
    page.wait_for_selector("dialog .chart")
    assert page.text_content("#map-title") == "class:2 - <img src=x onerror=alert(1)>"
    assert "'class:2 - <img src=x onerror=alert(1)>'" in page.text_content("dialog pre")
    page.keyboard.press("Escape")
    page.fill("#search", "class:7")
    assert page.text_content("#count") == "1 of 52 maps"
    page = look((objective_site.parent / "layers/001-p1.html").as_uri())
    assert page.text_content("#m2 b") == "class:2 - <img src=x onerror=alert(1)>"


def test_a_search_for_markup_stays_text(look, hostile_site):
    page = look(f"{hostile_site.as_uri()}#q=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E")
    assert page.input_value("#search") == "<img src=x onerror=alert(1)>"
    assert page.text_content("#count") == "3 of 15 maps"


def test_pages_without_script_lead_to_every_layer(look, site):
    page = look(site.as_uri(), java_script_enabled=False)
    assert page.locator("noscript").count() == 1
    links = page.locator("main a[href^='layers/'][href*='-p']")
    assert links.count() == 3
    links.first.click()
    page.wait_for_url("**/layers/001-p1.html")
    assert page.locator("li[id^=m]").count() == 256
    assert page.locator("img").first.evaluate("image => image.complete") is True
