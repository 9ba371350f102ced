"""The files that may lie beside OIPs and ranking."""

from __future__ import annotations

import numpy as np
import pytest

from oip.core import files
from oip.core.errors import RunError
from oip.gallery.read_run import layer_evidence, training_record


def test_nothing_where_there_is_no_file(run):
    found = layer_evidence(run, 1)
    assert found.kernels is None and found.ablation is None and found.redundancy is None
    assert found.record is None and found.softmax == {} and training_record(run) is None


def test_everything_is_read(full_run):
    found = layer_evidence(full_run, 1)
    assert found.kernels["maps"][0]["kernels"][0]["input"] == 2
    assert found.ablation["maps"][1]["loss_increase"] < 0
    assert found.redundancy.names == ("renyi", "correlation")
    assert found.softmax[3].sum() == pytest.approx(1)
    assert found.record.label.shape == (4, 40)
    assert [layer["index"] for layer in training_record(full_run)["layers"]] == [0, 1]


def test_most_redundant_against_brute_force(full_run):
    known = layer_evidence(full_run, 1).redundancy
    for one in range(40):
        wanted = max(known.pairs[0, one, other] for other in range(40) if other != one)
        assert known.most[one] == pytest.approx(float(wanted))
    share = known.share()
    assert share[0, 1] == pytest.approx(0.97, rel=1e-3) and np.isnan(share[2, 2])


def test_unknown_pairs_and_empty_own_values_are_unknown(full_run):
    path = full_run.folder(1) / "redundancy.npz"
    arrays = files.read_arrays(path)
    arrays["pairs"][0, 5, :] = arrays["pairs"][0, :, 5] = np.nan
    arrays["pairs"][0, 6, 6] = 0.0
    files.write_arrays(path, arrays)
    known = layer_evidence(full_run, 1).redundancy
    assert 5 not in known.most and np.isnan(known.share()[5]).all()
    assert np.isnan(known.share()[6]).all()


def _spoiled(run, name, change):
    path = run.folder(1) / name
    if name.endswith(".json"):
        told = files.read_json(path)
        change(told)
        files.write_json(path, told)
    else:
        arrays = files.read_arrays(path)
        change(arrays)
        files.write_arrays(path, arrays)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("kernels.json", lambda told: told.update(schema=2)),
        ("kernels.json", lambda told: told.update(maps=3)),
        ("ablation.json", lambda told: told.update(maps=[3])),
        ("redundancy.npz", lambda told: told.pop("schema")),
        ("redundancy.npz", lambda told: told.pop("units")),
        ("redundancy.npz", lambda told: told.update(pairs=told["pairs"][:, :3])),
        ("softmax.npz", lambda told: told.update(probabilities=told["probabilities"][0])),
    ],
)
def test_files_of_another_form_are_named(full_run, name, change):
    _spoiled(full_run, name, change)
    with pytest.raises(RunError, match=name):
        layer_evidence(full_run, 1)


def test_damaged_records_are_named(full_run):
    path = full_run.path / "record/record.json"
    told = files.read_json(path)
    told["layers"][0]["label"] = [1.0]
    files.write_json(path, told)
    with pytest.raises(RunError, match=r"record\.json"):
        training_record(full_run)
    (full_run.path / "record/layer-001.npz").write_bytes(b"no archive")
    with pytest.raises(RunError, match=r"layer-001\.npz"):
        layer_evidence(full_run, 1)
