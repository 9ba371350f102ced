"""The program `oip`: it imports a command when it is called, and prints an error as one line."""

from __future__ import annotations

import importlib
import logging
import os
import re
import signal
import sys
import threading
import warnings
from typing import Any

import click

from oip.core.errors import (
    LOG,
    Notice,
    OipError,
    RunError,
    did_you_mean,
    plain_text,
    shell_command,
)

COMMANDS = {
    "demo": "Train a small network on digits and show its maps.",
    "train": "Train one of the built-in networks.",
    "layers": "List the layers of a model that have maps.",
    "reconstruct": "Grow the pattern that each map reacts to.",
    "locate": "Find where in images the patterns of maps are.",
    "activations": "Draw the outputs of layers for some images.",
    "rank": "Order maps by their information about the class.",
    "directions": "Find features that no single map of a layer holds.",
    "trace": "Measure what feeds a unit, and which outputs it moves.",
    "judge": "Measure how legible the patterns are to another network.",
    "patterns": "Find the nodes that images of a class have in common.",
    "prune": "Remove the least important maps of a model.",
    "estimate": "Estimate entropy or information of arrays in a file.",
    "gallery": "Build the browsable pages of a run.",
    "export": "Write a run's images as PNG, WebP, GIF or NPZ.",
    "batch": "Reconstruct and rank many models, layers and settings.",
    "status": "Show what is in a run, what is missing, and what failed.",
    "verify": "Check every file of a run.",
    "merge": "Merge runs of the same model into one.",
    "compare": "Compare two runs, or match the units of two networks.",
    "study": "Reproduce the papers' experiments.",
    "cite": "Print BibTeX of the methods that made a run.",
}
"""Name -> short help. Module `oip.cli.NAME` holds the `command`, and is imported when needed."""
_OF_RUNS = ("export", "status", "verify", "merge", "cite")
"""Commands in module `oip.cli.runs`, as `NAME_command`."""


_NUMBERS = {"integer": "N", "integer range": "N", "float": "X", "float range": "X"}
"""Type of an option -> the placeholder of its value in help."""


class _LogFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"oip: {plain_text(super().format(record))}"


def _set_verbose(ctx: click.Context, parameter: click.Parameter, value: int) -> None:
    if value:
        LOG.setLevel(logging.DEBUG if value > 1 else logging.INFO)


_VERBOSE = click.Option(
    ["-v", "--verbose"],
    count=True,
    expose_value=False,
    callback=_set_verbose,
    show_default=False,
    help="Log each step and its time on stderr; -vv: every file and graph, too.",
)


_HINTS = {"mi": "'oip estimate' takes arrays, 'oip rank' the maps of a model."}
"""Name of a command that does not exist, but is tried -> the commands to use."""


