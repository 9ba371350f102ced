"""Original input patterns: does noise of several wavelengths help, and the articles' pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from oip.core.errors import DataError
from oip.core.files import sha256
from oip.core.seeds import subset
from oip.mi.matching import FEWEST, THRESHOLD
from oip.network.inputs import check_images
from oip.network.layers import LayerInfo
from oip.network.network import Network
from oip.studies import oip_arms as arms
from oip.studies import oip_plots
from oip.studies.data import (
    Images,
    data_key,
    every_source,
    is_photographs,
    limited,
    photographs,
    study_data,
)
from oip.studies.findings import (
    NO_EFFECT,
    Agreement,
    Finding,
    Value,
    agreement,
    finding,
    judged,
    place_among_texts,
)
from oip.studies.oip_arms import (
    CLUSTERS,
    CNN,
    EQUAL,
    MLP,
    PAIR,
    POST,
    PRETRAINED,
    PRETRAINED_LAYERS,
    RED,
    SMOOTH,
    WARM,
    WHITE,
    Measured,
    Sizes,
)
from oip.studies.oip_gratings import add_gratings
from oip.studies.oip_plots import name_of
from oip.studies.report import (
    Arrays,
    Folder,
    MissingData,
    StudySettings,
    base_name,
    model_files,
    record_of,
    slug,
)
from oip.studies.trained import accuracy, network_predictor

if TYPE_CHECKING:
    from oip.models import Dataset

NAME = "oip"
TITLE = "Original input patterns: noise of several wavelengths, and what maps react to"
SOURCE = (
    "A simple CNN for the MNIST dataset, parts V and VII, and the “Hand of MNIST” "
    "(articles on a CNN's maps, their FCPs and OIPs), 2020."
)
MINUTES = 6
TAKES = ("data", "models")
SCHEMA = 2
"""1 had no arms with smoothing."""
RECIPE = "conv-stack"
_SEVERAL = (1, 4, 16)  # numbers of starts that findings speak of
_SAME = 0.8  # share of units with a partner from which features are more or less the same
_SUPERPOSED = 0.5  # share of an OIP from which it is a sum of its nodes' OIPs
_BETTER = dict(classifiers=(CNN, CLUSTERS), convolutions=(CNN, MLP), clusters_first=(CLUSTERS, MLP))
"""Statement -> a classifier, and the one that it is better than."""


def run(folder: Folder) -> None:
    """Train networks, measure every arm, draw the articles' pictures, and compare.

    Where the settings name `models`, these replace the networks of the first source.

    Raises:
        MissingData: none of the data is available.
    """
    sizes = arms.QUICK if folder.settings.quick else arms.REQUIRED
    run_sized(folder, sizes)
    add_pretrained(folder, sizes.photographs)
    folder.findings.sort(key=lambda row: place_among_texts(NAME, row))


def run_sized(folder: Folder, sizes: Sizes, pictures: bool = True) -> None:
    """Run the study in other sizes, or without the pictures of the articles."""
    results: list[Measured] = []
    matches: list[tuple[Measured, Arrays]] = []
    seed = folder.settings.seed
    sources = [source for source in folder.settings.data if not is_photographs(source)]
    for index, data in enumerate(every_source(folder, sources)):
        model_files = [] if index else _model_files(folder.settings)
        paths = model_files or _trained(folder, data, sizes)
        networks = {path: _opened(path, data.test) for path in paths}
        results.append(_measured(folder, index, data, networks, sizes))
        if len(networks) > 1 and len(data.test) >= FEWEST:
            digest = " ".join([data.digest, *map(sha256, networks)])
            match = partial(arms.match_networks, [*networks.values()], data.test, sizes, seed)
            matches.append((results[-1], folder.part(f"source-{index}/matches", match, digest)))
        if not index and pictures:
            oip_plots.draw_pictures(folder, networks[paths[0]], data.test, sizes)
        oip_plots.draw_starts_that_excite(folder, str(index), results[-1])
        oip_plots.draw_effect_of_arms(folder, str(index), results[-1])
        add_classifiers(folder, index, data, networks, sizes)
        add_patterns(folder, index, data, networks, sizes)
        add_nodes(folder, index, data, networks, sizes)
        add_gratings(folder, index, data, networks)
    add_findings(folder, results)
    if matches:
        add_matches(folder, matches)
    _add_notes(folder, results, sizes)


def _measured(
    folder: Folder, source: int, data: Images, networks: dict[Path, Network], sizes: Sizes
) -> Measured:
    """Measure the first, the middle and the last convolution of all networks."""
    seed, first_network = folder.settings.seed, next(iter(networks.values()))
    layers = _layers(first_network)
    names = [layer.name for layer in layers]
    images = check_images(first_network.inputs, limited(data.test, sizes.judged).images)
    starts: dict[int, list[arms.LayerStarts]] = {layer.index: [] for layer in layers}
    for network in networks.values():
        if [layer.name for layer in _layers(network)] != names:
            raise DataError(f"'{network.name}'", f"a network with {', '.join(names)}", "another")
    work = {
        (index, layer.index): (path, layer)
        for index, (path, network) in enumerate(networks.items())
        for layer in _layers(network)
    }

    def name(key: tuple[int, int]) -> str:
        return "source-{}/network-{}-layer-{}".format(source, *key)

    def measured(key: tuple[int, int]) -> Arrays:
        path, layer = work[key]
        with_ascent = layer.index in (layers[0].index, layers[-1].index)
        report = folder.labelled(f"{data.name}, network {key[0] + 1}")
        compute = partial(
            arms.measure_layer, networks[path], layer, images, sizes, seed, with_ascent, report
        )
        return folder.part(name(key), compute, f"{data.digest} {sha256(path)}")

    rows = folder.results(f"{data.name}: layers", work, name, measured)
    for (_, layer_index), arrays in rows.items():
        starts[layer_index].append(record_of(arms.LayerStarts, arrays))
    rates = [_accuracy(network, data.test) for network in networks.values()]
    side = max(first_network.inputs.shape[:-1])
    return Measured(data.name, layers, starts, rates, side, sizes, seed)


def _trained(folder: Folder, data: Images, sizes: Sizes) -> list[Path]:
    """Networks of one recipe, one for each seed; trained ones are loaded."""
    from oip import models

    first_seed = folder.settings.seed
    learned = _training_images(data, sizes, first_seed)
    count = len(learned)
    stem = f"oip-{slug(data.name)}-{data.digest[:8]}-{RECIPE}-{count}-{sizes.epochs}-seed-"

    def trained(seed: int) -> Path:
        path = folder.common(f"{stem}{seed}.keras")
        if not path.with_suffix(".oip.json").exists():
            training = models.recipe(RECIPE).settings(count, epochs=sizes.epochs, seed=seed)
            report = folder.labelled(f"{data.name}, network {seed - first_seed + 1}")
            models.train(RECIPE, learned, data.test, training, path, report)
        return path

    every_seed = range(first_seed, first_seed + sizes.nets)
    label = f"{data.name}: networks"
    return [*folder.results(label, every_seed, lambda seed: f"{stem}{seed}", trained).values()]


def _training_images(data: Images, sizes: Sizes, seed: int) -> Dataset:
    """Return the training images that networks learn from."""
    from oip.models.datasets import take_images

    rows = subset(len(data.train), min(sizes.images, len(data.train)), seed, "study images")
    return take_images(data.train, rows, data.train.source)


def _model_files(settings: StudySettings) -> list[Path]:
    """Return the user's files, none where the settings name no `models`."""
    paths = model_files(settings.models) if settings.models else []
    if settings.models and not paths:
        needs = "files of trained networks"
        raise DataError(f"models '{base_name(settings.models)}'", needs, "none")
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
    classifies = tuple(network.model.outputs[0].shape[1:]) == (len(test.classes),)
    return accuracy(network_predictor(network), test) if classifies else np.nan


