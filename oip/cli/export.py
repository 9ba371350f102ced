"""`oip export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from oip.cli.options import json_option, plain_text, print_json


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("layer", required=False)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="A folder for pictures, or a file that ends in .npz.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["png", "webp", "gif"]),
    default="png",
    show_default=True,
    help="png: the best image; webp, gif: its evolution from noise, animated.",
)
@click.option("--plain", "plainly", is_flag=True, help="Without the contrast stretch.")
@click.option("--size", type=click.IntRange(8, 2048), default=224, show_default=True)
@json_option
def command(
    run: Path,
    layer: str | None,
    out: Path,
    kind: str,
    plainly: bool,
    size: int,
    as_json: bool,
) -> None:
    """Write the images of RUN (of one LAYER, by name or @INDEX) as files.

    An .npz holds `images` (maps, h, w, bands): the best start of each map in the model's input
    units, with `maps`, `scores` and `verdicts`.

    \b
    Example:  oip export runs/demo Conv2D_3 --out pictures --format webp
    """
    from oip.core.errors import RunError, expected
    from oip.core.files import check_writable
    from oip.run.export import export_arrays, export_pictures
    from oip.run.run import Run
    from oip.run.shards import layer_parts

    found = Run.open(run)
    indices = found.reconstructed()
    if not indices:
        raise RunError(expected(f"'{run}'", "a run with OIPs", "none", "Use 'oip reconstruct'."))
    if layer is not None:
        indices = [_index(found, layer)]
    check_writable(out.parent if out.suffix == ".npz" else out)
    written: list[Path] = []
    if out.suffix == ".npz":
        if len(indices) > 1:
            names = ", ".join(plain_text(found.layers[index]["layer"]) for index in indices)
            raise RunError(expected("an .npz", "one LAYER", f"a run of {names}"))
        written.append(export_arrays(layer_parts(found, indices[0], False), out))
    else:
        stages = kind != "png"
        for part in (part for index in indices for part in layer_parts(found, index, stages)):
            written += export_pictures(part, out, kind, not plainly, size)
    if as_json:
        print_json({"files": [str(path) for path in written]})
    else:
        click.echo(f"{len(written)} file{'s' if len(written) != 1 else ''} in {plain_text(out)}")


def _index(run: Any, text: str) -> int:
    from oip.core.errors import RunError, expected

    have = run.reconstructed()
    for layer in run.layers:
        if text in (layer["layer"], f"@{layer['index']}") and layer["index"] in have:
            return layer["index"]
    names = ", ".join(run.layers[index]["layer"] for index in have)
    raise RunError(expected("layer", f"one of {names}", f"'{text}'"))
