"""The whole gallery as files."""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import io
import json
import re
import warnings
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from PIL import Image

from oip import gallery
from oip.ascent.results import Oips
from oip.core import files
from oip.core.errors import Notice, RunError, SettingsError
from oip.core.files import read_json, write_json
from oip.core.formats import DrawnFile
from oip.core.images import enhanced
from oip.core.layer_formats import PresetChoice, PresetsFile
from oip.gallery import atlas, site
from oip.gallery.pages import POLICY
from oip.gallery.site import app_script, app_style, is_single_page
from oip.run.check import verify_run
from oip.run.shards import data_digest, layer_oips, read_shard, write_shard

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "=1+1",
    "../../x",
    "‮txet",
    "x" * 300,
]


@pytest.fixture(autouse=True)
def quick_atlas(monkeypatch):
    """Maps stand in a diagonal row: tests/gallery/test_atlas.py places them by their responses."""
    diagonal = np.stack([np.arange(atlas.GRID + 1)] * 2, axis=1)
    monkeypatch.setattr(atlas, "positions", lambda points: diagonal[: len(points)])


def _content(path, name):
    text = path.read_text("utf-8")
    start = f'window.OIP.add("{name}",'
    assert text.startswith(start)
    return json.loads(text.removeprefix(start).removesuffix(");\n"))


def test_build_writes_every_file(run):
    calls = []
    page = gallery.build(run.path, progress=lambda *call: calls.append(call))
    folder = run.path / "gallery"
    assert page == folder / "index.html"
    for name in (
        "index.html",
        "about.html",
        "layers/000-p1.html",
        "layers/001-p1.html",
        "assets/app.js",
        "assets/app.css",
        "data/maps.js",
        "data/by-01.js",
        "model.html",
        "layers/000.html",
        "layers/001.html",
        "drawn.json",
        "data/detail-000-0000.js",
        "data/detail-001-0000.js",
        "data/class-003.js",
        "maps.json",
        "maps.csv",
        "img/sheet-000.webp",
        "img/tile/001/0037.webp",
        "img/full/001/0037.webp",
        "img/starts/001/0037.webp",
        "img/evolution/001/0037.webp",
    ):
        assert (folder / name).is_file(), name
    assert not (folder / "img/data").exists()
    assert [path.name for path in run.path.iterdir() if path.name.startswith(".")] == []
    assert [call[1:] for call in calls] == [(0, 40), (40, 40), (0, 12), (12, 12)]


def test_sheet_follows_the_default_order(run):
    folder = gallery.build(run).parent
    maps = read_json(folder / "maps.json")["maps"]
    sheet = np.asarray(Image.open(folder / "img/sheet-000.webp").convert("L"))
    for index, entry in enumerate(maps):
        oips: Oips = layer_oips(run, entry["index"])
        row = int(np.flatnonzero(oips.maps == entry["map"])[0])
        expected = enhanced(oips.images[row, 0].astype(np.float32))[..., 0]
        top, left = index // 16 * 12, index % 16 * 12
        assert np.array_equal(sheet[top : top + 12, left : left + 12], expected), entry
    assert [entry["index"] for entry in maps] == [1] * 40 + [0] * 12


def test_bits_about_a_class_are_those_of_the_ranking(run):
    folder = gallery.build(run).parent
    order = _content(folder / "data/maps.js", "maps")["columns"]["map"]
    by_map = {entry.map: entry for entry in run.ranking(1).estimators[1].maps}
    about = _content(folder / "data/class-002.js", "class-2")
    assert about["kde"][0] == pytest.approx(by_map[order[0]].per_class[2], rel=5e-3)


