"""`oip estimate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mi.estimators.choice import NAMES
from oip.cli.options import (
    json_option,
    note,
    plain_text,
    print_json,
    quiet_option,
    seed_option,
    with_options,
)

if TYPE_CHECKING:
    import numpy as np

_QUANTITIES = ("entropy", "total-correlation", "mi", "conditional-mi", "kl", "input")


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
    click.option("--discrete-x", is_flag=True, help="Take x as a label."),
    click.option(
        "--null",
        type=click.IntRange(min=0),
        metavar="N",
        help="Shuffles for the p-value.  [default: as many as are cheap]",
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
    discrete_x: bool,
    null: int | None,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Estimate entropy, total correlation or information of the arrays in FILE.npz.

    The arrays are x, (n,) or (n, d), and, where there are two or three, y and given. A y of whole
    numbers, booleans or names, or of one-hot rows, is a label. `input` is what x, with noise or in
    bins, still tells of which sample it came from. Information is in bits.

    \b
    Example:  oip estimate samples.npz --estimator ksg --set k=5
    """
    import mi

    arrays = _arrays(file)
    asked = quantity or _quantity(arrays)
    wanted = {"mi": ("x", "y"), "kl": ("x", "y"), "conditional-mi": ("x", "y", "given")}
    given = [_array(file, arrays, one) for one in wanted.get(asked, ("x",))]
    one = mi.estimator(name, **_settings(settings))
    options: dict[str, Any] = {"estimator": one, "seed": seed}
    if asked not in ("entropy", "input"):
        options["null"] = null
    if asked in ("mi", "conditional-mi"):
        options |= {"discrete": discrete, "discrete_x": discrete_x or None}
    functions = {
        "entropy": mi.entropy,
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


def _settings(texts: tuple[str, ...]) -> dict[str, Any]:
    """NAME=VALUE as numbers, True, False or words."""
    from oip.core.errors import SettingsError, expected

    result = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier() or not value:
            raise SettingsError(expected("--set", "NAME=VALUE, such as k=5", f"'{text}'"))
        result[name] = _value(value)
    return result


def _value(text: str) -> bool | int | float | str:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
