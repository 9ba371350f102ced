"""The reading of a Keras model that is not trusted.

The configuration is read as JSON before Keras sees the file: Lambda layers, stored functions and
everything that is not a plain Keras object are refused, for `.keras` and `.h5` alike, because
`safe_mode` alone has been bypassed in both. The compile configuration of the model itself is never
used, so custom losses and metrics do no harm there; those of models inside it Keras does use.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import importlib
import io
import json
import math
import random
import re
import shutil
import sys
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from oip.core.errors import ModelError, logged, reason_of
from oip.core.files import Json, RefusedFile, check_content, check_regular
from oip.core.frameworks import import_quietly, keras, show_optional_packages

_CONFIG_LIMIT = 64 << 20
_BYTES_OF_A_WEIGHT = 4
_ZIP_HEADER = 30
"""Bytes of an entry's header in a zip file, before its name; the length of that and of an extra
field are in bytes 26 to 29."""
_LOADING = threading.RLock()
_SAFE_MODULES = frozenset(
    "activations constraints dtype_policies initializers layers losses metrics models ops "
    "optimizers quantizers random regularizers".split()
)
_SAFE_CLASSES = frozenset([("applications", "convnext", "LayerScale")])
"""Layers of Keras in other modules of it: ConvNeXt's factor for each map."""
_UNSAFE_CLASSES = {
    "Lambda": "runs code that is stored in the file",
    "__lambda__": "runs code that is stored in the file",
    "__typespec__": "is not part of a plain Keras model",
    "TFSMLayer": "loads another file",
    "TorchModuleWrapper": "unpickles code",
    "JaxLayer": "runs code that is stored in the file",
    "FlaxLayer": "runs code that is stored in the file",
}
_NOT_USED = ("compile_config", "training_config", "optimizer_config")
_OLD_KEYWORDS = {"groups": (1,), "implementation": (1, 2), "fused": (True,)}
"""Keywords of earlier versions of Keras -> values that say what is so without them."""
_MOST_KEYWORDS = 30
_PLAIN_NAMES = ("Sequential", "Functional", "Model", "Variable", "DTypePolicy", "KerasTensor")
"""The classes of `keras` itself; all others have a module of their own."""


def load_model(path: str | Path, imports: Iterable[str] = ()) -> keras.Model:
    """Load a `.keras` or `.h5` file without compiling it or running code that it carries.

    Args:
        imports: modules to import first; they register custom layers and are trusted.

    Raises:
        ModelError: no such file, not a model, a SavedModel, damaged, or unsafe.
    """
    path = Path(path)
    _check_kind(path)
    config = read_config(path)
    trusted = tuple(imports)
    if trusted:
        show_optional_packages()
    import_quietly("keras")  # before modules of the user's do it
    for module in trusted:
        _import(module)
    check_config(config, trusted, path.name)
    _check_sizes(path)

    refused: list[RefusedFile] = []
    try:
        with logged("opened model %s", path), _bounded_weights(refused):
            model = _load(path, config)
    except Exception as error:  # Keras raises many kinds; each means that the file is no good
        if refused:
            text = f"cannot load '{path.name}'"
            raise ModelError(text, "weights of less content", refused[0]) from error
        reason = reason_of(error).partition(" Full object config:")[0].rstrip(".")
        custom = "custom" in reason.lower()
        hint = "Name the module of its custom layers: imports=['MODULE']." if custom else ""
        text = f"cannot load '{path.name}'"
        raise ModelError(text, "a Keras 3 model that is whole", reason, hint) from error
    return model


