"""`oip verify`."""

from __future__ import annotations

from pathlib import Path

import click

from oip.cli.options import json_option, plain_text, print_json, quiet_option, with_options


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@with_options(json_option, quiet_option)
def command(run: Path, as_json: bool, quiet: bool) -> int:
    """Read every file of RUN (a run or a batch) and say which are damaged or do not fit.

    Nothing is changed. Exit status 1 where something is wrong; the command that made the run does
    damaged shards again.

    \b
    Example:  oip verify runs/demo
    """
    from oip.batch.status import runs_of
    from oip.cli.progress import shown
    from oip.cli.tables import print_table
    from oip.run.check import verify_run

    runs = runs_of(run)
    with shown(quiet) as progress:
        checked = {str(one.path): verify_run(one, progress) for one in runs}
    every = [one for found in checked.values() for one in found]
    wrong = [(name, one) for name, found in checked.items() for one in found if one.problem]
    read = sum(one.read for one in every)
    if as_json:
        told = [{"run": name, "file": one.file, "problem": one.problem} for name, one in wrong]
        print_json({"run": str(run), "read": read, "files": len(every), "problems": told})
    else:
        if wrong:
            rows = [(name, one.file, one.problem) for name, one in wrong]
            print_table((("run", "left"), ("file", "left"), ("problem", "left")), rows)
        rest = len(every) - read
        more = f", {rest} of other kinds not read" if rest else ""
        click.echo(plain_text(f"{read} files read{more}: {len(wrong)} wrong"))
    return 1 if wrong else 0
