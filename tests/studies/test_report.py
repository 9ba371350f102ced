from __future__ import annotations

import json
import mmap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from oip.core import files, plots
from oip.core.errors import RunError
from oip.core.output_formats import CostFile, NumbersFile
from oip.studies import report
from oip.studies.findings import Finding, Value
from oip.studies.report import (
    Folder,
    MissingData,
    StudySettings,
    measured,
    peak_bytes,
    write_overview,
)


def counted(calls: list[int]):
    def compute() -> dict[str, np.ndarray]:
        calls.append(1)
        return {"x": np.arange(3.0), "names": np.array(["a", "b"])}

    return compute


def test_a_part_is_computed_once(tmp_path: Path) -> None:
    calls: list[int] = []
    settings = StudySettings(quick=True, data=("mnist",))
    first = Folder(tmp_path, "rbig", settings).part("deep/one", counted(calls))
    second = Folder(tmp_path, "rbig", settings).part("deep/one", counted(calls))
    assert len(calls) == 1
    assert sorted(second) == ["names", "x"]
    np.testing.assert_array_equal(first["x"], second["x"])
    assert second["names"].tolist() == ["a", "b"]


def test_a_part_of_another_schema_or_a_damaged_one_is_computed_again(tmp_path: Path) -> None:
    calls: list[int] = []
    settings = StudySettings()
    Folder(tmp_path, "rbig", settings).part("one", counted(calls))
    Folder(tmp_path, "rbig", settings, schema=2).part("one", counted(calls))
    assert len(calls) == 2
    folder = Folder(tmp_path, "rbig", settings, schema=2)
    folder.file("one.npz").write_bytes(b"half")
    folder.part("one", counted(calls))
    assert len(calls) == 3


def test_a_part_of_other_data_is_computed_again(tmp_path: Path) -> None:
    calls: list[int] = []
    folder = Folder(tmp_path, "rbig", StudySettings())
    for digest in ("", "one", "one", "other", ""):
        folder.part("part", counted(calls), digest=digest)
    assert len(calls) == 4


def test_several_share_the_items_and_have_all_results_in_order(tmp_path: Path) -> None:
    computed: list[tuple[int, str]] = []
    both = threading.Barrier(2, timeout=20)

    def shared(index: int) -> list[float]:
        folder = Folder(tmp_path, "rbig", StudySettings())

        def compute(item: str) -> float:
            def part() -> dict[str, float]:
                if item in "ab":
                    both.wait()  # the two work at the same time
                computed.append((index, item))
                return {"x": ord(item)}

            return float(folder.part(f"own {item}", part)["x"])

        return [*folder.results("items", "abcd", "item-{}".format, compute).values()]

    with ThreadPoolExecutor(2) as pool:
        results = [*pool.map(shared, range(2))]
    assert results == [[97, 98, 99, 100]] * 2
    assert sorted(item for _, item in computed) == ["a", "b", "c", "d"]
    assert {index for index, _ in computed} == {0, 1}
    assert not [*tmp_path.rglob("*.lock"), *tmp_path.rglob("*.turn")]


def test_an_item_that_another_process_computes_comes_last(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "rbig", StudySettings())
    order: list[int] = []
    reports: list[tuple[str, float, int]] = []
    folder.progress = lambda *report: reports.append(report)
    with ExitStack() as other_process:
        other_process.enter_context(files.claimed(folder.file("item-1.turn"), wait=True))

        def compute(item: int) -> int:
            order.append(item)
            other_process.close()
            return item

        results = folder.results("items", [1, 2, 3], "item-{}".format, compute)
    assert (order, list(results)) == ([2, 3, 1], [1, 2, 3])
    assert reports[0] == ("items", 0, 3) and reports[-1] == ("items", 3, 3)


def test_two_at_one_part_compute_it_once(tmp_path: Path) -> None:
    calls: list[int] = []

    def part(_: int) -> list[float]:
        folder = Folder(tmp_path, "rbig", StudySettings())
        return folder.part("one", slowly)["x"].tolist()

    def slowly() -> dict[str, np.ndarray]:
        time.sleep(0.2)
        return counted(calls)()

    with ThreadPoolExecutor(2) as pool:
        assert [*pool.map(part, range(2))] == [[0, 1, 2]] * 2
    assert len(calls) == 1


def test_what_fails_leaves_no_part(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "rbig", StudySettings())

    def interrupted() -> dict[str, np.ndarray]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folder.part("one", interrupted)
    assert not folder.file("one.npz").exists()
    assert folder.part("one", counted([]))["x"].shape == (3,)


