"""`oip cite`: BibTeX of the methods that made a run."""

from __future__ import annotations

from pathlib import Path

import click

from oip.cli.options import json_option, run_argument
from oip.cli.tables import print_json


@click.command()
@run_argument
@json_option
def command(run: Path, as_json: bool) -> None:
    """Print BibTeX of the methods that made RUN (a run or a batch), for the settings it used.

    \b
    Example:  oip cite runs/demo > methods.bib
    """
    from oip.batch.status import runs_of
    from oip.run.citations import citations

    entries: dict[str, str] = {}
    for member in runs_of(run):
        entries = citations(member) | entries
    if as_json:
        print_json({"run": str(run), "entries": entries})
    else:
        click.echo("\n\n".join(entries.values()))
