"""`oip locate`: the patterns of maps in images."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oip.cli import options
from oip.cli.options import DataOptions, ModelOptions, Output, quoted
from oip.cli.tables import interval, number, of_units, p_value, print_json, print_table, print_text
from oip.core.errors import SettingsError
from oip.core.units import finite_median, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oip.ascent.decomposition import Copies
    from oip.core.output_formats import LayerDecomposition, LayerTranslation, LocatedLayer

_LEGEND = {
    "images with a response": "share of the images in which any node of the map responds",
    "strongest in": "number of the image with the largest response; node: where in the map",
    "match": "similarity of the OIP and the image in the receptive field, 1 at most",
    "percentile": "share of other images that are less like it",
}
_DECOMPOSITION = {
    "share explained": "of the variance of the map's OIP, of pixels that nothing was fitted to",
    "p": "probability of such a share among the nodes of other maps",
}
_OTHERS = "the share that as many copies of theirs explain (median)"


@click.command()
@options.model_argument
@click.argument("selections", nargs=-1, required=True, metavar="LAYER[:MAPS]...")
@options.data("Images to search.", required=False)
@options.out(
    "Folder of the pictures. If it is a run of the model, they go into its folder 'places', and "
    "the run keeps the sums of --translation for its gallery."
)
@click.option(
    "--count", type=click.IntRange(1, 32), default=8, help="Number of images for each map."
)
@click.option(
    "--translation",
    is_flag=True,
    help="Also grow the OIPs of several nodes of each map: are they shifted copies of one "
    "pattern, and how much of the map's OIP is a sum of such copies?",
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
    help="Images grown for each node.  [default: 4; 1 for color images]",
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
    all, 3, 0-15 or 0,4,9. Writes locations.json and, for each map, a picture of the images to which
    it responds most, with the receptive field of the node drawn on each. Beside them is the OIP of
    the layer's central node; 'match' is its similarity to the pixels in the field, with a
    percentile among other images. If no map responds to any image, no OIP is grown; 'oip
    reconstruct' shows what the maps respond to.

    \b
    Example:  oip locate model.keras Conv2D_3:0-15 --data mnist-sample --out places
    """
    from oip.core.files import check_writable
    from oip.core.formats import UNIT_NOUNS
    from oip.run.run import NAME as RUN_FILE
    from oip.workflows.locate import FILE, locate_into

    started = time.monotonic()
    if not translation:
        for option, value in (("--run", run), ("--copies", copies)):
            if value is not None:
                raise SettingsError(option, "--translation as well", f"{option} alone")
    check_writable(out)
    own_run = run or (out if (out / RUN_FILE).is_file() else None)
    network, images = model.in_run(own_run).open_with(data, output)
    with output.progress() as progress:
        result = locate_into(
            out,
            network,
            selections,
            data=images,
            count=count,
            translation=translation,
            copies=copies or "shifted",
            starts=starts,
            run=run,
            seed=seed,
            progress=progress,
        )
    nouns = {layer.layer: UNIT_NOUNS[layer.kind] for layer in result.layers}
    for name, maps in result.not_finite.items():
        listed = ", ".join(str(map_index) for map_index in maps[:8])
        output.note(f"oip: {name}: not finite: {nouns[name]}s {listed}")
    if output.as_json:
        print_json(result.to_dict())
    else:
        for located in result.layers:
            _print(located, images.source)
        seconds = f"{time.monotonic() - started:.0f} s"
        pictures = plural(len(result.pictures), "picture")
        print_text(f"{pictures} and {FILE} in {result.out} ({seconds})")
    output.next_steps(_next(result.layers, own_run, model, data))
    return 1 if result.not_finite else 0


def _next(
    layers: Sequence[LocatedLayer], run: Path | None, model: ModelOptions, data: DataOptions
) -> str:
    """Return the command that shows the OIPs of the maps, or grows those that are missing."""
    from oip.run.run import Run

    if run is not None:
        opened = Run.open(run)
        if any(opened.reconstructed_layer(layer.layer) is not None for layer in layers):
            return quoted("oip", "gallery", run, "--open")
    selection = f"{layers[0].layer}:{layers[0].maps[0].map}"
    return model.command("reconstruct", selection, data=data, out=run or model.run)


def _print(layer: LocatedLayer, source: str) -> None:
    from oip.core.formats import UNIT_NOUNS

    rows = []
    for row in layer.maps:
        best = row.images[0] if row.images else None
        percentile = finite_median(image.match_percentile for image in row.images)
        labels = [image.label for image in row.images if isinstance(image.label, str)]
        rows.append(
            (
                row.map,
                "not finite" if row.excited is None else f"{100 * row.excited:.1f} %",
                "-" if best is None else best.image,
                "-" if best is None else ",".join(map(str, best.node)) or "-",
                number(None if best is None else best.response),
                number(finite_median(image.match for image in row.images), 2),
                "-" if percentile is None else f"{percentile:.0f} %",
                " ".join(dict.fromkeys(labels)),
            )
        )
    noun = UNIT_NOUNS[layer.kind]
    headings = (noun, "images with a response", "strongest in", "node", "response", "match")
    title = f"{layer.layer}: {layer.searched} images of {source}"
    legend = of_units(_LEGEND, noun)
    headings += ("percentile", "classes")
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
            finite_median(node.agreement for node in other_nodes),
            finite_median(node.unmoved for node in other_nodes),
            finite_median(node.aligned for node in other_nodes),
            row.nodes[reference].aligned,
        )
        rows.append((row.map, *(number(value, 2) for value in medians)))
    names = ("pairs at the expected shift", "similarity unmoved", "moved as expected")
    headings = (noun, *names, "starts of one node")
    title = f"{layer.layer}: OIPs of {len(layer.nodes)} nodes (medians over nodes)"
    print_table(headings, rows, title)


def _print_decomposition(layer: LayerDecomposition, noun: str) -> None:
    rows = [
        (
            row.map,
            number(row.share, 2),
            interval(row.low, row.high),
            number(row.null, 2),
            p_value(row.p_value),
        )
        for row in layer.maps
    ]
    beside = f"nodes of other {noun}s"
    headings = (noun, "share explained", "95 %", beside, "p")
    title = f"{layer.layer}: OIPs as sums of those of {len(layer.nodes)} nodes"
    legend = of_units({beside: _OTHERS, **_DECOMPOSITION}, noun)
    print_table(headings, rows, title, left=("95 %",), legend=legend)
