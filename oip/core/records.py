"""Files as records: a msgspec struct for each kind of file, with its reader and its writer.

The kinds are in `oip.core.formats`. A file that is damaged, or of something else, gives a
`RunError` of one line.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self, TypeVar, get_type_hints

import msgspec
import numpy as np

from oip.core import files
from oip.core.errors import RunError, notice
from oip.core.files import Json

Number = float | None
"""None where it is not known."""
Parameters = dict[str, Json]
"""Settings by name, as plain values."""
_HINT = "Make it again with this version of oip, or remove it."

Record = TypeVar("Record", bound="FileRecord")


class ForeignFile(RunError):
    """A JSON file of something else, by its field `kind`."""


class FileRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The content of one file."""

    CONTENT: ClassVar[str] = "a file of oip"
    """Its name in messages."""
    SCHEMA: ClassVar[int] = 1
    """The number that is written; it rises with a new field."""
    READS: ClassVar[tuple[int, ...]] = (1,)
    """The numbers that can be read; 0 is a file without one."""
    OPTIONAL: ClassVar[tuple[str, ...]] = ()
    """Fields that the file does not hold where they are None."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file.

        Raises:
            RunError: it is missing, damaged, of another schema or of something else.
        """
        raise NotImplementedError

    @classmethod
    def read_if_there(cls, path: Path) -> Self | None:
        """Read a file, None where there is none; a RunError otherwise as for `read`."""
        return cls.read(path) if path.exists() else None

    @classmethod
    def read_if_whole(cls, path: Path) -> Self | None:
        """Read a file, None where there is none or it cannot be read."""
        try:
            return cls.read(path)
        except RunError:
            return None

    def write(self, path: Path) -> None:
        """Write the file at once; a WriteError says why it cannot be written."""
        raise NotImplementedError

    @classmethod
    def _odd(cls, path: Path, received: object) -> RunError:
        return RunError.of_file(path, f"{cls.CONTENT} as oip writes it", received, _HINT)

    @classmethod
    def _check_schema(cls, path: Path, schema: object) -> None:
        if isinstance(schema, bool) or schema not in cls.READS:
            numbers = " or ".join(str(version) for version in cls.READS if version)
            received = "none" if schema in (0, None) else schema
            raise RunError.of_file(path, f"{cls.CONTENT} of schema {numbers}", received, _HINT)


class JsonFile(FileRecord, frozen=True, kw_only=True):
    """The content of a JSON file."""

    KIND: ClassVar[str | None] = None
    """Its field `kind`, of files that may lie beside files of other programs."""
    PRIVATE: ClassVar[tuple[str, ...]] = ()
    """Fields that no command prints."""
    COPIED: ClassVar[bool] = False
    """A second file beside it holds the same, for the case that one of them is damaged."""

    @classmethod
    def read(cls, path: Path) -> Self:
        values = files.read_json(path)
        if cls.KIND is not None and (
            not isinstance(values, dict) or values.get("kind") != cls.KIND
        ):
            raise ForeignFile(str(cls._odd(path, "a file of something else")))
        if not isinstance(values, dict):
            raise cls._odd(path, f"a {type(values).__name__}")
        cls._check_schema(path, values.get("schema", 0))
        try:
            return cls.of(values)
        except msgspec.ValidationError as error:
            raise cls._odd(path, f"another form ({error})") from error

    @classmethod
    def of(cls, values: dict[str, Json]) -> Self:
        """Return the record of plain values; a `msgspec.ValidationError` says what is wrong."""
        return msgspec.convert(values, cls)

    @classmethod
    def read_either(cls, path: Path) -> Self:
        """Read a file that is copied; its copy, with a notice, where it is damaged or missing.

        Raises:
            RunError: neither is whole, or the file is of something else.
        """
        try:
            return cls.read(path)
        except files.DamagedFile as error:
            copy = cls.read_if_whole(copy_of(path))
            if copy is None and path.exists():
                name = copy_of(path).name
                hint = f"'{name}' beside it cannot be read either: make it again in another folder."
                raise files.DamagedFile(f"{error} {hint}") from error
            if copy is None:
                raise
            notice(f"{error} '{copy_of(path).name}' beside it is used.")
            return copy

    def is_at(self, path: Path) -> bool:
        """Return whether a file, and its copy if it has one, are whole and hold this record."""
        paths = [path, copy_of(path)] if self.COPIED else [path]
        return all(self.read_if_whole(file) == self for file in paths)

    def write(self, path: Path) -> None:
        files.write_json(path, self.content())
        if self.COPIED:
            files.write_json(copy_of(path), self.content())

    def content(self) -> dict[str, Any]:
        """Return plain values, as the file holds them."""
        head = {"schema": self.SCHEMA} | ({"kind": self.KIND} if self.KIND else {})
        return head | self.to_dict()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as the file holds them after its schema."""
        values = msgspec.to_builtins(self)
        return {
            name: value
            for name, value in values.items()
            if value is not None or name not in self.OPTIONAL
        }

    def public_dict(self) -> dict[str, Any]:
        """Return plain values, as commands print them."""
        return {name: value for name, value in self.to_dict().items() if name not in self.PRIVATE}


def copy_of(path: Path) -> Path:
    """Return the path of a file's copy: `run.copy.json` of `run.json`."""
    return path.with_suffix(f".copy{path.suffix}")


def is_there(path: Path) -> bool:
    """Return whether a copied file or its copy exists."""
    return path.is_file() or copy_of(path).is_file()


