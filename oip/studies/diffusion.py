"""Diffusion spectral entropy and information: toys, trainings, starts, and many networks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from oip.core.errors import OipError, SettingsError
from oip.core.files import sha256
from oip.core.plots import figure
from oip.mi.ranking import spearman
from oip.studies import diffusion_toy as toy
from oip.studies import diffusion_training as training
from oip.studies import panels
from oip.studies.data import DIGITS, Images, data_key, every_source, study_data
from oip.studies.findings import (
    RISING,
    Agreement,
    Finding,
    Value,
    agreement,
    all_of,
    finding,
    grown,
    kept,
    named_values,
    trend,
    untested,
    weighed,
)
from oip.studies.report import Arrays, Folder, MissingData, base_name, model_files, slug
from oip.studies.trained import number_of_each, over_steps

if TYPE_CHECKING:
    from oip.models.datasets import Dataset


NAME = toy.NAME
TITLE = "Diffusion spectral entropy and information: toys, trainings, starts, networks"
SOURCE = (
    "D. Liao, C. Liu, B. W. Christensen, A. Tong, G. Huguet, G. Wolf, M. Nickel, I. Adelstein, S. "
    "Krishnaswamy: Assessing neural network representations during training using noise-resilient "
    "diffusion spectral entropy. CISS 2024; as described in C. Liu: A novel entropy and mutual "
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
_STARTS = {"low": 0.05, "high": 5.0}
"""Bits of S(Z), of the authors' width, that a training begins at."""
_STRONG = 0.001
"""The p-value under which a correlation is strong there."""
_FEW = 0.25
"""Share of the networks that are chosen by I(Z;Y)."""
_LONGER = 4  # times the epochs for random labels, which are learned by heart
_OVERFITTED = 0.5
"""Share of the random labels from which on a training has overfitted to them."""
_PEAKS = "for CIFAR-10 and STL-10, it quickly peaks and then generally goes downward"
_FALL = 0.05  # share of a peak by which a curve must end below it
_SMALL_IMAGE = (32, 32)
"""Size and 3 bands in which the images are compared with those of an earlier call."""


Key = TypeVar("Key")
Networks = Mapping[str, Arrays]
"""Name -> measurements of a trained network."""


@dataclass(frozen=True)
class DiffusionSize:
    """Numbers of images, trainings and measurements of the study; by default the paper's."""

    toys: toy.ToySize = toy.FULL_TOYS
    blobs: toy.BlobSize = toy.FULL_BLOBS
    images: int | None = None  # of a training; all if None
    tested: int | None = None
    measured: int = 1_000  # test images whose representation is measured
    recipes: tuple[str, ...] = ("lenet5", "resnet-small", "conv-stack", "vit")
    epochs: int = 20
    records: int = 24  # steps of a training that are measured, about
    seeds: int = 3
    deviations: tuple[float, ...] = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
    """Of the first kernels, where starts are compared."""
    start_recipe: str = "resnet-small"
    start_epochs: int = 10
    entropy_recipes: tuple[str, ...] = ("lenet5", "conv-stack", "resnet-small")
    """Networks that begin at a low and at a high entropy."""
    networks: tuple[training.SmallNetwork, ...] = tuple(
        training.SmallNetwork(*numbers)
        for numbers in itertools.product(
            ("lenet5", "conv-stack", "relu-mlp", "lenet", "resnet-small", "densenet"),
            (200, 1_000, 5_000, 20_000),
            (1, 5),
            range(3),
        )
    )
    """Those of which quantities and accuracy are correlated."""


FULL = DiffusionSize()
QUICK = DiffusionSize(
    toys=toy.QUICK_TOYS,
    blobs=toy.QUICK_BLOBS,
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
    entropy_recipes=("lenet5",),
    networks=tuple(
        training.SmallNetwork(recipe, images, epochs, seed)
        for recipe in ("lenet5", "conv-stack", "relu-mlp")
        for images, epochs, seed in ((200, 1, 0), (500, 2, 1), (1000, 2, 2), (2000, 2, 3))
    ),
)


