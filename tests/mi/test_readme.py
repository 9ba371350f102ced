"""Every code block of mi/README.md runs, in its order."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import oip
from oip.cli.main import run

README = Path(oip.__file__).parent / "mi" / "README.md"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a small digit network `model.keras`, and 240 digits as a data source."""
    import keras
    from keras import layers

    from oip import models

    data = models.load("mnist-sample:test")
    np.savez(tmp_path / "digits.npz", images=data.images[:240], labels=data.labels[:240])
    keras.utils.set_random_seed(0)
    keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 5, strides=2, activation="relu", name="Conv2D_1"),
            layers.Conv2D(6, 3, strides=2, activation="relu", name="Conv2D_2"),
            layers.Conv2D(8, 3, activation="relu", name="Conv2D_3"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax", name="classes"),
        ]
    ).save(tmp_path / "model.keras")
    monkeypatch.chdir(tmp_path)
    return data


def test_blocks_of_code_run(folder, capfd):
    values = {"images": folder.images[:240], "labels": folder.labels[:240]}
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) > 10
    for language, code in blocks:
        if language == "python":
            exec(compile(code, "README", "exec"), values)
            continue
        for line in code.strip().splitlines():
            program, *arguments = shlex.split(line.replace("mnist-sample", "digits.npz"), True)
            assert program == "oip"
            assert run(arguments) == 0, (line, capfd.readouterr())