def _add_notes(folder: Folder, results: Sequence[Measured], sizes: Sizes) -> None:
    for result in results:
        counts = []
        for layer in result.layers:
            excitable = (str(network.excitable.sum()) for network in result.starts[layer.index])
            counts.append(f"{layer.name}: {', '.join(excitable)} of {layer.maps}")
        rates = ", ".join(f"{100 * rate:.1f} %" for rate in result.accuracy)
        numbers = {"count": len(result.accuracy), "rates": rates, "counts": "; ".join(counts)}
        texts = {"source": result.source, "judged": sizes.judged, **numbers}
        folder.note(folder.text("networks", **texts))
    folder.note(folder.text("noise", **vars(sizes)))
    folder.note(folder.text("intervals"))


Effects = tuple[dict[str, list[Value]], Value]
"""Layer -> measured values of one source; and the effect that decides."""


def percents(shares: Mapping[str, Value], form: str = ".1f") -> list[Value]:
    """Return shares in % by their names."""
    return [share.percent(name, form) for name, share in shares.items()]


def inactive_for_noise(result: Measured) -> Effects:
    """Measure how many maps white noise leaves without a gradient."""
    shares = {
        layer.name: result.interval([1 - share for share in result.shares(layer, WHITE, 1)])
        for layer in result.ends
    }
    values = {name: percents({"maps": share}) for name, share in shares.items()}
    return values, shares[result.layers[-1].name]


