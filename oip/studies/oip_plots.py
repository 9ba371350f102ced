"""Figures of the study of the noise's spectrum."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from oip.ascent.gradient_ascent import GradientAscent, snapshot_steps
from oip.ascent.noise import Noise
from oip.ascent.objectives import MapTargets
from oip.ascent.reconstruction import reconstruct
from oip.ascent.settings import ascent_settings
from oip.core import files, plots
from oip.core.errors import DataError
from oip.core.images import enhanced, shown
from oip.core.progress import Progress
from oip.network.layers import LayerInfo
from oip.network.network import Network
from oip.studies.data import limited
from oip.studies.oip_arms import (
    ALIKE,
    EQUAL,
    POST,
    RED,
    WARM,
    WHITE,
    Sizes,
    arms,
    bootstrap,
    noises,
    share_found,
)

if TYPE_CHECKING:
    from oip.ascent.results import Oips
    from oip.studies.oip import Measured
    from oip.studies.oip_arms import Sizes
    from oip.studies.report import Folder

_DRAWS = 400
MEASURES = ("scores", "steps", "power", "stability")
_UNITS = {
    "scores": "final score",
    "steps": "steps to 95 %\nof the final score",
    "power": "power above\n0.25 cycles/px",
    "stability": "similarity of\na map's starts",
}


def name_of(noise: str, side: int) -> str:
    """How a kind of noise is called in figures.

    >>> name_of("single:7", 28)
    '8 px and more'
    """
    if noise.startswith("single:"):
        return f"{2 * side / int(noise.split(':')[1]):.3g} px and more"
    return {WHITE: "white", EQUAL: "octaves, equal", RED: "octaves, red"}[noise]


def draw(folder: Folder, name: str, one: Measured, sizes: Sizes, seed: int) -> None:
    """Draws both figures of one source."""
    _found(folder, name, one, sizes, seed)
    _grown(folder, name, one, sizes, seed)


def counts_of(screened: int) -> list[int]:
    """1, 2, 4, ... up to so many starts.

    >>> counts_of(8)
    [1, 2, 4, 8]
    """
    return [2**power for power in range(int(np.log2(screened)) + 1)]


def found_shares(
    one: Measured, index: int, kind: int, screened: int, starts: int
) -> list[np.ndarray]:
    """Of each network (maps,): probability that `starts` starts excite the map, mean over seeds."""
    return [
        share_found(part["opened"][kind][:, part["excitable"]], screened, starts).mean(0)
        for part in one.found[index]
    ]


def _found(folder: Folder, name: str, one: Measured, sizes: Sizes, seed: int) -> None:
    """Share of the excitable maps that are excited, against the number of starts."""
    counts = counts_of(sizes.screened)
    kinds = noises(one.side)
    drawing, panels = plots.figure(2.5 * len(one.layers), 3.0, columns=len(one.layers), sharey=True)
    lowest = 1.0
    numbers: dict[str, np.ndarray] = {"starts": np.array(counts)}
    for axes, layer in zip(panels[0], one.layers, strict=True):
        for row, kind in enumerate(kinds):
            shares = [
                bootstrap(
                    found_shares(one, layer.index, row, sizes.screened, count), mean, seed, _DRAWS
                )
                for count in counts
            ]
            values = np.array([[each.value, each.low, each.high] for each in shares]).T
            colour = plots.PALETTE[row]
            label = name_of(kind, one.side)
            axes.plot(counts, values[0], color=colour, marker="o", ms=3, lw=1.2, label=label)
            axes.fill_between(counts, values[1], values[2], color=colour, alpha=0.15, lw=0)
            numbers[f"{layer.name}: {kind}"] = values
            lowest = min(lowest, float(np.nanmin(values)))
        axes.set_xscale("log", base=2)
        axes.set_xlabel("starts")
        axes.set_title(plots.printable(layer.name), fontsize=plots.FONT)
    panels[0, 0].set_ylim(lowest - 0.02, 1.01)
    panels[0, 0].set_ylabel("share of excitable maps")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    drawing.legend(
        handles, labels, loc="outside lower center", ncols=6, fontsize=plots.SMALL, frameon=False
    )
    folder.figure(
        f"starts-{name}",
        drawing,
        f"{one.source}: share of the maps that some test image excites and that at least one of so "
        f"many starts excites before any ascent, by the noise of the start. Mean of "
        f"{len(one.accuracy)} networks and {sizes.seeds} seeds; bands are 95 % intervals over "
        "maps. Numbers: value, lower end, upper end by number of starts.",
        numbers,
    )


def _grown(folder: Folder, name: str, one: Measured, sizes: Sizes, seed: int) -> None:
    """What the ascent makes of every arm, in the last layer and in the control."""
    chosen = arms(one.side)
    layers = (one.layers[0], one.layers[-1])
    drawing, panels = plots.figure(7.4, 4.6, rows=2, columns=len(MEASURES), sharey=True)
    labels = [f"{name_of(noise, one.side)}, {objective}" for noise, objective in chosen]
    numbers: dict[str, np.ndarray | str] = {"arms": np.array(labels)}
    places = np.arange(len(chosen))[::-1]
    for line, layer in zip(panels, layers, strict=True):
        for axes, measure in zip(line, MEASURES, strict=True):
            found = [
                bootstrap(per_map(one, layer.index, arm, measure), mean, seed, _DRAWS)
                for arm in range(len(chosen))
            ]
            values = np.array([[each.value, each.low, each.high] for each in found])
            colours = [plots.PALETTE[objective == WARM] for _, objective in chosen]
            axes.hlines(places, values[:, 1], values[:, 2], color=colours, lw=1.2)
            axes.scatter(values[:, 0], places, c=colours, s=12, zorder=3)
            axes.set_yticks(places, labels)
            axes.grid(axis="x", lw=0.3)
            axes.set_xlabel(_UNITS[measure])
            numbers[f"{layer.name}: {measure}"] = values
        line[0].set_title(plots.printable(layer.name), fontsize=plots.FONT, loc="left")
    folder.figure(
        f"arms-{name}",
        drawing,
        f"{one.source}: images grown from {sizes.starts} starts a seed in every arm, means over "
        "the maps of which at least one start lives, with 95 % intervals over maps. Above: the "
        "control, below: the last layer. Blue: the response alone is climbed (post); orange: with "
        "warm-up. Numbers: value, lower end, upper end by arm.",
        numbers,
    )


def mean(values: np.ndarray) -> float:
    """Mean of what is finite; NaN where nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def per_map(one: Measured, index: int, arm: int, measure: str) -> list[np.ndarray]:
    """Of each network (maps,): a measure of an arm, mean over seeds and live starts."""
    found = []
    for part in one.found[index]:
        values = part[measure][arm].astype(float)
        if measure == "scores":
            values = np.where(values > 0, values, np.nan)
        axes = (0, 2) if values.ndim == 3 else (0,)
        known = np.isfinite(values)
        total = np.where(known, values, 0.0).sum(axes)
        with np.errstate(invalid="ignore"):
            found.append(np.where(known.any(axes), total / np.maximum(known.sum(axes), 1), np.nan))
    return found


