"""`oip trace`: what feeds a unit, and which outputs it moves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from oip.cli import options
from oip.cli.options import DataOptions, ModelOptions, Output, quoted
from oip.cli.tables import number, print_json, print_table, print_text
from oip.core.errors import SettingsError, plain_text
from oip.core.units import finite_or_none

if TYPE_CHECKING:
    from oip.mi.circuits import Causes

_LEGEND = {
    "effect": "fall of the unit's mean response when the other is silenced; below 0 the other "
    "inhibits it",
    "share": "the effect, as a share of the unit's mean response",
    "kernel": "norm of the kernel slice between the two; - if there are layers between them",
}


@click.command()
@options.model_argument
@click.argument("selection", metavar="LAYER:UNIT")
@options.data("Images. With labels, effects are compared with the loss of the whole network.")
@click.option(
    "--source-layer",
    metavar="L",
    help="The earlier layer whose units are silenced.  [default: the nearest that feeds the unit]",
)
@click.option(
    "--to",
    type=click.Choice(["zero", "mean"]),
    default="zero",
    help="Silence a unit to zero, or to its mean over the images.",
)
@click.option(
    "--samples", type=click.IntRange(1), default=500, help="Number of images that are used."
)
@click.option(
    "--out",
    type=options.NamedPath(),
    metavar="RUN",
    help="Run of the model that keeps the result for its gallery.",
)
@options.earlier("--run", options.NamedPath())
@click.option(
    "--picture",
    type=options.NamedPath(),
    metavar="FILE",
    help="With --out: draw the units that feed most as a row of OIPs: .png or .svg.",
)
@options.model_with_directions
@options.seed
@options.all_rows
@options.output
def command(
    model: ModelOptions,
    selection: str,
    data: DataOptions,
    source_layer: str | None,
    out: Path | None,
    run: Path | None,
    picture: Path | None,
    output: Output,
    **settings: Any,
) -> None:
    """Measure which units of the layer before feed a unit, and which outputs it moves.

    Each unit of the earlier layer is silenced in turn, and the unit's mean response is measured
    again; then the unit itself is silenced, and the model's logits are measured. Intervals are over
    images. Effects do not add up: of two units that can replace each other, neither has an effect.
    With --out, the unit's page in the run's gallery shows them as rows of OIPs.

    \b
    Example:  oip trace model.keras Conv2D_3:17 --data mnist-sample
              oip trace model.keras Conv2D_3:17 --data mnist --out runs/mine --picture 17.png
    """
    from oip.core import files, plots
    from oip.run.run import Run
    from oip.workflows.silencing import (
        SHOWN,
        causes_figure,
        check_figure,
        one_unit,
        trace_into,
        unit_causes,
    )

    out = out or run
    if picture is not None and out is None:
        raise SettingsError("--picture", "--out as well", "--picture alone")
    opened_run = None if out is None else Run.open(out)
    if picture is not None:
        plots.checked_kind(picture.suffix)
        files.check_writable(picture.parent)
    network, images = model.in_run(out).open_with(data, output)
    if opened_run is not None and picture is not None:
        check_figure(opened_run, network, selection, source_layer)
    with output.progress() as progress:
        settings["progress"] = progress
        if out is None:
            layer, unit = one_unit(network, selection)
            result = unit_causes(network, images, layer, unit, source=source_layer, **settings)
        else:
            result = trace_into(
                out, network, selection, data=images, source_layer=source_layer, **settings
            )
    for text in result.notices:
        output.note(f"oip: {text}")
    if output.as_json:
        print_json(result.to_dict())
    else:
        _print(result)
    if opened_run is not None and picture is not None:
        plots.save(causes_figure(result, opened_run), picture)
        if not output.as_json:
            print_text(plain_text(picture))
    units = f"{result.source}:{int(result.order[0])}"
    steps = [model.command("trace", units, data=data)]
    if opened_run is not None:  # which may lack the OIPs of the earlier layer
        gallery = quoted("oip", "gallery", opened_run.path, "--open")
        name = "trace"
        if opened_run.reconstructed_layer(result.source) is None:
            units = f"{result.source}:{','.join(map(str, result.order[:SHOWN].tolist()))}"
            name = "reconstruct"
        steps = [gallery, model.command(name, units, data=data, out=opened_run.path)]
    output.next_steps(*steps)


def _print(result: Causes) -> None:
    rows = [
        (
            int(result.maps[row]),
            number(float(result.effect[row]), 3),
            f"{result.low[row]:z.3g} to {result.high[row]:z.3g}",
            number(finite_or_none(result.share[row]), 3),
            number(finite_or_none(result.kernel[row]), 3),
        )
        for row in result.order
    ]
    title = f"{result.layer}:{result.unit}, mean response {result.response:z.3g}, "
    title += f"{result.samples} images: fed by {result.source}"
    headings = ("unit", "effect", "95 %", "share", "kernel")
    print_table(headings, rows, title, left=("95 %",), legend=_LEGEND)
    rows = [
        (
            result.classes[row],
            number(float(result.logit_effect[row]), 3),
            f"{result.logit_low[row]:z.3g} to {result.logit_high[row]:z.3g}",
        )
        for row in result.outputs[: len(result.classes)]
    ]
    if rows:
        print_table(("output", "effect", "95 %"), rows, "moves the logits of", left=("95 %",))
    agreement = finite_or_none(result.agreement)
    if agreement is not None:
        text = "Spearman's correlation of these effects with the increase of the network's loss"
        print_text(f"{text} without each unit of {result.source}: {agreement:z.2f}")
