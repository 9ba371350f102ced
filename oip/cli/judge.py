"""`oip judge`: how often another network picks the more exciting photograph, shown the OIPs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from oip.cli import options
from oip.cli.options import DataOptions, Output, quoted, warn
from oip.cli.tables import number, print_json, print_table, print_text
from oip.core.errors import OipError

if TYPE_CHECKING:
    from oip.core.layer_formats import ClustersFile, LegibilityFile, MapLegibility

_LEGEND = {
    "right": "choices that the judge gets right when shown the unit's OIPs, in %",
    "with the best images": "the same, shown the images that excite the unit most, up to nine",
    "with as many": "the same, shown as many of them as the unit has OIPs",
    "with other OIPs": "the same, shown OIPs of other units",
}
_SHARES = ("share", "reference", "reference_same_count", "control")
_CLUSTERS = {
    "variety": "spread of the images that excite a unit, as a share of that of all images; median",
    "selective": "units with a variety of 0.5 at most, less than random images have",
    "polysemantic": "units whose images fall into clusters that explain 0.2 more of their spread "
    "than in images of one kind that vary as much",
}
_FEW = 24
"""Units, of all layers together, that are listed."""


@click.command()
@options.run_argument
@options.data("At least 200 photographs, or other images of the kind that the model takes.")
@click.option(
    "--judge",
    default="pixels",
    metavar="MODEL|pixels",
    help="The judge: another network, by its file or a name such as efficientnet-lite2; or pixels, "
    "histograms of oriented gradients of small gray images.",
)
@click.option(
    "--judge-layer",
    metavar="L",
    help="Layer of the judge whose output is compared.  [default: the last before the classes]",
)
@click.option(
    "--clusters",
    type=click.Choice(["judge", "own"]),
    help="Also count the clusters of different images that excite each unit, by features of the "
    "judge or of the model's own penultimate layer.",
)
@click.option(
    "--model",
    type=options.NamedPath(),
    metavar="MODEL",
    help="The run's model.  [default: searched for in RUN, beside it and in this folder]",
)
@options.imports
@click.option("--details", is_flag=True, help="Show every unit of every layer.")
@options.all_rows
@options.output
def command(
    run: Path,
    data: DataOptions,
    judge: str,
    judge_layer: str | None,
    clusters: Literal["judge", "own"] | None,
    model: Path | None,
    imports: tuple[str, ...],
    details: bool,
    output: Output,
) -> int:
    """Measure how legible the OIPs of RUN are: whether a judge can tell what excites a unit.

    The judge sees the OIPs of a unit and chooses which of two photographs excites the unit more:
    one is from the top 1 % of the unit, one from its lower half. The table shows the share of
    right choices, beside that with the best photographs in place of OIPs (the upper reference,
    with up to nine, and with as many as there are OIPs) and that with OIPs of other units (the
    control). Chance is 50 %. A network cannot judge its own OIPs.

    With --clusters, a unit is called selective if the images that excite it most vary at most half
    as much as all images, and polysemantic if they fall into a few clusters that are far more
    distinct than in images of one kind that vary as much.

    The result is written to legibility.json of each layer, and the gallery shows it. Units that
    this judge has judged on these images are not judged again: if the command is interrupted, the
    same command continues it.

    \b
    Example:  oip judge runs/demo --data mnist-sample
              oip judge runs/lite0 --data photographs.npz:all --judge efficientnet-lite2
    """
    from oip.core.layer_formats import ClustersFile
    from oip.run.run import Run
    from oip.workflows.judge import judge_into

    started = time.monotonic()
    errors: list[OipError] = []
    with output.progress() as progress:
        records = judge_into(
            run,
            data=data.required(),
            judge=judge,
            judge_layer=judge_layer,
            clusters=clusters,
            model=model,
            imports=imports,
            resize=data.resize,
            data_dir=data.data_dir,
            errors=errors,
            progress=progress,
        )
    for error in errors:
        warn(f"oip: {error}")
    opened = Run.open(run)
    paths = [opened.folder(record.index) / "clusters.json" for record in records]
    counted = [] if clusters is None else [ClustersFile.read(path) for path in paths]
    seconds = round(time.monotonic() - started, 2)
    if output.as_json:
        layers = [record.public_dict() for record in records]
        result = {"run": str(run), "seconds": seconds, "layers": layers}
        clusters_result = {"clusters": [record.public_dict() for record in counted]}
        print_json(result | (clusters_result if clusters is not None else {}))
    else:
        names = {layer.index: layer.objectives or () for layer in opened.layers}
        print_legibility(records, names, details)
        if counted:
            _print_clusters(counted)
        print_text(f"{run} ({seconds:.0f} s)")
    output.next_steps(quoted("oip", "gallery", run, "--open"))
    return 1 if errors else 0


def print_legibility(
    records: list[LegibilityFile], names: Mapping[int, Sequence[str]], details: bool = False
) -> None:
    """Print the legibility of each layer, and of single units where there are few.

    Args:
        records: at least one.
        names: of objectives, by the index of their layer.
        details: list the units of every layer.
    """
    any_record = records[0]
    images = f"{any_record.samples} images of {any_record.split}"
    print_text(f"judge {any_record.judge}, {images}; chance is 50 %")
    rows = [
        (
            record.layer,
            len(record.maps),
            sum(row.share is not None for row in record.maps),
            *(percentage(record.mean(name)) for name in _SHARES),
        )
        for record in records
    ]
    headings = ("layer", "units", "judged", *_LEGEND)
    print_table(headings, rows, left=("layer",), legend=_LEGEND)
    if details or sum(len(record.maps) for record in records) <= _FEW:
        left = ("95 %", "")
        for record in records:
            headings = ("unit", "right", "95 %", *list(_LEGEND)[1:], "")
            units = sorted(record.maps, key=lambda row: -(row.share or 0.0))
            objectives = names.get(record.index, ())
            print_table(
                headings, (_unit(row, objectives) for row in units), record.layer, left=left
            )


def _print_clusters(records: list[ClustersFile]) -> None:
    """Print how many units of each layer are polysemantic, and those with the most clusters."""
    rows = []
    for record in records:
        several = [row for row in record.maps if row.polysemantic]
        best = sorted(several, key=lambda row: (-row.clusters, -(row.separation or 0.0)))[:4]
        varieties = [row.variety for row in record.maps if row.variety is not None]
        rows.append(
            (
                record.layer,
                len(varieties),
                number(statistics.median(varieties), 2) if varieties else "-",
                sum(row.selective for row in record.maps),
                len(several),
                ", ".join(f"{row.map} ({row.clusters})" for row in best),
            )
        )
    title = f"clusters of images by features of {records[0].judge}"
    headings = ("layer", "units", "variety", "selective", "polysemantic", "most clusters")
    print_table(headings, rows, title, left=("layer", "most clusters"), legend=_CLUSTERS)


def _unit(row: MapLegibility, names: Sequence[str]) -> tuple[object, ...]:
    return (
        names[row.map] if row.map < len(names) else row.map,
        percentage(row.share),
        interval_text(row),
        *(percentage(getattr(row, name)) for name in _SHARES[1:]),
        row.reason,
    )


def share_text(row: MapLegibility | None) -> str:
    """Return the right choices in % with their interval; a dash where there are none."""
    if row is None or row.share is None:
        return "-"
    return f"{percentage(row.share)} ({interval_text(row)})"


def interval_text(row: MapLegibility) -> str:
    """Return the interval of the right choices, `80 to 92`; a dash where there is none."""
    return "-" if row.share is None else f"{percentage(row.low)} to {percentage(row.high)}"


def percentage(share: float | None) -> str:
    """Return a share in %, as a whole number; a dash where there is none."""
    return number(None if share is None else 100 * share, 0)
