"""The pictures of the READMEs are of the program as it is."""

from __future__ import annotations

import json

import pytest

from tests.pictures.draw import DRAWN_BY, HERE, MAKERS, ROOT, SOURCES, source_hash

MOST = 1 << 20


@pytest.mark.parametrize("name", DRAWN_BY)
def test_no_picture_is_stale(name):
    command = f"python -m tests.pictures.draw {name}"
    kept = json.loads(SOURCES.read_text("utf-8"))
    assert kept[name] == source_hash(name), f"{command}, or, after a look, with --keep"


def test_every_picture_has_a_source_and_is_shown():
    names = {path.stem for path in HERE.glob("*.webp")}
    assert names == set(DRAWN_BY) >= set(MAKERS)
    pages = [path for path in ROOT.rglob("README.md") if not path.parent.is_symlink()]
    text = "".join(path.read_text("utf-8") for path in pages)
    assert all(f"pictures/{name}.webp" in text for name in names)


def test_all_pictures_together_are_less_than_a_megabyte():
    assert sum(path.stat().st_size for path in HERE.glob("*.webp")) < MOST
