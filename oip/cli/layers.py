"""`oip layers`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from oip.cli.options import import_option, json_option, plain_text, print_json, with_options


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--input-size", metavar="H,W", help="Pixels, for models of any size.")
@click.option(
    "--input", "input_name", metavar="NAME", help="Of several inputs, the one that takes images."
)
@with_options(import_option, json_option)
def command(
    model: Path,
    input_size: str | None,
    input_name: str | None,
    imports: tuple[str, ...],
    as_json: bool,
) -> None:
    """List the layers of MODEL that have maps.

    The index (@0, @1, ...) and the name can both be given to the other commands. Of a model with
    several inputs these are listed too, with the layers that do not depend on the one chosen.

    \b
    Example:  oip layers model.keras
    """
    from oip.cli.tables import print_table
    from oip.workflows.inputs import open_network

    network = open_network(model, imports, None, input_size, input_name)
    layers = [layer.to_dict() for layer in network.convolutional]
    if as_json:
        print_json({"layers": layers, "inputs": _inputs(network)})
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
    inputs = _inputs(network)
    for one in inputs if len(inputs) > 1 else ():
        told = " (takes the images)" if one["images"] else ""
        indices = ", ".join(f"@{index}" for index in one["layers"]) or "no layers"
        click.echo(plain_text(f"--input {one['name']}: {_sides(one['shape'])}, {indices}{told}"))


def _inputs(network: Any) -> list[dict[str, Any]]:
    """The model's inputs, and which of them takes the images."""
    return [
        {
            "name": name,
            "shape": list(spec.shape[1:]),
            "images": place == network.image_input,
            "layers": [layer.index for layer in network.layers if place in layer.inputs],
        }
        for place, (name, spec) in enumerate(zip(network.input_names, network.specs, strict=False))
    ]


def _sides(values: Any) -> str:
    return "-" if values is None else "x".join(f"{value:g}" for value in values)
