"""The script makes elements; it never parses text as markup or code."""

from __future__ import annotations

import gzip
import re

import pytest

from oip.gallery.single_file import app_script, app_style

BANNED = (
    "innerHTML",
    "outerHTML",
    "insertAdjacentHTML",
    "document.write",
    "eval(",
    "new Function",
    'setTimeout("',
    "srcdoc",
    "createContextualFragment",
    "DOMParser",
    "fetch(",
    "XMLHttpRequest",
    "import(",
)


@pytest.mark.parametrize("word", BANNED)
def test_script_does_not_say(word):
    assert word not in app_script()


def test_nothing_is_loaded_from_elsewhere():
    for text in (app_script(), app_style()):
        assert re.findall(r"(?:https?:)?//[\w.]+\.\w+", text) in ([], ["http://www.w3.org"])
    assert "@import" not in app_style() and "url(" not in app_style()


def test_script_is_one_classic_function():
    text = app_script()
    assert text.startswith('(function () {\n"use strict";') and text.endswith("})();\n")
    assert not re.search(r"^\s*(import|export) ", text, re.MULTILINE)


def test_script_and_style_are_small():
    assert len(gzip.compress((app_script() + app_style()).encode())) <= 60 * 1024