def octaves_beside_white(result: Measured) -> Effects:
    """Measure whether several wavelengths excite more maps than independent pixels."""
    values = {}
    for layer in result.ends:
        gains = {name_of(kind, result.side): result.gain(layer, kind, 1) for kind in (EQUAL, RED)}
        values[layer.name] = [*percents(gains), *_paired_test(result, layer)]
    return values, gains[name_of(EQUAL, result.side)]


def _paired_test(result: Measured, layer: LayerInfo) -> list[Value]:
    """McNemar of equal octaves beside white noise, one start a map of the first seed."""
    networks, kinds = result.starts[layer.index], arms.noises(result.side)
    white, *other_noises = (
        np.concatenate([network.first[row, 0][network.excitable] for network in networks])
        for row in range(len(kinds))
    )
    tests = [arms.mcnemar(noise, white) for noise in other_noises]
    row = kinds.index(EQUAL) - 1
    only_octaves, only_white, _ = tests[row]
    return [
        Value("maps that only equal octaves excite", only_octaves, form=".0f"),
        Value(f"that only white noise does, of {len(white)}", only_white, form=".0f"),
        Value("McNemar p (Holm)", arms.holm([p for _, _, p in tests])[row], form=".2g"),
    ]


def several_starts(result: Measured) -> Effects:
    """Measure whether they still do with the best of several starts."""
    layer = result.layers[-1]
    counts = sorted({*_SEVERAL, result.sizes.screened} - {1})
    gains = {f"{count} starts": result.gain(layer, EQUAL, count) for count in counts}
    return {layer.name: percents(gains)}, gains[f"{counts[-1]} starts"]


def single_octaves(result: Measured) -> Effects:
    """Measure which single wavelength excites the most maps."""
    single = [kind for kind in arms.noises(result.side) if kind.startswith("single:")]
    values = {}
    for layer in result.ends:
        shares = {
            name_of(kind, result.side): result.interval(result.shares(layer, kind, 1))
            for kind in (WHITE, *single)
        }
        values[layer.name] = percents(shares)
    gains = [result.gain(result.layers[-1], kind, 1) for kind in single]
    return values, max(gains, key=lambda gain: gain.value)


