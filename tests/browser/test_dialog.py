"""A map's page: its address, the way back, keys, and what it shows."""

from __future__ import annotations

import json

import pytest

from oip.gallery.escape import shown_figure

pytestmark = pytest.mark.browser


def test_enter_opens_and_escape_returns_the_focus(look, site):
    page = look(site.as_uri())
    page.locator("a.tile").nth(3).focus()
    key = page.evaluate("document.activeElement.dataset.key")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open] .chart")
    assert f"m={key}" in page.url
    page.keyboard.press("Escape")
    page.wait_for_function("!document.querySelector('dialog[open]')")
    page.wait_for_function("!location.hash.includes('m=')")
    assert page.evaluate("document.activeElement.dataset.key") == key


def test_back_closes_and_forward_opens(look, site):
    page = look(site.as_uri())
    page.select_option("#sort", "score")
    page.locator("a.tile").nth(2).click()
    page.wait_for_selector("dialog[open]")
    page.go_back()
    page.wait_for_function("!document.querySelector('dialog[open]')")
    assert page.input_value("#sort") == "score"
    assert "m=" not in page.url
    page.go_forward()
    page.wait_for_selector("dialog[open]")


def test_an_address_opens_a_map(look, site):
    page = look(f"{site.as_uri()}#m=1.37&sort=index")
    page.wait_for_selector("dialog[open] .chart")
    assert page.text_content("#map-title") == "second\u00a0:\u00a037"
    page.click("dialog .close")
    page.wait_for_function("!document.querySelector('dialog[open]')")
    assert page.url.endswith("#sort=index")
    assert page.evaluate("document.activeElement.dataset.key") == "1.37"


def test_brackets_lead_along_the_order_and_back_still_closes(look, site):
    page = look(site.as_uri())
    page.wait_for_selector("a.tile")
    order = page.eval_on_selector_all("a.tile", "all => all.map(one => one.dataset.key)")
    page.locator("a.tile").first.click()
    page.wait_for_selector("dialog[open]")
    for key, expected in (("]", 1), ("]", 2), ("[", 1), ("[", 0), ("[", 0)):
        page.keyboard.press(key)
        assert f"m={order[expected]}" in page.url
    page.keyboard.press("]")
    page.go_back()
    page.wait_for_function("!document.querySelector('dialog[open]')")
    page.wait_for_function("key => document.activeElement.dataset.key === key", order[1])


def test_one_pager_leads_along_the_order(look, site):
    page = look(f"{site.as_uri()}#m=1.37&sort=index")
    page.wait_for_selector("dialog .chart")
    assert page.locator("dialog .turn").count() == 1
    page.click('[aria-label="Next map"]')
    assert "m=1.38" in page.url
    page.click('[aria-label="Previous map"]')
    page.click('[aria-label="Previous map"]')
    assert "m=1.36" in page.url
    assert page.evaluate("document.activeElement.dataset.turn") == "Previous map"


def test_the_picture_leads_then_a_sentence_then_the_classes(look, site):
    page = look(f"{site.as_uri()}#m=1.37")
    page.wait_for_selector("dialog .chart")
    parts = page.eval_on_selector_all("dialog .map-body > *", "all => all.map(n => n.className)")
    assert parts[:3] == ["lead", "verdict", "parts"]
    assert page.locator("dialog .parts h3").first.text_content() == "Information about each class"
    headline = page.text_content("dialog .headline")
    assert headline.startswith("The map responds") and headline.endswith(".")
    folded = page.eval_on_selector_all("dialog .more-parts", "all => all.map(d => d.open)")
    assert folded == [False] * 3
    assert page.locator("dialog .portrait").bounding_box()["width"] > 300


def test_everything_known_is_shown(look, site):
    page = look(f"{site.as_uri()}#m=1.37")
    page.wait_for_selector("dialog .chart")
    headings = page.eval_on_selector_all("dialog h3", "all => all.map(h => h.textContent)")
    for heading in (
        "Information",
        "Information about each class",
        "About each class",
        "Score",
        "Response to each class",
        "Starts",
        "From noise",
        "Layer details",
        "Response, beside data and noise",
        "Most redundant other maps",
        "Model output for this OIP",
        "When the map is silenced",
        "Information during training",
        "Reproduce",
    ):
        assert heading in headings
    assert page.locator("dialog .measure").count() == 2
    assert page.locator("dialog .class-panel").count() == 2
    assert page.locator("dialog .class-panel .class-bar").count() == 8
    assert page.locator("dialog .trace").count() == 3 + 1
    assert page.locator("dialog .reference").count() == 1
    assert "second:37" in page.text_content("dialog pre")
    assert "Images of the data that excite it most" not in headings


