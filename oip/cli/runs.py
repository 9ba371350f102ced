"""Commands on runs and batches: `oip status`, `verify`, `merge`, `cite`, `export`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oip.cli import options
from oip.cli.options import Output, quoted
from oip.cli.tables import Record, print_json, print_table, print_text
from oip.core.errors import RunError, SettingsError, plain_text

if TYPE_CHECKING:
    from oip.run.check import Checked, RunStatus
    from oip.run.run import Run

_STATUS = {
    "stability": "maps whose starts were compared with each other",
    "judged": "maps whose legibility was measured by 'oip judge'",
}
_MOST_NAMES = 8
"""Names of files without a checksum that are printed."""


@click.command("status")
@options.run_argument
@options.all_rows
@options.output
def status_command(run: Path, output: Output) -> int:
    """Show what is in RUN (a run or a batch), what is missing, and what failed.

    The exit status is 1 if something failed or a file is damaged.

    \b
    Example:  oip status runs/demo
    """
    from oip.batch.plan import NAME, batch_status
    from oip.core.records import is_there
    from oip.run.check import run_status
    from oip.run.run import Run

    if is_there(run / NAME):
        result = batch_status(run)
        runs = result.runs
    else:
        result = run_status(Run.open(run))
        runs = [result]
    if output.as_json:
        print_json(result.to_dict())
    else:
        for record in runs:
            _print_status(record)
    layers = [layer for record in runs for layer in record.layers]
    first_run = runs[0].run
    is_batch = is_there(run / NAME)
    requested = [(layer.oips, layer.requested) for layer in layers]
    if is_batch and any(isinstance(count, int) and done < count for done, count in requested):
        output.next_steps("oip batch JOB.toml  # continues it")
    elif layers and not any(layer.ranked for layer in layers):
        output.next_steps(quoted("oip", "rank", "MODEL", "--data", "SOURCE", "--out", first_run))
    output.next_steps(quoted("oip", "gallery", first_run, "--open"))
    return 1 if any(layer.has_problems for layer in layers) else 0


def _print_status(run: RunStatus) -> None:
    from msgspec import UNSET

    from oip.ascent.results import shown_verdict

    rows = [
        (
            f"@{layer.index}",
            layer.layer,
            f"{layer.oips} of {layer.maps if layer.requested is UNSET else layer.requested}",
            ", ".join(f"{n} {shown_verdict(name)}" for name, n in layer.verdicts.items()) or "-",
            "yes" if layer.stability else "no",
            "yes" if layer.ranked else "no",
            layer.judged or "-",
        )
        for layer in run.layers
    ]
    headings = ("index", "layer", "maps", "verdicts", "stability", "ranked", "judged")
    left = ("layer", "verdicts", "stability", "ranked")
    print_table(headings, rows, f"{run.run}: {run.model}", left=left, legend=_STATUS)
    problems = []
    for layer in run.layers:
        problems += [(layer.layer, failure.file, failure.error) for failure in layer.failed]
        problems += [(layer.layer, name, "damaged") for name in layer.damaged]
    if problems:
        headings = ("layer", "file", "reason")
        print_table(headings, problems, "failed", left=headings)
        print_text("Give the command that made the run again: it makes them.")


@click.command("verify")
@options.run_argument
@click.option(
    "--repair",
    is_flag=True,
    help="Make damaged run.json, batch.json and stability files again, and remove temporary "
    "files of killed processes.",
)
@options.all_rows
@options.output
def verify_command(run: Path, repair: bool, output: Output) -> int:
    """Read every file of RUN (a run or a batch) and list those that are damaged or missing.

    Each file carries a checksum. Without --repair nothing is changed. The exit status is 1 if a
    file is damaged or missing; then the commands that make it again are printed. Replace MODEL and
    SOURCE in them by the paths of your model and data.

    \b
    Example:  oip verify runs/demo
              oip verify runs/demo --repair
    """
    from oip.batch.plan import repair_batch, runs_of, verify_batch
    from oip.run.check import repair_run, verify_run
    from oip.run.run import clear_leftovers, leftovers

    members = runs_of(run, tidy=False)
    repaired: list[str] = []
    cleared: list[str] = []
    if repair:
        repaired = [str(run / name) for name in repair_batch(run)]
        for member in members:
            repaired += [str(member.path / name) for name in repair_run(member)]
            cleared += map(str, clear_leftovers(member.path))
    with output.progress() as progress:
        checked = [(str(run), file) for file in verify_batch(run)]
        checked += [
            (str(member.path), file) for member in members for file in verify_run(member, progress)
        ]
    damaged = [(name, file) for name, file in checked if file.problem]
    verification = _Verification(
        checked=checked,
        damaged=damaged,
        commands=_restoring_commands(run, members, damaged),
        repaired=repaired,
        leftovers=[str(path) for member in members for path in leftovers(member.path)],
        cleared=cleared,
    )
    if output.as_json:
        print_json({"run": str(run), **verification.to_dict()})
        return 1 if damaged else 0
    verification.print()
    if not damaged:
        output.next_steps(quoted("oip", "status", run))
    return 1 if damaged else 0


@dataclass(frozen=True)
class _Verification:
    """The files of a run or a batch, each with the run that it is of."""

    checked: list[tuple[str, Checked]]
    damaged: list[tuple[str, Checked]]
    commands: list[str]
    """These make damaged files again."""
    repaired: list[str]
    leftovers: list[str]
    """Temporary files of killed processes."""
    cleared: list[str]

    @property
    def read(self) -> int:
        """How many files were read."""
        return sum(file.read for _, file in self.checked)

    @property
    def unproven(self) -> list[str]:
        """Files without a checksum."""
        return [str(Path(name, file.file)) for name, file in self.checked if not file.has_checksum]

    def to_dict(self) -> Record:
        """Return plain values, as `oip verify --json` prints them."""
        problems = [
            {"run": name, "file": file.file, "problem": file.problem} for name, file in self.damaged
        ]
        result: Record = {"read": self.read, "files": len(self.checked), "problems": problems}
        result |= {"without_checksum": self.unproven, "commands": self.commands}
        result |= {"repaired": self.repaired, "leftovers": self.leftovers}
        return {**result, "cleared": self.cleared}

    def print(self) -> None:
        """Print what was done, what is wrong and how to make it again."""
        for name in self.repaired:
            print_text(f"made again: {name}")
        for name in self.cleared:
            print_text(f"cleared: {name}")
        if self.damaged:
            rows = [(name, file.file, file.problem) for name, file in self.damaged]
            headings = ("run", "file", "problem")
            print_table(headings, rows, left=headings)
        if self.commands:
            click.echo("To make them again:")
            for command in self.commands:
                click.echo(f"  {command}")
        if self.leftovers:
            click.echo("Temporary files of killed processes, which --repair removes:")
            for name in self.leftovers:
                print_text(f"  {name}")
        unproven = self.unproven
        if unproven:
            click.echo(
                "Without a checksum (of an earlier version, or changed by hand), so that only"
            )
            click.echo("their form could be checked:")
            for name in unproven[:_MOST_NAMES]:
                print_text(f"  {name}")
            if len(unproven) > _MOST_NAMES:
                click.echo(f"  and {len(unproven) - _MOST_NAMES} more (--json names all)")
        unread = len(self.checked) - self.read
        unread_note = f", {unread} of other kinds not read" if unread else ""
        print_text(f"{self.read} files read{unread_note}: {len(self.damaged)} wrong")


def _restoring_commands(
    run: Path, members: Sequence[Run], damaged: Sequence[tuple[str, Checked]]
) -> list[str]:
    """Return the commands that restore damaged files: those of the batch, or of the run."""
    from oip.gallery.rerun_command import commands_again

    commands: list[str] = []
    is_batch = [str(member.path) for member in members] != [str(run)]
    for member in members:
        names = [file.file for name, file in damaged if name == str(member.path)]
        if not names:
            continue
        if is_batch:
            names = [name for name in names if name.startswith("gallery")]
            commands.append(f"oip batch JOB.toml    # the job of {plain_text(run)}")
        commands += [*_moves(member, names), *commands_again(member, names)]
    repairable = {"run.json", "run.copy.json", "batch.json", "batch.copy.json", "log.jsonl"}
    if any(file.file in repairable for _, file in damaged):
        commands.append(quoted("oip", "verify", run, "--repair"))
    return list(dict.fromkeys(commands))


def _moves(run: Run, damaged: Sequence[str]) -> list[str]:
    """Return the commands that move damaged galleries away which no new one may replace.

    They are moved to a path beside the run.
    """
    from oip.gallery.site import is_replaceable

    damaged_galleries = {Path(name).parts[0] for name in damaged if name.startswith("gallery")}
    return [
        quoted("mv", "--", run.path / name, f"{run.path}-damaged-{name}")
        for name in sorted(damaged_galleries)
        if not is_replaceable(run.path / name)
    ]


@click.command("merge")
@click.argument("runs", nargs=-1, required=True, type=options.NamedPath(), metavar="RUN...")
@options.out("Folder of the new run.")
@options.output
def merge_command(runs: tuple[Path, ...], out: Path, output: Output) -> None:
    """Merge runs of the same model, made with the same settings, into one.

    Maps that are in several runs are taken from the first one. The runs themselves are not
    changed.

    \b
    Example:  oip merge runs/first runs/second --out runs/both
    """
    from oip.run.merge import merge_runs

    with output.progress() as progress:
        merged = merge_runs(runs, out, progress)
    for text in merged.notices:
        output.note(f"oip: {text}")
    if output.as_json:
        layers = [{"index": index, "maps": maps} for index, maps in merged.maps.items()]
        print_json({"run": str(out), "layers": layers, "notices": list(merged.notices)})
    else:
        print_text(f"{out}: {merged.content}")
    output.next_steps(quoted("oip", "gallery", out, "--open"))


@click.command("cite")
@click.argument("run", type=options.NamedPath(), required=False)
@click.option(
    "--estimator",
    "estimators",
    multiple=True,
    metavar="NAME",
    help="Also cite an estimator, with which arrays were estimated; may be given several times.",
)
@options.output
def cite_command(run: Path | None, estimators: tuple[str, ...], output: Output) -> None:
    """Print BibTeX of the methods that made RUN (a run or a batch), for the settings it used.

    \b
    Example:  oip cite runs/demo > methods.bib
              oip cite --estimator ksg > methods.bib
    """
    from oip.run.citations import citations, estimator_citations

    if run is None and not estimators:
        raise SettingsError("cite", "RUN or --estimator NAME", "neither")
    entries: dict[str, str] = {}
    if run is not None:
        from oip.batch.plan import runs_of

        for member in runs_of(run):
            entries = citations(member) | entries
    if estimators:
        entries = estimator_citations(estimators) | entries
    if output.as_json:
        print_json({"run": None if run is None else str(run), "entries": entries})
    else:
        click.echo("\n\n".join(entries.values()))
    arguments = [] if run is None else [str(run)]
    for name in estimators:
        arguments += ["--estimator", name]
    output.next_steps(f"{quoted('oip', 'cite', *arguments)} > methods.bib")


_ENDINGS_OF_FILES = (".csv", ".json", ".png", ".webp", ".gif", ".npy", ".zip")
"""A path that ends so is not meant as a folder."""


@click.command("export")
@options.run_argument
@click.argument("layer", required=False)
@options.out("A folder for pictures, or a file that ends in .npz.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["png", "webp", "gif"]),
    default="png",
    help="png: the best image; webp or gif: an animation of its evolution from noise.",
)
@click.option("--plain", is_flag=True, help="Do not stretch the contrast.")
@click.option(
    "--size", type=click.IntRange(8, 2048), default=224, help="Length of the longer side in pixels."
)
@click.option(
    "--force", is_flag=True, help="Also replace files that were not made by 'oip export'."
)
@options.output
def export_command(
    run: Path,
    layer: str | None,
    out: Path,
    kind: str,
    plain: bool,
    size: int,
    force: bool,
    output: Output,
) -> None:
    """Write the images of RUN (of one LAYER, by name or @INDEX) as files.

    A picture is named by layer and map, such as 002-Conv2D_3-map-0017.png, or by the objective. The
    numbers of all maps are in gallery/maps.csv of a run with a gallery. An .npz holds `images`
    (maps, h, w, bands), the best start of each map in the model's input units, with `maps`,
    `scores`, `verdicts` and, where they are of objectives, `objectives`.

    \b
    Example:  oip export runs/demo Conv2D_3 --out pictures --format webp
    """
    from oip.core.files import check_writable
    from oip.run.export import check_ours, export_arrays, export_pictures, picture_names
    from oip.run.run import Run
    from oip.run.shards import layer_parts

    source = Run.open(run)
    indices = source.reconstructed()
    if not indices:
        raise RunError(f"'{run}'", "a run with OIPs", "none", "Use 'oip reconstruct'.")
    if layer is not None:
        indices = [_index(source, layer)]
    if out.suffix in _ENDINGS_OF_FILES and not out.is_dir():
        hint = "'oip gallery' writes the table gallery/maps.csv." if out.suffix == ".csv" else ""
        raise RunError("--out", "a folder, or a file that ends in .npz", f"'{out}'", hint)
    check_writable(out.parent if out.suffix == ".npz" else out)
    paths: list[Path] = []
    if out.suffix == ".npz":
        if option := options.typed_option("kind", "plain", "size"):
            raise SettingsError(option, "a folder as --out, for pictures", f"'{out}'")
        if len(indices) > 1:
            names = ", ".join(source.layer(index).name for index in indices)
            raise RunError("an .npz", "one LAYER", f"a run of {names}")
        paths.append(export_arrays(layer_parts(source, indices[0], False), out, force))
    else:
        for index in indices:  # nothing is written before all names are known to be free
            info = source.layer(index)
            names = picture_names(index, info.name, range(info.maps), kind, info.objectives or ())
            check_ours((out / name for name in names), force)
        for index in indices:
            for oips in layer_parts(source, index, kind != "png"):
                enhance = False if plain else None
                paths += export_pictures(oips, out, kind, enhance, size, force)
    if output.as_json:
        print_json({"files": [str(path) for path in paths]})
    else:
        pictures = f"{len(paths)} picture{'s' if len(paths) != 1 else ''} in "
        print_text(out if out.suffix == ".npz" else f"{pictures}{out}")
    output.next_steps(f"{quoted('oip', 'cite', run)}  # the references of a figure")


def _index(run: Run, text: str) -> int:
    """Return the index of a layer with OIPs, by its name or @INDEX."""
    indices = run.reconstructed()
    for layer in run.layers:
        if text in (layer.name, f"@{layer.index}") and layer.index in indices:
            return layer.index
    names = ", ".join(run.layer(index).name for index in indices)
    raise RunError("layer", f"one of {names}", f"'{text}'")
