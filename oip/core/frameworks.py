"""TensorFlow, Keras and public names, imported at first use, and the cores that they may use.

Commands start at once. How many threads there are depends on the cores of this process.
"""

from __future__ import annotations

import ast
import gc
import importlib
import math
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from oip.core.errors import SettingsError

if TYPE_CHECKING:
    import keras as keras
    import tensorflow as tf
    from tensorflow import Tensor
else:

    class _LazyModule(ModuleType):
        def __getattr__(self, name: str) -> Any:
            value = getattr(import_quietly(self.__name__), name)
            setattr(self, name, value)  # found at once from now on
            return value

    keras, tf = _LazyModule("keras"), _LazyModule("tensorflow")
    Tensor = Any  # stands in annotations only

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
_shutting = threading.RLock()
"""Held while stderr is shut: a second thread would take the shut one for the process's own."""
_OPTIONAL = ("matplotlib", "pandas", "sklearn")
"""Packages that Keras imports where it finds them, for parts that the program does not use. They
take a third of the time of its import, and a sixth of the memory."""
_hidden_packages: list[str] = []
"""Those that Keras does not find in this process."""


def hide_optional_packages() -> None:
    """Let Keras and TensorFlow be imported without packages that they do without, if need be.

    For processes of the program's own alone: Keras' galleries of images and its estimators for
    scikit-learn do not work there. Whoever else imports the packages gets them.
    """
    _hidden_packages[:] = _OPTIONAL


def show_optional_packages() -> None:
    """Let Keras find all packages if it is imported later, for modules that may need them in it."""
    _hidden_packages.clear()


def import_quietly(name: str) -> ModuleType:
    """Import a module while the process's stderr is shut, for native code that ignores settings.

    TensorFlow's native parts report missing GPUs before any logging level applies. Errors of the
    import itself are raised unchanged. TensorFlow has no more threads than `usable_cores`.
    """
    if name in sys.modules:  # perhaps another thread imports it now
        return importlib.import_module(name)
    if (cores := usable_cores()) < allowed_cores():  # TensorFlow knows only the latter
        for pool in ("INTRAOP", "INTEROP"):
            os.environ.setdefault(f"TF_NUM_{pool}_THREADS", str(cores))
    with _shutting:
        sys.stderr.flush()
        stderr_copy = None
        with suppress(OSError):
            stderr_copy = os.dup(2)
        if stderr_copy is None:
            return _import_alone(name)
        shut = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(shut, 2)
            return _import_alone(name)
        finally:
            os.dup2(stderr_copy, 2)
            os.close(shut)
            os.close(stderr_copy)


def _import_alone(name: str) -> ModuleType:
    """Import a module that does not find the hidden packages, unless they are there already.

    No garbage is collected meanwhile: hardly any is made, and to look for it among all that is
    imported takes a fifth of the time.
    """
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]
    hidden = [package for package in _hidden_packages if package not in modules]
    modules.update(dict.fromkeys(hidden))  # None: an ImportError for whoever imports it
    collects = gc.isenabled()
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        if collects:
            gc.enable()
        for package in hidden:
            del modules[package]


def lazy_names(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a package, by its name, whose import costs nothing."""
    homes = public_modules(package)

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        module = importlib.import_module(homes[name])
        return module if homes[name] == f"{package}.{name}" else getattr(module, name)

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return get, names


def public_modules(package: str) -> dict[str, str]:
    """Return the names that a package imports under `if TYPE_CHECKING:`, and their modules."""
    source = Path(str(sys.modules[package].__file__)).read_text(encoding="utf-8")
    blocks = [
        node.body
        for node in ast.parse(source).body
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
    ]
    imports = [node for block in blocks for node in block if isinstance(node, ast.ImportFrom)]
    return {
        alias.name: f"{package}.{alias.name}" if node.module == package else str(node.module)
        for node in imports
        for alias in node.names
    }


def usable_cores(groups: Path = CGROUPS, process_groups: Path = OWN_CGROUPS) -> int:
    """Return how many cores this process may use, one or more.

    That is `OIP_THREADS` where it is set, else the cores that the process may run on, as far as
    the quotas of its control groups go (containers, batch systems).

    Args:
        groups: the folder of the control groups.
        process_groups: the list of those of this process.

    Raises:
        SettingsError: `OIP_THREADS` is no whole number from 1.
    """
    threads = os.environ.get("OIP_THREADS", "")
    if threads:
        if not threads.isdecimal() or int(threads) < 1:
            raise SettingsError("OIP_THREADS", "a whole number from 1", f"'{threads}'")
        return int(threads)
    return max(1, math.floor(min([allowed_cores(), *_quotas(groups, process_groups)])))


def allowed_cores() -> int:
    """Return how many cores the process may run on, whatever its share of them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(groups: Path, process_groups: Path) -> Iterator[float]:
    """Yield cores that control groups of version 1 or 2 grant, those above this process, too."""
    try:
        lines = process_groups.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        controllers, _, path = line.partition(":")[2].partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = groups / controllers
        folder = root / path.lstrip("/")
        for group in (folder, *folder.parents):
            if controllers:
                files = group / "cpu.cfs_quota_us", group / "cpu.cfs_period_us"
            else:
                files = (group / "cpu.max",)
            try:
                quota, period = " ".join(file.read_text() for file in files).split()
                if quota not in ("max", "-1"):
                    yield int(quota) / int(period)
            except (OSError, ValueError, ZeroDivisionError):
                pass  # no such group here, as in a container
            if group == root:
                break
