"""Reads a Keras model without trusting it.

The configuration is read as JSON before Keras sees the file: Lambda layers, stored functions and
everything that is not a plain Keras object are refused, for `.keras` and `.h5` alike, because
`safe_mode` alone has been bypassed in both. The compile configuration of the model itself is never
used, so custom losses and metrics do no harm there; those of models inside it Keras does use.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib
import json
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from oip.core.errors import ModelError, expected

_CONFIG_LIMIT = 64 << 20
_TERMINAL_CODES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_SAFE_MODULES = (
    "activations",
    "constraints",
    "dtype_policies",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "ops",
    "optimizers",
    "quantizers",
    "random",
    "regularizers",
)
_UNSAFE_CLASSES = {
    "Lambda": "runs code that is stored in the file",
    "__lambda__": "runs code that is stored in the file",
    "__typespec__": "is no part of a plain Keras model",
    "TFSMLayer": "loads another file",
    "TorchModuleWrapper": "unpickles code",
    "JaxLayer": "runs code that is stored in the file",
    "FlaxLayer": "runs code that is stored in the file",
}
_NOT_USED = ("compile_config", "training_config", "optimizer_config")
_PLAIN_NAMES = ("Sequential", "Functional", "Model", "Variable", "DTypePolicy", "KerasTensor")
"""What may be named from `keras` itself; anything else has a module of its own."""


def load_model(path: str | Path, imports: Iterable[str] = ()) -> Any:
    """Loads a `.keras` or `.h5` file, never compiled, never running what it carries.

    Args:
        path: the file.
        imports: modules to import first; they register custom layers and are trusted.

    Raises:
        ModelError: no such file, not a model, a SavedModel, damaged, or unsafe.
    """
    path = Path(path)
    _check_kind(path)
    trusted = tuple(imports)
    for module in trusted:
        _import(module)
    config = read_config(path)
    check_config(config, trusted, path.name)

    import keras

    try:
        return keras.saving.load_model(str(path), compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many kinds; each means that the file is no good
        reason = reason_of(error)
        raise ModelError(
            expected(
                f"cannot load '{path.name}'",
                "a Keras 3 model that is whole",
                reason,
                "Custom layers need --import MODULE." if "custom" in str(error).lower() else "",
            )
        ) from error


def digest(model: Any) -> str:
    """SHA-256 over a model's configuration and weights, for models that come from no file."""
    import numpy as np

    found = hashlib.sha256()
    try:
        found.update(json.dumps(model.get_config(), sort_keys=True, default=str).encode())
    except NotImplementedError:  # subclassed models without a configuration
        found.update(type(model).__name__.encode())
    for weight in model.weights:
        values = np.ascontiguousarray(weight.numpy())
        found.update(f"{values.shape}{values.dtype}".encode())
        found.update(values.tobytes())
    return found.hexdigest()


def read_config(path: Path) -> Any:
    """The model's configuration as JSON, without Keras."""
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
                    raise ModelError(
                        expected(f"'{path.name}'", "a whole model", "an HDF5 file of weights only")
                    )
                text = archive.attrs["model_config"]
        return json.loads(text)
    except ModelError:
        raise
    except Exception as error:  # damaged files fail in many ways: recursion, codecs, types, ...
        raise ModelError(
            expected(f"'{path.name}' is damaged or no model", "a Keras file", reason_of(error))
        ) from error


def check_config(config: Any, trusted: tuple[str, ...], name: str) -> None:
    """Refuses what could run code: see the module's docstring."""
    used = config
    if isinstance(config, dict):
        used = {key: value for key, value in config.items() if key not in _NOT_USED}
    for part in _objects(used):
        kind = part.get("class_name")
        module = part.get("module")
        if not isinstance(kind, str) or "." in kind or "." in _function_name(part):
            shown = kind if isinstance(kind, str) else type(kind).__name__
            raise ModelError(
                expected(
                    f"'{name}' is not safe to load",
                    "plain names of classes",
                    f"'{shown}' ('{_function_name(part) or _own_name(part)}')",
                )
            )
        if kind in _UNSAFE_CLASSES:
            raise ModelError(
                expected(
                    f"'{name}' is not safe to load",
                    "plain Keras layers",
                    f"a {kind} ('{_own_name(part)}'), which {_UNSAFE_CLASSES[kind]}",
                    "Replace it by a registered custom layer and use --import.",
                )
            )
        if isinstance(module, str) and not _is_safe(module, kind, part, trusted):
            raise ModelError(
                expected(
                    f"'{name}' is not safe to load",
                    "Keras layers",
                    f"'{module}.{kind}'",
                    f"If you trust it: --import {module.split('.')[0]}",
                )
            )
        settings = part.get("config")
        if isinstance(settings, dict) and isinstance(settings.get("vocabulary"), str):
            raise ModelError(
                expected(f"'{name}' is not safe to load", "no outside files", "a vocabulary file")
            )


def _is_safe(module: str, kind: Any, part: dict[str, Any], trusted: tuple[str, ...]) -> bool:
    if any(module == name or module.startswith(name + ".") for name in trusted):
        return True
    if module == "builtins":
        return kind == "function" and not hasattr(builtins, str(part.get("config")))
    parts = [piece for piece in module.split(".") if piece not in ("src", "api")]
    if parts[0] != "keras":
        return False
    if len(parts) == 1:
        return kind in _PLAIN_NAMES or kind == "function"
    return parts[1] in _SAFE_MODULES


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            if "class_name" in item:
                yield item
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)


def _function_name(part: dict[str, Any]) -> str:
    told = part.get("config")
    return told if isinstance(told, str) else ""


def _own_name(part: dict[str, Any]) -> str:
    settings = part.get("config")
    return str(settings.get("name", "?")) if isinstance(settings, dict) else "?"


def _check_kind(path: Path) -> None:
    try:
        there, folder = path.exists(), path.is_dir()
    except OSError as error:
        raise ModelError(
            expected(f"model '{path}'", "a .keras or .h5 file", error.strerror)
        ) from error
    if folder:
        if (path / "saved_model.pb").exists():
            raise ModelError(
                expected(
                    f"'{path.name}' is a TensorFlow SavedModel",
                    "a .keras or .h5 file",
                    "a folder with saved_model.pb",
                    "Save it from where it was built with model.save('model.keras').",
                )
            )
        raise ModelError(expected(f"'{path}'", "a .keras or .h5 file", "a folder"))
    if not there:
        raise ModelError(expected(f"model '{path}'", "a .keras or .h5 file", "no such file"))
    if path.suffix not in (".keras", ".h5", ".hdf5"):
        raise ModelError(
            expected(
                f"model '{path.name}'",
                "a file that ends in .keras or .h5",
                path.suffix or "no ending",
            )
        )


def _import(module: str) -> None:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        importlib.import_module(module)
    except Exception as error:  # the user's own module may fail in any way
        raise ModelError(
            expected(f"--import {module}", "a module that can be imported", reason_of(error))
        ) from error


def reason_of(error: BaseException) -> str:
    """The line of an error's text that says what was wrong; Keras puts a heading before it."""
    text = _TERMINAL_CODES.sub("", str(error)).strip()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("Exception encountered")] or lines
    return (lines[0] if lines else type(error).__name__)[:300]
