"""`oip estimate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from oip.cli.options import (
    json_option,
    note,
    plain_text,
    print_json,
    quiet_option,
    seed_option,
    with_options,
)
from oip.mi.estimators.registry import NAMES

if TYPE_CHECKING:
    import numpy as np

_QUANTITIES = ("entropy", "total-correlation", "negentropy", "mi", "conditional-mi", "kl", "input")
_ARRAYS = {"mi": ("x", "y"), "kl": ("x", "y"), "conditional-mi": ("x", "y", "given")}
"""What a quantity is of, where it is not of x alone."""
_NULL = ("total-correlation", "mi", "conditional-mi", "kl")
"""Quantities with a p-value."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.npz")
@with_options(
    click.option("--estimator", "name", required=True, metavar="NAME", help=", ".join(NAMES) + "."),
    click.option(
        "--quantity",
        type=click.Choice(_QUANTITIES),
        help="[default: by the arrays: entropy of x, mi of x and y, conditional-mi with given]",
    ),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="NAME=VALUE",
        help="A parameter of the estimator, such as k=5; may be said again.",
    ),
    click.option(
        "--discrete/--no-discrete", default=None, help="Take y as a label, or as numbers."
    ),
    click.option(
        "--discrete-x/--no-discrete-x",
        default=None,
        help="Take x as a label, or as numbers.",
    ),
    click.option(
        "--discrete-given/--no-discrete-given",
        default=None,
        help="Take given as a label, or as numbers.",
    ),
    click.option(
        "--null",
        type=click.IntRange(min=0),
        metavar="N",
        help="Shuffles for the p-value, 0 for none.  [default: as many as are cheap]",
    ),
    click.option(
        "--draws",
        type=click.IntRange(min=0),
        metavar="N",
        help="Random halves for the 95 % interval, 0 for none.  [default: as many as are cheap]",
    ),
    seed_option,
    json_option,
    quiet_option,
)
def command(
    file: Path,
    name: str,
    quantity: str | None,
    settings: tuple[str, ...],
    discrete: bool | None,
    discrete_x: bool | None,
    discrete_given: bool | None,
    null: int | None,
    draws: int | None,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Estimate entropy, total correlation or information of the arrays in FILE.npz.

    The arrays are x, (n,) or (n, d), and, where there are two or three, y and given. A y or given
    of whole numbers, booleans or names, or of one-hot rows, is a label. `kl` is the divergence of x
    from y, `negentropy` what x lacks to a Gaussian of its covariance, `input` what x, with noise or
    in bins, still tells of which sample it came from. Information is in bits; JSON has nats, too.

    Not here but in Python: all maps of a layer at once (`mi.estimator(NAME).over_maps`), many
    variances from one distance matrix (`over_variances` of kde), pairs and groups of maps (`pairs`,
    `group_information` of renyi), the density destructor of RBIG (`mi.Destructor`).

    \b
    Example:  oip estimate samples.npz --estimator ksg --set k=5
    """
    from oip import mi
    from oip.core.checks import parse_assignments
    from oip.core.errors import SettingsError, expected

    arrays = _arrays(file)
    asked = quantity or _quantity(arrays)
    names = _ARRAYS.get(asked, ("x",))
    given = [_array(file, arrays, one) for one in names]
    one = mi.estimator(name, **parse_assignments(settings, "--set"))
    options: dict[str, Any] = {"estimator": one, "seed": seed, "draws": draws}
    has_labels = asked in ("mi", "conditional-mi")
    said = {
        "--null": (null, asked in _NULL, "null"),
        "--discrete": (discrete, has_labels, "discrete"),
        "--discrete-x": (
            discrete_x,
            has_labels or asked == "entropy",
            "discrete" if asked == "entropy" else "discrete_x",
        ),
        "--discrete-given": (discrete_given, "given" in names, "discrete_given"),
    }
    for option, (value, used, argument) in said.items():
        if used:
            options[argument] = value
        elif value is not None:
            raise SettingsError(expected(option, f"none for quantity '{asked}'", value))
    functions = {
        "entropy": mi.entropy,
        "negentropy": mi.negentropy,
        "total-correlation": mi.total_correlation,
        "mi": mi.mutual_information,
        "conditional-mi": mi.conditional_mutual_information,
        "kl": mi.kl_divergence,
        "input": mi.input_information,
    }
    result = functions[asked](*given, **options)
    if not as_json:
        click.echo(plain_text(result))
        return
    for text in result.notices:
        note(plain_text(f"oip: {text}"), quiet)
    print_json(result.to_dict())


def _arrays(file: Path) -> dict[str, np.ndarray]:
    from oip.core.errors import DataError, RunError
    from oip.core.files import read_arrays

    try:
        return read_arrays(file)
    except RunError as error:
        raise DataError(str(error)) from error


def _quantity(arrays: dict[str, Any]) -> str:
    if "y" not in arrays:
        return "entropy"
    return "conditional-mi" if "given" in arrays else "mi"


def _array(file: Path, arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    from oip.core.errors import DataError, expected

    if name not in arrays:
        there = ", ".join(f"'{one}'" for one in arrays) or "no array"
        hint = f"Save it with numpy.savez(file, {name}=...)."
        raise DataError(expected(f"'{file}'", f"an array '{name}'", there, hint))
    return arrays[name]
