import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from oip.core import html, plots
from oip.core.progress import NotebookBars, automatic, silent

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
    assert "data:image/png;base64," in html.drawn(drawing, "a line")


def test_a_figure_shows_itself_without_pyplot():
    drawing, panels = plots.figure(2, 1)
    panels[0, 0].plot([0, 1])
    content, size = drawing._repr_png_()
    assert content.startswith(b"\x89PNG")
    assert size == {"width": 200, "height": 100}


class Shown:
    """What `IPython.display.display` returns, and the pages that it was given."""

    def __init__(self):
        self.pages = []

    def display(self, page, display_id):
        self.pages.append(page)
        return self

    def update(self, page):
        self.pages.append(page)


def test_bars_are_drawn_once_and_then_updated():
    shown = Shown()
    bars = NotebookBars(shown.display, lambda page: page)
    for done in range(1, 2001):
        bars(HOSTILE, done, 2000)
    bars("second", 1, 4)
    assert len(shown.pages) < 200
    assert "2000 of 2000" in shown.pages[-1]
    assert "width:100%" in shown.pages[-1]
    assert "second: 1 of 4" in shown.pages[-1]
    assert "width:25%" in shown.pages[-1]
    assert "<script" not in shown.pages[-1]


@pytest.mark.parametrize("kernel", [True, False])
def test_a_kernel_shows_progress_and_a_terminal_does_not(monkeypatch, kernel):
    shown = Shown()
    shell = SimpleNamespace(kernel=object() if kernel else None, execution_count=1)
    display = SimpleNamespace(HTML=lambda page: page, display=shown.display)
    monkeypatch.setitem(
        sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell, display=display)
    )
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    automatic("maps", 1, 4)
    automatic("maps", 4, 4)
    silent("maps", 4, 4)
    assert len(shown.pages) == (2 if kernel else 0)
    shell.execution_count = 2
    automatic("other", 1, 1)
    if kernel:
        assert "maps" not in shown.pages[-1]  # a new cell has bars of its own


def test_scripts_neither_show_progress_nor_import_ipython():
    code = (
        "import sys; from oip.core.progress import automatic; automatic('maps', 1, 2);"
        "print('IPython' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (out.stdout.strip(), out.stderr) == ("False", "")
