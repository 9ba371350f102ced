"""`oip gallery`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from oip.cli.options import (
    data_dir_option,
    json_option,
    note,
    plain_text,
    print_json,
    quiet_option,
    with_options,
)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--with-data",
    is_flag=True,
    help="Show the data images that excite each map most; without it the gallery holds no data.",
)
@click.option(
    "--data",
    "source",
    metavar="SOURCE",
    help="Where the run's data are now.  [default: as the run names them]",
)
@click.option(
    "--single-file",
    is_flag=True,
    help="Build RUN/gallery.html instead: one file that holds everything, for up to 300 maps.",
)
@click.option("--open", "opened", is_flag=True, help="Open the page in a browser.")
@with_options(data_dir_option, json_option, quiet_option)
def command(
    run: Path,
    with_data: bool,
    source: str | None,
    single_file: bool,
    opened: bool,
    data_dir: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Build RUN/gallery, a folder of files that a browser opens without a server.

    Maps are shown the most informative first, layer by layer; each has a page with its starts, its
    verdict and what it knows. A gallery that is there already is brought up to date: only what
    changed is drawn again. Prints the path of the page.

    \b
    Example:  oip gallery runs/demo --with-data --open
    """
    from oip import gallery
    from oip.cli.progress import shown
    from oip.core.errors import SettingsError, expected
    from oip.run.run import Run

    if source is not None and not with_data:
        raise SettingsError(expected("--data", "--with-data beside it", "--data alone"))
    found = Run.open(run)
    data = _data(found, source, data_dir) if with_data else None
    with shown(quiet) as progress:
        page = gallery.build(
            found,
            data_images=None if data is None else data.images,
            data_labels=None if data is None else data.labels,
            single_file=single_file,
            progress=progress,
        )
    if opened and click.launch(page.resolve().as_uri()) != 0:
        note(f"No browser could be started; open {plain_text(page)} in one.", quiet)
    if as_json:
        print_json({"gallery": str(page)})
    else:
        click.echo(plain_text(page))


def _data(run: Any, source: str | None, data_dir: Path | None) -> Any:
    """The data that the run was made with; refused where their number has changed."""
    from oip import models
    from oip.core.errors import DataError, RunError, expected

    told = run.info.get("data") or {}
    if not told.get("source"):
        hint = "Give --data to 'oip reconstruct' or 'oip rank' first."
        raise RunError(expected(f"'{run.path}' for --with-data", "a run with data", "none", hint))
    data = models.load(source or told["source"], data_dir=data_dir, part="test")
    if told.get("images") not in (None, len(data.images)):
        raise DataError(
            expected(
                f"data '{data.source}'",
                f"the {told['images']} images that the run was made with ({told['source']})",
                f"{len(data.images)} images",
                "Say where they are with --data.",
            )
        )
    return data
