"""Diffusion spectral entropy and information: toys, trainings, starts, and many networks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from oip.core.errors import OipError
from oip.core.files import sha256
from oip.core.progress import Progress
from oip.studies import diffusion_plots, diffusion_toy
from oip.studies.data import DIGITS, Images, digest, every_source, limited, study_data
from oip.studies.diffusion_toy import Blobs, Toys, blobs, rising, toys
from oip.studies.diffusion_training import (
    LONGER,
    METHODS,
    SCALES,
    Kind,
    Learning,
    Watched,
    correlations,
    file_network,
    learned,
    model_files,
    small_network,
)
from oip.studies.renyi import not_given
from oip.studies.report import (
    Agreement,
    Folder,
    MissingData,
    StudySettings,
    agreement,
    base_name,
    slug,
)

Found = dict[str, np.ndarray]
_FALL = 0.05
"""Share of a peak by which a curve must end below it."""
_PEAKING = ("cifar", "stl")
"""In the names of the data whose I(Z;X) peaks and falls in the paper; that of MNIST rises."""


def trainings(folder: Folder, source: str, where: str, found: dict[str, list[Found]]) -> None:
    """Entropy and information over training, by how it is trained.

    Args:
        folder: for the findings.
        source: of the images, on which what the paper says depends.
        where: network and source, as they are shown.
        found: trainings by method.
    """
    seeds = f"{len(next(iter(found.values())))} seeds"
    heart = np.mean([float(one["fitted"]) for one in found["random labels"]])
    learned = f"{heart:.0%} of the random labels were learned by heart"

    def every(quantity: str) -> tuple[str, dict[str, list[bool | None]]]:
        parts, outcomes = [], {}
        for scale in SCALES:
            told = []
            for method, several in found.items():
                rows = [one[f"{scale.name} {quantity}"] for one in several]
                change = np.array([row[-1] - row[0] for row in rows])
                outcomes.setdefault(method, []).append(grown(change))
                start = np.mean([row[0] for row in rows])
                told.append(f"{method} {start:.2f} {change.mean():+.2f} +- {change.std():.2f}")
            parts.append(f"{scale.name}: {', '.join(told)}")
        return "; ".join(parts), outcomes

    told, outcomes = every("entropy")
    folder.claim(
        f"S(Z) rises in training, supervised, by SimCLR, and on random labels ({where}).",
        f"Bits at the start, and the change: {told}.",
        agreement(value for values in outcomes.values() for value in values),
        f"{seeds}; a change counts if it is more than two deviations over seeds",
    )
    told, outcomes = every("label")
    folder.claim(
        f"I(Z;Y) rises in proper training and not on random labels ({where}).",
        f"Bits at the start, and the change: {told}.",
        agreement(
            [
                value
                for method, values in outcomes.items()
                for value in (
                    [one is not True for one in values] if method == "random labels" else values
                )
            ]
        ),
        f"{seeds}; a change counts if it is more than two deviations over seeds; {learned}",
    )
    told, outcomes = every("input")
    random = outcomes.pop("random labels")
    paper, rows, extra = _of_input(source, found, outcomes)
    folder.claim(
        f"{paper} ({where}).",
        f"Bits at the start, and the change: {told}. {_peaks(found)}",
        "not tested" if rows is None else agreement(rows),
        f"{seeds}; the input is ten spectral clusters{extra}",
    )
    folder.claim(
        f"I(Z;X) rises on random labels, too ({where}).",
        f"Bits at the start, and the change: {told}.",
        agreement(random),
        f"{seeds}; the input is ten spectral clusters; {learned}",
    )


def _of_input(
    source: str, found: dict[str, list[Found]], changes: dict[str, list[bool | None]]
) -> tuple[str, list[bool | None] | None, str]:
    """What the paper says of I(Z;X) of these data in proper training, outcomes, and a remark.

    Args:
        source: of the images.
        found: trainings by method.
        changes: whether I(Z;X) ends above its start, by method that is no random labels.
    """
    name = source.lower()
    if name.startswith("mnist"):
        return "I(Z;X) rises on MNIST", [one for rows in changes.values() for one in rows], ""
    if any(word in name for word in _PEAKING):
        rows = [
            peaked(_complete(found[method], f"{scale.name} input"))
            for method in changes
            for scale in SCALES
        ]
        rule = f"; a peak is one from which every curve falls by more than {_FALL:.0%} to the end"
        return "I(Z;X) soon peaks and then falls on CIFAR-10 and STL-10", rows, rule
    return (
        "I(Z;X) rises on MNIST, and soon peaks and then falls on CIFAR-10 and STL-10",
        None,
        "; the paper says nothing of these data",
    )


def peaked(rows: np.ndarray) -> bool | None:
    """Whether curves (seeds, t) rise to a peak and fall from it; None where seeds differ."""
    mean = rows.mean(axis=0)
    top = int(np.argmax(mean))
    fall = rows[:, top] - rows[:, -1]
    if top in (0, len(mean) - 1) or fall.mean() <= _FALL * abs(mean[top]):
        return False
    up, down = grown(rows[:, top] - rows[:, 0]), grown(fall)
    return True if up and down else None if None in (up, down) else False


def _complete(several: list[Found], name: str) -> np.ndarray:
    """(seeds, t): a quantity of the trainings of which every step was measured."""
    longest = max(len(one["steps"]) for one in several)
    return np.array([one[name] for one in several if len(one["steps"]) == longest])


def _peaks(found: dict[str, list[Found]]) -> str:
    """Where the supervised curve of I(Z;X) has its largest value."""
    told = []
    for scale in SCALES:
        mean = _complete(found["supervised"], f"{scale.name} input").mean(axis=0)
        top = int(np.argmax(mean))
        longest = max((one["steps"] for one in found["supervised"]), key=len)
        step = int(longest[top])
        told.append(
            f"{scale.name} at iteration {step}, {mean[top] - mean[-1]:.2f} bits above the end"
        )
    return f"Supervised it is largest ({'; '.join(told)})."


def starts(folder: Folder, where: str, found: dict[float, list[Found]]) -> None:
    """Entropy at the start, and what it has to do with convergence."""
    deviations = list(found)
    several = f"{len(next(iter(found.values())))} seeds, {len(deviations)} deviations"
    parts, outcomes, first = [], [], {}
    for scale in SCALES:
        mean = np.array(
            [np.mean([one[f"{scale.name} entropy"][0] for one in rows]) for rows in found.values()]
        )
        first[scale.name] = mean
        outcomes.append(rising(mean))
        parts.append(f"{scale.name}: {', '.join(f'{value:.2f}' for value in mean)}")
    folder.claim(
        f"The entropy at the start rises with the deviation that kernels begin with ({where}).",
        f"Bits for deviations {', '.join(f'{value:g}' for value in deviations)}: "
        f"{'; '.join(parts)}.",
        agreement(outcomes),
        f"{several}; the kernel that has no units does not see the scale",
    )
    early = np.array([np.mean([area(one) for one in rows]) for rows in found.values()])
    end = np.array([np.mean([one["accuracy"][-1] for one in rows]) for rows in found.values()])
    entropy = first[SCALES[0].name]
    ranks = [_spearman(-entropy, values) for values in (early, end)]
    best = int(np.argmax(early))
    folder.claim(
        f"Networks that begin at a low entropy learn faster and become better ({where}).",
        "Mean accuracy over the training, and at the end, in %: "
        + "; ".join(
            f"deviation {deviation:g} ({low:.2f} bits) {100 * mean:.1f}, {100 * last:.1f}"
            for deviation, low, mean, last in zip(deviations, entropy, early, end, strict=True)
        )
        + f". Rank correlation of low entropy with speed {ranks[0]:+.2f}, with the end "
        f"{ranks[1]:+.2f}; fastest with {deviations[best]:g}.",
        "yes" if min(ranks) > 0.8 else "partly" if max(ranks) > 0.3 else "no",
        f"{several}, one layer's width; few points for a rank correlation",
    )


def area(one: Found) -> float:
    """Mean accuracy over a training, up to its last record."""
    steps, values = one["steps"].astype(float), one["accuracy"]
    widths = np.diff(steps)
    return float((widths * (values[1:] + values[:-1]) / 2).sum() / max(widths.sum(), 1.0))


def networks(folder: Folder, found: dict[str, Found], told: str, seed: int) -> None:
    """Correlation with accuracy over networks."""
    scores = np.array([float(one["accuracy"]) for one in found.values()])
    known = {
        (scale.name, quantity): correlations(
            np.array([float(one[f"{scale.name} {quantity}"]) for one in found.values()]),
            scores,
            seed,
        )
        for scale in SCALES
        for quantity in ("label", "input", "entropy")
    }
    label = [known[scale.name, "label"] for scale in SCALES]
    strong = [bool(one["spearman"] > 0.5 and one["spearman p"] < 0.001) for one in label]
    verdict: Agreement = "yes" if all(strong) else "partly" if any(strong) else "no"
    folder.claim(
        "I(Z;Y) is strongly correlated with accuracy over networks, p < 0.001 (fig. 10).",
        f"{_both(label)}.",
        verdict,
        f"{told}; intervals by bootstrap over networks",
    )
    for quantity, symbol in (("input", "I(Z;X)"), ("entropy", "S(Z)")):
        rows = [known[scale.name, quantity] for scale in SCALES]
        weaker = [
            bool(abs(one["spearman"]) < abs(best["spearman"]))
            for one, best in zip(rows, label, strict=True)
        ]
        folder.claim(
            f"{symbol} is less strongly correlated with accuracy than I(Z;Y) (fig. 10).",
            "; ".join(
                f"{scale.name}: {_shown(one)}" for scale, one in zip(SCALES, rows, strict=True)
            )
            + ".",
            agreement(weaker),
            f"{told}; intervals by bootstrap over networks",
        )


def grown(change: np.ndarray) -> bool | None:
    """Whether a change over seeds is above 0; None where it is within two deviations of it."""
    spread = 2 * float(change.std(ddof=1)) if len(change) > 1 else 0.0
    if abs(change.mean()) <= spread:
        return None
    return bool(change.mean() > 0)


def _both(rows: list[dict[str, float]]) -> str:
    """Correlations of every scale."""
    parts = zip(SCALES, rows, strict=True)
    return "; ".join(f"{scale.name}: {_shown(one)}" for scale, one in parts)


def _shown(known: dict[str, float]) -> str:
    """Both correlations with what makes them sure."""
    return (
        f"r {known['pearson']:+.2f} (p {known['pearson p']:.2g}), rank {known['spearman']:+.2f} "
        f"({known['low']:+.2f} to {known['high']:+.2f}, p {known['spearman p']:.2g})"
    )


def _spearman(first: np.ndarray, second: np.ndarray) -> float:
    from oip.mi.ranking_result import spearman

    return float(spearman(first, second))


_SMALL = (32, 32)
"""Size and 3 bands in which the images are looked at to tell whether they are still the same."""


def of_files(
    folder: Folder, settings: StudySettings, count: int, paths: list[Path], progress: Progress
) -> None:
    """Each of the models on each of the sources, in the size that the model takes.

    Args:
        folder: for what is computed and drawn.
        settings: the sources; MNIST without any.
        count: of images that are measured.
        paths: of the models.
        progress: told models.
    """
    for source in settings.data or (DIGITS,):
        try:
            _on_source(folder, source, settings, count, paths, progress)
        except MissingData as error:
            folder.missing(
                f"I(Z;Y) is strongly correlated with accuracy over networks ({base_name(source)}).",
                error,
            )


def _on_source(
    folder: Folder,
    source: str,
    settings: StudySettings,
    count: int,
    paths: list[Path],
    progress: Progress,
) -> None:
    key = base_name(source)

    @lru_cache(maxsize=1)
    def load(shape: tuple[int, int], bands: int) -> Any:
        data = study_data(source, settings, "test", shape, bands)
        if data.labels is None:
            hint = "Put the images into one folder for each class."
            raise MissingData(f"labels of the data '{key}'", f"'{source}'", hint)
        return data

    seen = digest(load(_SMALL, 3))
    found: dict[str, dict[str, np.ndarray]] = {}
    left_out = []
    progress(f"models on {key}", 0, len(paths))
    for done, path in enumerate(paths, 1):
        own = sha256(path)
        try:
            found[f"{path.name} {own[:12]}"] = folder.part(
                f"models/{slug(key)}-{own[:12]}",
                lambda path=path: file_network(path, load, count, settings.seed),
                of=f"{seen} {own} {_sidecar(path)}",
            )
        except MissingData:
            raise
        except OipError as error:
            left_out.append(str(error))
        progress(f"models on {key}", done, len(paths))
    if left_out:
        text = f"{len(left_out)} of {len(paths)} models were left out on {key}."
        folder.lacks(text)
        folder.note(f"{text} {' '.join(left_out)}")
    told = f"{len(found)} models on {key}"
    if len(found) < 3:
        folder.claim(
            "I(Z;Y) is strongly correlated with accuracy over networks, p < 0.001 (fig. 10).",
            f"{told}: too few.",
            "not tested",
            "no data",
        )
        return
    folder.figure(*diffusion_plots.networks(f"networks-{key}", found, told, settings.seed))
    networks(folder, found, told, settings.seed)


def _sidecar(path: Path) -> str:
    """Digest of the file beside a model that may tell its accuracy."""
    from oip.network.inputs import sidecar_path

    beside = sidecar_path(path)
    return sha256(beside) if beside.is_file() else "none"


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
    folder.figure(*diffusion_plots.toys(found, size.toys))
    diffusion_toy.toys_diffusion_toy_claims(folder, found, size.toys)
    found = blobs(size.blobs, seed, progress, folder)
    folder.figure(*diffusion_plots.over_blobs(found, size.blobs))
    diffusion_toy.over_blobs(folder, found, size.blobs)
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
        folder.figure(*diffusion_plots.trainings(f"{key}-{recipe}", found, told))
        trainings(folder, key, f"{recipe}, {key}", found)


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
    folder.figure(*diffusion_plots.starts(key, found, told))
    starts(folder, f"{recipe}, {key}", found)


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
    folder.figure(*diffusion_plots.networks("networks", found, told, seed))
    networks(folder, found, told, seed)
