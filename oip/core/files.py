"""Files that are whole or not there: written beside the path, synced, then moved onto it."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import stat
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from oip.core.errors import RunError, SettingsError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

if TYPE_CHECKING:
    from numpy.lib.npyio import NpzFile

    Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | int | float | bool | None"
else:
    Json = object  # msgspec, which resolves it in annotations, takes no recursive alias

UNFINISHED = ".writing-"
"""How the names of files begin that were never finished; a killed process leaves one behind."""
READ_LIMIT = "OIP_READ_LIMIT"
"""Environment variable: the largest content of one file, unpacked, in GiB."""
_READ_LIMIT = "4"
_BLOCK = 1 << 20


class RefusedFile(OSError):
    """A file that is not read: a FIFO, a device, a folder, or more than the limit."""

    def __init__(self, reason: str):
        super().__init__(errno.EINVAL, reason)

    def __str__(self) -> str:
        return str(self.strerror)


class WriteError(RunError):
    """A file that cannot be written: a full disk, a folder that may not be written."""


@contextmanager
def _writing(what: str) -> Iterator[None]:
    """Raise errors of the system as a WriteError that says what cannot be done."""
    try:
        yield
    except (OSError, ValueError) as error:  # of the system, and a NUL byte
        reason = getattr(error, "strerror", None) or error
        raise WriteError(what, "a writable folder", reason) from error


@contextmanager
def replacing(path: Path, suffix: str | None = None) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; a clean exit moves it onto `path`.

    Args:
        path: of the file.
        suffix: ending of the temporary name, for writers that judge by it; that of `path` if None.

    Raises:
        WriteError: the folder cannot be made or written.
    """
    path = Path(path)
    make_folder(path.parent)
    ending = path.suffix if suffix is None else suffix
    with _writing(f"cannot write in '{path.parent}'"):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=UNFINISHED, suffix=ending)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _sync(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise WriteError(f"cannot write '{path}': {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()
    _sync_folder(path.parent)


def make_folder(path: Path) -> Path:
    """Make a folder and its parents; a WriteError says why it cannot."""
    with _writing(f"cannot make the folder '{path}'"):
        path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make a folder and keep it to one process at a time, for reading and then writing in it.

    The lock is advisory, leaves no file behind and ends with its process. Where the system or the
    file system has none, there is none: every write is whole all the same.
    """
    make_folder(folder)
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def check_writable(folder: Path) -> None:
    """Raise a WriteError when files could not be written to `folder`; nothing is left behind.

    A folder that is not there is judged by its nearest parent that is.
    """
    nearest = Path(folder).absolute()
    what = f"cannot write to '{folder}'"
    with _writing(what):
        while not nearest.exists():
            nearest = nearest.parent
        if not nearest.is_dir():
            raise WriteError(what, "a folder", f"a file '{nearest}'")
        with tempfile.TemporaryFile(dir=nearest):
            pass


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` at once."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write `content` to `path` at once, as UTF-8 with plain line ends."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: object) -> None:
    """Write `content` as JSON (finite numbers only) to `path` at once."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def check_content(size: int) -> None:
    """Raise a `RefusedFile` where content of so many bytes is more than the limit."""
    text = os.environ.get(READ_LIMIT, _READ_LIMIT)
    try:
        limit = float(text)
    except ValueError:
        limit = 0.0
    if not 0.0 < limit < 1e9:
        raise SettingsError(READ_LIMIT, "GiB, a number above 0", f"'{text}'")
    if size > limit * 2**30:
        raise RefusedFile(
            f"{size / 2**30:.3g} GiB of content, above the limit of {limit:g} GiB, which the "
            f"environment variable {READ_LIMIT} raises"
        )


def check_regular(path: str | Path) -> int:
    """Return the size of a plain file in bytes, before anything is read or waited for.

    Raises:
        OSError: no such file, or a `RefusedFile`.
    """
    try:
        status = Path(path).stat()
    except ValueError as error:
        raise RefusedFile("a path with a NUL byte") from error
    if not stat.S_ISREG(status.st_mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
        raise RefusedFile(kinds.get(stat.S_IFMT(status.st_mode), "a device"))
    check_content(status.st_size)
    return status.st_size


def read_text(path: str | Path) -> str:
    """Return the text of a plain file in UTF-8, with or without a byte order mark.

    Raises:
        OSError: as `check_regular` raises it.
        UnicodeDecodeError: another encoding.
    """
    check_regular(path)
    return Path(path).read_text(encoding="utf-8-sig")


def read_json(path: Path) -> Any:
    """Read JSON; a RunError says what is wrong with the file."""
    try:
        return json.loads(read_text(path))
    except FileNotFoundError as error:
        raise RunError(f"'{path}'", "a JSON file", "no such file") from error
    except RecursionError as error:
        raise RunError(f"'{path}'", "a JSON file", "one that is nested too deeply") from error
    except (OSError, ValueError) as error:
        raise RunError(f"'{path}'", "a JSON file", error) from error


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as a compressed `.npz` at once; the same arrays give the same bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **dict(arrays))
    write_bytes(path, buffer.getvalue())


def read_arrays(
    path: Path, leave_out: Collection[str] = (), only: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """Read an `.npz`, checksums included; arrays that are not wanted are not touched.

    Args:
        path: of the file.
        leave_out: names of arrays that are not read.
        only: the names that are read, where they are there; all if None.

    Raises:
        RunError: says what is wrong with the file.
    """
    with _archive(path) as archive:
        names = [n for n in archive.files if n not in leave_out and (only is None or n in only)]
        sizes = {e.filename.removesuffix(".npy"): e.file_size for e in archive.zip.infolist()}
        check_content(sum(sizes[name.removesuffix(".npy")] for name in names))
        return {name: archive[name] for name in names}


def array_names(path: Path) -> list[str]:
    """Return the names of the arrays in an `.npz`, sorted; a RunError as for `read_arrays`."""
    with _archive(path) as archive:
        return sorted(archive.files)


def read_array(path: Path, name: str) -> np.ndarray:
    """Read one array of an `.npz`; a RunError says what is wrong with the file."""
    arrays = read_arrays(path, only=(name,))
    if name not in arrays:
        raise RunError(f"'{path}'", f"an array '{name}'", "none")
    return arrays[name]


@contextmanager
def _archive(path: Path) -> Iterator[NpzFile]:
    try:
        check_regular(path)
        with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            yield archive
    except FileNotFoundError as error:
        raise RunError(f"'{path}'", "an .npz file", "no such file") from error
    except SettingsError:  # an odd limit
        raise
    except Exception as error:  # damaged in any of many ways: zlib.error, struct.error, ...
        raise RunError(f"'{path}'", "a whole .npz file", error) from error


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync(path: Path) -> None:
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def _sync_folder(path: Path) -> None:
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
