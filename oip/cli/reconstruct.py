"""`oip reconstruct`: the original input patterns of maps."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from oip.cli import options
from oip.cli.options import DataOptions, ModelOptions, Output, quoted, warn
from oip.cli.tables import (
    ABOVE_BEST_IMAGE,
    Record,
    number,
    of_units,
    print_json,
    print_table,
    print_text,
    verdict_headings,
    verdict_legend,
    without_empty,
)
from oip.core.errors import LOOK_FOR_NAN, SettingsError

if TYPE_CHECKING:
    from oip.ascent.results import MapEvidence
    from oip.ascent.settings import AscentSettings, AutoSettings
    from oip.ascent.targets import ObjectiveTargets
    from oip.core.progress import Progress
    from oip.models import Dataset
    from oip.network.network import Network
    from oip.run.reconstruct import ReconstructedLayer, RunSummary
    from oip.run.run import Run
    from oip.workflows.inputs import Selection

_FEW = 24
"""Maps, of all layers together, that are always listed."""
_ENDED = {
    "budget": "step limit reached",
    "schedule": "all steps done",
    "stalled": "no progress",
    "failed": "not finite",
}
_LEGEND = {
    "score": "mean response to the pattern",
    "best image": "score of the best image of the data",
    "stability": "similarity of the patterns of different starts, 1 at most",
    "above others": "share of pairs of patterns of other maps that are less similar",
    "patterns": "distinct patterns among the starts (in brackets a start of each; 0 is the best)",
    "ended": "why the ascent stopped",
}
_EVIDENCE = (
    *("verdict", "score", "best image", "stability", "above others", "patterns"),
    *("steps", "ended"),
)


@dataclass(frozen=True)
class AscentOptions:
    """How images are grown, and of which maps or objectives; None for the value of the preset."""

    preset: str
    changes: tuple[str, ...]
    starts: int | None
    steps: int | None
    screened: int | None
    noise: str | None
    snapshots: int | None
    judge: str | None
    judge_layer: str | None
    start: Path | None
    expressions: tuple[str, ...]
    top: int | None
    by: str | None

    def plan(self, seed: int, has_data: bool) -> AscentPlan:
        """Return what the options ask for.

        Raises:
            SettingsError: unknown settings, or options that need others.
        """
        from oip.ascent.settings import requested_settings
        from oip.core.checks import parse_assignments
        from oip.workflows.best_preset import best_presets, candidate_settings
        from oip.workflows.reconstruct import check_top

        names = ("starts", "steps", "screened", "noise", "snapshots")
        changes = {name: getattr(self, name) for name in names}
        assigned = parse_assignments(self.changes, "--set")
        if option := options.typed_option(*{*names, "seed"}.intersection(assigned)):
            raise SettingsError(option, "one value", f"{option} and --set {option[2:]}=")
        changes |= {"seed": seed, **assigned}
        presets = best_presets(self.preset)
        has_judge = self.judge is not None or self.judge_layer is not None
        if presets is None and has_judge:
            raise SettingsError("--judge", "--preset best as well", f"--preset {self.preset}")
        unfit = ["no --judge"] * (self.judge is None) + ["no --data"] * (not has_data)
        unfit += ["--from"] * (self.start is not None)
        if presets is not None and unfit:
            expected = "--judge and --data as well, and no --from"
            raise SettingsError("--preset best", expected, " and ".join(unfit))
        candidates = {} if presets is None else candidate_settings(presets, changes)
        from_image = self.start is not None
        settings = None if candidates else requested_settings(self.preset, from_image, **changes)
        if self.top is None and self.by is not None:
            raise SettingsError("--by", "--top N as well", "--by alone")
        if self.top is not None and not self.expressions and not has_data:
            raise SettingsError("--top", "--data with labels, to rank the maps", "none")
        by = check_top(self.top, self.by, self.expressions, has_data)
        return AscentPlan(self, seed, settings, candidates, by)


@dataclass(frozen=True)
class AscentPlan:
    """The settings and the maps that `AscentOptions` ask for."""

    options: AscentOptions
    seed: int
    settings: AscentSettings | AutoSettings | None
    """None where several presets are compared."""
    candidates: dict[str, AscentSettings]
    """The settings of each preset that is compared."""
    by: str | None
    """Quantity that the best maps are found by; None for all maps."""

    @property
    def depends_on_options_alone(self) -> bool:
        """No file is read beside the model and the data: no image, direction or judge."""
        names_file = any("direction:" in text for text in self.options.expressions)
        return self.options.start is None and not self.candidates and not names_file

    def grow(
        self,
        out: Path,
        network: Network,
        images: Dataset | None,
        layers: list[Selection],
        targets: ObjectiveTargets | None,
        imports: tuple[str, ...],
        progress: Progress,
    ) -> tuple[Run, list[Selection], list[str]]:
        """Grow maps of layers, or objectives; return the run, the maps that are grown, remarks."""
        from oip.ascent.settings import of_input
        from oip.run.reconstruct import reconstruct_layers
        from oip.workflows.best_preset import grow_best
        from oip.workflows.inputs import load_start
        from oip.workflows.top_maps import find_top_maps

        start, top, judge = self.options.start, self.options.top, self.options.judge
        start = None if start is None else load_start(network, start)
        notes: list[str] = []
        if top is not None and self.by is not None and images is not None:
            best = find_top_maps(
                out,
                network,
                layers,
                images,
                top=top,
                by=self.by,
                seed=self.seed,
                progress=progress,
            )
            layers, notes = best.selections, [f"oip: {text}" for text in best.notices]
        if images is not None and judge is not None:
            run = grow_best(
                out,
                network,
                layers,
                images,
                self.candidates,
                judge,
                self.options.judge_layer,
                targets=targets,
                imports=imports,
                progress=progress,
            )
        elif self.settings is not None:
            settings = of_input(self.settings, network.inputs.shape)
            run = reconstruct_layers(
                out, network, layers, settings, images, progress, targets, start
            )
        return run, layers, notes


def _checked(_context: click.Context, parameter: click.Parameter, value: object) -> object:
    """Check a setting where its option is read, so that errors come in the order of options."""
    from oip.ascent.settings import requested_settings
    from oip.workflows.best_preset import best_presets

    is_best = parameter.name == "preset" and best_presets(str(value)) is not None
    if value is not None and not is_best:
        changes: dict[str, Any] = {"starts": 1, str(parameter.name): value}  # screened: from 1 on
        requested_settings(**changes)
    return value


_setting = partial(click.option, callback=_checked)
_ascent_options = options.as_object(
    "ascent",
    AscentOptions,
    _setting("--starts", type=int, help="Images grown for each map.  [default: 4; natural: 2]"),
    _setting("--steps", type=int, help="Largest number of steps.  [default: 120; natural: 64]"),
    _setting(
        "--screened",
        type=int,
        help="Noise images that are tried first.  [default: 256; natural: 16]",
    ),
    click.option(
        "--noise",
        help="Wavelengths of the noise at the start: equal, white, no-white, single:GRID, "
        "tilt:BETA, dirichlet, or a weight for each octave, the shortest wavelength first: "
        "weights:1,0.5,0,0.  [default: equal]",
    ),
    _setting(
        "--snapshots",
        type=int,
        metavar="N",
        help="Images kept of each map's evolution from noise; 0 for none.  [default: 8]",
    ),
    _setting(
        "--preset",
        default="auto",
        help="default, natural, aligned or context (with --data), accentuate, author, fourier or "
        "maco. auto takes natural for color images, default for all others, and accentuate with "
        "--from. best, or best:natural,maco, grows several and keeps the most legible one of each "
        "unit (with --judge and --data).",
        show_default=True,
    ),
    click.option(
        "--judge",
        metavar="MODEL|pixels",
        help="With --preset best: the network that judges legibility, as for 'oip judge'.",
    ),
    click.option(
        "--judge-layer",
        metavar="L",
        help="With --preset best: the layer of the judge, as for 'oip judge'.",
    ),
    click.option(
        "--from",
        "start",
        type=options.NamedPath(),
        metavar="IMAGE",
        help="An image file to start from in place of noise; it is cropped and resized as data "
        "are.",
    ),
    click.option(
        "--set",
        "changes",
        multiple=True,
        metavar="NAME=VALUE",
        help="A setting of the ascent, such as jitter=2 or total_variation=0.3.",
    ),
    click.option(
        "--objective",
        "expressions",
        multiple=True,
        metavar="EXPR",
        help="Instead of maps: class:4 or class:NAME, unit:3, node:17@3,2, direction:FILE.npy, "
        "map:17, or sums.",
    ),
    click.option(
        "--top",
        type=click.IntRange(min=1),
        metavar="N",
        help="Rank the maps first and reconstruct only the N best of each layer; --data needs "
        "labels.",
    ),
    click.option(
        "--by",
        metavar="NAME",
        help="With --top, the order: mi, by information about the class, or separates:CLASS,CLASS, "
        "by how well a map separates two classes.  [default: mi]",
    ),
)


@click.command()
@options.model_argument
@click.argument("selections", nargs=-1, metavar="[LAYER[:MAPS]]...")
@options.out("Folder of the run.")
@_ascent_options
@click.option("--details", is_flag=True, help="Show every map of every layer.")
@options.data("Reference images that the OIPs are compared with.", required=False)
@options.model_and_input
@options.seed
@options.all_rows
@options.output
def command(
    model: ModelOptions,
    selections: tuple[str, ...],
    data: DataOptions,
    out: Path,
    ascent: AscentOptions,
    details: bool,
    seed: int,
    output: Output,
) -> int:
    """Grow the original input pattern of each map of MODEL.

    LAYER is a name, outer/inner for nested models, or @INDEX as 'oip layers' prints it; MAPS is
    all, 3, 0-15 or 0,4,9. Without LAYER, every convolutional layer is reconstructed. If it is
    interrupted, the same command continues it.

    With --objective, one image is grown for each expression instead of maps. LAYER is then the
    layer of all terms that do not name their own, as map:LAYER:17 does.

    The result counts the maps of each layer by verdict. If they are few or of one layer, each is
    listed with its evidence.

    With --top, the maps of each layer are ranked first, as by 'oip rank', and only the best of them
    are reconstructed; the run keeps the ranking.

    With --preset best, each preset is grown in RUN/presets/NAME and judged on every second image.
    presets.json says which preset was kept for each unit, legibility.json how legible it is on the
    other images.

    \b
    Example:  oip reconstruct model.keras Conv2D_3:0-15 --data mnist-sample --out runs/mnist
              oip reconstruct model.keras --objective "class:4 - class:9" --out runs/4
              oip reconstruct m.keras --preset best --judge n.keras --data photos --out runs/best
              oip reconstruct model.keras --top 16 --by mi --data mnist-sample --out runs/best
    """
    from oip.ascent.objectives import objective
    from oip.ascent.settings import AUTO, auto_reason
    from oip.core.files import check_writable
    from oip.run.reconstruct import FinishedReconstruction, RunSummary, SummaryLayers, summary
    from oip.workflows.reconstruct import select_targets

    started = time.monotonic()
    plan = ascent.plan(seed, data.source is not None)
    objectives = [objective(text) for text in ascent.expressions]
    check_writable(out)
    choices = {"selections": selections, "settings": plan.settings, "preset": ascent.preset}
    choices |= {"top": ascent.top, "objectives": ascent.expressions, "by": plan.by}
    request = model.request("reconstruct", out, data, choices)
    is_reusable = plan.depends_on_options_alone and not model.imports
    stored = request.finished_result(FinishedReconstruction) if is_reusable else None
    layers_to_rank = None if ascent.expressions else selections
    if stored is not None:
        for text in stored.notes:
            output.note(text)
        result = RunSummary(run=str(out), seconds=_elapsed(started), layers=stored.result.layers)
        steps = _next_steps(model, data, layers_to_rank, out, stored.labeled)
        return _print_result(result, details, output, steps, {})
    network, images = _opened(model, data, out, output)
    layers, targets = select_targets(network, selections, objectives)
    network.inputs.warn_if_assumed()
    with output.progress() as progress:
        run, grown, notes = plan.grow(
            out, network, images, layers, targets, model.imports, progress
        )
    if ascent.preset == AUTO:
        notes.append(f"oip: {auto_reason(network.inputs.shape, ascent.start is not None)}")
    for text in notes:
        output.note(text)
    indices = [layer.index for layer, _ in grown]
    indices += [targets.index] if targets is not None else []
    result = summary(run, indices, _elapsed(started))
    judged = _judged(run, indices, details, output) if plan.candidates else {}
    labeled = data.source if images is not None and images.targets is not None else None
    steps = _next_steps(model, data, layers_to_rank, out, labeled)
    status = _print_result(result, details, output, steps, judged)
    if len(grown) < len(layers):
        return max(status, 1)
    # A notice that only opening the model gives would be missing the next time.
    has_notice = bool(network.elsewhere) and not selections and not ascent.expressions
    if status == 0 and network.inputs.is_known and is_reusable and not has_notice:
        content = SummaryLayers(layers=result.layers)
        stored = FinishedReconstruction(result=content, notes=notes, labeled=labeled)
        request.save_result(run, indices, images, stored)
    return status


def _opened(
    model: ModelOptions, data: DataOptions, out: Path, output: Output
) -> tuple[Network, Dataset | None]:
    """Open the model, with the directions of the run as layers, and the data, if any."""
    from oip.workflows.directions import with_run_directions

    if data.source is not None:
        network, images = model.open_with(data, output)
        return with_run_directions(network, out), images
    with output.waiting(f"opening {model.model.name}"):
        network = model.open(None)
    return with_run_directions(network, out), None


def _elapsed(started: float) -> float:
    return round(time.monotonic() - started, 2)


def _judged(run: Run, indices: list[int], details: bool, output: Output) -> Record:
    """Print how well the judge reads the presets that were kept, or return it for `--json`."""
    from oip.cli.judge import print_legibility
    from oip.core.layer_formats import LegibilityFile, PresetsFile

    records = [LegibilityFile.read(run.folder(index) / "legibility.json") for index in indices]
    preset_files = [PresetsFile.read(run.folder(index) / "presets.json") for index in indices]
    if output.as_json:
        layers = [{"layer": record.layer, "index": record.index} for record in records]
        choices = [
            layer | file.public_dict() for layer, file in zip(layers, preset_files, strict=True)
        ]
        legibility = [record.public_dict() for record in records]
        return {"presets": choices, "legibility": legibility}
    names = {layer.index: layer.objectives or () for layer in run.layers}
    print_legibility(records, names, details)
    for record, file in zip(records, preset_files, strict=True):
        counts = Counter(row.preset for row in file.maps).most_common()
        presets = ", ".join(f"{preset} {count}" for preset, count in counts)
        print_text(f"{record.layer}: most legible preset, by units: {presets}")
    return {}


def _next_steps(
    model: ModelOptions,
    data: DataOptions,
    layers: tuple[str, ...] | None,
    out: Path,
    labeled: str | None,
) -> list[str]:
    """Return the commands that rank the maps of `layers`, if any, and show them.

    `labeled` is the source of the images if they have labels.
    """
    steps = [quoted("oip", "gallery", out, "--open")]
    if layers is None:
        return steps
    call = model.command("rank", *layers, data=replace(data, source=labeled), out=out)
    return [call if labeled else f"{call}    # SOURCE: images with labels", *steps]


def _print_result(
    result: RunSummary, details: bool, output: Output, steps: list[str], judged: Record
) -> int:
    """Print a result, with what was judged in its JSON, and return the exit status."""
    if output.as_json:
        print_json(result.to_dict() | judged)
    else:
        print_summary(result, details)
    output.next_steps(*steps)
    return _status(result)


def _status(result: RunSummary) -> int:
    """Return 0, or 1 if some maps failed, or 2 if all did."""
    verdicts = [row.verdict for layer in result.layers for row in layer.maps]
    failed = verdicts.count("failed")
    are_maps = all(layer.kind == "maps" for layer in result.layers)
    if failed:
        failures = f"{failed} of {len(verdicts)} {'maps' if are_maps else 'units'} failed"
        warn(f"oip: {failures}: their responses are not finite numbers. {LOOK_FOR_NAN}")
    if not failed:
        return 0
    return 2 if failed == len(verdicts) else 1


def print_summary(result: RunSummary, details: bool = False) -> None:
    """Print the maps of each layer by verdict, pixels that it does not see, and single maps.

    Args:
        result: of `oip.run.reconstruct.summary`.
        details: list the maps of every layer; without it those of one layer, or a few in all.
    """
    from oip.ascent.results import shown_verdict
    from oip.core.formats import UNIT_NOUNS

    layers = result.layers
    counts = [layer.verdicts for layer in layers]
    verdicts = verdict_headings(counts)
    kinds = {layer.kind for layer in layers}
    nouns = f"{UNIT_NOUNS[layers[0].kind]}s" if len(kinds) == 1 else "units"
    headings = ("layer", nouns, *map(shown_verdict, verdicts), "above best image")
    rows = [
        _counts(layer, [count[verdict] for verdict in verdicts])
        for layer, count in zip(layers, counts, strict=True)
    ]
    legend = of_units(verdict_legend(counts) | ABOVE_BEST_IMAGE, nouns.removesuffix("s"))
    print_table(headings, rows, left=("layer",), legend=legend)
    for layer in layers:
        if layer.unseen_pixels:
            visible = layer.pixels - layer.unseen_pixels
            text = f"{layer.layer} sees {visible} of {layer.pixels} pixels"
            print_text(f"{text}; the others have the background.")
    is_short = sum(len(layer.maps) for layer in layers) <= _FEW
    if details or is_short or len(layers) == 1:
        for layer in layers:
            title = layer.layer if len(layers) > 1 else ""
            headings, rows = without_empty((layer.noun, *_EVIDENCE), map(_evidence, layer.maps))
            legend = {heading: _LEGEND[heading] for heading in headings if heading in _LEGEND}
            legend = of_units(legend, layer.noun)
            print_table(headings, rows, title, left=("verdict", "ended"), legend=legend)
    print_text(f"{result.run} ({result.seconds} s)")


def _counts(layer: ReconstructedLayer, by_verdict: list[int]) -> tuple[object, ...]:
    """Return a layer's row: its maps by verdict."""
    excitable = [row for row in layer.maps if row.is_excitable]
    count = sum((row.score or 0) > (row.data_score or 0) for row in excitable)
    text = f"{count} of {len(excitable)}" if excitable else "-"
    return layer.layer, len(layer.maps), *by_verdict, text


def _evidence(row: MapEvidence) -> tuple[object, ...]:
    """Return a map's row."""
    from oip.ascent.results import shown_verdict

    return (
        row.objective or row.map,
        shown_verdict(row.verdict)
        + " (proved)" * row.provably_dead
        + " (at its limit)" * row.saturated,
        number(row.score),
        number(row.data_score),
        number(row.stability, 2),
        "-" if row.null_percentile is None else f"{row.null_percentile:.0f} %",
        f"{row.patterns} ({', '.join(map(str, row.medoids))})" if row.patterns else "-",
        row.steps,
        _ENDED.get(row.reason, row.reason),
    )
