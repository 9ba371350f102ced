"""The atlas: points that lead to maps, by mouse, keys and touch."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser


def _opened(look, url, **options):
    page = look(f"{url}#atlas=1", **options)
    page.wait_for_selector(".atlas-field canvas")
    return page


def _size(page):
    """Width and height of the canvas; what is on it cannot be read back from files."""
    return page.evaluate("(c => [c.width, c.height])(document.querySelector('.atlas canvas'))")


def test_the_atlas_opens_and_closes_and_is_in_the_address(look, site):
    page = look(site.as_uri())
    page.wait_for_selector("a.tile")
    page.click("#to-atlas")
    page.wait_for_selector(".atlas-field canvas")
    assert "atlas=1" in page.url and not page.locator("#grid").is_visible()
    assert page.text_content(".atlas h2") == "second"
    assert "Not placed: 1 map whose response" in page.text_content(".atlas")
    assert min(_size(page)) > 300
    page.keyboard.press("a")
    page.wait_for_selector("a.tile")
    assert "atlas" not in page.url and not page.locator("#atlas").is_visible()


def test_keys_lead_from_point_to_point_open_a_map_and_return(look, site):
    page = _opened(look, site.as_uri())
    link = page.locator(".atlas-point")
    link.focus()
    first = link.get_attribute("href")
    for key in ("ArrowRight", "ArrowLeft", "ArrowDown", "ArrowUp"):
        page.keyboard.press(key)
    visited = {first}
    for key in ["ArrowRight"] * 30 + ["ArrowDown"] * 30 + ["ArrowLeft"] * 30:
        page.keyboard.press(key)
        visited.add(link.get_attribute("href"))
    assert len(visited) > 8
    assert link.get_attribute("aria-label").startswith("Reconstructed input of map ")
    assert page.locator(".atlas-label").is_visible()
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open] .chart")
    assert "m=1." in page.url and "atlas=1" in page.url
    page.keyboard.press("Escape")
    page.wait_for_function("document.activeElement.className === 'atlas-point'")


def test_filters_and_layers_are_those_of_the_grid(look, site):
    page = _opened(look, site.as_uri())
    every = page.text_content("#count")
    page.select_option("#verdict", "=responsive")
    page.wait_for_function("every => document.querySelector('#count').textContent !== every", every)
    assert " of 300 maps" in page.text_content("#count")
    page.locator(".atlas-head button", has_text="first").click()
    page.wait_for_function("document.querySelector('.atlas h2').textContent === 'first'")
    assert page.input_value("#layer") == "0"


def test_zoom_by_buttons_wheel_and_drag_and_a_click_opens(look, site):
    page = _opened(look, site.as_uri())
    link = page.locator(".atlas-point")
    before = link.bounding_box()
    for _ in range(4):
        page.click('[aria-label="Zoom in"]')
    grown = link.bounding_box()
    assert grown["width"] > before["width"]
    page.click('[aria-label="Show all"]')
    assert link.bounding_box() == before
    field = page.locator(".atlas-field").bounding_box()
    page.mouse.move(field["x"] + 300, field["y"] + 200)
    page.mouse.wheel(0, -600)
    page.wait_for_function(
        "was => document.querySelector('.atlas-point').offsetWidth > was", before["width"]
    )
    zoomed = link.bounding_box()
    page.mouse.down()
    page.mouse.move(field["x"] + 340, field["y"] + 240, steps=4)
    page.mouse.up()
    assert not page.locator("dialog[open]").count(), "a drag opens nothing"
    assert link.bounding_box() != zoomed
    page.click('[aria-label="Show all"]')
    box = link.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector("dialog[open] .chart")


def test_a_tap_opens_a_map(look, site):
    options = {"viewport": (390, 800), "has_touch": True}
    page = _opened(look, site.as_uri(), **options)
    box = page.locator(".atlas-point").bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector("dialog[open] .chart")


@pytest.mark.parametrize("size", [(1280, 800), (390, 844)])
def test_pictures_at_the_edge_are_whole(look, site, size):
    page = look(f"{site.as_uri()}#atlas=1&layer=0", viewport=size)
    page.wait_for_selector(".atlas-field canvas")
    link, field = page.locator(".atlas-point"), page.locator(".atlas-field").bounding_box()
    link.focus()
    for key in ("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"):
        for _ in range(30):
            page.keyboard.press(key)
        box = link.bounding_box()
        for start, length in (("x", "width"), ("y", "height")):
            assert field[start] <= box[start]
            assert box[start] + box[length] <= field[start] + field[length]


def test_the_atlas_of_a_single_file(look, single_site):
    page = _opened(look, single_site.as_uri())
    assert min(_size(page)) > 300


def test_where_there_are_no_responses_it_says_so(look, large_site):
    page = look(f"{large_site.as_uri()}#atlas=1&layer=0")
    page.wait_for_selector(".atlas .notice")
    assert "oip rank" in page.text_content(".atlas .notice")


def test_alike_maps_are_a_row_that_leads_to_them(look, site):
    page = look(f"{site.as_uri()}#m=1.37")
    row = page.locator("section:has(h3:text-is('Maps with the most similar responses'))")
    row.locator("button").first.wait_for()
    assert row.locator("button").count() == 10
    row.locator("button").first.click()
    page.wait_for_function("!location.hash.includes('m=1.37')")


def test_an_atlas_that_comes_when_the_grid_is_back_changes_nothing(look, site):
    page = look(site.as_uri())
    page.wait_for_selector("a.tile")
    page.evaluate(
        "() => { for (let i = 0; i < 2; i += 1) document.querySelector('#to-atlas').click() }"
    )
    page.wait_for_selector('script[src="data/atlas.js"]', state="attached")
    page.evaluate(
        "() => new Promise(done => {"
        "const script = document.createElement('script');"
        "script.src = 'data/atlas.js'; script.onload = done; document.head.append(script) })"
    )
    assert page.text_content("#count") == "312 maps"
    assert page.locator("#atlas canvas").count() == 0
