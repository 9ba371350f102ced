"""A network and its data, opened and fitted to each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oip.core.errors import SettingsError, expected


def input_shape(text: str | None) -> tuple[int, ...] | None:
    """Read `H,W` as numbers.

    Raises:
        SettingsError: anything else.
    """
    if text is None:
        return None
    parts = text.replace("x", ",").split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise SettingsError(expected("--input-size", "pixels such as 96,128", f"'{text}'"))
    return tuple(int(part) for part in parts)


def open_network(
    model: Path,
    imports: tuple[str, ...],
    data: Any,
    input_size: str | None,
    input_name: str | None = None,
) -> Any:
    """Open the network of a file; one that takes any size gets `input_size`, or the data's size."""
    from oip.network.network import Network

    shape = input_shape(input_size)
    network = Network(model, imports, shape, input_name)
    return network if data is None or shape is not None else network.fitted_to(data.images)


def load_data(source: str | None, data_dir: Path | None) -> Any:
    """Load the data that a source names; None for no source."""
    from oip import models

    if source is None:
        return None
    return models.load(source, data_dir=data_dir, part="test")


def set_input(
    network: Any,
    data: Any,
    *,
    input_mean: str | None = None,
    input_std: str | None = None,
    input_range: str | None = None,
    preprocess: str | None = None,
) -> None:
    """Set a network's input statistics: given by the user, known by the model, or from the data.

    Args:
        network: whose `inputs` are set.
        data: images of a source, or None.
        input_mean, input_std, input_range, preprocess: as typed; None where not given.

    Raises:
        SettingsError: text that is not numbers, or numbers that do not fit the input.
    """
    spec = network.inputs
    if data is not None and input_mean is None and preprocess is None:
        spec = spec.measured_if_new(data.images, f"data {data.source}", (data.low, data.high))
    bounds = _numbers("--input-range", input_range)
    if bounds is not None and len(bounds) != 2:
        raise SettingsError(expected("--input-range", "LOW,HIGH", input_range))
    network.inputs = spec.told(
        mean=_numbers("--input-mean", input_mean),
        std=_numbers("--input-std", input_std),
        value_range=(bounds[0], bounds[1]) if bounds else None,
        preprocess=preprocess,
    )


def _numbers(name: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise SettingsError(expected(name, "numbers such as 0.5 or 0.5,0.4,0.4", text)) from error
