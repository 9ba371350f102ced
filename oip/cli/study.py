"""`oip study`: the papers' experiments."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from oip.cli import options
from oip.cli.options import Output, warn
from oip.cli.tables import print_json, print_text
from oip.core.errors import SettingsError
from oip.studies import STUDIES

_EVERY = "all"


def _studies() -> list[tuple[str, str]]:
    from oip.studies import study

    modules = [(name, study(name)) for name in STUDIES]
    rows = [(name, f"{module.TITLE}; quick: {module.MINUTES} min.") for name, module in modules]
    return [*rows, (_EVERY, "All of them.")]


@click.command(cls=options.ListingCommand, heading="Studies", rows=_studies)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@options.out("Folder of the report; an interrupted study continues in it.", metavar="DIR")
@click.option(
    "--quick", is_flag=True, help="Smaller sizes than the paper's, which take minutes on two cores."
)
@click.option(
    "--data",
    metavar="SOURCE",
    multiple=True,
    help="Images to use instead of the study's own (train and test part). Can be repeated. `oip` "
    "also "
    "takes a folder of photographs without classes, for its two pretrained networks.",
)
@click.option(
    "--iterations",
    type=click.IntRange(min=1),
    help="Training steps of the networks; a higher number continues from a lower one.  "
    "[default: by study]",
)
@click.option("--models", metavar="GLOB", help="Model files, for studies that compare networks.")
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Processes that share the work and the cores; each takes some GiB of memory.",
)
@options.seed
@options.data_dir
@options.size
@options.resize
@options.output
def command(names: tuple[str, ...], out: Path, workers: int, output: Output, **choices: Any) -> int:
    """Repeat a paper's experiments and report the results.

    Writes report.html, numbers.json and figures to DIR; for several studies, or all, to DIR/NAME,
    with a page DIR/index.html that links them. Prints the path of the page, and on stderr the time
    of each study and the data that were missing; in that case the exit status is 1.

    \b
    Example:
      oip study kernels --quick --out reports/kernels
      oip study all --quick --out reports
      oip study renyi --workers 8 --out reports/renyi
    """
    from oip.studies.report import StudySettings
    from oip.studies.runner import run_several, run_study

    if unknown := [name for name in names if name not in STUDIES and name != _EVERY]:
        raise SettingsError("study", ", ".join((*STUDIES, _EVERY)), f"'{unknown[0]}'")
    studies: tuple[str, ...] = tuple(STUDIES) if _EVERY in names else tuple(dict.fromkeys(names))
    choices["size"] = options.DataOptions(size=choices["size"]).sides
    settings = StudySettings(**choices)
    with output.progress() as progress:
        if _EVERY in names or len(studies) > 1:
            report = run_several(studies, out, settings, progress, output.note, workers)
        else:
            report = run_study(next(iter(studies)), out, settings, progress, output.note, workers)
    for name, reason in report.stopped.items():
        warn(f"{name}: {reason}")
    for name, reasons in report.lacking.items():
        for reason in reasons:
            warn(f"{name}: done without: {reason}")
    if output.as_json:
        print_json({**asdict(report), "page": str(report.page), "studies": list(studies)})
    else:
        print_text(report.page)
        output.next_steps(f"open {report.page} in a browser")
    return 0 if report.whole else 1
