"""For those who do not see the page, or see it in another way: axe-core, colours, motion."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser


@pytest.fixture
def findings():
    """Serious findings of axe-core on a page as it is shown."""
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed"
    )

    def violations(page):
        # Without preload: it would ask for the style sheet again, which the policy forbids.
        results = axe.Axe().run(page, options={"preload": False}).response["violations"]
        return [
            (result["id"], [node["html"][:160] for node in result["nodes"][:3]])
            for result in results
            if result["impact"] in ("serious", "critical")
        ]

    return violations


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_no_serious_findings_on_the_grid_and_its_dialogs(look, site, findings, scheme, width):
    options = {"viewport": (width, 800), "color_scheme": scheme}
    page = look(f"{site.as_uri()}#c=1.0_1.1", **options)
    page.wait_for_selector("a.tile")
    if width < 760:
        page.click("#more")
    assert findings(page) == []
    page.locator("a.tile").first.click()
    page.wait_for_selector("dialog .chart")
    assert findings(page) == []
    page.keyboard.press("Escape")
    page.click(".tray button.main")
    page.wait_for_selector("#compare .chart")
    assert findings(page) == []


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_no_serious_findings_on_the_atlas(look, site, findings, scheme, width):
    options = {"viewport": (width, 800), "color_scheme": scheme}
    page = look(f"{site.as_uri()}#atlas=1", **options)
    page.wait_for_selector(".atlas canvas")
    page.locator(".atlas-point").focus()
    assert findings(page) == []


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("about.html", "light"),
        ("about.html", "dark"),
        ("model.html", "light"),
        ("model.html", "dark"),
        ("layers/001.html", "light"),
        ("layers/001.html", "dark"),
        ("layers/000-p1.html", "dark"),
    ],
)
def test_no_serious_findings_on_the_other_pages(look, site, findings, name, scheme):
    page = look((site.parent / name).as_uri(), color_scheme=scheme)
    assert findings(page) == []


def test_no_serious_findings_in_a_single_file(look, single_site, findings):
    page = look(single_site.as_uri())
    page.wait_for_selector("a.tile")
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert findings(page) == []


def test_hidden_rows_are_counted(look, site):
    page = look(site.as_uri())
    page.wait_for_selector("a.tile")
    rows = page.eval_on_selector_all(
        "#grid [role=row]", "all => all.map(row => Number(row.getAttribute('aria-rowindex')))"
    )
    assert rows == sorted(rows) and len(set(rows)) == len(rows)
    assert max(rows) < int(page.get_attribute("#grid", "aria-rowcount"))
    label = page.locator("a.tile").first.get_attribute("aria-label")
    assert label.startswith("Reconstructed input of map ") and "rank 1" in label and "bits" in label


@pytest.mark.parametrize("name", ["model.html", "layers/001.html"])
@pytest.mark.parametrize("width", [390, 2560])
def test_pages_are_not_wider_than_the_window(look, site, name, width):
    page = look((site.parent / name).as_uri(), viewport=(width, 800))
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wide) <= 0


def test_comparison_is_not_wider_than_a_phone(look, site):
    page = look(f"{site.as_uri()}#c=1.0_1.1_1.2_1.6&v=1", viewport=(390, 800))
    page.wait_for_selector("#compare .chart")
    wide = "(d => d.scrollWidth - d.clientWidth)(document.querySelector('#compare'))"
    assert page.evaluate(wide) <= 0