def test_maps_json_and_csv_agree(run):
    folder = gallery.build(run).parent
    maps = read_json(folder / "maps.json")["maps"]
    rows = list(csv.DictReader(io.StringIO((folder / "maps.csv").read_text("utf-8"))))
    assert len(rows) == len(maps) == 52
    for row, entry in zip(rows, maps, strict=True):
        assert (row["layer"], int(row["map"])) == (entry["layer"], entry["map"])
        assert row["verdict"] == entry["verdict"]
        assert float(row["decoder mi (bits)"]) == entry["information"][0]["mi"]
    failed = next(row for row in rows if row["verdict"] == "failed")
    assert failed["score"] == ""


def test_pages_without_script_hold_every_map(maker, tmp_path):
    run = maker(tmp_path / "run", counts=(3, 300), shape=(4, 4, 3), grown=(1,))
    folder = gallery.build(run).parent
    numbers_shown = []
    for page in (1, 2):
        text = (folder / f"layers/001-p{page}.html").read_text("utf-8")
        numbers = [int(number) for number in re.findall(r'<li id="m(\d+)">', text)]
        assert len(numbers) <= 256
        numbers_shown += numbers
        for source in re.findall(r'<img [^>]*src="([^"]+)"', text):
            assert (folder / "layers" / source).is_file()
    assert sorted(numbers_shown) == list(range(300))
    index = (folder / "index.html").read_text("utf-8")
    for name in ("layers/000-p1.html", "layers/001-p1.html", "layers/001-p2.html"):
        assert f'href="{name}"' in index
    assert "no OIP" in (folder / "layers/000-p1.html").read_text("utf-8")


def test_every_page_has_the_policy_and_nothing_inline(run):
    folder = gallery.build(run).parent
    pages = [*folder.glob("*.html"), *folder.glob("layers/*.html")]
    assert len(pages) == 7
    for page in pages:
        text = page.read_text("utf-8")
        policy = POLICY.replace("'", "&#39;")
        assert f'http-equiv="Content-Security-Policy" content="{policy}"' in text
        assert not re.search(r"<script(?! src=)|<style|\sstyle=|\son\w+=|javascript:", text)


def test_names_are_text(maker, tmp_path):
    run = maker(
        tmp_path / "run",
        names=(HOSTILE[0], HOSTILE[2]),
        classes=HOSTILE,
        model='"><b>m</b>.keras',
    )
    folder = gallery.build(run).parent
    for page in (*folder.glob("*.html"), *folder.glob("layers/*.html")):
        text = page.read_text("utf-8")
        assert not re.search(r"<script>|<img src=x|<b>m", text)
    for path in folder.glob("data/*.js"):
        assert "<" not in path.read_text("utf-8")
    rows = list(csv.reader(io.StringIO((folder / "maps.csv").read_text("utf-8"))))
    cells = {cell for row in rows for cell in row}
    assert "'=1+1" in cells and "=1+1" not in cells
    assert all(re.fullmatch(r"[\w.-]+", path.name) for path in folder.rglob("*"))


def test_a_gallery_is_replaced_and_the_run_is_left_alone(run):
    folder = gallery.build(run).parent
    (folder / "old.txt").write_text("old")
    before = {path: path.read_bytes() for path in run.path.glob("layers/*/*")}
    gallery.build(run)
    assert not (folder / "old.txt").exists()
    assert before == {path: path.read_bytes() for path in run.path.glob("layers/*/*")}


def test_same_run_same_files(run):
    folder = gallery.build(run).parent
    first = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}
    gallery.build(run)
    assert first == {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}


def _inodes(folder):
    return {
        path.relative_to(folder).as_posix(): path.stat().st_ino
        for path in folder.rglob("*.*")
        if path.is_file()
    }


def _changed(folder, before):
    return {name for name, inode in _inodes(folder).items() if before.get(name) != inode}


def test_an_unchanged_run_writes_no_file(full_run, monkeypatch):
    folder = gallery.build(full_run).parent
    before = _inodes(folder)
    monkeypatch.setattr("oip.gallery.images.read_shard", None)  # nothing may be drawn
    gallery.build(full_run)
    assert _changed(folder, before) == set() and set(_inodes(folder)) == set(before)


