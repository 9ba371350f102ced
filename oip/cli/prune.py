"""`oip prune`: a smaller model without its least important maps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from oip.cli import options
from oip.cli.options import DataOptions, ModelOptions, Output, warn
from oip.cli.tables import print_json, print_table, print_text
from oip.core.errors import OipError, SettingsError

if TYPE_CHECKING:
    from oip.workflows.prune import ModelQuality, PrunedModel


def _methods() -> list[tuple[str, str]]:
    from oip.mi.selection import METHODS

    return [*METHODS.items(), ("compare", "all of them, in one table")]


@click.command(cls=options.ListingCommand, heading="Methods", rows=_methods)
@options.model_argument
@click.argument("layers", nargs=-1, metavar="[LAYER]...")
@options.data("Images with labels.")
@options.out(
    "File to write; not with --method compare, which writes nothing.",
    metavar="SMALLER.keras",
    required=False,
)
@click.option(
    "--keep",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.5,
    help="Share of each layer's maps that is kept.",
)
@click.option(
    "--method",
    metavar="NAME",
    help="How the importance of maps is measured; see below.  [default: elimination]",
)
@click.option(
    "--correct/--no-correct",
    default=True,
    help="Fit the next layers again by least squares, which needs no labels.",
)
@click.option(
    "--fine-tune",
    "epochs",
    metavar="EPOCHS",
    type=click.IntRange(0, 1_000_000),
    default=0,
    show_default=False,
    help="Train the smaller model on the train part.  [default: 0]",
)
@click.option(
    "--samples",
    type=click.IntRange(min=20),
    default=500,
    help="Images on which the importance of maps is measured.",
)
@options.model_and_input
@options.seed
@options.output
def command(
    model: ModelOptions,
    layers: tuple[str, ...],
    data: DataOptions,
    out: Path | None,
    method: str | None,
    output: Output,
    **settings: Any,
) -> int:
    """Remove the least important maps of MODEL and write a smaller model.

    The importance of maps is measured on the train part of SOURCE, the accuracy of both models on
    its test part. Without LAYER, every layer whose maps can be removed is pruned. MODEL itself is
    not changed.

    \b
    Example:  oip prune model.keras --data mnist-sample --out smaller.keras
    """
    from oip.mi.selection import DEFAULT_METHOD
    from oip.workflows.inputs import opened_with_parts
    from oip.workflows.prune import Pruner, check_target, plans, write_pruned

    several = plans(method or DEFAULT_METHOD, **settings)
    _check_out(out, len(several) > 1)
    target = None if out is None else check_target(out, model.model)
    network, train, test = opened_with_parts(
        model.model,
        data.required(),
        model_input=model.input,
        data_dir=data.data_dir,
        resize=data.resize,
    )
    pruned_layers = [network.find(layer) for layer in layers] or None
    with output.progress() as progress:
        pruner = Pruner(network, pruned_layers, train, test, progress)
        pruned: list[PrunedModel] = []
        errors: dict[str, OipError] = {}
        for plan in several:
            try:
                pruned.append(pruner.prune(plan))
            except OipError as error:
                errors[plan.method] = error
    for name, error in errors.items():
        if not pruned:
            raise error
        warn(f"oip: {name}: {error}")
    for text in dict.fromkeys(text for smaller in pruned for text in smaller.notices):
        output.note(f"oip: {text}")
    if target is not None:
        write_pruned(pruned[0], target, network)
    if output.as_json:
        result = {
            "path": None if out is None else str(out),
            "judged_by": test.source,
            "before": pruner.before.to_dict(),
            "methods": [smaller.to_dict() for smaller in pruned],
        }
        print_json(result)
    else:
        _print(pruned, out)
    if out is None:
        best = max(pruned, key=lambda smaller: smaller.quality.accuracy).plan.method
        output.next_steps(model.command("prune", "--method", best, data=data, out="smaller.keras"))
    else:
        smaller_model = replace(model, model=out)
        run = f"runs/{out.stem}"
        output.next_steps(smaller_model.command("reconstruct", data=data, out=run))
    return 1 if errors else 0


def _check_out(out: Path | None, compares: bool) -> None:
    if compares and out is not None:
        hint = "Compare first, then write the model of the method that you choose."
        raise SettingsError("--method compare", "no --out", f"'{out}'", hint)
    if not compares and out is None:
        raise SettingsError("--out", "a file to write, such as smaller.keras", "none")


def _print(pruned: list[PrunedModel], out: Path | None) -> None:
    rows = [("", "before", *_cells(pruned[0].before))]
    for smaller in pruned:
        for index, (stage, quality) in enumerate(smaller.stages.items()):
            rows.append((smaller.plan.method if not index else "", stage, *_cells(quality)))
    print_table(
        ("method", "", "accuracy", "parameters", "ms for 256"),
        rows,
        f"{100 * pruned[0].plan.keep:g} % of the maps or units kept, measured on {pruned[0].split}",
        left=("method", ""),
    )
    if out is not None:
        print_text(out)


def _cells(quality: ModelQuality) -> tuple[str, str, str]:
    return (
        f"{100 * quality.accuracy:.2f} %",
        f"{quality.parameters:,}",
        f"{quality.milliseconds:.1f}",
    )