@pytest.mark.parametrize(
    ("study", "settings"),
    [
        ("renyi", StudySettings()),
        ("rbig", StudySettings(seed=1)),
        ("rbig", StudySettings(quick=True)),
        ("rbig", StudySettings(data=("mnist",))),
    ],
)
def test_a_folder_holds_one_study_with_one_setting(
    tmp_path: Path, study: str, settings: StudySettings
) -> None:
    Folder(tmp_path, "rbig", StudySettings())
    with pytest.raises(RunError, match="the study"):
        Folder(tmp_path, study, settings)


def test_a_damaged_mark_of_a_folder_says_what_to_do(tmp_path: Path) -> None:
    mark = Folder(tmp_path, "rbig", StudySettings()).file("of.json")
    mark.write_text("{")
    with pytest.raises(RunError, match=r"of\.json'.* Remove this file if .* rbig \(as it is\)"):
        Folder(tmp_path, "rbig", StudySettings())


def test_where_data_lie_and_how_long_it_takes_makes_no_other_study(tmp_path: Path) -> None:
    Folder(tmp_path, "rbig", StudySettings())
    Folder(tmp_path, "rbig", StudySettings(data_dir=tmp_path, iterations=7))


def line(values) -> object:
    drawing, panels = plots.figure(3, 2)
    panels[0, 0].plot(values)
    return drawing


def test_the_report_holds_figures_claims_and_notes(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "rbig", StudySettings(quick=True))
    values = np.array([1.5, np.nan, np.inf], np.float32)
    folder.figure("first", line([1, 2]), "What <is> shown", {"values": values, "name": "x & y"})
    folder.add(Finding("It says <b>", "partly", "Bits", [Value("all", 0.1)], n="one seed"))
    error = MissingData("STL-10", "'/data'", "Name its folder with --data.")
    folder.missing("It also says.", error)
    folder.note("A note & more")
    page = folder.finish("A title", "A paper")
    text = page.read_text()
    assert "It says &lt;b&gt;" in text and "A note &amp; more" in text
    assert "Needs STL-10" in text and "--data" in text
    links = linked(text)
    assert {"figures/first.png", "figures/first.svg", "numbers.json"} <= links
    assert all((tmp_path / link).is_file() for link in links)
    numbers = NumbersFile.read(tmp_path / "numbers.json").figures
    assert numbers == {"first": {"values": [1.5, None, None], "name": "x & y"}}
    record = json.loads((tmp_path / "study.json").read_text())
    assert [claim["agrees"] for claim in record["claims"]] == ["partly", "not tested"]
    assert record["settings"]["quick"] is True
    assert "data_dir" not in record["settings"]


def test_each_group_of_values_has_a_line_of_its_own(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "rbig", StudySettings())
    values = {name: [Value("a", 1.0), Value("b", 2.0)] for name in ("width < 1", "width > 1")}
    folder.add(Finding("It says.", "yes", "Bits", values, "width > 1: a remark."))
    text = folder.finish("A title", "A paper").read_text()
    assert (
        "Bits:\nwidth &lt; 1: a 1.00, b 2.00;\nwidth &gt; 1: a 1.00, b 2.00. width &gt; 1: a rem"
    ) in text


def linked(text: str) -> set[str]:
    links: set[str] = set()

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            links.update(value for name, value in attrs if name in ("href", "src") and value)

    Links().feed(text)
    return links


