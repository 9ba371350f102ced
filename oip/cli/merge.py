"""`oip merge`: several runs as one."""

from __future__ import annotations

from pathlib import Path

import click

from oip.cli.options import Output, out_option, output_options
from oip.cli.tables import print_json, print_text


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@out_option("Folder of the new run.")
@output_options
def command(runs: tuple[Path, ...], out: Path, output: Output) -> None:
    """Merge runs of the same model, made with the same settings, into one.

    Maps that are in several runs are taken from the first one. The runs themselves stay as they
    are.

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
        count = sum(merged.maps.values())
        print_text(f"{out}: {count} maps of {len(merged.maps)} layers")
