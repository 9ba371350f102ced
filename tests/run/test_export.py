"""OIPs as files for other programs."""

from __future__ import annotations

import numpy as np

from oip.run.export import export_arrays, export_pictures
from oip.run.shards import layer_oips


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
        assert written[17].name == f"001-0017.{kind}"
        with Image.open(written[17]) as picture:
            assert picture.size == (64, 64)
            assert getattr(picture, "n_frames", 1) >= min(frames, 2 if frames > 1 else 1)
