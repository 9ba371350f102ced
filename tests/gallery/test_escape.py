"""Whatever a name says, it stays text."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest

from oip.gallery.escape import (
    csv_table,
    guarded_cell,
    plain_name,
    rounded,
    script,
    shown_bits,
    shown_figure,
    whole_number,
)

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "a\u2028b\u2029c",
    "&lt;",
    'quote " and \\ backslash',
    "‮right to left",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_script_keeps_the_text_and_cannot_be_ended(text):
    made = script("maps", {text: [text, 1.5, None]})
    assert not set("<>&\u2028\u2029") & set(made)
    assert made.startswith('window.OIP.add("maps",') and made.endswith(");\n")
    assert made.count("\n") == 1
    inner = made.removeprefix('window.OIP.add("maps",').removesuffix(");\n")
    assert json.loads(inner) == {text: [text, 1.5, None]}


def test_script_refuses_what_json_cannot_say():
    with pytest.raises(ValueError, match="JSON compliant"):
        script("maps", [math.nan])


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@A1", "\t=1", "\r=1", "\n=1", "  =1"])
def test_text_cells_are_no_formulas(text):
    assert guarded_cell(text) == "'" + text


@pytest.mark.parametrize("cell", [-1.5, 0, None, True, "Conv2D", "a=b", "1-2"])
def test_other_cells_are_as_they_are(cell):
    assert guarded_cell(cell) is cell


def test_table_reads_back():
    text = csv_table(["=name", "value"], [['say "hi", you', -2.5], ["@x", None]])
    rows = list(csv.reader(io.StringIO(text)))
    assert rows == [["'=name", "value"], ['say "hi", you', "-2.5"], ["'@x", ""]]


def test_plain_name_has_no_control_characters_and_can_be_written():
    name = plain_name("a\x00b\x1b[1m\x9fc\ud800ü\u202e")
    assert name == "a�b�[1m�c?ü\u202e"
    name.encode()


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1.23456, 1.235), (None, None), (math.nan, None), (math.inf, None), ("3", None), (True, None)],
)
def test_number(value, expected):
    assert rounded(value) == expected


@pytest.mark.parametrize(("value", "expected"), [(3, 3), (3.0, 3), (3.5, None), (None, None)])
def test_whole(value, expected):
    assert whole_number(value) == expected
    assert expected is None or isinstance(whole_number(value), int)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3.14159, "3.14"), (1.23499, "1.23"), (1234.0, "1230"), (0.0123456, "0.0123"),
        (0.000123, "1.23e-4"), (-2.0, "-2"), (0.0, "0"), (5e7, "5.00e+7"), (None, "–"),
        (float("nan"), "–"),
    ],
)  # fmt: skip
def test_figures_are_written_as_the_page_writes_them(value, text):
    assert shown_figure(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.1249, "0.13"), (0.1244, "0.12"), (0.145, "0.14"), (-0.125, "-0.13"), (-0.004, "0.00")],
)
def test_bits_are_written_as_the_page_writes_thousandths(value, text):
    # The script has 0.125 of 0.1249, and writes 0.13.
    assert shown_bits(value) == text
    assert shown_bits(None) is None
