"""Figures of the study of original input patterns."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from oip.ascent.gradient_ascent import GradientAscent, snapshot_steps
from oip.ascent.masks import visible_masks
from oip.ascent.noise import Noise
from oip.ascent.reconstruction import reconstruct
from oip.ascent.settings import ascent_settings
from oip.ascent.targets import MapTargets
from oip.core import files, plots
from oip.core.errors import DataError
from oip.core.images import displayable, enhanced
from oip.network.layers import LayerInfo
from oip.network.network import Network
from oip.studies import oip_arms as arms
from oip.studies import panels
from oip.studies.data import Images, limited
from oip.studies.oip_arms import Measured, Sizes
from oip.studies.report import Arrays, Folder

if TYPE_CHECKING:
    from oip.ascent.results import Oips
    from oip.mi.layer_sample import At
    from oip.models import Dataset
    from oip.network.response_plots import Color

MEASURES = {
    "scores": "final score",
    "steps": "steps to 95 %\nof the final score",
    "power": "power above\n0.25 cycles/px",
    "stability": "similarity of\na map's starts",
}
_ROWS = 6  # starts of one map that are followed on their way
_STARTS = 12
_IMAGES = 3  # of one class, side by side
_MAPS = 48  # maps whose common points are drawn
_SAMPLES = 400
_AT = {"response": "responses", "block": "responses after pooling"}


def name_of(noise: str, side: int) -> str:
    """Return the name of a kind of noise in figures.

    >>> name_of("single:7", 28)
    '8 px and more'
    """
    if noise.startswith("single:"):
        return f"{2 * side / int(noise.split(':')[1]):.3g} px and more"
    return {arms.WHITE: "white", arms.EQUAL: "octaves, equal", arms.RED: "octaves, red"}[noise]


def counts_of(screened: int) -> list[int]:
    """Return 1, 2, 4, ... up to so many starts.

    >>> counts_of(8)
    [1, 2, 4, 8]
    """
    return [2**power for power in range(int(np.log2(screened)) + 1)]


def draw_starts_that_excite(folder: Folder, name: str, result: Measured) -> None:
    """Draw the share of the excitable maps that are excited, against the number of starts."""
    counts, columns = counts_of(result.sizes.screened), len(result.layers)
    drawing, axes = plots.figure(2.5 * columns, 3.0, columns=columns, sharey=True)
    lowest = 1.0
    numbers: dict[str, np.ndarray] = {"starts": np.array(counts)}
    for panel, layer in zip(axes[0], result.layers, strict=True):
        for index, noise in enumerate(arms.noises(result.side)):
            values = _intervals(result, [result.shares(layer, noise, count) for count in counts])
            middle, low, high = values.T
            label = name_of(noise, result.side)
            panels.line_with_band(panel, counts, middle, low, high, index, label)
            numbers[f"{layer.name}: {noise}"] = values.T
            lowest = min(lowest, float(np.nanmin(values)))
        panel.set_xscale("log", base=2)
        panel.set(xlabel="starts", title=plots.printable(layer.name))
    axes[0, 0].set_ylim(lowest - 0.02, 1.01)
    axes[0, 0].set_ylabel("share of excitable maps")
    panels.legend_below(drawing, axes[0, 0], 6)
    sizes = {"networks": len(result.accuracy), "seeds": result.sizes.seeds}
    caption = folder.text("starts", source=result.source, **sizes)
    folder.figure(f"starts-{name}", drawing, caption, numbers)


def _intervals(result: Measured, groups: list[list[np.ndarray]]) -> np.ndarray:
    """Return value, lower and upper end (n, 3) of the mean over the maps of each group."""
    draws = result.sizes.draws // 5
    means = [result.interval(maps, draws=draws) for maps in groups]
    return np.array([[mean.value, mean.low, mean.high] for mean in means])


def draw_effect_of_arms(folder: Folder, name: str, result: Measured) -> None:
    """Draw scores, steps, power and stability of every arm, in the control and the last layer."""
    all_arms = arms.arms(result.side)
    drawing, axes = plots.figure(7.4, 4.6, rows=2, columns=len(MEASURES), sharey=True)
    labels = [f"{name_of(noise, result.side)}, {objective}" for noise, objective in all_arms]
    colors = [
        plots.PALETTE[(arms.POST, arms.WARM, arms.SMOOTH).index(objective)]
        for _, objective in all_arms
    ]
    numbers: dict[str, np.ndarray] = {"arms": np.array(labels)}
    heights = np.arange(len(all_arms))[::-1]
    for line, layer in zip(axes, result.ends, strict=True):
        for panel, (measure, label) in zip(line, MEASURES.items(), strict=True):
            values = _intervals(result, [result.per_map(layer, *arm, measure) for arm in all_arms])
            panel.hlines(heights, values[:, 1], values[:, 2], color=colors, lw=1.2)
            panel.scatter(values[:, 0], heights, c=colors, s=12, zorder=3)
            panel.set_yticks(heights, labels)
            panel.grid(axis="x", lw=0.3)
            panel.set_xlabel(label)
            numbers[f"{layer.name}: {measure}"] = values
        line[0].set_title(plots.printable(layer.name), loc="left")
    caption = folder.text("arms", source=result.source, starts=result.sizes.starts)
    folder.figure(f"arms-{name}", drawing, caption, numbers)


def draw_pictures(folder: Folder, network: Network, test: Dataset, sizes: Sizes) -> None:
    """Draw the articles' pictures of one network, which is judged by test images."""
    layer, seed = network.convolutional[-1], folder.settings.seed
    images = limited(test, sizes.judged).images
    options = {"steps": sizes.steps, "seed": seed, "progress": folder.progress}
    oips = reconstruct(network, layer.name, data=images, **options)
    numbers = {"map": oips.maps, "score": oips.scores[:, 0], "verdict": np.array(oips.verdicts)}
    numbers["stability"] = oips.stability
    maps = _most_and_least_stable(oips)
    _evolution(folder, network, layer, maps[0], sizes)
    _plain_and_enhanced(folder, oips, maps)
    folder.figure("layer", oips.plot(), folder.text("layer", layer=oips.layer), numbers)
    several = reconstruct(network, layer.name, maps=maps, starts=_STARTS, **options)
    _many_starts(folder, several, maps)
    _classes_of_oips(folder, network, oips, test)
    if test.labels is not None and len(test.classes) > 1:
        draw_common_points(folder, network, layer, test)


