from pathlib import Path

import pytest

import oip
from oip.core.errors import DataError
from oip.workflows.demo import default_folder


def test_a_part_of_the_data_is_refused(tmp_path):
    with pytest.raises(DataError, match="without a part"):
        oip.run_demo("mnist-sample:test", tmp_path / "demo")
    assert not list(tmp_path.iterdir())


def test_the_folder_is_named_by_the_source():
    assert default_folder("mnist-sample") == Path("runs/demo")
    assert default_folder("data/my.npz") == Path("runs/demo-my")
