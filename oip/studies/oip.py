"""Original input patterns: does noise of several wavelengths help, and the articles' pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from oip.core.errors import DataError
from oip.core.files import sha256
from oip.core.progress import Progress
from oip.core.seeds import generator
from oip.network.inputs import check_images
from oip.network.layers import LayerInfo
from oip.network.network import Network
from oip.studies import oip_arms as arms
from oip.studies import oip_plots
from oip.studies.data import Images, every_source, limited
from oip.studies.findings import Agreement, Value, agreement, finding
from oip.studies.oip_arms import EQUAL, WHITE, Measured, Sizes
from oip.studies.oip_plots import name_of
from oip.studies.report import Folder, StudySettings, slug

if TYPE_CHECKING:
    from oip.models import Dataset

NAME = "oip"
TITLE = "Original input patterns: noise of several wavelengths, and what maps react to"
SOURCE = (
    "A simple CNN for the MNIST dataset, parts V and VII, and the “Hand of MNIST” "
    "(articles on a CNN's maps, their FCPs and OIPs), 2020."
)
MINUTES = 5
TAKES = ("data", "models")
SCHEMA = 2
"""1 had no arms with smoothing."""
RECIPE = "conv-stack"
_SEVERAL = (1, 4, 16)  # numbers of starts that findings speak of
_NOTHING = 0.01  # an effect that is below it as a whole interval is none


def run(folder: Folder) -> None:
    """Train networks, measure every arm, draw the articles' pictures, and compare.

    Where the settings name `models`, these replace the networks of the first source.

    Raises:
        MissingData: none of the data is available.
    """
    run_sized(folder, arms.QUICK if folder.settings.quick else arms.REQUIRED)


def run_sized(folder: Folder, sizes: Sizes, pictures: bool = True) -> None:
    """Run the study in other sizes, or without the pictures of the articles."""
    settings, progress = folder.settings, folder.progress
    results: list[Measured] = []
    for number, data in enumerate(every_source(folder)):
        own = _model_files(settings) if settings.models and not number else None
        paths = own or _trained(folder, data, settings, sizes, progress)
        networks = [_opened(path, data.test) for path in paths]
        digests = [f"{data.digest} {sha256(path)}" for path in paths]
        part = f"source-{number}"
        results.append(
            _measured(folder, part, data, networks, digests, sizes, settings.seed, progress)
        )
        if not number and pictures:
            oip_plots.draw_pictures(folder, networks[0], data.test, sizes)
        oip_plots.draw_starts_that_excite(folder, str(number), results[-1])
        oip_plots.draw_effect_of_arms(folder, str(number), results[-1])
    add_findings(folder, results)
    _notes(folder, results, sizes)


def _measured(
    folder: Folder,
    part: str,
    data: Images,
    networks: Sequence[Network],
    digests: Sequence[str],
    sizes: Sizes,
    seed: int,
    progress: Progress,
) -> Measured:
    """Measure the first, the middle and the last convolution of all networks."""
    layers = _layers(networks[0])
    names = [layer.name for layer in layers]
    images = check_images(networks[0].inputs, limited(data.test, sizes.judged).images)
    parts: dict[int, list[dict[str, np.ndarray]]] = {layer.index: [] for layer in layers}
    for number, (network, digest) in enumerate(zip(networks, digests, strict=True)):
        if [layer.name for layer in _layers(network)] != names:
            same = f"a network with {', '.join(names)}"
            raise DataError(f"'{network.name}'", same, "another")
        report = _labelled(progress, f"{data.name}, network {number + 1}")
        for layer in _layers(network):
            with_ascent = layer.index in (layers[0].index, layers[-1].index)
            name = f"{part}/network-{number}-layer-{layer.index}"
            arguments = network, layer, images, sizes, seed, with_ascent, report
            parts[layer.index].append(folder.part(name, arms.measure_layer, *arguments, of=digest))
    accuracy = [_accuracy(network, data.test) for network in networks]
    side = max(networks[0].inputs.shape[:-1])
    return Measured(data.name, layers, parts, accuracy, side, sizes, seed)


def _labelled(progress: Progress, prefix: str) -> Progress:
    return lambda label, done, total: progress(f"{prefix}: {label}", done, total)


def _trained(
    folder: Folder, data: Images, settings: StudySettings, sizes: Sizes, progress: Progress
) -> list[Path]:
    """Networks of one recipe, one a seed; those that are there are not trained again."""
    from oip import models
    from oip.models.datasets import chosen

    train = data.train
    count = min(sizes.images, len(train))
    drawn = generator(settings.seed, "study images").permutation(len(train))[:count]
    part = chosen(train, np.sort(drawn), train.source)
    paths = []
    for number in range(sizes.nets):
        seed = settings.seed + number
        name = f"oip-{slug(data.name)}-{data.digest[:8]}-{RECIPE}-{count}-{sizes.epochs}"
        path = folder.common(f"{name}-seed-{seed}.keras")
        if not path.with_suffix(".oip.json").exists():
            training = models.recipe(RECIPE).settings(count, epochs=sizes.epochs, seed=seed)
            report = _labelled(progress, f"{data.name}, network {number + 1}")
            models.train(RECIPE, part, data.test, training, path, report)
        paths.append(path)
    return paths


def _model_files(settings: StudySettings) -> list[Path]:
    pattern = Path(str(settings.models))
    anchor = Path(pattern.anchor) if pattern.is_absolute() else Path()
    paths = sorted(anchor.glob(str(pattern.relative_to(anchor))))
    if not paths:
        raise DataError(f"models '{pattern.name}'", "files of trained networks", "none")
    return paths


def _opened(path: Path, test: Dataset) -> Network:
    network = Network(path).fitted_to(test.images)
    if not network.inputs.is_known:
        network.inputs = network.inputs.measured(test.images, test.low, test.high, test.source)
    return network


def _layers(network: Network) -> tuple[LayerInfo, ...]:
    """Return the first, the middle and the last convolutional layer."""
    layers = network.convolutional
    return tuple(layers[index] for index in sorted({0, len(layers) // 2, len(layers) - 1}))


def _accuracy(network: Network, test: Dataset) -> float:
    """Share of the test images whose class is predicted; NaN for what is no classifier of them."""
    if test.labels is None:
        return float("nan")
    predicted: np.ndarray = network.model.predict(test.images, batch_size=512, verbose=0)  # type: ignore[arg-type]
    if predicted.ndim != 2 or predicted.shape[1] != len(test.classes):
        return float("nan")
    return float((predicted.argmax(1) == test.labels).mean())


def _notes(folder: Folder, results: Sequence[Measured], sizes: Sizes) -> None:
    for result in results:
        counts = "; ".join(
            f"{layer.name}: "
            + ", ".join(str(int(part["excitable"].sum())) for part in result.parts[layer.index])
            + f" of {layer.maps}"
            for layer in result.layers
        )
        folder.note(
            folder.text(
                "networks",
                source=result.source,
                count=len(result.accuracy),
                rates=", ".join(f"{100 * rate:.1f} %" for rate in result.accuracy),
                judged=sizes.judged,
                counts=counts,
            )
        )
    folder.note(folder.text("noise", **vars(sizes)))
    folder.note(folder.text("intervals"))


Effects = tuple[dict[str, list[Value]], Value]
"""Layer -> measured values of one source; and the effect that decides."""


def inactive_for_noise(result: Measured) -> Effects:
    shares = {
        layer.name: result.interval([1 - share for share in result.shares(layer, WHITE, 1)])
        for layer in result.ends
    }
    values = {name: [share.percent("maps", ".1f")] for name, share in shares.items()}
    return values, shares[result.layers[-1].name]


def octaves_beside_white(result: Measured) -> Effects:
    values = {}
    for layer in result.ends:
        gains = {kind: result.gain(layer, kind, 1) for kind in (EQUAL, arms.RED)}
        values[layer.name] = [
            *(gain.percent(name_of(kind, result.side), ".1f") for kind, gain in gains.items()),
            *_paired_test(result, layer),
        ]
    return values, gains[EQUAL]


def _paired_test(result: Measured, layer: LayerInfo) -> list[Value]:
    """McNemar of equal octaves beside white noise, one start a map of the first seed."""
    parts, kinds = result.parts[layer.index], arms.noises(result.side)
    white, *other_noises = (
        np.concatenate([part["first"][row, 0][part["excitable"]] for part in parts])
        for row in range(len(kinds))
    )
    tests = [arms.mcnemar(other, white) for other in other_noises]
    row = kinds.index(EQUAL) - 1
    only_octaves, only_white, _ = tests[row]
    return [
        Value("maps that only equal octaves excite", only_octaves, form=".0f"),
        Value(f"that only white noise does, of {len(white)}", only_white, form=".0f"),
        Value("McNemar p (Holm)", arms.holm([p for _, _, p in tests])[row], form=".2g"),
    ]


def several_starts(result: Measured) -> Effects:
    layer = result.layers[-1]
    counts = sorted({*_SEVERAL, result.sizes.screened} - {1})
    gains = [result.gain(layer, EQUAL, count) for count in counts]
    values = [
        gain.percent(f"{count} starts", ".1f") for count, gain in zip(counts, gains, strict=True)
    ]
    return {layer.name: values}, gains[-1]


def single_octaves(result: Measured) -> Effects:
    kinds = [
        kind for kind in arms.noises(result.side) if kind == WHITE or kind.startswith("single:")
    ]
    values = {
        layer.name: [
            result.interval(result.shares(layer, kind, 1)).percent(
                name_of(kind, result.side), ".1f"
            )
            for kind in kinds
        ]
        for layer in result.ends
    }
    gains = [result.gain(result.layers[-1], kind, 1) for kind in kinds[1:]]
    return values, max(gains, key=lambda gain: gain.value)


def warm_up(result: Measured) -> Effects:
    layer = result.layers[-1]
    lives = {
        (noise, objective): result.lives(layer, noise, objective)
        for noise in (WHITE, EQUAL)
        for objective in (arms.POST, arms.WARM)
    }
    gap = result.interval(arms.differences(lives[EQUAL, arms.POST], lives[WHITE, arms.WARM]))
    values = [
        result.interval(shares).percent(f"{name_of(noise, result.side)} {objective}", ".1f")
        for (noise, objective), shares in lives.items()
    ]
    name = "octaves without warm-up less white with it, percentage points"
    return {layer.name: [*values, gap.percent(name, ".1f")]}, gap


def growth(result: Measured) -> Effects:
    values = {}
    pair = (EQUAL, arms.POST), (WHITE, arms.POST)
    for layer in result.ends:
        ratios = {
            name: _ratio(result, layer, measure, *pair)
            for measure, name in (("scores", "score"), ("steps", "steps"), ("power", "power"))
        }
        values[layer.name] = [ratio.percent(name, ".0f") for name, ratio in ratios.items()]
    score = ratios["score"]
    return values, Value("", score.value - 1, score.low - 1, score.high - 1)


def smoothing(result: Measured) -> Effects:
    values = {}
    for layer in result.ends:
        values[layer.name] = []
        for noise in (WHITE, EQUAL):
            power, score = (
                _ratio(result, layer, measure, (noise, arms.SMOOTH), (noise, arms.POST))
                for measure in ("power", "scores")
            )
            name = name_of(noise, result.side)
            values[layer.name] += [
                power.percent(f"{name}, power", ".0f"),
                score.percent(f"{name}, score", ".0f"),
            ]
    # The last: equal octaves in the last layer.
    return values, Value("", 1 - power.value, 1 - power.high, 1 - power.low)


def _ratio(
    result: Measured, layer: LayerInfo, measure: str, arm: tuple[str, str], other: tuple[str, str]
) -> Value:
    """Median over maps of a measure in one arm over that in another."""
    pairs = zip(
        result.per_map(layer, *arm, measure), result.per_map(layer, *other, measure), strict=True
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        groups = [np.where(base > 0, value / base, np.nan) for value, base in pairs]
    return result.interval(groups, np.median)


def stable(result: Measured) -> Effects:
    layer = result.layers[-1]
    own, null = (
        result.per_map(layer, EQUAL, arms.WARM, measure) for measure in ("stability", "null")
    )
    gap = result.interval(arms.differences(own, null), np.median)
    alike = result.interval(own, np.median)
    values = [alike.named(_OWN), gap.named("more than the likeness to other maps by")]
    return {layer.name: values}, gap


_OWN = "starts of one map"
_MEASURES: tuple[Callable[[Measured], Effects], ...] = (
    inactive_for_noise,
    octaves_beside_white,
    several_starts,
    single_octaves,
    warm_up,
    growth,
    smoothing,
    stable,
)


def add_findings(folder: Folder, results: Sequence[Measured]) -> None:
    """Add the rows of the report's table; the intervals decide what agrees, see `judged`."""
    sizes = results[0].sizes
    nets = " and ".join(f"{len(result.accuracy)} networks on {result.source}" for result in results)
    n = f"{nets}, {sizes.seeds} noise seeds"
    for measure in _MEASURES:
        effects = [measure(result) for result in results]
        values = {
            f"{result.source}, {layer}": several
            for result, (by_layer, _) in zip(results, effects, strict=True)
            for layer, several in by_layer.items()
        }
        decisive = [effect for _, effect in effects]
        if measure is stable:
            alike = [
                value for several in values.values() for value in several if value.name == _OWN
            ]
            verdict = steady(alike, decisive)
        else:
            verdict = judged(decisive, _NOTHING if measure is inactive_for_noise else 0.0)
        folder.add(finding(NAME, measure.__name__, verdict, values, alike=arms.ALIKE, networks=n))


def judged(effects: Sequence[Value], least: float = 0.0) -> Agreement:
    """Return the verdict over the effects of all sources, NaN where there was nothing to measure.

    Yes where all of them are above `least`, no where all are below a hundredth, which is no effect;
    an interval that holds both does not decide, and partly where none does.
    """
    if not any(np.isfinite(effect.low) for effect in effects):
        return "not tested"
    verdict = agreement(effect.above(least, _NOTHING) for effect in effects)
    return "partly" if verdict == "not tested" else verdict


def steady(alike: Sequence[Value], gaps: Sequence[Value]) -> Agreement:
    """Return whether starts of a map end in one pattern.

    Of each source, `alike` is the median similarity of a map's starts, and `gaps` by how much it is
    above the similarity to other maps.
    """
    verdict = judged(gaps)
    if verdict == "yes" and not all(value.value >= arms.ALIKE for value in alike):
        return "partly"
    return verdict
