"""`oip study`: the papers' experiments."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from oip.cli.options import (
    data_dir_option,
    json_option,
    note,
    plain_text,
    print_json,
    quiet_option,
    seed_option,
    with_options,
)
from oip.cli.progress import shown
from oip.core.errors import SettingsError, expected
from oip.studies import STUDIES

_EVERY = "all"


class _Command(click.Command):
    """A command whose help ends with the studies there are."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from oip.studies import study

        with formatter.section("Studies"):
            found = [(name, study(name)) for name in STUDIES]
            rows = [(name, f"{one.TITLE}; quick: {one.MINUTES} min.") for name, one in found]
            formatter.write_dl([*rows, (_EVERY, "Every one of them.")])


@click.command(cls=_Command)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the report; a study that was interrupted goes on in it.",
)
@click.option("--quick", is_flag=True, help="Minutes on two cores, in place of the paper's sizes.")
@click.option(
    "--data",
    metavar="SOURCE",
    multiple=True,
    help="Images in place of the study's own, in both parts; may be given again.",
)
@click.option(
    "--iterations",
    type=click.IntRange(min=1),
    help="Batches that networks learn from; more go on from fewer.  [default: by study]",
)
@click.option("--models", metavar="GLOB", help="Model files of studies that compare networks.")
@with_options(seed_option, data_dir_option, json_option, quiet_option)
def command(
    names: tuple[str, ...],
    out: Path,
    quick: bool,
    data: tuple[str, ...],
    iterations: int | None,
    models: str | None,
    seed: int,
    data_dir: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Do a paper's experiments again and report what was found.

    Writes report.html, numbers.json and figures to DIR; of several studies, or of all, to DIR/NAME,
    with a page DIR/index.html that links them. Prints the path of the page, and on stderr what
    each study took and what it had to do without; then the exit status is 1.

    \b
    Example:
      oip study kernels --quick --out reports/kernels
      oip study all --quick --out reports
    """
    from oip.studies.report import StudySettings
    from oip.studies.runner import run_several, run_study

    def say(text: str) -> None:
        note(plain_text(text), quiet)

    if unknown := [name for name in names if name not in STUDIES and name != _EVERY]:
        wanted = ", ".join((*STUDIES, _EVERY))
        raise SettingsError(expected("study", wanted, f"'{unknown[0]}'"))
    chosen = tuple(STUDIES) if _EVERY in names else tuple(dict.fromkeys(names))
    several = _EVERY in names or len(chosen) > 1
    settings = StudySettings(quick, seed, data, data_dir, models, iterations)
    with shown(quiet) as progress:
        if several:
            done = run_several(chosen, out, settings, progress, say)
        else:
            done = run_study(next(iter(chosen)), out, settings, progress, say=say)
    for name, reason in done.stopped.items():
        note(f"{name}: {plain_text(reason)}")
    for name, reasons in done.lacking.items():
        for reason in reasons:
            note(f"{name}: done without: {plain_text(reason)}")
    told: dict[str, Any] = {**asdict(done), "page": str(done.page), "studies": list(chosen)}
    if as_json:
        print_json(told)
    else:
        click.echo(plain_text(done.page))
    return 0 if done.whole else 1
