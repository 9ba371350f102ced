"""`oip estimate`: entropy or information of arrays in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from oip.cli.options import Output, output_options, seed_option, with_options
from oip.cli.tables import print_json, print_text
from oip.core.errors import DataError, RunError, SettingsError, expected
from oip.mi.estimators.base import NAMES

if TYPE_CHECKING:
    import numpy as np

_QUANTITIES = ("entropy", "total-correlation", "negentropy", "mi", "conditional-mi", "kl", "input")
_ARRAYS = {"mi": ("x", "y"), "kl": ("x", "y"), "conditional-mi": ("x", "y", "given")}
"""The arrays of a quantity that is not of x alone."""
_WITH_NULL = ("total-correlation", "mi", "conditional-mi", "kl")
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
        help="A parameter of the estimator, such as k=5; may be given several times.",
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
)
@output_options
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
    output: Output,
) -> None:
    """Estimate entropy, total correlation or information of the arrays in FILE.npz.

    The arrays are x, (n,) or (n, d), and, where there are two or three, y and given. A y or given
    of whole numbers, booleans or names, or of one-hot rows, is a label. `kl` is the divergence of x
    from y; `negentropy` is the entropy of a Gaussian with x's covariance minus that of x; `input`
    is the information that x, with noise or in bins, has about which sample it came from. Results
    are in bits; JSON has nats, too.

    In Python only: all maps of a layer at once (`mi.estimator(NAME).over_maps`), many variances
    from one distance matrix (`over_variances` of kde), pairs and groups of maps (`pairs`,
    `group_information` of renyi), the density destructor of RBIG (`mi.Destructor`).

    \b
    Example:  oip estimate samples.npz --estimator ksg --set k=5
    """
    from oip import mi
    from oip.core.checks import parse_assignments

    arrays = _arrays(file)
    if quantity is None:
        quantity = (
            "entropy" if "y" not in arrays else "conditional-mi" if "given" in arrays else "mi"
        )
    names = _ARRAYS.get(quantity, ("x",))
    samples = [_array(file, arrays, array) for array in names]
    estimator = mi.estimator(name, **parse_assignments(settings, "--set"))
    has_labels = quantity in ("mi", "conditional-mi")
    optional = {
        "--null": ("null", null, quantity in _WITH_NULL),
        "--discrete": ("discrete", discrete, has_labels),
        "--discrete-x": (
            "discrete" if quantity == "entropy" else "discrete_x",
            discrete_x,
            has_labels or quantity == "entropy",
        ),
        "--discrete-given": ("discrete_given", discrete_given, "given" in names),
    }
    arguments: dict[str, int | bool | None] = {}
    for option, (argument, value, is_used) in optional.items():
        if is_used:
            arguments[argument] = value
        elif value is not None:
            raise SettingsError(expected(option, f"none for quantity '{quantity}'", value))
    functions = {
        "entropy": mi.entropy,
        "negentropy": mi.negentropy,
        "total-correlation": mi.total_correlation,
        "mi": mi.mutual_information,
        "conditional-mi": mi.conditional_mutual_information,
        "kl": mi.kl_divergence,
        "input": mi.input_information,
    }
    function = functions[quantity]
    result = function(*samples, estimator=estimator, seed=seed, draws=draws, **arguments)
    if not output.as_json:
        print_text(result)
        return
    for text in result.notices:
        output.note(f"oip: {text}")
    print_json(result.to_dict())


def _arrays(file: Path) -> dict[str, np.ndarray]:
    from oip.core.files import read_arrays

    try:
        return read_arrays(file)
    except RunError as error:
        raise DataError(str(error)) from error


def _array(file: Path, arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    if name not in arrays:
        names = ", ".join(f"'{array}'" for array in arrays) or "no array"
        hint = f"Save it with numpy.savez(file, {name}=...)."
        raise DataError(expected(f"'{file}'", f"an array '{name}'", names, hint))
    return arrays[name]
