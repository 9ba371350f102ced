"""Options that describe the input of a model."""

from __future__ import annotations

import warnings
from typing import Any

import click

from oip.cli.options import note, with_options
from oip.core.warnings import Notice
from oip.workflows.inputs import set_input

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


def apply_input(network: Any, data: Any, *, quiet: bool = True, **options: str | None) -> None:
    """Set the input statistics as `set_input` does; say so where mean and deviation are unknown.

    Args:
        network: whose `inputs` are set.
        data: images of a source, or None.
        quiet: say nothing.
        options: as for `set_input`.

    Raises:
        SettingsError: text that is not numbers, or numbers that do not fit the input.
    """
    set_input(network, data, **options)
    if not network.inputs.known:
        note(
            "oip: the input's mean and deviation are not known; 0 and 1 are taken. "
            "Say --data, --input-mean and --input-std, or --preprocess.",
            quiet,
        )
        warnings.filterwarnings("ignore", ".*mean and deviation are not known", Notice)  # said so
