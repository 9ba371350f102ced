"""`oip status`: the contents of a run or a batch."""

from __future__ import annotations

from pathlib import Path

import click

from oip.cli.options import json_option, run_argument
from oip.cli.tables import Record, print_json, print_table, print_text


@click.command()
@run_argument
@json_option
def command(run: Path, as_json: bool) -> int:
    """Show what is in RUN (a run or a batch), what is missing, and what failed.

    The exit status is 1 if something failed or a file is damaged.

    \b
    Example:  oip status runs/demo
    """
    from oip.batch.plan import NAME
    from oip.batch.status import batch_status
    from oip.run.check import run_status
    from oip.run.run import Run

    if (run / NAME).is_file():
        result = batch_status(run)
        runs = result["runs"]
    else:
        result = run_status(Run.open(run))
        runs = [result]
    if as_json:
        print_json(result)
    else:
        for record in runs:
            _print(record)
    layers = [layer for record in runs for layer in record["layers"]]
    return 1 if any(layer["failed"] or layer["damaged"] for layer in layers) else 0


def _print(run: Record) -> None:
    rows = [
        (
            f"@{layer['index']}",
            layer["layer"],
            f"{layer['oips']} of {layer.get('asked', layer['maps'])}",
            ", ".join(f"{count} {verdict}" for verdict, count in layer["verdicts"].items()) or "-",
            "yes" if layer["stability"] else "no",
            "yes" if layer["ranked"] else "no",
        )
        for layer in run["layers"]
    ]
    headings = ("index", "layer", "maps", "verdicts", "stability", "ranked")
    left = ("layer", "verdicts", "stability", "ranked")
    print_table(headings, rows, f"{run['run']}: {run['model']}", left=left)
    wrong = []
    for layer in run["layers"]:
        wrong += [
            (layer["layer"], failure["file"], failure["error"]) for failure in layer["failed"]
        ]
        wrong += [(layer["layer"], name, "damaged") for name in layer["damaged"]]
    if wrong:
        headings = ("layer", "file", "reason")
        print_table(headings, wrong, "failed", left=headings)
        print_text("The command that made the run makes them again.")
