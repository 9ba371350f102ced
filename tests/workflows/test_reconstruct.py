import numpy as np
import pytest
from PIL import Image

import oip
from oip.core.errors import Notice, OipError, SettingsError
from oip.gallery.rerun_command import rerun_command
from oip.workflows.inputs import load_start

QUICK = {"starts": 2, "steps": 6, "screened": 8}


def test_maps_of_a_layer_are_reconstructed_into_a_run(small_file, bars, tmp_path):
    images = bars[0]
    run = oip.reconstruct_into(tmp_path / "run", small_file, "second:3,5", data=images, **QUICK)
    oips = oip.layer_oips(run, 1)
    assert oips.maps.tolist() == [3, 5]
    assert np.isfinite(oips.data_scores).all()
    direct = oip.reconstruct(small_file, "second", maps=[3, 5], data=images, **QUICK)
    np.testing.assert_array_equal(direct.verdicts, oips.verdicts)
    np.testing.assert_allclose(direct.scores, oips.scores, rtol=0.01)


def test_statistics_that_are_assumed_are_named(tmp_path):
    import keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Input((8, 8, 1)), keras.layers.Conv2D(2, 3)])
    with pytest.warns(Notice, match="mean and standard deviation are not known"):
        oip.reconstruct_into(tmp_path / "run", model, steps=2, starts=1)


def test_objectives_in_place_of_maps(small_model, tmp_path):
    run = oip.reconstruct_into(
        tmp_path / "run", small_model, "second", objectives=["map:3 + map:5", "class:1"], **QUICK
    )
    assert len(oip.layer_oips(run, 2)) == 2


def test_only_the_best_maps(small_model, bars, tmp_path):
    images, labels = bars
    out = tmp_path / "run"
    options = {"data": images, "labels": labels, "top": 2, "by": "separates:0,3"}
    run = oip.reconstruct_into(out, small_model, **options, **QUICK)
    for layer, maps in oip.top_maps(out, small_model, **options):
        assert oip.layer_oips(run, layer.index).maps.tolist() == sorted(maps)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"by": "mi"}, "top"),
        ({"top": 2}, "labels"),
        ({"top": 2, "objectives": ["class:1"], "data": "x.npz"}, "objectives"),
        ({"top": 2, "by": "size", "data": "x.npz"}, "separates:CLASS,CLASS"),
        ({"layers": ["first", "second"], "objectives": ["class:1"]}, "one layer"),
        ({"starts": 0}, "starts"),
    ],
)
def test_settings_that_do_not_go_together(small_model, tmp_path, options, text):
    with pytest.raises(SettingsError, match=text) as caught:
        oip.reconstruct_into(tmp_path / "run", small_model, **options)
    assert "--" not in str(caught.value), "a library does not name options"
    assert not (tmp_path / "run").exists()


def test_an_ascent_from_a_picture(small_model, small_images, tmp_path):
    picture = small_images[0][1]
    Image.fromarray(np.kron(picture[..., 0], np.ones((2, 2), np.uint8))).save(tmp_path / "bar.png")
    quick = {"steps": 8, "screened": 8}
    grown = oip.reconstruct(small_model, "first", [2], start=picture, rate=1e-4, starts=2, **quick)
    assert (grown.starts == -1).all() and len(grown.images[0]) == 2
    begun = grown.snapshots[0, 0, ..., 0].astype(float).ravel()
    assert np.corrcoef(begun, picture.ravel())[0, 1] > 0.9
    run = oip.reconstruct_into(
        tmp_path / "run", small_model, "first:2", start=tmp_path / "bar.png", **quick
    )
    oips = oip.layer_oips(run, 0)
    assert np.corrcoef(oips.images[0, 0, ..., 0].ravel(), picture.ravel())[0, 1] > 0.5
    assert (oips.images != oips.snapshots[:, :1]).any()
    written = (tmp_path / "run" / "run.json").read_text()
    assert run.record.settings.preset == "accentuate"
    assert len(run.record.settings.start) == 64 and "bar.png" not in written
    assert "--from IMAGE" in rerun_command(run.record, "run", run.record.layers[0], 2)
    oip.rank_into(tmp_path / "run", small_model, "first:2", data=small_images[0], about="none")
    repeated = oip.reconstruct_into(
        tmp_path / "run", small_model, "first:2", start=tmp_path / "bar.png", **quick
    )
    assert repeated.record.settings.start == run.record.settings.start, "further commands keep it"
    with pytest.raises(OipError, match="made in another way"):
        oip.reconstruct_into(tmp_path / "run", small_model, "first:2", start=picture * 0, **quick)


def test_a_picture_to_begin_with_is_as_viewers_show_it(small_model, tmp_path):
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:8] = 200
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    clear = Image.fromarray(pixels).convert("RGBA")
    clear.putalpha(Image.fromarray(np.tile(np.repeat([0, 255], 8).astype(np.uint8), (16, 1))))
    clear.save(tmp_path / "clear.png")
    network = oip.Network(small_model)
    black, white = network.inputs.picture_ends or (0.0, 255.0)
    shares = [
        ((load_start(network, tmp_path / name) - black) / (white - black))[..., 0]
        for name in ("turned.jpg", "clear.png")
    ]
    turned, shown = (255 * share for share in shares)
    assert turned[:, 12].mean() > 150 and turned[:, 4].mean() < 50
    np.testing.assert_allclose(shown[:, :8], 255, atol=1)
    np.testing.assert_allclose(shown[:8, 8:], 200, atol=1)
    np.testing.assert_allclose(shown[8:, 8:], 0, atol=1)


@pytest.mark.parametrize(
    ("start", "text"),
    [
        (np.zeros((5, 5, 1)), "start: expected shape"),
        (np.full((16, 16, 1), np.nan), "finite"),
        ("none.png", "no such file"),
        (__file__, "an image file"),
    ],
)
def test_an_image_to_begin_with_that_cannot_be_used(small_model, tmp_path, start, text):
    start = tmp_path / start if isinstance(start, str) and start == "none.png" else start
    with pytest.raises(OipError, match=text):
        oip.reconstruct_into(tmp_path / "run", small_model, "first:2", start=start, steps=2)
    assert not (tmp_path / "run").exists()