def run(folder: Folder, size: DiffusionSize | None = None) -> None:
    """Run the study, in a size in place of that of the settings; toys need no data.

    With `models` the networks of these files are compared, on every one of the `data` (such as
    Imagenette), in place of small ones that are trained here; where `data` are named, too, nothing
    is trained.

    Raises:
        MissingData: no images at all are available.
        SettingsError: `models` names fewer than three files.
    """
    settings = folder.settings
    size = size or (QUICK if settings.quick else FULL)
    paths = model_files(settings.models) if settings.models else []
    if settings.models and len(paths) < 3:
        raise SettingsError("models", "a pattern of 3 model files or more", len(paths))
    toy.add_toys(folder, size.toys)
    toy.add_blobs(folder, size.blobs)
    folder.note(folder.text("methods"))
    for source in settings.data or (DIGITS,):
        if paths:
            compare_files(folder, source, size.measured, paths)
    if paths and settings.data:
        folder.note(folder.text("nothing_trained"))
    else:
        for index, source in enumerate(every_source(folder)):
            images = source.limited(size.images, size.tested)
            compare_methods(folder, images, size)
            if not index:
                compare_starts(folder, images, size)
            compare_entropies(folder, images, size)
            if not index and not paths:
                compare_small_networks(folder, images, size)
    folder.not_given(PAPER_DATA)


def compare_methods(folder: Folder, images: Images, size: DiffusionSize) -> None:
    """Measure over training, for the three ways to train (figures 6 to 8)."""
    for recipe in size.recipes:
        plans = {}
        for method in training.METHODS:
            epochs = size.epochs * (_LONGER if method == "random labels" else 1)
            plans[method] = training.TrainingPlan(images.name, recipe, method, epochs)
        trainings = _seed_trainings(folder, images, size, plans)
        subject = f"{recipe} on {images.name}, {len(images.train)} images"
        setting = f"{subject}, {size.measured} test images measured"
        key, classes = f"{images.name}-{recipe}", len(images.test.classes)
        draw_trainings(folder, key, trainings, setting)
        training.draw_over_accuracy(folder, key, trainings, setting)
        folder.add(*training_findings(images.name, f"{recipe}, {images.name}", trainings))
        training.add_times(folder, key, f"{recipe}, {images.name}", trainings, classes)


def compare_starts(folder: Folder, images: Images, size: DiffusionSize) -> None:
    """Compare kernels that begin at different scales (figure 9)."""
    recipe = size.start_recipe
    plan = training.TrainingPlan(images.name, recipe, "supervised", size.start_epochs)
    plans = {deviation: replace(plan, deviation=deviation) for deviation in size.deviations}
    trainings = _seed_trainings(folder, images, size, plans)
    setting = f"{recipe} on {images.name}, {len(images.train)} images, {size.seeds} seeds"
    draw_starts(folder, images.name, trainings, setting)
    folder.add(*start_findings(f"{recipe}, {images.name}", trainings))


def compare_entropies(folder: Folder, images: Images, size: DiffusionSize) -> None:
    """Compare trainings that begin at a low and at a high entropy (figure 9)."""
    for recipe in size.entropy_recipes:
        plan = training.TrainingPlan(images.name, recipe, "supervised", size.start_epochs)
        plans = {
            **{name: replace(plan, entropy=value) for name, value in _STARTS.items()},
            "Glorot": plan,
            "He": replace(plan, he=True),
        }
        trainings = _seed_trainings(folder, images, size, plans)
        subject = (
            f"{recipe} on {images.name}, {len(images.train)} images, {size.start_epochs} epochs"
        )
        draw_entropies(folder, f"{images.name}-{recipe}", trainings, subject)
        folder.add(*entropy_findings(subject, trainings))


