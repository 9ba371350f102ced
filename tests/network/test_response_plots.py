"""The layout and the scale of many maps in one picture."""

import numpy as np

from oip.network.response_plots import MapGrid, scale_limits, scaled


def _rgb(colour):
    from matplotlib.colors import to_rgb

    return np.round(np.array(to_rgb(colour)) * 255)


def test_scales():
    planes = np.zeros((2, 3, 2, 2))
    planes[0, 0, 0, 0] = 4.0
    planes[1, 1] = [[-1.0, 0.0], [1.0, 0.5]]
    low, high = scale_limits(planes, "own")
    assert low.ravel().tolist() == [0.0, -1.0, 0.0]
    assert high.ravel().tolist() == [4.0, 1.0, 0.0]
    assert scaled(planes, "own")[1, 1].tolist() == [[0.0, 0.5], [1.0, 0.75]]
    assert (scaled(planes, "own")[:, 2] == 0.0).all()
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
