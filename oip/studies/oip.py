"""Original input patterns: does noise of several wavelengths help, and the articles' pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from oip.core.errors import DataError, expected
from oip.core.files import sha256
from oip.core.progress import Progress
from oip.core.seeds import generator
from oip.network.inputs import check_images
from oip.network.layers import LayerInfo
from oip.network.network import Network
from oip.studies import oip_plots
from oip.studies.data import Images, every_source, limited
from oip.studies.oip_arms import (
    ALIKE,
    EQUAL,
    POST,
    QUICK,
    RED,
    REQUIRED,
    WARM,
    WHITE,
    Interval,
    Sizes,
    arms,
    bootstrap,
    holm,
    mcnemar,
    measured,
    noises,
)
from oip.studies.oip_plots import arm_row, found_shares, mean, name_of, per_map
from oip.studies.report import Agreement, Folder, StudySettings, agreement, slug

if TYPE_CHECKING:
    from oip.studies.report import Folder

NAME = "oip"
TITLE = "Original input patterns: noise of several wavelengths, and what maps react to"
SOURCE = (
    "A simple CNN for the MNIST dataset, parts V and VII, and the “Hand of MNIST” "
    "(articles on a CNN's maps, their FCPs and OIPs), 2020."
)
MINUTES = 5
TAKES = ("data", "models")
SCHEMA = 1
RECIPE = "conv-stack"


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured on one source of data: an entry a network in every list."""

    source: str
    layers: tuple[LayerInfo, ...]
    """Those that were measured; the first is the negative control, the last the target."""
    found: dict[int, list[dict[str, np.ndarray]]]
    """Index of the layer -> `measured` of each network."""
    accuracy: list[float]
    side: int


def run(folder: Folder, settings: StudySettings, progress: Progress) -> None:
    """Trains networks, measures every arm, draws the articles' pictures, and compares.

    Args:
        folder: for what is computed and drawn.
        settings: `data` names other images, `models` a pattern of model files that take them (they
            stand for the networks of the first source, and none is trained for it).
        progress: told trainings, screenings and arms.

    Raises:
        MissingData: none of the data can be had.
    """
    sizes = QUICK if settings.quick else REQUIRED
    done: list[Measured] = []
    for place, images in enumerate(every_source(folder, settings)):
        files = _model_files(settings) if settings.models and not place else None
        paths = files or _trained(folder, images, settings, sizes, progress)
        result, network = _source(folder, place, images, paths, sizes, settings, progress)
        if not place:
            oip_plots.draw_oip_pictures(
                folder, network, images.test, sizes, settings.seed, progress
            )
        oip_plots.draw(folder, f"{place}", result, sizes, settings.seed)
        done.append(result)
    make(folder, done, sizes, settings.seed)
    _notes(folder, done, sizes)


def _source(
    folder: Folder,
    place: int,
    data: Images,
    paths: list[Path],
    sizes: Sizes,
    settings: StudySettings,
    progress: Progress,
) -> tuple[Measured, Network]:
    """Measures all networks of one source; also returns the first of them, ready to be used."""
    test, source = data.test, data.name
    networks = [_opened(path, test) for path in paths]
    images = check_images(networks[0].inputs, limited(test, sizes.judged).images)
    layers = _layers(networks[0])
    found: dict[int, list[dict[str, np.ndarray]]] = {layer.index: [] for layer in layers}
    accuracy = []
    for number, (path, network) in enumerate(zip(paths, networks, strict=True)):
        of = f"{data.digest} {sha256(path)}"
        if [one.name for one in _layers(network)] != [one.name for one in layers]:
            names = ", ".join(one.name for one in layers)
            raise DataError(expected(f"'{network.name}'", f"a network with {names}", "another"))
        accuracy.append(_accuracy(network, test))
        for layer in _layers(network):
            climbed = layer.index in (layers[0].index, layers[-1].index)

            def told(label: str, done: int, total: int, number: int = number) -> None:
                progress(f"{source}, network {number + 1}: {label}", done, total)

            def compute(
                network: Network = network,
                layer: LayerInfo = layer,
                climbed: bool = climbed,
                told: Progress = told,
            ) -> dict[str, np.ndarray]:
                return measured(network, layer, images, sizes, settings.seed, climbed, told)

            part = f"source-{place}/network-{number}-layer-{layer.index}"
            found[layer.index].append(folder.part(part, compute, of))
    side = max(networks[0].inputs.shape[:-1])
    return Measured(source, layers, found, accuracy, side), networks[0]


