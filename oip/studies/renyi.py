"""Matrix Renyi information in networks: inequalities, pairs of maps, width, planes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from oip.core.files import sha256
from oip.core.progress import Progress
from oip.studies import renyi_claims, renyi_figures, renyi_filter_claims
from oip.studies.frame import Folder, StudySettings
from oip.studies.networks import Images, every_source
from oip.studies.renyi_data import not_given
from oip.studies.renyi_measures import BATCH, KERNELS, label_ceiling
from oip.studies.renyi_training import Amount, Plan, trained
from oip.studies.renyi_width import Pruning, widths
from oip.studies.subsets import limited

NAME = "renyi"
TITLE = "Matrix Renyi information: data processing, redundancy and synergy, width, planes"
SOURCE = (
    "S. Yu, K. Wickstrom, R. Jenssen, J. C. Principe: Understanding convolutional neural networks "
    "with information theory: an initial exploration. arXiv:1804.06537; IEEE TNNLS 32 (2021) 435."
)
MINUTES = 5
TAKES = ("data",)
SCHEMA = 2
"""1 had the paper's rate of 0.1 for networks of ReLU, too."""
_BASE = (6, 12)
_RATES = {"sigmoid": 0.1, "relu": 0.02}
"""The paper has 0.1. With an input of deviation s in place of 1 the first layer learns as it does
with s^2 times the rate; pixels from 0 to 1 have a deviation of some 0.3, and here the input is
standardised. With 0.1 and momentum 0.95 three of seven networks of ReLU stayed at chance."""
_SMALL = 32
"""Images of at least so many pixels a side are for the AlexNet-like network, as in the paper."""

_WANTED = (
    ("hasy", "HASYv2", "oip study renyi --data FOLDER/hasy-data-labels.csv"),
    ("fruits", "Fruits 360", "oip study renyi --data FOLDER/fruits-360, with train and test in it"),
    ("cifar10", "CIFAR-10 by VGG-16", "oip study renyi --data cifar10"),
)
"""In the name of a source, the data, and what to say to have them."""


@dataclass(frozen=True)
class Size:
    """How large the study is."""

    first: tuple[int, ...]
    """Filters of the first convolution, 12 in the second."""
    second: tuple[int, ...]
    """Filters of the second convolution, 6 in the first."""
    wide: int
    """Filters of the second convolution where maps are chosen."""
    images: int | None
    """That are learned from; all if None."""
    tested: int | None
    epochs: int
    seeds: int
    """Trainings of a network in the comparison of widths."""
    amount: Amount
    pruning: Pruning


QUICK = Size(
    first=(2, 6, 24),
    second=(3, 12, 48),
    wide=128,
    images=12_000,
    tested=2_000,
    epochs=5,
    seeds=1,
    amount=Amount(batches=3, pairs=20, steps=9),
    pruning=Pruning(shares=(0.25, 0.55, 0.8), chances=3),
)
FULL = Size(
    first=(1, 2, 4, 6, 12, 24),
    second=(3, 6, 12, 32, 64, 128),
    wide=128,
    images=None,
    tested=None,
    epochs=10,
    seeds=10,
    amount=Amount(batches=10, pairs=66, steps=24),
    pruning=Pruning(shares=(0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9), chances=10),
)


def run(folder: Folder, settings: StudySettings, progress: Progress) -> None:
    """Everything for each source of images.

    Args:
        folder: for what is computed and drawn.
        settings: `data` names images in place of MNIST and Fashion-MNIST. Those of 32 x 32 pixels
            and more, such as HASYv2 and Fruits 360, are learned by the AlexNet-like network;
            `cifar10` by VGG-16.
        progress: told trainings.

    Raises:
        MissingData: no images at all can be had.
    """
    run_sized(folder, settings, progress, QUICK if settings.quick else FULL)


def run_sized(folder: Folder, settings: StudySettings, progress: Progress, size: Size) -> None:
    """See `run`; of any size."""
    for place, found in enumerate(every_source(folder, settings)):
        _of_source(folder, found, settings.seed, size, progress, place == 0)
    not_given(folder, settings, _WANTED)
    folder.note(
        "The paper's kernel width, sigma = 5 n^(-1 / (4 + d)) for responses and 0.1 n^(-1 / (4 + "
        "d)) for errors, is in the units of the values, so that it depends on how the network's "
        "input is scaled, which the paper does not say. Here networks standardise their input, and "
        "the input's own Gram matrix is that of pixels from 0 to 1. Everything was measured with "
        "a second kernel as well, 2 sigma^2 = the median squared distance, which has no units. "
        "Errors are derivatives of each image's own loss by the pre-activation."
    )
    folder.note(
        f"Networks of sigmoids learn at the paper's rate of {_RATES['sigmoid']}, those of ReLU at "
        f"{_RATES['relu']}: with a standardised input the first layer learns about ten times as "
        "fast as with pixels from 0 to 1. At the paper's rate three of seven stayed at chance (6, "
        "12; 24, 12; 6, 3 filters on MNIST, quick size), and what was found about redundancy over "
        "the number of filters was another: the rate was changed after that run."
    )
    folder.note(
        "The Hadamard product of many Gram matrices goes to the identity whatever the maps know: "
        "S(T) to log2 n = 7 bits, I(X;T) to S(X) and I(T;Y) to S(Y). Information of a layer that "
        "is at these ceilings says nothing of the layer."
    )


