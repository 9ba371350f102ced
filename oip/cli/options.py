"""Options that several commands share, and what they mean."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
quiet_option = click.option("--quiet", "-q", is_flag=True, help="No progress on stderr.")
seed_option = click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Random seed."
)
data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    envvar="OIP_DATA",
    help="Folder searched for data files before they are downloaded.  [env: OIP_DATA]",
)
at_option = click.option(
    "--at",
    type=click.Choice(["response", "block"]),
    default="response",
    show_default=True,
    help="After the activation, or after the pooling that follows.",
)
import_option = click.option(
    "--import",
    "imports",
    multiple=True,
    metavar="MODULE",
    help="Import MODULE, which registers custom layers, before the model is read.",
)


def with_options(*options: Callable[..., Any]) -> Callable[..., Any]:
    """One decorator for several options, the first one shown first."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def print_json(result: Any) -> None:
    """The result on stdout, as JSON; names from models and data stay text (ASCII only)."""
    click.echo(json.dumps(result, allow_nan=False))


def plain_text(text: object) -> str:
    """Untrusted text (names of layers, classes) without control characters, for a terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def note(text: str, quiet: bool = False) -> None:
    """A remark on stderr."""
    if not quiet:
        click.echo(text, file=sys.stderr)
