"""`oip demo`: the whole line, from images to a gallery."""

from __future__ import annotations

from pathlib import Path

import click

from oip.cli import options
from oip.cli.options import DataOptions, Output
from oip.cli.tables import Record, print_json, print_table, print_text


@click.command()
@options.data(
    "Images with labels; the sample is part of the installation.",
    default="mnist-sample",
    sized=True,
)
@options.out("Folder of the run.  [default: runs/demo, or runs/demo-SOURCE]", required=False)
@options.seed
@options.output
def command(data: DataOptions, out: Path | None, seed: int, output: Output) -> int:
    """Train a small network, reconstruct and rank all of its maps, and build a gallery.

    The same command goes on where it was stopped.

    \b
    Example:  oip demo
              oip demo --data mnist
    """
    from oip.workflows.demo import run_demo

    with output.progress() as progress:
        result = run_demo(
            data.required(),
            out,
            data_dir=data.data_dir,
            size=data.sides,
            resize=data.resize,
            seed=seed,
            progress=progress,
        )
    if output.as_json:
        print_json(result)
    else:
        _print(result)
    return 1 if any(layer["verdicts"].get("failed", 0) for layer in result["layers"]) else 0


def _print(result: Record) -> None:
    from oip.ascent.results import VERDICTS

    layers = result["layers"]
    if result["accuracy"] is not None:
        click.echo(f"accuracy on the test images: {100 * result['accuracy']:.1f} %")
    verdicts = [v for v in VERDICTS if any(v in layer["verdicts"] for layer in layers)]
    rows = [
        (
            layer["layer"],
            layer["maps"],
            *(layer["verdicts"].get(verdict, 0) for verdict in verdicts),
            f"{layer['above_best_image']} of {layer['excitable']}",
            "map {map}: {bits:.2f} bits".format(**layer["most"]),
            "map {map}: {bits:.2f} bits".format(**layer["least"]),
        )
        for layer in layers
    ]
    headings = ("layer", "maps", *verdicts, "above best image", "knows most", "knows least")
    print_table(headings, rows, left=("layer",))
    print_text(f"bits: {layers[0]['name_shown']} about the label")
    click.echo(", ".join(f"{name} {value:g} s" for name, value in result["seconds"].items()))
    print_text(result["gallery"])