@contextmanager
def _random_state_kept() -> Iterator[None]:
    """Set the user's `random` back, from which Keras draws seeds of layers that it builds."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


def _load(path: Path, config: Json) -> Any:
    """Load a model; of layers that older versions of Keras wrote, keywords without effect go."""
    with tempfile.TemporaryDirectory() as folder, _random_state_kept():
        for _ in range(_MOST_KEYWORDS):
            try:
                return keras.saving.load_model(str(path), compile=False, safe_mode=True)
            except Exception as error:
                if not _remove_old_keywords(config, str(error)):
                    raise
            path = _write_with_config(path, config, Path(folder))
        return keras.saving.load_model(str(path), compile=False, safe_mode=True)


def _remove_old_keywords(config: Json, message: str) -> bool:
    """Remove keywords that a layer does not take and that say nothing; whether there were any."""
    pattern = r"keyword arguments? passed to (\w+): (\{[^{}]*\})"
    match = re.search(pattern, message)
    if match is None:
        return False
    try:
        keywords = ast.literal_eval(match[2])
    except (ValueError, SyntaxError):
        return False
    old = {name for name, value in keywords.items() if value is None or value is False}
    old |= {name for name, values in _OLD_KEYWORDS.items() if keywords.get(name) in values}
    for entry in _objects(config):
        settings = entry.get("config")
        if entry.get("class_name") == match[1] and isinstance(settings, dict):
            for name in old:
                settings.pop(name, None)
    return old == set(keywords)


def _write_with_config(path: Path, config: Json, folder: Path) -> Path:
    """Write a copy of a model file with another configuration."""
    text = json.dumps(config)
    copy = folder / f"model{path.suffix}"
    if path.suffix == ".keras":
        new = folder / "new.keras"
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(new, "w") as archive:
            for entry in old.infolist():
                if entry.filename == "config.json":
                    archive.writestr(entry, text)
                else:
                    with old.open(entry) as source, archive.open(entry, "w") as target:
                        shutil.copyfileobj(source, target)
        return new.replace(copy)
    import h5py

    if path != copy:
        shutil.copyfile(path, copy)
    with h5py.File(copy, "r+") as archive:
        archive.attrs["model_config"] = text
    return copy


def digest(model: keras.Model) -> str:
    """Return the SHA-256 of a model's configuration and weights, for models that have no file."""
    sha256 = hashlib.sha256()
    try:
        sha256.update(json.dumps(model.get_config(), sort_keys=True, default=str).encode())
    except NotImplementedError:  # subclassed models without a configuration
        sha256.update(type(model).__name__.encode())
    for weight in model.weights:
        values = np.ascontiguousarray(weight.numpy())
        sha256.update(f"{values.shape}{values.dtype}".encode())
        sha256.update(values.tobytes())
    return sha256.hexdigest()


def checksum(model: keras.Model) -> int:
    """Return the CRC-32 of a model's weights, which tells quickly whether they changed."""
    value = 0
    for weight in model.weights:
        value = zlib.crc32(weight.numpy().tobytes(), value)
    return value


def read_config(path: Path) -> Json:
    """Read the model's configuration as JSON, without Keras.

    Raises:
        ModelError: the file is damaged or no model.
    """
    try:
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                entry = archive.getinfo("config.json")
                if entry.file_size > _CONFIG_LIMIT:
                    raise ValueError(f"a configuration of {entry.file_size} bytes")
                text: Any = archive.read(entry)
        else:
            import h5py

            with h5py.File(path, "r") as archive:
                if "model_config" not in archive.attrs:
                    hint = "Save the model with model.save('model.keras')."
                    raise ModelError(
                        f"'{path.name}'", "a whole model", "an HDF5 file of weights only", hint
                    )
                text = archive.attrs["model_config"]
        return json.loads(text)
    except ModelError:
        raise
    except Exception as error:  # damaged files fail in many ways: recursion, codecs, types, ...
        raise ModelError(
            f"'{path.name}' is damaged or no model", "a Keras file", reason_of(error)
        ) from error


def _check_sizes(path: Path) -> None:
    """Refuse a file that says that it is larger than the limit once unpacked.

    Raises:
        ModelError: it is, or is damaged.
    """
    import h5py

    def stored(stream: object) -> int:
        sizes = []
        with h5py.File(stream, "r") as weights:
            weights.visititems(
                lambda _, item: sizes.append(item.nbytes if isinstance(item, h5py.Dataset) else 0)
            )
        return sum(sizes)

    try:
        if path.suffix != ".keras":
            check_content(stored(path))
            return
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            check_content(sum(entry.file_size for entry in entries))
            for entry in entries:
                if entry.filename.endswith(".h5"):
                    plain = entry.compress_type == zipfile.ZIP_STORED
                    with path.open("rb") if plain else archive.open(entry) as stream:
                        file_part = _Part(stream, entry) if plain else io.BytesIO(stream.read())
                        check_content(stored(file_part))
    except RefusedFile as error:
        raise ModelError(f"'{path.name}'", "a model of less content", error) from error
    except Exception as error:  # HDF5 and zip files are damaged in many ways
        reason = reason_of(error)
        raise ModelError(f"'{path.name}'", "a Keras file that is whole", reason) from error


class _Part(io.RawIOBase):
    """An uncompressed entry of a zip file, in which a seek reads no bytes."""

    def __init__(self, stream: IO[bytes], entry: zipfile.ZipInfo):
        stream.seek(entry.header_offset)
        header = stream.read(_ZIP_HEADER)
        names = sum(int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
        self._stream, self._size = stream, entry.file_size
        self._begin = entry.header_offset + _ZIP_HEADER + names
        self._at = 0

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def readinto(self, buffer: memoryview) -> int:
        self._stream.seek(self._begin + self._at)
        content = self._stream.read(max(0, min(len(buffer), self._size - self._at)))
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)


