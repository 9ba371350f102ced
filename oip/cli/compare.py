"""`oip compare`: two runs, or the units of two networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from oip.cli import options
from oip.cli.options import DataOptions, Output, quoted
from oip.cli.tables import interval, number, print_json, print_table
from oip.core.units import finite_median

if TYPE_CHECKING:
    from oip.core.formats import MatchFile
    from oip.run.compare import Comparison, LayerComparison

_COMPARED = {
    "median similarity": "similarity of a map's best patterns in both runs, 1 at most",
    "scores agree": "Spearman's rank correlation over the maps",
    "bits agree": "the same, of their information about the class",
    "percentile": "share of the second run's other maps whose pattern is less similar",
}
_MATCHED = {
    "partners": "units whose partner correlates by the threshold or more, and not by chance",
    "correlation": "median of all pairs, over images that did not choose them",
    "shuffled": "correlation that one of twenty pairs reaches with shuffled images",
    "OIP similarity": "median similarity of the OIPs of a pair, 1 at most",
    "percentile": "share of other pairs whose OIPs are less alike, median",
}
_MATCH_PARAMETERS = (
    *("source", "data_dir", "resize", "layers", "by", "threshold", "samples", "models", "imports"),
    *("seed", "out", "keep"),
)
"""Parameters of `oip compare` that only --match uses."""


@click.command("compare")
@click.argument("first", type=options.NamedPath(), metavar="RUN|MODEL")
@click.argument("second", type=options.NamedPath(), metavar="RUN|MODEL")
@click.option(
    "--match",
    "is_match",
    is_flag=True,
    help="Pair the units of two networks by their responses to images, not by their numbers.",
)
@options.data("With --match: the images that both networks receive.", required=False)
@click.option(
    "--layer",
    "layers",
    multiple=True,
    metavar="L[=L2]",
    help="With --match: a layer of the first network, and the layer of the second one that it is "
    "matched with.  [default: all with maps, by name or by the largest CKA]",
)
@click.option(
    "--by",
    type=click.Choice(["aligned", "pooled"]),
    default="aligned",
    help="Correlate responses node by node, or their means over the image.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    default=0.5,
    help="Smallest correlation of partners.",
)
@click.option(
    "--samples",
    type=click.IntRange(24),
    default=1000,
    help="Number of images: one half is used to find the pairs, the other half to measure them.",
)
@click.option(
    "--models",
    type=options.NamedPath(),
    nargs=2,
    metavar="MODEL MODEL",
    help="The runs' models.  [default: searched for in the runs, beside them and in this folder]",
)
@options.imports
@options.seed
@click.option(
    "--out",
    type=options.NamedPath(),
    multiple=True,
    metavar="DIR",
    help="Folder for match.json and a page of the pairs; or the two runs (--out RUN --out RUN), "
    "which keep the partners of their units for their galleries.",
)
@options.earlier("--keep")
@options.all_rows
@options.output
def command(
    first: Path,
    second: Path,
    is_match: bool,
    keep: bool,
    data: DataOptions,
    layers: tuple[str, ...],
    models: tuple[Path, Path] | None,
    imports: tuple[str, ...],
    out: tuple[Path, ...],
    output: Output,
    **settings: Any,
) -> None:
    """Compare two runs map by map: two checkpoints, two seeds, two settings.

    The similarity is that of a map's best images in both runs. Its percentile is its rank among the
    similarities to the second run's other maps of the same block.

    With --match, the units of any two networks are paired one to one, so that their responses to
    the same images correlate as much as possible. The units of a pair are partners if they
    correlate by the threshold or more, and not by chance. Layers are compared by linear CKA. For
    two runs, the page shows the OIPs of each pair side by side.

    \b
    Example:  oip compare runs/epoch-1 runs/epoch-9
              oip compare a.keras b.keras --match --data mnist
              oip compare runs/a runs/b --match --data mnist --out runs/a-and-b
              oip compare runs/a runs/b --match --data mnist --out runs/a --out runs/b
    """
    if not is_match:
        options.refuse_alone("--match", *_MATCH_PARAMETERS)
        _compare(first, second, output)
        return
    from oip.workflows.match import match_into

    with output.progress() as progress:
        record = match_into(
            first,
            second,
            data=data.required(),
            out=(*out, first, second) if keep else out,
            layers=_pairs(layers),
            models=models or (None, None),
            imports=imports,
            resize=data.resize,
            data_dir=data.data_dir,
            progress=progress,
            **settings,
        )
    if output.as_json:
        print_json(record.public_dict())
    else:
        _print_match(record)
    pages = [str(path / "index.html") for path in out if path not in (first, second)]
    galleries = [
        quoted("oip", "gallery", path, "--open") for path in out if path in (first, second)
    ]
    hint = "--out FOLDER writes a page that shows the pairs."
    output.next_steps(*(pages + galleries or [hint]))


def _compare(first: Path, second: Path, output: Output) -> None:
    """Compare two runs map by map."""
    from oip.run.compare import compare_runs
    from oip.run.run import Run

    comparison = compare_runs(Run.open(first), Run.open(second))
    if output.as_json:
        print_json(comparison.to_dict())
    else:
        _print_compare(comparison)
    output.next_steps(quoted("oip", "gallery", second, "--open"))


def _pairs(layers: Sequence[str]) -> dict[str, str] | list[str] | None:
    """Return layers `L` or `L=L2` as pairs if one of them names the second layer, else as names."""
    split = [name.partition("=") for name in layers]
    if any(equals for _, equals, _ in split):
        return {name: second_name or name for name, _, second_name in split}
    return list(layers) or None


def _print_match(record: MatchFile) -> None:
    tables = zip(record.layers, record.cka, strict=True)
    rows = [(name, *(number(value, 2) for value in row)) for name, row in tables]
    print_table(("linear CKA", *record.second_layers), rows, left=("linear CKA",))
    rows = [
        (
            match.layer,
            match.second_layer,
            f"{sum(unit.has_partner for unit in match.maps)} of {len(match.maps)}",
            interval(match.share_low, match.share_high),
            number(match.median, 2),
            number(match.null, 2),
            number(finite_median(unit.similarity for unit in match.maps), 2),
            number(finite_median(unit.percentile for unit in match.maps), 0),
        )
        for match in record.matches
    ]
    headings = ("layer", "second layer", "partners", "share, 95 %", "correlation")
    headings += ("shuffled", "OIP similarity", "percentile")
    title = f"{record.first} and {record.second}, {record.matches[0].samples} images"
    left = ("layer", "second layer", "share, 95 %")
    print_table(headings, rows, title, left=left, legend=_MATCHED)
    for match in record.matches:
        units = sorted(match.maps, key=lambda unit: -(unit.correlation or -2.0))
        rows = [
            (
                unit.map,
                "-" if unit.partner is None else unit.partner,
                number(unit.correlation, 2),
                interval(unit.low, unit.high),
                number(unit.p_adjusted, 4),
                "yes" if unit.has_partner else "no",
                number(unit.similarity, 2),
                number(unit.percentile, 0),
            )
            for unit in units
        ]
        headings = ("unit", "second unit", "correlation", "95 %", "p, adjusted", "partner")
        headings += ("OIP similarity", "percentile")
        print_table(headings, rows, match.layer, left=("95 %", "partner"))


def _print_compare(comparison: Comparison) -> None:
    from oip.ascent.results import shown_verdict

    rows = [
        (
            layer.layer,
            len(layer.maps),
            f"{layer.same_verdict} of {_reconstructed(layer)}",
            number(layer.median_similarity, 2),
            number(layer.score_correlation, 2),
            number(layer.mi_correlation, 2),
        )
        for layer in comparison.layers
    ]
    headings = ("layer", "maps", "same verdict", "median similarity", "scores agree", "bits agree")
    print_table(headings, rows, left=("layer",), legend=_COMPARED)
    for layer in comparison.layers:
        rows = [
            (
                row.map,
                _pair(row.verdicts and [shown_verdict(verdict) for verdict in row.verdicts]),
                _pair(row.scores),
                number(row.similarity, 2),
                number(row.percentile, 0),
                _pair(row.mi),
                _pair(row.ranks),
            )
            for row in layer.maps
        ]
        headings = ("map", "verdicts", "scores", "similarity", "percentile", "bits", "ranks")
        left = ("verdicts", "scores", "bits", "ranks")
        print_table(headings, rows, layer.layer, left=left, legend=_COMPARED)
    if not comparison.same_model:
        click.echo("The models differ: maps of one number correspond only if one model was")
        click.echo("trained on from the other.")


def _reconstructed(layer: LayerComparison) -> int:
    """Return how many maps have an OIP in both runs."""
    return sum(row.verdicts is not None for row in layer.maps)


def _pair(values: Sequence[str | float | None] | None) -> str:
    """Return two values as text, a dash for an unknown one; one where both are the same."""
    if values is None:
        return "-"
    first, second = (str(v) if isinstance(v, int | str) else number(v) for v in values)
    return first if first == second else f"{first}, {second}"
