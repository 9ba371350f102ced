"""`oip compare`: two runs side by side."""

from __future__ import annotations

from pathlib import Path

import click

from oip.cli.options import json_option
from oip.cli.tables import Record, number, print_json, print_table


@click.command()
@click.argument("first", type=click.Path(path_type=Path), metavar="RUN")
@click.argument("second", type=click.Path(path_type=Path), metavar="RUN")
@json_option
def command(first: Path, second: Path, as_json: bool) -> None:
    """Compare two runs map by map: two checkpoints, two seeds, two settings.

    The similarity is that of a map's best images in both runs. Its percentile is its rank among the
    similarities to the second run's other maps of the same block.

    \b
    Example:  oip compare runs/epoch-1 runs/epoch-9
    """
    from oip.run.compare import compare_runs
    from oip.run.run import Run

    comparison = compare_runs(Run.open(first), Run.open(second)).to_dict()
    if as_json:
        print_json(comparison)
    else:
        _print(comparison)


def _print(comparison: Record) -> None:
    rows = [
        (
            layer["layer"],
            len(layer["maps"]),
            f"{layer['same_verdict']} of {_reconstructed(layer)}",
            number(layer["median_similarity"], 2),
            number(layer["score_correlation"], 2),
            number(layer["mi_correlation"], 2),
        )
        for layer in comparison["layers"]
    ]
    headings = ("layer", "maps", "same verdict", "median similarity", "scores agree", "bits agree")
    print_table(headings, rows, left=("layer",))
    for layer in comparison["layers"]:
        rows = [
            (
                row["map"],
                _pair(row["verdicts"]),
                _pair(row["scores"]),
                number(row["similarity"], 2),
                number(row["percentile"], 0),
                _pair(row["mi"]),
                _pair(row["ranks"]),
            )
            for row in layer["maps"]
        ]
        headings = ("map", "verdicts", "scores", "similarity", "percentile", "bits", "ranks")
        left = ("verdicts", "scores", "bits", "ranks")
        print_table(headings, rows, layer["layer"], left=left)
    if not comparison["same_model"]:
        click.echo("The models differ: a map's number means the same in both only if one model was")
        click.echo("trained on from the other.")
    click.echo("agree: Spearman's rank correlation")


def _reconstructed(layer: Record) -> int:
    """Return how many maps have an OIP in both runs."""
    return sum(row["verdicts"] is not None for row in layer["maps"])


def _pair(values: Record | None) -> str:
    """Return two values as text; one where both are the same."""
    if values is None:
        return "-"
    first, second = (number(v) if isinstance(v, float) else str(v) for v in values)
    return first if first == second else f"{first}, {second}"
