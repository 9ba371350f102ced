"""`oip cite`."""

from __future__ import annotations

from pathlib import Path

import click

from oip.cli.options import json_option, print_json


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@json_option
def command(run: Path, as_json: bool) -> None:
    """Print BibTeX of the methods that made RUN (a run or a batch), by the settings it used.

    \b
    Example:  oip cite runs/demo > methods.bib
    """
    from oip.batch.status import runs_of
    from oip.run.citations import citations

    entries: dict[str, str] = {}
    for one in runs_of(run):
        entries |= {key: text for key, text in citations(one).items() if key not in entries}
    if as_json:
        print_json({"run": str(run), "entries": entries})
    else:
        click.echo("\n\n".join(entries.values()))