def warm_up(result: Measured) -> Effects:
    """Measure whether the noise or the objective leaves maps without a pattern."""
    layer = result.layers[-1]
    lives = {
        (noise, objective): result.lives(layer, noise, objective)
        for noise in (WHITE, EQUAL)
        for objective in (POST, WARM)
    }
    shares = {
        f"{name_of(noise, result.side)} {objective}": result.interval(values)
        for (noise, objective), values in lives.items()
    }
    gap = result.interval(arms.differences(lives[EQUAL, POST], lives[WHITE, POST]))
    shares["octaves less white, both post, percentage points"] = gap
    return {layer.name: percents(shares)}, gap


def growth(result: Measured) -> Effects:
    """Measure whether long wavelengths in the start lead to higher scores."""
    values = {}
    for layer in result.ends:
        score, steps, power = (
            _ratio(result, layer, measure, (EQUAL, POST), (WHITE, POST))
            for measure in ("scores", "steps", "power")
        )
        values[layer.name] = percents({"score": score, "steps": steps, "power": power}, ".0f")
    return values, Value("", score.value - 1, score.low - 1, score.high - 1)


def smoothing(result: Measured) -> Effects:
    """Measure whether smoothing between steps takes small scales away."""
    values = {}
    for layer in result.ends:
        values[layer.name] = []
        for noise in (WHITE, EQUAL):
            power, score = (
                _ratio(result, layer, measure, (noise, SMOOTH), (noise, POST))
                for measure in ("power", "scores")
            )
            name = name_of(noise, result.side)
            ratios = {f"{name}, power": power, f"{name}, score": score}
            values[layer.name] += percents(ratios, ".0f")
    # The last: equal octaves in the last layer.
    return values, Value("", 1 - power.value, 1 - power.high, 1 - power.low)


def _ratio(
    result: Measured, layer: LayerInfo, measure: str, arm: tuple[str, str], basis: tuple[str, str]
) -> Value:
    """Median over maps of a measure in one arm over that in another."""
    values, bases = (result.per_map(layer, *setting, measure) for setting in (arm, basis))
    with np.errstate(invalid="ignore", divide="ignore"):
        groups = [
            np.where(base > 0, value / base, np.nan)
            for value, base in zip(values, bases, strict=True)
        ]
    return result.interval(groups, np.median)


def stable(result: Measured) -> Effects:
    """Measure whether a map's pattern is the same from different noise."""
    layer = result.layers[-1]
    stability, null = (result.per_map(layer, EQUAL, POST, name) for name in ("stability", "null"))
    gap = result.interval(arms.differences(stability, null), np.median)
    own_similarity = result.interval(stability, np.median).named("starts of one map")
    return {layer.name: [own_similarity, gap.named("more than the likeness to other maps by")]}, gap


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
    nets = " and ".join(f"{len(result.accuracy)} networks on {result.source}" for result in results)
    constants = {"alike": arms.ALIKE, "networks": f"{nets}, {results[0].sizes.seeds} noise seeds"}
    for measure in _MEASURES:
        values, decisive = {}, []
        for result in results:
            by_layer, effect = measure(result)
            values |= {f"{result.source}, {layer}": value for layer, value in by_layer.items()}
            decisive.append(effect)
        verdict = judged(decisive, NO_EFFECT if measure is inactive_for_noise else 0.0)
        if measure is stable:
            verdict = steady([own_similarity for own_similarity, _ in values.values()], decisive)
        folder.add(finding(NAME, measure.__name__, verdict, values, **constants))


def add_matches(folder: Folder, matches: Sequence[tuple[Measured, Arrays]]) -> None:
    """Add the row about the features of differently trained networks."""
    values, shares, gains = {}, [], []
    for result, arrays in matches:
        for layer in [name for name in arrays if not name.endswith(" untrained")]:
            correlations, control = (
                [row.astype(float) for row in arrays[name]]
                for name in (layer, f"{layer} untrained")
            )
            share, chance = result.interval(correlations), result.interval(control)
            values[f"{result.source}, {layer}"] = percents(
                {"of two trainings": share, "of an untrained network": chance}
            )
            shares.append(share)
            gains.append(share.low - chance.high)
    verdict = _are_features_same(shares, gains)
    count = len(matches[0][0].accuracy)
    constants = {"networks": f"{count} networks per data set", "threshold": THRESHOLD}
    folder.add(finding(NAME, "matched", verdict, values, same=_SAME, **constants))


