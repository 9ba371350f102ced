"""`oip patterns`: common points of a class, and the difference between two classes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from oip.cli import options
from oip.cli.options import DataOptions, ModelOptions, Output
from oip.cli.tables import number, p_value, print_json, print_table, print_text
from oip.core.errors import ModelError, SettingsError

if TYPE_CHECKING:
    import numpy as np

    from oip import mi
    from oip.core.output_formats import ClassPoints, ClassSeparation, PatternsFile, SilencedNodes
    from oip.network.layers import LayerInfo
    from oip.network.network import Network

_RESULTS = "patterns.json"
_OUTPUT = re.compile(
    r"(separation|common|common-against)\.(npz|png|svg)"
    r"|silenced-\d+-(common|own|chosen)\.(png|svg)"
)
"""Names of the files beside it."""
_COMMON = {
    "share of its images": "of the class, for which the node is active",
    "share of others": "of images of other classes for which it is active",
    "p": "p-value against shuffled labels",
    "its own": "the node responds to few images of other classes",
}
_SILENCED = {
    "change": "mean over held-out images of the class, when these nodes are silenced",
    "random nodes": "the same for as many random nodes of each of these maps, on average",
    "p": "p-value against random nodes",
}
_SEPARATION = {
    "Cliff's delta": "1: every image of the first class has the larger response; -1: the smaller",
    "p (adjusted)": "p-value of the difference, adjusted for the number of maps",
}


@click.command()
@options.model_argument
@click.argument("selection", metavar="LAYER[:MAPS]")
@options.data("Images with labels.")
@click.option(
    "--class",
    "first",
    metavar="NAME",
    required=True,
    help="The class whose patterns are searched for.",
)
@click.option("--against", "second", metavar="NAME", help="Another class to compare it with.")
@options.out("Folder of the results.")
@click.option(
    "--level",
    type=click.FloatRange(0.0, 1.0, max_open=True),
    default=0.5,
    help="A node is active above this quantile of its map's positive responses.",
)
@click.option(
    "--most",
    type=click.FloatRange(0.0, 1.0, min_open=True),
    default=0.8,
    help="A common point is active for this share of the class's images.",
)
@options.at
@click.option(
    "--samples", type=click.IntRange(min=20), default=2000, help="Use at most this many images."
)
@click.option(
    "--shuffles",
    type=click.IntRange(19, 100_000),
    default=1000,
    help="Shuffles of the labels for p-values.",
)
@click.option(
    "--drawn",
    type=click.IntRange(min=1),
    default=24,
    help="Maps in a picture, the most distinctive first.",
)
@click.option(
    "--silence",
    is_flag=True,
    help="Also measure what the network loses without the common points: they are searched for "
    "in half of the images and silenced in the other half, and compared with random nodes.",
)
@click.option(
    "--node",
    "nodes",
    metavar="ROW,COLUMN",
    multiple=True,
    help="With --silence: silence this node of all MAPS instead of common points. Can be repeated.",
)
@options.pictures
@options.model_with_directions
@options.seed
@options.all_rows
@options.output
def command(
    model: ModelOptions,
    selection: str,
    data: DataOptions,
    first: str,
    second: str | None,
    out: Path,
    level: float,
    most: float,
    drawn: int,
    silence: bool,
    nodes: tuple[str, ...],
    colour: str,
    kind: str,
    output: Output,
    **sampling: Any,
) -> int:
    """Find what images of a class have in common in a LAYER of MODEL, and other classes do not.

    Common points are the nodes that respond to most images of the class. Of these, the class's own
    points do not respond to most images of other classes. With --against, the nodes and maps that
    separate the two classes and the images that the network confuses are shown, too. The folder
    gets patterns.json, pictures, and .npz files for Python (mi.CommonPatterns.load,
    mi.Separation.load), which hold example images.

    With --silence, the nodes are set to their mean over images, all at once, and the loss and the
    logit of the class are measured again.

    \b
    Example:  oip patterns model.keras Conv2D_3 --data mnist-sample --class 4 --against 9 --out fcp
    """
    from oip import mi
    from oip.core import files
    from oip.core.output_formats import PatternsFile
    from oip.network.layer_spec import parse_selections
    from oip.workflows.layer_records import check_classes

    files.check_writable(out)
    network, images = model.open_with(data, output)
    sample = _Sample(network, images.images, images.required_labels(), images.source)
    ((layer, maps),) = parse_selections(network, [selection])
    if silence:
        _check_silence(layer, sampling["at"])
    elif nodes:
        raise SettingsError("--node", "--silence as well", "--node alone")
    points = None if not nodes else _chosen_nodes(layer, maps, nodes)
    held_out = None
    if silence:
        check_classes(network, images)
        sample, held_out = sample.halves(sampling["seed"])
    silenced: list[_Silenced] = []
    with output.progress() as progress:
        sampling |= {"maps": maps, "classes": images.classes, "progress": progress}
        thresholds = {"level": level, "most": most}
        results = _results(sample, layer, first, second, thresholds, sampling)
        if held_out is not None:
            names = ("seed", "classes", "progress", "samples")
            settings = {name: sampling[name] for name in names}
            common = [
                result for result in results.values() if isinstance(result, mi.CommonPatterns)
            ]
            silenced = _silence(held_out, layer, common, points, output, settings)
    records: dict[str, Any] = {name: result.to_dict() for name, result in results.items()}
    if silence:
        records["silenced"] = [entry.to_dict() for entry in silenced]
    record = PatternsFile.of({"data": images.source, **records})
    _write(out, record, results, silenced, _Style(drawn, colour, kind))
    for notice in dict.fromkeys(text for result in results.values() for text in result.notices):
        output.note(f"oip: {layer.name}: {notice}")
    if output.as_json:
        print_json(records)
    else:
        _print(record, layer.noun)
        print_text(out)
    output.next_steps(_next_step(model, data, record.separation or None))
    return 1 if any(result.unusable.size for result in results.values()) else 0


class _Sample(NamedTuple):
    """A network, and images with labels."""

    network: Network
    images: np.ndarray
    labels: np.ndarray
    source: str

    def halves(self, seed: int) -> tuple[_Sample, _Sample]:
        """Return two halves of the images, each with half of every class."""
        import numpy as np

        from oip.core.seeds import generator

        order = generator(seed, "halves").permutation(len(self.labels))
        order = order[np.argsort(self.labels[order], kind="stable")]
        first, second = (
            self._replace(images=self.images[rows], labels=self.labels[rows])
            for rows in (np.sort(order[::2]), np.sort(order[1::2]))
        )
        return first, second


class _Silenced(NamedTuple):
    """The effect of silencing some nodes."""

    points: str
    """Which nodes: `common`, `own` or `chosen` ones."""
    ablation: mi.NodeAblation

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as `--json` prints them."""
        return {"points": self.points, **self.ablation.to_dict()}


