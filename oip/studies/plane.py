"""The information plane of whole blocks over training."""

from __future__ import annotations

from oip.core.progress import Progress
from oip.studies import plane_claims, plane_figures
from oip.studies.frame import Folder, StudySettings
from oip.studies.networks import (
    DENSENET,
    IP_MLP,
    LENET,
    RELU_MLP,
    SHOWN,
    SOURCE,
    TANH_MLP,
    Images,
    every_source,
    how_trained,
    images,
    watched_training,
)
from oip.studies.training import Trained
from oip.studies.watched import RECORDED

NAME = "plane"
TITLE = "The information plane of whole layers during training"
MINUTES = 3
TAKES = ("data", "iterations")
SCHEMA = 1
_BINARY = "binary-12"

__all__ = ["MINUTES", "NAME", "SCHEMA", "SOURCE", "TAKES", "TITLE", "run"]


def run(folder: Folder, settings: StudySettings, progress: Progress) -> None:
    """Trains the paper's five networks, draws their planes, and compares."""
    folder.note(
        f"I(X;T) and I(T;Y) of a whole layer T by kernel estimates in bits from {RECORDED} images "
        f"of the test part: T with Gaussian noise added, without which I(X;T) would be that of the "
        f"images themselves. Two widths: 'relative', variance 0.1 of the layer's median squared "
        f"distance, which no scaling of the responses changes; and 'fixed', variance 0.1 in the "
        f"responses' own units, as is usual where the paper took its estimator from. Pixels are "
        f"brought to 0 to 1. I(X;T) cannot exceed log2 of the number of images, I(T;Y) cannot "
        f"exceed H(Y); near those lines nothing can be told apart. A finding agrees if it does for "
        f"both widths."
    )
    folder.note(how_trained(settings))
    found: dict[str, dict[str, Trained]] = {}
    sources = every_source(folder, settings)
    for data in sources:
        networks = {
            SHOWN[network]: watched_training(folder, network, data, settings, progress)
            for network in (RELU_MLP, LENET, DENSENET)
        }
        plane_figures.planes(folder, data.name, networks)
        plane_figures.last_layers(folder, data.name, networks)
        plane_claims.compare(folder, data.name, networks, len(data.test))
        found[data.name] = networks
    plane_claims.compare_sources(folder, found)
    _older(folder, sources[0], settings, progress)


def _older(folder: Folder, digits: Images, settings: StudySettings, progress: Progress) -> None:
    """The two networks of the first information planes."""
    vectors = images(folder, _BINARY, settings)
    folder.note(
        "The tanh network learns a re-creation of its data: all 4,096 binary vectors of 12 numbers "
        "(3,277 to learn from), corners of an icosahedron that are on or off; a vector is of class "
        "'many' if more than 15 of the 30 edges join a corner that is on to one that is off. So "
        "small a network learns for as long as in the paper in the quick size too."
    )
    networks = {
        SHOWN[TANH_MLP]: watched_training(folder, TANH_MLP, vectors, settings, progress),
        SHOWN[IP_MLP]: watched_training(folder, IP_MLP, digits, settings, progress),
    }
    plane_figures.planes(folder, "older networks", networks)
    plane_claims.compare_older(folder, networks)
