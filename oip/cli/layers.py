"""`oip layers`: the layers of a model that have maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from oip.cli import options
from oip.cli.options import ModelOptions, Output, quoted
from oip.cli.tables import Record, print_json, print_table, print_text

if TYPE_CHECKING:
    from oip.network.network import Network


_LEGEND = {
    "size": "nodes of each map",
    "receptive field": "pixels of the image that a node sees",
    "jump": "pixels between neighboring nodes",
}


@click.command()
@options.model_argument
@options.sized_model
@options.all_rows
@options.output
def command(model: ModelOptions, output: Output) -> None:
    """List the layers of MODEL that have maps.

    Other commands take a layer by its index (@0, @1, ...) or its name. For a model with several
    inputs, the inputs are listed too, with the layers that depend on each of them.

    \b
    Example:  oip layers model.keras
    """
    network = model.open(None)
    layers = [layer.to_dict() for layer in network.convolutional]
    inputs = _inputs(network)
    if output.as_json:
        print_json({"layers": layers, "inputs": inputs})
        return
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
    headings = ("index", "layer", "class", "maps", "size", "receptive field", "jump")
    print_table(headings, rows, network.name, left=("layer", "class"), legend=_LEGEND)
    spec = network.inputs
    if spec.is_known:
        mean, std = (" ".join(f"{v:.4g}" for v in values) for values in (spec.mean, spec.std))
        click.echo(f"input {_sides(spec.shape)}, mean {mean}, std {std} (from {spec.source})")
    else:
        click.echo(f"input {_sides(spec.shape)}, mean and std not known")
    for record in inputs if len(inputs) > 1 else ():
        takes_images = " (takes the images)" if record["images"] else ""
        indices = ", ".join(f"@{index}" for index in record["layers"]) or "no layers"
        shape = _sides(record["shape"])
        print_text(f"--input {record['name']}: {shape}, {indices}{takes_images}")
    if layers:
        run = f"runs/{model.model.stem}"
        command = quoted("oip", "reconstruct", model.model, layers[-1]["layer"], "--out", run)
        output.next_steps(command)


def _inputs(network: Network) -> list[Record]:
    """Return the model's inputs, and which of them takes the images."""
    return [
        {
            "name": name,
            "shape": list(spec.shape[1:]),
            "images": number == network.image_input,
            "layers": [layer.index for layer in network.layers if number in layer.inputs],
        }
        for number, (name, spec) in enumerate(zip(network.input_names, network.specs, strict=False))
    ]


def _sides(values: Sequence[float] | None) -> str:
    return "-" if values is None else "x".join(f"{value:g}" for value in values)
