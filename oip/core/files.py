"""Files that are whole or missing: written beside the path, synced, then moved onto it.

Each JSON file and each `.npz` ends in a SHA-256 of all that stands before it: the field `checksum`,
or the comment of the archive. Readers compare it; files of earlier versions have none.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import stat
import tempfile
import time
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from oip.core.errors import LOG, RunError, SettingsError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

HAS_LOCKS = fcntl is not None
"""Whether `locked` and `claimed` keep anything to one process."""

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
_DAY = 86400
_CHECKSUM = "checksum"
_PREFIX = "sha256:"
_JSON_ENDING = re.compile(rb',\s+"[^"\n]+": "(sha256:[0-9a-f]{64})"\s*\}\s*\Z')
PAGE_MARK = '<meta name="checksum" content="last line">'
"""In the head of an HTML page that ends in its checksum."""
PAGE_HEAD = 4096
"""Bytes of a page in which its marks stand."""
_ARCHIVE_HEADS = (b"PK\x03\x04", b"PK\x05\x06")
_ARRAY_HEAD = b"\x93NUM"
_ARCHIVE_ENDING = re.compile(rb"sha256:[0-9a-f]{64}\Z")
_ENDING = 4096
"""Bytes at the end of a file in which its checksum stands."""
_PAGE_ENDING = re.compile(rb"\n<!-- (sha256:[0-9a-f]{64}) -->\n\Z")
_LENGTH = 2
"""Bytes of the field of an archive that holds the length of its comment."""
_CHANGED = "another content than its checksum is of"
_HINT = "It is damaged, or was changed by hand: then remove its line 'checksum'."


class RefusedFile(OSError):
    """A file that is not read: a FIFO, a device, a folder, or more than the limit."""

    def __init__(self, reason: str):
        super().__init__(errno.EINVAL, reason)

    def __str__(self) -> str:
        return str(self.strerror)


class DamagedFile(RunError):
    """A file that is missing, cannot be read, or does not match its checksum."""


class WriteError(RunError):
    """A file that cannot be written: a full disk, a folder that may not be written."""


@contextmanager
def _writing(subject: str) -> Iterator[None]:
    """Raise errors of the system as a WriteError that says what cannot be done."""
    try:
        yield
    except (OSError, ValueError) as error:  # of the system, and a NUL byte
        reason = getattr(error, "strerror", None) or error
        raise WriteError(subject, "a writable folder", reason) from error


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
    check_replaceable(path)
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
        LOG.debug("wrote %s", path)
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


@contextmanager
def claimed(path: Path, wait: bool) -> Iterator[bool]:
    """Keep some work to one process at a time; yield whether it is this one.

    The lock is as that of `locked`, on a file `path` of its own, which is removed at the end.

    Args:
        path: of the file; several processes agree on it.
        wait: for another process to end its work; it may be done then.
    """
    make_folder(path.parent)
    if fcntl is None:
        yield True
        return
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                if not _is_file_at(handle, path):  # removed by the process that was waited for
                    continue
            except BlockingIOError:
                yield False
                return
            except OSError:
                pass  # a file system without locks
            try:
                yield True
            finally:
                path.unlink(missing_ok=True)
            return
        finally:
            os.close(handle)


def _is_file_at(handle: int, path: Path) -> bool:
    """Return whether an open file is still the one at a path."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(status, os.fstat(handle))


