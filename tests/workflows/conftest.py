"""A model that knows its input, and images with labels."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="session")
def bars(small_images):
    """The small images with noise, three times, and their labels."""
    images, labels = (np.concatenate([part] * 3) for part in small_images)
    return images + np.random.default_rng(0).integers(0, 20, images.shape).astype(np.uint8), labels
