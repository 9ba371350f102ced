"""`oip estimate`: entropy or information of arrays in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from oip.cli import options
from oip.cli.options import Output, quoted
from oip.cli.tables import print_json, print_text
from oip.core.errors import DataError, RunError, SettingsError
from oip.mi.estimators.base import NAMES

if TYPE_CHECKING:
    import numpy as np


class Quantity(NamedTuple):
    """A quantity that can be estimated."""

    function: str
    """Of `oip.mi`."""
    arrays: tuple[str, ...]
    options: dict[str, str]
    """Options that not every quantity takes, and the function's parameters."""


_NULL = {"null": "null"}
_LABELS = {**_NULL, "discrete": "discrete", "discrete_x": "discrete_x"}
_THREE_LABELS = {**_LABELS, "discrete_given": "discrete_given"}
_QUANTITIES = {
    "entropy": Quantity("entropy", ("x",), {"discrete_x": "discrete"}),
    "total-correlation": Quantity("total_correlation", ("x",), _NULL),
    "negentropy": Quantity("negentropy", ("x",), {}),
    "mi": Quantity("mutual_information", ("x", "y"), _LABELS),
    "conditional-mi": Quantity(
        "conditional_mutual_information", ("x", "y", "given"), _THREE_LABELS
    ),
    "kl": Quantity("kl_divergence", ("x", "y"), _NULL),
    "input": Quantity("input_information", ("x",), {}),
}


_COMPARED = {
    "entropy": ("ksg", "kde"),
    "entropy of labels": ("binning", "renyi"),
    "total-correlation": ("ksg", "rbig"),
    "negentropy": (),
    "mi": ("ksg", "rbig"),
    "mi of a label": ("predictive", "ksg"),
    "mi of labels": ("binning", "renyi"),
    "conditional-mi": ("ksg", "gaussian"),
    "kl": ("ksg", "gaussian"),
    "input": ("kde", "binning"),
}
"""Estimators whose results are worth comparing, for each quantity."""


@click.command()
@click.argument("file", type=options.NamedPath(), metavar="FILE.npz")
@click.option(
    "--estimator",
    "name",
    metavar="NAME",
    help=", ".join(NAMES) + ".  [default: that of the quantity in Python, such as kde for a label "
    "and ksg for numbers]",
)
@click.option(
    "--quantity",
    type=click.Choice(list(_QUANTITIES)),
    help="[default: by the arrays: entropy of x, mi of x and y, conditional-mi with given]",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter of the estimator, such as k=5; may be given several times.",
)
@click.option("--discrete/--no-discrete", default=None, help="Treat y as a label, or as numbers.")
@click.option(
    "--discrete-x/--no-discrete-x", default=None, help="Treat x as a label, or as numbers."
)
@click.option(
    "--discrete-given/--no-discrete-given",
    default=None,
    help="Treat given as a label, or as numbers.",
)
@click.option(
    "--null",
    type=click.IntRange(min=0),
    metavar="N",
    help="Shuffles for the p-value, 0 for none.  [default: by estimator]",
)
@click.option(
    "--draws",
    type=click.IntRange(min=0),
    metavar="N",
    help="Random halves for the 95 % interval, 0 for none.  [default: by estimator]",
)
@options.seed
@options.output
def command(
    file: Path,
    name: str | None,
    quantity: str | None,
    settings: tuple[str, ...],
    draws: int | None,
    seed: int,
    output: Output,
    **optional: int | bool | None,
) -> None:
    """Estimate entropy, total correlation or information of the arrays in FILE.npz.

    The arrays are x, of shape (n,) or (n, d), and for some quantities y and given. If y or given
    has whole numbers, booleans, names or one-hot rows, it is a label. `kl` is the divergence of x
    from y; `negentropy` is the entropy of a Gaussian with x's covariance minus that of x; `input`
    is the information that x, with noise or in bins, has about which sample it came from. Results
    are in bits; JSON has nats, too.

    Only in Python: all maps of a layer at once (`mi.estimator(NAME).over_maps`), many variances
    from one distance matrix (`over_variances` of kde), pairs and groups of maps (`pairs`,
    `group_information` of renyi), the density destructor of RBIG (`mi.Destructor`).

    \b
    Example:  oip estimate samples.npz --estimator ksg --set k=5
    """
    from oip import mi
    from oip.core.checks import parse_assignments

    arrays = _arrays(file)
    quantity_arguments = [] if quantity is None else ["--quantity", quantity]
    if quantity is None:
        quantity = "conditional-mi" if "given" in arrays else "mi" if "y" in arrays else "entropy"
    function, names, parameters = _QUANTITIES[quantity]
    samples = [_array(file, arrays, array) for array in names]
    if name is None and settings:
        raise SettingsError("--set", "--estimator as well", "--set alone")
    values = parse_assignments(settings, "--set")
    choice = {} if name is None else {"estimator": mi.estimator(name, **values)}
    arguments: dict[str, int | bool | None] = {"seed": seed, "draws": draws}
    for option, value in optional.items():
        if option in parameters:
            arguments[parameters[option]] = value
        elif value is not None:
            flag = f"--{option.replace('_', '-')}"
            raise SettingsError(flag, f"none for quantity '{quantity}'", value)
    result = getattr(mi, function)(*samples, **choice, **arguments)
    if not output.as_json:
        print_text(result)
        output.next_steps(
            *_comparison(
                [file, *quantity_arguments], quantity, result.estimator, samples, optional
            ),
            f"{quoted('oip', 'cite', '--estimator', result.estimator)}  # its references",
        )
        return
    for text in result.notices:
        output.note(f"oip: {text}")
    print_json(result.to_dict())


def _comparison(
    call: Sequence[str | Path],
    quantity: str,
    estimator: str,
    samples: Sequence[np.ndarray],
    optional: Mapping[str, int | bool | None],
) -> list[str]:
    """Return the command that estimates the same in another way, if there is one.

    Args:
        call: the file, and the quantity if it was named.
        quantity: what was estimated.
        used: the estimator.
        samples: x, and y and given if the quantity has them.
        optional: options that say what a label is.
    """
    from oip.mi.validation import check_side

    kind = quantity
    switches = {name: value for name, value in optional.items() if isinstance(value, bool)}
    if quantity in ("mi", "entropy"):
        labels = [check_side("x", samples[0], switches.get("discrete_x"), False).is_label]
        labels += [check_side("y", y, switches.get("discrete"), True).is_label for y in samples[1:]]
        kind += " of labels" if all(labels) else " of a label" if any(labels) else ""
    candidates = [name for name in _COMPARED[kind] if name != estimator][:1]
    flags = [
        f"--{'' if value else 'no-'}{option.replace('_', '-')}"
        for option, value in switches.items()
    ]
    commands = [
        quoted("oip", "estimate", *call, "--estimator", name, *flags) for name in candidates
    ]
    return [f"{command}  # for comparison" for command in commands]


def _arrays(file: Path) -> dict[str, np.ndarray]:
    from oip.core.files import read_arrays

    try:
        return read_arrays(file, only=("x", "y", "given"))
    except RunError as error:
        raise DataError(str(error)) from error


def _array(file: Path, arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    from oip.core.files import array_names

    if name not in arrays:
        names = ", ".join(f"'{array}'" for array in array_names(file)) or "no array"
        hint = f"Save it with numpy.savez(file, {name}=...)."
        raise DataError(f"'{file}'", f"an array '{name}'", names, hint)
    return arrays[name]