def is_locked(folder: Path) -> bool:
    """Return whether a living process keeps a folder by `locked`.

    Where that cannot be known, a folder of the last day counts as locked.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return False
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
    except BlockingIOError:
        return True
    except OSError:
        pass
    finally:
        os.close(handle)
    return time.time() - folder.stat().st_mtime < _DAY


def is_plain_path(name: str) -> bool:
    """Return whether a path that a file names stays in the folder that it is taken from."""
    return "\0" not in name and not {"", ".", ".."} & set(name.split("/"))


def check_writable(folder: Path) -> None:
    """Raise a WriteError when files could not be written to `folder`; nothing is left behind.

    For a folder that does not exist, the nearest parent that exists is checked.
    """
    nearest = Path(folder).absolute()
    subject = f"cannot write to '{folder}'"
    with _writing(subject):
        while not nearest.exists():
            if nearest.is_symlink():
                raise WriteError(subject, "a folder", f"a link '{nearest}' that leads nowhere")
            nearest = nearest.parent
        if not nearest.is_dir():
            raise WriteError(subject, "a folder", f"a file '{nearest}'")
        with tempfile.TemporaryFile(dir=nearest):
            pass


def check_replaceable(path: Path) -> None:
    """Raise a WriteError where a file cannot be written because something else has its name."""
    with _writing(f"cannot write '{path}'"):
        is_other = not path.is_file() and path.exists()
    if is_other:
        kind = "a folder" if path.is_dir() else "a FIFO or a device"
        raise WriteError(f"cannot write '{path}'", "a file", kind)


def name_part(name: str) -> str:
    """Return a name as a part of file names: at most 40 ASCII letters, digits, - and _.

    Different names may give the same part; the numbers beside it tell files apart.
    """
    return re.sub(r"[^A-Za-z0-9_]+", "-", name)[:40].strip("-") or "layer"


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` at once."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write `content` to `path` at once, as UTF-8 with plain line ends."""
    write_bytes(path, content.encode("utf-8", "backslashreplace"))


def write_json(path: Path, content: object) -> None:
    """Write `content` as JSON (finite numbers only), with its checksum, to `path` at once."""
    write_text(path, json_text(content))


def json_text(content: object, indent: int | None = 1) -> str:
    """Return `content` as JSON with finite numbers only; a mapping ends in its `checksum`.

    Without an indent it is one line.
    """
    text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
    text = text.encode("utf-8", "backslashreplace").decode()  # file names may be of other bytes
    if not isinstance(content, Mapping) or not content:
        return text + "\n"
    before, after = (" ", "") if indent is None else ("\n" + " " * indent, "\n")
    head = text.removesuffix(after + "}")
    return f'{head},{before}"{_CHECKSUM}": "{_digest(head.encode())}"{after}}}\n'


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
    """Read JSON and compare its checksum, which is left out of what is returned.

    A RunError says what is wrong with the file.
    """
    with reading(path, "a JSON file"):
        check_regular(path)
        content = Path(path).read_bytes()
    return parse_json(content, path)


def parse_json(content: bytes, path: Path) -> Any:
    """Read JSON that was read from a path, as `read_json` does it."""
    with reading(path, "a JSON file"):
        values = json.loads(content.decode("utf-8-sig"), parse_constant=_refuse_constant)
    ending = _JSON_ENDING.search(content)
    checksum = values.pop(_CHECKSUM, None) if isinstance(values, dict) else None
    if (ending or checksum is not None) and not (
        ending and checksum == ending[1].decode() == _digest(content[: ending.start()])
    ):
        raise DamagedFile.of_file(path, "a file as oip wrote it", _CHANGED, _HINT)
    return values


def has_checksum(path: Path) -> bool:
    """Return whether a JSON file or an `.npz` ends in a checksum, right or wrong.

    Files of earlier versions do not.
    """
    try:
        check_regular(path)
        with Path(path).open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - _ENDING))
            ending = stream.read()
    except OSError:
        return False
    pattern = _ARCHIVE_ENDING if Path(path).suffix == ".npz" else _JSON_ENDING
    return pattern.search(ending) is not None


def page_with_checksum(text: str) -> str:
    """Return an HTML page, which holds `PAGE_MARK`, with its checksum as its last line."""
    return f"{text}\n<!-- {_digest(text.encode())} -->\n"


def check_page(path: Path) -> bool:
    """Compare an HTML page with its checksum; return False for one of earlier versions without it.

    Raises:
        DamagedFile: it is another one, or the page has no end.
    """
    with reading(path, "a whole page"):
        check_regular(path)
        content = Path(path).read_bytes()
        ending = _PAGE_ENDING.search(content)
        is_marked = ending is not None or PAGE_MARK.encode() in content[:PAGE_HEAD]
        if not is_marked and content.rstrip().endswith(b"</html>"):
            return False
        if ending is None or ending[1].decode() != _digest(content[: ending.start()]):
            raise ValueError(_CHANGED)
        return True