def test_no_folder_of_the_user_is_in_the_results(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    settings = StudySettings(
        data=(f"{secret}/a.npz", "mnist"), data_dir=secret / "data", models=f"{secret}/nets/*.keras"
    )
    folder = Folder(tmp_path / "out", "rbig", settings)
    folder.missing("Says", MissingData("a", f"'{secret}/a.npz'", f"See '{secret}/a.npz'."))
    folder.note(f"Read from {secret}/nets/*.keras and {secret}/data/mnist")
    folder.figure("one", line([1]), f"Of {secret}/a.npz", {})
    folder.finish("A title", "A paper")
    texts = {path: path.read_text() for path in folder.path.rglob("*.*") if path.suffix != ".png"}
    assert len(texts) == 5
    assert not [path for path, text in texts.items() if "secret" in text]
    assert "looked in 'a.npz'" in folder.findings[0].ours
    assert folder.notes == ["Read from *.keras and data/mnist"]
    # The user is told where, on stderr.
    assert str(secret) in folder.lacking[0]


def test_a_figure_of_any_name_can_be_linked(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "rbig", StudySettings())
    folder.figure("boxes-my data #1?.npz", line([1]), "", {})
    text = folder.finish("A title", "A paper").read_text()
    assert "figures/boxes-my-data--1--npz.png" in linked(text)
    assert all((tmp_path / link).is_file() for link in linked(text))


def test_the_same_figure_gives_the_same_bytes(tmp_path: Path) -> None:
    pictures = []
    for name in ("a", "b"):
        folder = Folder(tmp_path / name, "rbig", StudySettings())
        folder.figure("one", line([3, 1, 2]), "", {"y": [3, 1, 2]})
        pictures.append(
            [(folder.path / f"figures/one{end}").read_bytes() for end in (".png", ".svg")]
        )
    assert pictures[0] == pictures[1]


def test_a_name_is_used_once_and_an_agreement_is_one_of_four(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "rbig", StudySettings())
    folder.figure("one", line([1]), "", {})
    with pytest.raises(RunError, match="'one' again"):
        folder.figure("one", line([1]), "", {})
    with pytest.raises(RunError, match="yes, partly"):
        folder.add(Finding("a", "perhaps"))  # pyright: ignore[reportArgumentType]


def test_the_overview_links_reports_and_tells_what_stopped(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "rbig", "rbig", StudySettings())
    folder.add(Finding("Says", "no"))
    folder.finish("About rbig", "Paper")
    text = write_overview(tmp_path, ["rbig", "renyi", "oip"], {"renyi": "no <data>"}).read_text()
    assert linked(text) == {"rbig/report.html"}
    assert "About rbig" in text and "no &lt;data&gt;" in text and ">oip<" not in text


def test_calls_add_up_and_one_that_fails_counts_too(tmp_path: Path) -> None:
    path = tmp_path / "parts" / "took.json"
    with measured(path):
        time.sleep(0.05)
    first = CostFile.read(path)
    with pytest.raises(KeyboardInterrupt), measured(path):
        time.sleep(0.05)
        raise KeyboardInterrupt
    with measured(path):
        pass
    last = CostFile.read(path)
    assert (first.calls, last.calls) == (1, 3)
    assert 0.05 <= first.seconds < last.seconds
    assert last.seconds >= 0.1


def test_the_peak_is_that_of_the_block(tmp_path: Path) -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the system does not tell it anew")
    size = 60 << 20  # mapped by itself: memory of the heap may stay with the process
    with mmap.mmap(-1, size) as block:
        block.write(b"1" * size)
        before = peak_bytes()
    with measured(tmp_path / "small.json"):
        pass
    with measured(tmp_path / "large.json"), mmap.mmap(-1, size) as block:
        block.write(b"1" * size)
    small, large = (CostFile.read(tmp_path / f"{name}.json") for name in ("small", "large"))
    assert before is not None and small.peak_bytes is not None and large.peak_bytes is not None
    assert small.peak_bytes < before - (40 << 20)
    assert large.peak_bytes > small.peak_bytes + (40 << 20)


def test_damaged_or_unknown_costs_are_no_hindrance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "took.json"
    path.write_text("half")
    monkeypatch.setattr(report, "peak_bytes", lambda: None)
    with measured(path):
        pass
    total = CostFile.read(path)
    assert total.calls == 1
    assert total.peak_bytes is None
    assert CostFile(seconds=0.4, calls=1).text() == "0 s"


def test_a_cost_as_text() -> None:
    assert CostFile(seconds=312.4, peak_bytes=3 << 29, calls=1).text() == "312 s, 1.5 GiB"
    assert (
        CostFile(seconds=312.4, peak_bytes=3 << 29, calls=2).text() == "312 s, 1.5 GiB in 2 calls"
    )


def test_a_study_of_resized_images_goes_on(tmp_path):
    settings = StudySettings(size=(32, 32), resize="crop")
    Folder(tmp_path, "x", settings)
    assert Folder(tmp_path, "x", settings).settings == settings


def test_a_caption_names_the_papers_figure_of_the_data(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "kernels", StudySettings())
    values = {"source": "", "network": ""}
    data = ("mnist lenet", "fashion-mnist lenet", "fashion-mnist densenet", "mine.npz densenet")
    numbers = [folder.caption("responses", name, **values).partition(" of ")[0] for name in data]
    assert numbers == ["As figure 6", "As figure 14", "As figure 15", "As figure 7"]
    planes = Folder(tmp_path / "plane", "plane", StudySettings())
    text = planes.text("last_layers", name="x", recorded=5)
    assert planes.caption("last_layers", "mnist", name="x", recorded=5).endswith(text)
    assert planes.caption("last_layers", "fashion-mnist", name="x", recorded=5) == text
    assert planes.caption("decisions", "mnist", name="x", count=1, images=3).startswith("x: right")
