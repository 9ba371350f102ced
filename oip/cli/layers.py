"""`oip layers`: the layers of a model that have maps, and all others that have channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import click

from oip.cli import options
from oip.cli.options import ModelOptions, Output
from oip.cli.tables import ALL_ROWS, Record, print_json, print_table, print_text

if TYPE_CHECKING:
    from oip.network.layers import LayerInfo
    from oip.network.network import Network


_LEGEND = {
    "kind": "maps; units without nodes; channels of tokens; attention heads",
    "size": "nodes of each map, or tokens",
    "receptive field": "{points} of the image that a node sees",
    "jump": "{points} between neighboring nodes",
}


@click.command()
@options.model_argument
@options.sized_model
@click.option(
    "--all",
    "lists_all",
    is_flag=True,
    help="List the layers without maps, too: dense layers, tokens, heads, pooling.",
)
@options.output
def command(model: ModelOptions, output: Output, lists_all: bool) -> None:
    """List the layers of MODEL that have maps.

    Other commands take a layer by its name or by its index (@0, @1, ...). With --all, and for a
    model without maps, all other layers whose output has channels are listed, too: dense layers,
    tokens, attention heads, pooling and normalization. Commands take them in the same way. For a
    model with several inputs, the inputs are listed with the layers that depend on each of them.

    \b
    Example:  oip layers model.keras
    """
    click.get_current_context().meta[ALL_ROWS] = True  # the last layers matter most
    from oip.core.images import preprocess_of

    network = model.open(None)
    layers = network.layers
    other_layers = network.other_layers if lists_all or not layers else []
    inputs, unseen = _inputs(network), _unseen_end(network)
    if output.as_json:
        record: Record = {"layers": [layer.to_dict() for layer in layers]}
        if other_layers:
            record["other_layers"] = [layer.to_dict() for layer in other_layers]
        record["inputs"] = [item._asdict() for item in inputs]
        print_json({**record, "input": _statistics(network), "unseen_end": unseen})
        return
    points = "samples" if len(network.inputs.shape) == 2 else "pixels"
    _print_tables(network, other_layers, points)
    _print_inputs(network, inputs, unseen, points)
    if network.layers or network.other_layers:
        layer = (network.reached(network.default_layers) or network.default_layers)[-1]
        run = f"runs/{model.model.stem}"
        model = replace(model, preprocess=preprocess_of(network.inputs.application))
        output.next_steps(model.command("reconstruct", layer.name, out=run))


def _print_tables(network: Network, other_layers: Sequence[LayerInfo], points: str) -> None:
    """Print the layers with maps, and some other layers."""
    headings = ("index", "layer", "class", "maps", "size", "receptive field", "jump")
    if network.layers:
        rows = [_row(layer, str(layer.maps)) for layer in network.layers]
        legend = _legend(headings, points)
        print_table(headings, rows, network.name, left=("layer", "class"), legend=legend)
    if other_layers:
        rows = [_row(layer, _count(layer)) for layer in other_layers]
        title = "other layers" if network.layers else network.name
        headings = (*headings[:3], "kind", *headings[4:])
        legend = _legend(headings, points)
        print_table(headings, rows, title, left=("layer", "class", "kind"), legend=legend)
    if not network.layers and not network.other_layers:
        print_text(f"{network.name}: no layer has maps or units")


def _print_inputs(
    network: Network, inputs: Sequence[_Input], unseen: Sequence[int], points: str
) -> None:
    """Print the statistics of the input, pixels that no map sees, and several inputs."""
    from oip.core.images import preprocess_hint

    spec = network.inputs
    if spec.is_known:
        mean, std = (" ".join(f"{v:z.4g}" for v in values) for values in (spec.mean, spec.std))
        click.echo(f"input {_sides(spec.shape)}, mean {mean}, std {std} (from {spec.source})")
    else:
        hint = preprocess_hint(spec.application).rstrip(".")
        click.echo(f"input {_sides(spec.shape)}, mean and std not known{'. ' * bool(hint)}{hint}")
    if any(unseen):
        sides = _sides(spec.shape[: len(unseen)])
        text = f"the last {_sides(unseen)} of {sides} {points} are seen by no map"
        print_text(f"{text}: strides do not divide the sides, nothing is padded")
    if len(inputs) < 2:
        return
    for item in inputs:
        takes_images = " (takes the images)" if item.images else ""
        indices = ", ".join(f"@{index}" for index in item.layers) or "no layers"
        print_text(f"--input {item.name}: {_sides(item.shape)}, {indices}{takes_images}")


def _legend(headings: Sequence[str], points: str) -> dict[str, str]:
    shown_legend = {name: text for name, text in _LEGEND.items() if name in headings}
    return {name: text.format(points=points) for name, text in shown_legend.items()}


def _count(layer: LayerInfo) -> str:
    return f"{layer.maps} {layer.noun}{'s' if layer.maps > 1 else ''}"


def _row(layer: LayerInfo, kind: str) -> tuple[str, ...]:
    """Return a layer's row."""
    is_one_node = bool(layer.size) and set(layer.size) == {1}  # after a global pooling
    sees_everything = layer.receptive_field is None and (layer.kind != "maps" or is_one_node)
    return (
        f"@{layer.index}",
        layer.name,
        layer.layer_class,
        kind,
        _sides(layer.size) or "-",
        "everything" if sees_everything else _sides(layer.receptive_field),
        _sides(layer.jump),
    )


class _Input(NamedTuple):
    """An input of a model."""

    name: str
    shape: list[int | None]
    images: bool
    """It takes the images."""
    layers: list[int]
    """Indices of the layers that depend on it."""


def _inputs(network: Network) -> list[_Input]:
    """Return the model's inputs, and which of them takes the images."""
    return [
        _Input(
            name=name,
            shape=list(spec.shape[1:]),
            images=index == network.image_input,
            layers=[layer.index for layer in network.layers if index in layer.inputs],
        )
        for index, (name, spec) in enumerate(zip(network.input_names, network.specs, strict=False))
    ]


def _statistics(network: Network) -> Record:
    """Return the input that takes the images, without numbers that are not known."""
    from oip.core.images import preprocess_of

    spec = network.inputs
    record = {**spec.to_dict(), "preprocess": preprocess_of(spec.application)}
    return record if spec.is_known else {**record, "mean": None, "std": None, "source": None}


def _unseen_end(network: Network) -> list[int]:
    """Return how many pixels at the end of each axis are in no receptive field of a map."""
    layer_ends = [_last_pixels_seen(layer) for layer in network.layers]
    known_ends = [ends for ends in layer_ends if ends is not None]
    if not known_ends or len(known_ends) < len(layer_ends):
        return []
    sides = network.inputs.shape[: len(known_ends[0])]
    return [
        max(0, round(side - 1 - max(ends)))
        for side, ends in zip(sides, zip(*known_ends, strict=True), strict=True)
    ]


def _last_pixels_seen(layer: LayerInfo) -> list[float] | None:
    """Return the last pixel along each axis that the layer's last node sees, None if not known."""
    if layer.receptive_field is None or layer.jump is None or layer.offset is None:
        return None
    axes = zip(layer.size, layer.receptive_field, layer.jump, layer.offset, strict=True)
    return [offset + jump * (nodes - 1) + (field - 1) / 2 for nodes, field, jump, offset in axes]


def _sides(values: Sequence[float | None] | None) -> str:
    if values is None:
        return "-"
    return "x".join("?" if value is None else f"{value:g}" for value in values)
