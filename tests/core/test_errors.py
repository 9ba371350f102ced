"""Messages of errors."""

from __future__ import annotations

import os
import pickle
import subprocess
import warnings

import numpy as np
import pytest

from oip.core.errors import (
    Notice,
    OipError,
    PartlyFailed,
    RunError,
    did_you_mean,
    expected,
    notice,
    reason_of,
    shell_command,
)
from oip.network.inputs import InputSpec


def test_the_nearest_name_is_offered():
    assert did_you_mean("stps", ("steps", "starts")) == "Did you mean 'steps'?"
    assert did_you_mean("stps", ("steps",), "settings.") == "Did you mean 'settings.steps'?"
    assert did_you_mean(3, ("steps",)) == ""


def test_a_command_line_is_read_by_bash_as_it_was_given():
    arguments = [
        "a b",
        "it's",
        '$HOME `id` "q"',
        "new\nline'\\",
        os.fsdecode(b"\xff\xfe1"),
        "*",
        "",
    ]
    line = shell_command("printf", "%s\\0", *arguments)
    assert line.isprintable()
    output = subprocess.run(["bash", "-c", line], capture_output=True, check=True).stdout
    assert [os.fsdecode(argument) for argument in output.split(b"\0")[:-1]] == arguments
    assert shell_command("a\ud800b\n") == "$'a\\x3fb\\x0a'"  # half of a surrogate pair has no bytes


def test_one_form_for_all_messages():
    assert expected("seed", "a number", "'x'") == "seed: expected a number; received 'x'."
    assert expected("a", "b", "c", "Do d.") == "a: expected b; received c. Do d."


def test_errors_say_expected_received_and_their_status():
    text = expected("maps", "0 to 3", 9, "Try 'oip layers'.")
    assert text == "maps: expected 0 to 3; received 9. Try 'oip layers'."
    error = RunError("maps", "0 to 3", 9, "Try 'oip layers'.")
    assert str(error) == str(RunError(text)) == text
    assert str(pickle.loads(pickle.dumps(error))) == text
    assert (RunError.exit_status, PartlyFailed.exit_status) == (2, 1)
    assert issubclass(RunError, OipError)


def test_the_reason_of_a_long_error_is_its_last_cause():
    config = "x" * 500
    text = f"Error when deserializing '{config}'.\n\nException encountered: Bad keyword: y"
    assert reason_of(ValueError(text)) == "Bad keyword: y"
    text = (
        "Exception encountered when calling Conv2D.call().\n\n\x1b[1mToo small\x1b[0m\n\nArguments"
    )
    assert reason_of(ValueError(text)) == "Too small"
    assert reason_of(ValueError()) == "ValueError"


def test_messages_end_in_one_full_stop_and_no_word_is_endless():
    text = expected("labels", "a number", f"'{'9' * 5000}' of Keras' own.")
    assert text == f"labels: expected a number; received '{'9' * 79}... of Keras' own."


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
