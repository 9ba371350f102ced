import io
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oip.core import plots
from oip.core.errors import SettingsError


def _drawn():
    figure, panels = plots.figure(3.0, 2.0, 1, 2)
    panels[0, 0].plot([0, 1], [1, 0])
    panels[0, 0].set_xlabel("step")
    plots.image(panels[0, 1], np.eye(3), "an image")
    return figure, panels


def _pixels(content):
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def test_panels_are_a_table_in_the_style_of_the_house():
    figure, panels = _drawn()
    assert panels.shape == (1, 2)
    assert figure.get_size_inches().tolist() == [3.0, 2.0]
    axes = panels[0, 0]
    assert axes.xaxis.label.get_fontsize() == plots.FONT
    assert {text.get_fontsize() for text in axes.get_xticklabels()} == {plots.SMALL}
    assert axes.lines[0].get_color() == plots.PALETTE[0]
    assert not axes.spines["top"].get_visible()


@pytest.mark.parametrize("kind", [".png", ".svg"])
def test_the_same_figure_is_the_same_bytes_and_holds_no_date(kind, tmp_path):
    first = plots.encoded(_drawn()[0], kind)
    assert plots.encoded(_drawn()[0], kind) == first
    figure = _drawn()[0]
    path = plots.save(figure, tmp_path / "new" / f"one{kind}")
    assert path.read_bytes() == first
    assert plots.encoded(figure, kind) == first  # layout stays the second time
    assert b"date" not in first.lower() and b"Software" not in first


def test_png_is_of_the_size_on_paper():
    assert _pixels(plots.encoded(_drawn()[0])).shape == (400, 600, 3)


def test_another_format_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(SettingsError, match=r"\.png or \.svg; received '\.gif'"):
        plots.save(_drawn()[0], tmp_path / "new" / "one.gif")
    assert not (tmp_path / "new").exists()


def test_names_are_drawn_as_they_are():
    assert plots.printable("a$b\x1b") == "a\\$b\N{REPLACEMENT CHARACTER}"
    assert plots.printable_lines("a\x00\nb") == "a\N{REPLACEMENT CHARACTER}\nb"
    figure, panels = plots.figure(2, 1)
    plots.image(panels[0, 0], np.eye(2), "$\\frac{1}$ \x07")
    plots.titled(figure, "$\\nocommand$")
    plots.encoded(figure)  # a formula that is none would raise


def test_a_color_bar_of_nothing_but_zeros_is_drawn():
    figure, panels = plots.figure(2, 2)
    plots.color_bar(figure, panels, plots.SEQUENTIAL, (0.0, 0.0), "response")
    plots.encoded(figure)


@given(
    st.integers(1, 12), st.integers(1, 4), st.integers(1, 4), st.integers(1, 6), st.integers(0, 2)
)
def test_every_tile_is_where_its_corner_says(count, height, width, columns, gap):
    tiles = np.arange(count * height * width, dtype=float).reshape(count, height, width)
    whole = plots.tiled(tiles, columns, gap)
    rows = -(-count // columns)
    assert whole.shape == (rows * (height + gap) - gap, columns * (width + gap) - gap)
    for tile, (top, left) in zip(
        tiles, plots.corners(count, (height, width), columns, gap), strict=True
    ):
        assert np.array_equal(whole[top : top + height, left : left + width], tile)
    assert np.isfinite(whole).sum() == tiles.size


def test_coloured_tiles_keep_their_bands():
    tiles = np.full((3, 2, 2, 3), 7, np.uint8)
    whole = plots.tiled(tiles, 2, 1, between=255)
    assert whole.shape == (5, 5, 3)
    assert (whole[2] == 255).all() and (whole[3:, 3:] == 255).all()


@given(st.integers(1, 600), st.integers(1, 30), st.integers(1, 30))
def test_columns_make_a_block_at_most_twice_as_wide(count, height, width):
    columns = plots.grid_columns(count, (height, width))
    assert 1 <= columns <= count
    square = max(1.0, np.sqrt(count * height / width))
    assert columns >= min(count, square) - 1e-6
    assert columns <= 2 * square + 1


def test_columns_leave_no_place_empty_where_they_can():
    assert [plots.grid_columns(n) for n in (1, 32, 64, 128, 6, 7)] == [1, 8, 8, 16, 3, 3]


def test_importing_the_style_imports_no_matplotlib():
    code = "import oip.core.plots, sys; print('matplotlib' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"


def test_titles_and_legends_have_the_styles_sizes():
    _, panels = plots.figure(3, 2)
    axes = panels[0, 0]
    axes.plot([0, 1], [0, 1], label="line")
    title = axes.set_title("above")
    legend = axes.legend()
    assert title.get_fontsize() == plots.FONT
    assert [text.get_fontsize() for text in legend.get_texts()] == [plots.SMALL]
    assert axes.set_title("above", fontsize=5).get_fontsize() == 5


def test_a_figure_shows_itself_without_pyplot():
    drawing, panels = plots.figure(2, 1)
    panels[0, 0].plot([0, 1])
    content, size = drawing._repr_png_()
    assert content.startswith(b"\x89PNG")
    assert size == {"width": 200, "height": 100}