class Commands(click.Group):
    """A group whose commands are imported only when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        if cmd_name in _OF_RUNS:
            module = importlib.import_module("oip.cli.runs")
            command = getattr(module, f"{cmd_name}_command")
        else:
            command = importlib.import_module(f"oip.cli.{cmd_name}").command
        if _VERBOSE not in command.params:
            command.params.append(_VERBOSE)
        for option in command.params:
            if option.metavar is None:
                option.metavar = _NUMBERS.get(option.type.name)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            hint = _HINTS.get(name) or did_you_mean(name, COMMANDS)
            ctx.fail(f"No such command '{name}'. {hint}".rstrip())
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except OipError as error:
            command = self.get_command(ctx, ctx.invoked_subcommand or "")
            if command is not None:
                name_option(error, command)
            raise


_PARAMETERS = re.compile(
    r"\b(?P<name>imports|input|resize|model)=\[?'(?P<value>[^']*)'\]?"
    r"|\b(?P<size>input_shape|size)=\(h, w[^)]*\)"
    r"|\b(?P<data>data)=\.\.\."
    r"|\bset (?P<statistics>Network\.inputs)"
    r"|\b(?P<keep_data>keep_data)=False"
)
"""Parameters of Python functions in hints."""
_OPTIONS = {
    "size": "--input-size",
    "data": "--data SOURCE",
    "statistics": "give --input-mean and --input-std, or --preprocess",
    "keep_data": "--without-data",
}
"""Group of `_PARAMETERS` -> the option of the command line."""


def with_options(text: str) -> str:
    """Return a hint with options in place of Python parameters: `--input b` for `input='b'`."""

    def option(match: re.Match[str]) -> str:
        if match["name"]:
            return f"--{match['name'].rstrip('s')} {match['value']}"
        return _OPTIONS[str(match.lastgroup)]

    return _PARAMETERS.sub(option, text)


def name_option(error: OipError, command: click.Command) -> None:
    """Let a message about a setting name its option: `input std: ...` as `--input-std: ...`."""
    setting, colon, message = str(error).partition(":")
    option = f"--{setting.replace(' ', '-').replace('_', '-')}"
    if colon and any(option in parameter.opts for parameter in command.params):
        error.args = (f"{option}:{message}",)


def _verify_hint(error: OipError) -> str:
    """Return a hint to check the run, or the batch, that an unusable file belongs to.

    Empty for files outside of runs, and for a run's own run.json, without which it cannot be
    checked.
    """
    path = error.path if isinstance(error, RunError) else None
    for folder in () if path is None else path.parents:
        if (folder / "run.json").is_file() and path != folder / "run.json":
            batch = folder.parent.parent
            checked = batch if (batch / "batch.json").is_file() else folder
            command = shell_command("oip", "verify", checked)
            return f"'{command}' lists such files and the commands that make them again."
    return ""


def _print_version(ctx: click.Context) -> None:
    import oip

    click.echo(f"oip, version {oip.__version__}")
    ctx.exit()


def _set_read_limit(ctx: click.Context, parameter: click.Parameter, value: float | None) -> None:
    from oip.core.files import READ_LIMIT

    if value is not None:  # workers that are started inherit it
        os.environ[READ_LIMIT] = str(value)


@click.command(
    cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "show_default": True}
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda ctx, _, value: _print_version(ctx) if value else None,
    help="Show the version and exit.",
)
@click.option(
    "--read-limit",
    type=click.FloatRange(min=0, min_open=True),
    metavar="GIB",
    expose_value=False,
    callback=_set_read_limit,
    help="Refuse files whose content, unpacked, is larger.  [env: OIP_READ_LIMIT; default: 4]",
)
def root() -> None:
    """Show what each map of a trained Keras CNN reacts to, and measure its information.

    \b
    Begin with:  oip demo
    """


root.params.append(_VERBOSE)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave the process.

    Exit status: 0 done, 1 done in part or failed, 2 wrong usage or bad input.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["MPLBACKEND"] = "Agg"  # pictures are files; a notebook's backend may not be here
    sys.exit(run(arguments))


def _interrupt(*_: object) -> None:
    """End a command that a system or a scheduler stops as Ctrl-C ends it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
    raise KeyboardInterrupt


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    original = warnings.showwarning

    def show(
        message: Warning | str, category: type[Warning], *location: Any, **options: Any
    ) -> None:
        if issubclass(category, Notice):
            click.echo(f"oip: {plain_text(with_options(str(message)))}", err=True)
        else:
            original(message, category, *location, **options)

    warnings.showwarning = show
    log = logging.StreamHandler()
    log.setFormatter(_LogFormatter())
    LOG.addHandler(log)
    level = LOG.level
    in_main_thread = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGTERM, _interrupt) if in_main_thread else None
    try:
        result: Any = root.main(args=arguments, prog_name="oip", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except OipError as error:
        text = f"{with_options(str(error))} {_verify_hint(error)}".rstrip()
        click.echo(f"oip: {plain_text(text)}", err=True)
        return error.exit_status
    except (click.Abort, KeyboardInterrupt):
        click.echo(
            "oip: interrupted. Finished work is kept; the same command continues it.", err=True
        )
        return 1
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        location = f"'{error.filename}': " if error.filename else ""
        click.echo(f"oip: {plain_text(location)}{plain_text(error.strerror or error)}", err=True)
        return 2
    finally:
        warnings.showwarning = original
        LOG.removeHandler(log)
        LOG.setLevel(level)
        if in_main_thread:
            signal.signal(signal.SIGTERM, previous or signal.SIG_DFL)
    return result if isinstance(result, int) else 0
