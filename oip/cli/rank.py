"""`oip rank`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Literal

import click

from oip.cli.options import (
    data_dir_option,
    import_option,
    json_option,
    note,
    our_models,
    plain_text,
    print_json,
    quiet_option,
    seed_option,
    with_options,
)

_TOP = 10
_BOTTOM = 3


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("selections", nargs=-1, metavar="[LAYER[:MAPS]]...")
@click.option("--data", "source", metavar="SOURCE", required=True, help="Images with labels.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the run.")
@with_options(
    click.option(
        "--estimator",
        "estimators",
        multiple=True,
        metavar="NAME",
        help="decoder, predictive, kde, ksg, renyi and others ('oip estimate --help' lists them); "
        "the first one gives the order.  [default: decoder, kde]",
    ),
    click.option(
        "--samples",
        type=click.IntRange(min=20),
        default=2000,
        show_default=True,
        help="Images used at most, in the shares of their classes.",
    ),
    click.option(
        "--at",
        type=click.Choice(["response", "block"]),
        default="response",
        show_default=True,
        help="After the activation, or after the pooling that follows.",
    ),
    data_dir_option,
    import_option,
    seed_option,
    json_option,
    quiet_option,
)
def command(
    model: Path,
    selections: tuple[str, ...],
    source: str,
    out: Path,
    estimators: tuple[str, ...],
    samples: int,
    at: Literal["response", "block"],
    data_dir: Path | None,
    imports: tuple[str, ...],
    seed: int,
    as_json: bool,
    quiet: bool,
) -> int:
    """Order the maps of MODEL by what their responses know about the label.

    LAYER is a name, outer/inner for nested models, or @INDEX as 'oip layers' prints it; MAPS is
    all, 3, 0-15 or 0,4,9. Nothing means every convolutional layer. SOURCE is mnist-sample, mnist,
    fashion-mnist, cifar10, a folder, an .npz or a .csv; :train or :test (the default) may follow.

    \b
    Example:  oip rank model.keras Conv2D_3 --data mnist-sample --out runs/mnist
    """
    from mi.estimators.choice import label_estimator
    from oip.cli.inputs import apply_input, opened
    from oip.cli.progress import shown
    from oip.cli.ranking import rank_into
    from oip.core.errors import OipError
    from oip.core.files import check_writable
    from oip.network.selection import parse_selections

    began = time.monotonic()
    chosen = [label_estimator(name) for name in estimators] or None
    check_writable(out)
    data = our_models().load(source, data_dir=data_dir, part="test")
    network = opened(model, imports, data, None)
    layers = _with_pooling(parse_selections(network, selections), at, bool(selections), quiet)
    apply_input(
        network,
        data,
        input_mean=None,
        input_std=None,
        input_range=None,
        preprocess=None,
        quiet=True,
    )
    told, errors, unusable = [], [], 0
    with shown(quiet) as progress:
        for layer, result in rank_into(
            out,
            network,
            layers,
            data,
            estimators=chosen,
            samples=samples,
            at=at,
            seed=seed,
            progress=progress,
        ):
            if isinstance(result, OipError):
                errors.append(result)
                continue
            told.append(result)
            unusable += sum(one["mi"] is None for one in result["estimators"][0]["maps"])
            if not as_json:
                _print_layer(result)
            notices = [*result["notices"], *(n for e in result["estimators"] for n in e["notices"])]
            for notice in notices:
                note(plain_text(f"oip: {layer.name}: {notice}"), quiet)
    if errors and not told:
        raise errors[-1]
    for error in errors:
        click.echo(plain_text(f"oip: {error}"), err=True)
    if as_json:
        print_json({"layers": told})
    else:
        click.echo(plain_text(f"{out} ({time.monotonic() - began:.0f} s)"))
    return 1 if unusable or errors else 0


def _with_pooling(layers: list[Any], at: str, asked: bool, quiet: bool) -> list[Any]:
    """The layers that can be ranked there; those that were asked for must be."""
    from oip.core.errors import SettingsError, expected

    lacking = [layer.name for layer, _ in layers if at == "block" and layer.block_size is None]
    if lacking and (asked or len(lacking) == len(layers)):
        named = ", ".join(lacking[:8])
        raise SettingsError(expected("--at block", "layers that pooling follows", named))
    if lacking:
        note(plain_text(f"oip: left out, no pooling follows: {', '.join(lacking)}"), quiet)
    return [pair for pair in layers if pair[0].name not in lacking]


def _print_layer(result: dict[str, Any]) -> None:
    """The best and the worst maps by each estimator; no places where there is no order."""
    from oip.cli.tables import print_table

    for told in result["estimators"]:
        maps = told["maps"]
        title = (
            f"{result['layer']}: {told['name_shown']}, of {told['ceiling']:.3f} bits, "
            f"{told['samples']} images of {told['split']}"
        )
        click.echo(plain_text(title))
        if not told["ordered"]:
            click.echo("  saturated: no order\n")
            continue
        gap = len(maps) > _TOP + _BOTTOM
        rows = [_row(one, result["classes"]) for one in (maps[:_TOP] if gap else maps)]
        if gap:
            rows += [("...", *[""] * 5), *(_row(one, result["classes"]) for one in maps[-_BOTTOM:])]
        print_table(
            (
                ("rank", "right"),
                ("map", "right"),
                ("bits", "right"),
                ("95 %", "left"),
                ("p adjusted", "right"),
                ("tells most about", "left"),
            ),
            rows,
        )


def _row(one: dict[str, Any], classes: list[str]) -> tuple[str, ...]:
    place = f"{one['rank']} ({one['rank_low']}-{one['rank_high']})"
    if one["mi"] is None:
        return place, str(one["map"]), "-", "not finite", "-", "-"
    best = max(range(len(classes)), key=lambda code: one["per_class"][code])
    known = one["per_class"][best] >= 0.0005
    return (
        place,
        str(one["map"]),
        f"{one['mi']:.3f}" + (" saturated" if one["saturated"] else ""),
        "-" if one["low"] is None else f"{one['low']:.3f} to {one['high']:.3f}",
        "-" if one["p_adjusted"] is None else f"{one['p_adjusted']:.2g}",
        f"{classes[best]} ({one['per_class'][best]:.3f})" if known else "-",
    )