def add_pretrained(folder: Folder, count: int) -> None:
    """Add the row about the features of two pretrained networks, by up to `count` photographs."""
    settings = folder.settings
    try:
        networks = arms.pretrained_networks()
        source = photographs(settings)
        sizes = [(shape[0], shape[1]) for shape in (network.inputs.shape for network in networks)]
        images = [study_data(source, settings, size=size, bands=3) for size in sizes]
        if len(images[0]) < FEWEST:
            needs = f"{FEWEST} photographs"
            raise MissingData(needs, f"'{source}': {len(images[0])}", "Name a larger folder.")
    except MissingData as error:
        folder.missing(f"{PRETRAINED[0]} and {PRETRAINED[1]}: the features are the same.", error)
        return
    images = [limited(dataset, count) for dataset in images]
    digest = " ".join([*map(data_key, images), *(network.digest for network in networks)])
    match = partial(arms.match_pretrained, networks, images, settings.seed)
    arrays = folder.part("photographs/matches", match, digest)
    folder.add(pretrained_finding(arrays, len(images[0])))


def pretrained_finding(arrays: Arrays, count: int) -> Finding:
    """Return the finding on two pretrained networks, matched by a number of photographs."""
    values, shares = {}, []
    rows = zip(PRETRAINED_LAYERS, arrays["share"], arrays["null"], arrays["cka"], strict=True)
    for layer, share, null, (cka, low, high, shuffled) in rows:
        shares.append(Value("", float(share[0]), float(share[1]), float(share[2])))
        values[layer] = [
            *percents({"with a partner": shares[-1]}),
            Value("correlation with shuffled images", float(null)),
            Value("linear CKA", float(cka), float(low), float(high)),
            Value("shuffled", float(shuffled)),
        ]
    verdict = _are_features_same(shares, [share.low for share in shares])
    constants = {"n": f"{count:,} photographs", "threshold": THRESHOLD, "same": _SAME}
    subject = f"{PRETRAINED[0]} and {PRETRAINED[1]}"
    return finding(NAME, "pretrained", verdict, values, subject, **constants)


def _are_features_same(shares: Sequence[Value], gains: Sequence[float]) -> Agreement:
    """Return whether features are the same: shares of units with a partner, and above chance."""
    if all(share.value >= _SAME for share in shares):
        return "yes"
    return "partly" if max(gains) > 0 else "no"


def steady(similarities: Sequence[Value], gaps: Sequence[Value]) -> Agreement:
    """Return whether starts of a map end in one pattern.

    Of each source, `similarities` are the median ones of a map's starts, `gaps` by how much it is
    above the similarity to other maps.
    """
    verdict = judged(gaps)
    if verdict == "yes" and not all(value.value >= arms.ALIKE for value in similarities):
        return "partly"
    return verdict


def add_classifiers(
    folder: Folder, source: int, data: Images, networks: Mapping[Path, Network], sizes: Sizes
) -> None:
    """Compare the networks with perceptrons on pixels and on distances from cluster centers."""
    digest = " ".join([data.digest, *map(sha256, networks)])
    name, seed = f"source-{source}/classifiers", folder.settings.seed
    learned = _training_images(data, sizes, seed)
    classifiers = [
        classifier
        for classifier in networks.values()
        if np.isfinite(_accuracy(classifier, data.test))
    ]
    seeds = range(seed, seed + max(1, len(networks)))
    classify = partial(arms.classify, classifiers, learned, data.test, sizes.epochs, seeds)
    arrays = folder.part(name, classify, digest)
    oip_plots.draw_confusions(folder, str(source), data, arrays)
    folder.add(*classifier_findings(data, arrays))