def _seed_trainings(
    folder: Folder, images: Images, size: DiffusionSize, plans: Mapping[Key, training.TrainingPlan]
) -> dict[Key, list[Arrays]]:
    """Return the measured trainings of each plan, one for each seed; each is a part."""
    first_seed = folder.settings.seed
    seeds = range(first_seed, first_seed + size.seeds)
    of_each = {key: [replace(plan, seed=s) for s in seeds] for key, plan in plans.items()}
    measure = partial(
        training.measured_training,
        images=images,
        count=size.measured,
        records=size.records,
        progress=folder.progress,
    )
    every_plan = itertools.chain(*of_each.values())
    measured = folder.parts("trainings", every_plan, measure, images.digest)
    return {key: [measured[plan] for plan in several] for key, several in of_each.items()}


def compare_small_networks(folder: Folder, images: Images, size: DiffusionSize) -> None:
    """Compare networks of different kinds and numbers of images (figure 10)."""
    seed = folder.settings.seed
    batch = training.measured_images(images.test, size.measured, seed)
    train = partial(training.trained_small_network, images=images, batch=batch, seed=seed)
    measured = folder.parts("networks", size.networks, train, images.digest)
    arrays = {network.name: row for network, row in measured.items()}
    folder.note(folder.text("small_networks", count=len(arrays), key=images.name))
    setting = f"{len(arrays)} small networks trained here on {images.name}"
    kinds = [network.recipe for network in measured]
    _report_networks(folder, "networks", arrays, setting, kinds)


def compare_files(folder: Folder, source: str, count: int, paths: list[Path]) -> None:
    """Compare models from files on `count` images of a source, in the size each model takes."""
    key, settings = base_name(source), folder.settings

    @lru_cache(maxsize=1)
    def load(shape: tuple[int, int], bands: int) -> Dataset:
        data = study_data(source, settings, "test", shape, bands)
        if data.labels is None:
            hint = "Put the images into one folder for each class."
            raise MissingData(f"labels of the data '{key}'", f"'{source}'", hint)
        return data

    networks: dict[str, Arrays] = {}
    left_out: dict[str, list[str]] = {}  # by the reason
    try:
        data_digest = data_key(load(_SMALL_IMAGE, 3))
        for path in folder.tracked(f"models on {key}", paths):
            digest = sha256(path)
            name = f"models/{slug(key)}-{digest[:12]}"
            measure = partial(training.file_network, path, load, count, settings.seed)
            try:
                arrays = folder.part(name, measure, f"{data_digest} {digest} {_sidecar(path)}")
            except MissingData:
                raise
            except OipError as error:
                left_out.setdefault(str(error), []).append(path.name)
            else:
                networks[f"{path.name} {digest[:12]}"] = arrays
    except MissingData as error:
        folder.missing(f"{finding(NAME, 'accuracy_and_label', networks='').paper} ({key})", error)
        return
    if left_out:
        unmeasured = sum(map(len, left_out.values()))
        text = f"{unmeasured} of {len(paths)} models were left out on {key}."
        reasons = (f"{', '.join(names)}: {reason}" for reason, names in left_out.items())
        folder.lacks(text)
        folder.note(f"{text} {' '.join(reasons)}")
    setting = f"{len(networks)} models on {key}"
    if len(networks) < 3:
        texts = f"{setting}: too few.", "no data"
        folder.add(untested(NAME, "accuracy_and_label", *texts, networks=""))
    else:
        _report_networks(folder, f"networks-{key}", networks, setting)


def _report_networks(
    folder: Folder, name: str, networks: Networks, setting: str, kinds: Sequence[str] = ()
) -> None:
    label = f"{training.SCALES[1].name} label"
    rows = sorted(networks.items(), key=lambda row: -float(row[1][label]))
    order = "; ".join(
        f"{key} {float(row[label]):.2f} bits, {100 * float(row['accuracy']):.1f} %"
        for key, row in rows
    )
    folder.note(folder.text("order", setting=setting, order=order))
    training.draw_networks(folder, name, networks, setting, kinds)
    folder.add(*network_findings(networks, setting, folder.settings.seed))


