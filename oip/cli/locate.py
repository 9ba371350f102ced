"""`oip locate`: the patterns of maps in images."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from oip.cli import options
from oip.cli.options import DataOptions, ModelOptions, Output, quoted
from oip.cli.tables import Record, number, of_units, p_value, print_json, print_table, print_text
from oip.core.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from msgspec import UnsetType

    from oip.ascent.decomposition import Copies, Decompositions
    from oip.ascent.localization import Locations
    from oip.ascent.translation import Translations
    from oip.core.formats import DecompositionFile
    from oip.core.output_formats import LayerDecomposition, LayerTranslation, LocatedLayer

_LEGEND = {
    "images with a response": "share of the images in which any node of the map responds",
    "strongest in": "number of the image with the largest response, at the node beside it",
    "match": "likeness of the map's OIP and what its field shows there, 1 at most",
    "of others": "share of other images that are less like it",
}
_DECOMPOSITION = {
    "share explained": "of the variance of the map's OIP, of pixels that nothing was fitted to",
    "p": "probability of such a share among the nodes of other maps",
}
_OTHERS = "the share that as many copies of theirs explain (median)"
SUMS = "decomposition.npz"
"""In the folder of a run's layer."""
PLACES = "places"
"""Folder of the pictures in a run."""
_BLOCK = 64
"""Maps at a time: their images are in memory."""


@click.command()
@options.model_argument
@click.argument("selections", nargs=-1, required=True, metavar="LAYER[:MAPS]...")
@options.data("Images to look through.", required=False)
@options.out(
    "Folder of the pictures. A run of the model gets them in its folder 'places', and keeps the "
    "sums of --translation, which its gallery then shows."
)
@click.option("--count", type=click.IntRange(1, 32), default=8, help="Images of each map.")
@click.option(
    "--translation",
    is_flag=True,
    help="Also the OIPs of several nodes of each map: how far they are shifted copies, and how "
    "much of the map's OIP is a sum of such copies.",
)
@click.option(
    "--copies",
    type=click.Choice(["shifted", "grown"]),
    help="With --translation: sum the OIP of one node, shifted, or that of each node.  "
    "[default: shifted]",
)
@options.earlier("--run", options.NamedPath())
@click.option(
    "--starts",
    type=click.IntRange(1, 64),
    help="Images grown for each node.  [default: 4; of color images 1]",
)
@options.model_with_directions
@options.seed
@options.all_rows
@options.output
def command(
    model: ModelOptions,
    selections: tuple[str, ...],
    data: DataOptions,
    out: Path,
    count: int,
    translation: bool,
    copies: Copies | None,
    run: Path | None,
    starts: int | None,
    seed: int,
    output: Output,
) -> int:
    """Find where in images the patterns of maps are: the nodes that respond most.

    LAYER is a name, outer/inner for nested models, or @INDEX as 'oip layers' prints it; MAPS is
    all, 3, 0-15 or 0,4,9. Writes a picture for each map, with the receptive field drawn on every
    image, and locations.json. Beside the images is the OIP of the layer's central node; 'match' is
    its similarity to the pixels in the field, with the percentile of that among other images. It is
    not grown where no image excites any of the maps; 'oip reconstruct' shows what would.

    \b
    Example:  oip locate model.keras Conv2D_3:0-15 --data mnist-sample --out places
    """
    from oip.ascent import decomposition, localization
    from oip.ascent import translation as translations
    from oip.core import files
    from oip.core.output_formats import LocationsFile
    from oip.network.layer_spec import parse_selections
    from oip.run.run import NAME as RUN_FILE
    from oip.run.run import Run
    from oip.run.shards import key_of

    started = time.monotonic()
    kept_in = run or (out if (out / RUN_FILE).is_file() else None)
    out = out / PLACES if kept_in == out else out
    files.check_writable(out)
    with output.waiting(f"opening {model.model.name}"):
        model = model.in_run(kept_in)
        network, images = model.open_with(data)
    chosen = parse_selections(network, selections)
    for option, value in (("--run", run), ("--copies", copies)):
        if value is not None and not translation:
            raise SettingsError(option, "--translation beside it", "none")
    copies = copies or "shifted"
    opened_run = None if kept_in is None else Run.open(kept_in)
    if opened_run is not None:
        for layer, _ in chosen:
            opened_run.check_unit_layer(network, layer.name)
    classes = images.classes if images.labels is not None else None
    layers: list[Record] = []
    written: list[Path] = []
    unusable = 0
    with output.progress() as progress:
        growing: dict[str, Any] = {"seed": seed, "progress": progress}
        for layer, maps in chosen:
            parts = []
            for first in range(0, len(maps), _BLOCK):
                block = maps[first : first + _BLOCK]
                locations = localization.locate(
                    network,
                    images.images,
                    f"@{layer.index}",
                    block,
                    count=count,
                    labels=images.labels,
                    classes=classes,
                    starts=starts,
                    **growing,
                )
                part = {**locations.to_dict(), "kind": layer.kind}
                if locations.unusable.size:
                    unusable += locations.unusable.size
                    listed = ", ".join(str(number) for number in locations.unusable[:8])
                    output.note(f"oip: {layer.name}: not finite: {layer.noun}s {listed}")
                written += _draw(locations, locations.index, out, "places")
                if translation:
                    of_block = (network, f"@{layer.index}", block)
                    more = {**growing, "starts": starts or 4}
                    nodes = translations.translation(*of_block, **more)
                    part["translation"] = nodes.to_dict()
                    written += _draw(nodes, nodes.index, out, "nodes")
                    sums = decomposition.decompose(*of_block, copies=copies, **more)
                    part["decomposition"] = sums.to_dict()
                    written += _draw(sums, sums.index, out, "sum")
                    if opened_run is not None:
                        key = key_of(
                            {
                                "model": network.digest,
                                "input": network.inputs.to_dict(),
                                "copies": copies,
                                "starts": more["starts"],
                                "seed": seed,
                            }
                        )
                        added = partial(_added, sums, key)
                        opened_run.change(sums.index, SUMS, added)
                parts.append(part)
            layers.append(_merged(parts))
    record = LocationsFile.of({"data": images.source, "layers": layers})
    record.write(out / "locations.json")
    if output.as_json:
        print_json({"out": str(out), "files": [path.name for path in written], "layers": layers})
    else:
        for located in record.layers:
            _print(located, images.source)
        seconds = f"{time.monotonic() - started:.0f} s"
        pictures = "1 picture" if len(written) == 1 else f"{len(written)} pictures"
        print_text(f"{pictures} and locations.json in {out} ({seconds})")
    layer, maps = chosen[0]
    selection = f"{layer.name}:{maps[0]}"
    grow = ("oip", "reconstruct", model.model, selection, "--data", data.source)
    output.next_steps(quoted(*grow, "--out", model.run))
    if not unusable:
        return 0
    return 2 if unusable == sum(len(maps) for _, maps in chosen) else 1