def classifier_findings(data: Images, arrays: Arrays) -> list[Finding]:
    """Return the findings on a CNN beside a perceptron and a cluster analysis."""
    labels, classes = data.test.required_labels(), list(data.test.classes)
    right = {name: [row == labels for row in rows] for name, rows in arrays.items()}
    rates = {name: Value.mean_of(np.mean(rows, axis=0)) for name, rows in right.items()}
    constants = {"n": f"{len(labels):,} test images, {len(arrays[MLP])} trainings of each"}
    title, results = data.name, []
    for statement, (first, second) in _BETTER.items():
        values, outcome = [rate.percent(name, ".1f") for name, rate in rates.items()], None
        if first in rates:
            gap = Value.mean_of(np.mean(right[first], axis=0) - np.mean(right[second], axis=0))
            values.append(gap.percent(f"{first} less {second}, points", "+.1f"))
            outcome = gap.above()
        verdict = agreement([outcome])
        results.append(finding(NAME, statement, verdict, values, title, **constants))
    if not set(PAIR) <= set(classes):
        return results
    first, second = (classes.index(name) for name in PAIR)
    confused = {
        name: np.mean([_confusion(labels, row, first, second) for row in rows_of], axis=0)
        for name, rows_of in arrays.items()
    }
    shares = {name: Value.mean_of(values) for name, values in confused.items()}
    pairs = _pairs(labels, arrays[MLP], len(classes))
    rank = 1 + [pair for pair, _ in pairs].index((first, second))
    texts = [share.percent(f"{name}, of the 4s and 9s", ".2f") for name, share in shares.items()]
    texts.append(Value(f"place of this pair among {len(pairs)} of the MLP", rank, form=".0f"))
    outcomes: list[bool | None] = [rank <= 3]
    if CNN in shares:
        fewer = Value.mean_of(confused[MLP] - confused[CNN])
        texts.append(fewer.percent("MLP less CNN, points", "+.2f"))
        outcomes.append(fewer.above())
    results.append(finding(NAME, "four_and_nine", agreement(outcomes), texts, title, **constants))
    return results


def _confusion(labels: np.ndarray, row: np.ndarray, first: int, second: int) -> np.ndarray:
    """Return, of the images of two classes, whether each is taken for the other class."""
    of_pair = np.isin(labels, (first, second))
    return (row[of_pair] == first + second - labels[of_pair]).astype(float)


def _pairs(
    labels: np.ndarray, rows: np.ndarray, classes: int
) -> list[tuple[tuple[int, int], float]]:
    """Return the pairs of classes with the share of their images that are confused, most first."""
    shares = {
        (first, second): float(
            np.mean([_confusion(labels, row, first, second).mean() for row in rows])
        )
        for first, second in combinations(range(classes), 2)
    }
    return sorted(shares.items(), key=lambda item: -item[1])


def add_patterns(
    folder: Folder, source: int, data: Images, networks: Mapping[Path, Network], sizes: Sizes
) -> None:
    """Compare which maps are active with which points are, and what dense units know."""
    measured = []
    for index, (path, network) in enumerate(networks.items()):
        measure = partial(arms.measure_patterns, network, data.test, sizes, folder.settings.seed)
        digest = f"{data.digest} {sha256(path)}"
        measured.append(folder.part(f"source-{source}/patterns-{index}", measure, digest))
    folder.add(*pattern_findings(data, measured, sizes.judged))


