"""Diffusion spectral entropy and information: toys, trainings, starts, and many networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from oip.core.progress import Progress
from oip.studies import diffusion_claims, diffusion_figures, diffusion_toy_claims
from oip.studies.diffusion_blobs import Blobs, blobs
from oip.studies.diffusion_files import of_files
from oip.studies.diffusion_networks import Kind, model_files, small_network
from oip.studies.diffusion_toy import Toys, toys
from oip.studies.diffusion_training import LONGER, METHODS, Learning, Watched, learned
from oip.studies.frame import Folder, StudySettings
from oip.studies.networks import Images, every_source
from oip.studies.renyi_data import not_given
from oip.studies.subsets import limited

NAME = "diffusion"
TITLE = "Diffusion spectral entropy and information: toys, trainings, starts, networks"
SOURCE = (
    "D. Liao, C. Liu, B. W. Christensen, A. Tong, G. Huguet, G. Wolf, M. Nickel, I. Adelstein, S. "
    "Krishnaswamy: Assessing neural network representations during training using noise-resilient "
    "diffusion spectral entropy. CISS 2024; as told in C. Liu: A novel entropy and mutual "
    "information measure for high dimensional data and deep neural networks."
)
MINUTES = 6
TAKES = ("data", "models")

_WANTED = (
    ("cifar", "CIFAR-10", "oip study diffusion --data cifar10"),
    ("stl", "STL-10", "oip study diffusion --data FOLDER/stl10, images in class folders"),
    (
        "image",
        "962 networks on Imagenette and Imagewoof",
        "oip study diffusion --models 'FOLDER/*.keras' --data FOLDER/imagenette",
    ),
)
"""In the name of a source, the data, and what to say to have them."""


@dataclass(frozen=True)
class Size:
    """How large the study is."""

    toys: Toys
    blobs: Blobs
    images: int | None
    """That trainings learn from; all if None."""
    tested: int | None
    measured: int
    """Test images whose representation is measured."""
    recipes: tuple[str, ...]
    epochs: int
    records: int
    seeds: int
    deviations: tuple[float, ...]
    """Of the first kernels, where starts are compared."""
    start_recipe: str
    start_epochs: int
    kinds: tuple[Kind, ...]
    """The networks of which quantities and accuracy are correlated."""


QUICK = Size(
    toys=Toys(
        sizes=(50, 100, 200),
        weights=(0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
        dimensions=(1, 4, 16, 64, 256, 1024),
        corruptions=(0.0, 0.25, 0.5, 0.75, 1.0),
        runs=3,
    ),
    blobs=Blobs(
        samples=500,
        corruptions=(0.0, 0.5, 1.0),
        dimensions=(2, 10, 50, 250, 1000),
        runs=2,
        steps=400,
        timings=2,
    ),
    images=4_000,
    tested=1_000,
    measured=400,
    recipes=("lenet5",),
    epochs=5,
    records=8,
    seeds=2,
    deviations=(0.01, 0.05, 0.2, 0.8),
    start_recipe="lenet5",
    start_epochs=3,
    kinds=tuple(
        Kind(recipe, images, epochs, seed)
        for recipe in ("lenet5", "conv-stack", "relu-mlp")
        for images, epochs, seed in ((200, 1, 0), (500, 2, 1), (1000, 2, 2), (2000, 2, 3))
    ),
)
FULL = Size(
    toys=Toys(
        sizes=(50, 100, 200, 500),
        weights=tuple(np.linspace(0, 1, 11).round(1).tolist()),
        dimensions=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
        corruptions=tuple(np.linspace(0, 1, 11).round(1).tolist()),
        runs=5,
    ),
    blobs=Blobs(
        samples=1_000,
        corruptions=tuple(np.linspace(0, 1, 6).round(1).tolist()),
        dimensions=(2, 5, 10, 20, 50, 100, 250, 500, 1000, 2000),
        runs=5,
        steps=1_500,
        timings=3,
    ),
    images=None,
    tested=None,
    measured=1_000,
    recipes=("lenet5", "resnet-small", "conv-stack"),
    epochs=20,
    records=24,
    seeds=3,
    deviations=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8),
    start_recipe="resnet-small",
    start_epochs=10,
    kinds=tuple(
        Kind(recipe, images, epochs, seed)
        for recipe in ("lenet5", "conv-stack", "relu-mlp", "lenet", "resnet-small", "densenet")
        for images in (200, 1_000, 5_000, 20_000)
        for epochs in (1, 5)
        for seed in range(3)
    ),
)


def run(folder: Folder, settings: StudySettings, progress: Progress) -> None:
    """Everything: toys need no data, the others images.

    Args:
        folder: for what is computed and drawn.
        settings: `data` names images in place of MNIST and Fashion-MNIST, such as class folders of
            STL-10; with `models` the networks of these files are compared, on every one of the
            `data` (such as Imagenette), in place of small ones that are trained here, and where
            `data` are named nothing is trained.
        progress: told runs and trainings.

    Raises:
        MissingData: no images at all can be had.
        SettingsError: `models` names fewer than three files.
    """
    run_sized(folder, settings, progress, QUICK if settings.quick else FULL)


def run_sized(folder: Folder, settings: StudySettings, progress: Progress, size: Size) -> None:
    """See `run`; of any size."""
    files = model_files(settings.models) if settings.models else []
    seed = settings.seed
    found = toys(size.toys, seed, progress, folder)
    folder.figure(*diffusion_figures.toys(found, size.toys))
    diffusion_toy_claims.toys(folder, found, size.toys)
    found = blobs(size.blobs, seed, progress, folder)
    folder.figure(*diffusion_figures.over_blobs(found, size.blobs))
    diffusion_toy_claims.over_blobs(folder, found, size.blobs)
    folder.note(
        "Two ways of the method stand side by side: the authors' code (kernel width sigma 10 in "
        "the units of the data, the information as a difference from random subsets of a class's "
        "size), and the published equations with a kernel as wide as a fifth of the median squared "
        "distance, which has no units. 'Classic' is Shannon's of cells: every coordinate is cut "
        "into ten bins of equal shares. I(Z;X) makes ten spectral clusters of the input."
    )
    if files:
        of_files(folder, settings, size.measured, files, progress)
    if files and settings.data:
        folder.note(
            "Nothing was trained: with --models and --data the study compares networks that there "
            "are. Without --models it trains on the same images."
        )
    else:
        for place, images in enumerate(every_source(folder, settings)):
            data = limited(images.train, size.images), limited(images.test, size.tested)
            _trainings(folder, images, data, seed, size, progress)
            if place == 0:
                _starts(folder, images, data, seed, size, progress)
                if not files:
                    _small_networks(folder, images, data, seed, size, progress)
    not_given(folder, settings, _WANTED)


def _trainings(
    folder: Folder,
    images: Images,
    data: tuple[Any, Any],
    seed: int,
    size: Size,
    progress: Progress,
) -> None:
    """Quantities over training, for the three ways to train (figures 6 to 8)."""
    key = images.name
    for recipe in size.recipes:
        found = {
            method: [
                _learned(
                    folder,
                    images,
                    Learning(key, recipe, method, seed + number, _epochs(method, size)),
                    data,
                    size,
                    progress,
                )
                for number in range(size.seeds)
            ]
            for method in METHODS
        }
        told = f"{recipe} on {key}, {len(data[0])} images, {size.measured} test images measured"
        folder.figure(*diffusion_figures.trainings(f"{key}-{recipe}", found, told))
        diffusion_claims.trainings(folder, key, f"{recipe}, {key}", found)


def _epochs(method: str, size: Size) -> int:
    return LONGER * size.epochs if method == "random labels" else size.epochs


def _starts(
    folder: Folder,
    images: Images,
    data: tuple[Any, Any],
    seed: int,
    size: Size,
    progress: Progress,
) -> None:
    """Where kernels begin, and how a training goes on from there (figure 9)."""
    key, recipe = images.name, size.start_recipe
    found = {
        deviation: [
            _learned(
                folder,
                images,
                Learning(key, recipe, "supervised", seed + number, size.start_epochs, deviation),
                data,
                size,
                progress,
            )
            for number in range(size.seeds)
        ]
        for deviation in size.deviations
    }
    told = f"{recipe} on {key}, {len(data[0])} images, {size.seeds} seeds"
    folder.figure(*diffusion_figures.starts(key, found, told))
    diffusion_claims.starts(folder, f"{recipe}, {key}", found)


def _learned(
    folder: Folder,
    images: Images,
    one: Learning,
    data: tuple[Any, Any],
    size: Size,
    progress: Progress,
) -> dict[str, np.ndarray]:
    return folder.part(
        f"trainings/{one.name}",
        lambda: learned(one, data, size.measured, size.records, progress),
        of=images.digest,
    )


def _small_networks(
    folder: Folder,
    images: Images,
    data: tuple[Any, Any],
    seed: int,
    size: Size,
    progress: Progress,
) -> None:
    """Networks of different kinds, trained here on different numbers of images (figure 10)."""
    key = images.name
    watched = Watched.of(data[1], size.measured, seed)
    found = {}
    progress("networks", 0, len(size.kinds))
    for done, kind in enumerate(size.kinds, 1):
        found[kind.name] = folder.part(
            f"networks/{kind.name}",
            lambda kind=kind: small_network(kind, data, watched, seed),
            of=images.digest,
        )
        progress("networks", done, len(size.kinds))
    folder.note(
        f"The paper has 962 networks trained on ImageNet. Here are {len(found)} small ones that "
        f"the study trained on {key} itself, of different kinds, numbers of images and epochs; "
        "most of their differences in accuracy come from how much they were trained. Say --models "
        "GLOB --data FOLDER for networks of your own on images in class folders."
    )
    told = f"{len(found)} small networks trained here on {key}"
    folder.figure(*diffusion_figures.networks("networks", found, told, seed))
    diffusion_claims.networks(folder, found, told, seed)
