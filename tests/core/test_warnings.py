import os
import threading
import time
import warnings

import numpy as np
import pytest

from oip.core.warnings import Notice, import_quietly, notice
from oip.network.inputs import InputSpec


def unknown():
    return InputSpec((4, 4, 1), np.zeros(1), np.ones(1), np.nan, np.nan, "assumed")


def test_a_notice_points_at_the_line_of_the_user():
    with pytest.warns(Notice, match="not known") as caught:
        unknown().warn_if_assumed()
    assert caught[0].filename == __file__


def test_what_is_known_gives_none():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unknown().with_statistics(mean=(1.0,)).warn_if_assumed()


def test_the_same_line_is_told_once():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            notice("once")
    assert len(caught) == 1


def test_stderr_is_open_again_after_imports_in_two_threads(tmp_path, monkeypatch):
    for name, seconds in {"slow_one": 0.1, "slow_two": 0.2}.items():
        (tmp_path / f"{name}.py").write_text(f"import time\ntime.sleep({seconds})\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = os.fstat(2)
    threads = [
        threading.Thread(target=import_quietly, args=(name,)) for name in ("slow_one", "slow_two")
    ]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    after = os.fstat(2)
    assert (after.st_dev, after.st_ino) == (before.st_dev, before.st_ino)