def _merged(parts: list[Record]) -> Record:
    """Merge the records of blocks of maps of one layer."""
    whole = {**parts[0], "maps": [row for part in parts for row in part["maps"]]}
    for name in {"translation", "decomposition"} & whole.keys():
        whole[name] = _merged([part[name] for part in parts])
    return whole


def _draw(
    results: Iterable[Locations] | Iterable[Translations] | Iterable[Decompositions],
    index: int,
    out: Path,
    kind: str,
) -> list[Path]:
    """Draw a picture for each map, such as `002-Conv2D_3-places-0017.png`."""
    from oip.core import plots
    from oip.core.files import name_part

    return [
        plots.save(
            result.plot(),
            out / f"{index:03d}-{name_part(result.layer)}-{kind}-{result.maps[0]:04d}.png",
        )
        for result in results
    ]


def _print(layer: LocatedLayer, source: str) -> None:
    from oip.core.formats import UNIT_NOUNS

    rows = []
    for row in layer.maps:
        best = row.images[0] if row.images else None
        percentile = _median([image.match_percentile for image in row.images])
        labels = [image.label for image in row.images if isinstance(image.label, str)]
        rows.append(
            (
                row.map,
                "not finite" if row.excited is None else f"{100 * row.excited:.1f} %",
                "-" if best is None else best.image,
                "-" if best is None else ",".join(map(str, best.node)) or "-",
                number(None if best is None else best.response),
                number(_median([image.match for image in row.images]), 2),
                "-" if percentile is None else f"{percentile:.0f} %",
                " ".join(dict.fromkeys(labels)),
            )
        )
    noun = UNIT_NOUNS[layer.kind]
    headings = (noun, "images with a response", "strongest in", "node", "response", "match")
    title = f"{layer.layer}: {layer.searched} images of {source}"
    legend = of_units(_LEGEND, noun)
    headings += ("of others", "classes")
    if not any(row[-1] for row in rows):
        headings, rows = headings[:-1], [row[:-1] for row in rows]
    print_table(headings, rows, title, left=("classes",), legend=legend)
    if layer.translation:
        _print_translation(layer.translation, noun)
    if layer.decomposition:
        _print_decomposition(layer.decomposition, noun)


def _print_translation(layer: LayerTranslation, noun: str) -> None:
    reference = layer.nodes.index(layer.reference)
    rows = []
    for row in layer.maps:
        other_nodes = [node for index, node in enumerate(row.nodes) if index != reference]
        medians = (
            _median([node.agreement for node in other_nodes]),
            _median([node.unmoved for node in other_nodes]),
            _median([node.aligned for node in other_nodes]),
            row.nodes[reference].aligned,
        )
        rows.append((row.map, *(number(value, 2) for value in medians)))
    names = ("pairs at the expected shift", "similarity unmoved", "moved as expected")
    headings = (noun, *names, "starts of one node")
    title = f"{layer.layer}: OIPs of {len(layer.nodes)} nodes (medians over nodes)"
    print_table(headings, rows, title)


def _added(sums: Decompositions, key: str, path: Path) -> DecompositionFile:
    """Return sums with those of other maps that the file holds."""
    from oip.core.formats import DecompositionFile

    return sums.to_file(key, DecompositionFile.read_if_whole(path))


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:z.2f}"


def _print_decomposition(layer: LayerDecomposition, noun: str) -> None:
    rows = [
        (
            row.map,
            _share(row.share),
            "-" if row.low is None else f"{row.low:.2f} to {row.high:.2f}",
            _share(row.null),
            p_value(row.p_value),
        )
        for row in layer.maps
    ]
    beside = f"nodes of other {noun}s"
    headings = (noun, "share explained", "95 %", beside, "p")
    title = f"{layer.layer}: OIPs as sums of those of {len(layer.nodes)} nodes"
    legend = of_units({beside: _OTHERS, **_DECOMPOSITION}, noun)
    print_table(headings, rows, title, left=("95 %",), legend=legend)


def _median(values: Iterable[float | UnsetType | None]) -> float | None:
    """Return the median of the numbers among some values, None without any."""
    from statistics import median

    numbers = [value for value in values if isinstance(value, float)]
    return median(numbers) if numbers else None
