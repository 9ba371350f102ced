"""Arms of the study of the noise's spectrum: measures of a layer and their statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from oip.ascent.gradient_ascent import GradientAscent
from oip.ascent.noise import Noise, octave_grids
from oip.ascent.screening import screen
from oip.ascent.settings import ascent_settings
from oip.ascent.similarity import image_similarity, shift_reach
from oip.ascent.targets import MapTargets
from oip.core.errors import DataError, SettingsError
from oip.core.progress import Progress, silent
from oip.core.seeds import generator, subset
from oip.mi.matching import FEWEST, match
from oip.network.forward import means_of_layers
from oip.network.layers import LayerInfo
from oip.network.network import Network
from oip.studies.data import limited
from oip.studies.findings import Value
from oip.studies.report import Arrays, MissingData
from oip.studies.trained import network_predictor, predictor

if TYPE_CHECKING:
    from oip.models import Dataset

LEVEL = 0.95
ALIKE = 0.5
"""Similarity from which images are one pattern; clusters of starts are cut there, too."""
WHITE, EQUAL, RED = "white", "equal", "tilt:1"
POST, WARM, SMOOTH = "post", "warm", "smoothed"
"""The response alone; the pre-activation first; the response alone, the image smoothed between
steps, as the articles do without saying how: by a blur of half a pixel every four steps."""
BLUR, BLUR_EVERY = 0.5, 4
PRETRAINED = "efficientnet-lite0", "efficientnet-lite1"
PRETRAINED_LAYERS = "stem", "block2a_expand", "block4a_expand", "block6a_expand", "head"
_ASCENT_BATCH = 128


@dataclass(frozen=True)
class Sizes:
    """Numbers of networks, seeds, starts, steps and images; by default the required ones."""

    nets: int = 3
    seeds: int = 5
    images: int = 20_000  # that a network learns from
    epochs: int = 4
    screened: int = 256
    starts: int = 4  # of the ascent for each map
    steps: int = 120
    maps: int = 48  # most maps of a layer whose images are grown
    matched: int = 2_000  # test images that match the units of two networks
    photographs: int = 1_000  # that match the units of two pretrained networks
    judged: int = 10_000  # test images that decide which maps are excitable
    decomposed: int = 8  # maps of the last layer whose OIPs are decomposed
    draws: int = 2000  # of bootstrap intervals; a fifth of them in figures, which show many


REQUIRED = Sizes()
QUICK = Sizes(
    seeds=2,
    images=6_000,
    epochs=3,
    steps=60,
    maps=16,
    matched=1_000,
    photographs=200,
    judged=2_000,
    decomposed=4,
)


def noises(side: int) -> tuple[str, ...]:
    """Return the kinds of noise for images of so many pixels: white, single octaves, equal, red.

    >>> noises(28)
    ('white', 'single:14', 'single:7', 'single:3', 'equal', 'tilt:1')
    """
    return (WHITE, *(f"single:{grid}" for grid in octave_grids(side)[1:]), EQUAL, RED)


def arms(side: int) -> tuple[tuple[str, str], ...]:
    """Return (noise, objective) of each arm.

    Every noise as the articles use it, the three broad ones with the pre-activation where a map is
    inactive, and white and equal noise with smoothing.
    """
    plain = tuple((noise, POST) for noise in noises(side))
    warm = ((noise, WARM) for noise in (WHITE, EQUAL, RED))
    return (*plain, *warm, *((noise, SMOOTH) for noise in (WHITE, EQUAL)))


def share_found(opened: np.ndarray, tried: int, starts: int) -> np.ndarray:
    """Return the probability that at least one of some starts excites a map.

    The starts are drawn without replacement from those that were `tried`: 1 less the hypergeometric
    probability that none of them is among the `opened` (...,), which excite the map.

    >>> share_found(np.array([0, 1, 2]), 2, 1).tolist()
    [0.0, 0.5, 1.0]
    """
    closed = tried - np.asarray(opened, float)
    chance = np.ones(closed.shape)
    for start_index in range(starts):
        chance *= np.clip(closed - start_index, 0, None) / (tried - start_index)
    return 1.0 - chance


def mcnemar(first: np.ndarray, second: np.ndarray) -> tuple[int, int, float]:
    """Compute the exact McNemar test of paired outcomes, both (n,) bool.

    Returns:
        Pairs of which only the first is true, pairs of which only the second is, two-sided p.

    References:
        McNemar, Psychometrika 12 (1947) 153; the exact form is a binomial test of the discordant.
    """
    from scipy.stats import binomtest

    only_first = int(np.sum(first & ~second))
    only_second = int(np.sum(~first & second))
    discordant = only_first + only_second
    p = float(binomtest(only_first, discordant).pvalue) if discordant else 1.0
    return only_first, only_second, p


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number, by Holm's step-down rule.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(values, kind="stable")
    factors = len(values) - np.arange(len(values))
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * np.asarray(values)[order]), 1.0)
    return [round(float(value), 12) for value in adjusted]


def bootstrap(
    groups: Sequence[np.ndarray], statistic: Callable[[np.ndarray], float], seed: int, draws: int
) -> Value:
    """Return a statistic of all rows with its percentile interval, rows drawn within their groups.

    A group is one network's (maps, ...): a row belongs to one map, whatever was repeated with it,
    so that repetitions do not pass for independent maps. The statistic is that of what is finite.
    """
    groups = [group for group in groups if len(group)]
    if not groups:
        return Value("", np.nan)
    random = generator(seed, "bootstrap")

    def of_finite(samples: Sequence[np.ndarray]) -> float:
        values = np.concatenate(samples)
        finite = values[np.isfinite(values)]
        return float(statistic(finite)) if finite.size else np.nan

    resampled = (
        [rows[random.integers(len(rows), size=len(rows))] for rows in groups] for _ in range(draws)
    )
    statistics = np.array([of_finite(samples) for samples in resampled])
    value = of_finite(groups)
    if np.isnan(statistics).all():
        return Value("", value)
    low, high = np.nanquantile(statistics, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Value("", value, float(low), float(high))


def differences(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the differences of maps, by network."""
    return [minuend - subtrahend for minuend, subtrahend in zip(first, second, strict=True)]