def _most_and_least_stable(oips: Oips) -> list[int]:
    """Of the maps that images of the data excite: the most and the least stable one."""
    usable = oips.alive & (np.nan_to_num(oips.data_active) > 0)
    rows = np.flatnonzero(usable) if usable.any() else np.arange(len(oips))
    stable = np.nan_to_num(oips.stability[rows])
    return [int(oips.maps[rows[row]]) for row in (stable.argmax(), stable.argmin())]


def _plain_and_enhanced(folder: Folder, oips: Oips, maps: list[int]) -> None:
    drawing, axes = plots.figure(4.4, 2.3 * len(maps), rows=len(maps), columns=2)
    for line, map_index in zip(axes, maps, strict=True):
        for panel, enhance in zip(line, (False, True), strict=True):
            title = f"map {map_index}, {'enhanced' if enhance else 'plain'}"
            plots.image(panel, displayable(oips.displayed(oips[map_index].image, enhance)), title)
    numbers = {"map": np.array(maps), "stability": _stability(oips, maps)}
    caption = folder.text("plain_and_enhanced", layer=oips.layer)
    folder.figure("plain-and-enhanced", drawing, caption, numbers)


def _evolution(
    folder: Folder, network: Network, layer: LayerInfo, map_index: int, sizes: Sizes
) -> None:
    """One row a start, from noise to pattern; also as an animation beside the figures."""
    targets, seed = MapTargets(network, layer), folder.settings.seed
    settings = ascent_settings(steps=sizes.steps, seed=seed)
    noise = Noise(network.inputs.shape, settings.noise)
    starts, _ = noise.images(seed, layer.index, np.arange(_ROWS))
    ascent = GradientAscent(network, targets, settings, visible_masks(network, targets, seed))
    result = ascent.climb(starts, np.full(_ROWS, map_index))
    steps = snapshot_steps(sizes.steps)
    rendered = enhanced_each(result.snapshots[:, : len(steps)], network.inputs.bgr)
    drawing, axes = plots.figure(0.85 * len(steps), 0.3 + 0.9 * _ROWS, _ROWS, len(steps))
    for row, (line, pictures) in enumerate(zip(axes, rendered, strict=True)):
        for panel, step, picture in zip(line, steps, pictures, strict=True):
            plots.image(panel, displayable(picture), "" if row else f"step {step}")
    best = np.fmax.accumulate(result.traces, axis=1)
    score = best[:, [min(step, best.shape[1] - 1) for step in steps]]
    caption = folder.text("evolution", number=map_index, layer=layer.name, rows=_ROWS)
    folder.figure("evolution", drawing, caption, {"step": np.array(steps), "score": score})
    frames = [
        plots.tiled(np.stack([displayable(picture) for picture in column]), _ROWS, 2, 128)
        for column in np.swapaxes(rendered, 0, 1)
    ]
    files.write_bytes(folder.path / "figures" / "evolution.webp", _animated(frames))


