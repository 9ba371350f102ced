"""`oip activations`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import numpy as np

from oip.cli.options import note, plain_text, print_json, with_options
from oip.cli.pictures import check_labelled, model_and_data, picture_options

_MOST = 24
"""Images in one picture."""


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("layers", nargs=-1, metavar="[LAYER]...")
@click.option("--data", "source", metavar="SOURCE", required=True, help="Where the images are.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder of the pictures."
)
@with_options(
    click.option("--images", "numbers", metavar="0,5,9", help="Numbers of the images, from 0."),
    click.option(
        "--class",
        "names",
        multiple=True,
        metavar="NAME",
        help="The first images of a class; several classes come beside each other.",
    ),
    click.option(
        "--count",
        type=click.IntRange(1, _MOST),
        default=3,
        show_default=True,
        help="Images of each --class.",
    ),
    click.option(
        "--order",
        default="index",
        show_default=True,
        metavar="index|mi|RUN",
        help="Of the maps: by number, by what they know about the label, or as a RUN ranks them.",
    ),
    click.option(
        "--scale",
        type=click.Choice(["shared", "own"]),
        default="shared",
        show_default=True,
        help="One scale for all maps of a layer, or each map's own.",
    ),
    click.option(
        "--columns",
        type=click.IntRange(min=1),
        help="Maps a row.  [default: about as many as rows]",
    ),
)
@picture_options
def command(
    model: Path,
    layers: tuple[str, ...],
    source: str,
    out: Path,
    numbers: str | None,
    names: tuple[str, ...],
    count: int,
    order: str,
    colour: str,
    scale: str,
    columns: int | None,
    kind: str,
    data_dir: Path | None,
    imports: tuple[str, ...],
    seed: int,
    as_json: bool,
    quiet: bool,
) -> int:
    """Draw what the layers of MODEL give for some images, all maps of a layer as one picture.

    LAYER is the name of any layer with maps or units (convolution, pooling, dense, ...), or @INDEX
    as 'oip layers' prints it; nothing means all convolutions, what pooling leaves of them, and the
    dense layers. Pictures are numbered in the order of the model; of a single image 'overview'
    shows all layers. SOURCE is as for 'oip rank'.

    \b
    Example:  oip activations model.keras --data mnist-sample --class 4 --class 9 --out pictures
    """
    from oip.core.errors import SettingsError, expected
    from oip.core.files import check_writable
    from oip.network.outputs import find_output, shown_outputs
    from oip.network.response_overview import MOST
    from oip.network.response_pictures import ACROSS
    from oip.network.shown_responses import responses

    if bool(names) == (numbers is not None):
        given = "both" if names else "neither"
        raise SettingsError(expected("images", "either --images or --class", given))
    check_writable(out)
    network, data = model_and_data(model, imports, source, data_dir)
    chosen = [find_output(network, name) for name in layers] or shown_outputs(network)
    places = _listed(numbers, len(data)) if numbers is not None else _of(data, names, count)
    if len(places) > _MOST:
        raise SettingsError(expected("images in one picture", f"at most {_MOST}", len(places)))
    titles = [_title(data, place) for place in places]
    orders = _orders(order, network, chosen, data, seed, quiet)
    found = [
        responses(network, data.images[places], output.name, titles=titles) for output in chosen
    ]
    return _written(
        found,
        [output.call for output in chosen],
        orders,
        out,
        kind,
        {"colour": colour, "scale": scale},
        {"columns": columns, "across": count if names and count <= ACROSS else None},
        len(chosen) <= MOST,
        as_json,
        quiet,
    )


def _written(
    found: list[Any],
    calls: list[int],
    orders: list[Any],
    out: Path,
    kind: str,
    look: dict[str, Any],
    layout: dict[str, Any],
    fits: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    from oip.cli.tables import print_table
    from oip.core import plots
    from oip.network.response_overview import MOST, overview

    told, unusable = [], 0
    for one, call, order in zip(found, calls, orders, strict=True):
        path = out / f"{call:03d}.{kind}"
        plots.save(one.plot(order=order, **layout, **look), path)
        told.append({**one.to_dict(), "file": path.name})
        unusable += len(one.unusable)
        if len(one.unusable):
            listed = ", ".join(str(number) for number in one.unusable[:8])
            note(plain_text(f"oip: {one.layer}: not finite: {one.what} {listed}"), quiet)
    together = len(found) > 1 and len(found[0]) == 1
    if together and fits:
        plots.save(overview(found, orders, **look), out / f"overview.{kind}")
    elif together:
        note(f"oip: no overview: {len(found)} layers, one page holds {MOST}", quiet)
    if as_json:
        shown = f"overview.{kind}" if together and fits else None
        print_json({"folder": str(out), "overview": shown, "layers": told})
        return 1 if unusable else 0
    rows = [
        (
            one["file"],
            one["layer"],
            one["class"],
            one.get("maps", one.get("units")),
            "x".join(str(side) for side in one["size"]) or "-",
            f"{one['lowest']:.3g} to {one['largest']:.3g}",
        )
        for one in told
    ]
    headings = ("file", "layer", "class", "maps", "size", "responses")
    sides = ("left", "left", "left", "right", "right", "right")
    print_table(list(zip(headings, sides, strict=True)), rows, ", ".join(found[0].titles))
    click.echo(plain_text(out))
    return 1 if unusable else 0


def _listed(text: str, count: int) -> np.ndarray:
    """Places of `0,5,9` or `0-4`, in the order given."""
    from oip.core.errors import DataError, SettingsError, expected

    if not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", text):
        raise SettingsError(expected("--images", "numbers such as 0,5,9 or 0-4", f"'{text}'"))
    places: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        ends = int(first), int(last or first)
        if ends[1] < ends[0]:
            raise SettingsError(expected("--images", "a range from low to high", f"'{part}'"))
        if ends[1] >= count:
            raise DataError(expected("--images", f"0 to {count - 1}, of the data", ends[1]))
        places.extend(range(ends[0], ends[1] + 1))
    return np.array(places)


def _of(data: Any, names: tuple[str, ...], count: int) -> np.ndarray:
    """Places of the first images of each class."""
    from mi.class_images import class_name
    from oip.core.errors import DataError, expected

    check_labelled(data)
    known = [data.classes[code] for code in np.unique(data.labels)]
    places: list[int] = []
    for wanted in names:
        name = class_name(wanted, known, data.classes)
        rows = np.flatnonzero(data.labels == data.classes.index(name))
        if len(rows) < count:
            raise DataError(expected(f"--count of class '{name}'", f"at most {len(rows)}", count))
        places.extend(rows[:count].tolist())
    return np.array(places)


def _title(data: Any, place: int) -> str:
    known = data.labels is not None
    return f"{data.classes[data.labels[place]]} (image {place})" if known else f"image {place}"


def _orders(
    order: str, network: Any, chosen: list[Any], data: Any, seed: int, quiet: bool
) -> list[Any]:
    """For each output the numbers of its maps in order, None for that of the numbers."""
    if order == "index":
        return [None] * len(chosen)
    indices = sorted({output.index for output in chosen if output.index is not None})
    known = (
        _ranked(network, indices, data, seed, quiet)
        if order == "mi"
        else _ranked_in(Path(order), network, indices)
    )
    missing = [output.name for output in chosen if output.index not in known]
    if missing:
        note(plain_text(f"oip: by number, not ranked: {', '.join(missing)}"), quiet)
    return [known.get(output.index) for output in chosen]


def _ranked(
    network: Any, indices: list[int], data: Any, seed: int, quiet: bool
) -> dict[int, np.ndarray]:
    import mi
    from mi.ranking_result import WITH_ORDER
    from oip.cli.progress import shown

    with shown(quiet) as progress:
        return {
            index: mi.rank(
                network,
                data.images,
                data.labels,
                f"@{index}",
                estimators=[WITH_ORDER],
                seed=seed,
                progress=progress,
                classes=data.classes,
            ).order
            for index in indices
        }


def _ranked_in(path: Path, network: Any, indices: list[int]) -> dict[int, np.ndarray]:
    """The order in which a run ranks the maps that it has ranked; others follow by number.

    Raises:
        RunError: no run, one of another model, or one that has ranked none of the layers.
    """
    from oip.core.errors import RunError, expected
    from oip.run.directory import Run

    run = Run.open(path)
    if run.info["model"]["sha256"] != network.digest:
        raise RunError(expected(f"'{path}'", f"a run of '{network.name}'", "one of another model"))
    found = {}
    for index in indices:
        told = run.ranking(index)
        if told is not None:
            ranked = [one["map"] for one in told["estimators"][0]["maps"]]
            rest = sorted(set(range(network.layers[index].maps)) - set(ranked))
            found[index] = np.array([*ranked, *rest])
    if not found:
        raise RunError(
            expected(f"'{path}'", "a ranking of these layers", "none", "Use 'oip rank'.")
        )
    return found
