"""The job file is read strictly, and what it says is what is done."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import oip
from oip.batch.job import EXAMPLE, ModelSource, changed, job_of, read_job
from oip.core.errors import OipError, SettingsError

PLAIN = {"models": ["a.keras"], "out": "runs"}


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"laers": ["a"]}, "Did you mean 'layers'"),
        ({"engine": {"kind": "local", "worker": 2}}, "Did you mean 'engine.workers'"),
        ({"rank": {"sample": 2}, "data": "x"}, "Did you mean 'rank.samples'"),
        ({"models": [{"pth": "a.keras"}]}, r"models\[0\]\.path"),
        ({"settings": {"stps": 3}}, "Did you mean 'steps'"),
        ({"settings": [{"steps": 3}, {"steps": 0}]}, "steps"),
        ({"settings": {"preset": "mine"}}, "preset"),
        ({"engine": {"kind": "locl"}}, "engine"),
        ({"engine": {"kind": "dask"}}, "scheduler"),
        ({"engine": {"workers": 0}}, "engine.workers"),
        ({"retries": -1}, "retries"),
        ({"rank": {}}, "data"),
        ({"settings": {"preset": "aligned"}}, "align: expected data as well"),
        ({"rank": {"samples": 3}, "data": "x"}, "rank.samples"),
        ({"models": []}, "at least one"),
        ({"models": [{"path": "a.keras", "application": "VGG16"}]}, "both"),
        ({"models": [{}]}, "neither"),
        ({"models": 3}, "models"),
        ({"models": [{"application": "VGG16", "weights": "mine"}]}, "weights"),
        ({"models": [{"path": "a.keras", "size": [32, 32]}]}, "'size' .*The key is input_size"),
        (
            {"models": [{"path": "a.keras", "seed": 3}]},
            "'seed' of a model: expected an application",
        ),
        ({"models": [{"path": "a.keras", "weights": "none"}]}, "'weights' of a model"),
        ({"models": [{"path": "a.keras", "top": True}]}, "'top' of a model"),
        ({"resize": "fit"}, "resize: expected data as well"),
        ({"data_dir": "sets"}, "data_dir: expected data as well"),
        ({"rank": {}, "data": "x", "objectives": ["class:1"]}, "rank: expected layers as well"),
    ],
)
def test_what_is_wrong_is_named(more, word):
    with pytest.raises(SettingsError, match=word):
        job_of({**PLAIN, **more})


def test_what_is_missing_is_named():
    with pytest.raises(SettingsError, match="out"):
        job_of({"models": ["a.keras"]})
    with pytest.raises(SettingsError) as caught:
        job_of({"out": "runs", "settings": {"models": ["a.keras"]}})
    assert str(caught.value) == (
        "'models' in the job: expected a list, above the tables; received none. "
        'For example: models = ["model.keras"]'
    )


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"out": 4}, "'out' in the job: expected a text; received 4. For example: out = "),
        (
            {"layers": [1]},
            r"'layers\[0\]' in the job: expected a text; received 1. For example: lay",
        ),
        ({"engine": {"workers": "x"}}, r"'engine.workers' .* a whole number; received \"x\"\. .*"),
        ({"engine": {"workers": "x"}}, r"in the table \[engine\]: workers = 2$"),
        (
            {"engine": {"kind": "locl"}},
            '"process" or "local" or "dask" or "slurm"; received "locl"',
        ),
        (
            {"engine": 3},
            r"a table; received 3\. For example a line \[engine\] and below it: kind =",
        ),
        (
            {"models": ["a", {"path": "b", "size": [1]}]},
            r"size' .* a list of length 2; received \[1",
        ),
        (
            {"models": ["a", {"path": "b", "weights": 1}]},
            '"imagenet" or "none"; received 1. .*--init',
        ),
    ],
)
def test_values_of_another_form_are_named_with_an_example(more, text):
    with pytest.raises(SettingsError, match=text):
        job_of({**PLAIN, **more})


def test_words_are_files_or_applications():
    models = ["a.keras", "nets/VGG16", "*.h5", "VGG16"]
    sources = job_of({**PLAIN, "models": models}).sources()
    assert [source.path for source in sources] == [*models[:3], None]
    assert sources[3] == ModelSource(application="VGG16")


def test_several_settings_are_several_variants():
    tables = [{"seed": 0}, {"seed": 1, "preset": "author"}]
    assert job_of({**PLAIN, "settings": tables}).variants() == tables
    assert job_of(PLAIN).variants() == [{}]


def test_values_are_put_in_as_toml_or_as_words():
    table = {**PLAIN, "settings": [{"steps": 5}, {"steps": 6}], "engine": {"kind": "local"}}
    job = changed(
        table, ["settings.steps=7", "data=mnist", "engine.workers=3", 'layers=["a", "b:0-3"]']
    )
    assert job["settings"] == [{"steps": 7}, {"steps": 7}]
    assert job["engine"] == {"kind": "local", "workers": 3}
    assert (job["data"], job["layers"]) == ("mnist", ["a", "b:0-3"])
    assert table["settings"] == [{"steps": 5}, {"steps": 6}]
    assert changed(PLAIN, ["rank.samples=50"])["rank"] == {"samples": 50}


@pytest.mark.parametrize("text", ["steps", "=3", "a.b.c=3", "out.x=3"])
def test_values_of_no_form_are_refused(text):
    with pytest.raises(SettingsError, match=r"TABLE\.NAME=VALUE|a table"):
        changed(PLAIN, [text])


def test_paths_are_taken_from_the_folder_of_the_job(tmp_path):
    (tmp_path / "bars.npz").write_bytes(b"")
    path = tmp_path / "job.toml"
    path.write_text(
        'models = ["nets/*.keras", "VGG16"]\nout = "runs/a"\ndata = "bars.npz:train"\n'
        'data_dir = "data"\n'
    )
    job = read_job(path)
    assert job.sources()[0].path == str(tmp_path / "nets/*.keras")
    assert job.sources()[1].application == "VGG16"
    assert Path(job.out) == tmp_path / "runs/a"
    assert job.data == f"{tmp_path / 'bars.npz'}:train"
    assert job.data_dir == str(tmp_path / "data")
    path.write_text('models = ["/a/b.keras"]\nout = "/c"\ndata = "mnist:test"\n')
    job = read_job(path)
    assert (job.sources()[0].path, job.out, job.data) == ("/a/b.keras", "/c", "mnist:test")


@pytest.mark.parametrize("content", [b"models = [", b"\xff\xfe", None])
def test_what_is_no_toml_is_refused(tmp_path, content):
    path = tmp_path / "job.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OipError, match="TOML"):
        read_job(path)


def test_the_example_is_a_job_and_so_is_all_that_it_leaves_out():
    job_of(tomllib.loads(EXAMPLE))
    names = ("layers", "objectives", "data", "[rank]", "estimators", "samples")
    shown = "\n".join(
        line.removeprefix("# ") if line.removeprefix("# ").startswith(names) else line
        for line in EXAMPLE.splitlines()
    )
    job = job_of(tomllib.loads(shown))
    assert job.layers and job.objectives and job.rank is not None
    assert job.rank.samples == 2000


def test_the_call_brings_no_tensorflow():
    code = (
        "import sys, oip; oip.batch.run; oip.batch.read_job;"
        "print([m for m in ('tensorflow', 'keras', 'sklearn', 'distributed') if m in sys.modules])"
    )
    root = str(Path(oip.__file__).parents[1])
    out = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert out.stdout.strip() == "[]"


def test_a_job_that_is_no_plain_file(tmp_path):
    path = tmp_path / "job.toml"
    os.mkfifo(path)
    with pytest.raises(SettingsError, match="a FIFO"):
        read_job(path)
    path.unlink()
    path.write_text("x = " + "[" * 100_000)
    with pytest.raises(SettingsError, match="nested too deeply"):
        read_job(path)


@pytest.mark.parametrize("name", ["out", "data", "data_dir"])
def test_empty_texts_are_no_paths(name):
    with pytest.raises(SettingsError, match=f"{name}: expected a text that is not empty"):
        job_of({**PLAIN, name: ""})
    with pytest.raises(SettingsError, match="resize: expected crop or fit or stretch"):
        job_of({**PLAIN, "resize": "bend"})
