"""Options that several commands share, each group as one object."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from oip.cli.tables import ALL_ROWS, MOST_ROWS
from oip.core.errors import DataError, SettingsError, plain_text, shell_command

if TYPE_CHECKING:
    from oip.core.progress import Progress
    from oip.models import Dataset
    from oip.network.network import Network
    from oip.workflows.finished import Request
    from oip.workflows.inputs import ModelInput

Function = TypeVar("Function", bound=Callable[..., object])


@dataclass(frozen=True)
class Output:
    """How a command reports: JSON or text on stdout, remarks and progress on stderr."""

    as_json: bool = False
    quiet: bool = False

    def note(self, text: object) -> None:
        """Print a remark on stderr, unless the command is quiet."""
        if not self.quiet:
            warn(text)

    def next_steps(self, *steps: str) -> None:
        """Print the next steps on stderr, unless the result is JSON or output is quiet."""
        if not self.as_json:
            for index, step in enumerate(steps):
                self.note(f"{'      ' if index else 'Next: '}{step}")

    def progress(self) -> AbstractContextManager[Progress]:
        """Return a context that shows the progress of long work."""
        from oip.core.progress import on_stderr

        return on_stderr(self.quiet)

    def waiting(self, text: str) -> AbstractContextManager[None]:
        """Return a context that shows on a terminal that something is under way."""
        from oip.core.progress import waiting

        return waiting(text, self.quiet)


_DATA_FOLDER = "OIP_DATA"
"""The environment variable that `--data-dir` is taken from."""


@dataclass(frozen=True)
class ModelOptions:
    """The model that a command opens, and the statistics of its input."""

    model: Path
    imports: tuple[str, ...] = ()
    input_size: str | None = None
    input_name: str | None = None
    input_mean: str | None = None
    input_std: str | None = None
    input_range: str | None = None
    preprocess: str | None = None
    directions: Path | None = None
    """A run whose directions are layers, too."""

    @property
    def input(self) -> ModelInput:
        """The options as numbers; a SettingsError where a text is not such numbers."""
        from oip.workflows.inputs import ModelInput

        bounds = _numbers("--input-range", self.input_range)
        if bounds is not None and len(bounds) != 2:
            raise SettingsError("--input-range", "LOW,HIGH", self.input_range)
        return ModelInput(
            self.imports,
            _pixels(self.input_size),
            self.input_name,
            _numbers("--input-mean", self.input_mean),
            _numbers("--input-std", self.input_std),
            bounds,  # type: ignore[arg-type]
            self.preprocess,
        )

    @property
    def run(self) -> Path:
        """The run that next steps name: that of the directions, else one of the model's name."""
        return self.directions or Path("runs", self.model.stem)

    def command(
        self,
        name: str,
        *arguments: object,
        data: DataOptions | None = None,
        out: Path | str | None = None,
    ) -> str:
        """Return a further command on the model, with the options that open it and its data.

        Args:
            name: of the command, such as `reconstruct`.
            arguments: what follows the model, and is no option.
            data: the images that it is given, if any.
            out: where it writes.
        """
        texts = {"--input-size": self.input_size, "--input": self.input_name}
        texts |= {"--input-mean": self.input_mean, "--input-std": self.input_std}
        texts |= {"--input-range": self.input_range, "--preprocess": self.preprocess}
        options = [f"{option}={text}" for option, text in texts.items() if text is not None]
        options += [f"--import={module}" for module in self.imports]
        data_options = () if data is None else data.arguments
        out_option = () if out is None else ("--out", out)
        flags = (*data_options, *out_option, *options)
        if any(str(argument).startswith("-") for argument in arguments):  # names of layers
            return quoted("oip", name, *flags, "--", self.model, *arguments)
        return quoted("oip", name, self.model, *arguments, *flags)

    def in_run(self, run: Path | None) -> ModelOptions:
        """Return the options with the directions of a run, unless others are named."""
        return self if run is None or self.directions else replace(self, directions=run)

    def open(self, data: Dataset | None) -> Network:
        """Open the model and set the statistics of its input.

        Args:
            data: images that the model is to be fed with, or None.

        Raises:
            SettingsError: text that is not numbers, or numbers that do not fit the input.
            ModelError: a model that cannot be opened.
        """
        from oip.workflows.inputs import open_network

        return self._add_directions(open_network(self.model, data, self.input))

    def open_with(self, data: DataOptions, output: Output) -> tuple[Network, Dataset]:
        """Open the model and the test part of the data, image files in the size of its input.

        A terminal shows meanwhile that the model is opened.

        Raises:
            DataError: no source was given, it cannot be read, or does not fit the model.
            SettingsError, ModelError: as for `open`.
        """
        from oip.network.inputs import check_images
        from oip.workflows.inputs import opened

        with output.waiting(f"opening {self.model.name}"):
            network, images = opened(
                self.model,
                data.required(),
                model_input=self.input,
                data_dir=data.data_dir,
                resize=data.resize,
            )
            check_images(network.inputs, images.images, "data")
            return self._add_directions(network), images

    def _add_directions(self, network: Network) -> Network:
        if self.directions is None:
            return network
        from oip.workflows.directions import with_directions_of

        return with_directions_of(network, self.directions)

    def request(
        self, command: str, out: Path, data: DataOptions, choices: Mapping[str, object]
    ) -> Request:
        """Return the request of a command, by which an existing result is found."""
        from oip.workflows.finished import Request

        options: dict[str, object] = {"input": self.input, **choices}
        return Request(command, out, self.model, data.source, data.data_dir, data.resize, options)


