"""The reference says what the code says."""

from __future__ import annotations

import re
import shlex

import pytest

from oip.cli.main import COMMANDS
from tests.reference import PAGES, ROOT, command_of, examples_of, python_page


@pytest.mark.parametrize("name", PAGES)
def test_the_reference_is_current(name):
    assert (ROOT / name).read_text("utf-8") == PAGES[name](), "run python -m tests.reference"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_of_help_are_calls_that_the_command_takes(name):
    lines = examples_of(name)
    assert lines
    for line in lines:
        program, called, *arguments = shlex.split(line.partition(" > ")[0])
        assert (program, called) == ("oip", name)
        command_of(name)[0].make_context(name, arguments)


def test_every_public_name_has_a_summary_and_links_lead_to_headings():
    page = python_page()
    assert not re.findall(r"\| \[`\w+`\]\(#\w+\) \|\s*\|", page)
    headings = [
        line[4:].lower().replace(".", "") for line in page.splitlines() if line[:4] == "### "
    ]
    addresses = [f"{text}-1" if text in headings[:k] else text for k, text in enumerate(headings)]
    targets = re.findall(r"\]\(#([\w-]+)\)", page)
    assert len(targets) > 80 and targets == addresses