def _sidecar(path: Path) -> str:
    """Return the digest of the file beside a model that may hold its accuracy."""
    from oip.network.inputs import sidecar_path

    sidecar = sidecar_path(path)
    return sha256(sidecar) if sidecar.is_file() else "none"


def _changes(
    trainings: Mapping[str, list[Arrays]], quantity: str
) -> tuple[dict[str, list[Value]], dict[str, list[bool | None]]]:
    """Return changes over training as values by scale, and whether they are rises, by method."""
    values: dict[str, list[Value]] = {}
    outcomes: dict[str, list[bool | None]] = {method: [] for method in trainings}
    for scale in training.SCALES:
        values[scale.short] = []
        for method, several in trainings.items():
            rows = [arrays[f"{scale.name} {quantity}"] for arrays in several]
            change = np.array([row[-1] - row[0] for row in rows])
            outcomes[method].append(grown(change))
            remark = f"from {np.mean([row[0] for row in rows]):z.2f}"
            values[scale.short].append(Value.spread_of(change, method, "+.2f", remark))
    return values, outcomes


def training_findings(
    source: str, subject: str, trainings: Mapping[str, list[Arrays]]
) -> list[Finding]:
    """Return the findings on entropy and information over training, by method.

    The paper's statement on I(Z;X) depends on the source of the images.
    """
    random = trainings["random labels"]
    entropy, entropy_rises = _changes(trainings, "entropy")
    label, label_rises = _changes(trainings, "label")
    learned: list[bool | None]
    learned = [rise is not True for rise in label_rises.pop("random labels")]
    for method, rises in label_rises.items():
        learned += _kept_rises(trainings[method], "label", rises)
    inputs, input_rises = _changes(trainings, "input")
    by_chance = input_rises.pop("random labels")
    fitted = float(np.mean([float(arrays["fitted"]) for arrays in random]))
    if fitted < _OVERFITTED:
        by_chance = [None] * len(training.SCALES)
        learned[: len(by_chance)] = by_chance
    statement, outcomes = _input_statement(source, trainings, input_rises)
    silence = "" if outcomes else " The paper does not treat these data."
    rows = {
        "entropy_over_training": (itertools.chain(*entropy_rises.values()), entropy),
        "label_over_training": (learned, label),
        "input_over_training": (outcomes, inputs),
        "input_of_random_labels": (by_chance, inputs),
    }
    constants = {
        "where_trained": subject,
        "seeds": len(random),
        "fitted": fitted,
        "statement": statement,
        "label_peaks": _peaks(trainings["supervised"], "label"),
        "peaks": _peaks(trainings["supervised"], "input") + silence,
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
        return '"For MNIST, I_D(Z;X) continuously increases"', [
            outcome
            for method, rows in rises.items()
            for outcome in _kept_rises(trainings[method], "input", rows)
        ]
    if not any(source in name for source in ("cifar", "stl")):
        return f'"For MNIST, I_D(Z;X) continuously increases, whereas {_PEAKS}"', []
    return f'"I_D(Z;X) [...] {_PEAKS}"', [
        peaked(over_steps(trainings[method], f"{scale.name} input")[1])
        for method in rises
        for scale in training.SCALES
    ]


def _kept_rises(
    several: list[Arrays], quantity: str, rises: Sequence[bool | None]
) -> list[bool | None]:
    """Return the rises of a quantity by scale; one of which more is lost than is left is none."""
    curves = [over_steps(several, f"{scale.name} {quantity}")[1] for scale in training.SCALES]
    return [rise and kept(rows) for rise, rows in zip(rises, curves, strict=True)]


def peaked(rows: np.ndarray) -> bool | None:
    """Return whether curves (seeds, t) rise to a peak and fall from it; None if seeds differ."""
    mean = rows.mean(axis=0)
    top = int(np.argmax(mean))
    fall = rows[:, top] - rows[:, -1]
    if top in (0, len(mean) - 1) or fall.mean() <= _FALL * abs(mean[top]):
        return False
    up, down = grown(rows[:, top] - rows[:, 0]), grown(fall)
    return True if up and down else None if None in (up, down) else False


def _peaks(several: list[Arrays], quantity: str) -> str:
    """Return a sentence on the largest value of the supervised curve of a quantity."""
    sentences = []
    for scale in training.SCALES:
        steps, values = over_steps(several, f"{scale.name} {quantity}")
        mean = values.mean(axis=0)
        top = int(np.argmax(mean))
        gap = f"{mean[top] - mean[-1]:z.2f} bits above the end"
        sentences.append(f"{scale.short} at iteration {steps[top]}, {gap}")
    return f"Supervised it is largest: {'; '.join(sentences)}."


def start_findings(subject: str, trainings: Mapping[float, list[Arrays]]) -> list[Finding]:
    """Return the findings on entropy at the start, by deviation of the kernels."""

    def measured(statistic: Callable[[Arrays], float]) -> np.ndarray:
        """Return a number of every training, (deviations, seeds)."""
        return np.array([[statistic(arrays) for arrays in rows] for rows in trainings.values()])

    def by_deviation(numbers: np.ndarray, form: str = ".2f") -> list[Value]:
        rows = zip(numbers, trainings, strict=True)
        return [Value.spread_of(row, f"deviation {deviation:g}", form) for row, deviation in rows]

    entropy = {
        scale.short: measured(lambda arrays, key=f"{scale.name} entropy": arrays[key][0])
        for scale in training.SCALES
    }
    scores = {
        "mean over the training": measured(training.mean_accuracy),
        "at the end": measured(training.final_accuracy),
    }
    lowest = -entropy[training.SCALES[0].short].mean(axis=1)
    ranks = [spearman(lowest, row.mean(axis=1)) for row in scores.values()]
    verdict = "yes" if min(ranks) > 0.8 else "partly" if max(ranks) > 0.3 else "no"
    entropies = {name: by_deviation(row) for name, row in entropy.items()}
    shares = {name: by_deviation(100 * row, ".1f") for name, row in scores.items()}
    shares["rank correlation"] = named_values(scores, ranks, "+.2f")
    constants = {"where_trained": subject, "count": len(trainings)}
    constants["seeds"] = len(next(iter(trainings.values())))
    rises = agreement(toy.rising(row.mean(axis=1)) for row in entropy.values())
    return [
        finding(NAME, "entropy_at_the_start", rises, entropies, **constants),
        finding(NAME, "low_entropy_learns_faster", verdict, shares, **constants),
    ]


def entropy_findings(subject: str, trainings: Mapping[str, list[Arrays]]) -> list[Finding]:
    """Return the findings on a start at low entropy, beside the other starts."""
    seeds_of = len(trainings["low"])
    constants = {"where_trained": subject, "seeds": seeds_of, **_STARTS}
    values: dict[str, list[Value]] = {}
    outcomes = []
    scores: dict[str, Callable[[Arrays], float]] = {
        "mean over the training": training.mean_accuracy,
        "at the end": training.final_accuracy,
    }
    for label, score in scores.items():
        rates = {
            name: np.array([100 * score(arrays) for arrays in several])
            for name, several in trainings.items()
        }
        values[label] = [Value.spread_of(row, name, ".1f") for name, row in rates.items()]
        change = rates["low"] - rates["high"]
        gain = Value.mean_of(change, "low less high, points", "+.2f")
        values[label].append(gain)
        outcomes.append(gain.above())
    key = f"{training.SCALES[0].name} entropy"
    ways = {}
    for name, several in trainings.items():
        rows = np.array([arrays[key] for arrays in several])
        numbers = {"start": rows[:, 0], "least": rows.min(axis=1), "end": rows[:, -1]}
        ways[name] = [Value.spread_of(row, label) for label, row in numbers.items()]
    low, high = (over_steps(trainings[name], key)[1] for name in _STARTS)
    steady = grown(low[:, -1] - low[:, 0]) and bool(trend(low.mean(axis=0)) > RISING)
    dips = all_of([grown(high[:, 0] - high.min(axis=1)), grown(high[:, -1] - high.min(axis=1))])
    return [
        finding(NAME, "start_at_low_entropy", weighed(outcomes), values, **constants),
        finding(NAME, "entropy_after_the_start", agreement([steady, dips]), ways, **constants),
    ]


def network_findings(networks: Networks, setting: str, seed: int) -> list[Finding]:
    """Return the findings on the correlation of quantities with accuracy over networks."""
    rows = {
        quantity: {
            scale.short: training.correlation(
                number_of_each(networks, f"{scale.name} {quantity}"),
                number_of_each(networks, "accuracy"),
                seed,
            )
            for scale in training.SCALES
        }
        for quantity in training.QUANTITIES
    }

    def row(name: str, quantity: str, verdict: Agreement, gaps: Iterable[Value] = ()) -> Finding:
        values = {
            scale: [
                Value("Pearson", row.pearson, form="+.2f", remark=f"p {row.pearson_p:.2g}"),
                Value("rank", row.spearman, row.low, row.high, "+.2f", f"p {row.spearman_p:.2g}"),
            ]
            for scale, row in rows[quantity].items()
        }
        for scale, gap in zip(values, gaps, strict=False):
            values[scale].append(gap.named("less by"))
        symbol = training.QUANTITIES[quantity]
        return finding(NAME, name, verdict, values, networks=setting, symbol=symbol)

    def weaker(quantity: str) -> Finding:
        scores, gaps = number_of_each(networks, "accuracy"), []
        for scale in training.SCALES:
            label = number_of_each(networks, f"{scale.name} label")
            numbers = number_of_each(networks, f"{scale.name} {quantity}")
            gaps.append(training.correlation_gap(label, numbers, scores, seed))
        measured = all(math.isfinite(gap.low) for gap in gaps)
        verdict = weighed(gap.above() for gap in gaps) if measured else "not tested"
        return row("accuracy_and_others", quantity, verdict, gaps)

    enough = 2 / math.factorial(len(networks)) < _STRONG  # else no order of them is that rare
    strong = (
        (relation.spearman > 0.5 and relation.spearman_p < _STRONG) if enough else None
        for relation in rows["label"].values()
    )
    return [
        row("accuracy_and_label", "label", agreement(strong)),
        *map(weaker, ("input", "entropy")),
        _few_excellent(networks, setting),
    ]


def _few_excellent(networks: Networks, setting: str) -> Finding:
    """Return the finding on a selection of networks by I(Z;Y), beside one by chance."""
    from scipy.stats import hypergeom

    accuracy = number_of_each(networks, "accuracy")
    count = max(1, round(_FEW * len(accuracy)))
    best = set(np.argsort(-accuracy, kind="stable")[:count].tolist())
    values, outcomes = {}, []
    for scale in training.SCALES:
        order = np.argsort(-number_of_each(networks, f"{scale.name} label"), kind="stable")[:count]
        shared = len(best & set(order.tolist()))
        chance = float(hypergeom.sf(shared - 1, len(accuracy), count, count))
        loss = 100 * float(accuracy.max() - accuracy[order].max())
        values[scale.short] = [
            Value(f"of {count} chosen, among the {count} best", shared, form=".0f"),
            Value("as many by chance, p", chance, form=".2g"),
            Value("the best chosen lacks, points", loss, form=".1f"),
        ]
        decides = float(hypergeom.sf(count - 1, len(accuracy), count, count)) < 0.05
        outcomes.append((shared >= count / 2 and chance < 0.05) if decides else None)
    return finding(NAME, "few_excellent", agreement(outcomes), values, networks=setting, share=_FEW)


def draw_trainings(
    folder: Folder, key: str, trainings: Mapping[str, list[Arrays]], setting: str
) -> None:
    """Draw S(Z), I(Z;Y), I(Z;X) over training, by method (figures 6 to 8)."""
    drawing, grid = figure(7.0, 4.4, len(training.SCALES), len(training.QUANTITIES), sharex=True)
    numbers = {}
    for row, scale in zip(grid, training.SCALES, strict=True):
        for axes, (quantity, symbol) in zip(row, training.QUANTITIES.items(), strict=True):
            for index, (method, several) in enumerate(trainings.items()):
                steps, values = over_steps(several, f"{scale.name} {quantity}")
                panels.runs(axes, steps, values, index, method)
                numbers[f"{method} {scale.name} {quantity}"] = values
                numbers[f"{method} steps"] = steps
            panels.step_axis(axes, "iterations" if scale is training.SCALES[-1] else "")
            axes.set_title(f"{symbol}, {scale.short}")
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
    start_panel, accuracy_panel = grid[0]
    for index, scale in enumerate(training.SCALES):
        name = f"{scale.name} entropy"
        values = np.array([[row[name][0] for row in rows] for rows in trainings.values()]).T
        panels.runs(start_panel, deviations, values, index, scale.label)
        numbers[f"{name} at the start"] = values
    start_panel.set(xscale="log", xlabel="deviation of the kernels", ylabel="S(Z) (bits)")
    start_panel.set_title("before training")
    start_panel.legend(frameon=False, loc="upper left", fontsize=6, bbox_to_anchor=(0.0, 0.86))
    colors = panels.sequence_colors(len(deviations))
    for (deviation, several), shade in zip(trainings.items(), colors, strict=True):
        steps, values = over_steps(several, "accuracy")
        values = 100 * values
        accuracy_panel.plot(
            steps, values.mean(axis=0), marker="o", color=shade, label=f"{deviation:g}"
        )
        numbers |= {f"accuracy (%) {deviation:g}": values, f"steps {deviation:g}": steps}
    panels.step_axis(accuracy_panel, "iterations")
    accuracy_panel.set_ylabel("accuracy (%)")
    accuracy_panel.legend(frameon=False, title="deviation", title_fontsize=7)
    folder.figure(f"starts-{key}", drawing, folder.caption("starts", key, setting=setting), numbers)


def draw_entropies(
    folder: Folder, key: str, trainings: Mapping[str, list[Arrays]], setting: str
) -> None:
    """Draw entropy and accuracy over trainings by their start (figure 9)."""
    drawing, ((entropy_panel, accuracy_panel),) = figure(6.6, 2.6, 1, 2)
    numbers = {}
    name = f"{training.SCALES[0].name} entropy"
    for index, (start, several) in enumerate(trainings.items()):
        steps, values = over_steps(several, name)
        _, rates = over_steps(several, "accuracy")
        label = f"{start} ({values[:, 0].mean():z.2g} bits)"
        panels.runs(entropy_panel, steps, values, index, label)
        panels.runs(accuracy_panel, steps, 100 * rates, index, label)
        numbers |= {f"{start}: S(Z) (bits)": values, f"{start}: accuracy (%)": 100 * rates}
        numbers[f"{start}: iterations"] = steps
    for axes, label in ((entropy_panel, "S(Z) (bits)"), (accuracy_panel, "accuracy (%)")):
        panels.step_axis(axes, "iterations")
        axes.set_ylabel(label)
    panels.legend_below(drawing, entropy_panel, 4, "start: entropy before training")
    texts = {"setting": setting, "seeds": len(trainings["low"]), **_STARTS}
    caption = folder.caption("entropies", key, **texts)
    folder.figure(f"entropies-{key}", drawing, caption, numbers)