def test_only_the_shard_that_changed_is_drawn_again(maker, tmp_path):
    run = maker(tmp_path / "run", counts=(12, 300))
    folder = gallery.build(run).parent
    before = _inodes(folder)
    oips, key = read_shard(run.shard(1, 2))
    oips.images[3] = oips.images[3][:, ::-1]
    write_shard(run.shard(1, 2), oips, key)
    gallery.build(run)
    drawn = {name for name in _changed(folder, before) if name.startswith("img/tile/")}
    assert drawn == {"img/tile/001/0131.webp"}
    order = [(row["index"], row["map"]) for row in read_json(folder / "maps.json")["maps"]]
    sheets = {f"img/sheet-{order.index((1, 131)) // 256:03d}.webp"}
    assert {n for n in _changed(folder, before) if n.startswith("img/sheet")} == sheets


def test_a_new_order_draws_sheets_but_no_map(run):
    folder = gallery.build(run).parent
    before = _inodes(folder)
    path = run.folder(1) / "ranking.json"
    record = read_json(path)
    first = record["estimators"][0]["maps"]
    first[0]["rank"], first[-1]["rank"] = first[-1]["rank"], first[0]["rank"]
    write_json(path, record)
    gallery.build(run)
    changed = _changed(folder, before)
    assert "img/sheet-000.webp" in changed and "data/maps.js" in changed
    assert not {name for name in changed if name.startswith(("img/tile", "img/full"))}
    assert "assets/app.js" not in changed
    test_sheet_follows_the_default_order(run)


def test_a_picture_that_was_lost_is_drawn_again(run):
    folder = gallery.build(run).parent
    before = (folder / "img/full/001/0007.webp").read_bytes()
    (folder / "img/full/001/0007.webp").unlink()
    (folder / "img/sheet-000.webp").unlink()
    gallery.build(run)
    assert (folder / "img/full/001/0007.webp").read_bytes() == before
    test_sheet_follows_the_default_order(run)


def test_a_damaged_shard_is_named_and_leaves_the_old_gallery(run):
    folder = gallery.build(run).parent
    before = _inodes(folder)
    path = run.shard(1, 0)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    (folder / "img/full/001/0007.webp").unlink()
    with pytest.raises(RunError, match="shard-0000"):
        gallery.build(run)
    assert _changed(folder, before) == set()


def test_folders_that_a_killed_build_left_are_removed(run):
    left, alive = run.path / ".gallery-1-abcdef12", run.path / ".gallery-2-abcdef12"
    left.mkdir()
    with files.locked(alive):
        folder = gallery.build(run).parent
        assert not left.exists() and alive.exists()
    # killed between its two renames: the old gallery comes back before the next build
    before = (folder / "maps.json").stat().st_ino
    folder.rename(run.path / ".gallery-2-abcdef12-old")
    gallery.build(run)
    assert (folder / "maps.json").stat().st_ino == before
    assert not list(run.path.glob(".gallery-*"))


