"""`oip status`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from oip.cli.options import json_option, plain_text, print_json


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@json_option
def command(run: Path, as_json: bool) -> int:
    """Tell what is in RUN (a run or a batch), what is missing, what failed.

    Exit status 1 where something failed or a file is damaged.

    \b
    Example:  oip status runs/demo
    """
    from oip.batch.plan import NAME
    from oip.batch.status import batch_status
    from oip.run.check import run_status
    from oip.run.run import Run

    if (run / NAME).is_file():
        told = batch_status(run)
        runs = told["runs"]
    else:
        told = run_status(Run.open(run))
        runs = [told]
    if as_json:
        print_json(told)
    else:
        for one in runs:
            _print(one)
    layers = [layer for one in runs for layer in one["layers"]]
    return 1 if any(layer["failed"] or layer["damaged"] for layer in layers) else 0


def _print(told: dict[str, Any]) -> None:
    from oip.cli.tables import print_table

    rows = [
        (
            f"@{layer['index']}",
            layer["layer"],
            f"{layer['oips']} of {layer.get('asked', layer['maps'])}",
            ", ".join(f"{count} {word}" for word, count in layer["verdicts"].items()) or "-",
            "yes" if layer["stability"] else "no",
            "yes" if layer["ranked"] else "no",
        )
        for layer in told["layers"]
    ]
    names = ("index", "layer", "maps", "verdicts", "stability", "ranked")
    sides = ("right", "left", "right", "left", "left", "left")
    print_table(tuple(zip(names, sides, strict=True)), rows, f"{told['run']}: {told['model']}")
    wrong = [
        (layer["layer"], one["file"], one["error"])
        for layer in told["layers"]
        for one in (
            *layer["failed"],
            *({"file": name, "error": "damaged"} for name in layer["damaged"]),
        )
    ]
    if wrong:
        print_table((("layer", "left"), ("file", "left"), ("why", "left")), wrong, "failed")
        click.echo(plain_text("The command that made the run does them again."))
