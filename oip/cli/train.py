"""`oip train`: trains one of the built-in networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from oip.cli.options import (
    data_dir_option,
    json_option,
    plain_text,
    print_json,
    quiet_option,
    seed_option,
    with_options,
)
from oip.cli.progress import shown
from oip.core.errors import DataError, expected

_WIDTH = 80
_LARGEST_TABLE = 10
_LONGEST_NAME = 14
_PAIRS = 10


class _Command(click.Command):
    """A command whose help ends with the recipes there are, and the options that each takes."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from oip import models

        recipes = models.RECIPES
        with formatter.section("Recipes"):
            formatter.write_dl([(recipe.name, _described(recipe)) for recipe in recipes])


def _described(recipe: Any) -> str:
    options = []
    for name, value in recipe.options.items():
        shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
        options.append(f"--{name} {shown}")
    return " ".join([recipe.description, *(["Takes", ", ".join(options) + "."] if options else [])])


@click.command(cls=_Command)
@click.argument("recipe", metavar="RECIPE")
@click.option("--data", "source", metavar="SOURCE", required=True, help="Images with labels.")
@click.option(
    "--out",
    metavar="MODEL.keras",
    type=click.Path(path_type=Path),
    required=True,
    help="File to write; MODEL.oip.json beside it says what the model is fed.",
)
@click.option("--filters", metavar="N,N,...", help="Maps of the recipe's convolutions.")
@click.option("--units", metavar="N,N,...", help="Units of the recipe's dense layers.")
@click.option("--stride", metavar="N", help="Stride of the recipe's first convolution.")
@click.option("--activation", metavar="NAME", help="Such as relu, tanh or sigmoid.")
@click.option("--epochs", type=int, help="Passes over the data.  [default: by amount of data]")
@click.option("--batch", type=int, help="Images a step.  [default: by amount of data]")
@click.option("--optimizer", metavar="NAME", help="sgd, rmsprop or adam.  [default: adam]")
@click.option("--learning-rate", type=float, help="The first one.  [default: by optimizer]")
@click.option("--momentum", type=float, help="Of sgd and rmsprop.  [default: 0.9 for sgd]")
@click.option(
    "--schedule",
    metavar="NAME",
    help="Learning rate: constant, exponential, cosine or steps.  [default: cosine]",
)
@click.option("--l2", type=float, help="Weight of the squared kernels in the loss.  [default: 0]")
@click.option(
    "--record",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Run in which to record what maps and layers know during the training.",
)
@click.option(
    "--record-every",
    metavar="N",
    default="1",
    show_default=True,
    help="Epochs between records, or '200 batches', or 'log' for 1, 2, 5, 10, ... batches.",
)
@with_options(seed_option, data_dir_option, json_option, quiet_option)
def command(
    recipe: str,
    source: str,
    out: Path,
    filters: str | None,
    units: str | None,
    stride: str | None,
    activation: str | None,
    record: Path | None,
    record_every: str,
    data_dir: Path | None,
    as_json: bool,
    quiet: bool,
    **told: Any,
) -> None:
    """Train a network on the train part of SOURCE and judge it by the test part.

    SOURCE is mnist-sample (embedded), mnist, fashion-mnist, cifar10, binary-12 (made here, for
    tanh-mlp), a folder of IDX files, class folders of images, an .npz of images and labels, or a
    .csv of paths and labels. Where it brings no test part, a fifth of every class is held out.

    What is recorded is told by images of the test part: of every map, of every class and of whole
    layers, as numbers and figures in DIR/record.

    \b
    Example:
      oip train conv-stack --data mnist-sample --out digits.keras
      oip train conv-stack --data mnist --out digits.keras --record runs/digits
      oip train lenet5 --filters 6,32 --activation sigmoid --data mnist --out five.keras
    """
    from oip import models

    options = {"filters": filters, "units": units, "stride": stride, "activation": activation}
    chosen = models.recipe(recipe).configured(**options)
    name, part = models.split_source(source)
    if part == "test":
        hint = f"Say --data {name}; the test part judges the network."
        raise DataError(expected("--data", "a source to train on", source, hint))
    data = {key: models.load(name, data_dir, key) for key in ("train", "test")}
    settings = chosen.settings(len(data["train"]), **told)
    recorder = None if record is None else _recorder(record, record_every, data["test"])
    with shown(quiet) as progress:
        result = models.train(
            chosen, data["train"], data["test"], settings, out, progress, recorder
        )
    told = {"path": str(out), **result.sidecar}
    if recorder is not None and record is not None:
        told["record"] = str(record)
        recorder.record.save_figures(record / "record" / "figures")
    if as_json:
        print_json(told)
    else:
        _print(result, data["test"].source)
        if record is not None:
            click.echo(plain_text(record / "record"))


def _recorder(out: Path, every: str, data: Any) -> Any:
    from oip import mi

    return mi.Recorder(
        data.images, data.labels, every, out=out, classes=data.classes, split=data.source
    )


def _print(result: Any, judged_by: str) -> None:
    from rich.console import Console

    console = Console(width=_WIDTH, highlight=False)
    wrong = int(result.confusion.sum() - result.confusion.trace())
    console.print(
        f"accuracy {100 * result.accuracy:.2f} %  "
        f"({wrong} of {int(result.confusion.sum())} wrong, {plain_text(judged_by)})",
        markup=False,
    )
    console.print()
    if len(result.classes) <= _LARGEST_TABLE:
        console.print(_matrix(result))
    else:
        console.print(_mistaken(result))
    console.print()
    console.print(
        f"{plain_text(result.path)}  ({result.seconds:.1f} s)", markup=False, soft_wrap=True
    )


def _matrix(result: Any) -> Any:
    """The confusion matrix: a row a true class, a column a predicted one, zeros as dots."""
    from rich.table import Table
    from rich.text import Text

    named = any(name != str(label) for label, name in enumerate(result.classes))
    table = Table(
        box=None,
        padding=(0, 0, 0, 1),
        pad_edge=False,
        title="true class (rows), predicted (columns)",
    )
    table.title_justify = "left"
    table.add_column()
    for label in range(len(result.classes)):
        table.add_column(str(label), justify="right", no_wrap=True)
    table.add_column("wrong", justify="right", no_wrap=True)
    for label, (name, counts) in enumerate(zip(result.classes, result.confusion, strict=True)):
        text = f"{label} {_short(name)}" if named else str(label)
        cells = [
            Text(str(count) if count else "·", style="bold" if column == label else "")
            for column, count in enumerate(counts)
        ]
        total = int(counts.sum())
        share = f"{100 * (total - int(counts[label])) / total:.1f} %" if total else "none"
        table.add_row(Text(text), *cells, share)
    return table


def _mistaken(result: Any) -> Any:
    """The pairs of classes that are mistaken most, where a whole matrix would be too wide."""
    import numpy as np
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 0, 0, 1), pad_edge=False, title="most frequent mistakes")
    table.title_justify = "left"
    for heading in ("true class", "predicted"):
        table.add_column(heading, no_wrap=True)
    table.add_column("images", justify="right")
    mistakes = result.confusion - np.diag(np.diag(result.confusion))
    for flat in np.argsort(-mistakes, axis=None, kind="stable")[:_PAIRS]:
        true, predicted = np.unravel_index(flat, mistakes.shape)
        if mistakes[true, predicted]:
            names = [Text(_short(result.classes[label])) for label in (true, predicted)]
            table.add_row(*names, str(mistakes[true, predicted]))
    return table


def _short(name: str) -> str:
    text = plain_text(name)
    return text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"
