"""The code of oip/studies/README.md, block by block, with studies that take no time."""

from __future__ import annotations

import re
import shlex
import sys
import types
from pathlib import Path

from oip import studies
from oip.cli.main import run
from oip.studies.findings import Finding

README = Path(__file__).resolve().parents[2] / "oip" / "studies" / "README.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_every_block_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in studies.STUDIES:
        module = types.ModuleType(f"quick_{name}")
        vars(module).update(NAME=name, TITLE=name, SOURCE="A paper", MINUTES=1)
        vars(module).update(
            TAKES=("data", "iterations"),
            run=lambda folder: folder.add(Finding("It says.", "yes")),
        )
        monkeypatch.setitem(sys.modules, f"quick_{name}", module)
        monkeypatch.setitem(studies.STUDIES, name, f"quick_{name}")
    blocks = BLOCK.findall(README.read_text(encoding="utf-8"))
    assert [kind for kind, _ in blocks] == ["sh", "sh"]
    for _, block in blocks:
        for line in block.splitlines():
            program, *arguments = shlex.split(line)
            assert program == "oip"
            assert run([*arguments, "--quiet"]) == 0, line
    assert (tmp_path / "reports" / "index.html").is_file()


def test_pictures_and_studies_are_there():
    text = README.read_text(encoding="utf-8")
    pictures = re.findall(r"!\[.+\]\((.+?)\)", text)
    assert len(pictures) == len(studies.STUDIES)
    assert all((README.parent / picture).resolve().is_file() for picture in pictures)
    assert all(f"`{name}`" in text for name in studies.STUDIES)


def test_verdicts_of_the_papers_are_counted():
    """The row of each study in the table of counts is that of the verdicts in its own table."""
    text = README.read_text(encoding="utf-8")
    names = ["agrees", "partly", "no", "not run", "not tested"]
    for section in text.split("\n### ")[2:]:
        title = section.partition("\n")[0].rpartition(": ")[2].replace(" and ", ", ")
        rows = re.findall(r"^\| .+ \|$", section, re.MULTILINE)
        verdicts = [row.strip("| ").split(" | ")[3] for row in rows[1:]]
        systems = sum(verdict in ("as there", "differs") for verdict in verdicts)
        counts = [*map(verdicts.count, names), systems]
        assert sum(counts) == len(verdicts), title
        assert f"| {title} | {len(verdicts)} | {' | '.join(map(str, counts))} |" in text, title
