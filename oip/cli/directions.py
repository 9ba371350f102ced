"""`oip directions`: features that no single map holds."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from oip.cli import options
from oip.cli.options import DataOptions, ModelOptions, Output
from oip.cli.tables import number, print_json, print_table, print_text

_LEGEND = {
    "variance": "share of the layer's variance along the direction, on held-out images",
    "used in": "share of the nodes of held-out images at which the direction is active",
    "maps": "the maps with the largest weights, and the weights",
}


@click.command()
@options.model_argument
@click.argument("layer", metavar="LAYER")
@options.data("Images; labels are not needed.")
@options.out("Run that keeps the directions: a run of the model, or a new or empty folder.")
@click.option(
    "--method",
    type=click.Choice(["nmf", "pca", "ica", "kmeans", "sae"]),
    default="nmf",
    help="nmf: parts that only add up; pca: uncorrelated; ica: independent; kmeans: centers of "
    "clusters; sae: a sparse autoencoder.",
)
@click.option("--count", type=click.IntRange(1), default=16, help="Directions.")
@click.option(
    "--samples", type=click.IntRange(8), default=1000, help="Number of images that are used."
)
@click.option(
    "--active",
    type=click.IntRange(1),
    help="sae: directions that are active at each node.  [default: an eighth of them]",
)
@click.option("--steps", type=click.IntRange(1), default=2000, help="sae: training steps.")
@options.model_and_input
@options.seed
@options.all_rows
@options.output
def command(
    model: ModelOptions,
    layer: str,
    data: DataOptions,
    out: Path,
    output: Output,
    **settings: Any,
) -> None:
    """Find directions in the space of a layer's maps: features that no single map holds.

    LAYER+METHOD:3 then names direction 3, as LAYER:3 names a map, in 'oip reconstruct', 'oip rank'
    and 'oip judge' with the same run as --out. 'explained' is the share of the variance of held-out
    images that the directions explain together; beside it are the shares of as many principal
    components and of random directions.

    \b
    Example:  oip directions model.keras Conv2D_3 --data mnist --method nmf --out runs/mine
              oip directions model.keras Conv2D_3 --data mnist --method sae --count 512 --out runs/s
    """
    from oip.core import files
    from oip.workflows.directions import directions_into

    started = time.monotonic()
    if settings["method"] != "sae":
        options.refuse_alone("--method sae", "active", "steps")
    files.check_writable(out)
    network, images = model.open_with(data, output)
    with output.progress() as progress:
        result = directions_into(out, network, layer, data=images, progress=progress, **settings)
    for text in result.notices:
        output.note(f"oip: {text}")
    seconds = round(time.monotonic() - started, 2)
    if output.as_json:
        print_json({"run": str(out), "seconds": seconds, **result.to_dict()})
    else:
        rows = [
            (
                row,
                number(result.variance[row], 3),
                number(result.used[row], 2),
                ", ".join(f"{index} ({weight:z.2f})" for index, weight in result.maps_of(row, 4)),
            )
            for row in range(len(result))
        ]
        title = f"{result.name}: {result.explained:.0%} of the variance explained "
        title += f"({result.low:.0%} to {result.high:.0%}), by principal components "
        title += f"{result.ceiling:.0%}, by random directions {result.chance:.0%}; "
        title += f"{result.active:.1f} directions at an average place"
        headings = ("direction", "variance", "used in", "maps")
        print_table(headings, rows, title, left=("maps",), legend=_LEGEND)
        print_text(f"{out} ({seconds:.0f} s)")
    output.next_steps(
        model.command("reconstruct", result.name, out=out),
        model.command("rank", result.name, data=data, out=out),
    )
