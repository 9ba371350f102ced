"""`oip rank`: the order of maps by their information about the class."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from oip.cli import options
from oip.cli.judge import share_text
from oip.cli.options import DataOptions, ModelOptions, Output, quoted, warn
from oip.cli.tables import (
    all_rows,
    interval,
    number,
    of_units,
    p_value,
    print_json,
    print_table,
    print_text,
)
from oip.core.units import best_class, is_informative

if TYPE_CHECKING:
    import numpy as np

    from oip.core.layer_formats import EstimatorRecord, KernelsFile, MapInformation, RedundancyFile
    from oip.workflows.layer_records import FinishedRanking, RankedLayer
    from oip.workflows.rank import RankingOptions

_FEW_IMAGES = 200
"""With fewer, hardly any map is above what shuffled labels give."""
_CHANCE = 0.01
"""Bits of shuffled labels from which they stand beside the estimate."""
_TOP = 10
_BOTTOM = 3
"""Maps of a layer that are listed, the best and the worst."""
_LEGEND = {
    "rank (95 % of draws)": "1 is the most informative; in brackets its range over random halves "
    "of the images",
    "bits": "information about the class, and its 95 % interval",
    "p adjusted": "p-value against shuffled labels, adjusted for the number of maps",
    "best for": "the class about which it knows most beyond what is usual for a map of the layer "
    "with as much information; bits, and their share of the largest possible value",
    "loss increase without": "increase of the network's loss when the map is silenced, in bits",
    "legible (95 %)": "choices that the judge gets right when shown its OIPs, in %; chance is 50 %",
}
_ABOUT = {
    "input": " about the input",
    "direction": " about the number",
    "none": "; no information about anything",
}
_LEGENDS = {
    "input": {
        "bits": "information about the components of the images, added up, and its 95 % interval",
        "best for": "the component, above its median or not, about which it knows most beyond what "
        "is usual for a map of the layer with as much information",
    },
    "direction": {
        "bits": "information about the range that the number is in, and its 95 % interval",
        "best for": "the range about which it knows most beyond what is usual for a map of the "
        "layer with as much information; bits, and their share of the largest possible value",
    },
    "none": {
        "bits": "entropy of the response in bins of this width, and its 95 % interval",
        "value": "0 for a normal distribution; large if the map responds strongly to few images",
        "share": "share of the judge's choices that are right; chance is 0.5",
    },
}
_FEW = 8
"""Kernels of a map, or clusters of a layer, that are listed."""


@click.command()
@options.model_argument
@click.argument("selections", nargs=-1, metavar="[LAYER[:MAPS]]...")
@options.data("Images with labels.")
@options.out("Folder of the run.")
@click.option(
    "--estimator",
    "estimators",
    multiple=True,
    metavar="NAME",
    help="decoder, predictive, kde, ksg, renyi and others ('oip estimate --help' lists them); "
    "the first one gives the order.  [default: predictive, kde]",
)
@click.option(
    "--samples",
    type=click.IntRange(min=20),
    default=2000,
    help="Use at most this many images; each class keeps its share.",
)
@options.at
@click.option(
    "--kernels",
    is_flag=True,
    help="Also rank and draw the 2-D kernels of each map (on at most 500 images).",
)
@click.option(
    "--redundancy",
    is_flag=True,
    help="Also measure how much information maps share (on at most 500 images).",
)
@click.option(
    "--with-input",
    is_flag=True,
    help="Also measure each map's information about the input (needs kde or another estimator of "
    "it).",
)
@click.option(
    "--ablate",
    is_flag=True,
    help="Also measure how much the network's loss increases without each map.",
)
@click.option(
    "--silenced-to",
    type=click.Choice(["zero", "mean"]),
    default="zero",
    help="The value that --ablate sets a map to.",
)
@click.option(
    "--about",
    type=click.Choice(["label", "input", "direction", "none"]),
    help="Order by information about this. input: principal components of the images; direction: "
    "the numbers of --target; none: no information, but entropy and kurtosis of the response. Only "
    "label needs labels.  [default: label]",
)
@click.option(
    "--target",
    metavar="FILE[:NAME]",
    help="An .npy, .npz or .csv with one number per image, or with a direction in input space.",
)
@options.model_and_input
@options.seed
@options.all_rows
@options.output
def command(
    model: ModelOptions,
    selections: tuple[str, ...],
    data: DataOptions,
    out: Path,
    about: str | None,
    target: str | None,
    output: Output,
    **choices: Any,
) -> int:
    """Order the maps of MODEL by the information of their responses about the class.

    LAYER is a name, outer/inner for nested models, or @INDEX as 'oip layers' prints it; MAPS is
    all, 3, 0-15 or 0,4,9. Without LAYER, every convolutional layer is ranked. SOURCE is
    mnist-sample, mnist, fashion-mnist, cifar10, a folder, an .npz or a .csv; :train, :test (the
    default) or :all may follow. Maps that were ranked in this run before are ranked again together
    with the new ones.

    With --about, maps are ordered by something other than labels: by their information about the
    images themselves, by information about a number that each image has, or by how their response
    is distributed.

    \b
    Example:  oip rank model.keras Conv2D_3 --data mnist-sample --out runs/mnist
              oip rank model.keras Dense_1 --about input --data mnist-sample --out runs/input
    """
    from oip.core.errors import OipError
    from oip.core.files import check_writable
    from oip.mi.label_free import read_target
    from oip.models import split_source
    from oip.run.run import RunFolder
    from oip.workflows.directions import with_run_directions
    from oip.workflows.layer_records import FinishedRanking
    from oip.workflows.rank import RankingOptions, maps_to_rank, rank_layers

    started = time.monotonic()
    if not choices["ablate"]:
        options.refuse_alone("--ablate", "silenced_to")
    about = about or ("label" if target is None else "direction")
    numbers = None if target is None else read_target(target)
    choices |= {"about": about, "target": numbers}
    settings = RankingOptions(**choices)
    settings.check_about()
    settings.label_estimators()  # an unknown name is refused before any work
    check_writable(out)
    request = model.request("rank", out, data, _ranking_request(selections, settings))
    stored = request.finished_result(FinishedRanking) if not model.imports else None
    if stored is not None:
        return _print_finished(stored, out, output, started)
    network, images = model.open_with(data, output)
    network = with_run_directions(network, out)
    maps_of_layers = maps_to_rank(network, selections, settings.at)
    ranked: list[RankedLayer] = []
    errors: list[OipError] = []
    with output.progress() as progress:
        for result in rank_layers(out, network, maps_of_layers, images, settings, progress, errors):
            ranked.append(result)
            _report_layer(result, output)
    if len(images.images) < _FEW_IMAGES and split_source(str(data.source))[1] is None:
        hint = f"--data {data.source}:all takes those of both parts."
        output.note(f"{len(images.images)} images of {images.source} are few for a ranking; {hint}")
    for error in errors:
        warn(f"oip: {error}")
    _print_end(ranked, out, output, started)
    if errors or any(layer.unusable for layer in ranked):
        return 1
    if network.inputs.is_known and not model.imports and settings.at == "response":
        indices = [layer.layer.index for layer in ranked]
        stored = FinishedRanking(layers=[layer.content() for layer in ranked])
        request.save_result(RunFolder(out), indices, images, stored)
    return 0


def _ranking_request(selections: tuple[str, ...], settings: RankingOptions) -> dict[str, object]:
    """Return the choices that a ranking depends on, its target as a digest."""
    from oip.run.shards import data_digest
    from oip.workflows.rank import FORM

    request: dict[str, object] = {"selections": selections, "options": settings, "form": FORM}
    if settings.target is not None:
        request["options"] = replace(settings, target=None)
        request["target"] = data_digest(settings.target)
    return request


def _print_finished(stored: FinishedRanking, out: Path, output: Output, started: float) -> int:
    """Print rankings that the run holds already, and return the exit status."""
    from oip.run.run import Run
    from oip.workflows.layer_records import RankedLayer

    ranked = [RankedLayer.of_content(Run.open(out), content) for content in stored.layers]
    for layer in ranked:
        _report_layer(layer, output)
    _print_end(ranked, out, output, started)
    return 0


def _report_layer(ranked: RankedLayer, output: Output) -> None:
    """Print a layer, unless the result is JSON, and its notices."""
    if not output.as_json:
        print_layer(ranked)
    for text in ranked.notices:
        output.note(f"oip: {ranked.layer.name}: {text}")


def _print_end(ranked: list[RankedLayer], out: Path, output: Output, started: float) -> None:
    if output.as_json:
        print_json({"layers": [layer.to_dict() for layer in ranked]})
    else:
        print_text(f"{out} ({time.monotonic() - started:.0f} s)")
    output.next_steps(quoted("oip", "gallery", out, "--open"))


def print_layer(ranked: RankedLayer) -> None:
    """Print the best and the worst maps by each estimator, and what was measured beside them."""
    from oip.mi.ranking import WITH_ORDER

    for by in ranked.ranking.estimators:
        about = _ABOUT.get(ranked.ranking.about, "")
        ceiling = "" if by.ceiling is None else f", at most {number(by.ceiling)} bits"
        head = f"{ranked.layer.name}: {by.name_shown}{about}{ceiling}"
        print_text(f"{head}, {by.samples} images of {by.split}")
        if by.ordered:
            _print_order(ranked, by)
        else:
            click.echo(f"  saturated: no order; use --estimator {WITH_ORDER}\n")
    _print_agreement(ranked)
    if ranked.kernels is not None:
        _print_kernels(ranked.kernels, ranked.layer.name)
    if ranked.redundancy is not None:
        _print_redundancy(ranked.redundancy, f"{ranked.layer.noun}s")


def _print_order(ranked: RankedLayer, by: EstimatorRecord) -> None:
    unit = by.unit or "value"
    headings = ["rank (95 % of draws)", ranked.layer.noun, unit, "95 %", "p adjusted", "best for"]
    if ranked.ranking.about == "none":
        headings = headings[:4]
    if by.input_ceiling is not None:
        headings.append(f"input, of {by.input_ceiling:.2f}")
    losses = None
    if ranked.ablation is not None:
        losses = {row.map: row.loss_increase for row in ranked.ablation.maps}
        headings.append("loss increase without")
    classes = ranked.ranking.classes or []
    medians = by.medians
    rows = [_row(row, by, classes, medians, losses) for row in by.maps]
    if ranked.ranking.about == "none":
        rows = [row[:4] for row in rows]
    if ranked.legibility is not None:
        headings.append("legible (95 %)")
        legible = {row.map: row for row in ranked.legibility.maps}
        for row, cells in zip(by.maps, rows, strict=True):
            cells.append(share_text(legible.get(row.map)))
    if len(rows) > _TOP + _BOTTOM and not all_rows():
        rows = [*rows[:_TOP], ["...", *[""] * (len(headings) - 1)], *rows[-_BOTTOM:]]
    legend_texts = _LEGEND | _LEGENDS.get(ranked.ranking.about, {})
    legend_texts = of_units(legend_texts, ranked.layer.noun)
    legend = {name: text for name, text in legend_texts.items() if name in headings}
    print_table(headings, rows, left=("95 %", "best for"), legend=legend)


def _row(
    row: MapInformation,
    by: EstimatorRecord,
    classes: Sequence[str],
    medians: np.ndarray,
    losses: Mapping[int, float] | None,
) -> list[str]:
    cells = [f"{row.rank} ({row.rank_low}-{row.rank_high})", str(row.map)]
    if row.mi is None:
        cells += ["-", "no number" if by.ceiling is None else "not finite", "-", "-"]
    else:
        bits = number(row.mi) + (" saturated" if row.saturated else "")
        if row.chance is not None and row.chance >= _CHANCE:
            bits += f" (chance {row.chance:z.3f})"
        bounds = interval(row.low, row.high, 3)
        cells += [bits, bounds, p_value(row.p_adjusted), _best_class(row, by, classes, medians)]
    if by.input_ceiling is not None:
        cells.append(number(row.input, 2))
    if losses is not None:
        loss = losses.get(row.map)
        cells.append(number(None if loss is None else round(loss, 4) + 0.0, 4))
    return cells


def _best_class(
    row: MapInformation, by: EstimatorRecord, classes: Sequence[str], medians: np.ndarray
) -> str:
    """Return the class that a map is best for, with bits and the share of the ceiling.

    A class of few images has no such numbers, and is named where the map knows of no other. A map
    that is not above shuffled labels is best for none.
    """
    information = row.per_class or []
    if len(information) != len(medians) or not is_informative(row.mi, row.p_adjusted):
        return "-"
    common = [None if by.is_rare(code) else value for code, value in enumerate(information)]
    best = best_class(common, medians)
    best = best_class(information, medians) if best is None else best
    if best is None:
        return "-"
    if by.is_rare(best):
        return f"{classes[best]} (few images)"
    share = (row.per_class_share or information)[best] or 0.0
    return f"{classes[best]} ({information[best]:z.3f}, {share:z.0%})"


def _print_agreement(ranked: RankedLayer) -> None:
    """Print how far orders agree, with each other and with what the network loses."""
    for pair in ranked.ranking.agreement:
        if pair.kendall is not None:
            first, second = pair.estimators
            click.echo(f"{first} and {second}: Kendall's tau {pair.kendall:z.2f}")
    ablation = ranked.ablation
    if ablation is None:
        return
    for correlation in ablation.agreement or ():
        if correlation.spearman is not None:
            click.echo(
                f"{correlation.estimator} and loss without the {ranked.layer.noun}: "
                f"Spearman {correlation.spearman:z.2f} (set to {ablation.silenced_to}, "
                f"{ablation.samples} images; the loss of the whole network is "
                f"{ablation.loss:.3f} bits)"
            )


def _print_kernels(kernels: KernelsFile, layer: str) -> None:
    rows = []
    for row in kernels.maps:
        for index, kernel in enumerate(row.kernels[:_FEW]):
            channel = str(kernel.input) if index else f"{kernel.input} of {row.of}"
            values = number(kernel.mi), number(kernel.with_map), p_value(kernel.p_adjusted)
            rows.append(("" if index else row.map, channel, *values))
    title = f"{layer}: kernels by {kernels.name_shown}, {kernels.samples} images of {kernels.split}"
    headings = ("map", "input channel", "bits", "bits with the map", "p adjusted")
    print_table(headings, rows, title)


def _print_redundancy(redundancy: RedundancyFile, nouns: str) -> None:
    """Print clusters of units that share most information, and where groups of them saturate."""
    print_text(f"{redundancy.layer}: redundancy, {redundancy.samples} images")
    groups = [group for group in redundancy.clusters if len(group) > 1]
    for group in groups[:_FEW]:
        click.echo(
            f"  {nouns} that share at least 90 % of their information on average: "
            f"{', '.join(map(str, group))}"
        )
    if not groups:
        click.echo(f"  no {nouns} share 90 % or more of their information")
    rows = [
        (row.maps, number(row.input), number(row.label), "saturated" if row.saturated else "")
        for row in redundancy.together
    ]
    print_table((f"{nouns} together", "bits of input", "bits of label", ""), rows, left=("",))