@contextmanager
def _bounded_weights(refused: list[RefusedFile]) -> Iterator[None]:
    """Refuse weights above the limit before this thread makes them; Keras builds before it reads.

    Args:
        refused: takes the error, which Keras hides in one of its own.
    """
    thread, total = threading.get_ident(), 0

    def add_weight(self: keras.Layer, shape: Any = None, *args: Any, **kwargs: Any) -> Any:
        nonlocal total
        if threading.get_ident() == thread:
            sides = shape if isinstance(shape, Iterable) else (shape,)  # also a TensorShape
            total += _BYTES_OF_A_WEIGHT * math.prod(1 if s is None else int(s) for s in sides)
            try:
                check_content(total)
            except RefusedFile as error:
                refused.append(error)
                raise
        return original(self, shape, *args, **kwargs)

    with _LOADING:
        original = keras.Layer.add_weight
        keras.Layer.add_weight = add_weight
        try:
            yield
        finally:
            keras.Layer.add_weight = original


def check_config(config: Json, trusted: tuple[str, ...], name: str) -> None:
    """Refuse a configuration that could run code: see the module's docstring.

    Raises:
        ModelError: it could.
    """

    def unsafe(safe: str, received: str, hint: str = "") -> ModelError:
        return ModelError(f"'{name}' is not safe to load", safe, received, hint)

    content = config
    if isinstance(config, dict):
        content = {key: value for key, value in config.items() if key not in _NOT_USED}
    for entry in _objects(content):
        kind = entry.get("class_name")
        module = entry.get("module")
        if not isinstance(kind, str) or "." in kind or "." in _function_name(entry):
            class_name = kind if isinstance(kind, str) else type(kind).__name__
            part_name = _function_name(entry) or _own_name(entry)
            raise unsafe("plain names of classes", f"'{class_name}' ('{part_name}')")
        if kind in _UNSAFE_CLASSES:
            raise unsafe(
                "plain Keras layers",
                f"a {kind} ('{_own_name(entry)}'), which {_UNSAFE_CLASSES[kind]}",
                "Replace it by a registered custom layer and name its module: imports=['MODULE'].",
            )
        if isinstance(module, str) and not _is_safe(module, kind, entry, trusted):
            root = module.split(".")[0]
            is_foreign = root not in sys.stdlib_module_names and root != "keras"
            hint = f"If you trust it: imports=['{root}']." if is_foreign else ""
            raise unsafe("Keras layers", f"'{module}.{kind}'", hint)
        settings = entry.get("config")
        if isinstance(settings, dict) and isinstance(settings.get("vocabulary"), str):
            raise unsafe("no outside files", "a vocabulary file")


def _is_safe(module: str, kind: str, entry: dict[str, Json], trusted: tuple[str, ...]) -> bool:
    if any(module == name or module.startswith(name + ".") for name in trusted):
        return True
    if module == "builtins":
        return kind == "function" and not hasattr(builtins, str(entry.get("config")))
    names = [piece for piece in module.split(".") if piece not in ("src", "api")]
    if names[0] != "keras":
        return False
    if len(names) == 1:
        return kind in _PLAIN_NAMES or kind == "function"
    return names[1] in _SAFE_MODULES or (*names[1:], kind) in _SAFE_CLASSES


def _objects(value: Json) -> Iterator[dict[str, Json]]:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            if "class_name" in item:
                yield item
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)


def _function_name(entry: dict[str, Json]) -> str:
    name = entry.get("config")
    return name if isinstance(name, str) else ""


def _own_name(entry: dict[str, Json]) -> str:
    settings = entry.get("config")
    return str(settings.get("name", "?")) if isinstance(settings, dict) else "?"


def _check_kind(path: Path) -> None:
    subject, files = f"model '{path}'", "a .keras or .h5 file"
    try:
        exists, folder = path.exists(), path.is_dir()
    except OSError as error:
        raise ModelError(subject, files, error.strerror) from error
    if folder and (path / "saved_model.pb").exists():
        hint = "Save it from where it was built with model.save('model.keras')."
        subject = f"'{path.name}' is a TensorFlow SavedModel"
        raise ModelError(subject, files, "a folder with saved_model.pb", hint)
    if folder:
        raise ModelError(f"'{path}'", files, "a folder")
    if not exists:
        raise ModelError(subject, files, "no such file")
    if path.suffix not in (".keras", ".h5", ".hdf5"):
        subject, ending = f"model '{path.name}'", path.suffix or "no ending"
        raise ModelError(subject, "a file that ends in .keras or .h5", ending)
    try:
        check_regular(path)
    except OSError as error:
        raise ModelError(subject, files, error) from error


def _import(module: str) -> None:
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        importlib.import_module(module)
    except Exception as error:  # the user's own module may fail in any way
        reason = f"'{module}': {reason_of(error)}"
        raise ModelError("import", "a module that can be imported", reason) from error
