"""Order, sorting, filters, addresses and keys of the grid."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser


def keys(page):
    """Keys of the tiles in the page, from top to bottom."""
    return page.eval_on_selector_all(
        "a.tile",
        "tiles => tiles.sort((a, b) => a.dataset.position - b.dataset.position)"
        ".map(tile => tile.dataset.key)",
    )


@pytest.fixture
def rows(site):
    """maps.csv, in the order of the default view."""
    with (site.parent / "maps.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _key(row):
    return f"{row['index']}.{row['map']}"


def test_default_order_is_that_of_the_table(look, site, rows):
    page = look(site.as_uri())
    page.wait_for_selector("a.tile")
    assert page.text_content("#count") == "312 maps"
    shown_keys = keys(page)
    assert len(shown_keys) > 20
    assert shown_keys == [_key(row) for row in rows[: len(shown_keys)]]


def test_only_tiles_near_the_window_are_in_the_page(look, site):
    page = look(site.as_uri())
    page.wait_for_selector("a.tile")
    assert page.locator("a.tile").count() < 150
    page.mouse.wheel(0, 100_000)
    page.wait_for_selector('a.tile[data-position="311"]')
    assert page.locator("a.tile").count() < 150
    assert page.get_attribute("#grid", "role") == "grid"
    assert int(page.get_attribute("#grid", "aria-rowcount")) > 30


@pytest.mark.parametrize(
    ("value", "column"), [("score", "score"), ("index", "map"), ("mi", "kde mi (bits)")]
)
def test_sort(look, site, rows, value, column):
    page = look(site.as_uri())
    page.select_option("#sort", value)
    if value == "mi":
        page.click("#all")
        page.select_option("#by", "kde")
    page.select_option("#layer", "0")
    page.wait_for_function("document.querySelector('#count').textContent.startsWith('12 of')")
    layer = [row for row in rows if row["index"] == "0"]
    number = (
        (lambda row: int(row["map"]))
        if value == "index"
        else (lambda row: -float(row[column] or -1e9))
    )
    assert keys(page) == [_key(row) for row in sorted(layer, key=number)]


def test_sort_by_the_bits_about_a_class(look, site):
    page = look(site.as_uri())
    page.select_option("#sort", "class-2")
    page.wait_for_function("document.querySelector('#scale').textContent.includes('coat')")
    shown = page.eval_on_selector_all("a.tile .bits", "all => all.map(b => Number(b.textContent))")
    assert len(shown) > 10
    positions = {"0": [], "1": []}
    for key, bits in zip(keys(page), shown, strict=True):
        positions[key[0]].append(bits)
    assert all(bits == sorted(bits, reverse=True) for bits in positions.values())


def test_layers_are_mixed_only_by_a_held_out_bound(look, site, rows):
    page = look(site.as_uri())
    option = '#group option[value="all"]'
    assert page.get_attribute(option, "disabled") is None
    page.click("#all")
    page.select_option("#group", "all")
    assert "usable information (a lower bound)" in page.text_content("#scale")
    order = sorted(rows, key=lambda row: -float(row["decoder mi (bits)"]))
    shown_keys = keys(page)
    by_key = {_key(row): float(row["decoder mi (bits)"]) for row in rows}
    assert [round(by_key[key], 3) for key in shown_keys] == [
        round(by_key[_key(row)], 3) for row in order[: len(shown_keys)]
    ]
    page.select_option("#by", "kde")
    assert page.get_attribute(option, "disabled") is not None
    assert page.input_value("#group") == "deep"
    page.wait_for_function("document.querySelectorAll('.layer-row').length > 0")
    assert keys(page)[0].startswith("1.")


def test_filters(look, site, rows):
    page = look(site.as_uri())
    page.select_option("#verdict", "=dead")
    assert page.text_content("#count") == "2 of 312 maps"
    assert set(keys(page)) == {"0.3", "1.3"}
    page.click("#reset")
    page.select_option("#class", "1")
    expected = [_key(row) for row in rows if row["decoder best class"] == "bag"]
    assert page.text_content("#count") == f"{len(expected)} of 312 maps"
    assert keys(page) == expected[: len(keys(page))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SECOND 37", ["1.37"]),
        ("first:11", ["0.11"]),
        ("first:1", ["0.1"]),  # not 10, 11 and so on
        ("first : 11", ["0.11"]),
        ("map 11 of first", ["0.11"]),
        ("map 299", ["1.299"]),
    ],
)
def test_search(look, site, text, expected):
    page = look(site.as_uri())
    page.keyboard.press("/")
    page.keyboard.type(text)
    page.wait_for_function("document.querySelector('#count').textContent === '1 of 312 maps'")
    assert keys(page) == expected


def test_least_first(look, site, rows):
    page = look(site.as_uri())
    page.select_option("#layer", "0")
    page.click("#turn")
    assert "rev=1" in page.url and page.get_attribute("#turn", "aria-pressed") == "true"
    layer = [row for row in rows if row["index"] == "0"]
    order = sorted(layer, key=lambda row: -int(row["decoder rank"]))
    assert keys(page) == [_key(row) for row in order]
    page.click("#turn")
    assert "rev" not in page.url


def test_sort_and_filter_by_legibility(look, site, rows):
    page = look(f"{site.as_uri()}#sort=legibility&layer=0")
    page.wait_for_selector("a.tile")
    layer = [row for row in rows if row["index"] == "0"]
    order = sorted(layer, key=lambda row: -float(row["legibility share"] or -1))
    assert keys(page) == [_key(row) for row in order]
    share = float(order[0]["legibility share"])
    assert f"{100 * share:.0f} %" in page.text_content("a.tile .amount")
    page.click("#all")
    page.fill("#legible", "70")
    shown = [_key(row) for row in order if float(row["legibility share"] or -1) >= 0.7]
    page.wait_for_function(
        "count => document.querySelectorAll('a.tile').length === count", len(shown)
    )
    assert keys(page) == shown and "legible=70" in page.url
    page.click("a.tile")
    sentence = f"chooses the image that excites the map more {100 * share:.0f} % of the time"
    page.wait_for_function(
        "text => document.querySelector('#map').innerText.includes(text)", sentence
    )


def test_without_judges_there_is_no_legibility(look, clipped_site):
    page = look(clipped_site.as_uri())
    page.wait_for_selector("a.tile")
    assert page.locator('#sort option[value="legibility"]').count() == 0
    assert not page.is_visible("#legible")


def test_sort_by_redundancy(look, site, rows):
    page = look(f"{site.as_uri()}#sort=redundancy&layer=0")
    page.wait_for_selector("a.tile")
    layer = [row for row in rows if row["index"] == "0"]
    order = sorted(layer, key=lambda row: -float(row["redundancy"]))
    assert keys(page) == [_key(row) for row in order]
    assert page.input_value("#sort") == "redundancy"


def test_order_by_what_is_not_known_is_not_offered(look, clipped_site):
    page = look(f"{clipped_site.as_uri()}#sort=redundancy")
    assert page.locator('#sort option[value="redundancy"]').count() == 0
    assert page.input_value("#sort") == "mi"


def test_range_of_bits(look, site, rows):
    page = look(site.as_uri())
    page.click("#all")
    page.fill("#lo", "0.5")
    page.fill("#hi", "1.25")
    expected = {
        _key(row) for row in rows if 0.5 <= round(float(row["decoder mi (bits)"]), 3) <= 1.25
    }
    assert page.text_content("#count") == f"{len(expected)} of 312 maps"
    assert set(keys(page)) <= expected
    second_page = look(page.url)
    assert (second_page.input_value("#lo"), second_page.input_value("#hi")) == ("0.5", "1.25")
    assert second_page.text_content("#count") == f"{len(expected)} of 312 maps"
    second_page.click("#reset")
    assert second_page.input_value("#lo") == "" and second_page.text_content("#count") == "312 maps"


@pytest.mark.parametrize(
    ("low", "kept"), [("1.5e0", 1.5), ("-1", -1.0), ("5e-1", 0.5), ("1e", -1.0)]
)
def test_every_number_that_the_field_takes_filters(look, site, rows, low, kept):
    page = look(site.as_uri())
    page.click("#all")
    page.focus("#lo")
    page.keyboard.type(low)
    expected = sum(round(float(row["decoder mi (bits)"]), 3) >= kept for row in rows)
    text = "312 maps" if expected == 312 else f"{expected} of 312 maps"
    page.wait_for_function(f"document.querySelector('#count').textContent === '{text}'")
    assert page.evaluate("document.querySelector('#lo').matches(':invalid')") == (low == "1e")
    second_page = look(page.url)
    assert second_page.text_content("#count") == text


def test_the_table_holds_the_maps_that_are_shown(look, site, rows):
    page = look(f"{site.as_uri()}#layer=0&sort=score")
    page.wait_for_selector("a.tile")
    with page.expect_download() as waiting:
        page.click("#export")
    text = Path(waiting.value.path()).read_text("utf-8")
    table = list(csv.DictReader(io.StringIO(text)))
    assert [_key(row) for row in table] == keys(page)
    by_key = {_key(row): row for row in rows}
    for row in table:
        entry = by_key[_key(row)]
        assert row["verdict"] == entry["verdict"]
        for name in ("decoder rank", "kde rank", "decoder best class"):
            assert row[name] == entry[name]
        assert float(row["kde mi (bits)"]) == round(float(entry["kde mi (bits)"]), 3)


def test_names_in_the_table_are_no_formulas(look, hostile_site):
    page = look(f"{hostile_site.as_uri()}#layer=2")
    page.wait_for_selector("a.tile")
    with page.expect_download() as waiting:
        page.click("#export")
    text = Path(waiting.value.path()).read_text("utf-8")
    cells = {cell for row in csv.reader(io.StringIO(text)) for cell in row}
    assert "'=1+1" in cells and "=1+1" not in cells


def test_a_map_by_chance_is_one_of_those_shown(look, site):
    page = look(f"{site.as_uri()}#layer=0")
    page.click("#random")
    page.wait_for_selector("dialog[open]")
    assert re.search(r"m=0\.\d+", page.url)


def test_copied_link_leads_back(look, site):
    page = look(f"{site.as_uri()}#sort=score")
    page.evaluate("navigator.clipboard.writeText = async text => { window.held = text }")
    page.click("#copy")
    page.wait_for_function("document.querySelector('#message').textContent === 'Copied.'")
    assert page.evaluate("window.held") == page.url


def test_s_leads_to_the_order(look, site):
    for width in (1280, 390):
        page = look(site.as_uri(), viewport=(width, 800))
        page.wait_for_selector("a.tile")
        page.keyboard.press("s")
        assert page.evaluate("document.activeElement.id") == "sort"


def test_the_table_is_what_the_page_of_a_layer_leads_to(look, site):
    page = look((site.parent / "layers/001.html").as_uri())
    page.click("text=Its 300 maps")
    page.wait_for_function("document.querySelector('#count').textContent === '300 of 312 maps'")


def test_no_map_fits(look, site):
    page = look(site.as_uri())
    page.fill("#search", "nothing like it")
    assert page.is_visible("#empty")
    page.click("#again")
    assert page.text_content("#count") == "312 maps"


def test_the_address_brings_everything_back(look, site):
    page = look(site.as_uri())
    assert not page.is_visible("#by")
    page.click("#all")
    page.select_option("#by", "kde")
    page.select_option("#sort", "stability")
    page.select_option("#group", "shallow")
    page.select_option("#class", "3")
    page.select_option("#size", "s")
    page.click("#turn")
    page.fill("#search", "second")
    page.wait_for_function("location.hash.includes('q=second')")
    second_page = look(page.url)
    second_page.wait_for_selector("a.tile")
    for name in ("by", "sort", "group", "class", "size", "search"):  # and the direction, below
        assert second_page.input_value(f"#{name}") == page.input_value(f"#{name}")
    assert keys(second_page) == keys(page)
    assert second_page.get_attribute("#turn", "aria-pressed") == "true"


def test_filtering_leaves_no_trace_in_the_history(look, site):
    page = look(site.as_uri())
    before = page.evaluate("history.length")
    page.select_option("#sort", "score")
    page.fill("#search", "first")
    assert page.evaluate("history.length") == before


@pytest.mark.parametrize(
    "fragment",
    [
        "m=9.9&sort=constructor&by=__proto__&class=99&layer=x&verdict=%3Cb%3E&size=huge&group=1",
        "m=%00&q=" + "a%20" * 3000,
        "%E0%A4%A",
    ],
)
def test_odd_addresses_do_no_harm(look, site, fragment):
    page = look(f"{site.as_uri()}#{fragment}")
    assert not page.is_visible("dialog[open]")
    assert page.input_value("#sort") == "mi"
    assert len(page.input_value("#search")) <= 200


def test_keys_go_from_map_to_map(look, site):
    page = look(site.as_uri())
    page.wait_for_selector("a.tile")
    columns = int(page.get_attribute("#grid", "aria-colcount"))
    position = "Number(document.activeElement.dataset.position)"
    page.focus("#skip")
    page.keyboard.press("Enter")
    assert page.evaluate(position) == 0
    for key, expected in (
        ("ArrowRight", 1),
        ("ArrowDown", 1 + columns),
        ("ArrowLeft", columns),
        ("ArrowUp", 0),
        ("End", 311),
        ("Home", 0),
    ):
        page.keyboard.press(key)
        assert page.evaluate(position) == expected, key
    page.keyboard.press("PageDown")
    down = page.evaluate(position)
    assert down >= columns and down % columns == 0
    page.keyboard.press("PageUp")
    assert page.evaluate(position) == 0
    assert page.locator('a.tile[tabindex="0"]').count() == 1


def test_the_focused_map_is_in_the_window(look, site):
    page = look(site.as_uri())
    page.locator("a.tile").first.focus()
    for key in ("End", "Home", "PageDown", "PageDown"):
        page.keyboard.press(key)
        window = page.evaluate(
            """() => {
              const box = document.activeElement.getBoundingClientRect();
              const head = document.querySelector(".top").getBoundingClientRect();
              return box.top >= head.bottom - 1 && box.bottom <= innerHeight + 1;
            }"""
        )
        assert window, key


@pytest.mark.parametrize("width", [390, 760, 1280, 2560])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_window(look, site, width, scheme):
    page = look(site.as_uri(), viewport=(width, 800), color_scheme=scheme)
    page.wait_for_selector("a.tile")
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wide) <= 0
    page.locator("a.tile").first.click()
    page.wait_for_selector("dialog .chart")
    assert (
        page.evaluate("(d => d.scrollWidth - d.clientWidth)(document.querySelector('#map'))") <= 0
    )


def test_forced_colours(look, site):
    page = look(site.as_uri(), forced_colors="active")
    page.locator("a.tile").first.click()
    page.wait_for_selector("dialog .chart")


def test_search_by_class_and_verdict(look, site, rows):
    page = look(site.as_uri())
    bags = [row for row in rows if row["decoder best class"] == "bag"]
    for text, count in (
        ("class:bag", len(bags)),
        ("best for: bag", len(bags)),
        ("dead", 2),
        ("not seen in data", sum(row["verdict"] == "reachable-only" for row in rows)),
        ("class:ba", 0),
    ):
        page.fill("#search", text)
        page.wait_for_function(
            f"document.querySelector('#count').textContent.startsWith('{count} of 312')"
        )


@pytest.mark.parametrize("text", ["class:ankle boot", "best for: Ankle boot", "for: ankle boot"])
def test_search_by_a_class_of_several_words(look, site, rows, text):
    count = sum(row["decoder best class"] == "ankle boot" for row in rows)
    assert count > 1
    page = look(site.as_uri())
    page.fill("#search", f"{text} second")
    boots = [row for row in rows if row["decoder best class"] == "ankle boot"]
    expected = [_key(row) for row in boots if row["layer"] == "second"]
    page.wait_for_function(
        f"document.querySelector('#count').textContent.startsWith('{len(expected)} of 312')"
    )
    assert keys(page) == expected[: len(keys(page))]


def test_search_in_the_words_of_units(look, units_site):
    with (units_site.parent / "maps.csv").open(encoding="utf-8", newline="") as stream:
        cats = sum(row["decoder best class"] == "кошка" for row in csv.DictReader(stream))
    page = look(units_site.as_uri())
    for text, count in (
        ("unit 3 of Dense_1", 1),
        ("no OIP", 5),
        ("Кошка", cats),
        ("class: кошка", cats),
    ):
        page.fill("#search", text)
        page.wait_for_function(
            f"document.querySelector('#count').textContent === '{count} of 17 units'"
        )


def test_a_rank_is_one_of_those_that_were_ranked(look, units_site):
    page = look(f"{units_site.as_uri()}#m=1.0")
    assert re.fullmatch(r"rank \d of 5 units", page.text_content(".map-name .quiet"))
    page = look(f"{units_site.as_uri()}#m=0.0")
    assert re.fullmatch(r"rank \d of 8 ranked units", page.text_content(".map-name .quiet"))


def test_the_table_names_objectives(look, objective_site):
    page = look(f"{objective_site.as_uri()}#layer=1&sort=index")
    page.wait_for_selector("a.tile")
    with page.expect_download() as waiting:
        page.click("#export")
    table = csv.DictReader(io.StringIO(Path(waiting.value.path()).read_text("utf-8")))
    first = next(table)
    assert first["map"] == "0" and first["objective"].startswith("class:0 - <img")


def test_rows_without_bits_are_lower_and_objectives_are_counted_by_themselves(look, objective_site):
    page = look(objective_site.as_uri())
    page.wait_for_selector("a.tile")
    assert re.fullmatch(r"\d+ maps, 40 objectives", page.text_content("#count"))
    height = "tile => tile.closest('[role=row]').offsetHeight"
    tall = page.eval_on_selector("a.tile:has(.amount)", height)
    low = page.eval_on_selector("a.tile:not(:has(.amount))", height)
    assert tall - low == 32  # its bar and its rank
    page.fill("#search", "class:3 ")
    page.wait_for_function("document.querySelector('#count').textContent.includes(' of ')")
    assert page.text_content("#count").endswith(" units")


def test_a_long_name_loses_its_middle(look, nested_site):
    page = look(nested_site.as_uri())
    page.wait_for_selector("a.tile")
    names = page.locator("a.tile .layer-name")
    assert names.first.text_content() == "backbone/block5b_expand"
    head, tail = names.first.locator("span").all()
    assert tail.text_content() == "b_expand"
    assert head.bounding_box()["width"] < head.evaluate("node => node.scrollWidth")
    assert page.text_content(".layer-row h2") == "backbone/block5b_expand"
