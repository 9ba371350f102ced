"""The pictures of the articles, for one network: OIPs, their growth, responses, common points."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from oip.ascent.loop import Climber, snapshot_steps
from oip.ascent.noise import Noise
from oip.ascent.readouts import MapReadout
from oip.ascent.reconstruction import reconstruct
from oip.ascent.settings import ascent_settings
from oip.core import files, plots
from oip.core.errors import DataError
from oip.core.figures import enhanced, shown
from oip.core.progress import Progress
from oip.network.layers import LayerInfo
from oip.network.view import Network
from oip.studies.oip_statistics import ALIKE
from oip.studies.subsets import limited

if TYPE_CHECKING:
    from oip.ascent.results import Oips
    from oip.studies.frame import Folder
    from oip.studies.oip_arms import Sizes

_ROWS = 6
"""Starts of one map that are followed on their way."""
_STARTS = 12
_IMAGES = 3
"""Of one class, side by side."""
_MAPS = 48
"""Maps whose common points are drawn."""
_SAMPLES = 400


def draw(
    folder: Folder, network: Network, test: Any, sizes: Sizes, seed: int, progress: Progress
) -> None:
    """All figures of one network.

    Args:
        folder: for the figures.
        network: the first of the first source.
        test: a `models.Dataset`, for responses and verdicts.
        sizes: steps of the ascent.
        seed: of the noise.
        progress: told the layer's maps.
    """
    layer = network.convolutional[-1]
    data = limited(test, sizes.judged).images
    whole = reconstruct(
        network,
        layer.name,
        steps=sizes.steps,
        seed=seed,
        data=data,
        progress=progress,
    )
    _layer(folder, whole)
    steady, loose = _chosen(whole)
    _plain_and_enhanced(folder, whole, [steady, loose])
    _evolution(folder, network, layer, steady, sizes, seed)
    _many_starts(folder, network, layer, [steady, loose], sizes, seed, progress)
    _responses(folder, network, layer, test)
    _dense(folder, network, whole, test)


def _chosen(oips: Oips) -> tuple[int, int]:
    """Of the maps that images of the data excite: the most and the least stable one."""
    usable = oips.alive & (np.nan_to_num(oips.data_active) > 0)
    rows = np.flatnonzero(usable) if usable.any() else np.arange(len(oips))
    stable = np.nan_to_num(oips.stability[rows])
    return int(oips.maps[rows[stable.argmax()]]), int(oips.maps[rows[stable.argmin()]])


def _layer(folder: Folder, oips: Oips) -> None:
    folder.figure(
        "layer",
        oips.plot(),
        f"The OIPs of all maps of {oips.layer}, best of 4 screened starts, contrast-enhanced (2nd "
        "to 98th percentile). Numbers: map, score, verdict, stability.",
        {
            "map": oips.maps,
            "score": oips.scores[:, 0],
            "verdict": np.array(oips.verdicts),
            "stability": oips.stability,
        },
    )


def _plain_and_enhanced(folder: Folder, oips: Oips, maps: list[int]) -> None:
    drawing, panels = plots.figure(4.4, 2.3 * len(maps), rows=len(maps), columns=2)
    for line, number in zip(panels, maps, strict=True):
        one = oips[number]
        for axes, enhance in zip(line, (False, True), strict=True):
            word = "enhanced" if enhance else "plain"
            plots.image(axes, shown(oips.displayed(one.image, enhance)), f"map {number}, {word}")
    folder.figure(
        "plain-and-enhanced",
        drawing,
        f"The OIPs of the most and of the least stable map of {oips.layer}: black to white over "
        "the whole range, and over the 2nd to 98th percentile.",
        {"map": np.array(maps), "stability": np.array([_stability(oips, one) for one in maps])},
    )


def _evolution(
    folder: Folder, network: Network, layer: LayerInfo, number: int, sizes: Sizes, seed: int
) -> None:
    """One row a start, from noise to pattern; also as an animation beside the figures."""
    climbed = _climbed(network, layer, [number], _ROWS, sizes, seed)
    steps = snapshot_steps(sizes.steps)
    drawing, panels = plots.figure(
        0.85 * len(steps), 0.3 + 0.9 * _ROWS, rows=_ROWS, columns=len(steps)
    )
    for row in range(_ROWS):
        for column, step in enumerate(steps):
            picture = _picture(network, climbed.snapshots[row, column])
            plots.image(panels[row, column], picture, f"step {step}" if not row else "")
    folder.figure(
        "evolution",
        drawing,
        f"From noise to pattern: map {number} of {layer.name}, a row for each of {_ROWS} starts of "
        "equal octaves (not screened), contrast-enhanced. evolution.webp shows it moving. Numbers: "
        "score of each start (rows) at each step shown.",
        {"step": np.array(steps), "score": _scores_at(climbed.traces, steps)},
    )
    frames = [
        plots.tiled(
            np.stack([_picture(network, climbed.snapshots[row, column]) for row in range(_ROWS)]),
            _ROWS,
            2,
            128,
        )
        for column in range(len(steps))
    ]
    files.write_bytes(folder.path / "figures" / "evolution.webp", _animated(frames))


def _scores_at(traces: np.ndarray, steps: list[int]) -> np.ndarray:
    """The best score so far, (n, steps)."""
    best = np.fmax.accumulate(traces, axis=1)
    return best[:, [min(step, best.shape[1] - 1) for step in steps]]


def _animated(frames: list[np.ndarray]) -> bytes:
    from PIL import Image

    pictures = [
        Image.fromarray(frame).resize(
            (4 * frame.shape[1], 4 * frame.shape[0]), Image.Resampling.NEAREST
        )
        for frame in frames
    ]
    stream = io.BytesIO()
    pictures[0].save(
        stream, "WEBP", save_all=True, append_images=pictures[1:], duration=400, loop=0
    )
    return stream.getvalue()


def _many_starts(
    folder: Folder,
    network: Network,
    layer: LayerInfo,
    maps: list[int],
    sizes: Sizes,
    seed: int,
    progress: Progress,
) -> None:
    """One map, many starts: one pattern, or several that lie over each other."""
    found = reconstruct(
        network,
        layer.name,
        maps=maps,
        starts=_STARTS,
        steps=sizes.steps,
        seed=seed,
        progress=progress,
    )
    drawing, panels = plots.figure(7.4, 1.0 * len(maps), rows=len(maps), columns=_STARTS)
    for line, number in zip(panels, maps, strict=True):
        one = found[number]
        for place, axes in enumerate(line):
            cluster = found.clusters[one.row, place]
            plots.image(axes, shown(found.displayed(one.images[place])), f"pattern {cluster + 1}")
        line[0].set_title(f"map {number}, 1", fontsize=plots.SMALL, pad=3)
    folder.figure(
        "starts-of-one-map",
        drawing,
        f"{_STARTS} starts of the most stable (above) and of the least stable map of {layer.name}, "
        "best first, numbered by the pattern that they ended in (average linkage at a similarity "
        f"of {ALIKE:g}, shifts of up to a pooled cell allowed). Numbers: pattern and score of "
        "each start.",
        {
            "map": np.array(maps),
            "stability": np.array([_stability(found, one) for one in maps]),
            "pattern": np.stack([found.clusters[found[one].row] + 1 for one in maps]),
            "score": np.stack([found.scores[found[one].row] for one in maps]),
        },
    )


def _responses(folder: Folder, network: Network, layer: LayerInfo, test: Any) -> None:
    """One image on all layers; images of one class and of another, common points framed."""
    import mi
    from oip.network.shown_responses import responses

    if test.labels is None or len(test.classes) < 2:
        return
    names = list(test.classes)
    one = names.index("4") if "4" in names else 0
    other = names.index("2") if "2" in names else len(names) - 1
    same = np.flatnonzero(test.labels == one)[:_IMAGES]
    for info in network.convolutional[:3]:
        found = responses(network, test.images[same[:1]], info.name, titles=[names[one]])
        folder.figure(
            f"responses-{info.index}",
            found.plot(colour="viridis"),
            f"Responses of all maps of {info.name} to one image of class {names[one]}; one scale.",
            {"image": same[:1], "mean response": found.values.mean((0, 2, 3))},
        )
    try:
        patterns = mi.common_patterns(
            network,
            test.images,
            test.labels,
            layer.name,
            one,
            samples=_SAMPLES,
            shuffles=200,
            classes=names,
        )
    except DataError as error:
        folder.note(f"No common points: {error}")
        return
    places = np.concatenate([same, np.flatnonzero(test.labels == other)[:1]])
    titles = [names[test.labels[place]] for place in places]
    found = responses(network, test.images[places], layer.name, titles=titles)
    marks = np.zeros((layer.maps, *layer.size), bool)
    marks[patterns.maps] = patterns.common
    share = np.zeros(marks.shape)
    share[patterns.maps] = np.nan_to_num(patterns.share)
    best = np.argsort(-share.reshape(layer.maps, -1).max(1), kind="stable")[:_MAPS]
    folder.figure(
        "common-points",
        found.plot(order=np.sort(best), marks=marks),
        f"Responses of {layer.name} to {_IMAGES} images of class {names[one]} and to one of "
        f"{names[other]}: the {len(best)} maps with nodes that respond to most images of "
        f"{names[one]}; framed: at least 80 % of them (common points, FCPs). Numbers: all common "
        "points of the layer as map and node.",
        {"images": places, "common points": np.argwhere(marks)},
    )
    dense = [call for call in network.calls if type(call.layer).__name__ == "Dense"]
    if len(dense) > 1:
        units = responses(network, test.images[places], dense[-2].path, titles=titles)
        folder.figure(
            "dense",
            units.plot(),
            f"Responses of all units of {units.layer} to the same images; one scale.",
            {"images": places, "response": units.values},
        )


def _dense(folder: Folder, network: Network, oips: Oips, test: Any) -> None:
    """What the network makes of the OIPs themselves, far outside the data."""
    model = network.model
    outputs = np.asarray(model.predict(oips.pixels[:, 0], batch_size=256, verbose=0))
    if outputs.ndim != 2 or outputs.shape[1] != len(test.classes):
        return
    drawing, panels = plots.figure(7.2, 2.4)
    drawn = panels[0, 0].imshow(
        outputs.T, aspect="auto", cmap=plots.SEQUENTIAL, interpolation="nearest", vmin=0, vmax=1
    )
    panels[0, 0].set_yticks(
        range(outputs.shape[1]), [plots.printable(name[:14]) for name in test.classes]
    )
    panels[0, 0].set_xlabel(f"map of {plots.printable(oips.layer)}")
    bar = drawing.colorbar(drawn, ax=panels[0, 0])
    bar.ax.tick_params(labelsize=plots.SMALL)
    bar.set_label("output", fontsize=plots.SMALL)
    folder.figure(
        "classes-of-oips",
        drawing,
        f"The network's class output for the OIP of every map of {oips.layer}. These images are "
        "outside the data: an output says what the network would call them, not what they are.",
        {"map": oips.maps, "output": outputs},
    )


def _climbed(
    network: Network, layer: LayerInfo, maps: list[int], starts: int, sizes: Sizes, seed: int
) -> Any:
    """Starts as they come, not screened, with all their snapshots."""
    from oip.ascent.screening import visible_pixels

    readout = MapReadout(network, layer)
    settings = ascent_settings(steps=sizes.steps, seed=seed)
    visible = visible_pixels(network, readout, seed)
    images, _ = Noise(network.inputs.shape, settings.noise).images(
        seed, layer.index, np.arange(starts)
    )
    climber = Climber(network, readout, settings, visible)
    owners = np.repeat(np.array(maps), starts)
    return climber.climb(np.tile(images, (len(maps), 1, 1, 1)), owners)


def _picture(network: Network, image: np.ndarray) -> np.ndarray:
    rendered = enhanced(image)
    return shown(rendered[..., ::-1] if network.inputs.bgr else rendered)


def _stability(oips: Oips, number: int) -> float:
    return float(oips.stability[oips[number].row])