def _trained(
    folder: Folder, data: Images, settings: StudySettings, sizes: Sizes, progress: Progress
) -> list[Path]:
    """Networks of one recipe, one a seed; those that are there are not trained again."""

    from oip import models

    models = models
    from oip.models.datasets import chosen

    train = data.train
    count = min(sizes.images, len(train))
    drawn = generator(settings.seed, "study images").permutation(len(train))[:count]
    part = chosen(train, np.sort(drawn), train.source)
    known = f"{slug(data.name)}-{data.digest[:8]}"
    paths = []
    for number in range(sizes.nets):
        seed = settings.seed + number
        name = f"oip-{known}-{RECIPE}-{count}-{sizes.epochs}-seed-{seed}.keras"
        path = folder.common(name)
        if not path.with_suffix(".oip.json").exists():
            wanted = models.recipe(RECIPE).settings(count, epochs=sizes.epochs, seed=seed)

            def told(label: str, done: int, total: int, number: int = number) -> None:
                progress(f"{data.name}, network {number + 1}: {label}", done, total)

            models.train(RECIPE, part, data.test, wanted, path, told)
        paths.append(path)
    return paths


def _model_files(settings: StudySettings) -> list[Path]:
    pattern = Path(str(settings.models))
    anchor = Path(pattern.anchor) if pattern.is_absolute() else Path()
    found = sorted(anchor.glob(str(pattern.relative_to(anchor))))
    if not found:
        raise DataError(expected(f"models '{pattern.name}'", "files of trained networks", "none"))
    return found


def _opened(path: Path, test: Any) -> Network:
    network = Network(path).fitted_to(test.images)
    if not network.inputs.is_known:
        network.inputs = network.inputs.measured(test.images, test.low, test.high, test.source)
    return network