def high_power(images: np.ndarray, low: float = 0.25) -> np.ndarray:
    """Return the share of the power of images (..., h, w, b) above a frequency, mean left out.

    `low` is in cycles a pixel, along the diagonal of both frequencies (radius). The share (...,)
    is NaN for an image without any variation.
    """
    height, width = images.shape[-3:-1]
    spectrum = np.abs(np.fft.fft2(np.asarray(images, np.float64), axes=(-3, -2))) ** 2
    spectrum = spectrum.sum(-1)
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    spectrum[..., 0, 0] = 0.0
    total = spectrum.sum((-2, -1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, (spectrum * (radius > low)).sum((-2, -1)) / total, np.nan)


def steps_to(traces: np.ndarray, share: float = 0.95) -> np.ndarray:
    """Return the step at which the best score so far first reaches a share of the final one.

    Of scores over steps (n, t + 1), NaN after the end; NaN where no score is above zero.
    """
    best = np.fmax.accumulate(np.where(np.isfinite(traces), traces, -np.inf), axis=1)
    final = best[:, -1:]
    reached = (best >= share * final).argmax(1).astype(float)
    return np.where(final[:, 0] > 0, reached, np.nan)


_NONE = np.zeros(0)


class LayerStarts(NamedTuple):
    """Starts for the c maps of a layer; for m of them also images of a arms, s seeds, k starts.

    Without an ascent the fields after `first` are empty.
    """

    excitable: np.ndarray  # (c,) bool
    opened: np.ndarray  # (noises, s, c) int: starts of `sizes.screened` that excite the map
    first: np.ndarray  # (noises, s, c) bool: whether one start does, another one for every map
    maps: np.ndarray = _NONE  # (m,) int
    scores: np.ndarray = _NONE  # (a, s, m, k)
    steps: np.ndarray = _NONE  # (a, s, m, k)
    power: np.ndarray = _NONE  # (a, s, m, k)
    stability: np.ndarray = _NONE  # (a, s, m): median similarity of a map's live starts
    null: np.ndarray = _NONE  # (a, s, m): that of one of them to other maps' starts


class NodeSums(NamedTuple):
    """OIPs as sums of their nodes' OIPs, and a class's own common points that are silenced."""

    share: np.ndarray  # (maps,): of the OIP that copies of the central node's OIP explain
    null: np.ndarray  # (maps,): the mean of as many copies of other maps
    points: np.ndarray = _NONE  # their number; all below are empty if the class has none of its own
    together: np.ndarray = _NONE  # (3,): rise of the loss in bits without them, with its interval
    random: np.ndarray = _NONE  # the median rise without as many random nodes
    together_p: np.ndarray = _NONE
    alone: np.ndarray = _NONE  # (points,): the rise without each
    label: np.ndarray = _NONE


@dataclass(frozen=True, eq=False)
class Measured:
    """All measurements on one source of data."""

    source: str
    layers: tuple[LayerInfo, ...]
    """Those that were measured; the first is the negative control, the last the target."""
    starts: dict[int, list[LayerStarts]]
    """Index of the layer -> the starts of each network."""
    accuracy: list[float]  # of each network
    side: int  # larger side of the images, in pixels
    sizes: Sizes
    seed: int

    @property
    def ends(self) -> tuple[LayerInfo, LayerInfo]:
        """The control and the target."""
        return self.layers[0], self.layers[-1]

    def shares(self, layer: LayerInfo, noise: str, starts: int) -> list[np.ndarray]:
        """Return, of each network, (maps,): probability that some starts excite the map."""
        row, tried = noises(self.side).index(noise), self.sizes.screened
        return [
            share_found(network.opened[row][:, network.excitable], tried, starts).mean(0)
            for network in self.starts[layer.index]
        ]

    def gain(self, layer: LayerInfo, noise: str, starts: int) -> Value:
        """Return the share of maps that a noise excites less that of white noise, paired by map."""
        shares = [self.shares(layer, kind, starts) for kind in (noise, WHITE)]
        return self.interval(differences(*shares))

    def lives(self, layer: LayerInfo, noise: str, objective: str) -> list[np.ndarray]:
        """Return, of each network, (maps,): share of the starts that live in the end."""
        arm = arms(self.side).index((noise, objective))
        networks = self.starts[layer.index]
        return [(network.scores[arm] > 0).mean(axis=(0, 2)) for network in networks]

    def per_map(
        self, layer: LayerInfo, noise: str, objective: str, measure: str
    ) -> list[np.ndarray]:
        """Return, of each network, (maps,): mean of a measure over seeds and live starts."""
        arm, means = arms(self.side).index((noise, objective)), []
        for network in self.starts[layer.index]:
            values = getattr(network, measure)[arm].astype(float)
            if measure == "scores":
                values = np.where(values > 0, values, np.nan)
            axes = (0, 2) if values.ndim == 3 else (0,)
            finite = np.isfinite(values)
            total, count = np.where(finite, values, 0.0).sum(axes), finite.sum(axes)
            means.append(np.where(count > 0, total / np.maximum(count, 1), np.nan))
        return means

    def interval(
        self,
        groups: Sequence[np.ndarray],
        statistic: Callable[[np.ndarray], float] = np.mean,
        draws: int | None = None,
    ) -> Value:
        """Return a statistic over maps with its `bootstrap` interval."""
        return bootstrap(groups, statistic, self.seed, draws or self.sizes.draws)


def measure_layer(
    network: Network,
    layer: LayerInfo,
    images: np.ndarray,
    sizes: Sizes,
    seed: int,
    with_ascent: bool,
    progress: Progress,
) -> Arrays:
    """Measure the `LayerStarts` of one network; without `with_ascent` starts are only screened."""
    kinds, map_indices = noises(max(network.inputs.shape[:-1])), np.arange(layer.maps)
    excitable = (means_of_layers(network, images, [layer])[0] > 0).any(axis=0)
    opened = np.zeros((len(kinds), sizes.seeds, layer.maps), np.int64)
    first = np.zeros(opened.shape, bool)
    for row, kind in enumerate(kinds):
        noise = Noise(network.inputs.shape, kind)
        for seed_index in range(sizes.seeds):
            starts, _ = noise.images(seed + seed_index, layer.index, np.arange(sizes.screened))
            pixels = (starts * network.inputs.std + network.inputs.mean).astype(np.float32)
            active = means_of_layers(network, pixels, [layer])[0] > 0  # (starts, maps)
            opened[row, seed_index] = active.sum(0)
            first[row, seed_index] = active[map_indices % sizes.screened, map_indices]
        progress(f"{layer.name}: screening", row + 1, len(kinds))
    arrays = {"excitable": excitable, "opened": opened, "first": first}
    if with_ascent:
        arrays |= _grow(network, layer, np.flatnonzero(excitable), sizes, seed, progress)
    return arrays


def _grow(
    network: Network,
    layer: LayerInfo,
    excitable: np.ndarray,
    sizes: Sizes,
    seed: int,
    progress: Progress,
) -> Arrays:
    """Images of every arm, grown for some of the excitable maps; see `LayerStarts`."""
    maps = subset(excitable, sizes.maps, seed, "study maps", layer.index)
    all_arms = arms(max(network.inputs.shape[:-1]))
    shape = (len(all_arms), sizes.seeds, len(maps), sizes.starts)
    arrays: dict[str, np.ndarray] = {
        **{name: np.full(shape, np.nan, np.float32) for name in ("scores", "steps", "power")},
        **{name: np.full(shape[:-1], np.nan, np.float32) for name in ("stability", "null")},
    }
    ascents = {
        kind: _ascent(network, layer, kind, sizes.steps, seed) for kind in (POST, WARM, SMOOTH)
    }
    reach = shift_reach(layer.jump, network.inputs.shape[:-1])
    for arm, (kind, objective) in enumerate(all_arms):
        noise, ascent = Noise(network.inputs.shape, kind), ascents[objective]
        rows, columns = (np.flatnonzero(ascent.visible.any(axis)) for axis in (1, 0))
        for seed_index in range(sizes.seeds):
            starts, _ = noise.images(seed + seed_index, layer.index, np.arange(sizes.starts))
            images, scores, traces = climb_every_map(ascent, starts, maps)
            # The part of the images that holds all visible pixels.
            visible = images[..., rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1, :]
            steps = steps_to(traces.reshape(-1, traces.shape[-1])).reshape(scores.shape)
            power = np.where(scores > 0, high_power(visible), np.nan)
            measured = (scores, steps, power, *_stability(images, scores > 0, reach))
            for array, values in zip(arrays.values(), measured, strict=True):
                array[arm, seed_index] = values
        progress(f"{layer.name}: arms", arm + 1, len(all_arms))
    return {"maps": maps, **arrays}


def _ascent(
    network: Network, layer: LayerInfo, objective: str, steps: int, seed: int
) -> GradientAscent:
    """Prepare the ascent of an arm; but for `SMOOTH` no blur hides the effect of the noise."""
    changes = {} if objective == WARM else {"warmup": 0, "climb_inactive": False}
    blur = BLUR if objective == SMOOTH else 0.0
    settings = ascent_settings(steps=steps, seed=seed, blur=blur, blur_every=BLUR_EVERY, **changes)
    targets = MapTargets(network, layer)
    probe = ascent_settings(screened=4, starts=1, seed=seed)
    return GradientAscent(network, targets, settings, screen(network, targets, probe).visible)


def climb_every_map(
    ascent: GradientAscent, starts: np.ndarray, maps: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Climb the same starts (k, h, w, b) for every one of m maps.

    Returns:
        Images (m, k, h, w, b), scores (m, k), traces (m, k, t + 1).
    """
    owners = np.repeat(maps, len(starts))
    start_rows = np.tile(np.arange(len(starts)), len(maps))
    batches = np.split(np.arange(len(owners)), range(_ASCENT_BATCH, len(owners), _ASCENT_BATCH))
    results = [ascent.climb(starts[start_rows[rows]], owners[rows]) for rows in batches]
    images, scores, traces = (
        np.concatenate([getattr(result, name) for result in results])
        for name in ("images", "scores", "traces")
    )
    shape = (len(maps), len(starts))
    pixels = images.reshape(*shape, *images.shape[1:])
    return pixels, scores.reshape(shape), traces.reshape(*shape, -1)


def _stability(
    images: np.ndarray, alive: np.ndarray, reach: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Median similarity of a map's live starts, and of its first one to those of other maps."""
    stability, beside = np.full(len(images), np.nan), np.full(len(images), np.nan)
    live = [starts[lives] for starts, lives in zip(images, alive, strict=True)]
    rows = [row for row, starts in enumerate(live) if len(starts)]
    firsts = np.stack([live[row][0] for row in rows]) if rows else images[:0, 0]
    mutual = image_similarity(firsts, firsts, reach) if rows else np.zeros((0, 0))
    for index, row in enumerate(rows):
        other_maps = np.delete(mutual[index], index)
        beside[row] = np.median(other_maps) if len(other_maps) else np.nan
        if len(live[row]) > 1:
            similarity = image_similarity(live[row], live[row], reach)
            stability[row] = np.median(similarity[np.triu_indices(len(similarity), 1)])
    return stability, beside


CNN, MLP, CLUSTERS = "CNN", "MLP", "clusters and MLP"
PAIR = ("4", "9")


def pair_of(classes: Sequence[str]) -> list[int]:
    """Return the positions of the digits 4 and 9, or of the first two classes of other data."""
    names = list(classes)
    return [names.index(name) for name in PAIR] if set(PAIR) <= set(names) else [0, 1]


"""Classes that perceptrons confuse."""
PATTERN_IMAGES = 2_000
"""Most test images whose active maps and nodes are read."""
_UNIT_SAMPLES = 500  # images that dense units are ranked by
_MEANS = 100  # clusters
_SILENCED = 400  # images that common points are looked for on, and silenced on


def classify(
    networks: Sequence[Network], train: Dataset, test: Dataset, epochs: int, seeds: Iterable[int]
) -> Arrays:
    """Classify test images by networks, and by perceptrons that learn from pixels and clusters.

    Returns:
        `CNN`, if there are networks, `MLP` and `clusters and MLP` (classifiers, n): classes.
    """
    from sklearn.cluster import MiniBatchKMeans

    from oip.models.datasets import dataset

    predictions: dict[str, list[np.ndarray]] = {CNN: [], MLP: [], CLUSTERS: []}
    for network in networks:
        predictions[CNN].append(network_predictor(network)(test.images).argmax(axis=1))
    labels, classes = train.required_labels(), train.classes
    for seed in seeds:
        predictions[MLP].append(_perceptron(train, test.images, epochs, seed))
        count = max(1, min(_MEANS, len(train) // 4))
        means = MiniBatchKMeans(count, random_state=seed, batch_size=2048)
        means.fit(_flat(train.images))
        distances, test_distances = (
            means.transform(_flat(images))[:, None, :, None].astype(np.float32)
            for images in (train.images, test.images)
        )
        distance_part = dataset(distances, labels, classes, "distances")
        predictions[CLUSTERS].append(_perceptron(distance_part, test_distances, epochs, seed))
    return {name: np.array(values) for name, values in predictions.items() if values}


def _flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float32)


def _perceptron(train: Dataset, images: np.ndarray, epochs: int, seed: int) -> np.ndarray:
    """Return the classes (n,) of images by a ReLU-MLP that learns from a data set."""
    import keras

    from oip import models
    from oip.models.datasets import statistics
    from oip.models.training import fit, release

    keras.utils.set_random_seed(seed)
    recipe = models.recipe("relu-mlp")
    model = recipe.build(train.images.shape[1:], len(train.classes), *statistics(train.images))
    fit(model, train, recipe.settings(len(train), epochs=epochs, seed=seed), silent)
    classes = predictor(model)(images).argmax(axis=1)
    release(model)
    return classes


def match_networks(networks: Sequence[Network], test: Dataset, sizes: Sizes, seed: int) -> Arrays:
    """Match the units of every two networks, and of each with an untrained copy of the next.

    Returns:
        For each layer, `LAYER` (pairs, maps): units with a partner; and `LAYER untrained`.
    """
    import keras

    copies = []
    for index, network in enumerate(networks):
        keras.utils.set_random_seed(seed + index)
        copies.append(keras.models.clone_model(network.model))
    pairs = list(combinations(range(len(networks)), 2))
    untrained = [(index, (index + 1) % len(copies)) for index in range(len(networks))]
    layers = [layer.name for layer in networks[0].convolutional]
    samples = max(FEWEST, min(sizes.matched, len(test)))
    has_partner: dict[str, list[np.ndarray]] = {}
    for name, indices, targets in (("", pairs, networks), (" untrained", untrained, copies)):
        for first, second in indices:
            pair = networks[first], targets[second]
            result = match(*pair, test.images, layers, samples=samples, seed=seed)
            for layer in layers:
                has_partner.setdefault(f"{layer}{name}", []).append(result[layer].has_partner)
    return {name: np.array(values, bool) for name, values in has_partner.items()}


def match_pretrained(networks: Sequence[Network], images: Sequence[Dataset], seed: int) -> Arrays:
    """Match the units of two networks by the same photographs, each in the size that it takes.

    Returns:
        A row for each of `PRETRAINED_LAYERS`: `share` (layers, 3) of the units that have a partner,
        with its interval; `null` (layers,), the correlation of one pair of twenty with shuffled
        images; `cka` (layers, 4), linear CKA, its interval and null.
    """
    pixels = images[0].images, images[1].images
    count = len(pixels[0])
    first, second = networks
    result = match(first, second, pixels, PRETRAINED_LAYERS, samples=count, seed=seed)
    tables = result.cka, result.cka_low, result.cka_high, result.cka_null
    return {
        "share": np.array([(match.share, *match.share_interval) for match in result.matches]),
        "null": np.array([match.null for match in result.matches]),
        "cka": np.stack([np.diag(table) for table in tables], axis=1),
    }


def pretrained_networks() -> list[Network]:
    """Return the two networks of photographs.

    Raises:
        MissingData: the packages of their weights are not installed.
    """
    from oip import models

    try:
        return [Network(models.pretrained(name)) for name in PRETRAINED]
    except DataError as error:
        needs = f"the weights of {PRETRAINED[0]} and {PRETRAINED[1]}"
        raise MissingData(needs, "the installed packages", str(error)) from error


def measure_patterns(network: Network, test: Dataset, sizes: Sizes, seed: int) -> Arrays:
    """Classify test images by which maps are active, and by which nodes are; rank dense units.

    Returns:
        For the last two convolutions L `L maps` and `L points`: right classes (n,) of a held-out
        ridge classifier on active maps and on active nodes. `units`: bits of each dense unit
        about two classes, `units p` their adjusted p-values.
    """
    from sklearn.linear_model import RidgeClassifier
    from sklearn.model_selection import KFold, cross_val_predict

    from oip import mi
    from oip.network.responses import responses

    some_test = limited(test, min(sizes.judged, PATTERN_IMAGES))
    folds = KFold(3, shuffle=True, random_state=0)
    labels, arrays = some_test.required_labels(), {}
    for layer in network.convolutional[-2:]:
        values = responses(network, some_test.images, layer.name, byte_budget=2 << 30).values
        active = values.reshape(*values.shape[:2], -1) > 0
        for name, columns in (
            ("maps", active.any(axis=2)),
            ("points", active.reshape(len(active), -1)),
        ):
            decoder = RidgeClassifier(alpha=10.0)
            guesses = cross_val_predict(decoder, columns.astype(np.float32), labels, cv=folds)
            arrays[f"{layer.name} {name}"] = guesses == labels
    dense = [call for call in network.calls if type(call.layer).__name__ == "Dense"]
    if len(dense) > 1:
        rows = np.flatnonzero(np.isin(test.required_labels(), pair_of(test.classes)))
        images, true_labels = test.images[rows], test.required_labels()[rows]
        ranking = mi.rank(
            network, images, true_labels, dense[-2].path, samples=_UNIT_SAMPLES, seed=seed
        )
        estimates = ranking.estimators[0]
        arrays |= {"units": estimates.mi, "units p": estimates.p_adjusted}
    return arrays


def measure_nodes(
    network: Network, test: Dataset, sizes: Sizes, seed: int, progress: Progress
) -> Arrays:
    """Measure the `NodeSums` of the last layer, with common points of a class."""
    from oip import mi
    from oip.ascent.decomposition import decompose

    layer = network.convolutional[-1]
    maps = subset(layer.maps, sizes.decomposed, seed, "study nodes")
    settings = {"starts": 1, "steps": sizes.steps, "seed": seed, "progress": progress}
    result = decompose(network, layer.name, maps, **settings)
    arrays = {"share": result.share[:, 0], "null": np.nanmean(result.null, axis=1)}
    labels, names = test.required_labels(), list(test.classes)
    label = PAIR[0] if PAIR[0] in names else names[0]
    half = np.arange(len(labels)) < len(labels) // 2
    options = {"seed": seed, "classes": names, "progress": progress}
    try:
        half_of_test = test.images[half], labels[half]
        common = mi.common_patterns(
            network, *half_of_test, layer.name, label, samples=2 * _SILENCED, **options
        )
        points = common.node_numbers("own")
        if not len(points):
            return arrays
        sample = network, test.images[~half], labels[~half], layer.name
        ablation_arguments = {"of": label, "samples": _SILENCED, **options}
        effect = mi.ablate_nodes(*sample, points, **ablation_arguments)
        order = np.argsort(-common.share[common.own], kind="stable")[: sizes.decomposed]
        alone = [
            mi.ablate_nodes(*sample, points[[row]], draws=19, **ablation_arguments) for row in order
        ]
    except (DataError, SettingsError):  # half of the images without the class, or all nodes of maps
        return arrays
    return {
        **arrays,
        "points": np.array(len(points)),
        "together": np.array([effect.loss_increase, effect.loss_low, effect.loss_high]),
        "random": np.array(np.median(effect.loss_null)),
        "together p": np.array(effect.loss_p),
        "alone": np.array([ablation.loss_increase for ablation in alone]),
        "label": np.array(label),
    }
