"""The code of oip/README.md, block by block, as a reader would run it."""

import re
import shlex
from pathlib import Path

import pytest

from oip.ascent.settings import PRESETS

README = Path(__file__).parents[2] / "oip" / "README.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def small_network():
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, activation="relu", name="Conv2D_1"),
            layers.MaxPooling2D(4),
            layers.Conv2D(8, 3, activation="relu", name="Conv2D_2"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )


def run_shell(block):
    from oip.cli.main import run

    for line in block.splitlines():
        program, *arguments = shlex.split(line)
        assert program == "oip"
        assert run(arguments) == 0, line


@pytest.mark.filterwarnings("ignore::oip.core.warnings.Notice")
def test_every_block_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for preset in PRESETS.values():  # the same way in fewer steps
        for name, value in {"steps": 12, "screened": 24}.items():
            monkeypatch.setitem(preset, name, value)
    small_network().save("model.keras")
    names: dict[str, object] = {}
    kinds = []
    for kind, block in BLOCK.findall(README.read_text(encoding="utf-8")):
        kinds.append(kind)
        if kind == "python":
            exec(compile(block, "README", "exec"), names)
        elif kind == "toml":
            Path("job.toml").write_text(block, encoding="utf-8")
        else:
            assert kind == "sh"
            run_shell(block)
    assert (kinds.count("python"), kinds.count("sh")) >= (8, 4)
