"""`oip patterns`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from oip.cli.options import at_option, note, plain_text, print_json, with_options
from oip.cli.pictures import check_labelled, model_and_data, picture_options

_ROWS = 12
"""Rows of a table."""


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("selection", metavar="LAYER[:MAPS]")
@click.option("--data", "source", metavar="SOURCE", required=True, help="Images with labels.")
@click.option("--class", "first", metavar="NAME", required=True, help="The class in question.")
@click.option("--against", "second", metavar="NAME", help="What separates it from this class, too.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder of the results."
)
@with_options(
    click.option(
        "--level",
        type=click.FloatRange(0.0, 1.0, max_open=True),
        default=0.5,
        show_default=True,
        help="A node responds above this quantile of its map's responses above zero.",
    ),
    click.option(
        "--most",
        type=click.FloatRange(0.0, 1.0, min_open=True),
        default=0.8,
        show_default=True,
        help="A common point responds to this share of the class's images.",
    ),
    at_option,
    click.option(
        "--samples",
        type=click.IntRange(min=20),
        default=2000,
        show_default=True,
        help="Images used at most.",
    ),
    click.option(
        "--shuffles",
        type=click.IntRange(19, 100_000),
        default=1000,
        show_default=True,
        help="Shuffles of the labels that p-values come from.",
    ),
    click.option(
        "--drawn",
        type=click.IntRange(min=1),
        default=24,
        show_default=True,
        help="Maps in a picture, the most telling first.",
    ),
)
@picture_options
def command(
    model: Path,
    selection: str,
    source: str,
    first: str,
    second: str | None,
    out: Path,
    level: float,
    most: float,
    at: Literal["response", "block"],
    samples: int,
    shuffles: int,
    colour: str,
    drawn: int,
    kind: str,
    data_dir: Path | None,
    imports: tuple[str, ...],
    seed: int,
    as_json: bool,
    quiet: bool,
) -> int:
    """What images of a class have in common in a LAYER of MODEL, and what another class has not.

    Common points are the nodes that respond for most images of the class; its own are those that
    others do not share. With --against also the nodes and maps that separate the two classes, and
    the images that the network confuses. OUT gets patterns.json, pictures, and for Python .npz
    files (mi.CommonPatterns.load, mi.Separation.load), which hold example images.

    \b
    Example:  oip patterns model.keras Conv2D_3 --data mnist-sample --class 4 --against 9 --out fcp
    """
    from oip import mi
    from oip.cli.progress import shown
    from oip.core import files, plots
    from oip.network.layer_spec import parse_selections

    files.check_writable(out)
    network, data = model_and_data(model, imports, source, data_dir)
    check_labelled(data)
    ((layer, maps),) = parse_selections(network, [selection])
    asked = (network, data.images, data.labels, layer)
    with shown(quiet) as progress:
        shared: dict[str, Any] = {
            "maps": maps,
            "samples": samples,
            "shuffles": shuffles,
            "at": at,
            "seed": seed,
            "classes": data.classes,
            "progress": progress,
        }
        found: dict[str, Any] = {}
        if second is not None:
            found["separation"] = mi.separating(*asked, first, second, **shared)
        share: dict[str, Any] = {**shared, "level": level, "most": most}
        found["common"] = mi.common_patterns(*asked, first, **share)
        if second is not None:
            found["common-against"] = mi.common_patterns(*asked, second, **share)
    told: dict[str, Any] = {name: one.to_dict() for name, one in found.items()}
    for name, one in found.items():
        plots.save(one.plot(drawn, colour), out / f"{name}.{kind}")
        one.save(out / f"{name}.npz")
    files.write_json(out / "patterns.json", {"schema": 1, "data": data.source, **told})
    for notice in dict.fromkeys(text for one in found.values() for text in one.notices):
        note(plain_text(f"oip: {layer.name}: {notice}"), quiet)
    if as_json:
        print_json(told)
    else:
        _print(found, told)
        click.echo(plain_text(out))
    return 1 if any(one.unusable.size for one in found.values()) else 0


def _print(found: dict[str, Any], told: dict[str, Any]) -> None:
    from oip.cli.tables import number, print_table

    for name in ("common", "common-against"):
        if name in told:
            _print_common(told[name])
    if "separation" not in told:
        return
    apart = told["separation"]
    columns = (
        ("map", "right"),
        ("Cliff's delta", "right"),
        ("node", "right"),
        ("delta of the mean", "right"),
        ("p", "right"),
        ("p (adjusted)", "right"),
    )
    rows = [
        (
            one["map"],
            number(one["effect"]),
            _node(one["node"]),
            number(one["mean_effect"]),
            _p(one["p_value"]),
            _p(one["p_adjusted"]),
        )
        for one in apart["maps"][:_ROWS]
    ]
    title = (
        f"{apart['layer']}: {apart['first']} against {apart['second']}: "
        f"{apart['separating_maps']} of {len(apart['maps'])} maps and "
        f"{apart['separating_nodes']} nodes separate them, {apart['strong_nodes']} strongly"
    )
    print_table(columns, rows, title)
    hard = [case for case in apart["cases"] if case["hard"]]
    if hard:
        headings = ("image", "class", "seen as", "p of its class", "nodes like the second")
        sides = ("right", "left", "left", "right", "right")
        rows = [
            (
                case["image"],
                case["class"],
                case["predicted"],
                number(case["p_own"]),
                number(case["nearer_second"], 2),
            )
            for case in hard
        ]
        print_table(list(zip(headings, sides, strict=True)), rows, "Hard cases")


def _print_common(told: dict[str, Any]) -> None:
    from oip.cli.tables import number, print_table

    columns = (
        ("map", "right"),
        ("node", "right"),
        ("share of its images", "right"),
        ("share of others", "right"),
        ("p", "right"),
        ("its own", "left"),
    )
    rows = [
        (
            one["map"],
            _node(one["node"]),
            number(one["share"], 2),
            number(one["other_share"], 2),
            _p(one["p_value"]),
            "yes" if one["own"] else "",
        )
        for one in told["points"][:_ROWS]
    ]
    title = (
        f"{told['layer']}: {told['common']} of {told['nodes']} nodes are common to "
        f"{told['images']} images of {told['class']}, {told['own']} its own"
    )
    print_table(columns, rows, title)


def _node(place: list[int]) -> str:
    return ",".join(str(part) for part in place)


def _p(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"
