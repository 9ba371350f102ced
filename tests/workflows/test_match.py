"""Two runs matched, their OIPs side by side, and the page."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import oip
from oip.core.errors import DataError, RunError, SettingsError
from oip.core.formats import MatchFile, PartnersFile
from oip.run.check import verify_run


@pytest.fixture(scope="module")
def folder(small_file, bars, tmp_path_factory):
    """Runs of the small model and of a copy whose maps of the first layer are turned around."""
    import keras

    folder = tmp_path_factory.mktemp("matched")
    model = keras.models.load_model(small_file)
    kernel, bias = model.get_layer("first").get_weights()
    model.get_layer("first").set_weights([kernel[..., ::-1], bias[::-1]])
    kernel, bias = model.get_layer("second").get_weights()
    model.get_layer("second").set_weights([kernel[:, :, ::-1], bias])
    model.save(folder / "turned.keras")
    (folder / "own.keras").write_bytes(small_file.read_bytes())
    quick = {"starts": 1, "steps": 4, "screened": 8}
    for name in ("own", "turned"):
        oip.reconstruct_into(
            folder / name, folder / f"{name}.keras", ["first", "second:0-9"], **quick
        )
    np.savez(folder / "bars.npz", images=bars[0], labels=bars[1])
    return folder


def test_runs_are_matched_and_shown(folder, tmp_path):
    data = f"{folder / 'bars.npz'}:all"
    record = oip.match_into(folder / "own", folder / "turned", data=data, out=tmp_path / "match")
    first, second = record.matches
    assert [unit.partner for unit in first.maps if unit.has_partner] == [
        5 - unit.map for unit in first.maps if unit.has_partner
    ]
    assert first.share > 0.5
    alike = [unit for unit in second.maps if unit.similarity is not None]
    assert 3 <= len(alike) <= 10
    assert MatchFile.read(tmp_path / "match/match.json") == record
    page = (tmp_path / "match/index.html").read_text()
    sources = re.findall(r'src="([^"]+)"', page)
    assert sources and all((tmp_path / "match" / source).is_file() for source in sources)
    assert "units have a partner" in page and "own" in page and "turned" in page
    again = oip.match_into(folder / "own", folder / "turned", data=data, keep=True)
    assert again == record
    for name, side in (("own", 0), ("turned", 1)):
        kept = PartnersFile.read(folder / name / "layers/000/partners.npz")
        pairs = [(unit.map, unit.partner) for unit in first.maps if unit.has_partner]
        pairs = sorted((pair[side], pair[1 - side]) for pair in pairs)
        assert list(zip(kept.maps.tolist(), kept.partners.tolist(), strict=True)) == pairs
        assert kept.other == ("turned", "own")[side] and kept.has_picture.any()
        assert not [each for each in verify_run(oip.Run.open(folder / name)) if each.problem]


def test_models_keep_no_partners(folder):
    models = folder / "own.keras", folder / "turned.keras"
    with pytest.raises(SettingsError, match="two runs"):
        oip.match_into(*models, data=f"{folder / 'bars.npz'}:all", keep=True)


def test_models_are_matched_without_runs(folder):
    data = f"{folder / 'bars.npz'}:all"
    models = folder / "own.keras", folder / "turned.keras"
    record = oip.match_into(*models, data=data, layers="second", by="pooled")
    (match,) = record.matches
    assert (record.first, record.second) == ("own.keras", "turned.keras")
    assert match.share > 0.5 and match.grid == []
    assert all(unit.similarity is None for unit in match.maps)
    json.dumps(record.public_dict(), allow_nan=False)


def test_bad_input_writes_nothing(folder, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("dear")
    data = f"{folder / 'bars.npz'}:all"
    runs = folder / "own", folder / "turned"
    with pytest.raises(RunError, match="a new or empty folder"):
        oip.match_into(*runs, data=data, out=tmp_path / "mine")
    with pytest.raises(RunError, match=r"run\.json"):
        oip.match_into(runs[0], tmp_path / "mine", data=data)
    with pytest.raises(RunError, match="model"):
        oip.match_into(*runs, data=data, models=(None, folder / "own.keras"))
    with pytest.raises(DataError):
        oip.match_into(*runs, data=np.zeros((40, 16, 16, 3)), out=tmp_path / "new")
    with pytest.raises(SettingsError):
        oip.match_into(*runs, data=data, by="shape", out=tmp_path / "new")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["mine", "notes.txt"]