class Shape(NamedTuple):
    """The form of an array: kinds of its numbers, as in `numpy.dtype.kind`, and its axes.

    A letter stands for one size in all arrays of a file, a number for itself, `...` at the end for
    any further axes.
    """

    kinds: str
    axes: str


class ArrayFile(FileRecord, frozen=True, kw_only=True):
    """The content of an `.npz` file; its arrays are checked against their shapes when read."""

    @classmethod
    def read(cls, path: Path, leave_out: Collection[str] = ()) -> Self:
        """Read a file; arrays that are left out are not checked, and empty in the record."""
        arrays = files.read_arrays(path, leave_out)
        cls._check_schema(path, arrays.get("schema", np.array(0)).tolist())
        values: dict[str, object] = {name: np.zeros(0, np.float32) for name in leave_out}
        sizes: dict[str, int] = {}
        for name, kind in _kinds_of_fields(cls).items():
            if name in values or (name not in arrays and name in cls.OPTIONAL):
                continue
            if name not in arrays:
                raise cls._odd(path, f"no '{name}'")
            array = arrays[name]
            if isinstance(kind, Shape):
                if not _fits(array, kind, sizes):
                    received = f"'{name}' {array.shape} of {array.dtype} for axes ({kind.axes})"
                    raise cls._odd(path, received)
                values[name] = array
                continue
            try:
                values[name] = msgspec.convert(array.tolist(), kind)
            except msgspec.ValidationError as error:
                raise cls._odd(path, f"'{name}' of another form ({error})") from error
        try:
            return cls(**values)
        except ValueError as error:
            raise cls._odd(path, f"another form ({error})") from error

    def write(self, path: Path) -> None:
        files.write_arrays(path, self.arrays())

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays as the file holds them."""
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        values = {name: np.array(value) for name, value in values.items() if value is not None}
        return {"schema": np.array(self.SCHEMA), **values}


class NamedArraysFile(ArrayFile, frozen=True, kw_only=True):
    """The content of an `.npz` file whose arrays have names that differ from file to file.

    Other fields of a kind are single values beside them.
    """

    READS: ClassVar[tuple[int, ...]] = (0, 1)

    named: dict[str, np.ndarray]
    """Arrays by name."""

    @classmethod
    def read(cls, path: Path, leave_out: Collection[str] = ()) -> Self:
        arrays = files.read_arrays(path, leave_out)
        cls._check_schema(path, arrays.pop("schema", np.array(0)).tolist())
        kinds = _kinds_of_fields(cls)
        values = {field: arrays.pop(name) for field, name in cls._single_names() if name in arrays}
        try:
            values = {
                field: msgspec.convert(value.tolist(), kinds[field])
                for field, value in values.items()
            }
            return cls(named=arrays, **values)
        except (TypeError, msgspec.ValidationError) as error:
            raise cls._odd(path, f"another form ({error})") from error

    def arrays(self) -> dict[str, np.ndarray]:
        values = {name: np.array(getattr(self, field)) for field, name in self._single_names()}
        return {"schema": np.array(self.SCHEMA), **self.named, **values}

    @classmethod
    def _single_names(cls) -> list[tuple[str, str]]:
        """Return fields and the names of their arrays in the file, but for the named ones."""
        names = zip(cls.__struct_fields__, cls.__struct_encode_fields__, strict=True)
        return [(field, name) for field, name in names if field != "named"]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A table inside a JSON file, or a result that a command prints as JSON."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as files hold them and commands print them."""
        return msgspec.to_builtins(self)


class PartialPart(Part, frozen=True, kw_only=True, omit_defaults=True):
    """A table without its fields that are at their defaults."""


def check_lengths(count: int, lists: Mapping[str, Sequence[object]]) -> None:
    """Raise a ValueError unless all lists of a record have a length."""
    for name, values in lists.items():
        if len(values) != count:
            raise ValueError(f"expected {count} values of '{name}', received {len(values)}")


def check_rows(name: str, *tables: Sequence[Sequence[object]]) -> None:
    """Raise a ValueError unless all rows of some tables have one length."""
    lengths = sorted({len(row) for table in tables for row in table})
    if len(lengths) > 1:
        raise ValueError(f"expected rows of one length of {name}, received {lengths}")


@cache
def _kinds_of_fields(record: type[ArrayFile]) -> dict[str, object]:
    """Return a `Shape` for each array, a type for each single value."""
    hints = get_type_hints(record, include_extras=True)
    return {
        name: getattr(hints[name], "__metadata__", [hints[name]])[0]
        for name in record.__struct_fields__
    }


def _fits(array: np.ndarray, shape: Shape, sizes: dict[str, int]) -> bool:
    axes = shape.axes.split()
    if axes and axes[-1] == "...":
        axes = [*axes[:-1], *(str(size) for size in array.shape[len(axes) - 1 :])]
    return (
        array.dtype.kind in shape.kinds
        and len(axes) == array.ndim
        and all(
            size == (int(axis) if axis.isdecimal() else sizes.setdefault(axis, size))
            for axis, size in zip(axes, array.shape, strict=True)
        )
    )


def finished(
    path: Path, key: str, kind: type[Record], beside: Mapping[Path, type[FileRecord]] | None = None
) -> Record | None:
    """Return the record at a path if it is whole and was made with this key, else None.

    Args:
        path: of the file.
        key: of all that the content depends on; compared with the record's field `key`.
        kind: of the record.
        beside: other files that have to be whole, too, and their kinds.
    """
    record = kind.read_if_whole(path)
    if record is None or getattr(record, "key", None) != key:
        return None
    are_whole = (
        other_kind.read_if_whole(name) is not None for name, other_kind in (beside or {}).items()
    )
    return record if all(are_whole) else None