def _of_source(
    folder: Folder, images: Images, seed: int, size: Size, progress: Progress, first: bool
) -> None:
    """Trainings on one source, their figures and findings."""
    key = images.name
    data = limited(images.train, size.images), limited(images.test, size.tested)
    plans = plans_for(key, data[0].images.shape[1:], seed, size, first)
    # VGG-16 has 4,224 maps, each with two Gram matrices a batch.
    deep = any(plan.recipe == "vgg16-cifar" for plan in plans["watched"])
    amount = replace(size.amount, batches=2, steps=4) if deep else size.amount
    found: dict[Plan, dict[str, np.ndarray]] = {}
    for plan in dict.fromkeys(plan for group in plans.values() for plan in group):
        out = folder.file(f"models/{plan.name}.keras")
        found[plan] = folder.part(
            f"trainings/{plan.name}",
            lambda plan=plan, out=out: trained(plan, data, amount, out, progress),
            of=images.digest,
        )
    watched = {plan: found[plan] for plan in plans["watched"]}
    told = (
        f"{len(data[0])} images learned from for {next(iter(watched)).epochs} epochs, "
        f"{renyi_claims.batch_count(watched)} batches of {min(BATCH, len(data[1]))} test images, "
        "alpha 1.01"
    )
    known = label_ceiling(data[1].labels, amount.batches, seed)
    for kernel in KERNELS:
        folder.figure(*renyi_figures.inequalities(key, watched, kernel, told))
        folder.figure(*renyi_figures.planes(key, watched, kernel, known, told))
    renyi_claims.inequalities(folder, key, watched)
    renyi_claims.planes(folder, key, watched, known)
    for group in ("first", "second"):
        if plans[group]:
            swept = {plan: found[plan] for plan in plans[group]}
            layer = ("first", "second").index(group)
            folder.figure(*renyi_figures.amounts(key, swept, layer, told))
            folder.figure(*renyi_figures.shares(key, swept, layer, told))
            renyi_filter_claims.amounts(folder, key, swept, layer)
            renyi_filter_claims.shares(folder, key, swept, layer)
    for plan in plans["chosen"]:
        if not np.isfinite(found[plan]["accuracy"]):
            folder.note(f"{plan.name}: the training diverged, no maps were chosen from.")
            continue
        model = folder.file(f"models/{plan.name}.keras")
        chosen = folder.part(
            f"widths/{plan.name}",
            lambda model=model: widths(model, data, size.pruning, seed),
            of=f"{images.digest} {sha256(model)}",
        )
        folder.figure(*renyi_figures.width(key, chosen, told))
        where = f"{chosen['layer']} of {plan.recipe} on {key}"
        renyi_filter_claims.width(folder, where, chosen, len(data[1]))


def plans_for(
    source: str, shape: tuple[int, ...], seed: int, size: Size, first: bool
) -> dict[str, list[Plan]]:
    """Networks by what they are for.

    Args:
        source: of images.
        shape: (h, w, bands).
        seed: of the study.
        size: of the study.
        first: the source on which widths are compared; all are in a study that is not quick.

    Returns:
        `watched` (inequalities and planes), `first` and `second` (filters of a convolution),
        `chosen` (which of its maps are needed).
    """
    if source.startswith("cifar10"):
        epochs = 3 * size.epochs if size.images is None else 2
        vgg = Plan(source, "vgg16-cifar", (), "relu", None, epochs, seed)
        return {"watched": [vgg], "first": [], "second": [], "chosen": [vgg]}
    if min(shape[:2]) >= _SMALL:
        nets = [
            Plan(source, "alexnet-small", (), activation, 0.01, round(1.5 * size.epochs), seed)
            for activation in ("relu", "sigmoid")
        ]
        return {"watched": nets, "first": [], "second": [], "chosen": nets[:1]}

    def net(filters: tuple[int, ...], activation: str = "relu", place: int = 0) -> Plan:
        rate = _RATES[activation]
        return Plan(source, "lenet5", filters, activation, rate, size.epochs, seed + place)

    watched = [net(_BASE), net(_BASE, "sigmoid")]
    if not (first or size is FULL):
        return {"watched": watched, "first": [], "second": [], "chosen": []}
    several = range(size.seeds)
    return {
        "watched": watched,
        "first": [net((count, 12), place=place) for count in size.first for place in several],
        "second": [net((6, count), place=place) for count in size.second for place in several],
        "chosen": [net((6, size.wide))],
    }
