"""Names are text wherever they are shown, and pages work without their script."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.browser


def test_hostile_names_are_text(look, hostile_site):
    page = look(hostile_site.as_uri())
    page.wait_for_selector("a.tile")
    headings = set(page.eval_on_selector_all(".layer-row h2", "all => all.map(h => h.textContent)"))
    names = page.eval_on_selector_all("#layer option", "all => all.map(o => o.textContent)")[1:]
    assert headings <= set(names) and len(names) == 6
    assert "../../x" in names
    assert "<script>alert(1)</script>" in names and '"><img src=x onerror=alert(1)>' in names
    assert page.text_content("h1") == "<b>bold</b>.keras"
    for index in range(6):
        page.evaluate("index => { location.hash = 'm=' + index + '.1' }", index)
        page.wait_for_function(
            "name => document.querySelector('dialog .layer-name')?.textContent === name",
            arg=names[5 - index],
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
        "layers/005-p1.html",
        "layers/000.html",
        "layers/005.html",
    ):
        page = look((hostile_site.parent / name).as_uri())
        assert page.locator("img[src=x], body script").count() == 0
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(wide) <= 0


def test_objectives_are_shown_by_their_expressions(look, objective_site):
    page = look(f"{objective_site.as_uri()}#m=1.2")
    page.wait_for_selector("dialog .chart", state="attached")
    assert page.text_content("#map-title") == "class:2 - <img src=x onerror=alert(1)>"
    assert "'class:2 - <img src=x onerror=alert(1)>'" in page.text_content("dialog pre")
    page.keyboard.press("Escape")
    page.fill("#search", "class:7")
    assert page.text_content("#count") == "1 of 52 units"
    page = look((objective_site.parent / "layers/001-p1.html").as_uri())
    assert page.text_content("#m2 b") == "class:2 - <img src=x onerror=alert(1)>"


def test_a_search_for_markup_stays_text(look, hostile_site):
    page = look(f"{hostile_site.as_uri()}#q=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E")
    assert page.input_value("#search") == "<img src=x onerror=alert(1)>"
    record = json.loads((hostile_site.parent / "maps.json").read_text("utf-8"))
    shown = [
        entry
        for entry in record["maps"]
        if "<img" in entry["layer"] or "<img" in (entry["information"][0]["best_class"] or "")
    ]
    assert len(shown) > 3  # three by layer, others by class
    assert page.text_content("#count") == f"{len(shown)} of 18 maps"


def test_pages_without_script_lead_to_every_layer(look, site):
    page = look(site.as_uri(), java_script_enabled=False)
    assert page.locator("noscript").count() == 1
    links = page.locator("main a[href^='layers/'][href*='-p']")
    assert links.count() == 3
    links.first.click()
    page.wait_for_url("**/layers/001-p1.html")
    assert page.locator("li[id^=m]").count() == 256
    assert page.locator("img").first.evaluate("image => image.complete") is True


def test_without_script_nothing_is_offered_that_needs_it(look, site):
    page = look(site.as_uri(), java_script_enabled=False)
    assert not page.is_visible("#keys") and not page.is_visible("#controls")
    page = look((site.parent / "layers/000-p1.html").as_uri(), java_script_enabled=False)
    page.locator("li a:has(img)").first.click()
    page.wait_for_url("**/img/full/000/*.webp")


def test_keys_are_offered_with_script(look, site):
    page = look(site.as_uri())
    page.click("#keys")
    assert page.is_visible("#help")
