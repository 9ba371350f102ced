"""What the grid is made of, and how large it is for two thousand maps."""

from __future__ import annotations

import csv
import gzip
import json
from dataclasses import replace

import numpy as np
import pytest

from oip import gallery
from oip.ascent.results import VERDICTS, MapEvidence
from oip.core.formats import LayerRecord, ModelRecord
from oip.gallery.escape import script
from oip.gallery.map_table import MapTable
from oip.gallery.read_run import EstimatorColumn, Evidence, Information, LayerEntry, MapEntry

CLASSES = [f"class {number}" for number in range(10)]


def _information(random, rank):
    mi = float(random.beta(1.3, 3.0) * 3)
    per_class = random.random(len(CLASSES)) * mi / 3
    return Information(
        rank=rank,
        rank_low=max(1, rank - int(random.integers(40))),
        rank_high=rank + int(random.integers(40)),
        mi=mi,
        low=mi * random.uniform(0.8, 0.95),
        high=mi * random.uniform(1.05, 1.2),
        p_value=0.01,
        p_adjusted=float(10 ** -random.uniform(0.3, 3.5)),
        chance=0.0,
        saturated=bool(random.random() < 0.1),
        raw=mi,
        best=int(per_class.argmax()),
        per_class=per_class,
        usual=None,
        class_low=None,
        class_high=None,
        class_p=None,
    )


def _layer(random, index, count, keys):
    estimators = tuple(
        EstimatorColumn(
            key, key, "", "bits", key == "decoder", 2000, "test", 3.3, 0.1, True, (), {}
        )
        for key in keys
    )
    ranks = [random.permutation(count) + 1 for _ in keys]
    ranks[0] = np.arange(count) + 1
    maps = tuple(
        MapEntry(
            map=int(number),
            row=int(number),
            evidence=MapEvidence(
                map=int(number),
                verdict=VERDICTS[int(random.integers(3))],
                converged=bool(random.random() < 0.5),
                score=float(random.gamma(2.0)),
                stability=float(random.beta(4, 3)),
            ),
            information=tuple(_information(random, int(rank[position])) for rank in ranks),
            redundancy=float(f"{random.beta(2, 3):.3g}"),
        )
        for position, number in enumerate(random.permutation(count))
    )
    info = LayerRecord(
        index=index,
        name=f"block{index}_conv",
        layer_class="Conv2D",
        maps=count,
        size=[],
        receptive_field=None,
        jump=None,
        offset=None,
    )
    return LayerEntry(
        index=index,
        name=f"block{index}_conv",
        info=info,
        oips=None,
        blocks=(),
        estimators=estimators,
        responses=None,
        evidence=Evidence(None, None, None, {}, None),
        data_digest=None,
        notices=(),
        maps=maps,
    )


@pytest.mark.parametrize("keys", [("decoder", "kde"), ("decoder", "kde", "ksg", "renyi")])
def test_maps_script_is_small_whatever_is_known(keys):
    random = np.random.default_rng(0)
    table = MapTable(ModelRecord(name="m", sha256=""), CLASSES)
    for index in reversed(range(5)):
        table.add(_layer(random, index, 400, keys))
    sizes = {
        file: len(gzip.compress(script(known_as, content).encode()))
        for file, known_as, content in table.scripts({"model": "m"})
    }
    assert table.count == 2_000
    assert sizes["maps"] <= 36 * 1024, "the budget is 200 KiB for 10,000"
    assert {file for file in sizes if file.startswith("by-")} == {
        f"by-{index:02d}" for index in range(1, len(keys))
    }


def _content(path, name):
    text = path.read_text("utf-8")
    return json.loads(text.removeprefix(f'window.OIP.add("{name}",').removesuffix(");\n"))


def test_bits_are_whole_thousandths_and_ends_distances(run):
    folder = gallery.build(run).parent
    maps = _content(folder / "data/maps.js", "maps")
    assert set(maps["information"]) == {"decoder"}
    for key, columns in (
        ("decoder", maps["information"]["decoder"]),
        ("kde", _content(folder / "data/by-01.js", "by-1")),
    ):
        by_estimator = next(e for e in run.ranking(1).estimators if e.estimator == key)
        by_map = {entry.map: entry for entry in by_estimator.maps}
        for index, number in enumerate(maps["columns"]["map"][:40]):
            row = by_map[number]
            mi, below, above = (columns[name][index] for name in ("mi", "below", "above"))
            assert all(isinstance(value, int) for value in (mi, below, above))
            assert mi == pytest.approx(1000 * row.mi, abs=0.51)
            assert (mi - below, mi + above) == pytest.approx(
                (1000 * row.low, 1000 * row.high), abs=0.6
            )
            assert columns["rank"][index] == row.rank


def test_what_is_not_known_stays_so(run):
    random = np.random.default_rng(0)
    layer = _layer(random, 0, 3, ("decoder",))
    bare = Information(*[None] * 9, False, *[None] * 7)
    object.__setattr__(layer.maps[1], "information", (bare,))
    object.__setattr__(layer.maps[2], "information", (None,))
    table = MapTable(ModelRecord(name="m", sha256=""), CLASSES)
    table.add(layer)
    maps_content = dict((file, content) for file, _, content in table.scripts({}))["maps"]
    columns = maps_content["information"]["decoder"]
    for name in ("mi", "below", "above", "rank", "p_adjusted", "best"):
        assert columns[name][0] is not None and columns[name][1:] == [None, None]


def test_legibility_is_in_the_table(full_run):
    gallery.build(full_run)
    folder = full_run.path / "gallery"
    maps = json.loads((folder / "maps.json").read_text())["maps"]
    first = next(row for row in maps if (row["index"], row["map"]) == (0, 0))["legibility"]
    assert first["judge"] == "other.keras" and first["low"] <= first["share"] <= first["high"]
    assert (first["reference"], first["control"]) == (0.95, 0.51)
    assert first["reference_same_count"] == 0.75
    silent = next(row for row in maps if (row["index"], row["map"]) == (0, 2))["legibility"]
    assert silent["share"] is None
    rows = list(csv.DictReader((folder / "maps.csv").open()))
    assert [row["legibility share"] for row in rows] == [
        "" if row["legibility"]["share"] is None else str(row["legibility"]["share"])
        for row in maps
    ]
    assert rows[0]["legibility judge"] == "other.keras"


def test_numbers_have_the_unit_of_their_order():
    table = MapTable(ModelRecord(name="m", sha256=""), CLASSES)
    layer = _layer(np.random.default_rng(0), 0, 3, ("entropy", "kurtosis"))
    columns = (layer.estimators[0], replace(layer.estimators[1], unit=""))
    table.add(replace(layer, estimators=columns))
    units = [entry.unit for entry in table.file().maps[0].information]
    assert units == ["bits", ""]
    heading = table.csv().partition("\n")[0].split(",")
    assert "entropy mi (bits)" in heading and "kurtosis mi" in heading
