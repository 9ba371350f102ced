"""The reference says what the code says."""

from __future__ import annotations

import inspect
import re
import shlex

import numpy as np
import pytest

import oip
from oip import batch, gallery, mi, models
from oip.cli.main import COMMANDS
from oip.core.errors import OipError
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


PUBLIC = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in (oip, mi, models, gallery, batch)
    for name in module.__all__
    if inspect.isfunction(getattr(module, name))
}
PUBLIC |= {"oip.Run.open": oip.Run.open, "mi.TrainingRecord.open": mi.TrainingRecord.open}


@pytest.mark.parametrize("name", sorted(PUBLIC.keys() - {"oip.run_demo"}))
def test_what_no_public_function_takes_is_refused_in_one_line(name, small_images, tmp_path):
    images, labels = small_images
    numbers = np.arange(40.0)[:, None] + labels[:, None]
    (tmp_path / "folder").mkdir()
    fitting = dict.fromkeys(("out", "path", "folder"), tmp_path / "new")
    fitting |= dict.fromkeys(("images", "data"), images) | dict.fromkeys(("y", "given"), labels)
    fitting |= dict.fromkeys(("layer", "layers"), "first") | dict.fromkeys(("x", "oips"), numbers)
    fitting |= {"labels": labels, "model": tmp_path / "none.keras", "judge": "pixels"}
    main, *more = (
        parameter.name
        for parameter in inspect.signature(PUBLIC[name]).parameters.values()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    )
    arguments = {argument: fitting.get(argument, 0) for argument in more}
    for value in (None, 2.5, "", [], {}, b"a", object(), tmp_path / "no", tmp_path / "folder"):
        if name == "oip.models.split_source" and value == "":
            continue
        with pytest.raises(OipError) as caught:
            PUBLIC[name](**arguments, **{main: value})
        assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
