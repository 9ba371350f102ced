from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from oip.core import plots
from oip.core.errors import DataError, RunError
from oip.studies.data import digest, every_source, load_images, study_data
from oip.studies.report import Folder, MissingData, StudySettings, plain_numbers, write_overview


def counted(calls: list[int]):
    def compute() -> dict[str, np.ndarray]:
        calls.append(1)
        return {"x": np.arange(3.0), "names": np.array(["a", "b"])}

    return compute


def test_a_part_is_computed_once(tmp_path: Path) -> None:
    calls: list[int] = []
    settings = StudySettings(quick=True, data=("mnist",))
    first = Folder(tmp_path, "rbig", settings).part("deep/one", counted(calls))
    again = Folder(tmp_path, "rbig", settings).part("deep/one", counted(calls))
    assert len(calls) == 1
    assert sorted(again) == ["names", "x"]
    np.testing.assert_array_equal(first["x"], again["x"])
    assert again["names"].tolist() == ["a", "b"]


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
        folder.part("part", counted(calls), of)
    assert len(calls) == 4


def test_the_digest_of_data_is_that_of_images_and_labels(tmp_path: Path) -> None:
    values = np.arange(20 * 4 * 4, dtype=np.uint8).reshape(20, 4, 4) % 250
    labels = np.arange(20) % 2
    folder, settings = Folder(tmp_path / "out", "rbig", StudySettings()), StudySettings()
    found = []
    for place, (some, known) in enumerate(
        [(values, labels), (values, labels), (values + 1, labels), (values, 1 - labels)]
    ):
        path = tmp_path / f"{place}.npz"
        np.savez(path, images=some, labels=known)
        found.append(load_images(folder, str(path), settings).digest)
    assert found[0] == found[1]
    assert len(set(found)) == 3
    bare = study_data(tmp_path / "0.npz", settings)
    assert len(digest(bare)) == 64


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
    folder.claim("It says <b>", "0.1 bits", "partly", "one seed")
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
    told = json.loads((tmp_path / "study.json").read_text())
    assert [claim["agrees"] for claim in told["claims"]] == ["partly", "not tested"]
    assert told["settings"]["quick"] is True
    assert "data_dir" not in told["settings"]


def linked(text: str) -> set[str]:
    found: set[str] = set()

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.update(value for name, value in attrs if name in ("href", "src") and value)

    Links().feed(text)
    return found


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
    assert "looked in 'a.npz'" in folder.claims[0].found
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
        folder.claim("a", "b", "perhaps", "c")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("given", "wanted"),
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
def test_numbers_are_short_and_plain(given: object, wanted: object) -> None:
    assert plain_numbers(given) == wanted
    json.dumps(plain_numbers(given), allow_nan=False)


def test_numbers_of_another_kind_are_refused() -> None:
    with pytest.raises(RunError, match="complex"):
        plain_numbers(1j)


def test_the_overview_links_reports_and_tells_what_stopped(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "rbig", "rbig", StudySettings())
    folder.claim("Says", "Found", "no", "sure")
    folder.finish("About rbig", "Paper")
    text = write_overview(tmp_path, ["rbig", "renyi", "oip"], {"renyi": "no <data>"}).read_text()
    assert linked(text) == {"rbig/report.html"}
    assert "About rbig" in text and "no &lt;data&gt;" in text and ">oip<" not in text


def test_missing_data_say_where_they_were_looked_for(tmp_path: Path) -> None:
    settings = StudySettings(data_dir=tmp_path)
    with pytest.raises(MissingData, match="nothing in") as caught:
        study_data("mnist", settings, "no-such-part")
    assert str(tmp_path) in caught.value.looked and "Keras" in caught.value.looked
    assert "mnist" in caught.value.needs
    with pytest.raises(MissingData, match="nothing in") as caught:
        study_data("somewhere/nope.npz", settings)
    assert caught.value.looked == f"'{Path('somewhere/nope.npz').absolute()}'"
    assert "'nope.npz'" in caught.value.needs
    assert len(study_data("binary-12", settings, "test")) == 819


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_source_of_one_part_is_refused(tmp_path: Path, part: str) -> None:
    settings = StudySettings(data=(f"mnist-sample:{part}",))
    with pytest.raises(DataError, match=r"both parts.*Use mnist-sample"):
        every_source(Folder(tmp_path, "kernels", settings), settings)


def test_data_without_labels_are_told_and_the_others_used(tmp_path: Path) -> None:
    path = tmp_path / "bare.npz"
    np.savez(
        path, images=np.zeros((20, 4, 4), np.uint8) + np.arange(20, dtype=np.uint8)[:, None, None]
    )
    settings = StudySettings(data=(str(path), "mnist-sample"))
    folder = Folder(tmp_path / "out", "kernels", settings)
    assert [one.name for one in every_source(folder, settings)] == ["mnist-sample"]
    assert [claim.agrees for claim in folder.claims] == ["not tested"]
    assert "labels of the data 'bare.npz'" in folder.lacking[0]
    alone = StudySettings(data=(str(path),))
    with pytest.raises(MissingData, match="labels"):
        every_source(Folder(tmp_path / "alone", "kernels", alone), alone)


def test_digits_that_stand_for_mnist_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(source, settings, part):
        if source != "mnist-sample":
            raise MissingData(source, "nowhere", "Fetch it.")
        return study_data(source, settings, part)

    monkeypatch.setattr("oip.studies.data.study_data", nowhere)
    folder = Folder(tmp_path, "kernels", StudySettings())
    assert [one.name for one in every_source(folder, StudySettings())] == ["mnist-sample"]
    load_images(folder, "mnist", StudySettings())
    assert len(folder.notes) == 1
    assert ["replace it" in text for text in folder.lacking] == [True, False]
