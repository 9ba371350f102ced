"""What a process keeps between two pieces of work."""

import numpy as np
import pytest
from PIL import Image

from oip.ascent.settings import AscentSettings
from oip.batch.worker import ModelJob, WorkerCache
from oip.core.errors import Notice
from oip.workflows.inputs import ModelInput


def test_images_are_brought_to_the_size_of_each_model(small_file, tmp_path):
    for number in range(4):
        folder = tmp_path / "photos" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (20 + number, 30), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    data = f"{tmp_path / 'photos'}:all"
    job = ModelJob(str(small_file), ModelInput(), (), (), data, None, AscentSettings(), None, "fit")
    cache = WorkerCache()
    with pytest.warns(Notice, match=r"4 of 4 images were brought to the model's 16 x 16"):
        images = cache.images(job)
    assert images is not None and images.shape == (4, 16, 16, 1)
    assert not images[:, 0].any(), "black borders"
    assert cache.network(job) is cache.network(job) and cache.data(job) is cache.data(job)
