import math

import numpy as np
import pytest

from oip.core.checks import (
    check_choice,
    check_drawn,
    check_flag,
    check_number,
    check_path,
    check_whole,
    one_column,
    parse_assignments,
)
from oip.core.errors import SettingsError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("k=5", 5),
        ("k=-3", -3),
        ("k=0.5", 0.5),
        ("k=.5", 0.5),
        ("k=05", 5),
        ("k=1e-3", 1e-3),
        ("k=true", True),
        ("k=False", False),
        ("k=fourier", "fourier"),
        ('k="two words"', "two words"),
        ("k=[1, 2]", [1, 2]),
        ("k=tilt:1", "tilt:1"),
        ("k=a=b", "a=b"),
        (" k = 5 ", 5),
    ],
)
def test_values_are_toml_or_numbers_or_words(text, value):
    result = parse_assignments([text])["k"]
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize("texts", [["k"], ["=3"], ["k="], ["a.b=3"], ["2k=3"], ["k=1", "k=2"]])
def test_other_forms_are_refused_with_the_form(texts):
    with pytest.raises(SettingsError, match="--set: expected NAME=VALUE"):
        parse_assignments(texts, "--set")


def test_tables_may_be_named_and_the_last_value_counts():
    texts = ["a.b=3", "c=1", "c=2"]
    assert parse_assignments(texts, tables=True) == {"a.b": 3, "c": 2}
    with pytest.raises(SettingsError, match=r"TABLE\.NAME"):
        parse_assignments(["a.b.c=3"], tables=True)


def test_what_is_allowed():
    check_number("one: a", 1e-9)
    check_number("one: a", 3)
    check_number("one: a", -5.0, above=-math.inf)
    check_number("one: a", 1.0, maximum=1.0)
    check_whole("one: b", 1)
    check_whole("one: b", 0, minimum=0)
    check_choice("one: c", "up", ("up", "down"))
    check_flag("one: d", False)
    check_number("one: a", np.float32(0.5))
    check_number("one: a", np.int64(5))
    check_number("one: a", 0.0, above=-math.inf)
    assert [type(check_whole("one: b", value)) for value in (np.int64(5), np.uint8(1))] == [int] * 2
    assert check_drawn("one: e", np.int64(9), 10) == 9


@pytest.mark.parametrize(
    ("check", "arguments", "message"),
    [
        (check_number, (0,), "a number above 0; received 0"),
        (check_number, (math.inf,), "received inf"),
        (check_number, (math.nan,), "received nan"),
        (check_number, (None,), "received None"),
        (check_number, (True,), "received True"),
        (check_number, ("3",), "received '3'"),
        (check_number, (2.0, 0.0, 1.0), "above 0 and 1 or less"),
        (check_whole, (0,), "a whole number, 1 or more; received 0"),
        (check_whole, (2.0,), "received 2.0"),
        (check_whole, (True,), "received True"),
        (check_number, (np.bool_(True),), "received True"),
        (check_number, (1e101,), r"from 1e-100 to 1e\+100; received 1e\+101"),
        (check_number, (-1e-101, -math.inf), r"from 1e-100"),
        (check_number, (np.array([1.0, 2.0]),), "a number above 0"),
        (check_whole, (np.array([1, 2]),), "a whole number"),
        (check_whole, (np.bool_(True),), "a whole number"),
        (check_drawn, (10**9, 1000), "at most 134217 for 1000 samples; received 1000000000"),
        (check_choice, (["up"], ("up", "down")), "up or down"),
        (check_choice, (np.array(["up", "down"]), ("up", "down")), "up or down"),
        (check_choice, ("left", ("up", "down")), "up or down; received 'left'"),
        (check_flag, (1,), "True or False; received 1"),
    ],
)
def test_what_is_refused(check, arguments, message):
    with pytest.raises(SettingsError, match=f"^one: a: expected .*{message}"):
        check("one: a", *arguments)


@pytest.mark.parametrize("text", ["[" * 5000, "{a=" * 5000])
def test_deep_values_are_words(text):
    assert parse_assignments([f"x={text}"]) == {"x": text}


def test_a_number_of_many_digits_is_no_number():
    assert parse_assignments([f"x={'9' * 5000}"]) == {"x": float("inf")}


def test_one_column_of_labels():
    assert one_column(np.array([[3], [1]])).tolist() == [3, 1]
    for values in (np.array([3, 1]), np.eye(2), np.zeros((2, 1, 1))):
        assert one_column(values) is values


def test_a_path_is_a_text_or_a_path_and_not_empty(tmp_path):
    assert check_path("out", str(tmp_path)) == check_path("out", tmp_path) == tmp_path
    for value, received in ((None, "None"), ("", "an empty text"), (b"a", "bytes"), ([], "list")):
        with pytest.raises(SettingsError, match=f"out: expected a path; received {received}"):
            check_path("out", value)
    (tmp_path / "loop").symlink_to("loop")
    for value, reason in (
        ("x" * 300, "'x{120}\\.\\.\\.' \\(File name too long"),
        ("a/" * 3000, "too long"),
        (tmp_path / "loop", "Too many levels of symbolic links"),
        (tmp_path / "loop/run", "Too many levels of symbolic links"),
        ("a\0b", "null byte"),
    ):
        with pytest.raises(SettingsError, match=f"out: expected a path; received .*{reason}"):
            check_path("out", value)
    with pytest.raises(SettingsError, match="a path; received the class int"):
        check_path("out", int)
