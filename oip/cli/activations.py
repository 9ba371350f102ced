"""`oip activations`: pictures of the outputs of layers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
import numpy as np

from oip.cli import options
from oip.cli.options import DataOptions, ModelOptions, Output
from oip.cli.tables import Record, print_json, print_table, print_text
from oip.core import plots
from oip.core.errors import DataError, RunError, SettingsError
from oip.core.files import check_writable, name_part

if TYPE_CHECKING:
    from oip.models import Dataset
    from oip.network.layers import LayerInfo
    from oip.network.network import Network
    from oip.network.response_plots import Color, Scale
    from oip.network.responses import Responses

_MOST_IMAGES = 24
"""Images in one picture."""


@click.command()
@options.model_argument
@click.argument("layers", nargs=-1, metavar="[LAYER]...")
@options.data("Source of the images, as for 'oip rank'.")
@options.out("Folder of the pictures.")
@click.option("--images", "numbers", metavar="0,5,9", help="Numbers of the images, from 0.")
@click.option(
    "--class",
    "names",
    multiple=True,
    metavar="NAME",
    help="The first images of a class; several classes are drawn side by side.",
)
@click.option(
    "--count", type=click.IntRange(1, _MOST_IMAGES), default=3, help="Images of each --class."
)
@click.option(
    "--order",
    default="index",
    metavar="index|mi|RUN",
    help="Order of the maps: by number, by information about the class, or as ranked in a RUN.",
)
@click.option(
    "--scale",
    type=click.Choice(["shared", "own"]),
    default="shared",
    help="Use one color scale for all maps of a layer, or one for each map.",
)
@click.option(
    "--columns",
    type=click.IntRange(min=1),
    help="Maps per row.  [default: about as many as there are rows]",
)
@options.pictures
@options.model_with_directions
@options.seed
@options.all_rows
@options.output
def command(
    model: ModelOptions,
    layers: tuple[str, ...],
    data: DataOptions,
    out: Path,
    numbers: str | None,
    names: tuple[str, ...],
    count: int,
    order: str,
    scale: Scale,
    columns: int | None,
    colour: Color,
    kind: str,
    seed: int,
    output: Output,
) -> int:
    """Draw the outputs of layers of MODEL for some images, all maps of a layer as one picture.

    LAYER is the name of any layer with maps or units (convolution, pooling, dense, ...), or @INDEX
    as 'oip layers' prints it. Without LAYER, all convolutions, the pooling layers after them and
    the dense layers are drawn. Files are numbered in the order of the model; for a single image,
    the picture 'overview' shows all layers.

    \b
    Example:  oip activations model.keras --data mnist-sample --class 4 --class 9 --out pictures
    """
    from oip.network.response_plots import ACROSS
    from oip.network.responses import check_budget, responses

    if bool(names) == (numbers is not None):
        received = "both" if names else "neither"
        raise SettingsError("images", "either --images or --class", received)
    if not names:
        options.refuse_alone("--class", "count")
    check_writable(out)
    network, images = model.open_with(data, output)
    layer_outputs = [network.find_output(name) for name in layers] or network.shown_layers()
    indices = _indices(images, numbers, names, count)
    for layer in layer_outputs:
        check_budget(layer, len(indices), layer.maps)
    titles = [_title(images, index) for index in indices]
    orders = _orders(order, network, layer_outputs, images, seed, output)
    across = count if names and count <= ACROSS else None
    pictures = _Pictures(out, kind, colour, scale, columns, across)
    records: list[Record] = []
    drawn_layers: list[_DrawnLayer] = []
    errors: list[DataError] = []
    for layer, map_order in zip(layer_outputs, orders, strict=True):
        try:
            result = responses(network, images.images[indices], layer.name, titles=titles)
        except DataError as error:
            errors.append(error)
            records.append({"layer": layer.name, "file": None, "error": str(error)})
            output.note(f"oip: {error}")
            continue
        drawn_layers.append(pictures.draw(layer, result, map_order))
        records.append({**result.to_dict(), "file": drawn_layers[-1].path.name})
        if len(result.unusable):
            listed = ", ".join(str(map_index) for map_index in result.unusable[:8])
            output.note(f"oip: {layer.name}: not finite: {result.nouns} {listed}")
    if len(errors) == len(layer_outputs):
        raise errors[-1]
    overview = pictures.draw_overview(drawn_layers, output) if len(indices) == 1 else None
    if overview is None:
        pictures.overview_path.unlink(missing_ok=True)  # of an earlier call
    if output.as_json:
        print_json({"folder": str(out), "overview": overview, "layers": records})
    else:
        _print(drawn_layers)
        print_text(out)
    output.next_steps(model.command("reconstruct", data=data, out=model.run))
    return 1 if errors or any(len(layer.responses.unusable) for layer in drawn_layers) else 0


class _DrawnLayer(NamedTuple):
    """A layer whose responses are drawn."""

    path: Path
    responses: Responses
    order: np.ndarray | None
    """Numbers of the maps as they are drawn; None for the order of their numbers."""


@dataclass(frozen=True)
class _Pictures:
    """The folder of the pictures, and how they look."""

    folder: Path
    kind: str
    """`png` or `svg`."""
    color: Color
    scale: Scale
    columns: int | None
    across: int | None
    """Images side by side; None for as many as fit."""

    @property
    def overview_path(self) -> Path:
        """The picture of all layers."""
        return self.folder / f"overview.{self.kind}"

    def draw(self, layer: LayerInfo, responses: Responses, order: np.ndarray | None) -> _DrawnLayer:
        """Draw the responses of a layer."""
        path = self.folder / f"{layer.last_call:03d}-{name_part(layer.name)}.{self.kind}"
        figure = responses.plot(
            order=order,
            columns=self.columns,
            across=self.across,
            color=self.color,
            scale=self.scale,
        )
        plots.save(figure, path)
        return _DrawnLayer(path, responses, order)

    def draw_overview(self, drawn_layers: Sequence[_DrawnLayer], output: Output) -> str | None:
        """Draw several layers for a single image as one picture and return its name."""
        from oip.network.responses import MOST, overview

        if len(drawn_layers) < 2:
            return None
        if len(drawn_layers) > MOST:
            output.note(
                f"oip: no overview was drawn: it holds {MOST} layers, not {len(drawn_layers)}. "
                "Name fewer layers."
            )
            return None
        results = [layer.responses for layer in drawn_layers]
        orders = [layer.order for layer in drawn_layers]
        plots.save(
            overview(results, orders, color=self.color, scale=self.scale), self.overview_path
        )
        return self.overview_path.name


def _print(drawn_layers: Sequence[_DrawnLayer]) -> None:
    rows = [
        (
            layer.path.name,
            layer.responses.layer,
            layer.responses.layer_class,
            len(layer.responses.maps),
            "x".join(str(side) for side in layer.responses.values.shape[2:]) or "-",
            f"{layer.responses.lowest:z.3g} to {layer.responses.largest:z.3g}",
        )
        for layer in drawn_layers
    ]
    noun = "maps" if all(layer.responses.kind == "maps" for layer in drawn_layers) else "units"
    headings = ("file", "layer", "class", noun, "size", "responses")
    print_table(headings, rows, ", ".join(drawn_layers[0].responses.titles), left=headings[:3])


def _indices(images: Dataset, numbers: str | None, names: Sequence[str], count: int) -> np.ndarray:
    """Return the indices of the images to draw: those given, or the first of each class."""
    if numbers is not None:
        indices = _parse_indices(numbers, len(images))
    else:
        indices = _class_image_indices(images, names, count)
    if len(indices) > _MOST_IMAGES:
        limit = f"at most {_MOST_IMAGES}"
        raise SettingsError("images in one picture", limit, len(indices))
    return indices


def _parse_indices(text: str, count: int) -> np.ndarray:
    """Return the numbers of `0,5,9` or `0-4`, in the order given."""
    if not re.fullmatch(r"\d{1,9}(-\d{1,9})?(,\d{1,9}(-\d{1,9})?)*", text):
        raise SettingsError("--images", "numbers such as 0,5,9 or 0-4", f"'{text}'")
    indices: list[int] = []
    for index_range in text.split(","):
        first, _, last = index_range.partition("-")
        low, high = int(first), int(last or first)
        if high < low:
            raise SettingsError("--images", "a range from low to high", f"'{index_range}'")
        if high >= count:
            raise DataError("--images", f"0 to {count - 1}, of the data", high)
        indices.extend(range(low, high + 1))
    return np.array(indices)


def _class_image_indices(data: Dataset, names: Sequence[str], count: int) -> np.ndarray:
    """Return the indices of the first images of each class."""
    from oip.mi.class_images import class_name

    labels = data.required_labels()
    present = [data.classes[code] for code in np.unique(labels)]
    indices: list[int] = []
    for text in names:
        name = class_name(text, present, data.classes)
        rows = np.flatnonzero(labels == data.classes.index(name))
        if len(rows) < count:
            raise DataError(f"--count of class '{name}'", f"at most {len(rows)}", count)
        indices.extend(rows[:count].tolist())
    return np.array(indices)


def _title(data: Dataset, index: int) -> str:
    if data.labels is None:
        return f"image {index}"
    return f"{data.classes[data.labels[index]]} (image {index})"


def _orders(
    order: str,
    network: Network,
    layers: Sequence[LayerInfo],
    data: Dataset,
    seed: int,
    output: Output,
) -> list[np.ndarray | None]:
    """Return for each layer the numbers of its maps in order, None for the order of numbers."""
    from oip.network.layers import UNLISTED

    if order == "index":
        return [None] * len(layers)
    indices = sorted({layer.index for layer in layers if layer.index != UNLISTED})
    ranked = (
        _ranked(network, indices, data, seed, output)
        if order == "mi"
        else _ranked_order(Path(order), network, indices)
    )
    missing = [layer.name for layer in layers if layer.index not in ranked]
    if missing:
        output.note(
            f"oip: the run has no ranking of {', '.join(missing)}; their maps are in the order of "
            "their numbers."
        )
    return [None if layer.index is None else ranked.get(layer.index) for layer in layers]


def _ranked(
    network: Network, indices: Sequence[int], data: Dataset, seed: int, output: Output
) -> dict[int, np.ndarray]:
    """Rank the maps of layers by their information about the class; leave out unranked layers.

    Raises:
        DataError: no layer can be ranked, because labels or finite responses are missing.
    """
    from oip import mi
    from oip.mi.ranking import WITH_ORDER

    orders, errors = {}, []
    with output.progress() as progress:
        for index in indices:
            try:
                orders[index] = mi.rank(
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
    if errors and not orders:
        raise errors[-1]
    return orders


def _ranked_order(path: Path, network: Network, indices: Sequence[int]) -> dict[int, np.ndarray]:
    """Return the maps in the order of a run's rankings, then those that it has not ranked.

    Raises:
        RunError: no run, a run of another model or without a ranking of the layers, or a damaged
            ranking.
    """
    from oip.run.run import Run

    run = Run.open(path)
    if run.record.model.sha256 != network.digest:
        raise RunError(f"'{path}'", f"a run of '{network.name}'", "one of another model")
    orders = {}
    for index in indices:
        ranking = run.ranking(index)
        if ranking is None:
            continue
        if not ranking.estimators:
            raise RunError(f"'{path}'", f"a whole ranking of layer @{index}", "no estimators")
        all_maps = set(range(network.layer_at(index).maps))
        ranked = [row.map for row in ranking.estimators[0].maps]
        if not all_maps.issuperset(ranked) or len(set(ranked)) < len(ranked):
            received = "maps twice, or that the layer does not have"
            raise RunError(f"'{path}'", f"a whole ranking of layer @{index}", received)
        orders[index] = np.array([*ranked, *sorted(all_maps - set(ranked))])
    if not orders:
        raise RunError(f"'{path}'", "a ranking of these layers", "none", "Use 'oip rank'.")
    return orders