def enhanced_each(images: np.ndarray, bgr: bool) -> np.ndarray:
    """Return images (n, t, h, w, b) as uint8, each one contrast-enhanced on its own."""
    rendered = np.stack([np.stack([enhanced(image) for image in row]) for row in images])
    return rendered[..., ::-1] if bgr else rendered


def _animated(frames: list[np.ndarray]) -> bytes:
    from PIL import Image

    height, width = frames[0].shape[:2]
    first, *later_frames = (
        Image.fromarray(frame).resize((4 * width, 4 * height), Image.Resampling.NEAREST)
        for frame in frames
    )
    stream = io.BytesIO()
    first.save(stream, "WEBP", save_all=True, append_images=later_frames, duration=400, loop=0)
    return stream.getvalue()


def _many_starts(folder: Folder, oips: Oips, maps: list[int]) -> None:
    """One map, many starts: one pattern, or several that lie over each other."""
    drawing, axes = plots.figure(7.4, 1.0 * len(maps), rows=len(maps), columns=_STARTS)
    rows = [oips[map_index].row for map_index in maps]
    patterns = oips.clusters[rows] + 1
    for line, map_index, map_patterns in zip(axes, maps, patterns, strict=True):
        for panel, image, pattern in zip(line, oips[map_index].images, map_patterns, strict=True):
            plots.image(panel, displayable(oips.displayed(image)), f"pattern {pattern}")
        line[0].set_title(f"map {map_index}, 1", fontsize=plots.SMALL, pad=3)
    caption = folder.text("starts_of_one_map", starts=_STARTS, layer=oips.layer, alike=arms.ALIKE)
    numbers = {"map": np.array(maps), "stability": _stability(oips, maps)}
    numbers |= {"pattern": patterns, "score": oips.scores[rows]}
    folder.figure("starts-of-one-map", drawing, caption, numbers)


def draw_common_points(folder: Folder, network: Network, layer: LayerInfo, test: Dataset) -> None:
    """Draw one image on all layers; images of two classes, the first one's common points framed."""
    from oip import mi
    from oip.network.responses import responses

    labels, names = np.asarray(test.labels), list(test.classes)
    label = names.index("4") if "4" in names else 0
    other = names.index("2") if "2" in names else len(names) - 1
    class_rows = np.flatnonzero(labels == label)[:_IMAGES]
    for info in network.convolutional[:3]:
        result = responses(network, test.images[class_rows[:1]], info.name, titles=[names[label]])
        caption = folder.text("responses", layer=info.name, label=names[label])
        numbers = {"image": class_rows[:1], "mean response": result.values.mean((0, 2, 3))}
        folder.figure(f"responses-{info.index}", result.plot(color="viridis"), caption, numbers)
    draw_beside(folder, network, test, label)
    sample = network, test.images, labels, layer.name, label
    options = {"samples": _SAMPLES, "shuffles": 200, "classes": names}
    try:
        patterns = mi.common_patterns(*sample, **options)
    except DataError as error:
        folder.note(f"No common points: {error}")
        return
    images = np.concatenate([class_rows, np.flatnonzero(labels == other)[:1]])
    titles = [names[label] for label in labels[images]]
    result = responses(network, test.images[images], layer.name, titles=titles)
    marks = np.zeros((layer.maps, *layer.size), bool)
    marks[patterns.maps] = patterns.common
    share = np.zeros(marks.shape)
    share[patterns.maps] = np.nan_to_num(patterns.share)
    best = np.argsort(-share.reshape(layer.maps, -1).max(1), kind="stable")[:_MAPS]
    texts = {"layer": layer.name, "label": names[label], "other": names[other]}
    caption = folder.text("common_points", images=_IMAGES, count=len(best), **texts)
    drawing = result.plot(order=np.sort(best), marks=marks)
    numbers = {"images": images, "common points": np.argwhere(marks)}
    folder.figure("common-points", drawing, caption, numbers)
    dense = [call for call in network.calls if type(call.layer).__name__ == "Dense"]
    if len(dense) > 1:
        units = responses(network, test.images[images], dense[-2].path, titles=titles)
        ranking = mi.rank(*sample[:3], units.layer, samples=_SAMPLES, seed=folder.settings.seed)
        numbers = {"images": images, "response": units.values, "order": ranking.order}
        caption = folder.text("dense", layer=units.layer)
        folder.figure("dense", units.plot(order=ranking.order), caption, numbers)


