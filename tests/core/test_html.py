"""HTML of results."""

from __future__ import annotations

import numpy as np

from oip.core import html, plots

HOSTILE = "<script>alert('x')</script>\x1b[31m&\""


def test_no_text_becomes_markup():
    page = html.block(
        HOSTILE,
        html.paragraph(HOSTILE),
        html.table((HOSTILE,), [(HOSTILE,)], 3),
        html.picture(b"png", HOSTILE, HOSTILE),
    )
    assert "<script" not in page
    assert "\x1b" not in page
    assert page.count("&lt;script&gt;") == 7
    assert "and 3 more" in page


def test_cells_are_numbers_with_three_digits_text_or_a_dash():
    single = np.array([1.23456, np.nan], np.float32)
    shown = (0.5, None, float("nan"), 7, 0.00012, "x", *single)
    page = html.table(("a",), [(cell,) for cell in shown])
    cells = [part.split("</td>")[0] for part in page.split("<td>")[1:]]
    assert cells == ["0.500", "-", "-", "7", "0.00012", "x", "1.235", "-"]


def test_a_figure_is_a_picture_in_the_page():
    drawing, panels = plots.figure(1, 1)
    panels[0, 0].plot([0, 1])
    assert "data:image/png;base64," in html.embedded_figure(drawing, "a line")
