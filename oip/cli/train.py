"""`oip train`: the training of a built-in network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oip.cli import options
from oip.cli.options import DataOptions, Output, quoted
from oip.cli.tables import print_json, print_text
from oip.core.errors import DataError, plain_text
from oip.core.seeds import generator

if TYPE_CHECKING:
    import keras
    from rich.table import Table

    from oip.models import Recipe, TrainResult

_WIDTH = 80
_LARGEST_MATRIX = 10
"""Classes of the largest confusion matrix that is printed whole."""
_LONGEST_NAME = 14
_MEASURED = 400
"""Images on which the entropy of a start is measured."""
_MISTAKES = 10
"""Rows of the table of mistakes."""


def _recipes() -> list[tuple[str, str]]:
    from oip import models

    return [(recipe.name, _described(recipe)) for recipe in models.RECIPES]


def _described(recipe: Recipe) -> str:
    texts = []
    for name, value in recipe.options.items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else value
        texts.append(f"--{name} {text}")
    return f"{recipe.description} Options: {', '.join(texts)}." if texts else recipe.description


@click.command(cls=options.ListingCommand, heading="Recipes", rows=_recipes)
@click.argument("recipe", metavar="RECIPE")
@options.data("Images with labels.", sized=True)
@options.out(
    "File to write; MODEL.oip.json beside it describes the model's input.", metavar="MODEL.keras"
)
@click.option("--filters", metavar="N,N,...", help="Maps of the recipe's convolutions.")
@click.option("--units", metavar="N,N,...", help="Units of the recipe's dense layers.")
@click.option("--hidden", metavar="N,N,...", help="Units of the dense layers after convolutions.")
@click.option("--stride", metavar="N", help="Stride of the recipe's first convolution.")
@click.option("--patch", metavar="N", help="Side of a vision transformer's patches in pixels.")
@click.option("--width", metavar="N", help="Channels of a vision transformer's tokens.")
@click.option("--heads", metavar="N", help="Attention heads of a vision transformer's blocks.")
@click.option("--blocks", metavar="N", help="Blocks of a vision transformer.")
@click.option(
    "--activation", metavar="NAME", help="Activation function, such as relu, tanh or sigmoid."
)
@click.option("--epochs", type=int, help="Passes over the data.  [default: by number of images]")
@click.option("--batch", type=int, help="Images per step.  [default: by number of images]")
@click.option(
    "--optimizer", metavar="NAME", help="Optimizer: sgd, rmsprop or adam.  [default: adam]"
)
@click.option(
    "--learning-rate", type=float, help="Learning rate at the start.  [default: by optimizer]"
)
@click.option("--momentum", type=float, help="Momentum of sgd or rmsprop.  [default: 0.9 for sgd]")
@click.option(
    "--schedule",
    metavar="NAME",
    help="Change of the learning rate: constant, exponential, cosine or steps.  [default: cosine]",
)
@click.option("--l2", type=float, help="Weight of the L2 penalty on kernels.  [default: 0]")
@click.option(
    "--entropy",
    metavar="BITS",
    type=float,
    help="Diffusion entropy of the layer before the head at the start.  [default: as Keras starts]",
)
@click.option(
    "--record",
    metavar="DIR",
    type=options.NamedPath(),
    help="Record the information of maps and layers during the training in this run.",
)
@click.option(
    "--record-every",
    metavar="N",
    default="1",
    help="Epochs between records, or '200 batches', or 'log' for 1, 2, 5, 10, ... batches.",
)
@options.seed
@options.output
def command(
    recipe: str,
    data: DataOptions,
    out: Path,
    filters: str | None,
    units: str | None,
    hidden: str | None,
    stride: str | None,
    patch: str | None,
    width: str | None,
    heads: str | None,
    blocks: str | None,
    activation: str | None,
    entropy: float | None,
    record: Path | None,
    record_every: str,
    output: Output,
    **settings: int | float | str | None,
) -> None:
    """Train a network on the train part of SOURCE and evaluate it on the test part.

    SOURCE is mnist-sample (comes with oip), mnist, fashion-mnist, cifar10, binary-12 (for
    tanh-mlp), a folder of IDX files, a folder of class folders with images, an .npz of images and
    labels, or a .csv of paths and labels. If it has no test part, a fifth of every class is held
    out.

    With --record, the information that each map and each layer carries about the class is measured
    on images of the test part, and written as numbers and figures to DIR/record.

    With --entropy, the initial kernels of the convolutions (of the dense layers, if there are none)
    are drawn from a normal distribution. Its standard deviation is chosen so that the layer before
    the head has this diffusion spectral entropy on 400 images.

    \b
    Example:
      oip train conv-stack --data mnist-sample --out digits.keras
      oip train conv-stack --data mnist --out digits.keras --record runs/digits
      oip train lenet5 --filters 6,32 --activation sigmoid --data mnist --out five.keras
    """
    from oip import mi, models

    if record is None:
        options.refuse_alone("--record DIR", "record_every")
    configured = models.recipe(recipe).configured(
        filters=filters,
        units=units,
        hidden=hidden,
        stride=stride,
        patch=patch,
        width=width,
        heads=heads,
        blocks=blocks,
        activation=activation,
    )
    name, part = models.split_source(data.source or "")
    if part == "test":
        hint = f"Use --data {name}; the test part evaluates the network."
        raise DataError("--data", "a source to train on", data.source, hint)
    source = replace(data, source=name)
    train, test = source.load("train"), source.load("test")
    recorder = None
    if record is not None:
        recorder = mi.Recorder(
            test.images,
            test.required_labels(),
            record_every,
            out=record,
            classes=test.classes,
            split=test.source,
        )
    training = configured.settings(len(train), **settings)

    def begin(model: keras.Model) -> models.Start | None:
        if entropy is None:
            return None
        estimator = mi.estimator("dse", reference=True)
        rows = generator(training.seed, "images of a start").permutation(len(train))[:_MEASURED]
        return models.initialize(model, train.images[rows], estimator, entropy, training.seed)

    with output.progress() as progress:
        result = models.train(configured, train, test, training, out, progress, recorder, begin)
    if recorder is not None and record is not None:
        recorder.record.save_figures(record / "record" / "figures")
    if output.as_json:
        recorded = {} if record is None else {"record": str(record)}
        print_json({"path": str(out), **result.sidecar, **recorded})
        return
    _print(result, test.source)
    if record is not None:
        print_text(record / "record")
    output.next_steps(
        quoted("oip", "reconstruct", out, "--data", name, "--out", f"runs/{out.stem}")
    )


def _print(result: TrainResult, split: str) -> None:
    from rich.console import Console

    console = Console(width=_WIDTH, highlight=False)
    count = int(result.confusion.sum())
    errors = count - int(result.confusion.trace())
    console.print(
        f"accuracy {100 * result.accuracy:.2f} %  ({errors} of {count} wrong, {plain_text(split)})",
        markup=False,
    )
    console.print()
    small = len(result.classes) <= _LARGEST_MATRIX
    console.print(_matrix(result) if small else _mistakes(result))
    console.print()
    text = f"{plain_text(result.path)}  ({result.seconds:.1f} s)"
    console.print(text, markup=False, soft_wrap=True)


def _matrix(result: TrainResult) -> Table:
    """Return the confusion matrix: rows are true classes, columns predicted ones, zeros dots."""
    from rich.text import Text

    are_named = any(name != str(label) for label, name in enumerate(result.classes))
    table = _table("true class (rows), predicted (columns)")
    table.add_column()
    for label in range(len(result.classes)):
        table.add_column(str(label), justify="right", no_wrap=True)
    table.add_column("wrong", justify="right", no_wrap=True)
    for label, (name, counts) in enumerate(zip(result.classes, result.confusion, strict=True)):
        cells = [
            Text(str(count) if count else "·", style="bold" if column == label else "")
            for column, count in enumerate(counts)
        ]
        total = int(counts.sum())
        share = f"{100 * (total - int(counts[label])) / total:.1f} %" if total else "none"
        table.add_row(Text(f"{label} {_short(name)}" if are_named else str(label)), *cells, share)
    return table


def _mistakes(result: TrainResult) -> Table:
    """Return the most frequent pairs of true and predicted class, where a matrix is too wide."""
    import numpy as np
    from rich.text import Text

    table = _table("most frequent mistakes")
    for heading in ("true class", "predicted"):
        table.add_column(heading, no_wrap=True)
    table.add_column("images", justify="right")
    mistakes = result.confusion - np.diag(np.diag(result.confusion))
    for flat in np.argsort(-mistakes, axis=None, kind="stable")[:_MISTAKES]:
        true, predicted = np.unravel_index(flat, mistakes.shape)
        if mistakes[true, predicted]:
            names = [Text(_short(result.classes[label])) for label in (true, predicted)]
            table.add_row(*names, str(mistakes[true, predicted]))
    return table


def _table(title: str) -> Table:
    from rich.table import Table

    return Table(box=None, padding=(0, 0, 0, 1), pad_edge=False, title=title, title_justify="left")


def _short(name: str) -> str:
    text = plain_text(name)
    return text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"
