"""What every estimator's docstring tells: formula, unit, when and when not, source, example."""

import doctest
import inspect
import re

import pytest

from oip import mi
from oip.mi.estimators.base import NAMES, estimator_class

SECTIONS = ("Units:", "References:", "Example:")


@pytest.mark.parametrize("name", NAMES)
def test_docstrings_tell_what_one_has_to_know(name):
    text = inspect.getdoc(estimator_class(name))
    for section in SECTIONS:
        assert f"\n{section}\n" in text
    plain, _, _ = text.partition("\nUnits:\n")
    assert re.search(r"\S (=|>=|<=|~) \S.*[-+/<(]", plain), "no formula"
    assert re.search(r"\b([Uu]se it|[Gg]ood for) \w", plain), "no use"
    assert re.search(r"\b(Not|not) (for|where|as|above|across|to|nor)\b", plain), "no limit of use"
    assert re.search(r"\((19|20)\d\d\)|\b(19|20)\d\d\b", text.partition("References:")[2])
    assert f'"{name}"' in text.partition("Example:")[2]


@pytest.mark.parametrize("name", NAMES)
def test_examples_run(name):
    examples = doctest.DocTestFinder(recurse=False).find(estimator_class(name), name, globs={})
    assert examples[0].examples
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(examples[0])
    assert not runner.failures


def test_the_way_to_an_estimator_is_told():
    for function in (mi.estimator, mi.negentropy, mi.input_information, mi.entropy):
        text = inspect.getdoc(function)
        for section in ("Args:", "Returns:", "Raises:", "Example:"):
            assert f"\n{section}\n" in text
