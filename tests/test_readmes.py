"""Every code block of every README.md runs, in its order, in a folder with a small model and data.

Python blocks of one file share their names. Lines of shell blocks that begin with `oip` are run
in this process; `PARSED` names commands that are only parsed, and why. `TOML` blocks are written to
`job.toml`, JSON blocks are read.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from oip.ascent.results import VERDICTS, shown_verdict
from oip.cli.main import COMMANDS, root, run
from oip.core.images import png

ROOT = Path(__file__).resolve().parents[1]
READMES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in ROOT.rglob("README.md")
    if not any(parent.is_symlink() for parent in path.parents)
    and not {".venv", ".pytest_cache", "build", "runs", "node_modules"} & set(path.parts)
)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SOURCES = {
    "mnist-sample": "digits.npz",
    "mnist-sample:all": "digits.npz:all",
    "mnist": "digits.npz",
    "photos/": "digits.npz",
    "photographs": "digits-400.npz:all",
}
"""Sources in shell blocks, and what is used in their place."""
PARSED = {
    "demo": "takes a minute; tests/cli/test_demo.py runs it",
    "study": "takes minutes; tests/studies run them",
    "train": "trains on whole data sets; tests/cli/test_train.py runs it",
}
"""So are lines with --dry-run, which measures for seconds; tests/batch runs them."""
OTHER_PROGRAMS = ("pip", "uv", "pytest", "python", "dask")
"""They install the program, test it, or run something that other tests run."""


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A folder with `model.keras`, a small trained digit network, `digits.npz` and `photo.png`.

    `other.keras` is the same network after one more epoch.
    """
    import keras
    from keras import layers

    from oip import models

    folder = tmp_path_factory.mktemp("readmes")
    data = models.load("mnist-sample:test")
    images, labels = data.images[:240], data.labels[:240]
    np.savez(folder / "digits.npz", images=images, labels=labels)
    np.savez(folder / "digits-400.npz", images=data.images[:400])
    (folder / "photo.png").write_bytes(png(images[0]))
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 5, strides=2, activation="relu", name="Conv2D_1"),
            layers.Conv2D(8, 3, strides=2, activation="relu", name="Conv2D_2"),
            layers.Conv2D(8, 3, activation="relu", name="Conv2D_3"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax", name="classes"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    model.fit(images, labels, epochs=3, batch_size=32, verbose=0)
    model.save(folder / "model.keras")
    model.fit(images, labels, epochs=1, batch_size=32, verbose=0)
    model.save(folder / "other.keras")
    return folder, images, labels


@pytest.fixture
def workspace(material, tmp_path, monkeypatch, figures_as_they_fall, few_steps):
    """A working directory with the model and the data; few steps, and figures as they fall."""
    folder, images, labels = material
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    demo = tmp_path / "runs" / "demo"
    demo.mkdir(parents=True)
    (demo / "model.keras").write_bytes((folder / "model.keras").read_bytes())
    monkeypatch.chdir(tmp_path)
    return {"images": images, "labels": labels}


def run_line(line, capfd):
    """Run a line of a shell block, or parse it."""
    program, *arguments = shlex.split(line.partition(" && ")[0], comments=True)
    assert program == "oip" or program in OTHER_PROGRAMS, line
    if program != "oip":
        return
    assert arguments[0] in COMMANDS, line
    if arguments[0] in PARSED or "--dry-run" in arguments:
        root.get_command(None, arguments[0]).make_context(arguments[0], arguments[1:])
        return
    if ">" in arguments:
        arguments = arguments[: arguments.index(">")]
    arguments = [SOURCES.get(argument, argument) for argument in arguments]
    assert run(arguments) == 0, (line, capfd.readouterr())


@pytest.mark.filterwarnings("ignore::oip.core.errors.Notice")
@pytest.mark.parametrize("name", READMES)
def test_every_block_runs(name, workspace, capfd):
    names = dict(workspace)
    for language, code in BLOCK.findall((ROOT / name).read_text(encoding="utf-8")):
        if language == "python":
            exec(compile(code, name, "exec"), names)
        elif language == "toml":
            Path("job.toml").write_text(code, encoding="utf-8")
        elif language == "json":
            json.loads(code)
        elif language in ("", "sh"):
            for line in code.replace("\\\n", " ").strip().splitlines():
                run_line(line, capfd)
        else:
            pytest.fail(f"unknown language of a block: {language}")


def anchors(path):
    """Addresses of the headings of a page, as GitHub makes them."""
    names = []
    for heading in re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE):
        text = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        names.append(f"{text}-{names.count(text)}" if text in names else text)
    return names


@pytest.mark.parametrize("name", [*READMES, "oip/REFERENCE.md"])
def test_links_lead_to_files_and_headings(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if "://" not in target:
            file, _, anchor = "".join(target.split()).partition("#")
            path = (ROOT / name).parent / file if file else ROOT / name
            assert path.exists(), (name, target)
            assert not anchor or anchor in anchors(path), (name, target)


def test_every_verdict_is_explained():
    verdicts = [shown_verdict(verdict) for verdict in VERDICTS]
    for name in ("README.md", "oip/README.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert all(f"`{word}`" in text or f"*{word}*" in text for word in verdicts), name


def test_the_first_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200