@dataclass(frozen=True)
class DataOptions:
    """The images of a command, and where to look for them."""

    source: str | None = None
    data_dir: Path | None = None
    resize: str | None = None
    size: str | None = None

    @property
    def arguments(self) -> list[str]:
        """The options as a further command takes them; `SOURCE` where no source was given."""
        arguments = ["--data", self.source or "SOURCE"]
        if self.resize is not None:
            arguments += ["--resize", self.resize]
        if self.data_dir is not None and str(self.data_dir) != os.environ.get(_DATA_FOLDER):
            arguments += ["--data-dir", str(self.data_dir)]
        return arguments

    def required(self) -> str:
        """Return the source; a DataError says that none was given."""
        if self.source is None:
            raise DataError("--data", "a source of images", "none")
        return self.source

    @property
    def sides(self) -> tuple[int, int] | None:
        """The size (h, w) that images are brought to, None for their own."""
        size = _pixels(self.size)
        if size is not None and len(size) != 2:
            raise SettingsError("--input-size", "H,W", f"'{self.size}'")
        return size

    def load(self, part: str) -> Dataset:
        """Load one part of the data.

        Raises:
            DataError: no source was given, or it cannot be read.
        """
        from oip import models

        source = self.required()
        return models.load(source, self.data_dir, part, self.sides, resize=self.resize)


class ListingCommand(click.Command):
    """A command whose help ends with a list.

    Args:
        heading: of the list.
        rows: returns its names and their descriptions.
        more: as for `click.Command`.
    """

    def __init__(
        self, *, heading: str, rows: Callable[[], list[tuple[str, str]]], **click_options: Any
    ):
        super().__init__(**click_options)
        self._heading, self._rows = heading, rows

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section(self._heading):
            formatter.write_dl(self._rows())


def group(*options: Callable[[Function], Function]) -> Callable[[Function], Function]:
    """Make one decorator of several options; the first one is shown first."""

    def decorate(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def as_object(
    name: str, kind: Callable[..., object], *options: Callable[[Function], Function]
) -> Callable[[Function], Function]:
    """Make a decorator that adds options, and passes those of a dataclass's names as one object."""
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]

    def decorate(function: Callable[..., object]) -> Callable[..., object]:
        @functools.wraps(function)
        def command(**values: object) -> object:
            arguments = {field: values.pop(field) for field in names if field in values}
            return function(**{name: kind(**arguments)}, **values)

        return group(*options)(command)  # type: ignore[arg-type]

    return decorate  # type: ignore[return-value]


json_flag = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
output = as_object(
    "output",
    Output,
    json_flag,
    click.option("--quiet", "-q", is_flag=True, help="Print no progress and no hints on stderr."),
)
"""Adds --json and --quiet; the command takes `output`."""
opens = click.option("--open", "opens", is_flag=True, help="Open the page in a browser.")
all_rows = click.option(
    "--all",
    is_flag=True,
    expose_value=False,
    callback=lambda context, _, value: context.meta.update({ALL_ROWS: value}),
    help=f"Print all rows of tables, not the first {MOST_ROWS}.",
)
seed = click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, help="Random seed.")


class NamedPath(click.Path):
    """A path that is not empty, which would be the working directory.

    One that begins with - is made absolute, so that further commands do not take it for options.
    """

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from oip.core.checks import path_problem

        if str(value) == "" or "\0" in str(value):
            self.fail("expected a path; received an empty one, or one with NUL.", param, ctx)
        if problem := path_problem(value):
            self.fail(f"expected a path; received {plain_text(problem)}.", param, ctx)
        path = super().convert(value, param, ctx)
        return path.absolute() if str(path).startswith("-") else path


def earlier(name: str, kind: click.ParamType | None = None) -> Callable[[Function], Function]:
    """Add an option of earlier versions, which help hides; without a type it is a flag."""
    return click.option(name, type=kind, is_flag=kind is None, hidden=True)


