"""What commands that draw a model's responses to data share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from oip.cli.options import (
    data_dir_option,
    import_option,
    json_option,
    quiet_option,
    seed_option,
    with_options,
)

picture_options = with_options(
    click.option(
        "--colour", type=click.Choice(["grey", "viridis"]), default="grey", show_default=True
    ),
    click.option(
        "--format", "kind", type=click.Choice(["png", "svg"]), default="png", show_default=True
    ),
    data_dir_option,
    import_option,
    seed_option,
    json_option,
    quiet_option,
)
"""Adds colour, kind, data_dir, imports, seed, as_json, quiet."""


def model_and_data(
    model: Path, imports: tuple[str, ...], source: str, data_dir: Path | None
) -> tuple[Any, Any]:
    """The network of a file, its input settled by the data if it knows nothing, and the data."""
    from oip import models
    from oip.cli.inputs import apply_input
    from oip.workflows.inputs import open_network

    data = models.load(source, data_dir=data_dir, part="test")
    network = open_network(model, imports, data, None)
    apply_input(network, data)
    return network, data


def check_labelled(data: Any) -> None:
    """Raises a DataError for data without labels."""
    from oip.core.errors import DataError, expected

    if data.labels is None:
        raise DataError(expected(f"data '{data.source}'", "images with labels", "no labels"))
