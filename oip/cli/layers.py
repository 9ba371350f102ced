"""`oip layers`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from oip.cli.options import import_option, json_option, plain_text, print_json, with_options


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--input-size", metavar="H,W", help="Pixels, for models of any size.")
@with_options(import_option, json_option)
def command(model: Path, input_size: str | None, imports: tuple[str, ...], as_json: bool) -> None:
    """List the layers of MODEL that have maps.

    The index (@0, @1, ...) and the name can both be given to the other commands.

    \b
    Example:  oip layers model.keras
    """
    from oip.cli.inputs import opened
    from oip.cli.tables import print_table

    network = opened(model, imports, None, input_size)
    layers = [layer.to_dict() for layer in network.convolutional]
    if as_json:
        print_json({"layers": layers})
        return
    columns = (
        ("index", "right"),
        ("layer", "left"),
        ("class", "left"),
        ("maps", "right"),
        ("size", "right"),
        ("receptive field", "right"),
        ("jump", "right"),
    )
    rows = [
        (
            f"@{layer['index']}",
            layer["layer"],
            layer["class"],
            layer["maps"],
            _sides(layer["size"]),
            _sides(layer["receptive_field"]),
            _sides(layer["jump"]),
        )
        for layer in layers
    ]
    spec = network.inputs
    print_table(columns, rows, network.name)
    if spec.known:
        mean, std = (" ".join(f"{v:.4g}" for v in values) for values in (spec.mean, spec.std))
        click.echo(f"input {_sides(spec.shape)}, mean {mean}, std {std} (from {spec.source})")
    else:
        click.echo(plain_text(f"input {_sides(spec.shape)}, mean and std not known"))


def _sides(values: Any) -> str:
    return "-" if values is None else "x".join(f"{value:g}" for value in values)
