"""The reference of commands and of Python names, made from the code.

`python -m tests.reference` writes `oip/cli/README.md` and `oip/REFERENCE.md`; `test_reference.py`
fails while they differ from what the code says.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections import Counter
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import click

import oip
from oip import batch, gallery, mi, models
from oip.cli.main import COMMANDS, root

ROOT = Path(__file__).resolve().parents[1]
MADE = "<!-- Made by `python -m tests.reference` from the code; change the code, not this file. -->"
_SHARED = ("--json", "--quiet", "--verbose", "--all", "--seed")
"""Options that mean the same in every command that has them."""
_INNER = ("described", "tile")
"""Members of results that only other modules of the project use."""
_SECTION = re.compile(r"^(Args|Returns|Yields|Raises|Shapes|Units|References|Example|Notes?):$")
_COMMANDS_HEAD = """
`oip COMMAND --help` prints the same as this page. Results are printed on stdout; progress, notices
and hints on stderr. The exit status is 0 (done), 1 (done in part or failed) or 2 (wrong usage or
bad input).

A *layer* is given by its name, `outer/inner` in nested models, or `@3`, the index that `oip layers`
prints. Some commands take `LAYER:MAPS`, maps being `all`, `3`, `0-15` or `0,4,9`. Every path of
`--out` that is a *run* can be given to several commands, which add to it.

These options mean the same in every command that has them:
"""
_COMPLETION = """
## Completion

Shells complete commands, options and file names with the Tab key. Put the line of your shell into
the file beside it, and open a new terminal:

| shell | file | line |
|---|---|---|
| bash (4.4 or newer) | `~/.bashrc` | `eval "$(_OIP_COMPLETE=bash_source oip)"` |
| zsh | `~/.zshrc` | `eval "$(_OIP_COMPLETE=zsh_source oip)"` |
| fish | `~/.config/fish/completions/oip.fish` | `_OIP_COMPLETE=fish_source oip \\| source` |

## Scripts, logs and environment

With `--json` a command prints one JSON document on stdout and nothing else; numbers of bits, shares
and scores are the unrounded ones. `--quiet` leaves out progress and hints; notices, which say what
was clipped or left out, stay on stderr.

`-v` adds what is done and how long it takes; `-vv` names every file that is written and every graph
that is traced. It is Python's `logging` under the name `oip`, so that a program or a notebook has
the same:

    import logging

    logging.basicConfig()
    logging.getLogger("oip").setLevel(logging.INFO)  # or DEBUG

| variable | meaning |
|---|---|
| `OIP_DATA` | folder searched for data sets before they are downloaded, as `--data-dir` |
| `OIP_READ_LIMIT` | the largest content of a file that is read, in GiB, as `--read-limit` |
| `OIP_THREADS` | threads at most; by default one for each core that the process may use |
| `OIP_DEVICE` | `cpu` keeps the estimates of `oip rank` and `oip estimate` off a GPU |
"""
_PYTHON_HEAD = """
All public names, with their docstrings; `help(NAME)` prints the same. The READMEs of the folders
show how they are used together. Images are arrays (n, height, width, bands), as the model is fed
with them; information is in bits wherever it is shown.
"""
_MODULES = {
    "oip": (oip, "patterns, runs, pruning", "README.md"),
    "oip.mi": (mi, "information, rankings, redundancy, legibility", "../mi/README.md"),
    "oip.models": (models, "data, networks, training", "../models/README.md"),
    "oip.gallery": (gallery, "pages for a browser or a notebook", "../gallery/README.md"),
    "oip.batch": (batch, "many models, layers and settings", "README.md#batches"),
}
"""Module, its purpose, and where it is explained."""


def commands_page() -> str:
    """Return the reference of all commands as Markdown."""
    context = _context(root, "oip")
    lines = [MADE, "", "# Commands", _COMMANDS_HEAD.rstrip(), "", "| option | |", "|---|---|"]
    shared: dict[str, click.Option] = {}
    for option in (option for name in COMMANDS for option in _options(name)[0]):
        shared.setdefault(_long(option), option)
    help_names = ", ".join(context.help_option_names)
    lines += [f"| `{help_names}` | Show the command's help and exit. |"]
    lines += [_option_row(shared[name], context) for name in _SHARED]
    lines += ["", "| command | |", "|---|---|"]
    lines += [f"| [`oip {name}`](#oip-{name}) | {text} |" for name, text in COMMANDS.items()]
    for name in COMMANDS:
        lines += ["", f"## oip {name}", "", *_command_lines(name)]
    return "\n".join(lines) + "\n" + _COMPLETION


def _context(command: click.Command, name: str, parent: click.Context | None = None):
    return click.Context(command, parent, name, **command.context_settings)


def command_of(name: str) -> tuple[click.Command, click.Context]:
    """Return a command and a context in which it describes itself."""
    above = _context(root, "oip")
    command = root.get_command(above, name)
    return command, _context(command, name, above)


def _options(name: str) -> tuple[list[click.Option], list[click.Option]]:
    """Return the options of a command: those that all share, and its own."""
    every = command_of(name)[0].params
    options = [item for item in every if isinstance(item, click.Option) and not item.hidden]
    shared = [option for option in options if _long(option) in _SHARED]
    return shared, [option for option in options if option not in shared]


def _long(option: click.Option) -> str:
    return max(option.opts, key=len)


def _command_lines(name: str) -> list[str]:
    command, context = command_of(name)
    text, _, examples = inspect.cleandoc(command.help or "").partition("\b\n")
    lines = [_prose(part) for part in text.strip().split("\n\n")]
    usage = " ".join(["oip", name, *command.collect_usage_pieces(context)])
    parts = ["\n\n".join(lines), _code(usage), _code(_dedented(examples))]
    shared, own = _options(name)
    if own:
        rows = [_option_row(option, context) for option in own]
        parts.append("\n".join(["| option | |", "|---|---|", *rows]))
    also = [f"`{_long(option)}`" for option in shared if _long(option) in _SHARED]
    parts.append(f"Also {', '.join(also)}.")
    formatter = click.HelpFormatter(width=90)
    command.format_epilog(context, formatter)
    if formatter.getvalue().strip():
        parts.append(_code(formatter.getvalue().strip("\n")))
    return "\n\n".join(parts).split("\n")


def examples_of(name: str) -> list[str]:
    """Return the lines of a command's help that show how it is called."""
    text = inspect.cleandoc(command_of(name)[0].help or "").partition("\b\n")[2]
    return [line.strip() for line in _dedented(text).splitlines() if line.strip()[:4] == "oip "]


