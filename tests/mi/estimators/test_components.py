import numpy as np
import pytest

from oip.mi.estimators.components import principal_components


@pytest.mark.parametrize("shape", [(60, 5), (60, 300), (200, 150)])
def test_components_keep_distances_on_one_scale(shape):
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape) @ np.diag(0.9 ** np.arange(shape[1]))
    features = principal_components(x, 100, rng).astype(float)
    assert features.shape == (shape[0], min(*shape, 100))
    assert abs((features**2).sum(axis=1).mean() - 1) < 1e-3
    centred = x - x.mean(axis=0)
    centred /= np.sqrt((centred**2).sum(axis=1).mean())
    assert np.abs(features @ features.T - centred @ centred.T).max() < 1e-3
    inner = features.T @ features
    assert np.abs(inner - np.diag(np.diagonal(inner))).max() < 1e-3
    assert (np.diff(np.diagonal(inner)) < 1e-5).all()


def test_offset_and_scale_do_not_matter_and_constants_are_zero():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 4))
    features = np.abs(principal_components(x, 100, rng))
    for changed in (x * 1e-12, x * 1e12, x + 100):
        assert np.allclose(np.abs(principal_components(changed, 100, rng)), features, atol=1e-5)
    wide = rng.normal(size=(50, 300))
    features = [
        principal_components(wide * 10.0**power, 9, np.random.default_rng(1)) for power in (0, 90)
    ]
    assert np.allclose(np.abs(features[1]), np.abs(features[0]), atol=1e-4)
    assert (principal_components(np.full((50, 4), 0.1), 100, rng) == 0).all()
    assert (principal_components(np.full((50, 400), 0.1, np.float32), 100, rng) == 0).all()
