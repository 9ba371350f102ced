import pytest

from oip import tour


def test_the_tour_shows_every_part(tmp_path, capsys):
    assert tour.main([str(tmp_path / "tour")], images=150) == 0
    out, err = capsys.readouterr()
    calls = "oip.reconstruct_into", "oip.rank_into", "oip.locate", "mi.separating", "gallery.build"
    for call in calls:
        assert call in out
    assert "Everything is in" in out
    for name in ("patterns", "responses", "places", "separating"):
        assert (tmp_path / "tour" / f"{name}.png").stat().st_size > 2000
    assert (tmp_path / "tour" / "run" / "gallery" / "index.html").is_file()
    assert "Traceback" not in err


@pytest.mark.parametrize(("arguments", "status"), [(["--help"], 0), (["a", "b"], 2), (["-x"], 2)])
def test_help_and_wrong_usage(arguments, status, capsys):
    assert tour.main(arguments) == status
    assert "python -m oip.tour" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, capsys):
    path = tmp_path / "file"
    path.write_text("x")
    assert tour.main([str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""  # nothing is trained for nothing
    assert err.count("\n") == 1 and str(path) in err