def _layers(network: Network) -> tuple[LayerInfo, ...]:
    """The first, the middle and the last convolutional layer."""
    layers = network.convolutional
    places = sorted({0, len(layers) // 2, len(layers) - 1})
    return tuple(layers[place] for place in places)


def _accuracy(network: Network, test: Any) -> float:
    """Share of the test images whose class is predicted; NaN for what is no classifier of them."""
    if test.labels is None:
        return float("nan")
    predicted = np.asarray(network.model.predict(test.images, batch_size=512, verbose=0))
    if predicted.ndim != 2 or predicted.shape[1] != len(test.classes):
        return float("nan")
    return float((predicted.argmax(1) == test.labels).mean())


def _notes(folder: Folder, done: list[Measured], sizes: Sizes) -> None:
    for one in done:
        rates = ", ".join(f"{100 * rate:.1f} %" for rate in one.accuracy)
        counts = "; ".join(
            f"{layer.name}: "
            + ", ".join(str(int(part["excitable"].sum())) for part in one.found[layer.index])
            + f" of {layer.maps}"
            for layer in one.layers
        )
        folder.note(
            f"{one.source}: {len(one.accuracy)} networks, accuracy on the test images {rates}. "
            f"Maps that at least one of {sizes.judged} test images excites (excitable): {counts}."
        )
    folder.note(
        f"Noise: {sizes.seeds} seeds, {sizes.screened} starts each, the same random numbers in "
        "every arm, all images at one mean and deviation. 'post' climbs the response alone, as the "
        "articles do; 'warm' climbs the pre-activation for 8 steps and while a map is silent. "
        f"Grown: {sizes.starts} starts of up to {sizes.maps} excitable maps of the first and the "
        f"last layer, at most {sizes.steps} steps, steps that adapt, no blur."
    )
    folder.note(
        "Intervals are 95 % bootstrap intervals over maps within networks; they speak of these "
        "networks' maps, not of all networks that could be trained. McNemar tests take one start a "
        "map, another one for every map, of the first seed; adjusted by Holm within a layer."
    )


_SEVERAL = (1, 4, 16)
"""Numbers of starts that claims speak of."""
_NOTHING = 0.01
"""An effect that is below it as a whole interval is none."""


def make(folder: Folder, done: Sequence[Measured], sizes: Sizes, seed: int) -> None:
    """Adds the rows of the report's table; the intervals decide what agrees, see `judged`."""
    _silent_for_noise(folder, done, sizes, seed)
    _white_beside_octaves(folder, done, sizes, seed)
    _several_starts(folder, done, sizes, seed)
    _single_octaves(folder, done, sizes, seed)
    _warm_up(folder, done, sizes, seed)
    _what_grows(folder, done, sizes, seed)
    _stable(folder, done, sizes, seed)


def _silent_for_noise(folder: Folder, done: Sequence[Measured], sizes: Sizes, seed: int) -> None:
    """Do some maps not react to noise?"""
    texts, found = [], []
    for one in done:
        for layer in (one.layers[0], one.layers[-1]):
            share = _silent(one, layer.index, sizes, seed)
            texts.append(f"{one.source}, {layer.name}: {share.text(100)} %")
        found.append(share)
    folder.claim(
        "Some maps do not react to certain random patterns at all; short-range noise often leads "
        "to zero gradients for maps at high layers.",
        "Excitable maps that one white start leaves silent: " + "; ".join(texts) + ".",
        judged(found, _NOTHING),
        _sure(done, sizes),
    )


def _silent(one: Measured, index: int, sizes: Sizes, seed: int) -> Interval:
    groups = [1 - share for share in found_shares(one, index, 0, sizes.screened, 1)]
    return bootstrap(groups, mean, seed)


def _gains(one: Measured, index: int, kind: str, starts: int, sizes: Sizes, seed: int) -> Interval:
    """Share of maps found by a kind of noise less that found by white noise, paired by map."""
    kinds = noises(one.side)
    pairs = zip(
        found_shares(one, index, kinds.index(kind), sizes.screened, starts),
        found_shares(one, index, kinds.index(WHITE), sizes.screened, starts),
        strict=True,
    )
    return bootstrap([first - second for first, second in pairs], mean, seed)


def _white_beside_octaves(
    folder: Folder, done: Sequence[Measured], sizes: Sizes, seed: int
) -> None:
    """Does noise of several wavelengths excite more maps, and is that so in the control?"""
    texts, tests, gains = [], [], []
    for one in done:
        for layer in (one.layers[0], one.layers[-1]):
            gain = {kind: _gains(one, layer.index, kind, 1, sizes, seed) for kind in (EQUAL, RED)}
            told = ", ".join(f"{name_of(k, one.side)} {v.text(100)}" for k, v in gain.items())
            texts.append(f"{one.source}, {layer.name}: {told} percentage points")
            tests.append(_tested(one, layer.index, layer.name))
        gains.append(gain[EQUAL])
    folder.claim(
        "Independent random pixels suppress long-range variations; several wavelengths find "
        "patterns of more maps of deep layers (Conv2D_1 is the negative control).",
        "Excited by one start, less what white noise excites: " + "; ".join(texts) + ".",
        judged(gains),
        f"{_sure(done, sizes)} McNemar, one start a map: {'; '.join(tests)}.",
    )


def _tested(one: Measured, index: int, name: str) -> str:
    """McNemar of every kind of noise beside white, one start a map of the first seed."""
    kinds = noises(one.side)
    white = np.concatenate([part["first"][0, 0][part["excitable"]] for part in one.found[index]])
    results = []
    for row in range(1, len(kinds)):
        other = np.concatenate(
            [part["first"][row, 0][part["excitable"]] for part in one.found[index]]
        )
        results.append(mcnemar(other, white))
    adjusted = holm([p for _, _, p in results])
    row = kinds.index(EQUAL) - 1
    only, white_only, _ = results[row]
    return (
        f"{one.source}, {name}: equal octaves alone {only}, white alone {white_only} of "
        f"{len(white)}, p = {adjusted[row]:.2g} (Holm)"
    )


def _several_starts(folder: Folder, done: Sequence[Measured], sizes: Sizes, seed: int) -> None:
    """Does the difference remain where several starts are tried?"""
    texts, last = [], []
    for one in done:
        layer = one.layers[-1]
        counts = sorted({*_SEVERAL, sizes.screened} - {1})
        gains = [_gains(one, layer.index, EQUAL, count, sizes, seed) for count in counts]
        told = ", ".join(
            f"{count} starts {gain.text(100)}" for count, gain in zip(counts, gains, strict=True)
        )
        texts.append(f"{one.source}, {layer.name}: {told} percentage points")
        last.append(gains[-1])
    folder.claim(
        "Being able to vary the length scale helps to find patterns for sensitive maps, too.",
        "Equal octaves less white noise, best of several starts: " + "; ".join(texts) + ".",
        judged(last),
        _sure(done, sizes) + f" Judged by the best of {sizes.screened} starts.",
    )


def _single_octaves(folder: Folder, done: Sequence[Measured], sizes: Sizes, seed: int) -> None:
    """Do deep layers want long waves, and the first layer short ones?"""
    texts, deep = [], []
    for one in done:
        kinds = [kind for kind in noises(one.side) if kind == WHITE or kind.startswith("single:")]
        for layer in (one.layers[0], one.layers[-1]):
            shares = [
                bootstrap(found_shares(one, layer.index, row, sizes.screened, 1), mean, seed)
                for row in range(len(kinds))
            ]
            told = ", ".join(
                f"{name_of(kind, one.side)} {share.text(100)}"
                for kind, share in zip(kinds, shares, strict=True)
            )
            texts.append(f"{one.source}, {layer.name}: {told} %")
        gains = [_gains(one, layer.index, kind, 1, sizes, seed) for kind in kinds[1:]]
        deep.append(max(gains, key=lambda gain: gain.value))
    folder.claim(
        "Pooling doubles the wavelength that matters: filters of deep layers may exclude patterns "
        "without long-range characteristics.",
        "Excited by one start of a single octave: " + "; ".join(texts) + ".",
        judged(deep),
        _sure(done, sizes) + " Judged by the best longer octave less white noise, last layer.",
    )


def _warm_up(folder: Folder, done: Sequence[Measured], sizes: Sizes, seed: int) -> None:
    """How many of the silent maps does climbing the pre-activation reach?"""
    texts, differences = [], []
    for one in done:
        layer = one.layers[-1]
        lives = {
            (noise, objective): bootstrap(
                _lives(one, layer.index, arm_row(one.side, noise, objective)), mean, seed
            )
            for noise in (WHITE, EQUAL)
            for objective in (POST, WARM)
        }
        told = ", ".join(
            f"{name_of(noise, one.side)} {objective} {value.text(100)}"
            for (noise, objective), value in lives.items()
        )
        texts.append(f"{one.source}, {layer.name}: {told} %")
        pairs = zip(
            _lives(one, layer.index, arm_row(one.side, EQUAL, POST)),
            _lives(one, layer.index, arm_row(one.side, WHITE, WARM)),
            strict=True,
        )
        differences.append(bootstrap([first - second for first, second in pairs], mean, seed))
    gaps = "; ".join(
        f"{one.source} {gap.text(100)}" for one, gap in zip(done, differences, strict=True)
    )
    folder.claim(
        "Short-range noise is what leaves maps without a pattern (the articles climb the response "
        "alone).",
        f"Images that live after the ascent, of one start: {'; '.join(texts)}. Equal octaves "
        f"without warm-up less white noise with it: {gaps} percentage points.",
        judged(differences),
        f"{_sure(done, sizes)} Agreement would mean that the spectrum reaches maps that the "
        "warm-up does not.",
    )


def _lives(one: Measured, index: int, arm: int) -> list[np.ndarray]:
    """Of each network (maps,): share of the starts, over all seeds, that live in the end."""
    return [(part["scores"][arm] > 0).mean(axis=(0, 2)) for part in one.found[index]]


def _what_grows(folder: Folder, done: Sequence[Measured], sizes: Sizes, seed: int) -> None:
    """Does the spectrum change what grows: score, speed, short waves?"""
    texts, better = [], []
    for one in done:
        for layer in (one.layers[0], one.layers[-1]):
            told = []
            for measure, word in (("scores", "score"), ("steps", "steps"), ("power", "power")):
                ratio = _ratio(one, layer.index, measure, seed)
                told.append(f"{word} {ratio.text(100, '', 0)} %")
                if measure == "scores" and layer is one.layers[-1]:
                    better.append(Interval(ratio.value - 1, ratio.low - 1, ratio.high - 1))
            texts.append(f"{one.source}, {layer.name}: {', '.join(told)}")
    folder.claim(
        "High-frequency components may guide the ascent into side maxima; long-range variations in "
        "the start avoid that.",
        "Equal octaves as a share of white noise, maps that live in both arms (final score; steps "
        "to 95 % of it; power above 0.25 cycles/px): " + "; ".join(texts) + ".",
        judged(better),
        _sure(done, sizes)
        + " Judged by the final score in the last layer; response alone climbed.",
    )


def _ratio(one: Measured, index: int, measure: str, seed: int) -> Interval:
    """Median over maps of equal octaves over white noise, both without warm-up."""
    pairs = zip(
        per_map(one, index, arm_row(one.side, EQUAL), measure),
        per_map(one, index, arm_row(one.side, WHITE), measure),
        strict=True,
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        groups = [np.where(white > 0, equal / white, np.nan) for equal, white in pairs]
    return bootstrap(groups, _median, seed)


def _stable(folder: Folder, done: Sequence[Measured], sizes: Sizes, seed: int) -> None:
    """Do different starts end in one pattern?"""
    texts, found, alike = [], [], []
    for one in done:
        layer = one.layers[-1]
        row = arms(one.side).index((EQUAL, WARM))
        own = bootstrap(per_map(one, layer.index, row, "stability"), _median, seed)
        pairs = zip(
            per_map(one, layer.index, row, "stability"),
            per_map(one, layer.index, row, "null"),
            strict=True,
        )
        gap = bootstrap([first - second for first, second in pairs], _median, seed)
        texts.append(
            f"{one.source}, {layer.name}: starts of one map {own.text(1, '', 2)}, more than its "
            f"likeness to other maps by {gap.text(1, '', 2)}"
        )
        found.append(gap)
        alike.append(own)
    folder.claim(
        "For a specific map the same pattern is reconstructed consistently out of different noise.",
        "Median similarity (largest cross-correlation within a pooled cell): "
        + "; ".join(texts)
        + ".",
        steady(alike, found),
        f"{_sure(done, sizes)} One pattern is a median similarity of {ALIKE:g} and more, at which "
        "the figure of one map's starts parts patterns; less, but more than that to other maps, is "
        "agreement in part. Single maps differ.",
    )


def steady(alike: Sequence[Interval], gaps: Sequence[Interval]) -> Agreement:
    """Whether starts of a map end in one pattern.

    Args:
        alike: of each source, the median similarity of a map's starts.
        gaps: by how much it is above the similarity to other maps.
    """
    likely = judged(gaps)
    if likely == "yes" and not all(one.value >= ALIKE for one in alike):
        return "partly"
    return likely


def _median(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else float("nan")


def judged(intervals: Sequence[Interval], least: float = 0.0) -> Agreement:
    """What the intervals of all sources say of an effect.

    Args:
        intervals: of the effect, a share or a similarity; NaN where there was nothing to measure.
        least: what it must be above.

    Returns:
        Yes where all of them are above `least`, no where all are below a hundredth, which is no
        effect; an interval that holds both does not decide, and partly where none does.
    """
    outcomes = [_decides(one, least) for one in intervals]
    if not any(np.isfinite(one.low) for one in intervals):
        return "not tested"
    measured = agreement(outcomes)
    return "partly" if measured == "not tested" else measured


def _decides(one: Interval, least: float) -> bool | None:
    if one.low > least:
        return True
    return False if one.high < _NOTHING else None


def _sure(done: Sequence[Measured], sizes: Sizes) -> str:
    nets = " and ".join(f"{len(one.accuracy)} on {one.source}" for one in done)
    return f"Networks: {nets}; {sizes.seeds} noise seeds; 95 % intervals over maps."
