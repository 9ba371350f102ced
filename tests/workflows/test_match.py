"""Two runs matched, their OIPs side by side, and the page."""

from __future__ import annotations

import json
import os
import re
import shutil
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

import oip
from oip import gallery
from oip.core.errors import DataError, RunError, SettingsError
from oip.core.files import write_arrays
from oip.core.formats import PARTNERS, MatchFile, PartnersFile
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
    for name in ("own", "turned"):
        (command,) = re.findall(rf"<code>oip gallery (\S+/{name})</code> in the folder", page)
        assert (tmp_path / "match" / command).resolve() == (folder / name).resolve()
    with Image.open(tmp_path / "match" / sources[0]) as picture:
        opacity = np.asarray(picture.convert("RGBA"))[..., 3]
    gap = np.flatnonzero((opacity == 0).all(axis=0))
    assert len(gap) == 4 and gap[0] + 4 + gap[0] == opacity.shape[1]
    both = [folder / "own", folder / "turned"]
    repeated = oip.match_into(*both, data=data, out=both)
    assert repeated == record
    for name, side in (("own", 0), ("turned", 1)):
        kept = PartnersFile.read(folder / name / "layers/000/partners.npz")
        pairs = [(unit.map, unit.partner) for unit in first.maps if unit.has_partner]
        pairs = sorted((pair[side], pair[1 - side]) for pair in pairs)
        assert list(zip(kept.maps.tolist(), kept.partners.tolist(), strict=True)) == pairs
        assert kept.other == ("turned", "own")[side] and kept.has_picture.any()
        kept = PartnersFile.read(folder / name / "layers/001/partners.npz")
        field = ("percentile", "partner_percentile")[side]
        own = {(unit.map, unit.partner)[side]: getattr(unit, field) for unit in second.maps}
        expected = [np.nan if own[number] is None else own[number] for number in kept.maps.tolist()]
        np.testing.assert_allclose(kept.percentile, expected, rtol=1e-6)
        assert not [
            checked for checked in verify_run(oip.Run.open(folder / name)) if checked.problem
        ]


def test_models_keep_no_partners(folder):
    models = folder / "own.keras", folder / "turned.keras"
    data = f"{folder / 'bars.npz'}:all"
    with pytest.raises(SettingsError, match="compared with another run"):
        oip.match_into(folder / "own", models[1], data=data, out=folder / "own")
    with pytest.raises(RunError, match="or one of a match"):
        oip.match_into(*models, data=data, out=folder / "own")
    with pytest.raises(SettingsError, match="one folder"):
        oip.match_into(*models, data=data, out=[folder / "x", folder / "y"])


def test_a_match_is_kept_for_each_other_network(folder, tmp_path, monkeypatch):
    runs = [tmp_path / name for name in ("own", "a", "b", "c")]
    for run in runs:
        shutil.copytree(folder / ("own" if run.name in "own c" else "turned"), run)
        for file in run.glob("layers/*/partners*.npz"):
            file.unlink()
    own = runs[0]
    more = {"data": f"{folder / 'bars.npz'}:all", "layers": "first", "shuffles": 0}
    more["models"] = (folder / "own.keras", folder / "turned.keras")
    for other in (runs[1], runs[2], runs[1]):
        oip.match_into(own, other, out=own, **more)
    files = [own / "layers/000" / name for name in PARTNERS]
    assert [file.is_file() for file in files] == [True, True] + [False] * 6
    assert [PartnersFile.read(file).other for file in files[:2]] == ["a", "b"]
    assert not list(runs[1].rglob("partners*"))
    early = PartnersFile.read(files[0]).arrays()  # of a version that did not note the model
    del early["other_sha256"]
    write_arrays(files[0], early)
    oip.match_into(own, runs[1], out=own, **more)
    assert PartnersFile.read(files[0]).other_sha256 and not files[2].is_file()
    monkeypatch.setattr("oip.workflows.match.PARTNERS", PARTNERS[:2])
    os.utime(files[1], (1, 1))
    more["models"] = (folder / "own.keras", folder / "own.keras")
    oip.match_into(own, runs[3], out=own, **more)
    assert [PartnersFile.read(file).other for file in files[:2]] == ["a", "c"]
    checked = [
        checked for checked in verify_run(oip.Run.open(own)) if "000/partners" in checked.file
    ]
    assert len(checked) == 2 and not [result for result in checked if result.problem]


def test_a_partner_leads_to_its_page(folder, tmp_path):
    own, other = tmp_path / "own", tmp_path / "my turned#1"
    shutil.copytree(folder / "own", own)
    shutil.copytree(folder / "turned", other)
    data = f"{folder / 'bars.npz'}:all"
    models = (folder / "own.keras", folder / "turned.keras")
    record = oip.match_into(own, other, data=data, out=[own, other], models=models)
    pairs = {unit.map: unit.partner for unit in record.matches[0].maps if unit.has_partner}

    def partners():
        gallery.build(own)
        (script,) = own.glob("gallery/data/detail-000-*.js")
        text = script.read_text()
        maps = json.loads(text[text.index("{") : text.rindex("}") + 1])["maps"]
        by_number = {
            int(number): [partner for partner in details["partners"] if "my turned" in str(partner)]
            for number, details in maps.items()
        }
        return {
            number: partners_of[0] for number, partners_of in by_number.items() if number in pairs
        }

    assert {value["address"] for value in partners().values()} == {None}
    gallery.build(other)
    for number, partner in partners().items():
        assert partner["name"].startswith(f"first:{pairs[number]} of my turned")
        address, _, fragment = partner["address"].partition("#m=0.")
        assert fragment == str(pairs[number])
        assert (own / "gallery" / unquote(address)).resolve() == other / "gallery/index.html"
        assert (own / f"gallery/img/partner-0/000/{number:04d}.webp").is_file()


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


def test_a_run_without_its_model_says_how_to_name_it(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder / "own", tmp_path / "alone/run")
    with pytest.raises(RunError, match="name both models"):
        oip.match_into("alone/run", folder / "turned", data=f"{folder / 'bars.npz'}:all")


def test_patterns_of_long_and_thin_images_are_compared(tmp_path):
    import keras
    from keras import layers

    images = np.random.default_rng(0).normal(size=(40, 2, 240, 1)).astype(np.float32)
    for name, factor in (("a", 1.0), ("b", 1.01)):
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [
                layers.Input((2, 240, 1)),
                layers.Conv2D(3, (2, 5), activation="relu", name="first"),
                layers.GlobalAveragePooling2D(),
                layers.Dense(2, activation="softmax"),
            ]
        )
        model.layers[0].kernel.assign(factor * model.layers[0].kernel)
        model.save(tmp_path / f"{name}.keras")
        quick = {"data": images, "starts": 1, "steps": 8, "screened": 8}
        oip.reconstruct_into(tmp_path / name, tmp_path / f"{name}.keras", "first", **quick)
    (match,) = oip.match_into(tmp_path / "a", tmp_path / "b", data=images).matches
    assert [unit.partner for unit in match.maps] == [0, 1, 2]
    assert min(unit.similarity for unit in match.maps) > 0.95