data_dir = click.option(
    "--data-dir",
    type=NamedPath(),
    envvar=_DATA_FOLDER,
    help="Folder searched for data files before they are downloaded.  [env: OIP_DATA]",
)
resize = click.option(
    "--resize",
    type=click.Choice(["crop", "fit", "stretch"]),
    help="Bring images of other sizes to the size of the input: crop takes their middle, fit puts "
    "the whole image on black, stretch distorts it.  [default: crop for image files, none for "
    "arrays]",
)
size = click.option(
    "--input-size",
    "size",
    metavar="H,W",
    help="Height and width in pixels that images are brought to.  [default: their own size]",
)
at = click.option(
    "--at",
    type=click.Choice(["response", "block"]),
    default="response",
    help="Take responses after the activation, or after the pooling that follows it.",
)
model_argument = click.argument("model", type=NamedPath())
run_argument = click.argument("run", type=NamedPath())
imports = click.option(
    "--import",
    "imports",
    multiple=True,
    metavar="MODULE",
    help="Import MODULE, which registers custom layers, before the model is read.",
)
_size_and_name = group(
    click.option(
        "--input-size",
        metavar="H,W",
        help="Height and width in pixels, for models that take any.  [default: those of the data]",
    ),
    click.option(
        "--input",
        "input_name",
        metavar="NAME",
        help="For models with several inputs: the one for the images.  [default: the first that "
        "fits]",
    ),
)
model = as_object("model", ModelOptions, imports)
"""Adds --import to a command with `model_argument`; the command takes `model`."""
sized_model = as_object("model", ModelOptions, _size_and_name, imports)
"""Adds --input-size and --input, too."""
_input = group(
    click.option(
        "--input-mean", metavar="M[,M...]", help="Mean of the input: one number, or one per band."
    ),
    click.option(
        "--input-std", metavar="S[,S...]", help="Standard deviation of the input, likewise."
    ),
    click.option(
        "--input-range",
        metavar="LOW,HIGH",
        help="Smallest and largest value of a pixel; image files are scaled to them.",
    ),
    _size_and_name,
    click.option(
        "--preprocess",
        type=click.Choice(["caffe", "torch", "tf"]),
        help="Prepare images as this mode of keras.applications does.",
    ),
    imports,
)
_directions = click.option(
    "--directions",
    type=NamedPath(),
    metavar="RUN",
    help="A run whose directions can be named as layers, too: LAYER+METHOD.",
)
model_and_input = as_object("model", ModelOptions, _input)
"""Adds all that describes the input of a model; the command takes `model`."""
model_with_directions = as_object("model", ModelOptions, _input, _directions)
"""Adds --directions, too."""
pictures = group(
    click.option(
        "--colour",
        type=click.Choice(["grey", "viridis", "jet"]),
        default="grey",
        help="Colors of the pictures.",
    ),
    click.option(
        "--format",
        "kind",
        type=click.Choice(["png", "svg"]),
        default="png",
        help="Format of the pictures.",
    ),
)
"""Adds --colour and --format; the command takes `colour` and `kind`."""


def data(help_text: str, *, required: bool = True, sized: bool = False):
    """Make a decorator that adds --data, --data-dir and --resize; the command takes `data`.

    Args:
        help_text: says what the images are for.
        required: the command does not work without data.
        sized: add --input-size, for commands without a model whose size images take.
    """
    source = click.option("--data", "source", metavar="SOURCE", required=required, help=help_text)
    return as_object("data", DataOptions, source, data_dir, resize, *([size] if sized else []))


def out(help_text: str, *, metavar: str | None = None, required: bool = True):
    """Make a decorator that adds --out."""
    return click.option(
        "--out", type=NamedPath(), required=required, metavar=metavar, help=help_text
    )


def refuse_alone(needed: str, *names: str) -> None:
    """Raise a SettingsError where an option was typed that does nothing without another one.

    Args:
        needed: the other option, such as `--match`, which was not given.
        names: of parameters of the command that runs.
    """
    if option := typed_option(*names):
        raise SettingsError(option, f"{needed} as well", f"{option} alone")


def typed_option(*names: str) -> str | None:
    """Return the first of some parameters that was typed, as its option; None without any."""
    context = click.get_current_context()
    for parameter in context.command.params:
        is_typed = context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
        if is_typed and parameter.name in names:
            return parameter.opts[0]
    return None


def open_page(page: Path, output: Output) -> None:
    """Open a page in a browser, or say that there is none."""
    if click.launch(page.resolve().as_uri()) != 0:
        output.note(f"No browser could be started; open {plain_text(page)} in one.")


def quoted(*arguments: object) -> str:
    """Return the arguments of a command, quoted for a shell."""
    return shell_command(*arguments)


def warn(text: object) -> None:
    """Print a line of untrusted text on stderr."""
    click.echo(plain_text(text), file=sys.stderr)


def _pixels(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    sides = text.replace("x", ",").split(",")
    if not all(side.strip().isdecimal() and 0 < len(side.strip("0 ")) < 10 for side in sides):
        raise SettingsError("--input-size", "pixels such as 96,128", f"'{text}'")
    return tuple(int(side) for side in sides)


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(value) for value in text.split(","))
    except ValueError as error:
        raise SettingsError(option, "numbers such as 0.5 or 0.5,0.4,0.4", text) from error
