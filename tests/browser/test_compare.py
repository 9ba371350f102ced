"""Up to four maps side by side."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser


def _picked(page):
    return page.evaluate("new URLSearchParams(location.hash.slice(1)).get('c') || ''")


def test_maps_are_picked_by_key_and_compared(look, site):
    page = look(site.as_uri())
    page.locator("a.tile").first.focus()
    keys = []
    for _ in range(3):
        keys.append(page.evaluate("document.activeElement.dataset.key"))
        page.keyboard.press("c")
        page.keyboard.press("ArrowRight")
    assert _picked(page) == "_".join(keys)
    assert page.locator(".tray .near").count() == 3
    page.click(".tray button.main")
    page.wait_for_selector("#compare[open] .chart")
    assert "v=1" in page.url
    assert page.locator("#compare article").count() == 3
    page.keyboard.press("Escape")
    page.wait_for_function("!location.hash.includes('v=1')")
    assert _picked(page) == "_".join(keys)
    page.go_forward()
    page.wait_for_selector("#compare[open] .chart")


def test_maps_are_picked_by_mouse_and_put_back(look, site):
    page = look(site.as_uri())
    page.locator("a.tile").nth(2).hover()
    page.locator("button.pick").nth(2).click()
    assert page.locator('button.pick[aria-pressed="true"]').count() == 1
    assert page.is_visible("#tray") and not page.is_visible("dialog[open]")
    page.locator("button.pick").nth(2).click()
    assert _picked(page) == "" and not page.is_visible("#tray")


def test_the_focus_stays_in_the_tray_and_returns_from_it(look, site):
    page = look(f"{site.as_uri()}#c=0.1_0.2")
    page.locator(".tray .near").first.focus()
    page.keyboard.press("Enter")
    assert _picked(page) == "0.2"
    assert page.evaluate("document.activeElement.closest('#tray') !== null")
    page.keyboard.press("Enter")
    assert _picked(page) == "" and not page.is_visible("#tray")
    assert page.evaluate("document.activeElement.classList.contains('tile')")


def test_a_fifth_map_takes_the_place_of_the_first(look, site):
    page = look(f"{site.as_uri()}#c=0.1_0.2_0.6_0.7")
    page.locator("a.tile").first.focus()
    key = page.evaluate("document.activeElement.dataset.key")
    page.keyboard.press("c")
    assert _picked(page) == f"0.2_0.6_0.7_{key}"


def test_an_address_opens_the_comparison(look, site):
    page = look(f"{site.as_uri()}#c=1.0_1.1_0.2&v=1")
    page.wait_for_selector("#compare[open] .chart")
    names = page.eval_on_selector_all("#compare h3", "all => all.map(h => h.textContent)")
    assert names == ["second\u00a0:\u00a00", "second\u00a0:\u00a01", "first\u00a0:\u00a02"]
    first = page.locator("#compare article").nth(0).text_content()
    assert "renyi with 1" in first and "renyi with 2" not in first


def test_a_map_opens_from_the_comparison_and_leads_back(look, site):
    page = look(f"{site.as_uri()}#c=1.0_1.1&v=1")
    page.click("#compare h3 button >> nth=1")
    page.wait_for_selector("#map[open] .chart")
    assert not page.is_visible("#compare")
    page.keyboard.press("Escape")
    page.wait_for_selector("#compare[open]")
    page.wait_for_function("!document.querySelector('#map[open]')")


def test_taking_the_last_one_out_closes(look, site):
    page = look(f"{site.as_uri()}#c=1.0_1.1&v=1")
    page.click('[aria-label="Remove map 0"]')
    page.wait_for_function("document.querySelectorAll('#compare article').length === 1")
    page.click('[aria-label="Remove map 1"]')
    page.wait_for_function("!document.querySelector('dialog[open]')")
    assert _picked(page) == ""


def test_what_is_picked_in_a_map_s_page_stays_picked(look, site):
    page = look(f"{site.as_uri()}#m=1.37")
    page.wait_for_selector("#map .chart")
    page.keyboard.press("c")
    assert page.text_content(".pick-open") == "✓ Compared"
    page.keyboard.press("]")
    page.wait_for_function("!location.hash.includes('m=1.37')")
    page.click(".pick-open")
    assert len(_picked(page).split("_")) == 2
    page.keyboard.press("Escape")
    page.wait_for_function("!document.querySelector('dialog[open]')")
    assert len(_picked(page).split("_")) == 2
    page.locator("a.tile").first.click()
    page.click(".pick-open")
    picked = _picked(page)
    page.go_back()
    page.wait_for_function("!document.querySelector('dialog[open]')")
    assert _picked(page) == picked and len(picked.split("_")) == 3


def test_odd_picks_do_no_harm(look, site):
    page = look(f"{site.as_uri()}#c=1.0_1.0_9.9_<b>_1.1_1.2_1.3_1.4&v=1")
    page.wait_for_selector("#compare[open] .chart")
    assert page.locator("#compare article").count() == 4
    page = look(f"{site.as_uri()}#c=__proto__&v=1")
    page.wait_for_selector("a.tile")
    assert not page.is_visible("dialog[open]") and not page.is_visible("#tray")


@pytest.mark.parametrize("width", [390, 1280])
def test_parts_of_all_columns_stand_at_one_height(look, site, width):
    page = look(f"{site.as_uri()}#c=1.3_1.0_1.6_1.9&v=1", viewport=(width, 800))
    page.wait_for_selector("#compare .chart")
    tops = page.eval_on_selector_all(
        "#compare article",
        "all => all.map(one => [...one.children].map(part => part.getBoundingClientRect().top))",
    )
    assert len(tops) == 4 and {len(column) for column in tops} == {7}
    wide = "all => all.map(one => one.scrollWidth - one.clientWidth)"
    assert max(page.eval_on_selector_all("#compare article", wide)) <= 1
    for part in zip(*tops, strict=True):
        assert max(part) - min(part) < 1