def pattern_findings(data: Images, measured: Sequence[Arrays], count: int) -> list[Finding]:
    """Return the findings on active maps and points, and on the units of the dense layer."""
    layers = [name.removesuffix(" maps") for name in measured[0] if name.endswith(" maps")]
    values, shares = [], []
    for layer in layers:
        maps, points = (
            np.concatenate([arrays[f"{layer} {kind}"] for arrays in measured]).astype(float)
            for kind in ("maps", "points")
        )
        gap = Value.mean_of(points - maps)
        values += [
            Value.mean_of(points).percent(f"{layer}, active nodes", ".1f"),
            Value.mean_of(maps).percent("active maps", ".1f"),
            gap.percent("nodes less maps, points", "+.1f"),
        ]
        shares.append(gap)
    title, images = data.name, min(len(data.test), count, arms.PATTERN_IMAGES)
    constants = {"n": f"{len(measured)} networks, {images:,} test images"}
    outcomes = [shares[0].above(), shares[0].above(shares[-1])] if len(shares) > 1 else [None]
    results = [finding(NAME, "maps_not_activated", agreement(outcomes), values, title, **constants)]
    if "units" in measured[0]:
        p_values = np.concatenate([arrays["units p"] for arrays in measured])
        information = np.concatenate([arrays["units"] for arrays in measured])
        significant = Value.mean_of((np.nan_to_num(p_values, nan=1.0) <= 0.05).astype(float))
        units = [
            significant.percent("units that tell the two classes apart", ".0f"),
            Value("the best unit, bits of 1", float(np.nanmax(information))),
            Value("median unit, bits", float(np.nanmedian(information))),
        ]
        verdict = agreement([significant.low > 0.05])
        first, second = (data.test.classes[code] for code in arms.pair_of(data.test.classes))
        constants |= {"first": first, "second": second}
        results.append(finding(NAME, "dense_units", verdict, units, title, **constants))
    return results


def add_nodes(
    folder: Folder, source: int, data: Images, networks: Mapping[Path, Network], sizes: Sizes
) -> None:
    """Measure how much of an OIP is a sum of its nodes' OIPs, and what common points decide."""
    sums, seed = [], folder.settings.seed
    for index, (path, network) in enumerate(networks.items()):
        measure = partial(arms.measure_nodes, network, data.test, sizes, seed, folder.progress)
        digest = f"{data.digest} {sha256(path)}"
        arrays = folder.part(f"source-{source}/nodes-{index}", measure, digest)
        sums.append(record_of(arms.NodeSums, arrays))
    folder.add(*node_findings(data.name, sums, seed))


def node_findings(source: str, networks: Sequence[arms.NodeSums], seed: int) -> list[Finding]:
    """Return the findings on the sum of nodes' OIPs, and on common points, of some networks."""
    share, null = [sums.share for sums in networks], [sums.null for sums in networks]
    observed, base = (arms.bootstrap(rows, np.median, seed, 1000) for rows in (share, null))
    gap = arms.bootstrap(arms.differences(share, null), np.median, seed, 1000)
    values = percents(
        {"nodes of the map": observed, "as many of other maps": base, "difference, points": gap},
        ".0f",
    )
    maps = sum(len(rows) for rows in share)
    constants = {"n": f"{maps} maps of {len(networks)} networks", "superposed": _SUPERPOSED}
    verdict = agreement([gap.above(), observed.value >= _SUPERPOSED])
    results = [finding(NAME, "superposition", verdict, values, source, **constants)]
    silenced = [sums for sums in networks if sums.together.size]
    if silenced:
        texts = []
        for number, sums in enumerate(silenced, 1):
            name = f"network {number}, all {int(sums.points)} points"
            rise, low, high = map(float, sums.together)
            remark = f"random nodes {float(sums.random):z.2f}, p {float(sums.together_p):z.2g}"
            texts += [
                Value(name, rise, low, high, "+.2f", remark),
                Value("the largest of single points", float(sums.alone.max()), form="+.3f"),
                Value("sum of single points", float(sums.alone.sum()), form="+.2f"),
            ]
        constants = {"n": f"{len(silenced)} networks", "label": str(silenced[0].label)}
        verdict = agreement([bool(sums.together_p <= 0.05) for sums in silenced])
        results.append(finding(NAME, "common_points", verdict, texts, source, **constants))
    return results
