"""`oip compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from oip.cli.options import json_option, plain_text, print_json


@click.command()
@click.argument("first", type=click.Path(path_type=Path), metavar="RUN")
@click.argument("second", type=click.Path(path_type=Path), metavar="RUN")
@json_option
def command(first: Path, second: Path, as_json: bool) -> None:
    """Set two runs side by side, map by map: two checkpoints, two seeds, two settings.

    Similarity is that of the best images of a map in both runs, and its percentile that among the
    second run's other maps of the same block.

    \b
    Example:  oip compare runs/epoch-1 runs/epoch-9
    """
    from oip.run.compare import compare_runs
    from oip.run.run import Run

    told = compare_runs(Run.open(first), Run.open(second))
    if as_json:
        print_json(told)
        return
    _print(told)


def _print(told: dict[str, Any]) -> None:
    from oip.cli.tables import number, print_table

    rows = []
    for layer in told["layers"]:
        grown = sum(one["verdicts"] is not None for one in layer["maps"])
        rows.append(
            (
                layer["layer"],
                len(layer["maps"]),
                f"{layer['same_verdict']} of {grown}",
                number(layer["median_similarity"], 2),
                number(layer["score_correlation"], 2),
                number(layer["mi_correlation"], 2),
            )
        )
    names = ("layer", "maps", "same verdict", "median similarity", "scores agree", "bits agree")
    sides = ("left", *["right"] * 5)
    print_table(tuple(zip(names, sides, strict=True)), rows)
    for layer in told["layers"]:
        print_table(
            (
                ("map", "right"),
                ("verdicts", "left"),
                ("scores", "left"),
                ("similarity", "right"),
                ("percentile", "right"),
                ("bits", "left"),
                ("ranks", "left"),
            ),
            [
                (
                    one["map"],
                    _pair(one["verdicts"]),
                    _pair(one["scores"]),
                    number(one["similarity"], 2),
                    number(one["percentile"], 0),
                    _pair(one["mi"]),
                    _pair(one["ranks"]),
                )
                for one in layer["maps"]
            ],
            layer["layer"],
        )
    if not told["same_model"]:
        click.echo("The models differ: a map's number means the same only where one was trained on")
        click.echo("from the other.")
    click.echo(plain_text("agree: Spearman's rank correlation"))


def _pair(values: list[Any] | None) -> str:
    from oip.cli.tables import number

    if values is None:
        return "-"
    first, second = (number(one) if isinstance(one, float) else str(one) for one in values)
    return first if first == second else f"{first}, {second}"
