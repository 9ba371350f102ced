"""The layout and the scale of many maps in one picture."""

import numpy as np

from oip.network.response_plots import MapGrid, Panel, panel_figure, scale_limits, scaled


def _rgb(colour):
    from matplotlib.colors import to_rgb

    return np.round(np.array(to_rgb(colour)) * 255)


def test_scales():
    planes = np.zeros((2, 3, 2, 2))
    planes[0, 0, 0, 0] = 4.0
    planes[1, 1] = [[-1.0, 0.0], [1.0, 0.5]]
    low, high = scale_limits(planes, "own")
    assert low.ravel().tolist() == [-4.0, -1.0, 0.0], "0 is in the middle, as one is below it"
    assert high.ravel().tolist() == [4.0, 1.0, 0.0]
    assert scaled(planes, "own")[1, 1].tolist() == [[0.0, 0.5], [1.0, 0.75]]
    assert (scaled(planes, "own")[:, 2] == 0.5).all(), "nothing excites it: gray, not white"
    negative = np.minimum(planes, 0.0)
    assert scaled(negative, "own")[1, 1].max() == 0.5
    above = np.abs(planes)
    assert scale_limits(above, "own")[0].ravel().tolist() == [0.0, 0.0, 0.0]
    assert (scaled(above, "own")[:, 2] == 0.0).all()
    assert scaled(planes, "shared")[1, 1].tolist() == [[0.0, 0.2], [0.4, 0.3]]
    units = np.array([[[[1.0]], [[4.0]]]])
    assert scaled(units, "own").ravel().tolist() == [0.25, 1.0]
    planes[0, 0, 0, 1] = np.nan
    planes[0, 0, 1, 1] = np.inf
    assert np.isnan(scaled(planes, "shared")[0, 0]).tolist() == [[False, True], [False, True]]
    assert scaled(planes, "shared")[0, 0, 0, 0] == 1.0


def test_a_frame_is_around_its_node_and_shared_by_neighbours():
    from matplotlib.figure import Figure

    def edges(marked):
        grid = MapGrid.of(2, (3, 4), 2, 1.0)
        axes = Figure().subplots()
        grid.mark(axes, marked)
        (lines,) = axes.collections
        return grid, np.array(lines.get_segments())

    marked = np.zeros((2, 3, 4), bool)
    marked[1, 2, 1] = True
    grid, result = edges(marked)
    assert len(result) == 4
    column, row = result.reshape(-1, 2).min(axis=0) + 0.5
    left = 4 * grid.zoom + grid.gap
    assert (row, column) == (2 * grid.zoom, left + grid.zoom)
    assert np.ptp(result.reshape(-1, 2), axis=0).tolist() == [grid.zoom, grid.zoom]
    marked[1, 2, 2] = True
    assert len(edges(marked)[1]) == 6


def test_numbers_stand_over_wide_maps_and_before_rows_of_narrow_ones():
    from matplotlib.figure import Figure

    for inches, correct in ((4.0, ["7", "$x", "9", "1"]), (0.4, ["7", "9"])):
        axes = Figure().subplots()
        grid = MapGrid.of(4, (3, 3), 2, inches)
        grid.number(axes, ["7", "$x", "9", "1"])
        assert [text.get_text().replace("\\", "") for text in axes.texts] == correct


def test_maps_in_an_order_of_their_own_all_have_a_number():
    values = np.zeros((64, 8, 8))
    for numbers, written in ((np.arange(64), 8), (np.arange(64)[::-1], 64)):
        panels = [Panel("a", values), Panel("b", values)]
        figure, _ = panel_figure(panels, numbers, across=2)
        texts = [text.get_text() for axes in figure.axes for text in axes.texts]
        assert sum(text.isdigit() for text in texts) >= written


def test_maps_of_one_row_are_lines():
    from matplotlib.figure import Figure

    grid = MapGrid.of(3, (1, 20), None, 4.0)
    axes = Figure().subplots()
    values = np.linspace(0.0, 1.0, 60).reshape(3, 1, 20)
    values[1, 0, 3] = np.nan
    grid.draw(axes, values)
    assert [len(line.get_xdata()) for line in axes.lines] == [20, 20, 20]
    heights = np.asarray(axes.lines[0].get_ydata())
    assert (np.diff(heights) < 0).all(), "larger responses are higher"
    marked = np.zeros((3, 1, 20), bool)
    marked[0, 0, 5] = True
    grid.mark(axes, marked)
    corners = np.array(axes.collections[0].get_segments()).reshape(-1, 2)
    wide, tall = np.ptp(corners, axis=0)
    assert wide == grid.zoom and tall > wide
