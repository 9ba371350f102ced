"""Maps that are enough, and maps that can go, of planted selections."""

import numpy as np

from oip.studies.renyi_measures import KERNELS
from oip.studies.renyi_selection import MapSelection, pruning_finding, width_finding


def planted():
    """A selection among 20 maps: three, or two, are enough."""
    arrays = {"accuracy": np.array(0.9), "shares": np.array([0.25, 0.5]), "many kept": 0.5}
    for kernel in KERNELS:
        arrays[f"{kernel.name} objective"] = np.zeros(20)
    arrays |= {"paper width": -1, "paper kept": np.nan, "relative width": 3, "many width": 2}
    return arrays | {"relative kept": 0.4, "layer": "x", "methods": [], "pruned": []}


def test_few_maps_are_enough():
    finding = width_finding("layer of net on x", MapSelection.of(planted()), 100)
    assert finding.verdict == "yes" and "maps unknown (no conclusion" in finding.ours


def test_a_kernel_by_which_most_maps_are_needed():
    selection = MapSelection.of(planted() | {"many width": 19})
    assert width_finding("", selection, 9).verdict == "partly"


def test_maps_that_can_go_by_one_kernel():
    labels = [f"IB, {kernel.label}" for kernel in KERNELS]
    arrays = planted() | {"methods": np.array([*labels, "random"])}
    arrays["pruned"] = np.array([[[0.9], [0.895]], [[0.9], [0.5]], [[0.9], [0.3]]])
    finding = pruning_finding("here", MapSelection.of(arrays), 100)
    assert finding.verdict == "partly" and "random +60.0" in finding.ours
