"""`oip prune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

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

if TYPE_CHECKING:
    from oip.workflows.prune import Judged, Pruned

_ENDING = ".keras"


class _Command(click.Command):
    """A command whose help ends with the methods there are."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from oip.mi.selection import METHODS

        with formatter.section("Methods"):
            formatter.write_dl([*METHODS.items(), ("compare", "all of them, in one table")])


@click.command(cls=_Command)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("layers", nargs=-1, metavar="[LAYER]...")
@click.option("--data", "source", metavar="SOURCE", required=True, help="Images with labels.")
@click.option(
    "--out",
    metavar="SMALLER.keras",
    type=click.Path(path_type=Path),
    help="File to write; not with --method compare, which writes nothing.",
)
@with_options(
    click.option(
        "--keep",
        type=click.FloatRange(0, 1, min_open=True),
        default=0.5,
        show_default=True,
        help="Share of each layer's maps that stay.",
    ),
    click.option("--method", metavar="NAME", help="What counts.  [default: elimination]"),
    click.option(
        "--correct/--no-correct",
        default=True,
        show_default=True,
        help="Fit the next layers again by least squares; needs no labels.",
    ),
    click.option(
        "--fine-tune",
        "epochs",
        metavar="EPOCHS",
        type=click.IntRange(min=0),
        default=0,
        help="Train the smaller model on the train part.  [default: 0]",
    ),
    click.option(
        "--samples",
        type=click.IntRange(min=20),
        default=500,
        show_default=True,
        help="Images that maps are judged on.",
    ),
    data_dir_option,
    import_option,
    seed_option,
    json_option,
    quiet_option,
)
def command(
    model: Path,
    layers: tuple[str, ...],
    source: str,
    out: Path | None,
    keep: float,
    method: str | None,
    correct: bool,
    epochs: int,
    samples: int,
    data_dir: Path | None,
    imports: tuple[str, ...],
    seed: int,
    as_json: bool,
    quiet: bool,
) -> int:
    """Take the least important maps out of MODEL and write a smaller model.

    Maps are judged on the train part of SOURCE, the models on its test part. Without LAYER, every
    layer whose maps can be removed is pruned. MODEL itself stays as it is.

    \b
    Example:  oip prune model.keras --data mnist-sample --out smaller.keras
    """
    from oip import models
    from oip.cli.inputs import apply_input
    from oip.cli.progress import shown
    from oip.core.errors import DataError, OipError, expected
    from oip.mi.selection import DEFAULT_METHOD
    from oip.workflows.inputs import open_network
    from oip.workflows.prune import Pruner, plans

    asked = plans(
        method or DEFAULT_METHOD, keep, correct=correct, epochs=epochs, samples=samples, seed=seed
    )
    _check_out(out, model, len(asked) > 1)
    name, part = models.split_source(source)
    if part is not None:
        hint = f"Say --data {name}; both parts are needed."
        raise DataError(expected("--data", "a source without a part", source, hint))
    train, test = (models.load(name, data_dir=data_dir, part=one) for one in ("train", "test"))
    network = open_network(model, imports, train, None)
    apply_input(network, train)
    wanted = [network.find(layer) for layer in layers] or None
    with shown(quiet) as progress:
        pruner = Pruner(network, wanted, train, test, progress)
        whole = pruner.judged(network.model)
        found = list(pruner.compared(asked))
    made = [result for _, result in found if not isinstance(result, OipError)]
    for plan, result in found:
        if isinstance(result, OipError):
            if not made:
                raise result
            click.echo(plain_text(f"oip: {plan.method}: {result}"), err=True)
    for text in dict.fromkeys(text for result in made for text in result.notices):
        note(plain_text(f"oip: {text}"), quiet)
    if out is not None:
        write(made[0], out, network, whole, test.source)
    if as_json:
        print_json(_told(made, whole, test.source, out))
    else:
        _print(made, whole, test.source, out)
    return 1 if len(made) < len(found) else 0


def _check_out(out: Path | None, model: Path, compares: bool) -> None:
    from oip.core.errors import RunError, SettingsError, expected
    from oip.core.files import check_writable

    if compares and out is not None:
        hint = "Compare first, then write the method that you choose."
        raise SettingsError(expected("--method compare", "no --out", f"'{out}'", hint))
    if compares:
        return
    if out is None:
        raise SettingsError(expected("--out", "a file to write, such as smaller.keras", "none"))
    if out.suffix != _ENDING:
        raise SettingsError(expected("--out", f"a name ending in {_ENDING}", out.name))
    if out.is_dir():
        raise RunError(expected(f"'{out}'", "a file to write", "a folder"))
    if out.exists() and model.exists() and out.samefile(model):
        raise SettingsError(expected("--out", "another file than the model's own", out.name))
    check_writable(out.parent)


def write(pruned: Pruned, out: Path, network: Any, whole: Judged, judged_by: str) -> None:
    """The smaller model, with the sidecar of the whole one brought up to date."""
    from oip.core import files
    from oip.network.inputs import SIDECAR_KIND, sidecar_path

    spec = network.inputs.to_dict()
    told = dict(network.sidecar or {"schema": 1, "kind": SIDECAR_KIND, "input": spec})
    for stale in ("confusion", "losses", "seconds"):
        told.pop(stale, None)
    with files.replacing(out, _ENDING) as temporary:
        pruned.model.save(temporary)
        told |= {
            "model": out.name,
            "sha256": files.sha256(temporary),
            "accuracy": pruned.last.accuracy,
            "pruned": {
                "from": {"name": network.name, "sha256": network.digest, **whole.to_dict()},
                "judged_by": judged_by,
                "method": pruned.plan.method,
                "keep": pruned.plan.keep,
                "samples": pruned.plan.samples,
                "seed": pruned.plan.seed,
                "corrected": pruned.plan.correct,
                "fine_tuned_epochs": pruned.plan.epochs,
                "kept": pruned.kept,
            },
        }
        # Before the model is in its place, as in training: a sidecar that fits no model is unused.
        files.write_json(sidecar_path(out), told)


def _told(made: list[Pruned], whole: Judged, judged_by: str, out: Path | None) -> dict[str, Any]:
    return {
        "path": None if out is None else str(out),
        "judged_by": judged_by,
        "before": whole.to_dict(),
        "methods": [
            {
                "method": one.plan.method,
                "keep": one.plan.keep,
                "kept": one.kept,
                "stages": {name: judged.to_dict() for name, judged in one.stages.items()},
                "notices": list(one.notices),
            }
            for one in made
        ],
    }


def _print(made: list[Pruned], whole: Judged, judged_by: str, out: Path | None) -> None:
    from oip.cli.tables import print_table

    rows = [("", "before", *_cells(whole))]
    for one in made:
        rows += [
            (one.plan.method if not place else "", stage, *_cells(judged))
            for place, (stage, judged) in enumerate(one.stages.items())
        ]
    headings = ("method", "left"), ("", "left"), ("accuracy", "right"), ("parameters", "right")
    print_table(
        (*headings, ("ms for 256", "right")),
        rows,
        f"{100 * made[0].plan.keep:g} % of the maps kept, judged on {judged_by}",
    )
    if out is not None:
        click.echo(plain_text(out))


def _cells(judged: Judged) -> tuple[str, str, str]:
    return (
        f"{100 * judged.accuracy:.2f} %",
        f"{judged.parameters:,}",
        f"{judged.milliseconds:.1f}",
    )
