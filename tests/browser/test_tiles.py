"""What tiles say."""

from __future__ import annotations

import csv

import pytest

pytestmark = pytest.mark.browser


@pytest.fixture
def rows(site):
    """maps.csv by the keys of the maps."""
    with (site.parent / "maps.csv").open(encoding="utf-8", newline="") as stream:
        return {f"{row['index']}.{row['map']}": row for row in csv.DictReader(stream)}


@pytest.mark.parametrize("sort", ["score", "redundancy", "class-2"])
def test_tiles_say_what_they_are_ordered_by(look, site, rows, sort):
    page = look(f"{site.as_uri()}#layer=0&sort={sort}")
    page.wait_for_selector("a.tile")
    for tile in page.locator("a.tile").all():
        row = rows[tile.get_attribute("data-key")]
        label, amount = tile.get_attribute("aria-label"), tile.locator(".amount").text_content()
        if sort == "class-2":
            assert f"{amount} bits about coat" in label
            continue
        value = float(amount.removeprefix(sort).replace("–", "nan"))
        assert f"{sort} {amount.removeprefix(sort)}" in label
        if row[sort]:
            assert value == pytest.approx(float(row[sort]), rel=0.01)
    assert (page.text_content("#scale") == "") == (sort != "class-2")


def test_a_silent_map_says_so(look, site):
    page = look(f"{site.as_uri()}#verdict=dead&layer=1")
    page.wait_for_selector("a.tile")
    assert page.locator("a.tile .over").text_content() == "○ silent"
    assert "silent: dead (proved)" in page.locator("a.tile").get_attribute("aria-label")


@pytest.mark.parametrize("size", ["m", "l"])
def test_badges_of_a_tile_are_whole(look, site, size):
    page = look(f"{site.as_uri()}#size={size}&rev=1&group=shallow")
    page.wait_for_selector("a.tile")
    badges = page.eval_on_selector_all(
        "a.tile .under",
        """all => all.map(under => {
          const row = under.closest(".row").getBoundingClientRect();
          const badges = [...under.children];
          const cut = badges.some(one => one.scrollWidth > one.clientWidth);
          return [badges.length, cut || under.getBoundingClientRect().bottom > row.bottom];
        })""",
    )
    assert max(count for count, _ in badges) == 2
    assert not any(cut for _, cut in badges)


def test_small_tiles_are_lean(look, site):
    page = look(f"{site.as_uri()}#size=s")
    page.wait_for_selector("a.tile")
    shown = page.locator("a.tile").count()
    assert page.locator("#grid *").count() <= 13 * shown + 40


def test_few_maps_have_large_tiles_unless_a_size_is_chosen(look, few_site, site):
    page = look(few_site.as_uri())
    assert page.locator("a.tile .picture").first.bounding_box()["width"] > 200
    page = look(f"{few_site.as_uri()}#size=m")
    assert page.locator("a.tile .picture").first.bounding_box()["width"] < 120
    page = look(f"{site.as_uri()}#q=first")
    assert page.locator("a.tile .picture").first.bounding_box()["width"] < 120


def test_the_legend_explains_what_is_on_the_page(look, few_site, site):
    assert "bar under it" in look(site.as_uri()).text_content("#legend")
    text = look(few_site.as_uri()).text_content("#legend")
    assert "one objective" in text
    assert "bar" not in text and "best for" not in text


def test_a_layer_says_how_many_of_its_maps_are_here(look, few_site, site):
    facts = ".layer-row .quiet"
    assert look(few_site.as_uri()).text_content(facts).startswith("2 objectives")
    assert look(site.as_uri()).text_content(facts).startswith("300 maps")
    assert look(f"{site.as_uri()}#q=7").text_content(facts).split(" maps")[0].endswith(" of 300")
