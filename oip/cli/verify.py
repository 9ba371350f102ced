"""`oip verify`: a check of every file of a run."""

from __future__ import annotations

from pathlib import Path

import click

from oip.cli.options import Output, output_options, run_argument
from oip.cli.tables import print_json, print_table, print_text


@click.command()
@run_argument
@output_options
def command(run: Path, output: Output) -> int:
    """Read every file of RUN (a run or a batch) and list those that are damaged or do not fit.

    Nothing is changed. The exit status is 1 if a file is damaged; the command that made the run
    makes damaged shards again.

    \b
    Example:  oip verify runs/demo
    """
    from oip.batch.status import runs_of
    from oip.run.check import verify_run

    with output.progress() as progress:
        checked = [
            (str(member.path), file)
            for member in runs_of(run)
            for file in verify_run(member, progress)
        ]
    wrong = [(name, file) for name, file in checked if file.problem]
    read = sum(file.read for _, file in checked)
    if output.as_json:
        problems = [
            {"run": name, "file": file.file, "problem": file.problem} for name, file in wrong
        ]
        print_json({"run": str(run), "read": read, "files": len(checked), "problems": problems})
        return 1 if wrong else 0
    if wrong:
        rows = [(name, file.file, file.problem) for name, file in wrong]
        headings = ("run", "file", "problem")
        print_table(headings, rows, left=headings)
    unread = len(checked) - read
    more = f", {unread} of other kinds not read" if unread else ""
    print_text(f"{read} files read{more}: {len(wrong)} wrong")
    return 1 if wrong else 0