def _dedented(examples: str) -> str:
    """Return the examples of a help text below each other."""
    lines = examples.strip("\n").splitlines()
    return "\n".join(re.sub(r"^\s*(Example:)?\s*", "", line) for line in lines).strip()


def _option_row(option: click.Option, context: click.Context) -> str:
    names, text = option.get_help_record(context)
    text = text.replace("|", r"\|").replace("  [", " [")
    return f"| `{names}` | {_prose(text)} |".replace(names, names.replace("|", r"\|"), 1)


def python_page() -> str:
    """Return the reference of all public Python names as Markdown."""
    lines = [MADE, "", "# Python", _PYTHON_HEAD.rstrip()]
    anchors = _anchors()
    for module, (home, purpose, page) in _MODULES.items():
        lines += ["", f"**`{module}`**: {purpose} ([how to use it]({page}))", "", "| name | |"]
        lines += ["|---|---|"]
        for name, thing in _public(home):
            text = _summary(thing).replace("|", r"\|")
            lines.append(f"| [`{name}`](#{anchors[module, name]}) | {text} |")
    for module, (home, *_) in _MODULES.items():
        for name, thing in _public(home):
            lines += ["", f"### {module}.{name}", "", *_thing_lines(name, thing)]
    return "\n".join(lines) + "\n"


def _anchors() -> dict[tuple[str, str], str]:
    """Return the address of every heading: those that are alike are numbered in their order."""
    anchors: dict[tuple[str, str], str] = {}
    counts: Counter[str] = Counter()
    for module, (home, *_) in _MODULES.items():
        for name, _ in _public(home):
            anchor = f"{module}{name}".replace(".", "").lower()
            anchors[module, name] = f"{anchor}-{counts[anchor]}" if counts[anchor] else anchor
            counts[anchor] += 1
    return anchors


def _public(home: ModuleType) -> list[tuple[str, object]]:
    order = sorted(home.__all__, key=lambda name: (name[0].isupper(), name))  # functions first
    names = ((name, getattr(home, name)) for name in order)
    return [(name, thing) for name, thing in names if inspect.isclass(thing) or callable(thing)]


def _summary(thing: object) -> str:
    """Return the first sentence of a docstring."""
    text = " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())
    return _prose(re.split(r"(?<=[^.][^.]\.)\s", text)[0])


def _thing_lines(name: str, thing: object) -> list[str]:
    is_class = inspect.isclass(thing)
    parts = [_code(name + _signature(thing))] if not is_class or _is_made_by_users(thing) else []
    parts += _docstring(inspect.getdoc(thing) or "")
    if is_class:
        rows = _members(thing)
        if rows:
            parts.append("\n".join(["| | |", "|---|---|", *rows]))
    return "\n\n".join(parts).split("\n")


def _is_made_by_users(kind: type) -> bool:
    """Return whether a class says what its arguments are; others are results."""
    return "Args:" in (kind.__doc__ or "")


