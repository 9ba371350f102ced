"""`oip gallery`."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from oip.cli.main import run as oip
from oip.core.formats import DataRecord
from oip.run.run import Run


@pytest.fixture
def made(tmp_path):
    """A run of bars of 12 x 12 pixels, and its data as a file."""
    path = Path(__file__).parent.parent / "gallery" / "conftest.py"
    spec = importlib.util.spec_from_file_location("gallery_runs", path)
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    data = tmp_path / "bars.npz"
    images = np.random.default_rng(0).integers(0, 256, (30, 12, 12, 1)).astype(np.uint8)
    np.savez(data, images=images, labels=np.arange(30) % 4)
    record = {"source": "bars.npz", "images": 30}
    return maker.make_run(tmp_path / "run", data=record), data


def test_prints_the_page(made, capsys):
    run, _ = made
    assert oip(["gallery", str(run.path), "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{run.path / 'gallery' / 'index.html'}\n" and err == ""
    assert Path(out.strip()).is_file()


def test_json(made, capsys):
    run, _ = made
    assert oip(["gallery", str(run.path), "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "gallery": str(run.path / "gallery" / "index.html")
    }


def test_single_file(made, capsys):
    run, _ = made
    assert oip(["gallery", str(run.path), "--single-file", "--quiet"]) == 0
    page = Path(capsys.readouterr().out.strip())
    assert page == run.path / "gallery.html" and page.is_file()
    assert not (run.path / "gallery").exists()


@pytest.mark.parametrize("status", [0, 3])
def test_open_starts_a_browser_or_says_how_to(made, capsys, monkeypatch, status):
    run, _ = made
    opened = []
    monkeypatch.setattr("click.launch", lambda url: opened.append(url) or status)
    assert oip(["gallery", str(run.path), "--open"]) == 0
    assert opened == [(run.path / "gallery/index.html").resolve().as_uri()]
    assert ("No browser" in capsys.readouterr().err) == bool(status)


def _with_data(run, **data):
    record = msgspec.structs.replace(run.record, data=DataRecord(**data))
    Run(run.path, record).save()


def test_with_data(made):
    run, data = made
    _with_data(run, source=run.record.data.source, images=6)  # no parts: a fifth is the test part
    arguments = ["gallery", str(run.path), "--quiet", "--with-data", "--data", str(data)]
    assert oip(arguments) == 0
    written = {int(path.stem) for path in (run.path / "gallery/img/data").iterdir()}
    assert written and written <= set(range(6))


def test_a_run_without_responses_to_data_says_what_finds_them(made, capsys, monkeypatch):
    run, data = made
    monkeypatch.chdir(data.parent)
    _with_data(run, source="bars.npz:train", images=None)
    assert oip(["gallery", str(run.path), "--with-data"]) == 0
    assert "oip rank" not in capsys.readouterr().err
    for path in run.path.glob("layers/*/responses.npz"):
        path.unlink()
    assert oip(["gallery", str(run.path), "--with-data"]) == 0
    assert "Rank its maps with 'oip rank'" in capsys.readouterr().err


def test_other_data_are_refused(made, capsys):
    run, data = made
    arguments = ["gallery", str(run.path), "--quiet", "--with-data", "--data", str(data)]
    assert oip(arguments) == 2
    assert "30 images" in capsys.readouterr().err


def test_with_data_as_the_run_names_them(made, monkeypatch):
    run, data = made
    monkeypatch.chdir(data.parent)
    _with_data(run, source="bars.npz:train", images=None)
    assert oip(["gallery", str(run.path), "--quiet", "--with-data"]) == 0
    assert list((run.path / "gallery/img/data").iterdir())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [(["--data", "mnist-sample"], "--with-data"), (["--with-data"], "bars.npz")],
)
def test_bad_options(made, capsys, monkeypatch, tmp_path, arguments, text):
    run, _ = made
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert oip(["gallery", str(run.path), "--quiet", *arguments]) == 2
    error = capsys.readouterr().err
    assert text in error and "Did you mean" not in error


def test_run_without_data_says_so(made, capsys):
    run, _ = made
    Run(run.path, msgspec.structs.replace(run.record, data=None)).save()
    assert oip(["gallery", str(run.path), "--quiet", "--with-data"]) == 2
    assert "--data" in capsys.readouterr().err


def test_images_that_were_arrays_have_to_be_given(made, capsys):
    run, _ = made
    data = msgspec.structs.replace(run.record.data, source="arrays")
    Run(run.path, msgspec.structs.replace(run.record, data=data)).save()
    assert oip(["gallery", str(run.path), "--quiet", "--with-data"]) == 2
    assert "Save them as 'images' in an .npz for --data" in capsys.readouterr().err


def test_no_run(tmp_path, capsys):
    assert oip(["gallery", str(tmp_path / "none"), "--quiet"]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_help(capsys):
    assert oip(["gallery", "--help"]) == 0
    assert "Example:" in capsys.readouterr().out
