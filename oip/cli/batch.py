"""`oip batch`: many models, layers and settings."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oip.cli import options
from oip.cli.options import Output, quoted, warn
from oip.cli.tables import Record, print_json, print_table, print_text, verdict_headings
from oip.core.errors import SettingsError

if TYPE_CHECKING:
    from oip.batch.calibration import Forecast
    from oip.batch.driver import BatchResult
    from oip.run.check import RunStatus


@click.command()
@click.argument("job", type=options.NamedPath(), metavar="JOB.toml")
@click.option("--init", is_flag=True, help="Only write a commented example to JOB.toml.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Only show what would be done; time and disk space are estimated by a short calibration.",
)
@options.out("Folder of the batch.", required=False)
@click.option(
    "--engine",
    type=click.Choice(["process", "local", "dask", "slurm"]),
    help="Where the work is done.  [default: as the job says; process if it does not]",
)
@click.option(
    "--workers", type=int, help="Number of processes (local) or of simultaneous jobs (slurm)."
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Address of the Dask scheduler, such as tcp://10.0.0.1:8786.",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a key of the job, such as settings.steps=60 or data=mnist.",
)
@click.option(
    "--part", metavar="K/N", help="Only every N-th shard, beginning with number K (from 0)."
)
@click.option(
    "--print-sbatch", is_flag=True, help="Only print a script for sbatch that does the job."
)
@options.all_rows
@options.output
def command(
    job: Path,
    init: bool,
    dry_run: bool,
    out: Path | None,
    engine: str | None,
    workers: int | None,
    scheduler: str | None,
    changes: tuple[str, ...],
    part: str | None,
    print_sbatch: bool,
    output: Output,
) -> int:
    """Reconstruct and rank many models, layers and settings, as JOB.toml says.

    The batch can be stopped or killed at any time: the same command continues it and repeats no
    finished work. Work that fails is tried again, then recorded and skipped; a model that cannot be
    used is left out. The exit status is then 1.

    \b
    Example:  oip batch job.toml --init
              oip batch job.toml --dry-run
              oip batch job.toml --engine local --set settings.steps=60
    """
    from oip.batch.job import read_job
    from oip.core.checks import parse_assignments

    if init:
        return _write_example(job, output)
    options_given = {
        "out": None if out is None else str(out.absolute()),
        "engine.kind": engine,
        "engine.workers": workers,
        "engine.scheduler": scheduler,
    }
    option_changes = {
        key: f"{key}={json.dumps(value, ensure_ascii=False)}"
        for key, value in options_given.items()
        if value is not None
    }
    parse_assignments(changes, "--set", tables=True)
    description = read_job(job, (*changes, *option_changes.values()))
    kind = description.engine.kind
    if scheduler is not None and kind != "dask":
        raise SettingsError("--scheduler", "--engine dask as well", f"the engine {kind}")
    if workers is not None and kind not in ("local", "slurm") and not print_sbatch:
        raise SettingsError("--workers", "--engine local or slurm as well", f"the engine {kind}")
    share = _part(part)
    if part is not None and (print_sbatch or dry_run):
        option = "--print-sbatch" if print_sbatch else "--dry-run"
        raise SettingsError("--part", f"no {option}, which is about all shards", f"'{part}'")
    if print_sbatch:
        from oip.batch.executors import sbatch_script

        if "out" in option_changes:  # the script has options of its own for the engine
            changes = (*changes, option_changes["out"])
        script = sbatch_script(job, description.engine, changes)
        if output.as_json:
            print_json({"script": script})
        else:
            click.echo(script, nl=False)
        return 0
    from oip.batch.progress import watched

    if dry_run:
        from oip.batch.calibration import forecast

        with watched(output.quiet) as watcher:
            plan = forecast(description, watcher.prepared)
        _print_plan(plan, output)
        return 1 if plan.refused else 0
    from oip.batch.driver import run

    with watched(output.quiet) as watcher:
        result = run(description, part=share, watcher=watcher)
    return _print_result(result, output)


def _write_example(path: Path, output: Output) -> int:
    from oip.batch.job import EXAMPLE
    from oip.core.files import write_text

    if path.exists():
        raise SettingsError("--init", "a file that does not exist yet", f"'{path}'")
    write_text(path, EXAMPLE)
    if output.as_json:
        print_json({"job": str(path)})
    else:
        print_text(path)
    output.next_steps("edit it, then", quoted("oip", "batch", path, "--dry-run"))
    return 0


def _part(text: str | None) -> tuple[int, int]:
    if text is None:
        return 0, 1
    numbers = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if numbers is None or int(numbers[1]) >= int(numbers[2]):
        raise SettingsError("--part", "K/N with K from 0 to N - 1", f"'{text}'")
    return int(numbers[1]), int(numbers[2])


def _print_plan(plan: Forecast, output: Output) -> None:
    from oip.core.progress import duration

    if output.as_json:
        print_json(plan.to_dict())
        return
    rows = [
        (
            run.run,
            run.model,
            layer.layer,
            layer.maps,
            layer.shards,
            layer.shards_left,
            duration(layer.seconds),
            f"{layer.bytes / 2**20:.1f}",
        )
        for run in plan.runs
        for layer in run.layers
    ]
    headings = ("run", "model", "layer", "maps", "shards", "to do", "worker time", "MiB")
    print_table(headings, rows, left=headings[:3])
    click.echo(
        f"{plan.shards_left} of {plan.shards} shards to do, {plan.maps_left} maps: "
        f"about {duration(plan.seconds)} with {plan.workers} at once, "
        f"{plan.bytes / 2**20:.0f} MiB"
    )
    for text in plan.notices:
        print_text(text)
    output.next_steps("the same command without --dry-run")


def _print_result(result: BatchResult, output: Output) -> int:
    """Print a table of the runs, and what failed; return the exit status."""
    runs = _run_statuses(result)
    failures = result.failures
    if output.as_json:
        record: Record = {"batch": str(result.out), "seconds": result.seconds}
        record |= {"pieces": result.pieces, "runs": [run.to_dict() for run in runs]}
        print_json({**record, "failed": [failure.to_dict() for failure in failures]})
        if failures:
            warn(f"oip: {len(failures)} pieces of work failed.")
    else:
        _print_tables(result, runs)
        if failures:
            output.next_steps("the same command, which tries the failed work again")
        output.next_steps(quoted("oip", "gallery", result.runs[0].folder, "--open"))
    failed_maps = sum(run.verdicts["failed"] for run in runs)
    if failed_maps:
        warn(f"oip: {failed_maps} maps failed; 'oip status' of their run lists them.")
    return 1 if failures or failed_maps else 0


def _run_statuses(result: BatchResult) -> list[RunStatus]:
    """Return the status of every run, of the layers that the job names."""
    from oip.run.check import RunStatus, run_status
    from oip.run.run import Run

    runs = []
    for planned in result.runs:
        status = run_status(Run.open(planned.folder))
        indices = {layer.index for layer in planned.inspection.layers}
        layers = [layer for layer in status.layers if layer.index in indices]
        runs.append(RunStatus(run=planned.folder.name, model=status.model, layers=layers))
        if planned.inspection.assumed:
            text = (
                f"oip: {status.model}: the input's mean and standard deviation are not known; "
                "0 and 1 were used. Set data, preprocess, or input_mean and input_std in the job."
            )
            warn(f"{text} {planned.inspection.preprocess_hint}".rstrip())
    return runs


def _print_tables(result: BatchResult, runs: list[RunStatus]) -> None:
    from oip.ascent.results import shown_verdict

    counts = [run.verdicts for run in runs]
    verdicts = verdict_headings(counts)
    rows = []
    for run, count in zip(runs, counts, strict=True):
        maps = sum(layer.oips for layer in run.layers)
        numbers = (count[verdict] for verdict in verdicts)
        rows.append((run.run, run.model, len(run.layers), maps, *numbers))
    headings = ("run", "model", "layers", "maps", *map(shown_verdict, verdicts))
    print_table(headings, rows, left=("run", "model"))
    print_text(f"{result.out} ({result.seconds:.0f} s, {result.pieces} pieces)")
    if result.failures:
        print_table(
            ("run", "layer", "file", "tries", "reason"),
            [
                (row.run or "-", row.name or "-", row.file, row.attempts, row.error)
                for row in result.failures
            ],
            f"{len(result.failures)} pieces of work failed",
            left=("run", "layer", "file", "reason"),
        )
