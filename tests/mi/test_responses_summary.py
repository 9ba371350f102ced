import numpy as np

from oip.mi.ranking import BEST, BINS, summarize_responses

CODES = np.arange(30) % 3
PLACES = np.arange(30) * 2 + 1


def made(values, size):
    return summarize_responses(values.astype(np.float32), size, CODES, 3, PLACES)


def test_best_images_scores_and_positions():
    values = np.zeros((30, 2, 6))
    values[4, 0, 5] = 6.0
    values[17, 0, 2] = 12.0
    result = made(values, (2, 3))
    assert result["best_images"][0].tolist() == [35, 9] + [-1] * (BEST - 2)
    assert result["best_scores"][0, :2].tolist() == [2.0, 1.0]
    assert np.isnan(result["best_scores"][0, 2:]).all()
    assert result["best_positions"][0, :2].tolist() == [[0, 2], [1, 2]]
    assert (result["best_positions"][0, 2:] == -1).all()
    assert np.allclose(result["active"], [2 / 30, 0])
    assert (result["best_images"][1] == -1).all()


def test_histograms_count_every_image_once_in_its_class():
    values = np.random.default_rng(0).normal(size=(30, 4, 9))
    result = made(values, (3, 3))
    assert (result["histogram"].sum(axis=2) == 10).all()
    means = values.astype(np.float32).mean(axis=2)
    for row in range(4):
        for code in range(3):
            mine = means[code == CODES, row]
            wanted, _ = np.histogram(
                mine, np.linspace(means[:, row].min(), means[:, row].max(), 25)
            )
            assert np.abs(result["histogram"][row, code] - wanted).sum() <= 2
    assert (np.diff(result["edges"]) > 0).all()
    assert result["edges"].shape == (4, BINS + 1)


def test_a_constant_map_and_one_that_is_not_finite():
    values = np.zeros((30, 2, 4))
    values[:, 0] = 3.0
    values[3, 1, 0] = np.nan
    result = made(values, (4,))
    assert (np.diff(result["edges"][0]) > 0).all()
    assert result["histogram"][0].sum() == 30
    assert result["active"][0] == 1.0
    assert (result["best_positions"][0] == [0, 0]).all()
    assert (result["best_images"][1] == -1).all()
    assert result["histogram"][1].sum() == 0
    assert np.isnan(result["active"][1])