def _signature(thing: object) -> str:
    """Return parameters with their defaults, without types, in lines of 92 characters."""
    signature = inspect.signature(thing)
    parameters = []
    for parameter in signature.parameters.values():
        default = parameter.default
        if inspect.isfunction(default):
            default = _Name(default.__name__)
        parameters.append(parameter.replace(annotation=parameter.empty, default=default))
    text = str(inspect.Signature([item for item in parameters if item.name != "self"]))
    return textwrap.fill(text, 92, subsequent_indent="    ", break_long_words=False)


class _Name:
    """A default that is shown by its name."""

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return self.name


def _docstring(text: str) -> list[str]:
    """Return a docstring as paragraphs of Markdown, its sections as lists."""
    parts: list[str] = []
    title, block = "", []

    def close() -> None:
        body = textwrap.dedent("\n".join(block)).strip("\n")
        if title in ("Args", "Raises"):
            parts.append(f"*{title}*\n\n" + "\n".join(_entries(body)))
        elif title:
            parts.append(f"*{title}*: " + _prose(body) if ">>>" not in body else _code(body))
        else:
            parts.extend(_paragraphs(body))

    for line in text.splitlines():
        heading = _SECTION.match(line)
        if heading or (title and line and not line.startswith(" ")):
            close()
            title, block = heading[1] if heading else "", [] if heading else [line]
        else:
            block.append(line)
    close()
    return [part for part in parts if part]


def _paragraphs(body: str) -> list[str]:
    paragraphs = body.split("\n\n")
    return [_code(part) if ">>>" in part else _prose(part) for part in paragraphs if part.strip()]


def _entries(body: str) -> list[str]:
    """Return `name: text` over several lines as items of a list."""
    items: list[str] = []
    for line in body.splitlines():
        if line.startswith(" ") and items:
            items[-1] += " " + line.strip()
        elif line.strip():
            items.append(line)
    rows = []
    for item in items:
        name, colon, text = item.partition(": ")
        named = ", ".join(f"`{part}`" for part in name.split(", "))
        rows.append(f"- {named}: {_prose(text)}" if colon else f"- {_prose(item)}")
    return rows


def _members(kind: type) -> list[str]:
    """Return the documented fields, properties and methods of a class as rows of a table."""
    texts: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.startswith("oip"):
            texts.update(_Source.of(base).fields)
            for name, member in vars(base).items():
                inner = (
                    member.__func__ if isinstance(member, classmethod | staticmethod) else member
                )
                is_member = isinstance(inner, property | cached_property) or inspect.isfunction(
                    inner
                )
                is_inner = name.startswith("_") or name in _INNER
                if is_inner or not is_member or not inspect.getdoc(inner):
                    continue
                called = name + (_short(inner) if inspect.isfunction(inner) else "")
                texts.pop(name, None)
                texts[called] = _summary(inner)
    return [f"| `{name}` | {text} |".replace("\n", " ") for name, text in texts.items()]


def _short(method: object) -> str:
    names = [name for name in inspect.signature(method).parameters if name not in ("self", "cls")]
    return f"({', '.join(names)})"


class _Source:
    """What only the source of a class holds: docstrings of its fields."""

    def __init__(self, kind: type):
        self.fields: dict[str, str] = {}
        tree = _tree(sys.modules[kind.__module__].__file__ or "")
        body = next(
            (
                node.body
                for node in ast.walk(tree)
                if isinstance(node, ast.ClassDef) and node.name == kind.__name__
            ),
            [],
        )
        for node, after in pairwise(body):
            is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
                continue
            if is_text and not node.target.id.startswith("_") and not node.target.id.isupper():
                text = " ".join(str(after.value.value).split())
                self.fields[node.target.id] = _prose(text).replace("|", r"\|")

    @classmethod
    def of(cls, kind: type) -> _Source:
        return cls(kind)


@cache
def _tree(path: str) -> ast.Module:
    return ast.parse(Path(path).read_text("utf-8"))


def _prose(text: str) -> str:
    """Return text as one line of Markdown; outside of code, nothing in it is markup."""
    pieces = re.split(r"(`[^`]*`)", " ".join(text.split()))
    plain = (re.sub(r"([*<])", r"\\\1", piece) for piece in pieces[::2])
    code = [*pieces[1::2], ""]
    return "".join(part for pair in zip(plain, code, strict=True) for part in pair)


def _code(text: str) -> str:
    """Return text as a block of code, without remarks for doctest."""
    return textwrap.indent(re.sub(r"\s*# doctest: .*", "", text), "    ")


PAGES = {"oip/cli/README.md": commands_page, "oip/REFERENCE.md": python_page}
"""File -> function that makes its text."""


def main() -> None:
    """Write all pages."""
    for name, page in PAGES.items():
        (ROOT / name).write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
