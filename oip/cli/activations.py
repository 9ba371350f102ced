"""`oip activations`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import numpy as np

from oip.cli.options import note, plain_text, print_json, with_options
from oip.cli.pictures import check_labelled, model_and_data, picture_options
from oip.core.errors import DataError, RunError, SettingsError, expected

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
    from oip.core.files import check_writable
    from oip.network.outputs import find_output, shown_outputs
    from oip.network.responses import ACROSS, check_budget, responses

    if bool(names) == (numbers is not None):
        given = "both" if names else "neither"
        raise SettingsError(expected("images", "either --images or --class", given))
    check_writable(out)
    network, data = model_and_data(model, imports, source, data_dir)
    chosen = [find_output(network, name) for name in layers] or shown_outputs(network)
    places = _listed(numbers, len(data)) if numbers is not None else _of(data, names, count)
    if len(places) > _MOST:
        raise SettingsError(expected("images in one picture", f"at most {_MOST}", len(places)))
    for output in chosen:
        check_budget(output, len(places), output.maps)
    titles = [_title(data, place) for place in places]
    orders = _orders(order, network, chosen, data, seed, quiet)
    across = count if names and count <= ACROSS else None
    drawing = _Drawing(out, kind, quiet, {"colour": colour, "scale": scale})
    for output, rows in zip(chosen, orders, strict=True):
        try:
            found = responses(network, data.images[places], output.name, titles=titles)
        except DataError as error:
            drawing.failed(output.name, error)
            continue
        drawing.add(found, output.call, rows, columns=columns, across=across)
    overview = drawing.overview()
    if as_json:
        print_json({"folder": str(out), "overview": overview, "layers": drawing.told})
    else:
        _print(drawing.told)
        click.echo(plain_text(out))
    return 1 if drawing.incomplete else 0


class _Drawing:
    """The pictures as they are written, layer by layer, and what is told of them."""

    def __init__(self, out: Path, kind: str, quiet: bool, look: dict[str, Any]):
        self.told: list[dict[str, Any]] = []
        self.incomplete = False
        self._out = out
        self._kind = kind
        self._quiet = quiet
        self._look = look
        self._kept: list[tuple[Any, Any]] = []
        self._error: DataError | None = None

    def add(self, found: Any, call: int, order: Any, **layout: Any) -> None:
        """Draws a layer; only of a single image its responses are kept, for the overview."""
        from oip.core import plots

        path = self._out / f"{call:03d}.{self._kind}"
        plots.save(found.plot(order=order, **layout, **self._look), path)
        self.told.append({**found.to_dict(), "file": path.name})
        if len(found) == 1:
            self._kept.append((found, order))
        if len(found.unusable):
            self.incomplete = True
            listed = ", ".join(str(number) for number in found.unusable[:8])
            text = f"oip: {found.layer}: not finite: {found.what} {listed}"
            note(plain_text(text), self._quiet)

    def failed(self, layer: str, error: DataError) -> None:
        """Notes a layer that cannot be drawn."""
        self.incomplete = True
        self._error = error
        self.told.append({"layer": layer, "file": None, "error": str(error)})
        note(plain_text(f"oip: {error}"), self._quiet)

    def overview(self) -> str | None:
        """Name of the picture of one image on all layers, if there are several and it is one.

        Raises:
            DataError: no layer could be drawn.
        """
        from oip.core import plots
        from oip.network.responses import MOST, overview

        if self._error is not None and not any(one["file"] for one in self.told):
            raise self._error
        if len(self._kept) < 2:
            return None
        if len(self._kept) > MOST:
            text = f"oip: no overview: {len(self._kept)} layers, one page holds {MOST}"
            note(text, self._quiet)
            return None
        path = self._out / f"overview.{self._kind}"
        found, orders = zip(*self._kept, strict=True)
        plots.save(overview(found, orders, **self._look), path)
        return path.name


def _print(told: list[dict[str, Any]]) -> None:
    from oip.cli.tables import print_table

    drawn = [one for one in told if one["file"]]
    rows = [
        (
            one["file"],
            one["layer"],
            one["class"],
            one.get("maps", one.get("units")),
            "x".join(str(side) for side in one["size"]) or "-",
            f"{one['lowest']:.3g} to {one['largest']:.3g}",
        )
        for one in drawn
    ]
    headings = ("file", "layer", "class", "maps", "size", "responses")
    sides = ("left", "left", "left", "right", "right", "right")
    print_table(list(zip(headings, sides, strict=True)), rows, ", ".join(drawn[0]["images"]))


def _listed(text: str, count: int) -> np.ndarray:
    """Places of `0,5,9` or `0-4`, in the order given."""
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
    from oip.mi.class_images import class_name

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
    """The order in which each layer's maps know about the label; none of layers without one.

    Raises:
        DataError: no layer can be ranked, for want of labels or of finite responses.
    """
    from oip import mi
    from oip.cli.progress import shown
    from oip.mi.ranking import WITH_ORDER

    found, errors = {}, []
    with shown(quiet) as progress:
        for index in indices:
            try:
                found[index] = mi.rank(
                    network,
                    data.images,
                    data.labels,
                    f"@{index}",
                    estimators=[WITH_ORDER],
                    seed=seed,
                    progress=progress,
                    classes=data.classes,
                ).order
            except DataError as error:
                errors.append(error)
    if errors and not found:
        raise errors[-1]
    return found


def _ranked_in(path: Path, network: Any, indices: list[int]) -> dict[int, np.ndarray]:
    """The order in which a run ranks the maps that it has ranked; others follow by number.

    Raises:
        RunError: no run, one of another model, one that has ranked none of the layers, or a
            damaged ranking.
    """
    from oip.run.run import Run

    run = Run.open(path)
    if run.info["model"]["sha256"] != network.digest:
        raise RunError(expected(f"'{path}'", f"a run of '{network.name}'", "one of another model"))
    found = {}
    for index in indices:
        told = run.ranking(index)
        if told is None:
            continue
        every = set(range(network.layers[index].maps))
        try:
            ranked = [int(one["map"]) for one in told["estimators"][0]["maps"]]
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise _no_ranking(path, index, error) from error
        if not every.issuperset(ranked) or len(set(ranked)) < len(ranked):
            raise _no_ranking(path, index, "maps twice, or that it does not have")
        found[index] = np.array([*ranked, *sorted(every - set(ranked))])
    if not found:
        raise RunError(
            expected(f"'{path}'", "a ranking of these layers", "none", "Use 'oip rank'.")
        )
    return found


def _no_ranking(path: Path, index: int, received: object) -> RunError:
    return RunError(expected(f"'{path}'", f"a whole ranking of layer @{index}", received))