def draw_beside(folder: Folder, network: Network, test: Dataset, label: int) -> None:
    """Draw images of one class beside one of two others on the last two convolutions.

    The pooling between them is drawn, too, and the last one in the articles' own colors as well.
    """
    from oip.network.responses import responses

    labels, names = np.asarray(test.labels), list(test.classes)
    other = [names.index(name) for name in ("1", "2") if name in names] or [len(names) - 1]
    groups = [np.flatnonzero(labels == label)[:_IMAGES]]
    images = np.concatenate([*groups, *(np.flatnonzero(labels == label)[:1] for label in other)])
    titles = [names[label] for label in labels[images]]
    second, last = network.convolutional[-2:][0], network.convolutional[-1]
    views: list[tuple[LayerInfo, At, Color]] = [
        (second, "response", "viridis"),
        (last, "response", "viridis"),
        (last, "response", "jet"),
    ]
    if second.block_size not in (None, second.size):
        views.insert(1, (second, "block", "viridis"))
    for info, at, color in views:
        result = responses(network, test.images[images], info.name, at=at, titles=titles)
        texts = {"layer": result.layer, "label": names[label], "images": _IMAGES}
        texts["others"] = " and ".join(names[label] for label in other)
        caption = folder.text("beside", color=color, at=_AT[at].capitalize(), **texts)
        numbers = {"images": images, "mean response": result.values.mean(axis=(-2, -1))}
        name = f"beside-{info.index}-{at}-{color}"
        folder.figure(name, result.plot(color=color, across=_IMAGES), caption, numbers)


def draw_confusions(folder: Folder, name: str, data: Images, arrays: Arrays) -> None:
    """Draw which classes are taken for which, by kind of classifier."""
    labels, classes = data.test.required_labels(), data.test.classes
    ticks = [plots.printable(label[:16]) for label in classes]
    height = 2.9 + 0.05 * max(map(len, ticks))  # names stand upright under the panels
    drawing, axes = plots.figure(2.6 * len(arrays), height, 1, len(arrays), sharey=True)
    numbers: dict[str, np.ndarray | list[str]] = {"classes": list(classes)}
    shapes = len(classes), len(classes)
    tables = {}
    for kind, rows in arrays.items():
        counts = np.zeros(shapes)
        for row in rows:
            np.add.at(counts, (labels, row), 1)
        tables[kind] = 100 * counts / counts.sum(axis=1, keepdims=True)
    confused = [table[~np.eye(len(classes), dtype=bool)].max() for table in tables.values()]
    for panel, (kind, table) in zip(axes[0], tables.items(), strict=True):
        shown_table = np.where(np.eye(len(classes), dtype=bool), np.nan, table)
        look = {"cmap": plots.SEQUENTIAL, "vmin": 0, "vmax": max(confused)}
        artist = panel.imshow(shown_table, **look)
        panel.set_title(f"{kind}: {100 * np.mean(arrays[kind] == labels):.1f} %")
        panel.set_xticks(range(len(classes)), ticks, rotation=90, fontsize=plots.SMALL)
        panel.set_yticks(range(len(classes)), ticks, fontsize=plots.SMALL)
        panel.set_xlabel("taken for")
        numbers[f"{kind}: % of a class"] = table
    axes[0, 0].set_ylabel("class")
    panels.side_color_bar(drawing, artist, list(axes[0]), "% of the class")
    folder.figure(
        f"confusions-{name}", drawing, folder.text("confusions", source=data.name), numbers
    )


def _classes_of_oips(folder: Folder, network: Network, oips: Oips, test: Dataset) -> None:
    """Draw the network's classes for the OIPs themselves, far outside the data."""
    outputs: np.ndarray = network.model.predict(oips.pixels[:, 0], batch_size=256, verbose=0)  # type: ignore[arg-type]
    if outputs.ndim != 2 or outputs.shape[1] != len(test.classes):
        return
    drawing, ((panel,),) = plots.figure(7.2, 2.4)
    look = {"aspect": "auto", "interpolation": "nearest", "cmap": plots.SEQUENTIAL}
    artist = panel.imshow(outputs.T, vmin=0, vmax=1, **look)
    panel.set_yticks(range(len(test.classes)), [plots.printable(n[:14]) for n in test.classes])
    panel.set_xlabel(f"map of {plots.printable(oips.layer)}")
    panels.side_color_bar(drawing, artist, [panel], "output")
    caption = folder.text("classes_of_oips", layer=oips.layer)
    folder.figure("classes-of-oips", drawing, caption, {"map": oips.maps, "output": outputs})


def _stability(oips: Oips, maps: list[int]) -> np.ndarray:
    return np.array([oips.stability[oips[map_index].row] for map_index in maps])