def test_a_damaged_gallery_is_named_and_made_again(run):
    folder = gallery.build(run).parent
    whole = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    names = ("maps.json", "drawn.json", "index.html", "img/sheet-000.webp", "assets/app.js")
    for name in names:
        content = bytearray(whole[folder / name])
        content[len(content) // 2] ^= 4
        (folder / name).write_bytes(content)
        checked = verify_run(run)
        problems = {
            result.file for result in checked if result.problem and "gallery" in result.file
        }
        assert problems == {f"gallery/{name}"}
        gallery.build(run)
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == whole
    for name in names:
        (folder / name).unlink()
        assert f"gallery/{name}" in {checked.file for checked in verify_run(run) if checked.problem}
        gallery.build(run)
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == whole


@pytest.mark.parametrize("kind", ["folder", "file", "json"])
def test_something_else_is_not_replaced(run, kind):
    target = run.path / "gallery"
    if kind == "file":
        target.write_text("mine")
    else:
        target.mkdir()
        (target / "photo.jpg").write_text("mine")
    if kind == "json":
        (target / "maps.json").write_text('{"kind": "other"}')
    with pytest.raises(RunError, match="gallery"):
        gallery.build(run)
    kept = target if kind == "file" else target / "photo.jpg"
    assert kept.read_text() == "mine"


@pytest.mark.parametrize("where", ["_write", "_swap"])
def test_an_interrupted_build_leaves_the_old_one(run, monkeypatch, where):
    folder = gallery.build(run).parent
    before = (folder / "data/maps.js").read_bytes()

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(site, where, stopped)
    with pytest.raises(KeyboardInterrupt):
        gallery.build(run)
    assert (folder / "data/maps.js").read_bytes() == before
    assert [path.name for path in run.path.iterdir() if path.name.startswith(".")] == []


def test_data_images_only_when_given(run):
    images = np.random.default_rng(0).random((30, 12, 12, 1)).astype(np.float32) * 255
    folder = gallery.build(run, data_images=images, data_labels=np.arange(30) % 4).parent
    details = {path.name: path.read_bytes() for path in folder.glob("data/detail-*.js")}
    pictures = {path.name: path.read_bytes() for path in folder.glob("img/data/*.webp")}
    assert pictures and b"caption" in b"".join(details.values())
    for _ in range(2):  # they stay, with their captions
        with pytest.warns(Notice, match="keeps its data images"):
            gallery.build(run)
        assert {path.name: path.read_bytes() for path in folder.glob("img/data/*")} == pictures
        assert {path.name: path.read_bytes() for path in folder.glob("data/detail-*.js")} == details
    (folder / "img/data" / min(pictures)).unlink()
    with pytest.warns(Notice) as notices:
        gallery.build(run)
    texts = [str(warning.message) for warning in notices]
    assert any("1 data image that maps respond to most" in text for text in texts)
    gallery.build(run, keep_data=False)
    assert not list(folder.glob("img/data/*"))
    gallery.build(run)  # what was removed does not come back
    assert not list(folder.glob("img/data/*"))


def test_data_images_of_an_earlier_version_do_not_go_without_a_word(run):
    images = np.random.default_rng(0).random((30, 12, 12, 1)).astype(np.float32) * 255
    folder = gallery.build(run, data_images=images).parent
    drawn = DrawnFile.read(folder / "drawn.json")
    del drawn.drawn["data digest"]
    drawn.write(folder / "drawn.json")
    with pytest.warns(Notice, match="an earlier version held data images"):
        gallery.build(run)
    assert not (folder / "img/data").exists()
    gallery.build(run)


def test_bgr_inputs_are_shown_as_rgb(maker, tmp_path, edit_record):
    run = maker(tmp_path / "run", shape=(12, 12, 3))
    plainly = np.asarray(Image.open(gallery.build(run).parent / "img/sheet-000.webp"))
    edit_record(run, lambda values: values["input"].update(bgr=True))
    turned = np.asarray(Image.open(gallery.build(run).parent / "img/sheet-000.webp"))
    assert np.array_equal(plainly[:24, :, ::-1], turned[:24])


def test_true_colors_are_drawn_once_and_stretched_by_the_page(maker, tmp_path, edit_record):
    run = maker(tmp_path / "run", counts=(3, 4), shape=(60, 60, 3))
    changes = {"mean": [100.0] * 3, "std": [20.0] * 3}
    edit_record(run, lambda values: values["input"].update(changes))
    edit_record(run, lambda values: values["settings"]["reconstruct"].update(bound=True))
    folder = gallery.build(run).parent
    assert Image.open(folder / "img/full/001/0003.webp").size == (60, 60)
    assert Image.open(folder / "img/starts/001/0003.webp").size == (120, 60)
    detail = (folder / "data/detail-001-0000.js").read_text("utf-8")
    values = json.loads(detail.split(",", 1)[1].rstrip().removesuffix(");"))["maps"]["3"]
    assert np.shape(values["stretches"]) == (3, 2, 3)
    before = _inodes(folder)
    gallery.build(run)
    assert _changed(folder, before) == set()


@pytest.mark.parametrize("missing", ["classes", "data", "settings", "versions", "accuracy"])
def test_a_run_that_says_little_is_shown(run, missing, edit_record):
    edit_record(run, lambda values: values.pop(missing))
    assert gallery.build(run).is_file()


def test_layers_without_geometry_are_shown(run, edit_record):
    unknown = {"receptive_field": None, "jump": None, "offset": None}
    edit_record(run, lambda values: [layer.update(unknown) for layer in values["layers"]])
    images = np.zeros((30, 12, 12, 1), np.uint8)
    assert gallery.build(run, data_images=images).is_file()


def test_no_run(tmp_path):
    with pytest.raises(RunError, match="no such folder"):
        gallery.build(tmp_path / "none")


def test_data_that_the_maps_were_not_ranked_on_are_told(run):
    images = np.random.default_rng(0).random((30, 12, 12, 1))
    path = run.folder(1) / "ranking.json"
    files.write_json(path, {**files.read_json(path), "data_sha256": data_digest(images)})
    gallery.build(run, data_images=images)
    with pytest.warns(Notice, match="no data images are shown for 'second'"):
        gallery.build(run, data_images=images[::-1])


def test_the_title_is_the_persons_and_stays(run):
    def heading(**options):
        page = gallery.build(run, **options).read_text()
        return re.search(r"<h1><bdi>(.*?)</bdi></h1>", page)[1]

    assert heading() == run.record.model.name
    assert heading(title="Digits <2>") == "Digits &lt;2&gt;"
    assert heading() == "Digits &lt;2&gt;"
    assert heading(title="") == run.record.model.name
    with pytest.raises(SettingsError, match="title"):
        gallery.build(run, title="a" * 201)


def test_masks_of_what_counted_are_kept_in_the_run_and_shown(tmp_path):
    import keras
    from keras import layers

    import oip

    keras.utils.set_random_seed(0)
    parts = [layers.Input((64, 64, 3)), layers.Rescaling(1 / 255)]
    parts += [layers.Conv2D(2, 5, strides=2, activation="relu", name="conv")]
    model = keras.Sequential([*parts, layers.GlobalAveragePooling2D(), layers.Dense(2)])
    quick = {"steps": 6, "screened": 4}
    run = oip.reconstruct_into(tmp_path / "run", model, "conv", preset="maco", **quick)
    grown, direct = layer_oips(run, 0), oip.reconstruct(model, "conv", preset="maco", **quick)
    assert grown.alpha is not None and direct.alpha is not None
    assert grown.alpha.shape == (2, 1, 64, 64) and grown.alpha.dtype == np.uint8
    np.testing.assert_array_equal(grown.alpha, direct.alpha)
    assert grown.alpha.max() == 255 and grown.alpha.std() > 10
    assert direct[1].show(mask=True).size == (64, 64)
    assert direct[1].show(mask=True).tobytes() != direct[1].show().tobytes()
    assert not [checked for checked in verify_run(run) if checked.problem]
    folder = gallery.build(run.path).parent
    pictures = {}
    for kind in ("full", "masks"):
        with Image.open(folder / f"img/{kind}/000/0001.webp") as picture:
            pictures[kind] = np.asarray(picture, float)
    assert pictures["masks"].shape == pictures["full"].shape
    assert abs(pictures["masks"] - 128).mean() < abs(pictures["full"] - 128).mean()
    texts = [path.read_text() for kind in ("*.html", "*.js") for path in folder.rglob(kind)]
    assert any('"masks":true' in text.replace(" ", "") for text in texts)
    other = oip.reconstruct_into(tmp_path / "other", model, "conv", preset="natural", **quick)
    assert layer_oips(other, 0).alpha is None
    page = gallery.build(other.path).parent
    assert {oip_.evidence()["reason"] for oip_ in layer_oips(other, 0)} == {"schedule"}
    assert "not converged" not in (page / "layers/000.html").read_text()
    assert "from noise" in (page / "index.html").read_text()
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype("float32")
    changed = oip.reconstruct_into(tmp_path / "from", model, "conv", start=image, **quick)
    page = gallery.build(changed.path).parent
    for name in ("index.html", "about.html"):
        text = (page / name).read_text()
        assert "gradient ascent from a given image" in text and "from noise" not in text


def test_of_several_presets_a_page_says_which_was_kept(run):
    shard = run.shards(0)[0]
    oips, key = read_shard(shard)
    masks = np.zeros(oips.images.shape[:-1], np.uint8) + np.arange(oips.images.shape[-2])
    write_shard(shard, replace(oips, alpha=masks.astype(np.uint8)), key)
    shares = {"natural": 0.7, "maco": 0.9}
    choices = [
        PresetChoice(map=0, preset="maco", shares=shares),
        PresetChoice(map=1, preset="natural", shares={**shares, "natural": 0.95}),
        PresetChoice(map=2, preset="natural", shares=dict.fromkeys(shares)),
    ]
    record = PresetsFile(key="k", judge="lite2", samples=200, maps=choices)
    record.write(run.folder(0) / "presets.json")
    settings = msgspec.structs.replace(run.record.settings, preset="best:natural,maco")
    msgspec.structs.replace(run.record, settings=settings).write(run.path / "run.json")
    page = gallery.build(run.path).parent
    script = (page / "data/detail-000-0000.js").read_text()
    maps = json.loads(script[script.index("{") : script.rindex("}") + 1])["maps"]
    assert [bool(maps[number].get("masks")) for number in "0123"] == [True, False, False, True]
    assert maps["0"]["sentences"][-1] == (
        "Of the presets natural, maco, the pictures of maco were kept, which lite2 read best "
        "(right choices over the 200 images that served for this: natural 70 %, maco 90 %)."
    )
    assert "without a choice: lite2 could judge none" in maps["2"]["sentences"][-1]
    assert "Of the presets" not in " ".join(maps["3"]["sentences"])
    about = (page / "about.html").read_text()
    assert "out of natural, maco; a map's page says which" in about
    built = {path: path.stat().st_mtime_ns for path in (page / "img").rglob("*.webp")}
    gallery.build(run.path)
    assert {path: path.stat().st_mtime_ns for path in (page / "img").rglob("*.webp")} == built


@pytest.fixture
def page(full_run):
    return gallery.build(full_run, single_file=True).read_text("utf-8")


def _hash(text):
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_one_file_and_nothing_else(full_run):
    before = set(full_run.path.iterdir())
    made = gallery.build(full_run, single_file=True)
    assert set(full_run.path.iterdir()) - before == {made}
    assert gallery.build(full_run, single_file=True) == made, "replaced"


def test_policy_allows_just_this_script_and_this_style(page):
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    policy = re.search(r'Security-Policy" content="([^"]+)"', page)[1].replace("&#39;", "'")
    assert f"script-src '{_hash(script)}';" in policy
    assert f"style-src '{_hash(style)}';" in policy
    assert "default-src 'none'" in policy and "unsafe" not in policy and "self" not in policy


def test_script_and_style_cannot_end_their_elements():
    assert "</" not in app_script() and "<!--" not in app_script() and "<script" not in app_script()
    assert "<" not in app_style()


def test_nothing_leads_to_another_file(page):
    for link in re.findall(r'\s(?:href|src)="([^"]*)"', page):
        assert link.startswith(("#", "data:")), link


def test_images_of_every_map_are_in_it(page, full_run):
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    for name in ("img/sheet-000.webp", "img/full/001/0037.webp", "img/evolution/000/0001.webp"):
        assert f'"{name}":"data:image/webp;base64,' in script


def test_too_many_maps_are_refused_and_nothing_is_written(maker, tmp_path):
    run = maker(tmp_path / "run", counts=(12, 300), grown=())
    with pytest.raises(SettingsError, match="300 maps"):
        gallery.build(run, single_file=True)
    assert not [path for path in run.path.iterdir() if "gallery" in path.name]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_single_file_replaces_nothing_else(run, kind):
    target = run.path / "gallery.html"
    if kind == "file":
        target.write_text("<p>mine")
    else:
        target.mkdir()
    with pytest.raises(RunError, match=r"gallery\.html"):
        gallery.build(run, single_file=True)
    assert target.is_dir() or target.read_text() == "<p>mine"


def test_data_images_are_in_one_file_only_when_given(run):
    images = np.random.default_rng(0).integers(0, 256, (30, 12, 12, 1)).astype(np.uint8)
    assert "img/data/" not in gallery.build(run, single_file=True).read_text("utf-8").replace(
        app_script(), ""
    )
    made = gallery.build(run, data_images=images, single_file=True)
    assert '"img/data/00' in made.read_text("utf-8")
    with pytest.warns(Notice, match="no longer holds"):
        gallery.build(run, single_file=True)
    assert '"img/data/00' not in made.read_text("utf-8")
    with warnings.catch_warnings(action="error", category=Notice):
        gallery.build(run, single_file=True)  # nothing more is lost


BANNED = (
    "innerHTML",
    "outerHTML",
    "insertAdjacentHTML",
    "document.write",
    "eval(",
    "new Function",
    'setTimeout("',
    "srcdoc",
    "createContextualFragment",
    "DOMParser",
    "fetch(",
    "XMLHttpRequest",
    "import(",
)


@pytest.mark.parametrize("word", BANNED)
def test_script_does_not_say(word):
    assert word not in app_script()


def test_nothing_is_loaded_from_elsewhere():
    for text in (app_script(), app_style()):
        assert re.findall(r"(?:https?:)?//[\w.]+\.\w+", text) in ([], ["http://www.w3.org"])
    assert "@import" not in app_style() and "url(" not in app_style()


def test_script_is_one_classic_function():
    text = app_script()
    assert text.startswith('(function () {\n"use strict";') and text.endswith("})();\n")
    assert not re.search(r"^\s*(import|export) ", text, re.MULTILINE)


def test_script_and_style_are_small():
    assert len(gzip.compress((app_script() + app_style()).encode())) <= 60 * 1024


def test_a_damaged_file_is_named_and_made_again(run):
    path = gallery.build(run, single_file=True)
    whole = path.read_bytes()
    assert not _problem(run)
    head = whole.index(b"checksum")
    sizes = (0, 9, 70, head - 20, head, 3000, len(whole) // 2, len(whole) - 90, len(whole) - 1)
    harms = [whole[:size] for size in sizes]
    for position in (
        0,
        70,
        head,
        head + 30,
        3000,
        len(whole) // 2,
        len(whole) - 50,
        len(whole) - 2,
    ):
        changed = bytearray(whole)
        changed[position] ^= 4
        harms.append(bytes(changed))
    for harm in harms:
        path.write_bytes(harm)
        assert _problem(run), harm[-99:]
        assert is_single_page(path)
    gallery.build(run, single_file=True)
    assert path.read_bytes() == whole


def test_a_file_of_an_earlier_version_has_no_checksum_and_no_problem(run):
    path = gallery.build(run, single_file=True)
    page = path.read_text("utf-8").replace(files.PAGE_MARK, "").rpartition("\n<!--")[0]
    path.write_text(page, "utf-8")
    assert not _problem(run) and is_single_page(path)


def _problem(run):
    return {checked.file: checked.problem for checked in verify_run(run)}["gallery.html"]