def arm_row(side: int, noise: str, objective: str = POST) -> int:
    """The row of an arm."""
    return arms(side).index((noise, objective))


_ROWS = 6
"""Starts of one map that are followed on their way."""
_STARTS = 12
_IMAGES = 3
"""Of one class, side by side."""
_MAPS = 48
"""Maps whose common points are drawn."""
_SAMPLES = 400


def draw_oip_pictures(
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
    from oip import mi
    from oip.network.responses import responses

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
            found.plot(color="viridis"),
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
    from oip.ascent.masks import visible_masks

    targets = MapTargets(network, layer)
    settings = ascent_settings(steps=sizes.steps, seed=seed)
    visible = visible_masks(network, targets, seed)
    images, _ = Noise(network.inputs.shape, settings.noise).images(
        seed, layer.index, np.arange(starts)
    )
    climber = GradientAscent(network, targets, settings, visible)
    owners = np.repeat(np.array(maps), starts)
    return climber.climb(np.tile(images, (len(maps), 1, 1, 1)), owners)


def _picture(network: Network, image: np.ndarray) -> np.ndarray:
    rendered = enhanced(image)
    return shown(rendered[..., ::-1] if network.inputs.bgr else rendered)


def _stability(oips: Oips, number: int) -> float:
    return float(oips.stability[oips[number].row])
