"""How OIPs show themselves in a notebook."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from oip.ascent.reconstruction import reconstruct
from oip.ascent.results import VERDICT_MEANINGS, VERDICTS, join_oips

QUICK = {"starts": 2, "steps": 6, "screened": 16}


@pytest.fixture(scope="module")
def oips(small_network):
    return reconstruct(small_network, "first", maps=[0, 3], **QUICK)


def test_verdicts_keep_the_codes_that_files_have():
    assert VERDICTS == (
        *("responsive", "revived", "reachable-only", "dead", "failed"),
        *("not reached", "never silent"),
    )


def test_units_that_are_never_silent_have_an_oip_below_zero(oips):
    """As the negative side of a direction: only those of maps that rest at zero are worthless."""
    scores = np.full_like(oips.scores, -0.5)
    assert not replace(oips, scores=scores).alive.any()
    codes = np.full_like(oips.verdict_codes, VERDICTS.index("never silent"))
    signed = replace(oips, scores=scores, verdict_codes=codes)
    assert signed.alive.all()
    assert not replace(signed, scores=np.full_like(scores, np.nan)).alive.any()


def test_parts_with_masks_and_without_are_joined(oips):
    parts = [oips.rows(np.array([row])) for row in (0, 1)]
    mask = np.full(parts[0].images.shape[:-1], 7, np.uint8)
    masked = [replace(parts[0], alpha=mask), parts[1]]
    for blocks in (masked, masked[::-1]):
        joined = join_oips(blocks)
        assert joined.maps.tolist() == [0, 3]
        assert joined.alpha.shape == oips.images.shape[:-1] and joined.alpha.dtype == np.uint8
        assert set(joined.alpha[0].flat) == {7} and set(joined.alpha[1].flat) == {255}
    assert join_oips(parts).alpha is None


def test_a_representation_is_one_line(oips):
    assert all("\n" not in repr(value) for value in (oips, oips[3]))


def test_many_maps_are_a_grid_with_captions(oips):
    mixed = replace(oips, verdict_codes=np.array([0, 2]))
    page = mixed._repr_html_()
    assert "reachable-only" not in page + repr(mixed) + repr(list(mixed)[1])
    assert "1 responsive, 1 not seen in data" in page
    first, second = (part.split("</figcaption>")[0] for part in page.split("<figcaption>")[1:])
    assert first.split("<br>") == ["map 0", f"score {oips[0].score:.3g}"]
    assert second.split("<br>")[0::2] == ["map 3", "not seen in data"]


def test_the_way_from_noise_ends_with_the_last_step_of_the_start(oips):
    assert [step for step, _ in oips[3].stages] == oips.snapshot_steps.tolist()
    row = oips.maps.tolist().index(3)
    steps = oips.steps.copy()
    steps[row, 0] = oips.snapshot_steps[1] + 1
    ended = replace(oips, steps=steps)
    shown = [*oips.snapshot_steps[:2].tolist(), int(steps[row, 0])]
    assert [step for step, _ in ended[3].stages] == shown
    assert f"step {shown[-1]}<" in ended[3]._repr_html_()
    assert f"step {oips.snapshot_steps[-1]}<" not in ended[3]._repr_html_()
    titles = [axes.get_title() for axes in ended[3].plot().axes]
    assert (
        titles.count(f"step {shown[-1]}") == 1 and f"step {oips.snapshot_steps[-1]}" not in titles
    )


def test_one_map_is_large_beside_its_evidence(oips):
    row = oips.maps.tolist().index(3)
    assert oips[3].to_pandas()["score"].tolist() == oips.scores[row].tolist()
    page = oips[3]._repr_html_()
    assert VERDICT_MEANINGS[oips[3].verdict] in page
    assert page.count("<img") == 2 + len(oips.snapshot_steps)
    cells = page.split("<table>")[1]
    assert "<td>steps</td><td>6</td>" in cells and "<td>converged</td><td>no</td>" in cells
    assert "_" not in cells, "names are for humans"
    assert "best image of the data" not in cells, "no data were given"


def test_shares_are_percentages_as_people_write_them(oips):
    count = len(oips.maps)
    shares = replace(oips, data_active=np.ones(count), null_percentile=np.full(count, 2.5))
    page = shares[3]._repr_html_()
    assert "<td>share of the data images that excite it</td><td>100 %</td>" in page
    assert "<td>2.5 %</td>" in page and "100.000" not in page


def test_an_objective_has_its_name_in_place_of_a_verdict(small_network):
    oips = reconstruct(small_network, objective="map:first:3", **QUICK)
    page = oips[0]._repr_html_() + oips._repr_html_()
    assert "objectives: map:first:3</strong>" in page
    assert not any(text in page for text in ("silent", "responsive", *VERDICT_MEANINGS.values()))
