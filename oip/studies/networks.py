"""The networks whose trainings `kernels` and `plane` watch, and the images they learn from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from oip.core.errors import DataError, expected
from oip.core.progress import Progress
from oip.studies.data import digest, study_data
from oip.studies.frame import Folder, MissingData, StudySettings, base_name
from oip.studies.training import Trained, trained
from oip.studies.watched import Watched

SOURCE = (
    "H. Fang, V. Wang, M. Yamaguchi: Dissecting Deep Learning Networks—Visualizing Mutual "
    "Information. Entropy 20 (2018) 823"
)
RELU_MLP = Watched("relu-mlp", (), ("Dense_1", "Dense_2", "Dense_3", "classes"))
LENET = Watched("lenet", ("Conv2D_1", "Conv2D_2"), ("Dense_1", "classes"))
STRIDED = Watched("lenet", LENET.blocks, LENET.dense, (("stride", 2),))
DENSENET = Watched("densenet", ("Conv2D_1", "Conv2D_10", "Conv2D_19"), ("classes",))
TANH_MLP = Watched("tanh-mlp", (), (*(f"Dense_{n}" for n in range(1, 6)), "classes"))
IP_MLP = Watched("ip-mlp", (), (*(f"Dense_{n}" for n in range(1, 5)), "classes"))
SHOWN = {
    RELU_MLP: "ReLU-MLP",
    LENET: "LeNet",
    STRIDED: "LeNet, stride 2",
    DENSENET: "DenseNet",
    TANH_MLP: "tanh-MLP",
    IP_MLP: "IP-MLP",
}
"""Names in figures and text."""
DIGITS, CLOTHES = "mnist", "fashion-mnist"
_SAMPLE = "mnist-sample"
_QUICK, _FULL = 500, 10_000


@dataclass(frozen=True, eq=False)
class Images:
    """One data set, in its two parts, both with labels."""

    name: str
    """Of a path the last part."""
    train: Any
    test: Any

    @cached_property
    def digest(self) -> str:
        """SHA-256 of both parts, for `Folder.part` and for names of what is made from them."""
        both = f"{digest(self.train)} {digest(self.test)}"
        return hashlib.sha256(both.encode()).hexdigest()


def iterations(settings: StudySettings) -> int:
    """Batches that each network learns from; the paper also shows 50,000."""
    return settings.iterations or (_QUICK if settings.quick else _FULL)


def how_trained(settings: StudySettings) -> str:
    """What the reports of both studies say of the trainings."""
    return (
        f"Adam at a constant rate of 0.001, batches of 64, {iterations(settings):,} iterations, "
        f"one training a network (seed {settings.seed}): differences between networks are of these "
        f"trainings. The paper shows 10,000 and 50,000 iterations; --iterations 50000 goes on from "
        f"what is there. DenseNet's first pooling keeps the size, so that a map of the first block "
        f"has the 196 numbers that the paper gives; the second block is the first dense block with "
        f"its transition (12 maps of 7 x 7)."
    )


def every_source(folder: Folder, settings: StudySettings) -> list[Images]:
    """The data sets that can be had: those the user named, else MNIST and Fashion-MNIST.

    Where MNIST cannot be had, the embedded digits stand for it, and a note says so.

    Raises:
        DataError: a source names one part.
        MissingData: none of them can be had.
    """
    found, last = [], None
    for source in settings.data or (DIGITS, CLOTHES):
        try:
            found.append(images(folder, source, settings))
        except MissingData as error:
            last = error
            folder.missing(f"What is said of {base_name(source)}.", error)
    if not found and last is not None:
        raise last
    return found


def images(folder: Folder, source: str, settings: StudySettings) -> Images:
    """Both parts of a data set.

    Raises:
        DataError: the source names one part.
        MissingData: it cannot be had, or has no labels.
    """
    whole(source)
    try:
        return _both(source, settings)
    except MissingData as error:
        if source != DIGITS:
            raise
        found = _both(_SAMPLE, settings)
        count = len(found.train)
        text = f"MNIST could not be had; {count:,} embedded digits stand for it."
        if text not in folder.notes:
            folder.note(text)
        folder.lacks(f"{text} {error}")
        return found


def whole(source: str) -> None:
    """Refuses a source that names one of its parts: studies learn from one, judge by the other.

    Raises:
        DataError: the source is that of one part.
    """

    from oip import models

    name, part = models.split_source(source)
    if part is not None:
        raise DataError(expected("--data", "a source in both parts", source, f"Say {name}."))


def _both(source: str, settings: StudySettings) -> Images:
    train, test = (study_data(source, settings, part) for part in ("train", "test"))
    name = base_name(source)
    if train.labels is None or test.labels is None:
        hint = "Studies measure what is known of them: add `labels`, or name other data."
        raise MissingData(f"labels of the data '{name}'", f"'{source}'", hint)
    return Images(name, train, test)


def watched_training(
    folder: Folder, network: Watched, data: Images, settings: StudySettings, progress: Progress
) -> Trained:
    """The training of a network on a data set, as `oip.studies.training.trained` does it.

    The tanh network is so small that it always learns for as long as in the paper.
    """
    count = iterations(settings)
    if network == TANH_MLP and settings.iterations is None:
        count = _FULL
    return trained(folder, network, data.train, data.test, count, settings.seed, progress)
