"""Progress in notebooks, and nowhere else."""

from __future__ import annotations

import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from oip.core.progress import NotebookBars, automatic, on_stderr, piece_of, silent, waiting

HOSTILE = "<script>alert('x')</script>\x1b[31m&\""


class Shown:
    """A stand-in for `IPython.display.display` and its handle, with the pages that it was given."""

    def __init__(self):
        self.pages = []

    def display(self, page, display_id):
        self.pages.append(page)
        return self

    def update(self, page):
        self.pages.append(page)


def test_bars_are_drawn_once_and_then_updated():
    shown = Shown()
    bars = NotebookBars(shown.display, lambda page: page)
    for done in range(1, 2001):
        bars(HOSTILE, done, 2000)
    bars("second", 1, 4)
    assert len(shown.pages) < 200
    assert "2000 of 2000" in shown.pages[-1]
    assert "width:100%" in shown.pages[-1]
    assert "second: 1 of 4" in shown.pages[-1]
    assert "width:25%" in shown.pages[-1]
    assert "<script" not in shown.pages[-1]


@pytest.mark.parametrize("kernel", [True, False])
def test_a_kernel_shows_progress_and_a_terminal_does_not(monkeypatch, kernel):
    shown = Shown()
    shell = SimpleNamespace(kernel=object() if kernel else None, execution_count=1)
    display = SimpleNamespace(HTML=lambda page: page, display=shown.display)
    monkeypatch.setitem(
        sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell, display=display)
    )
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    automatic("maps", 1, 4)
    automatic("maps", 4, 4)
    silent("maps", 4, 4)
    assert len(shown.pages) == (2 if kernel else 0)
    shell.execution_count = 2
    automatic("other", 1, 1)
    if kernel:
        assert "maps" not in shown.pages[-1]  # a new cell has bars of its own


def test_scripts_neither_show_progress_nor_import_ipython():
    code = (
        "import sys; from oip.core.progress import automatic; automatic('maps', 1, 2);"
        "print('IPython' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (out.stdout.strip(), out.stderr) == ("False", "")


@pytest.mark.parametrize("terminal", [True, False])
def test_stderr_has_bars_on_a_terminal_and_lines_elsewhere(monkeypatch, capfd, terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with on_stderr() as report:
        for done in range(4):
            report(HOSTILE, done, 3)
        report("second", 1, 2, "one of [bold]two")
        report("second", 2, 2, "two of [bold]two")
    out, err = capfd.readouterr()
    assert out == ""
    assert "3/3" in err and "two of [bold]two" in err
    assert terminal or err.count("\n") == 2
    assert terminal or "\x1b" not in err
    with on_stderr(quiet=True) as report:
        report("maps", 1, 1)
    assert capfd.readouterr() == ("", "")


def test_rate_and_time_left_are_told(monkeypatch, capfd):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    with on_stderr() as report:
        for done in (0, 0.5, 4.0, 20):
            report("maps", done, 20)
            now[0] += 4.0
    lines = capfd.readouterr()[1].splitlines()
    # The rate is that since the first steps, before which the model was traced.
    assert lines == ["maps: 0/20", "maps: 4/20, 0.88/s, 18 s left", "maps: 20/20, 2.4/s"]
    shown = Shown()
    bars = NotebookBars(shown.display, lambda page: page)
    bars("maps", 1, 5)
    now[0] += 2.0
    bars("maps", 2.5, 5)
    assert "maps: 2 of 5, 0.75/s, 3 s left" in shown.pages[-1]


def test_a_piece_moves_the_bar_of_the_whole():
    reports = []
    within = piece_of(lambda *report: reports.append(report), "nodes", 2, 4)
    within("layer: screening", 5, 10)
    within("layer: maps", 5, 10)
    within("layer: maps", 10, 10)
    assert reports == [("nodes", 2, 4), ("nodes", 2.5, 4), ("nodes", 3, 4)]


@pytest.mark.parametrize("terminal", [True, False])
def test_waiting_is_shown_on_a_terminal_alone(monkeypatch, capfd, terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.setenv("FORCE_COLOR" if terminal else "NO_COLOR", "1")
    with waiting(f"opening {HOSTILE}"):
        pass
    err = capfd.readouterr()[1]
    assert ("opening" in err) == terminal
    assert "\x1b[31m&" not in err
    with waiting("opening", quiet=True):
        pass
    assert capfd.readouterr() == ("", "")
