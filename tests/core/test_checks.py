import pytest

from oip.core.checks import parse_assignments
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
