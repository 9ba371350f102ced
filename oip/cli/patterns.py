"""`oip patterns`: common points of a class, and the difference between two classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from oip.cli import options
from oip.cli.options import DataOptions, ModelOptions, Output, quoted
from oip.cli.tables import Record, number, p_value, print_json, print_table, print_text

_COMMON = {
    "share of its images": "of the class that the node responds to",
    "share of others": "of images of other classes that it responds to",
    "p": "probability of such a difference where labels are shuffled",
    "its own": "the node responds to few images of other classes",
}
_SEPARATION = {
    "Cliff's delta": "1: every image of the first class has the larger response; -1: the smaller",
    "p (adjusted)": "probability of such a delta without any difference, corrected for all maps",
}


@click.command()
@options.model_argument
@click.argument("selection", metavar="LAYER[:MAPS]")
@options.data("Images with labels.")
@click.option("--class", "first", metavar="NAME", required=True, help="The class to look at.")
@click.option("--against", "second", metavar="NAME", help="Another class to compare it with.")
@options.out("Folder of the results.")
@click.option(
    "--level",
    type=click.FloatRange(0.0, 1.0, max_open=True),
    default=0.5,
    help="A node responds above this quantile of its map's responses above zero.",
)
@click.option(
    "--most",
    type=click.FloatRange(0.0, 1.0, min_open=True),
    default=0.8,
    help="A common point responds to this share of the class's images.",
)
@options.at
@click.option("--samples", type=click.IntRange(min=20), default=2000, help="Images used at most.")
@click.option(
    "--shuffles",
    type=click.IntRange(19, 100_000),
    default=1000,
    help="Shuffles of the labels that p-values come from.",
)
@click.option(
    "--drawn",
    type=click.IntRange(min=1),
    default=24,
    help="Maps in a picture, the most telling first.",
)
@options.pictures
@options.sized_model
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
    colour: str,
    kind: str,
    output: Output,
    **sampling: Any,
) -> int:
    """Find what images of a class have in common in a LAYER of MODEL, and other classes do not.

    Common points are the nodes that respond to most images of the class; its own points are those
    that do not respond to most images of other classes. With --against, also the nodes and maps
    that separate the two classes, and the images that the network confuses. OUT gets patterns.json,
    pictures, and for Python .npz files (mi.CommonPatterns.load, mi.Separation.load), which hold
    example images.

    \b
    Example:  oip patterns model.keras Conv2D_3 --data mnist-sample --class 4 --against 9 --out fcp
    """
    from oip import mi
    from oip.core import files, plots
    from oip.network.layer_spec import parse_selections

    files.check_writable(out)
    with output.waiting(f"opening {model.model.name}"):
        network, images = model.open_with(data)
    labels = images.required_labels()
    ((layer, maps),) = parse_selections(network, [selection])
    results: dict[str, mi.CommonPatterns | mi.Separation] = {}
    with output.progress() as progress:
        sample = (network, images.images, labels, layer)
        sampling |= {"maps": maps, "classes": images.classes, "progress": progress}
        if second is not None:
            results["separation"] = mi.separating(*sample, first, second, **sampling)
        sampling |= {"level": level, "most": most}
        results["common"] = mi.common_patterns(*sample, first, **sampling)
        if second is not None:
            results["common-against"] = mi.common_patterns(*sample, second, **sampling)
    records = {name: result.to_dict() for name, result in results.items()}
    for name, result in results.items():
        plots.save(result.plot(drawn, colour), out / f"{name}.{kind}")
        result.save(out / f"{name}.npz")
    files.write_json(out / "patterns.json", {"schema": 1, "data": images.source, **records})
    for notice in dict.fromkeys(text for result in results.values() for text in result.notices):
        output.note(f"oip: {layer.name}: {notice}")
    if output.as_json:
        print_json(records)
    else:
        _print(records, layer.noun)
        print_text(out)
    if second is None:
        output.next_steps("add --against CLASS to see what separates two classes")
    else:
        best = f"{layer.name}:{records['separation']['maps'][0]['map']}"
        grow = ("oip", "reconstruct", model.model, best, "--data", data.source)
        output.next_steps(quoted(*grow, "--out", f"runs/{model.model.stem}"))
    return 1 if any(result.unusable.size for result in results.values()) else 0


def _print(records: dict[str, Record], noun: str) -> None:
    for name in ("common", "common-against"):
        if name in records:
            _print_common(records[name], noun)
    if "separation" in records:
        _print_separation(records["separation"], noun)


def _print_common(common: Record, noun: str) -> None:
    rows = [
        (
            point["map"],
            _node(point["node"]),
            number(point["share"], 2),
            number(point["other_share"], 2),
            p_value(point["p_value"]),
            "yes" if point["own"] else "",
        )
        for point in common["points"]
    ]
    title = (
        f"{common['layer']}: {common['common']} of {common['nodes']} nodes are common to "
        f"{common['images']} images of {common['class']}, {common['own']} its own"
    )
    headings = (noun, "node", "share of its images", "share of others", "p", "its own")
    print_table(headings, rows, title, left=("its own",), legend=_COMMON)


def _print_separation(separation: Record, noun: str) -> None:
    rows = [
        (
            row["map"],
            number(row["effect"]),
            _node(row["node"]),
            number(row["mean_effect"]),
            p_value(row["p_value"]),
            p_value(row["p_adjusted"]),
        )
        for row in separation["maps"]
    ]
    title = (
        f"{separation['layer']}: {separation['first']} against {separation['second']}: "
        f"{separation['separating_maps']} of {len(separation['maps'])} {noun}s and "
        f"{separation['separating_nodes']} nodes separate them, "
        f"{separation['strong_nodes']} strongly"
    )
    headings = (noun, "Cliff's delta", "node", "delta of the mean", "p", "p (adjusted)")
    print_table(headings, rows, title, legend=_SEPARATION)
    rows = [
        (
            case["image"],
            case["class"],
            case["predicted"],
            number(case["p_own"]),
            number(case["nearer_second"], 2),
        )
        for case in separation["cases"]
        if case["hard"]
    ]
    if rows:
        headings = ("image", "class", "seen as", "p of its class", "nodes like the second")
        print_table(headings, rows, "Hard cases", left=("class", "seen as"))


def _node(position: Sequence[int]) -> str:
    return ",".join(str(coordinate) for coordinate in position) or "-"