class _Style(NamedTuple):
    """How the pictures look."""

    maps: int
    """How many maps a picture shows."""
    color: str
    kind: str
    """`png` or `svg`."""


def _write(
    folder: Path,
    record: PatternsFile,
    results: Mapping[str, mi.CommonPatterns | mi.Separation],
    silenced: Sequence[_Silenced],
    style: _Style,
) -> None:
    """Write results and pictures, then `patterns.json`; remove the other files of an earlier call.

    Args:
        folder: of the results.
        record: the content of `patterns.json`.
        results: name of their files without ending -> common points of a class, or a separation.
        silenced: drawn as pictures, too.
        style: of the pictures.
    """
    from oip.core import plots

    outdated = _files_of_an_earlier_call(folder)
    for name, result in results.items():
        picture = folder / f"{name}.{style.kind}"
        plots.save(result.plot(style.maps, style.color), picture)
        result.save(folder / f"{name}.npz")
        outdated -= {picture, folder / f"{name}.npz"}
    for row, entry in enumerate(silenced):
        picture = folder / f"silenced-{row}-{entry.points}.{style.kind}"
        plots.save(entry.ablation.plot(), picture)
        outdated.discard(picture)
    record.write(folder / _RESULTS)
    for path in outdated:
        path.unlink(missing_ok=True)


def _files_of_an_earlier_call(folder: Path) -> set[Path]:
    """Return the files of a folder of results that belong to its `patterns.json`."""
    if not (folder / _RESULTS).is_file():
        return set()
    return {path for path in folder.iterdir() if _OUTPUT.fullmatch(path.name)}


def _next_step(model: ModelOptions, data: DataOptions, separation: ClassSeparation | None) -> str:
    """Return the command that grows the map that separates best, if two classes are compared."""
    if separation is None:
        return "add --against CLASS to see what separates two classes"
    best = f"{separation.layer}:{separation.maps[0].map}"
    return model.command("reconstruct", best, data=data, out=model.run)


def _check_silence(layer: LayerInfo, at: str) -> None:
    """Raise an error where nodes of a layer cannot be silenced."""
    if at == "block":
        raise SettingsError(
            "--silence", "--at response", "--at block: pooled nodes are not nodes of the layer"
        )
    if not layer.size:
        form = "a layer with nodes, such as a convolution"
        raise ModelError(f"--silence of '{layer.name}'", form, "one value per unit")


def _results(
    sample: _Sample,
    layer: LayerInfo,
    first: str,
    second: str | None,
    thresholds: dict[str, float],
    sampling: dict[str, Any],
) -> dict[str, mi.CommonPatterns | mi.Separation]:
    """Return the common points of one class, or of two beside what separates them."""
    from oip import mi

    arguments = (sample.network, sample.images, sample.labels, layer)
    results: dict[str, mi.CommonPatterns | mi.Separation] = {}
    if second is not None:
        results["separation"] = mi.separating(*arguments, first, second, **sampling)
    sampling = sampling | thresholds
    results["common"] = mi.common_patterns(*arguments, first, **sampling)
    if second is not None:
        results["common-against"] = mi.common_patterns(*arguments, second, **sampling)
    return results


