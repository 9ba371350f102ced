"""`oip reconstruct`."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from oip.cli.inputs import apply_input, input_options
from oip.cli.options import (
    data_dir_option,
    import_option,
    json_option,
    note,
    plain_text,
    print_json,
    quiet_option,
    seed_option,
    with_options,
)
from oip.cli.tables import number, print_table
from oip.workflows.inputs import load_data, open_network


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("selections", nargs=-1, metavar="[LAYER[:MAPS]]...")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the run.")
@with_options(
    click.option("--starts", type=int, help="Images grown for each map.  [default: 4]"),
    click.option("--steps", type=int, help="Steps of the ascent at most.  [default: 120]"),
    click.option("--screened", type=int, help="Noise images tried first.  [default: 256]"),
    click.option(
        "--noise",
        help="equal, white, no-white, single:GRID, tilt:BETA, dirichlet, or weights:1,0.5,0,0, one "
        "for each octave, the shortest wavelength first.  [default: equal]",
    ),
    click.option(
        "--preset",
        default="default",
        show_default=True,
        help="default, author, fourier or maco; the last takes --data, and so does fourier for "
        "several bands, but with --set decorrelate=false.",
    ),
    click.option(
        "--set",
        "changes",
        multiple=True,
        metavar="NAME=VALUE",
        help="Any setting of the ascent, such as jitter=2 or total_variation=0.3.",
    ),
    click.option(
        "--objective",
        "expressions",
        multiple=True,
        metavar="EXPR",
        help="Instead of maps: class:4, unit:3, node:17@3,2, direction:FILE.npy, map:17, or sums.",
    ),
    click.option(
        "--top",
        type=click.IntRange(min=1),
        metavar="N",
        help="Only the N best maps of each layer; they are ranked first, and --data needs labels.",
    ),
    click.option(
        "--by",
        metavar="WHAT",
        help="What the best are found by: mi, what a map knows about the label, or "
        "separates:CLASS,CLASS, how far it tells two classes apart.  [default: mi]",
    ),
)
@click.option("--details", is_flag=True, help="Show every map of every layer.")
@input_options
@with_options(data_dir_option, import_option, seed_option, json_option, quiet_option)
def command(
    model: Path,
    selections: tuple[str, ...],
    out: Path,
    starts: int | None,
    steps: int | None,
    screened: int | None,
    noise: str | None,
    preset: str,
    changes: tuple[str, ...],
    expressions: tuple[str, ...],
    top: int | None,
    by: str | None,
    details: bool,
    source: str | None,
    input_mean: str | None,
    input_std: str | None,
    input_range: str | None,
    input_size: str | None,
    input_name: str | None,
    preprocess: str | None,
    data_dir: Path | None,
    imports: tuple[str, ...],
    seed: int,
    as_json: bool,
    quiet: bool,
) -> int:
    """Grow the original input pattern of each map of MODEL.

    LAYER is a name, outer/inner for nested models, or @INDEX as 'oip layers' prints it; MAPS is
    all, 3, 0-15 or 0,4,9. Nothing means every convolutional layer. The same command goes on where
    it was stopped.

    With --objective, images are grown for what it says instead: one picture an expression. LAYER is
    then the layer of those terms that name none, as in map:LAYER:17.

    Maps are counted by verdict for each layer; those of one layer, or few, are listed with their
    evidence. Medoids are the starts, the best being 0, that stand for the patterns a map ended in.

    With --top, the maps of each layer are ranked as 'oip rank' does it, into the same run, and only
    the best of them are reconstructed; or those that separate two classes best.

    \b
    Example:  oip reconstruct model.keras Conv2D_3:0-15 --data mnist-sample --out runs/mnist
              oip reconstruct model.keras --objective "class:4 - class:9" --out runs/4
              oip reconstruct model.keras --top 16 --by mi --data mnist-sample --out runs/best
    """
    from oip.ascent.settings import ascent_settings
    from oip.cli.progress import shown
    from oip.core.checks import parse_assignments
    from oip.core.files import check_writable
    from oip.run.reconstruct import reconstruct_into, summary

    began = time.monotonic()
    told = {"starts": starts, "steps": steps, "screened": screened, "noise": noise, "seed": seed}
    settings = ascent_settings(preset, **(told | parse_assignments(changes, "--set")))
    pair = check_top(top, by, expressions, source)
    check_writable(out)
    data = load_data(source, data_dir)
    network = open_network(model, imports, data, input_size, input_name)
    chosen, objectives = asked_for(network, selections, expressions)
    apply_input(
        network,
        data,
        input_mean=input_mean,
        input_std=input_std,
        input_range=input_range,
        preprocess=preprocess,
        quiet=quiet,
    )
    wanted = len(chosen)
    with shown(quiet) as progress:
        if top is not None:
            find = separating_maps if pair is not None else best_maps
            chosen = find(_Best(out, network, data, top, seed, quiet, progress, pair), chosen)
        run = reconstruct_into(out, network, chosen, settings, data, progress, objectives)
    indices = [layer.index for layer, _ in chosen]
    indices += [objectives.index] if objectives is not None else []
    result = summary(run, indices, time.monotonic() - began)
    if as_json:
        print_json(result)
    else:
        print_summary(result, details)
    elsewhere = bool(network.elsewhere) and not selections and not expressions
    left_out = 1 if len(chosen) < wanted or elsewhere else 0
    return max(status(result), left_out)


def check_top(
    top: int | None, by: str | None, expressions: tuple[str, ...], source: str | None
) -> tuple[str, str] | None:
    """Refuses what does not go with `--top`; the two classes of `--by separates:FIRST,SECOND`.

    Raises:
        SettingsError: `--by` without it, objectives beside it, or no data to rank by.
    """
    from oip.core.errors import SettingsError, expected

    if top is None:
        if by is not None:
            raise SettingsError(expected("--by", "--top N beside it", "--by alone"))
        return None
    if expressions:
        raise SettingsError(expected("--top", "maps", "objectives"))
    if source is None:
        raise SettingsError(expected("--top", "--data with labels, to rank the maps by", "none"))
    if by is None or by == "mi":
        return None
    kind, _, classes = by.partition(":")
    first, comma, second = classes.partition(",")
    if kind != "separates" or not comma or not first or not second:
        raise SettingsError(expected("--by", "mi or separates:CLASS,CLASS", f"'{by}'"))
    return first, second


@dataclass(frozen=True)
class _Best:
    """What `--top` is about."""

    out: Path
    network: Any
    data: Any
    top: int
    seed: int
    quiet: bool
    progress: Any
    pair: tuple[str, str] | None

    def kept(self, layer: Any, ordered: list[int]) -> tuple[Any, Any]:
        """A layer with the first of its maps."""
        import numpy as np

        return layer, np.sort(np.array(ordered[: self.top], np.int64))


def best_maps(asked: _Best, chosen: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Layers with their most informative maps; the rankings are kept in the run.

    Raises:
        DataError: no labels, or no map of any layer has finite responses.
    """
    from oip.core.errors import OipError
    from oip.workflows.rank import rank_into

    found: list[tuple[Any, Any]] = []
    errors: list[OipError] = []
    data, network = asked.data, asked.network
    for layer, told in rank_into(
        asked.out, network, chosen, data, seed=asked.seed, progress=asked.progress
    ):
        if isinstance(told, OipError):
            errors.append(told)
            note(plain_text(f"oip: {told}"), asked.quiet)
            continue
        first = told["estimators"][0]
        if not first["ordered"]:
            note(plain_text(f"oip: {layer.name}: {' '.join(first['notices'])}"), asked.quiet)
        ranked = [one["map"] for one in first["maps"] if one["mi"] is not None]
        found.append(asked.kept(layer, ranked))
    if not found:
        raise errors[-1]
    return found


