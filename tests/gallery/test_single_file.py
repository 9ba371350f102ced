"""The gallery as one file."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re

import numpy as np
import pytest

from oip import gallery
from oip.core import files
from oip.core.errors import RunError, SettingsError
from oip.gallery.single_file import app_script, app_style, is_single_page
from oip.run.check import verify_run


@pytest.fixture
def page(full_run):
    return gallery.build(full_run, single_file=True).read_text("utf-8")


def _hash(text):
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_one_file_and_nothing_else(full_run):
    before = set(full_run.path.iterdir())
    made = gallery.build(full_run, single_file=True)
    assert set(full_run.path.iterdir()) - before == {made}
    assert gallery.build(full_run, single_file=True) == made, "replaced"


def test_policy_allows_just_this_script_and_this_style(page):
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    policy = re.search(r'Security-Policy" content="([^"]+)"', page)[1].replace("&#39;", "'")
    assert f"script-src '{_hash(script)}';" in policy
    assert f"style-src '{_hash(style)}';" in policy
    assert "default-src 'none'" in policy and "unsafe" not in policy and "self" not in policy


def test_script_and_style_cannot_end_their_elements():
    assert "</" not in app_script() and "<!--" not in app_script() and "<script" not in app_script()
    assert "<" not in app_style()


def test_nothing_leads_to_another_file(page):
    for link in re.findall(r'\s(?:href|src)="([^"]*)"', page):
        assert link.startswith(("#", "data:")), link


def test_images_of_every_map_are_in_it(page, full_run):
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    for name in ("img/sheet-000.webp", "img/full/001/0037.webp", "img/evolution/000/0001.webp"):
        assert f'"{name}":"data:image/webp;base64,' in script


def test_too_many_maps_are_refused_and_nothing_is_written(maker, tmp_path):
    run = maker(tmp_path / "run", counts=(12, 300), grown=())
    with pytest.raises(SettingsError, match="300 maps"):
        gallery.build(run, single_file=True)
    assert not [path for path in run.path.iterdir() if "gallery" in path.name]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_something_else_is_not_replaced(run, kind):
    target = run.path / "gallery.html"
    if kind == "file":
        target.write_text("<p>mine")
    else:
        target.mkdir()
    with pytest.raises(RunError, match=r"gallery\.html"):
        gallery.build(run, single_file=True)
    assert target.is_dir() or target.read_text() == "<p>mine"


def test_data_images_only_when_given(run):
    images = np.random.default_rng(0).integers(0, 256, (30, 12, 12, 1)).astype(np.uint8)
    assert "img/data/" not in gallery.build(run, single_file=True).read_text("utf-8").replace(
        app_script(), ""
    )
    made = gallery.build(run, data_images=images, single_file=True)
    assert '"img/data/00' in made.read_text("utf-8")


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


def test_a_damaged_file_is_named_and_made_again(run):
    path = gallery.build(run, single_file=True)
    whole = path.read_bytes()
    assert not _problem(run)
    head = whole.index(b"checksum")
    sizes = (0, 9, 70, head - 20, head, 3000, len(whole) // 2, len(whole) - 90, len(whole) - 1)
    harms = [whole[:size] for size in sizes]
    for place in (0, 70, head, head + 30, 3000, len(whole) // 2, len(whole) - 50, len(whole) - 2):
        changed = bytearray(whole)
        changed[place] ^= 4
        harms.append(bytes(changed))
    for harm in harms:
        path.write_bytes(harm)
        assert _problem(run), harm[-99:]
        assert is_single_page(path)
    gallery.build(run, single_file=True)
    assert path.read_bytes() == whole


def test_a_file_of_an_earlier_version_has_no_checksum_and_no_problem(run):
    path = gallery.build(run, single_file=True)
    page = path.read_text("utf-8").replace(files.PAGE_MARK, "").rpartition("\n<!--")[0]
    path.write_text(page, "utf-8")
    assert not _problem(run) and is_single_page(path)


def _problem(run):
    return {each.file: each.problem for each in verify_run(run)}["gallery.html"]