def _chosen_nodes(layer: LayerInfo, maps: np.ndarray, nodes: Sequence[str]) -> np.ndarray:
    """Return (q, 1 + axes) int: each of the maps and the nodes, which are such as `2,3`."""
    import numpy as np

    axes = len(layer.size)
    rows = [[coordinate.strip() for coordinate in text.split(",")] for text in nodes]
    if any(len(row) != axes or not all(map(_is_number, row)) for row in rows):
        example = ",".join("23"[:axes])
        form = f"{axes} of 0 and more, such as {example}"
        raise SettingsError("--node", form, f"'{' '.join(nodes)}'")
    indices = np.array(rows, int)
    return np.column_stack([np.repeat(maps, len(indices)), np.tile(indices, (len(maps), 1))])


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) < 10


def _silence(
    sample: _Sample,
    layer: LayerInfo,
    common: list[mi.CommonPatterns],
    nodes: np.ndarray | None,
    output: Output,
    settings: dict[str, Any],
) -> list[_Silenced]:
    """Silence the given nodes, or the common points of each class and its own ones.

    Sets that cannot be compared with random nodes are left out with a note.
    """
    from oip import mi

    results: list[_Silenced] = []
    for patterns in common:
        name = patterns.class_name
        if nodes is not None:
            node_sets = {"chosen": nodes}
        else:
            node_sets = {"common": patterns.node_numbers(), "own": patterns.node_numbers("own")}
        for points, rows in node_sets.items():
            if not len(rows):
                output.note(f"oip: {layer.name}: no {points} points of {name} to silence")
                continue
            try:
                ablation = mi.ablate_nodes(
                    sample.network,
                    sample.images,
                    sample.labels,
                    layer,
                    rows,
                    of=name,
                    split=sample.source,
                    **settings,
                )
            except SettingsError as error:
                if nodes is not None:
                    raise
                output.note(f"oip: {points} points of {name}: {error}")
                continue
            results.append(_Silenced(points, ablation))
    return results


def _print_silenced(records: list[SilencedNodes]) -> None:
    rows = []
    for record in records:
        loss = (record.loss_increase, record.loss_low, record.loss_high, record.loss_p)
        logit = (record.logit_fall, record.logit_low, record.logit_high, record.logit_p)
        for name, (change, low, high, p), null in (
            ("increase of the loss, bits", loss, record.loss_null),
            ("fall of the logit", logit, record.logit_null),
        ):
            numbers = [value for value in null if value is not None]
            rows.append(
                (
                    record.class_name,
                    f"{len(record.nodes)} {record.points}",
                    name,
                    number(change, 3),
                    "-" if low is None else f"{low:.3g} to {high:.3g}",
                    number(sum(numbers) / len(numbers) if numbers else None, 3),
                    p_value(p),
                )
            )
    title = f"{records[0].layer}: nodes silenced to their mean, {records[0].samples} images"
    headings = ("class", "nodes", "change of", "change", "95 %", "random nodes", "p")
    left = ("class", "nodes", "change of", "95 %")
    print_table(headings, rows, title, left=left, legend=_SILENCED)


def _print(record: PatternsFile, noun: str) -> None:
    _print_common(record.common, noun)
    if record.common_against:
        _print_common(record.common_against, noun)
    if record.separation:
        _print_separation(record.separation, noun)
    if record.silenced:
        _print_silenced(record.silenced)


def _print_common(common: ClassPoints, noun: str) -> None:
    rows = [
        (
            point.map,
            _node(point.node),
            number(point.share, 2),
            number(point.other_share, 2),
            p_value(point.p_value),
            "yes" if point.own else "",
        )
        for point in common.points
    ]
    title = (
        f"{common.layer}: {common.common} of {common.nodes} nodes are common to "
        f"{common.images} images of {common.class_name}, {common.own} its own"
    )
    headings = (noun, "node", "share of its images", "share of others", "p", "its own")
    print_table(headings, rows, title, left=("its own",), legend=_COMMON)


def _print_separation(separation: ClassSeparation, noun: str) -> None:
    rows = [
        (
            row.map,
            number(row.effect),
            _node(row.node),
            number(row.mean_effect),
            p_value(row.p_value),
            p_value(row.p_adjusted),
        )
        for row in separation.maps
    ]
    title = (
        f"{separation.layer}: {separation.first} against {separation.second}: "
        f"{separation.separating_maps} of {len(separation.maps)} {noun}s and "
        f"{separation.separating_nodes} nodes separate them, "
        f"{separation.strong_nodes} strongly"
    )
    headings = (noun, "Cliff's delta", "node", "delta of the mean", "p", "p (adjusted)")
    print_table(headings, rows, title, legend=_SEPARATION)
    rows = [
        (
            case.image,
            case.label,
            case.predicted,
            number(case.p_own),
            number(case.nearer_second if isinstance(case.nearer_second, float) else None, 2),
        )
        for case in separation.cases
        if case.hard
    ]
    if rows:
        headings = ("image", "class", "seen as", "p of its class", "nodes like the second")
        print_table(headings, rows, "Hard cases", left=("class", "seen as"))


def _node(position: Sequence[int]) -> str:
    return ",".join(str(coordinate) for coordinate in position) or "-"
