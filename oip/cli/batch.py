"""`oip batch`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from oip.cli.options import json_option, note, plain_text, print_json, quiet_option, with_options
from oip.core.errors import SettingsError, expected

if TYPE_CHECKING:
    from oip.batch.driver import BatchResult


@click.command()
@click.argument("job", type=click.Path(path_type=Path), metavar="JOB.toml")
@with_options(
    click.option("--init", is_flag=True, help="Write a commented example to JOB.toml, no more."),
    click.option(
        "--dry-run",
        is_flag=True,
        help="Show what is to be done, with seconds and bytes from a short calibration.",
    ),
    click.option("--out", type=click.Path(path_type=Path), help="Folder of the batch."),
    click.option(
        "--engine",
        type=click.Choice(["process", "local", "dask", "slurm"]),
        help="Where the work is done.  [default: as the job says, else process]",
    ),
    click.option("--workers", type=int, help="Processes of local, jobs at once of slurm."),
    click.option("--scheduler", metavar="ADDRESS", help="Of Dask, such as tcp://10.0.0.1:8786."),
    click.option(
        "--set",
        "changes",
        multiple=True,
        metavar="KEY=VALUE",
        help="Another value for a key of the job, such as settings.steps=60 or data=mnist.",
    ),
    click.option("--part", metavar="K/N", help="Only every N-th shard, from the K-th (0) on."),
    click.option(
        "--print-sbatch", is_flag=True, help="Print a script for sbatch that does the job, no more."
    ),
    json_option,
    quiet_option,
)
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
    as_json: bool,
    quiet: bool,
) -> int:
    """Reconstruct and rank many models, layers and settings, as JOB.toml says.

    The batch can be stopped or killed at any time: the same command goes on and repeats nothing
    that was finished. What fails is tried again, then recorded and left out; exit status 1.

    \b
    Example:  oip batch job.toml --init
              oip batch job.toml --dry-run
              oip batch job.toml --engine local --set settings.steps=60
    """
    from oip.batch.job import read_job
    from oip.core.checks import parse_assignments

    if init:
        return _write_example(job)
    told = {
        "out": None if out is None else str(out.absolute()),
        "engine.kind": engine,
        "engine.workers": workers,
        "engine.scheduler": scheduler,
    }
    texts = tuple(f"{key}={_toml(value)}" for key, value in told.items() if value is not None)
    parse_assignments(changes, "--set", tables=True)
    asked = read_job(job, (*changes, *texts))
    if print_sbatch:
        from oip.batch.executors import sbatch_script

        own = texts[:1] if out is not None else ()
        click.echo(sbatch_script(job, asked.engine, (*changes, *own)), nl=False)
        return 0
    from oip.batch.progress import watched

    with watched(quiet) as watcher:
        if dry_run:
            from oip.batch.calibration import forecast

            plan = forecast(asked, watcher.prepared)
        else:
            from oip.batch.driver import run

            result = run(asked, part=_part(part), watcher=watcher)
    if dry_run:
        _print_plan(plan, as_json)
        return 0
    return _print_result(result, as_json, quiet)


def _write_example(path: Path) -> int:
    from oip.batch.job import EXAMPLE
    from oip.core.files import write_text

    if path.exists():
        raise SettingsError(expected("--init", "a file that is not there yet", f"'{path}'"))
    write_text(path, EXAMPLE)
    click.echo(plain_text(path))
    return 0


def _toml(value: str | int) -> str:
    if isinstance(value, int):
        return str(value)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _part(text: str | None) -> tuple[int, int]:
    if text is None:
        return 0, 1
    first, slash, count = text.partition("/")
    if not (slash and first.isdecimal() and count.isdecimal() and int(first) < int(count)):
        raise SettingsError(expected("--part", "K/N with K from 0 to N - 1", f"'{text}'"))
    return int(first), int(count)


def _print_plan(plan: dict[str, Any], as_json: bool) -> None:
    from oip.batch.progress import duration
    from oip.cli.tables import print_table

    if as_json:
        print_json(plan)
        return
    rows = [
        (
            run["run"],
            run["model"],
            layer["layer"],
            layer["maps"],
            layer["shards"],
            layer["shards_left"],
            duration(layer["seconds"]),
            f"{layer['bytes'] / 2**20:.1f}",
        )
        for run in plan["runs"]
        for layer in run["layers"]
    ]
    names = ("run", "model", "layer", "maps", "shards", "to do", "worker time", "MiB")
    sides = ("left", "left", "left", *["right"] * 5)
    print_table(tuple(zip(names, sides, strict=True)), rows)
    click.echo(
        f"{plan['shards_left']} of {plan['shards']} shards to do, {plan['maps_left']} maps: "
        f"about {duration(plan['seconds'])} with {plan['workers']} at once, "
        f"{plan['bytes'] / 2**20:.0f} MiB"
    )
    for text in plan["notices"]:
        click.echo(plain_text(text))


def _print_result(result: BatchResult, as_json: bool, quiet: bool) -> int:
    from oip.ascent.results import VERDICTS
    from oip.cli.tables import print_table
    from oip.run.check import run_status
    from oip.run.run import Run

    runs = []
    for one in result.runs:
        told = run_status(Run.open(one.folder))
        asked = {layer.index for layer in one.outlook.layers}
        layers = [layer for layer in told["layers"] if layer["index"] in asked]
        runs.append({"run": one.folder.name, "model": told["model"], "layers": layers})
        if one.outlook.assumed:
            note(
                plain_text(
                    f"oip: {told['model']}: the input's mean and deviation are not known; 0 and 1 "
                    "were taken. Say data, preprocess, or input_mean and input_std."
                ),
                quiet,
            )
    if as_json:
        failed = [one.to_dict() for one in result.failures]
        seconds = {"seconds": result.seconds, "pieces": result.pieces}
        print_json({"batch": str(result.out), **seconds, "runs": runs, "failed": failed})
    else:
        rows = []
        for run in runs:
            counts: Counter[str] = Counter()
            for layer in run["layers"]:
                counts.update(layer["verdicts"])
            maps = sum(layer["oips"] for layer in run["layers"])
            words = (counts.get(word, 0) for word in VERDICTS)
            rows.append((run["run"], run["model"], len(run["layers"]), maps, *words))
        names = ("run", "model", "layers", "maps", *VERDICTS)
        sides = ("left", "left", *["right"] * (2 + len(VERDICTS)))
        print_table(tuple(zip(names, sides, strict=True)), rows)
        click.echo(plain_text(f"{result.out} ({result.seconds:.0f} s, {result.pieces} pieces)"))
    if result.failures:
        _print_failures([one.to_dict() for one in result.failures], as_json)
    failed_maps = sum(layer["verdicts"].get("failed", 0) for run in runs for layer in run["layers"])
    if failed_maps:
        click.echo(f"oip: {failed_maps} maps failed.", err=True)
    return 1 if result.failures or failed_maps else 0


def _print_failures(failures: list[dict[str, Any]], as_json: bool) -> None:
    from oip.cli.tables import print_table

    if as_json:
        click.echo(f"oip: {len(failures)} pieces of work failed.", err=True)
        return
    print_table(
        (("run", "left"), ("layer", "left"), ("file", "left"), ("tries", "right"), ("why", "left")),
        [(one["run"], one["name"], one["file"], one["attempts"], one["error"]) for one in failures],
        f"{len(failures)} pieces of work failed",
    )
