"""The tutorial is a notebook without outputs, and every cell of it runs."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from oip.ascent.settings import PRESETS
from oip.gallery import site

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "oip" / "tutorial.ipynb"


@pytest.fixture(scope="module")
def cells():
    return json.loads(NOTEBOOK.read_text("utf-8"))["cells"]


def source(cell):
    return "".join(cell["source"])


def test_it_is_a_notebook_without_outputs(cells):
    notebook = json.loads(NOTEBOOK.read_text("utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert len({cell["id"] for cell in cells}) == len(cells)
    for cell in cells:
        assert cell["cell_type"] in ("markdown", "code") and source(cell).strip()
        if cell["cell_type"] == "code":
            assert (cell["execution_count"], cell["outputs"]) == (None, [])


def test_links_lead_to_files_and_headings(cells):
    for cell in cells:
        for target in re.findall(r"\]\(([^)]+)\)", source(cell)):
            name, _, anchor = target.partition("#")
            path = NOTEBOOK.parent / name
            assert path.is_file()
            headings = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)
            assert not anchor or anchor in [text.lower().replace(" ", "-") for text in headings]


def executed(code, names):
    """Run a cell; return the value of its last line, which a notebook shows, or None."""
    body = ast.parse(code).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    return (
        None if last is None else eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    )


@pytest.mark.filterwarnings("ignore::oip.core.errors.Notice")
def test_every_cell_runs_and_shows_something(cells, tmp_path, monkeypatch, figures_as_they_fall):
    monkeypatch.chdir(tmp_path)
    for preset in PRESETS.values():
        for name, value in {"steps": 4, "screened": 8, "starts": 2}.items():
            monkeypatch.setitem(preset, name, value)
    shown = []
    shell = SimpleNamespace(display_pub=SimpleNamespace(publish=lambda data: shown.append(data)))
    monkeypatch.setattr(site, "kernel_shell", lambda: shell)
    names, pages = {}, []
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        code = source(cell)
        for full, quick in (("epochs=3", "epochs=1"), ("samples=500", "samples=150")):
            code = code.replace(full, quick)
        value = executed(code, names)
        page = getattr(value, "_repr_html_", lambda: None)()
        pages += [page] if page else []
        assert value is None or "\n" not in repr(value) or hasattr(value, "columns")
    assert len(pages) >= 6 and sum("data:image/png" in page for page in pages) >= 5
    (frame,) = shown
    assert frame["text/html"].startswith("<iframe") and "Digits" in frame["text/html"]
    assert names["pruned"].stages and (tmp_path / "tour" / "half.keras").is_file()
    assert np.nanmax(names["legibility"].share) > 0.5
