from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from oip.core import plots
from oip.core.errors import RunError
from oip.studies.findings import (
    Finding,
    MeasuredValue,
    Value,
    above,
    agreement,
    all_of,
    at_ceiling,
    graded,
    joined,
    larger,
    number_text,
    plain_numbers,
)
from oip.studies.report import Folder, MissingData, StudySettings, write_overview


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
    for of in ("", "one", "one", "other", ""):
        folder.part("part", counted(calls), of=of)
    assert len(calls) == 4


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
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert numbers == {"first": {"values": [1.5, None, None], "name": "x & y"}}
    record = json.loads((tmp_path / "study.json").read_text())
    assert [claim["agrees"] for claim in record["claims"]] == ["partly", "not tested"]
    assert record["settings"]["quick"] is True
    assert "data_dir" not in record["settings"]


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


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        (np.float32(0.1), 0.1),
        (np.array([[0.1, -np.inf]], np.float32), [[0.1, None]]),
        (1 / 3, 1 / 3),
        (np.nan, None),
        (np.array([True, False]), [True, False]),
        (np.arange(2), [0, 1]),
        ([], []),
        (["a"], ["a"]),
        ("text", "text"),
    ],
)
def test_numbers_are_short_and_plain(given: object, plain: object) -> None:
    assert plain_numbers(given) == plain
    json.dumps(plain_numbers(given), allow_nan=False)


def test_numbers_of_another_kind_are_refused() -> None:
    with pytest.raises(RunError, match="complex"):
        plain_numbers(1j)


def test_the_overview_links_reports_and_tells_what_stopped(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "rbig", "rbig", StudySettings())
    folder.add(Finding("Says", "no"))
    folder.finish("About rbig", "Paper")
    text = write_overview(tmp_path, ["rbig", "renyi", "oip"], {"renyi": "no <data>"}).read_text()
    assert linked(text) == {"rbig/report.html"}
    assert "About rbig" in text and "no &lt;data&gt;" in text and ">oip<" not in text


@pytest.mark.parametrize(
    ("outcomes", "result"),
    [
        ([], "not tested"),
        ([True, True], "yes"),
        ([np.True_, True], "yes"),
        ([False, False], "no"),
        ([True, False], "partly"),
        ([True, None], "partly"),
        ([None], "not tested"),
        ([None, None], "not tested"),
        ([False, None], "partly"),
    ],
)
def test_agreement(outcomes: list[bool | None], result: str) -> None:
    assert agreement(outcomes) == result


def test_a_difference_counts_beyond_two_spreads() -> None:
    assert larger(1.0, 0.5, 0.2) is True
    assert larger(0.5, 1.0, 0.2) is False
    assert larger(1.0, 0.7, 0.2) is None
    assert larger(1.0, 1.0, 0.0) is None
    assert larger(float("nan"), 1.0, 0.0) is None
    assert larger(2.0, 1.0, float("nan")) is None


@pytest.mark.parametrize(
    ("outcomes", "result"),
    [
        ([True, True], True),
        ([True, None], None),
        ([False, None], False),
        ([True, False], False),
        ([], None),
    ],
)
def test_a_finding_in_parts_holds_if_all_do(outcomes: list[bool | None], result: object) -> None:
    assert all_of(outcomes) is result


def test_the_ceiling_begins_two_percent_below_it() -> None:
    assert at_ceiling(0.98, 1.0) and not at_ceiling(0.979, 1.0)


def test_what_is_unknown_says_so() -> None:
    assert number_text(1 / 3) == "0.33"
    assert number_text(0.5, "+.1f") == "+0.5"
    assert number_text(float("nan")) == "unknown"


def test_values_as_text() -> None:
    value = Value("LeNet", 0.534, 0.5, 0.56)
    assert value.text() == "LeNet 0.53 (0.50 to 0.56)"
    assert value.named("all", 100, ".0f").text() == "all 53 (50 to 56)"
    assert Value("LeNet", 1.0, remark="at the ceiling").text() == "LeNet 1.00 (at the ceiling)"
    assert Value("LeNet", float("nan")).text() == "LeNet unknown"
    assert Value.spread("a", 1.0, 0.25).text() == MeasuredValue(1.0, 0.25).named("a").text()
    assert Value.spread("a", 1.0, 0.25).text() == "a 1.00 (0.50 to 1.50)"


def test_a_finding_as_text_and_json() -> None:
    values = {"relative width": [Value("LeNet", 0.5), Value("DenseNet", 1.0, 0.9, 1.1)]}
    row = Finding("It rises.", "partly", "MI, bits", values, "Slowly.", n="3 nets", settings="s")
    assert row.ours == "MI, bits: relative width: LeNet 0.50, DenseNet 1.00 (0.90 to 1.10). Slowly."
    record = row.to_dict()
    assert (record["found"], record["agrees"], record["sure"]) == (row.ours, "partly", "3 nets; s")
    first = {"group": "relative width", "name": "LeNet", "value": 0.5, "low": None, "high": None}
    assert record["values"][0] == first
    assert Finding("a", "no", remark="b").ours == "b"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.02, 0.1, True), (0.0, 0.005, False), (0.0, 0.02, None), (np.nan, np.nan, None)],
)
def test_an_effect_is_judged_by_its_interval(low, high, expected) -> None:
    assert above(Value("x", 0.0, low, high), 0.01) is expected


def test_verdicts_over_verdicts_and_shares() -> None:
    assert joined(["yes", "yes"]) == "yes"
    assert joined(["no", "not tested"]) == "no"
    assert joined(["yes", "not tested"]) == joined(["yes", "no"]) == "partly"
    assert joined([]) == joined(["not tested"]) == "not tested"
    assert [graded(share, 0.75, 0.5) for share in (0.8, 0.6, 0.2)] == ["yes", "partly", "no"]
