"""Reading, writing and finding records, whatever they hold."""

from __future__ import annotations

import os
from typing import Annotated, ClassVar

import msgspec
import numpy as np
import pytest

from oip.core import files
from oip.core.errors import RunError
from oip.core.records import (
    ArrayFile,
    JsonFile,
    NamedArraysFile,
    Number,
    Shape,
    check_lengths,
    finished,
)


class Table(JsonFile, frozen=True, kw_only=True):
    CONTENT: ClassVar[str] = "a table"
    KIND: ClassVar[str] = "test"
    SCHEMA: ClassVar[int] = 3
    READS: ClassVar[tuple[int, ...]] = (2, 3)
    OPTIONAL: ClassVar[tuple[str, ...]] = ("note",)
    PRIVATE: ClassVar[tuple[str, ...]] = ("key",)

    key: str
    values: list[Number]
    note: str | None = None

    def __post_init__(self):
        check_lengths(2, {"values": self.values})


class Grid(ArrayFile, frozen=True, kw_only=True):
    CONTENT: ClassVar[str] = "a grid"
    OPTIONAL: ClassVar[tuple[str, ...]] = ("extra",)

    name: str
    labels: tuple[str, ...]
    rows: Annotated[np.ndarray, Shape("iu", "m")]
    values: Annotated[np.ndarray, Shape("f", "m 2 ...")]
    extra: Annotated[np.ndarray | None, Shape("f", "m")] = None


class Parts(NamedArraysFile, frozen=True, kw_only=True):
    CONTENT: ClassVar[str] = "some parts"

    digest: str = msgspec.field(name="_digest")


def _grid(**changes):
    values = {"name": "g", "labels": (), "rows": np.arange(3), "values": np.ones((3, 2, 5, 4))}
    return Grid(**{**values, **changes})


def test_json_comes_back_with_schema_and_kind_first(tmp_path):
    path = tmp_path / "table.json"
    record = Table(key="k", values=[0.5, None])
    record.write(path)
    assert Table.read(path) == record
    plain = {"schema": 3, "kind": "test", "key": "k", "values": [0.5, None]}
    assert list(files.read_json(path).items()) == list(plain.items())
    assert record.public_dict() == {"values": [0.5, None]}
    assert Table(key="k", values=[1.0, 2.0], note="n").to_dict()["note"] == "n"


def test_numbers_that_are_not_finite_are_not_written(tmp_path):
    with pytest.raises(ValueError):
        Table(key="k", values=[float("nan"), 1.0]).write(tmp_path / "table.json")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "a JSON file"),
        ("[]", "something else"),
        ("{}", "something else"),
        ('{"kind": "test", "key": "k", "values": []}', "schema 2 or 3; received none"),
        ('{"kind": "test", "schema": 4}', "schema 2 or 3; received 4"),
        ('{"kind": "test", "schema": true}', "schema 2 or 3"),
        ('{"kind": "test", "schema": 3}', "missing required field `key`"),
        ('{"kind": "test", "schema": 3, "key": "k", "values": ["a", 1]}', r"\$.values\[0\]"),
        ('{"kind": "test", "schema": 3, "key": "k", "values": [1]}', "2 values of 'values'"),
    ],
)
def test_a_foreign_or_damaged_file_is_named_in_one_line(tmp_path, text, reason):
    path = tmp_path / "table.json"
    path.write_text(text)
    with pytest.raises(RunError, match=reason) as caught:
        Table.read(path)
    assert "table.json" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert Table.read_if_whole(path) is None


def test_a_file_that_is_not_there(tmp_path):
    path = tmp_path / "table.json"
    assert Table.read_if_there(path) is None
    with pytest.raises(RunError, match="no such file"):
        Table.read(path)


def test_arrays_come_back(tmp_path):
    path = tmp_path / "grid.npz"
    _grid(labels=("a", "b")).write(path)
    read = Grid.read(path)
    assert (read.name, read.labels, read.extra) == ("g", ("a", "b"), None)
    assert np.array_equal(read.values, np.ones((3, 2, 5, 4)))
    assert Grid.read(path, leave_out=("values",)).values.size == 0
    _grid(extra=np.zeros(3)).write(path)
    assert np.array_equal(Grid.read(path).extra, np.zeros(3))


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("schema", np.array(2), "schema 1; received 2"),
        ("schema", None, "schema 1; received none"),
        ("rows", None, "no 'rows'"),
        ("rows", np.ones(3), r"'rows' \(3,\) of float64 for axes \(m\)"),
        ("rows", np.ones((3, 1), int), "'rows'"),
        ("values", np.ones((4, 2)), r"'values' \(4, 2\)"),
        ("values", np.ones((3, 3)), "'values'"),
        ("extra", np.zeros(2), "'extra'"),
        ("name", np.array(3), "'name' of another form"),
        ("labels", np.array([1, 2]), "'labels' of another form"),
    ],
)
def test_arrays_of_another_form_are_named(tmp_path, name, value, reason):
    path = tmp_path / "grid.npz"
    arrays = _grid().arrays()
    arrays = {**arrays, name: value} if value is not None else arrays
    if value is None:
        del arrays[name]
    files.write_arrays(path, arrays)
    with pytest.raises(RunError, match=reason):
        Grid.read(path)


def test_a_record_is_finished_with_its_key_and_the_files_beside_it(tmp_path):
    path, beside = tmp_path / "table.json", tmp_path / "grid.npz"
    Table(key="b", values=[1.0, None]).write(path)
    assert finished(path, "a", Table) is None
    assert finished(path, "b", Table) == Table.read(path)
    assert finished(path, "b", Table, {beside: Grid}) is None
    _grid().write(beside)
    assert finished(path, "b", Table, {beside: Grid}) is not None
    path.write_text("{")
    assert finished(path, "b", Table) is None


def test_a_folder_or_a_fifo_in_place_of_a_record_is_no_record(tmp_path):
    assert Table.read_if_there(tmp_path / "none.json") is None
    os.mkfifo(tmp_path / "fifo.json")
    for path, kind in ((tmp_path, "a folder"), (tmp_path / "fifo.json", "a FIFO")):
        with pytest.raises(RunError, match=kind):
            Table.read_if_there(path)
        assert Table.read_if_whole(path) is None


def test_arrays_of_any_name_come_back_beside_single_values(tmp_path):
    path = tmp_path / "parts.npz"
    record = Parts(named={"a": np.arange(3), "b c": np.ones((2, 2))}, digest="d")
    record.write(path)
    assert files.array_names(path) == ["_digest", "a", "b c", "schema"]
    read = Parts.read(path)
    assert read.digest == "d" and list(read.named) == ["a", "b c"]
    assert (read.named["b c"] == 1).all()


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"a": np.arange(3)}, "digest"),
        ({"a": np.arange(3), "_digest": np.array(1)}, "Expected `str`"),
        ({"a": np.arange(3), "_digest": np.array("d"), "schema": np.array(2)}, "received 2"),
    ],
)
def test_named_arrays_need_their_single_values(tmp_path, arrays, reason):
    path = tmp_path / "parts.npz"
    files.write_arrays(path, arrays)
    with pytest.raises(RunError, match=reason):
        Parts.read(path)
    files.write_arrays(path, {"_digest": np.array("of an earlier version")})
    assert not Parts.read(path).named
