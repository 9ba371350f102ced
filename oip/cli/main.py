"""The root command: finds its commands by name, shows errors as one line, sets the exit status."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from typing import Any

import click

from oip.cli.options import plain_text
from oip.core.errors import OipError
from oip.core.warnings import Notice

COMMANDS = {
    "demo": ("oip.cli.demo", "Train, reconstruct, rank and show, on embedded digits."),
    "train": ("oip.cli.train", "Train one of the built-in networks."),
    "layers": ("oip.cli.layers", "List the layers of a model that have maps."),
    "reconstruct": ("oip.cli.reconstruct", "Grow the pattern that each map reacts to."),
    "locate": ("oip.cli.locate", "Find where in images the patterns of maps are."),
    "activations": ("oip.cli.activations", "Draw what layers give for some images."),
    "rank": ("oip.cli.rank", "Order maps by what they know about the label."),
    "patterns": ("oip.cli.patterns", "What images of a class have in common, and others not."),
    "prune": ("oip.cli.prune", "Take the least important maps out of a model."),
    "estimate": ("oip.cli.estimate", "Entropy or information of arrays in a file."),
    "gallery": ("oip.cli.gallery", "Build the browsable page of a run."),
    "export": ("oip.cli.export", "Write a run's images as PNG, WebP, GIF or NPZ."),
    "batch": ("oip.cli.batch", "Do many models, layers and settings, on any engine."),
    "status": ("oip.cli.status", "Tell what is in a run, what is missing, what failed."),
    "verify": ("oip.cli.verify", "Check every file of a run."),
    "merge": ("oip.cli.merge", "Join runs of the same model."),
    "compare": ("oip.cli.compare", "Set two runs side by side, map by map."),
    "study": ("oip.cli.study", "Do the papers' experiments again."),
    "cite": ("oip.cli.cite", "Print BibTeX of the methods that made a run."),
}
"""Name -> module and short help. A module holds `command`, and is imported when it is called."""


class Commands(click.Group):
    """A group whose commands are imported only when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return importlib.import_module(COMMANDS[cmd_name][0]).command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="oip", prog_name="oip")
def root() -> None:
    """What each map of a trained Keras CNN reacts to, and how much it knows.

    \b
    Begin with:  oip demo
    """


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and leaves the process.

    Exit status: 0 done, 1 done in part or failed, 2 wrong usage or bad input.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    plainly = warnings.showwarning

    def shown(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, Notice):
            click.echo(f"oip: {plain_text(message)}", err=True)
        else:
            plainly(message, category, *where, **more)

    warnings.showwarning = shown
    try:
        result: Any = root.main(args=arguments, prog_name="oip", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except OipError as error:
        click.echo(f"oip: {plain_text(error)}", err=True)
        return error.exit_status
    except (click.Abort, KeyboardInterrupt):
        click.echo("oip: interrupted; what was finished is kept.", err=True)
        return 1
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        where = f"'{error.filename}': " if error.filename else ""
        click.echo(f"oip: {plain_text(where)}{plain_text(error.strerror or error)}", err=True)
        return 2
    finally:
        warnings.showwarning = plainly
    return result if isinstance(result, int) else 0
