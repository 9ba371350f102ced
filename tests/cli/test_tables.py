"""Tables on stdout: nothing is broken, long ones are folded, small numbers stay numbers."""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys

import click
import pytest

from oip.cli import tables
from oip.cli.options import Output

NAMES = ("layer", "maps", "above best image")
NAME = "efficientnet-lite0/block6a_expand_convolution"


@pytest.fixture
def printed(capfd):
    """Prints a table inside of a command and returns its lines."""

    def table(*args, all_rows=False, **more):
        with click.Context(click.Command("c"), obj=None) as context:
            context.meta[tables.ALL_ROWS] = all_rows
            tables.print_table(*args, **more)
        return capfd.readouterr().out.splitlines()

    return table


@pytest.fixture
def terminal(monkeypatch):
    """Makes stdout a terminal of some width and returns what is printed there."""

    def of_width(columns):
        stream = io.StringIO()
        stream.isatty = lambda: True
        monkeypatch.setattr("sys.stdout", stream)
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("TERM", "xterm")
        return stream

    return of_width


def test_a_file_gets_every_name_whole_however_long(printed):
    lines = printed(NAMES, [(NAME * 5, 12, "3 of 12")], left=("layer",))
    assert any(NAME * 5 in line for line in lines)
    assert {"above", "best", "image"} <= set(" ".join(lines).split())


@pytest.mark.parametrize("columns", [120, 50, 30])
def test_a_terminal_gets_whole_words_and_names_without_their_middle(terminal, columns):
    stream = terminal(columns)
    tables.print_table(NAMES, [(NAME, 12, "3 of 12")], left=("layer",))
    text = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
    parts = text.split()
    assert {"layer", "maps", "above", "best", "image", "12", "3", "of"} <= set(parts)
    (name,) = (word for word in parts if word.startswith("effi"))
    assert name == NAME if columns == 120 else ("..." in name and name[-3:] == NAME[-3:])
    if columns == 50:
        assert max(map(len, text.splitlines())) <= columns


@pytest.mark.parametrize(("columns", "gap"), [(60, 3), (50, 3), (44, 2), (36, 1), (30, 1)])
def test_columns_move_together_before_a_terminal_breaks_lines(terminal, columns, gap):
    stream = terminal(columns)
    cells = ("12345678",) * 4
    tables.print_table(("a", "b", "c", "d"), [cells])
    lines = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue()).splitlines()
    (row,) = (line for line in lines if "1" in line)
    assert row.strip() == (" " * gap).join(cells)
    assert max(map(len, lines)) <= max(columns, 37)


def test_long_tables_are_folded_and_say_how_to_see_all(printed):
    rows = [(f"layer{number}", number, "-") for number in range(25)]
    lines = printed(NAMES, rows)
    assert sum("layer" in line for line in lines[2:]) == tables.MOST_ROWS
    assert "and 5 more rows: --all prints them" in "\n".join(lines)
    lines = printed(NAMES, rows, all_rows=True)
    assert sum("layer" in line for line in lines[2:]) == 25
    assert "--all" not in "\n".join(lines)


def test_a_legend_is_printed_once_a_command(capfd):
    with click.Context(click.Command("c")):
        for _ in range(2):
            tables.print_table(NAMES, [(1, 2, 3)], legend={"maps": "channels of its output"})
    assert capfd.readouterr().out.count("maps: channels of its output") == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.000"),
        (-0.0, "0.000"),
        (0.0004, "0.0004"),
        (-3e-7, "-3e-07"),
        (0.0005, "0.001"),
        (1.5, "1.500"),
    ],
)
def test_small_numbers_are_not_zero(value, text):
    assert tables.number(value) == text


def test_next_steps_are_words_that_a_shell_reads(capfd, tmp_path):
    from oip.cli.options import quoted

    path = tmp_path / "a b'c;d"
    Output().next_steps(quoted("oip", "gallery", path), "two")
    first, second = capfd.readouterr().err.splitlines()
    assert shlex.split(first)[1:] == ["oip", "gallery", str(path)]
    assert second.startswith(" ") and second.endswith("two")
    Output(as_json=True).next_steps("x")
    Output(quiet=True).next_steps("x")
    assert capfd.readouterr().err == ""


def completed(instruction, typed, last):
    """What `oip` prints for the completion of a shell."""
    environment = {"_OIP_COMPLETE": instruction, "COMP_WORDS": typed, "COMP_CWORD": last}
    result = subprocess.run(
        [sys.executable, "-c", "from oip.cli.main import main; main()"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return result.stdout


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("oip reco", "reconstruct"),
        ("oip reconstruct --prep", "--preprocess"),
        ("oip rank --at bl", "block"),
    ],
)
def test_every_shell_completes_commands_options_and_values(typed, value):
    *_, last = typed.split()
    position = str(len(typed.split()) - 1)
    assert completed("bash_complete", typed, position) == f"plain,{value}\n"
    assert completed("zsh_complete", typed, position).splitlines()[:2] == ["plain", value]
    assert completed("fish_complete", typed, last).startswith(f"plain,{value}")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_lines_of_the_readme_give_a_shell_its_completion(shell):
    from tests.reference import ROOT

    assert f"_OIP_COMPLETE={shell}_source oip" in (ROOT / "oip/cli/README.md").read_text("utf-8")
    script = completed(f"{shell}_source", "", "")
    assert "_OIP_COMPLETE" in script and f"{shell}_complete" in script


def test_a_legend_of_units_does_not_speak_of_maps():
    from oip.cli.tables import of_units

    legend = {"score": "of the map; the mapping of maps"}
    assert of_units(legend, "token") == {"score": "of the token; the mapping of tokens"}
    assert of_units(legend, "map") == legend


def test_a_table_of_evidence_fits_a_terminal_of_80_columns(terminal):
    """As that of `oip reconstruct`: rows stay in a line, headings break, columns move together."""
    stream = terminal(80)
    headings = ("map", "verdict", "score", "best image", "stability", "above others", "patterns")
    row = (127, "responsive", "1.568", "0.197", "0.45", "97 %", "2 (0, 1)", 120)
    tables.print_table(
        (*headings, "steps", "ended"), [(*row, "step limit reached")] * 3, left=("verdict", "ended")
    )
    lines = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue()).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("step limit reached" in line for line in lines) == 3


def test_texts_go_on_in_the_next_line_and_legends_break_at_spaces(terminal):
    stream = terminal(40)
    rows = [("Conv2D_1", 32, "20 (2), 31 (4), 7 (3), 5 (2)")]
    meaning = "the units whose images fall into clusters of which there are many"
    names = ("layer", "units", "most clusters")
    title = "Conv2D_1: mutual information, at most 3.322 bits, 300 images of mnist-sample:test"
    tables.print_table(names, rows, title, left=names, legend={"most clusters": meaning})
    text = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
    assert max(map(len, text.splitlines())) <= 40
    assert "..." not in text and {"20", "(2),", "5", "many"} <= set(text.split())


def test_headings_break_elsewhere_too_but_texts_do_not(printed):
    names = ("layer", "share of the choices that are right", "with the best of all images", "text")
    lines = printed(names, [("Conv2D_1", "0.9", "0.8", "a text of words")], left=("layer", "text"))
    assert max(map(len, lines)) <= 80 and any("a text of words" in line for line in lines)
