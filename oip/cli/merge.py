"""`oip merge`."""

from __future__ import annotations

from pathlib import Path

import click

from oip.cli.options import json_option, note, plain_text, print_json, quiet_option, with_options


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the run.")
@with_options(json_option, quiet_option)
def command(runs: tuple[Path, ...], out: Path, as_json: bool, quiet: bool) -> None:
    """Join runs of the same model, made with the same settings, into one.

    Maps that several runs hold are taken from the first one. The runs themselves stay as they are.

    \b
    Example:  oip merge runs/first runs/second --out runs/both
    """
    from oip.cli.progress import shown
    from oip.run.merge import merge_runs

    with shown(quiet) as progress:
        merged = merge_runs(runs, out, progress)
    for text in merged.notices:
        note(plain_text(f"oip: {text}"), quiet)
    if as_json:
        layers = [{"index": index, "maps": maps} for index, maps in merged.maps.items()]
        print_json({"run": str(out), "layers": layers, "notices": list(merged.notices)})
    else:
        count = sum(merged.maps.values())
        click.echo(plain_text(f"{out}: {count} maps of {len(merged.maps)} layers"))