def test_a_score_is_one_number_in_text_bars_chart_and_files(look, site):
    maps = json.loads((site.parent / "maps.json").read_text())["maps"]
    for number in (37, 38, 40):
        page = look(f"{site.as_uri()}#m=1.{number}")
        page.wait_for_selector("dialog .chart")
        score = next(
            entry["score"] for entry in maps if (entry["index"], entry["map"]) == (1, number)
        )
        assert f"Score {shown_figure(score)};" in page.text_content("dialog .verdict")
        bars = page.locator("section:has(h3:text-is('Response, beside data and noise')) .class-bar")
        assert bars.first.text_content() == f"OIP{shown_figure(score)}"
        chart = page.locator("section:has(h3:text-is('Score')) svg").first
        assert f"best {shown_figure(score)}" in chart.get_attribute("aria-label")
        assert page.locator("dialog figcaption span").first.text_content() == shown_figure(score)


def test_kernels_stand_in_order_where_they_were_ranked(look, site):
    page = look(f"{site.as_uri()}#m=1.0")
    page.wait_for_selector("dialog .kernels")
    kernels = page.eval_on_selector_all(
        "dialog .kernels li", "all => all.map(li => li.textContent)"
    )
    assert [text[:9] for text in kernels] == ["#1input 2", "#2input 0", "#3input 5"]
    assert page.locator("dialog .kernel rect").count() == 27
    page.keyboard.press("Escape")
    page = look(f"{site.as_uri()}#m=1.37")
    page.wait_for_selector("dialog .chart")
    assert page.locator("dialog .kernels").count() == 0


def test_a_neighbour_opens(look, site):
    page = look(f"{site.as_uri()}#m=1.1")
    page.wait_for_selector("dialog .neighbours button")
    page.locator("dialog .neighbours button[aria-label^='Map 0,']").first.click()
    page.wait_for_function("location.hash.includes('m=1.0')")
    assert page.text_content("#map-title") == "second\u00a0:\u00a00"


def test_a_notice_of_the_layer_is_not_told_of_a_map_that_it_does_not_concern(look, clipped_site):
    page = look(f"{clipped_site.as_uri()}#m=0.7")
    page.wait_for_selector("dialog .measure", state="attached")
    assert "shown as 0" in page.text_content("dialog .map-body")
    page.evaluate("location.hash = 'm=0.8'")
    page.wait_for_function("document.querySelector('#map-title').textContent.endsWith('8')")
    page.wait_for_selector("dialog .measure", state="attached")
    assert "shown as 0" not in page.text_content("dialog .map-body")


def test_failed_map_has_a_page(look, site):
    page = look(f"{site.as_uri()}#m=1.5")
    page.wait_for_selector("dialog .verdict")
    assert "not a finite number" in page.text_content("dialog .verdict")


def test_p_values_have_two_digits_as_on_the_command_line(look, site):
    page = look(f"{site.as_uri()}#m=1.37")
    page.wait_for_selector("dialog .measure", state="attached")
    text = " ".join(page.locator("dialog .measure").all_text_contents())
    assert "p 0.001 " in text and "e-4" not in text


def test_the_way_from_noise_ends_with_the_last_step(look, site):
    for number, last in ((8, "17"), (9, "20")):
        page = look(f"{site.as_uri()}#m=1.{number}")
        page.wait_for_selector("dialog .stages")
        captions = page.locator("dialog .stages figcaption").all_text_contents()
        assert captions == ["noise", "2", "5", "10", last]


def test_reduced_motion_shows_stills_only(look, site):
    page = look(f"{site.as_uri()}#m=1.37", reduced_motion="reduce")
    page.wait_for_selector("dialog .stages")
    assert page.locator("dialog .moving").count() == 0
    assert page.locator("dialog .stages figure").count() == 5
    page = look(f"{site.as_uri()}#m=1.37", reduced_motion="no-preference")
    page.wait_for_selector("dialog .moving")


def test_images_are_there(look, site):
    page = look(f"{site.as_uri()}#m=1.37")
    page.wait_for_selector("dialog .moving")
    page.locator("dialog .moving image").evaluate(
        "image => Object.assign(new Image(), {src: image.href.baseVal}).decode()"
    )
    page.click("dialog .close")


def test_question_mark_shows_the_keys(look, site):
    page = look(site.as_uri())
    page.keyboard.press("?")
    page.wait_for_selector("#help[open]")
    page.keyboard.press("Escape")
    page.wait_for_function("!document.querySelector('dialog[open]')")
