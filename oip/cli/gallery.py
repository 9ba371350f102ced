"""`oip gallery`: the browsable pages of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from oip.cli import options
from oip.cli.options import DataOptions, Output
from oip.cli.tables import print_json, print_text
from oip.core.errors import DataError, RunError, plain_text

if TYPE_CHECKING:
    from oip.models import Dataset
    from oip.run.run import Run


@click.command()
@options.run_argument
@click.option(
    "--with-data/--without-data",
    default=None,
    help="Show the data images to which each map responds most, or none.  [default: keep those "
    "that the gallery has; none in a new one]",
)
@options.data(
    "Where the data of the run are now, if they were moved.  [default: as in the run]",
    required=False,
)
@click.option(
    "--single-file",
    is_flag=True,
    help="Build RUN/gallery.html instead: one file that holds everything, for up to 300 maps.",
)
@click.option(
    "--title",
    metavar="TEXT",
    help="Heading of the pages.  [default: as before, or the name of the model's file]",
)
@options.opens
@options.output
def command(
    run: Path,
    data: DataOptions,
    with_data: bool | None,
    single_file: bool,
    title: str | None,
    opens: bool,
    output: Output,
) -> None:
    """Build RUN/gallery, a folder of files that a browser opens without a server.

    The most informative maps of each layer come first. Each map has a page with its starts, its
    verdict and its information. A gallery that exists is brought up to date: only what changed is
    drawn again. Prints the path of the page.

    \b
    Example:  oip gallery runs/demo --with-data --open
    """
    from oip import gallery
    from oip.run.run import Run

    if not with_data:
        options.refuse_alone("--with-data", "source", "data_dir", "resize")
    source = Run.open(run)
    images = _load_run_data(source, data) if with_data else None
    with output.progress() as progress:
        page = gallery.build(
            source,
            data_images=None if images is None else images.images,
            data_labels=None if images is None else images.targets,
            keep_data=with_data is None,
            single_file=single_file,
            title=title,
            progress=progress,
        )
    if with_data and not any(source.responses(layer.index) for layer in source.layers):
        output.note(
            "No data images are shown, because the run has no ranking. Rank its maps with 'oip "
            "rank', then build the gallery again."
        )
    if opens:
        options.open_page(page, output)
    if output.as_json:
        print_json({"gallery": str(page)})
    else:
        print_text(page)
    if not opens:
        output.next_steps(f"open {plain_text(page)} in a browser, or add --open")


def _load_run_data(run: Run, options: DataOptions) -> Dataset:
    """Load the data that the run was made with; refuse another number of images."""
    from oip import models
    from oip.core.formats import ARRAYS
    from oip.models.sources import NAMES

    record = run.record.data
    if record is None or not record.source:
        hint = "Give --data to 'oip reconstruct' or 'oip rank' first."
        raise RunError(f"'{run.path}' for --with-data", "a run with data", "none", hint)
    spec = run.record.input
    name = models.split_source(record.source)[0]
    if options.source is None and name == ARRAYS:
        hint = "Save them as 'images' in an .npz for --data, or use oip.gallery.build in Python."
        raise DataError("--data", "the arrays that the run was made with", "none", hint)
    if options.source is None and name not in NAMES and not Path(name).exists():
        hint = "Say where they are with --data."
        raise DataError("--data", f"the run's data '{name}' in this folder", "none", hint)
    data = models.load(
        options.source or record.source,
        options.data_dir,
        part="test",
        resize=options.resize or record.resize,
        model_shape=None if spec is None else lambda image_shape: tuple(spec.shape),
    )
    if record.images not in (None, len(data.images)):
        raise DataError(
            f"data '{data.source}'",
            f"the {record.images} images that the run was made with ({record.source})",
            f"{len(data.images)} images",
            "Say where they are with --data.",
        )
    return data
