"""What an old gallery holds already is taken over."""

from __future__ import annotations

import os

import pytest

from oip.gallery.cache import PictureKeys, Store


@pytest.fixture
def old(tmp_path):
    folder = tmp_path / "old"
    (folder / "data").mkdir(parents=True)
    (folder / "data/same.js").write_text("same")
    (folder / "data/other.js").write_text("othex")
    return folder


def test_equal_files_are_linked_and_others_written(tmp_path, old):
    store = Store(tmp_path / "new", old)
    store.write("data/same.js", "same")
    store.write("data/other.js", b"other")
    store.write("new.js", "new")
    assert store.written == ["data/other.js", "new.js"] and store.unchanged == 1
    assert (tmp_path / "new/data/same.js").samefile(old / "data/same.js")
    assert (tmp_path / "new/data/other.js").read_text() == "other"
    assert (old / "data/other.js").read_text() == "othex"


def test_a_file_that_was_taken_over_can_still_be_replaced(tmp_path, old):
    store = Store(tmp_path / "new", old)
    assert store.has("data/same.js") and not store.has("data/none.js")
    store.keep("data/same.js")
    store.write("data/same.js", "fresh")
    assert (old / "data/same.js").read_text() == "same"
    assert (tmp_path / "new/data/same.js").read_text() == "fresh"


def test_without_links_files_are_copied(tmp_path, old, monkeypatch):
    def refused(*_):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refused)
    store = Store(tmp_path / "new", old)
    assert store.keep("data/same.js") is True
    assert (tmp_path / "new/data/same.js").read_text() == "same"


def test_what_is_not_there_or_a_link_elsewhere_is_not_kept(tmp_path, old):
    outside = tmp_path / "outside.js"
    outside.write_text("same")
    (old / "data/linked.js").symlink_to(outside)
    store = Store(tmp_path / "new", old)
    assert store.keep("data/none.js") is False
    assert store.keep("data/linked.js") is False
    assert Store(tmp_path / "x", None).keep("data/same.js") is False


def test_keys_are_remembered_and_depend_on_what_is_common(tmp_path):
    store = Store(tmp_path / "old", None)
    first = PictureKeys(None, [28, 28])
    assert first.note("sheet-000", first.key("a")) is False
    first.write(store)
    keys = PictureKeys(tmp_path / "old", [28, 28])
    assert keys.note("sheet-000", keys.key("a")) is True
    assert keys.note("sheet-000", keys.key("b")) is False
    assert keys.note("sheet-001", keys.key("a")) is False
    larger = PictureKeys(tmp_path / "old", [56, 56])
    assert larger.note("sheet-000", larger.key("a")) is False


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 2, "drawn": {"a": "b"}}', '{"schema": 1}'])
def test_a_damaged_note_means_that_nothing_is_known(tmp_path, text):
    (tmp_path / "drawn.json").write_text(text)
    assert PictureKeys(tmp_path, []).note("a", "b") is False
