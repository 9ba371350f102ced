"""Diffusion spectral entropy and information: toys, trainings, starts, and many networks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from oip.core.errors import OipError
from oip.core.files import sha256
from oip.core.plots import figure
from oip.core.progress import Progress
from oip.studies import diffusion_toy as toy
from oip.studies import diffusion_training as training
from oip.studies import panels
from oip.studies.data import DIGITS, Images, data_key, every_source, limited, study_data
from oip.studies.findings import Finding, Value, agreement, finding, named_values
from oip.studies.report import Folder, MissingData, StudySettings, base_name, slug, tracked
from oip.studies.trained import Arrays, complete

if TYPE_CHECKING:
    from oip.models.datasets import Dataset


NAME = toy.NAME
TITLE = "Diffusion spectral entropy and information: toys, trainings, starts, networks"
SOURCE = (
    "D. Liao, C. Liu, B. W. Christensen, A. Tong, G. Huguet, G. Wolf, M. Nickel, I. Adelstein, S. "
    "Krishnaswamy: Assessing neural network representations during training using noise-resilient "
    "diffusion spectral entropy. CISS 2024; as told in C. Liu: A novel entropy and mutual "
    "information measure for high dimensional data and deep neural networks."
)
MINUTES = 6
TAKES = ("data", "models")
SCHEMA = 2
"""1 had other widths, ten blobs, other clusters of the input, and bins of equal shares."""
PAPER_DATA = (
    ("cifar", "CIFAR-10", "oip study diffusion --data cifar10"),
    ("stl", "STL-10", "oip study diffusion --data FOLDER/stl10, images in class folders"),
    (
        "image",
        "962 networks on Imagenette and Imagewoof",
        "oip study diffusion --models 'FOLDER/*.keras' --data FOLDER/imagenette",
    ),
)
"""In the name of a source, the data, and the command that uses them."""
_LONGER = 4
"""Times the epochs for random labels, which are learned by heart."""
_FALL = 0.05
"""Share of a peak by which a curve must end below it."""
_SMALL_IMAGE = (32, 32)
"""Size and 3 bands in which the images are compared with those of an earlier call."""


@dataclass(frozen=True)
class DiffusionSize:
    """Numbers of images, trainings and measurements of the study."""

    toys: toy.ToySize
    blobs: toy.BlobSize
    images: int | None
    """Of a training; all if None."""
    tested: int | None
    measured: int
    """Test images whose representation is measured."""
    recipes: tuple[str, ...]
    epochs: int
    records: int
    """Steps of a training that are measured, about."""
    seeds: int
    deviations: tuple[float, ...]
    """Of the first kernels, where starts are compared."""
    start_recipe: str
    start_epochs: int
    networks: tuple[training.SmallNetwork, ...]
    """Those of which quantities and accuracy are correlated."""


_ELEVEN, _SIX = (tuple(np.linspace(0, 1, n).round(1).tolist()) for n in (11, 6))
_POWERS = tuple(2**power for power in range(11))
QUICK = DiffusionSize(
    toy.ToySize(500, (50, 100, 200), _SIX, _POWERS[::2], (0.0, 0.25, 0.5, 0.75, 1.0), runs=3),
    toy.BlobSize(1_000, (0.0, 0.5, 1.0), (2, 10, 50, 250, 1000), runs=2, steps=400, timings=2),
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
    networks=tuple(
        training.SmallNetwork(recipe, images, epochs, seed)
        for recipe in ("lenet5", "conv-stack", "relu-mlp")
        for images, epochs, seed in ((200, 1, 0), (500, 2, 1), (1000, 2, 2), (2000, 2, 3))
    ),
)
_DIMENSIONS = (2, 5, 10, 20, 50, 100, 250, 500, 1000, 2000)
_RECIPES = ("lenet5", "conv-stack", "relu-mlp", "lenet", "resnet-small", "densenet")
FULL = DiffusionSize(
    toy.ToySize(500, (50, 100, 200, 500), _ELEVEN, _POWERS, _ELEVEN, runs=5),
    toy.BlobSize(5_000, _SIX, _DIMENSIONS, runs=5, steps=1_500, timings=3),
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
    networks=tuple(
        training.SmallNetwork(*numbers)
        for numbers in itertools.product(_RECIPES, (200, 1_000, 5_000, 20_000), (1, 5), range(3))
    ),
)


def run(
    folder: Folder, settings: StudySettings, progress: Progress, size: DiffusionSize | None = None
) -> None:
    """Run the study, in a size in place of that of the settings; toys need no data.

    With `models` the networks of these files are compared, on every one of the `data` (such as
    Imagenette), in place of small ones that are trained here; where `data` are named, too, nothing
    is trained.

    Raises:
        MissingData: no images at all are available.
        SettingsError: `models` names fewer than three files.
    """
    size = size or (QUICK if settings.quick else FULL)
    paths = training.model_files(settings.models) if settings.models else []
    run_toys(folder, settings.seed, size, progress)
    if paths:
        compare_files(folder, settings, size.measured, paths, progress)
    if paths and settings.data:
        folder.note(folder.text("nothing_trained"))
    else:
        for number, images in enumerate(every_source(folder, settings)):
            trainer = _Trainer(folder, images, settings.seed, size, progress)
            trainer.run_trainings()
            if number == 0:
                trainer.run_starts()
            if number == 0 and not paths:
                trainer.run_small_networks()
    folder.not_given(PAPER_DATA)


def run_toys(folder: Folder, seed: int, size: DiffusionSize, progress: Progress) -> None:
    """Measure toys and blobs, draw their figures and add their findings."""
    arrays = toy.toy_information(size.toys, seed, progress, folder)
    toy.draw_clusters(folder, arrays, size.toys)
    toy.draw_toys(folder, arrays, size.toys)
    folder.add(*toy.toy_findings(arrays, size.toys))
    arrays = toy.blob_information(size.blobs, seed, progress, folder)
    toy.draw_blobs(folder, arrays, size.blobs)
    folder.add(*toy.blob_findings(arrays, size.blobs))
    folder.note(folder.text("methods"))


class _Trainer:
    """The trainings on one source of images."""

    def __init__(
        self, folder: Folder, images: Images, seed: int, size: DiffusionSize, progress: Progress
    ):
        self._folder, self._images, self._seed = folder, images, seed
        self._size, self._progress = size, progress
        self._data = limited(images.train, size.images), limited(images.test, size.tested)

    def run_trainings(self) -> None:
        """Measure over training, for the three ways to train (figures 6 to 8)."""
        key, size = self._images.name, self._size
        for recipe in size.recipes:
            trainings = {}
            for method in training.METHODS:
                epochs = size.epochs * (_LONGER if method == "random labels" else 1)
                trainings[method] = self._seeds(recipe, method, epochs)
            setting = f"{recipe} on {key}, {len(self._data[0])} images, {size.measured} test images"
            name, setting = f"{key}-{recipe}", f"{setting} measured"
            draw_trainings(self._folder, name, trainings, setting)
            self._folder.add(*training_findings(key, f"{recipe}, {key}", trainings))

    def run_starts(self) -> None:
        """Compare kernels that begin at different scales (figure 9)."""
        key, size, recipe = self._images.name, self._size, self._size.start_recipe
        trainings = {
            deviation: self._seeds(recipe, "supervised", size.start_epochs, deviation)
            for deviation in size.deviations
        }
        setting = f"{recipe} on {key}, {len(self._data[0])} images, {size.seeds} seeds"
        draw_starts(self._folder, key, trainings, setting)
        self._folder.add(*start_findings(f"{recipe}, {key}", trainings))

    def run_small_networks(self) -> None:
        """Compare networks of different kinds and numbers of images (figure 10)."""
        key, digest = self._images.name, self._images.digest
        batch = training.measured_images(self._data[1], self._size.measured, self._seed)
        arrays = {}
        for network in tracked(self._progress, "networks", self._size.networks):
            arguments = network, self._data, batch, self._seed
            name = f"networks/{network.name}"
            arrays[network.name] = self._folder.part(
                name, training.trained_small_network, *arguments, of=digest
            )
        self._folder.note(self._folder.text("small_networks", count=len(arrays), key=key))
        setting = f"{len(arrays)} small networks trained here on {key}"
        _report_networks(self._folder, "networks", arrays, setting, self._seed)

    def _seeds(
        self, recipe: str, method: str, epochs: int, deviation: float | None = None
    ) -> list[Arrays]:
        """Return the measured trainings of each seed; each is a part of the folder."""
        trainings, size = [], self._size
        for number in range(size.seeds):
            plan = training.TrainingPlan(
                self._images.name, recipe, method, self._seed + number, epochs, deviation
            )
            arguments = plan, self._data, size.measured, size.records, self._progress
            name, digest = f"trainings/{plan.name}", self._images.digest
            trainings.append(
                self._folder.part(name, training.measured_training, *arguments, of=digest)
            )
        return trainings


def compare_files(
    folder: Folder, settings: StudySettings, count: int, paths: list[Path], progress: Progress
) -> None:
    """Compare models from files on `count` images of each source, in the size each model takes."""
    for source in settings.data or (DIGITS,):
        try:
            _compare_on(folder, source, settings, count, paths, progress)
        except MissingData as error:
            statement = finding(NAME, "accuracy_and_label", networks="").paper
            folder.missing(f"{statement} ({base_name(source)})", error)


def _compare_on(
    folder: Folder,
    source: str,
    settings: StudySettings,
    count: int,
    paths: list[Path],
    progress: Progress,
) -> None:
    key = base_name(source)

    @lru_cache(maxsize=1)
    def load(shape: tuple[int, int], bands: int) -> Dataset:
        data = study_data(source, settings, "test", shape, bands)
        if data.labels is None:
            hint = "Put the images into one folder for each class."
            raise MissingData(f"labels of the data '{key}'", f"'{source}'", hint)
        return data

    data_digest = data_key(load(_SMALL_IMAGE, 3))
    networks: dict[str, Arrays] = {}
    left_out = []
    for path in tracked(progress, f"models on {key}", paths):
        own = sha256(path)
        name, of = f"models/{slug(key)}-{own[:12]}", f"{data_digest} {own} {_sidecar_digest(path)}"
        try:
            arrays = folder.part(
                name, training.file_network, path, load, count, settings.seed, of=of
            )
        except MissingData:
            raise
        except OipError as error:
            left_out.append(str(error))
        else:
            networks[f"{path.name} {own[:12]}"] = arrays
    if left_out:
        text = f"{len(left_out)} of {len(paths)} models were left out on {key}."
        folder.lacks(text)
        folder.note(f"{text} {' '.join(left_out)}")
    setting = f"{len(networks)} models on {key}"
    if len(networks) < 3:
        statement = finding(NAME, "accuracy_and_label", networks="").paper
        folder.add(Finding(statement, remark=f"{setting}: too few.", settings="no data"))
    else:
        _report_networks(folder, f"networks-{key}", networks, setting, settings.seed)


def _report_networks(
    folder: Folder, name: str, networks: dict[str, Arrays], setting: str, seed: int
) -> None:
    draw_networks(folder, name, networks, setting, seed)
    folder.add(*network_findings(networks, setting, seed))


def _sidecar_digest(path: Path) -> str:
    """Return the digest of the file beside a model that may hold its accuracy."""
    from oip.network.inputs import sidecar_path

    sidecar = sidecar_path(path)
    return sha256(sidecar) if sidecar.is_file() else "none"


def grown(change: np.ndarray) -> bool | None:
    """Return whether a change over seeds is above 0; None where it is within two deviations."""
    spread = 2 * float(change.std(ddof=1)) if len(change) > 1 else 0.0
    return None if abs(change.mean()) <= spread else bool(change.mean() > 0)


def _changes(
    trainings: Mapping[str, list[Arrays]], quantity: str
) -> tuple[dict[str, list[Value]], dict[str, list[bool | None]]]:
    """Return changes over training as values by scale, and whether they are rises, by method."""
    values: dict[str, list[Value]] = {}
    outcomes: dict[str, list[bool | None]] = {method: [] for method in trainings}
    for scale in training.SCALES:
        values[scale.name] = []
        for method, several in trainings.items():
            rows = [arrays[f"{scale.name} {quantity}"] for arrays in several]
            change = np.array([row[-1] - row[0] for row in rows])
            outcomes[method].append(grown(change))
            spread = change.std(ddof=1) if len(change) > 1 else math.nan
            remark = f"from {np.mean([row[0] for row in rows]):.2f}"
            values[scale.name].append(Value.spread(method, change.mean(), spread, "+.2f", remark))
    return values, outcomes


def training_findings(
    source: str, where: str, trainings: Mapping[str, list[Arrays]]
) -> list[Finding]:
    """Return the findings on entropy and information over training, by method.

    The paper's statement on I(Z;X) depends on the source of the images.
    """
    random = trainings["random labels"]
    entropy, entropy_rises = _changes(trainings, "entropy")
    label, label_rises = _changes(trainings, "label")
    label_rises["random labels"] = [rise is not True for rise in label_rises["random labels"]]
    inputs, input_rises = _changes(trainings, "input")
    by_chance = input_rises.pop("random labels")
    statement, outcomes = _input_statement(source, trainings, input_rises)
    silence = "" if outcomes else " The paper says nothing of these data."
    rows = {
        "entropy_over_training": (itertools.chain(*entropy_rises.values()), entropy),
        "label_over_training": (itertools.chain(*label_rises.values()), label),
        "input_over_training": (outcomes, inputs),
        "input_of_random_labels": (by_chance, inputs),
    }
    constants = {
        "where_trained": where,
        "seeds": len(random),
        "fitted": np.mean([float(arrays["fitted"]) for arrays in random]),
        "statement": statement,
        "peaks": _peaks(trainings["supervised"]) + silence,
        "fall": _FALL,
    }
    return [
        finding(NAME, name, agreement(outcomes), values, **constants)
        for name, (outcomes, values) in rows.items()
    ]


def _input_statement(
    source: str, trainings: Mapping[str, list[Arrays]], rises: Mapping[str, list[bool | None]]
) -> tuple[str, list[bool | None]]:
    """Return what the paper says of I(Z;X) of these data in proper training, and outcomes."""
    name = source.lower()
    if name.startswith("mnist"):
        return "I(Z;X) rises on MNIST", [outcome for rows in rises.values() for outcome in rows]
    if not any(part in name for part in ("cifar", "stl")):
        return "I(Z;X) rises on MNIST, and soon peaks and then falls on CIFAR-10 and STL-10", []
    return "I(Z;X) soon peaks and then falls on CIFAR-10 and STL-10", [
        peaked(np.array([arrays[f"{scale.name} input"] for arrays in complete(trainings[method])]))
        for method in rises
        for scale in training.SCALES
    ]


def peaked(rows: np.ndarray) -> bool | None:
    """Return whether curves (seeds, t) rise to a peak and fall from it; None if seeds differ."""
    mean = rows.mean(axis=0)
    top = int(np.argmax(mean))
    fall = rows[:, top] - rows[:, -1]
    if top in (0, len(mean) - 1) or fall.mean() <= _FALL * abs(mean[top]):
        return False
    up, down = grown(rows[:, top] - rows[:, 0]), grown(fall)
    return True if up and down else None if None in (up, down) else False


def _peaks(several: list[Arrays]) -> str:
    """Return a sentence on the largest value of the supervised curve of I(Z;X)."""
    whole, parts = complete(several), []
    for scale in training.SCALES:
        mean = np.mean([arrays[f"{scale.name} input"] for arrays in whole], axis=0)
        top = int(np.argmax(mean))
        gap = f"{mean[top] - mean[-1]:.2f} bits above the end"
        parts.append(f"{scale.name} at iteration {whole[0]['steps'][top]}, {gap}")
    return f"Supervised it is largest: {'; '.join(parts)}."


def start_findings(where: str, trainings: Mapping[float, list[Arrays]]) -> list[Finding]:
    """Return the findings on entropy at the start, by deviation of the kernels."""

    def means(statistic: Callable[[Arrays], float]) -> np.ndarray:
        return np.array([np.mean([statistic(row) for row in rows]) for rows in trainings.values()])

    names = [f"deviation {deviation:g}" for deviation in trainings]
    keys = {scale.name: f"{scale.name} entropy" for scale in training.SCALES}
    entropy = {name: means(lambda row, key=key: row[key][0]) for name, key in keys.items()}
    speed, end = means(mean_accuracy), means(lambda row: row["accuracy"][-1])
    ranks = [_spearman(-entropy[training.SCALES[0].name], scores) for scores in (speed, end)]
    verdict = "yes" if min(ranks) > 0.8 else "partly" if max(ranks) > 0.3 else "no"
    scores = {"mean over the training": speed, "at the end": end}
    constants = {"where_trained": where, "count": len(trainings)}
    constants["seeds"] = len(next(iter(trainings.values())))
    rises = agreement(toy.rising(row) for row in entropy.values())
    entropies = {name: named_values(names, row) for name, row in entropy.items()}
    shares = {name: named_values(names, 100 * row, ".1f") for name, row in scores.items()}
    shares["rank correlation"] = named_values(scores, ranks, "+.2f")
    return [
        finding(NAME, "entropy_at_the_start", rises, entropies, **constants),
        finding(NAME, "low_entropy_learns_faster", verdict, shares, **constants),
    ]


def mean_accuracy(arrays: Arrays) -> float:
    """Return the mean accuracy over a training, up to its last record."""
    steps = arrays["steps"].astype(float)
    return float(np.trapezoid(arrays["accuracy"], steps) / max(np.ptp(steps), 1.0))


def network_findings(networks: Mapping[str, Arrays], n: str, seed: int) -> list[Finding]:
    """Return the findings on the correlation of quantities with accuracy over networks."""
    scores = np.array([float(arrays["accuracy"]) for arrays in networks.values()])

    def correlations(quantity: str) -> dict[str, training.Correlation]:
        names = {scale.name: f"{scale.name} {quantity}" for scale in training.SCALES}
        rows = {
            scale: np.array([float(arrays[name]) for arrays in networks.values()])
            for scale, name in names.items()
        }
        return {scale: training.correlation(values, scores, seed) for scale, values in rows.items()}

    label = correlations("label")
    strong = [row.spearman > 0.5 and row.spearman_p < 0.001 for row in label.values()]
    findings = [_network_finding("accuracy_and_label", strong, label, n)]
    for quantity, symbol in (("input", "I(Z;X)"), ("entropy", "S(Z)")):
        rows = correlations(quantity)
        weaker = [abs(rows[name].spearman) < abs(label[name].spearman) for name in rows]
        findings.append(_network_finding("accuracy_and_others", weaker, rows, n, symbol))
    return findings


def _network_finding(
    name: str,
    outcomes: list[bool],
    correlations: Mapping[str, training.Correlation],
    n: str,
    symbol: str = "",
) -> Finding:
    values = {
        scale: [
            Value("Pearson", row.pearson, form="+.2f", remark=f"p {row.pearson_p:.2g}"),
            Value("rank", row.spearman, row.low, row.high, "+.2f", f"p {row.spearman_p:.2g}"),
        ]
        for scale, row in correlations.items()
    }
    return finding(NAME, name, agreement(outcomes), values, networks=n, symbol=symbol)


def _spearman(first: np.ndarray, second: np.ndarray) -> float:
    from oip.mi.ranking import spearman

    return float(spearman(first, second))


def draw_trainings(
    folder: Folder, key: str, trainings: Mapping[str, list[Arrays]], setting: str
) -> None:
    """Draw S(Z), I(Z;Y), I(Z;X) over training, by method (figures 6 to 8)."""
    drawing, grid = figure(7.0, 4.4, len(training.SCALES), len(training.QUANTITIES), sharex=True)
    numbers = {}
    for row, scale in zip(grid, training.SCALES, strict=True):
        for axes, (quantity, symbol) in zip(row, training.QUANTITIES.items(), strict=True):
            for index, (method, several) in enumerate(trainings.items()):
                whole = complete(several)
                steps = whole[0]["steps"]
                values = np.array([arrays[f"{scale.name} {quantity}"] for arrays in whole])
                panels.runs(axes, steps, values, index, method)
                numbers[f"{method} {scale.name} {quantity}"] = values
                numbers[f"{method} steps"] = steps
            panels.step_axis(axes, "iterations" if row is grid[-1] else "")
            axes.set_title(f"{symbol}, {scale.name}")
        row[0].set_ylabel("bits")
    panels.legend_below(drawing, grid[0, 0], 3)
    top, bottom = (scale.label for scale in training.SCALES)
    count = len(next(iter(trainings.values())))
    caption = folder.text("trainings", setting=setting, seeds=count, top=top, bottom=bottom)
    folder.figure(f"trainings-{key}", drawing, caption, numbers)


def draw_starts(
    folder: Folder, key: str, trainings: Mapping[float, list[Arrays]], setting: str
) -> None:
    """Draw entropy at the start over the kernels' deviation, and accuracy (figure 9)."""
    drawing, grid = figure(6.6, 2.6, 1, 2)
    deviations = np.array(list(trainings))
    numbers = {"deviations": deviations}
    before, after = grid[0]
    for index, scale in enumerate(training.SCALES):
        name = f"{scale.name} entropy"
        values = np.array([[row[name][0] for row in rows] for rows in trainings.values()]).T
        panels.runs(before, deviations, values, index, scale.label)
        numbers[f"{name} at the start"] = values
    before.set(xscale="log", xlabel="deviation of the kernels", ylabel="S(Z) (bits)")
    before.set_title("before training")
    before.legend(frameon=False, loc="upper left", fontsize=6, bbox_to_anchor=(0.0, 0.86))
    colors = panels.sequence_colors(len(deviations))
    for (deviation, several), shade in zip(trainings.items(), colors, strict=True):
        whole = complete(several)
        values = 100 * np.array([arrays["accuracy"] for arrays in whole])
        steps = whole[0]["steps"]
        after.plot(steps, values.mean(axis=0), marker="o", color=shade, label=f"{deviation:g}")
        numbers |= {f"accuracy (%) {deviation:g}": values, f"steps {deviation:g}": steps}
    panels.step_axis(after, "iterations")
    after.set_ylabel("accuracy (%)")
    after.legend(frameon=False, title="deviation", title_fontsize=7)
    folder.figure(f"starts-{key}", drawing, folder.text("starts", setting=setting), numbers)


