"""`oip rank`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Literal

import click

from oip.cli.options import (
    at_option,
    data_dir_option,
    import_option,
    json_option,
    note,
    plain_text,
    print_json,
    quiet_option,
    seed_option,
    with_options,
)


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
        "the first one gives the order.  [default: predictive, kde]",
    ),
    click.option(
        "--samples",
        type=click.IntRange(min=20),
        default=2000,
        show_default=True,
        help="Images used at most, in the shares of their classes.",
    ),
    at_option,
    click.option(
        "--kernels",
        is_flag=True,
        help="Also the 2-D kernels that feed each map, in order and drawn (500 images at most).",
    ),
    click.option(
        "--redundancy",
        is_flag=True,
        help="Also what maps share, pair by pair and together (500 images at most).",
    ),
    click.option(
        "--with-input", is_flag=True, help="Also what each map tells of the input (kde, ...)."
    ),
    click.option(
        "--ablate", is_flag=True, help="Also what the network's loss gains without each map."
    ),
    click.option(
        "--silenced-to",
        type=click.Choice(["zero", "mean"]),
        default="zero",
        show_default=True,
        help="What --ablate sets a map to.",
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
    kernels: bool,
    redundancy: bool,
    with_input: bool,
    ablate: bool,
    silenced_to: Literal["zero", "mean"],
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
    from oip import models
    from oip.cli.inputs import apply_input
    from oip.cli.progress import shown
    from oip.cli.tables import print_kernels, print_layer, print_redundancy
    from oip.core.errors import OipError
    from oip.core.files import check_writable
    from oip.mi.estimators.registry import label_estimator
    from oip.network.layer_spec import parse_selections
    from oip.workflows.inputs import open_network
    from oip.workflows.rank import (
        ablated,
        check_classes,
        check_kernels,
        kernels_into,
        rank_into,
        redundancy_into,
    )

    began = time.monotonic()
    chosen = [label_estimator(name) for name in estimators] or None
    check_writable(out)
    data = models.load(source, data_dir=data_dir, part="test")
    network = open_network(model, imports, data, None)
    layers = _with_pooling(parse_selections(network, selections), at, bool(selections), quiet)
    apply_input(network, data)
    if ablate:
        check_classes(network, data)
    if kernels:
        check_kernels(network, [layer for layer, _ in layers])
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
            with_input=with_input,
            progress=progress,
        ):
            if isinstance(result, OipError):
                errors.append(result)
                continue
            if ablate:
                result["ablation"] = ablated(
                    out,
                    network,
                    layer,
                    result,
                    data,
                    to=silenced_to,
                    samples=samples,
                    seed=seed,
                    progress=progress,
                )
            maps = [one["map"] for one in result["estimators"][0]["maps"] if one["mi"] is not None]
            if kernels:
                result["kernels"] = kernels_into(
                    out,
                    network,
                    layer,
                    maps,
                    data,
                    estimator=label_estimator(result["estimators"][0]["estimator"])
                    if chosen is None
                    else chosen[0],
                    samples=samples,
                    seed=seed,
                    progress=progress,
                )
            if redundancy:
                result["redundancy"] = redundancy_into(
                    out, network, layer, sorted(maps), data, samples=samples, at=at, seed=seed
                )
            told.append(result)
            unusable += sum(one["mi"] is None for one in result["estimators"][0]["maps"])
            if not as_json:
                print_layer(result)
                if kernels:
                    print_kernels(result["kernels"], layer.name)
                if redundancy:
                    print_redundancy(result["redundancy"])
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
