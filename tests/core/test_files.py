import os
import threading
from pathlib import Path

import numpy as np
import pytest

from oip.core import files
from oip.core.errors import RunError


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(ZeroDivisionError), files.replacing(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_written_files_follow_the_umask(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "x")
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask


def test_arrays_come_back_and_the_same_arrays_give_the_same_bytes(tmp_path):
    arrays = {"a": np.arange(5), "b": np.array("text")}
    for name in ("one.npz", "two.npz"):
        files.write_arrays(tmp_path / name, arrays)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    read = files.read_arrays(tmp_path / "one.npz")
    assert np.array_equal(read["a"], arrays["a"])
    assert str(read["b"]) == "text"


@pytest.mark.parametrize("seed", range(12))
def test_a_flipped_bit_or_a_cut_is_found(tmp_path, seed):
    random = np.random.default_rng(seed)
    path = tmp_path / "a.npz"
    values = random.normal(size=400)
    files.write_arrays(path, {"a": values})
    content = bytearray(path.read_bytes())
    if seed % 2:
        content = content[: random.integers(0, len(content) - 1)]
    else:
        content[random.integers(100, len(content) - 120)] ^= 16
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"expected .* received"):
        files.read_arrays(path)


def test_pickles_are_never_read(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.array([{"x": 1}], dtype=object))
    with pytest.raises(RunError):
        files.read_arrays(path)


def test_bad_json_and_missing_json_are_run_errors(tmp_path):
    (tmp_path / "bad.json").write_text("{")
    for name in ("bad.json", "none.json"):
        with pytest.raises(RunError, match="JSON file"):
            files.read_json(tmp_path / name)


def test_json_refuses_what_is_not_finite(tmp_path):
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "a.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())


def test_a_folder_under_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="expected"):
        files.check_writable(tmp_path / "file" / "inner")
    files.check_writable(tmp_path / "not" / "yet" / "there")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_links_that_lead_nowhere_and_what_is_no_file_are_not_written_to(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone").symlink_to("nowhere")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "device").symlink_to("/dev/null")
    for name in ("loop", "gone", "loop/inner"):
        with pytest.raises(RunError, match=r"leads nowhere|Too many levels"):
            files.check_writable(tmp_path / name)
    before = sorted(tmp_path.iterdir())
    for name, kind in (("fifo", "a FIFO"), ("device", "a device"), (".", "a folder")):
        with pytest.raises(RunError, match=kind):
            files.write_text(tmp_path / name, "text")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("kind", ["a FIFO", "a folder", "a device", "a path with a NUL byte"])
def test_only_plain_files_are_read(tmp_path, kind):
    path = tmp_path / "x.json"
    if kind == "a FIFO":
        os.mkfifo(path)
    path = {"a folder": tmp_path, "a device": Path("/dev/zero")}.get(kind, path)
    path = Path("a\0b") if "NUL" in kind else path
    for read in (files.read_json, files.read_arrays, files.array_names):
        with pytest.raises(RunError, match=f"received {kind}"):
            read(path)


def test_files_that_are_larger_than_the_limit_or_nested_too_deeply(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    path.write_text("[" * 100_000)
    with pytest.raises(RunError, match="nested too deeply"):
        files.read_json(path)
    monkeypatch.setenv(files.READ_LIMIT, "1e-6")
    with pytest.raises(RunError, match=r"above the limit of 1e-06 GiB, .* OIP_READ_LIMIT raises"):
        files.read_json(path)


def test_a_folder_that_no_system_takes(tmp_path):
    with pytest.raises(files.WriteError, match="null byte"):
        files.make_folder(tmp_path / "a\0b")


@pytest.mark.parametrize("name", ["a.json", "a.npz"])
def test_every_flipped_bit_and_every_cut_is_found(tmp_path, name):
    path = tmp_path / name
    if name == "a.json":
        files.write_json(path, {"mean": [87.342, 1.5], "name": "ä"})
        read = files.read_json
        assert read(path) == {"mean": [87.342, 1.5], "name": "ä"}
    else:
        files.write_arrays(path, {"a": np.arange(3)})
        read = files.read_arrays
        assert read(path)["a"].tolist() == [0, 1, 2]
    content = path.read_bytes()
    damaged = [content[:end] for end in range(len(content) - 1)]
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1 << position % 8
        damaged.append(bytes(changed))
    for bad in damaged:
        path.write_bytes(bad)
        with pytest.raises(RunError):
            read(path)


def test_files_of_earlier_versions_have_no_checksum(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"schema": 1, "a": 2.5}')
    assert files.read_json(path) == {"schema": 1, "a": 2.5}
    assert not files.has_checksum(path)
    np.savez(tmp_path / "a.npz", a=np.ones(2))
    assert files.read_arrays(tmp_path / "a.npz")["a"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("text", "reason"),
    [("[NaN]", "NaN"), ("1" * 5000, "digits"), ("\0", "JSON file")],
)
def test_hostile_json_is_one_line(tmp_path, text, reason):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(RunError, match=reason):
        files.read_json(path)


def test_names_of_other_bytes_than_utf_8_come_back(tmp_path):
    name = os.fsdecode(b"caf\xe9")  # as a folder may be called
    files.write_json(tmp_path / "a.json", {"classes": [name]})
    assert files.read_json(tmp_path / "a.json") == {"classes": [name]}
    files.write_text(tmp_path / "a.txt", name)
    assert (tmp_path / "a.txt").read_text() == "caf\\udce9"


def test_work_that_was_waited_for_is_claimed_by_one_alone(tmp_path):
    path = tmp_path / "a.lock"
    claims, begun, over = [], threading.Event(), threading.Event()

    def waits():
        with files.claimed(path, wait=True) as is_ours:
            claims.append(is_ours)
            begun.set()
            over.wait(20)

    thread = threading.Thread(target=waits)
    with files.claimed(path, wait=True) as is_ours:
        assert is_ours
        thread.start()
        thread.join(0.2)  # it waits for the lock of the file that this process removes
        assert not claims
    assert begun.wait(20) and claims == [True]
    with files.claimed(path, wait=False) as is_ours:
        assert not is_ours
    over.set()
    thread.join(20)
    assert not path.exists()