def separating_maps(asked: _Best, chosen: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Layers with the maps that separate two classes best.

    Raises:
        DataError: no labels, a class that is not there, or no layer with finite responses.
    """
    import numpy as np

    from oip.core.errors import DataError, expected
    from oip.mi.class_patterns import separating

    data = asked.data
    if data.labels is None:
        raise DataError(expected(f"data '{data.source}'", "images with labels", "no labels"))
    first, second = asked.pair or ("", "")
    found: list[tuple[Any, Any]] = []
    errors: list[DataError] = []
    for layer, maps in chosen:
        try:
            apart = separating(
                asked.network,
                data.images,
                data.labels,
                layer,
                first,
                second,
                maps=maps,
                seed=asked.seed,
                classes=data.classes,
                progress=asked.progress,
            )
        except DataError as error:
            errors.append(error)
            continue
        known = np.flatnonzero(np.isfinite(apart.effect))
        best = ", ".join(f"{apart.maps[row]} ({apart.effect[row]:+.2f})" for row in known[:5])
        text = f"oip: {layer.name}: maps that separate {first} (+) and {second} (-): {best}"
        note(plain_text(text), asked.quiet)
        found.append(asked.kept(layer, apart.maps[known].tolist()))
    if not found:
        raise errors[-1]
    for error in errors:
        note(plain_text(f"oip: {error}"), asked.quiet)
    return found


def asked_for(network: Any, selections: tuple[str, ...], expressions: tuple[str, ...]) -> Any:
    """Layers with maps, or objectives: what `reconstruct_into` wants to be told."""
    from oip.ascent.reconstruction import objective_targets
    from oip.core.errors import SettingsError, expected
    from oip.network.layer_spec import parse_selections

    if not expressions:
        return parse_selections(network, selections), None
    if len(selections) > 1:
        raise SettingsError(expected("--objective", "one LAYER beside it", len(selections)))
    return [], objective_targets(network, expressions, *selections)


_FEW = 24
"""Maps, of all layers together, that are listed without being asked for."""
_COLUMNS = (
    ("map", "right"),
    ("verdict", "left"),
    ("score", "right"),
    ("best image", "right"),
    ("stability", "right"),
    ("of null", "right"),
    ("patterns", "right"),
    ("medoids", "right"),
    ("steps", "right"),
    ("ended", "left"),
)


def status(result: dict[str, Any]) -> int:
    """0, or 1 where some maps failed, or 2 where all did."""
    verdicts = [one["verdict"] for layer in result["layers"] for one in layer["maps"]]
    failed = verdicts.count("failed")
    if failed:
        click.echo(
            f"oip: {failed} of {len(verdicts)} maps failed: responses that are not finite, "
            "or no OIP for a map that data excite.",
            err=True,
        )
    return 0 if not failed else 2 if failed == len(verdicts) else 1


def print_summary(result: dict[str, Any], details: bool = False) -> None:
    """Maps by verdict for each layer, pixels that a layer does not see, and maps by themselves.

    Args:
        result: of `oip.run.reconstruct.summary`.
        details: list the maps of every layer; without it those of one layer, or a few in all.
    """
    from oip.ascent.results import VERDICTS

    layers = result["layers"]
    columns = (("layer", "left"), ("maps", "right"), *((word, "right") for word in VERDICTS))
    print_table((*columns, ("above best image", "right")), map(_counts, layers))
    for layer in layers:
        if layer["unseen_pixels"]:
            seen = layer["pixels"] - layer["unseen_pixels"]
            text = f"{layer['layer']} sees {seen} of {layer['pixels']} pixels"
            click.echo(plain_text(f"{text}; the others have the background."))
    few = sum(len(layer["maps"]) for layer in layers) <= _FEW
    if details or few or len(layers) == 1:
        for layer in layers:
            title = layer["layer"] if len(layers) > 1 else ""
            print_table(_COLUMNS, map(_evidence, layer["maps"]), title)
    click.echo(plain_text(f"{result['run']} ({result['seconds']} s)"))


def _counts(layer: dict[str, Any]) -> tuple[object, ...]:
    """A layer's row: its maps by verdict."""
    from oip.ascent.results import VERDICTS

    maps = layer["maps"]
    counts = Counter(one["verdict"] for one in maps)
    excitable = [one for one in maps if one["data_active"] and one["data_score"] is not None]
    above = sum((one["score"] or 0) > one["data_score"] for one in excitable)
    return (
        layer["layer"],
        len(maps),
        *(counts.get(verdict, 0) for verdict in VERDICTS),
        f"{above} of {len(excitable)}" if excitable else "-",
    )


def _evidence(one: dict[str, Any]) -> tuple[object, ...]:
    """A map's row."""
    return (
        plain_text(one.get("objective", one["map"])),
        one["verdict"] + (" (proved)" if one["provably_dead"] else ""),
        number(one["score"]),
        number(one["data_score"]),
        number(one["stability"], 2),
        "null" if one["null_percentile"] is None else f"{one['null_percentile']:.0f} %",
        one["patterns"] or "-",
        ", ".join(map(str, one["medoids"])) or "-",
        one["steps"],
        one["reason"],
    )
