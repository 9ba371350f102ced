"""OIPs as files for other programs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import oip
from oip.core.errors import SettingsError
from oip.core.files import WriteError, name_part
from oip.run.export import export_arrays, export_pictures
from oip.run.shards import layer_oips


def test_only_letters_and_digits_of_a_name_are_in_names_of_files():
    assert name_part("block3_conv2") == "block3_conv2"
    assert name_part("../../a b\x00/<c>") == "a-b-c"
    assert name_part("‮txet") == "txet" and name_part("...") == "layer"
    assert len(name_part("x" * 300)) == 40


def test_exports_hold_the_best_images(grown, tmp_path):
    oips = layer_oips(grown, 1)
    export_arrays(oips, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["images"].shape == (70, 16, 16, 1)
        assert arrays["verdicts"].tolist() == oips.verdicts
        np.testing.assert_array_equal(arrays["images"], oips.pixels[:, 0])
    from PIL import Image

    for kind, frames in (("png", 1), ("webp", 5), ("gif", 5)):
        written = export_pictures(oips, tmp_path / kind, kind, True, 64)
        assert len(written) == 70
        assert written[17].name == f"001-second-map-0017.{kind}"
        with Image.open(written[17]) as picture:
            assert picture.size == (64, 64)
            assert getattr(picture, "n_frames", 1) >= min(frames, 2 if frames > 1 else 1)


def test_pictures_of_objectives_say_what_they_are(grown, tmp_path):
    oips = replace(layer_oips(grown, 0), objectives=tuple(f"class:{k} - map:3" for k in range(6)))
    written = export_pictures(oips, tmp_path, "png", None, 32)
    assert written[2].name == "000-first-0002-class-2-map-3.png"


def test_arrays_of_objectives_say_what_they_are(grown, tmp_path):
    oips = replace(layer_oips(grown, 0), objectives=tuple(f"class:{k} - map:3" for k in range(6)))
    parts = [oips.rows(np.array([4, 1])), oips.rows(np.array([2]))]
    export_arrays(parts, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["maps"].tolist() == [4, 1, 2]
        named = arrays["objectives"].tolist()
    assert named == ["class:4 - map:3", "class:1 - map:3", "class:2 - map:3"]
    export_arrays(layer_oips(grown, 0), tmp_path / "b.npz")
    with np.load(tmp_path / "b.npz") as arrays:
        assert "objectives" not in arrays


def test_files_of_others_are_not_replaced_unless_asked(grown, tmp_path):
    from PIL import Image

    oips = layer_oips(grown, 0)
    for kind in ("png", "webp", "gif"):
        paths = export_pictures(oips, tmp_path, kind, None, 32)
        assert export_pictures(oips, tmp_path, kind, None, 32) == paths  # its own are
        Image.new("L", (8, 8)).save(paths[2])
        own = paths[2].read_bytes()
        with pytest.raises(WriteError, match="--force"):
            export_pictures(oips, tmp_path, kind, None, 32)
        assert paths[2].read_bytes() == own
        export_pictures(oips, tmp_path, kind, None, 32, force=True)
        assert paths[2].read_bytes() != own
    path = export_arrays(oips, tmp_path / "a.npz")
    export_arrays(oips, path)
    for content in (b"", b"PK\x03\x04", b"text"):
        path.write_bytes(content)
        with pytest.raises(WriteError):
            export_arrays(oips, path)
    export_arrays(oips, path, force=True)


@pytest.mark.parametrize("options", [{"kind": "bmp"}, {"size": 4}, {"size": 30.5}])
def test_other_kinds_and_sizes_are_refused_before_anything_is_written(grown, tmp_path, options):
    with pytest.raises(SettingsError):
        oip.export_pictures(layer_oips(grown, 1), tmp_path / "pictures", **options)
    assert not (tmp_path / "pictures").exists()
