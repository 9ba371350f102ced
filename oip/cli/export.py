"""`oip export`: the images of a run as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from oip.cli.options import json_option, out_option, run_argument
from oip.cli.tables import plain_text, print_json
from oip.core.errors import RunError, expected

if TYPE_CHECKING:
    from oip.run.run import Run


@click.command()
@run_argument
@click.argument("layer", required=False)
@out_option("A folder for pictures, or a file that ends in .npz.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["png", "webp", "gif"]),
    default="png",
    show_default=True,
    help="png: the best image; webp, gif: its evolution from noise, animated.",
)
@click.option("--plain", is_flag=True, help="Without the contrast stretch.")
@click.option(
    "--size",
    type=click.IntRange(8, 2048),
    default=224,
    show_default=True,
    help="Pixels of the longer side.",
)
@json_option
def command(
    run: Path, layer: str | None, out: Path, kind: str, plain: bool, size: int, as_json: bool
) -> None:
    """Write the images of RUN (of one LAYER, by name or @INDEX) as files.

    An .npz holds `images` (maps, h, w, bands), the best start of each map in the model's input
    units, with `maps`, `scores` and `verdicts`.

    \b
    Example:  oip export runs/demo Conv2D_3 --out pictures --format webp
    """
    from oip.core.files import check_writable
    from oip.run.export import export_arrays, export_pictures
    from oip.run.run import Run
    from oip.run.shards import layer_parts

    source = Run.open(run)
    indices = source.reconstructed()
    if not indices:
        raise RunError(expected(f"'{run}'", "a run with OIPs", "none", "Use 'oip reconstruct'."))
    if layer is not None:
        indices = [_index(source, layer)]
    check_writable(out.parent if out.suffix == ".npz" else out)
    written: list[Path] = []
    if out.suffix == ".npz":
        if len(indices) > 1:
            names = ", ".join(source.layer(index).name for index in indices)
            raise RunError(expected("an .npz", "one LAYER", f"a run of {names}"))
        written.append(export_arrays(layer_parts(source, indices[0], False), out))
    else:
        for index in indices:
            for part in layer_parts(source, index, kind != "png"):
                written += export_pictures(part, out, kind, not plain, size)
    if as_json:
        print_json({"files": [str(path) for path in written]})
    else:
        click.echo(f"{len(written)} file{'s' if len(written) != 1 else ''} in {plain_text(out)}")


def _index(run: Run, text: str) -> int:
    """Return the index of a layer with OIPs, by its name or @INDEX."""
    indices = run.reconstructed()
    for layer in run.layers:
        if text in (layer.name, f"@{layer.index}") and layer.index in indices:
            return layer.index
    names = ", ".join(run.layer(index).name for index in indices)
    raise RunError(expected("layer", f"one of {names}", f"'{text}'"))
