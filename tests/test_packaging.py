"""The wheel holds `oip` alone, and a user's own `models/` and `mi.py` work beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("oip", "mi", "models", "gallery")
CHECK = """
def check():
    import mi
    import models.own
    import oip.mi.quantities
    import oip.models.sources
    from oip import gallery, mi as information, models as sources

    assert (models.own.VALUE, mi.VALUE) == (1, 2), (models, mi)
    assert information.__name__ == "oip.mi" and sources.__name__ == "oip.models"
    assert callable(sources.load) and callable(information.entropy) and callable(gallery.build)
    return "ok"
"""
SCRIPTS = {
    "script": "print(check())",
    "local": """
from oip.batch.executors import Pool
pool = Pool([""])
print(pool.submit(check).result())
pool.close()
""",
    "dask": """
import distributed
with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
    with distributed.Client(cluster) as client:
        print(client.submit(check).result())
""",
    "slurm": """
from oip.batch.executors import slurm_engine
from oip.batch.job import EngineSettings
engine = slurm_engine(EngineSettings(kind="slurm", cluster="local"), "batch")
print(engine.submit(check).result())
""",
}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of the packages."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    code = "from setuptools import build_meta; print(build_meta.build_wheel('..'))"
    subprocess.run(
        [sys.executable, "-c", code], cwd=source, check=True, capture_output=True, text=True
    )
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def environment(wheel, tmp_path_factory):
    """The environment of a program that has the wheel installed."""
    site = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return {**os.environ, "PYTHONPATH": str(site), "TF_CPP_MIN_LOG_LEVEL": "3"}


@pytest.fixture
def project(tmp_path):
    """A user's folder, with names that our packages have in the repository."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "own.py").write_text("VALUE = 1\n")
    (tmp_path / "mi.py").write_text("VALUE = 2\n")
    (tmp_path / "own_layers.py").write_text(CHECK + "\ncheck()\n")
    return tmp_path


def test_the_wheel_holds_oip_alone_with_all_of_its_files(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    packaged = {name for name in names if ".dist-info/" not in name}
    assert {name.partition("/")[0] for name in packaged} == {"oip"}
    files = set()
    for folder, _, members in os.walk(ROOT / "oip", followlinks=True):
        if "__pycache__" not in folder:
            files |= {(Path(folder) / name).relative_to(ROOT).as_posix() for name in members}
    documents = {name for name in files if name.endswith((".md", ".ipynb", ".pyc"))}
    assert packaged - documents == files - documents
    for needed in ("oip/py.typed", "oip/gallery/templates/page.html", "oip/gallery/assets/main.js"):
        assert needed in packaged


@pytest.mark.parametrize("kind", SCRIPTS)
def test_a_users_own_modules_work_in_scripts_and_in_workers(kind, project, environment):
    if kind in ("dask", "slurm"):
        pytest.importorskip({"dask": "distributed", "slurm": "submitit"}[kind])
    body = SCRIPTS[kind].strip().replace("\n", "\n    ")
    text = f"from own_layers import check\nif __name__ == '__main__':\n    {body}\n"
    (project / "script.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=project, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "ok\n"


def test_a_users_own_modules_work_beside_python_m_oip(project, environment):
    np.savez(project / "numbers.npz", x=np.arange(40.0), y=np.arange(40) % 2)
    arguments = ["estimate", "numbers.npz", "--estimator", "binning"]
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['oip', *{arguments}]\n"
        "try: runpy.run_module('oip', run_name='__main__', alter_sys=True)\n"
        "finally: import own_layers"
    )
    for command in (["-m", "oip", *arguments], ["-c", code]):
        done = subprocess.run(
            [sys.executable, *command], cwd=project, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "bits" in done.stdout


def test_a_helper_process_finds_modules_as_its_parent_does(project, environment):
    """The process that builds a network of keras.applications has the parent's `sys.path`."""
    script = (
        "import subprocess, sys\n"
        "from pathlib import Path\n"
        "from oip.batch.job import ModelSource\n"
        "from oip.batch.keras_applications import build_command\n"
        "python, safe, option, code, path, *_ = build_command(ModelSource(), Path('none'))\n"
        "code = code.partition('from oip')[0] + 'import own_layers; print(own_layers.check())'\n"
        "sys.exit(subprocess.run([python, safe, option, code, path]).returncode)\n"
    )
    (project / "script.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=project, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "ok\n"
