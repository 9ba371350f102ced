import numpy as np

from oip.ascent.screening import standardize_as_input
from oip.network.network import Network


def test_images_are_brought_to_the_inputs_statistics(small_model, small_images):
    network = Network(small_model)
    visible = np.ones((16, 16), bool)
    visible[:, 12:] = False
    alike = standardize_as_input(small_images[0], network, visible)[:, :, :12]
    np.testing.assert_allclose(alike.mean((1, 2, 3)), 40, rtol=1e-4)
    np.testing.assert_allclose(alike.std((1, 2, 3)), 80, rtol=1e-4)