def ends_in_checksum(path: Path) -> bool:
    """Return whether the last line of an HTML page is a checksum, right or wrong."""
    return _PAGE_ENDING.search(Path(path).read_bytes()) is not None


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], compressed: bool = True) -> None:
    """Write arrays as an `.npz` with its checksum at once; the same arrays give the same bytes."""
    buffer = io.BytesIO()
    save = np.savez_compressed if compressed else np.savez
    save(buffer, allow_pickle=False, **dict(arrays))
    content = buffer.getvalue()
    comment = _digest(content).encode()
    length = len(comment).to_bytes(_LENGTH, "little")  # the last field of an archive without one
    write_bytes(path, content[:-_LENGTH] + length + comment)


def read_arrays(
    path: Path, leave_out: Collection[str] = (), only: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """Read an `.npz`; arrays that are not wanted are not touched.

    A whole file is compared with its checksum; each of some arrays is checked by the CRC-32 that
    the archive has of it.

    Args:
        path: of the file.
        leave_out: names of arrays that are not read.
        only: the names that are read, where they are there; all if None.

    Raises:
        RunError: says what is wrong with the file.
    """
    if not leave_out and only is None:
        _check_archive(path)
    with _archive(path) as archive:
        names = [n for n in archive.files if n not in leave_out and (only is None or n in only)]
        entries = [] if archive.zip is None else archive.zip.infolist()
        sizes = {entry.filename.removesuffix(".npy"): entry.file_size for entry in entries}
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
        raise RunError.of_file(path, f"an array '{name}'", "none")
    return arrays[name]


@contextmanager
def _archive(path: Path) -> Iterator[NpzFile]:
    with reading(path, "a whole .npz file"):
        check_regular(path)
        with Path(path).open("rb") as stream:
            head = stream.read(len(_ARRAY_HEAD))
            if not head.startswith(_ARCHIVE_HEADS):  # NumPy would take it for a pickle
                raise ValueError(
                    "one array, as numpy.save writes it"
                    if head == _ARRAY_HEAD
                    else "a file of another kind"
                    if head
                    else "an empty file"
                )
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as archive:
                yield archive


def _check_archive(path: Path) -> None:
    """Raise a RunError where the comment of an archive is another checksum than its own."""
    with reading(path, "a whole .npz file"):
        check_regular(path)
        with Path(path).open("rb") as stream, zipfile.ZipFile(stream) as archive:
            comment = archive.comment
            size = stream.seek(0, os.SEEK_END) - len(comment) - _LENGTH
            stream.seek(size)
            if int.from_bytes(stream.read(_LENGTH), "little") != len(comment):
                raise ValueError(_CHANGED)
            if len(comment) != len(_digest(b"")):
                return  # of an earlier version, or of another program
            stream.seek(0)
            digest = hashlib.sha256()
            for block in iter(lambda: stream.read(min(_BLOCK, size - stream.tell())), b""):
                digest.update(block)
            digest.update(bytes(_LENGTH))
            if comment.decode() != _PREFIX + digest.hexdigest():
                raise ValueError(_CHANGED)


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Raise whatever goes wrong with a file as a DamagedFile that says what was expected."""
    try:
        yield
    except SettingsError:  # an odd limit
        raise
    except Exception as error:  # damaged in any of many ways: zlib.error, struct.error, ...
        reason: object = error
        if isinstance(error, FileNotFoundError):
            reason = "no such file"
        elif isinstance(error, RecursionError):
            reason = "one that is nested too deeply"
        elif isinstance(error, OSError):
            reason = error.strerror or error
        raise DamagedFile.of_file(path, kind, reason) from error


def _digest(content: bytes) -> str:
    return _PREFIX + hashlib.sha256(content).hexdigest()


def _refuse_constant(name: str) -> None:
    raise ValueError(f"no JSON number: {name}")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a plain file, in hexadecimal; an OSError as for `check_regular`."""
    check_regular(path)
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