def draw_networks(
    folder: Folder, name: str, networks: Mapping[str, Arrays], setting: str, seed: int
) -> None:
    """Draw each quantity beside the accuracy, a point a network (figure 10)."""
    drawing, grid = figure(7.0, 4.4, len(training.SCALES), len(training.QUANTITIES))
    accuracy = np.array([float(arrays["accuracy"]) for arrays in networks.values()])
    sizes = np.array([float(arrays["size"]) for arrays in networks.values()])
    numbers = {"networks": np.array(list(networks)), "accuracy": accuracy}
    area = 6 + 30 * np.sqrt(sizes / sizes.max())
    for row, scale in zip(grid, training.SCALES, strict=True):
        for axes, (quantity, symbol) in zip(row, training.QUANTITIES.items(), strict=True):
            key = f"{scale.name} {quantity}"
            values = np.array([float(arrays[key]) for arrays in networks.values()])
            correlated = training.correlation(values, accuracy, seed)
            axes.scatter(
                values, 100 * accuracy, s=area, color=panels.color(0), alpha=0.7, linewidths=0
            )
            axes.set_title(f"r {correlated.pearson:.2f}, rank {correlated.spearman:.2f}")
            axes.set_xlabel(f"{symbol} (bits), {scale.name}")
            numbers |= {
                key: values,
                f"{key} correlations": np.array(list(vars(correlated).values())),
            }
        row[0].set_ylabel("accuracy (%)")
    folder.figure(name, drawing, folder.text("networks", setting=setting), numbers)
