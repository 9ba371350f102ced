"""Original input patterns: does noise of several wavelengths help, and the articles' pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oip.core.errors import DataError, expected
from oip.core.files import sha256
from oip.core.progress import Progress
from oip.core.seeds import generator
from oip.network.inputs import check_images
from oip.network.layers import LayerInfo
from oip.network.view import Network
from oip.studies import oip_claims, oip_figures, oip_pictures
from oip.studies.frame import Folder, StudySettings, slug
from oip.studies.networks import Images, every_source
from oip.studies.oip_arms import QUICK, REQUIRED, Sizes, measured
from oip.studies.subsets import limited

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
            oip_pictures.draw(folder, network, images.test, sizes, settings.seed, progress)
        oip_figures.draw(folder, f"{place}", result, sizes, settings.seed)
        done.append(result)
    oip_claims.make(folder, done, sizes, settings.seed)
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
    from models.datasets import chosen

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
    if not network.inputs.known:
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
