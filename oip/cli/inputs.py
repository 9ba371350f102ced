"""Options that say what a model is fed, and what they make of the model's own knowledge."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import click

from oip.cli.options import note, our_models, with_options
from oip.core.errors import SettingsError, expected
from oip.core.notices import Notice


def _numbers(name: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise SettingsError(expected(name, "numbers such as 0.5 or 0.5,0.4,0.4", text)) from error


input_options = with_options(
    click.option("--data", "source", metavar="SOURCE", help="Images to hold the OIPs against."),
    click.option("--input-mean", metavar="M[,M...]", help="Mean of the input, one or per band."),
    click.option("--input-std", metavar="S[,S...]", help="Standard deviation of the input."),
    click.option("--input-range", metavar="LOW,HIGH", help="Range of plain pixels."),
    click.option(
        "--input-size", metavar="H,W", help="Pixels, for models of any size.  [default: the data's]"
    ),
    click.option(
        "--input",
        "input_name",
        metavar="NAME",
        help="Of several inputs, the one that takes the images.  [default: the first that can]",
    ),
    click.option(
        "--preprocess",
        type=click.Choice(["caffe", "torch", "tf"]),
        help="The input is prepared as keras.applications does it.",
    ),
)
"""Adds source, input_mean, input_std, input_range, input_size, input_name, preprocess."""


def input_shape(text: str | None) -> tuple[int, ...] | None:
    """`H,W` as numbers.

    Raises:
        SettingsError: anything else.
    """
    if text is None:
        return None
    parts = text.replace("x", ",").split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise SettingsError(expected("--input-size", "pixels such as 96,128", f"'{text}'"))
    return tuple(int(part) for part in parts)


def opened(
    model: Path,
    imports: tuple[str, ...],
    data: Any,
    input_size: str | None,
    input_name: str | None = None,
) -> Any:
    """The network of a file; where it takes any size, of the size told, or of the data's."""
    from oip.network.view import Network

    shape = input_shape(input_size)
    network = Network(model, imports, shape, input_name)
    return network if data is None or shape is not None else network.fitted_to(data.images)


def loaded_data(source: str | None, data_dir: Path | None) -> Any:
    """The data that a source names, or None for no source."""
    if source is None:
        return None
    return our_models().load(source, data_dir=data_dir, part="test")


def apply_input(
    network: Any,
    data: Any,
    *,
    input_mean: str | None = None,
    input_std: str | None = None,
    input_range: str | None = None,
    preprocess: str | None = None,
    quiet: bool = True,
) -> None:
    """Settles what the network is fed: told by the user, known by the model, or from the data.

    Args:
        network: whose `inputs` are set.
        data: what a source holds, or None.
        input_mean, input_std, input_range, preprocess: as typed; None for what was not told.
        quiet: do not say that mean and deviation are unknown.

    Raises:
        SettingsError: numbers that are none, or do not fit the input.
    """
    spec = network.inputs
    if data is not None and input_mean is None and preprocess is None:
        spec = spec.measured_if_new(data.images, f"data {data.source}", (data.low, data.high))
    bounds = _numbers("--input-range", input_range)
    if bounds is not None and len(bounds) != 2:
        raise SettingsError(expected("--input-range", "LOW,HIGH", input_range))
    spec = spec.told(
        mean=_numbers("--input-mean", input_mean),
        std=_numbers("--input-std", input_std),
        value_range=(bounds[0], bounds[1]) if bounds else None,
        preprocess=preprocess,
    )
    if not spec.known:
        note(
            "oip: the input's mean and deviation are not known; 0 and 1 are taken. "
            "Say --data, --input-mean and --input-std, or --preprocess.",
            quiet,
        )
        warnings.filterwarnings("ignore", ".*mean and deviation are not known", Notice)  # said so
    network.inputs = spec
