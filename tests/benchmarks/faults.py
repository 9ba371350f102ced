"""Kills, flipped bits, cuts and lost files of a small run, a batch and a gallery.

    python tests/benchmarks/faults.py [--trials 200] [--part K/N] [--seed 0] [--minutes 10]

Each trial begins with whole results or, for a kill, with none. A random process or file is harmed,
`oip verify` looks at it, the commands that made the results are given once more, and then
`oip verify --repair`. A fault is silent if `oip verify` finds nothing wrong at first, or something
in the end, or if the files differ then from those of results that were never harmed. Prints the
counts; the exit status is 1 if a fault was silent.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path

import numpy as np

from oip.core.frameworks import import_quietly

SUBJECTS = ("run", "batch", "gallery")
FAULTS = ("kill", "flip", "cut", "delete")
SHORT = ["--starts", "2", "--steps", "4", "--screened", "8", "-q"]
NOT_COMPARED = ("log.jsonl",)
"""A batch's log tells of each try."""
NOT_KNOWN = ("gallery.html", "log.jsonl")
"""Files that may be there or not: their loss is not to be missed."""


def in_child(work: Callable[[], int], kill_after: float = 300) -> int:
    """Return the exit status of work in a forked process; minus the signal's number if killed."""
    process = os.fork()
    if not process:
        for descriptor in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
        os._exit(work())
    timer = threading.Timer(kill_after, os.kill, (process, signal.SIGKILL))
    timer.start()
    status = os.waitpid(process, 0)[1]
    timer.cancel()
    return os.waitstatus_to_exitcode(status)


def in_process(work: Callable[[], int]) -> tuple[int, str]:
    """Return the exit status of work in this process, and what it says on stderr."""
    remarks = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(remarks):
        try:
            status = work()
        except Exception:
            remarks.write(traceback.format_exc())
            status = 1
    return status, remarks.getvalue().strip()


def prepared(folder: Path) -> int:
    """Write a model, its images and a job."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    keras.Sequential(
        [
            layers.Input((9, 9, 1)),
            layers.Conv2D(4, 3, activation="relu", name="first"),
            layers.Conv2D(70, 3, activation="relu", name="second"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4, activation="softmax"),
        ]
    ).save(folder / "m.keras")
    random = np.random.default_rng(0)
    images = random.integers(0, 60, (80, 9, 9, 1)).astype(np.uint8)
    labels = np.arange(80) % 4
    for image, label in zip(images, labels, strict=True):
        image[2 * label] += 150
    np.savez(folder / "bars.npz", images=images, labels=labels)
    return 0


def commands(subject: str, folder: Path, out: Path) -> int:
    """Make a run, a batch or a run with a gallery; return the worst exit status."""
    from oip.cli.main import run

    model, data = str(folder / "m.keras"), ["--data", f"{folder / 'bars.npz'}:train"]
    own = ["--out", str(out)]
    if subject == "batch":
        job = {
            "models": f'["{model}"]',
            "layers": '["first", "second:0-1,66"]',
            "out": f'"{out}"',
            "data": f'"{data[1]}"',
            "settings": "[{ starts = 2, steps = 4, screened = 8 }]",
            "rank": '{ estimators = ["kde"], samples = 40 }',
        }
        path = folder / f"{out.name}.toml"
        path.write_text("\n".join(f"{name} = {value}" for name, value in job.items()))
        return run(["batch", str(path), "-q"])
    rank = [*own, *data, "--estimator", "kde", "--samples", "40", "-q"]
    statuses = [run(["reconstruct", model, "first", "second:0-1,66", *own, *data, *SHORT])]
    if subject == "run":
        statuses.append(run(["rank", model, "first", *rank, "--redundancy", "--ablate"]))
        statuses.append(run(["rank", model, "first:1", *rank, "--kernels"]))
    else:
        statuses.append(run(["gallery", str(out), "-q"]))
        statuses.append(run(["gallery", str(out), "--single-file", "-q"]))
    return max(statuses)


def verified(out: Path, *more: str) -> int:
    """Return the exit status of `oip verify`."""
    from oip.cli.main import run

    return run(["verify", str(out), "-q", *more])


def contents(out: Path, without: tuple[str, ...] = NOT_COMPARED) -> dict[str, bytes]:
    """Return the files of results, without those that unfinished writes left."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and not path.name.startswith(".writing-") and path.name not in without
    }


def harmed(random: np.random.Generator, out: Path, fault: str) -> str:
    """Flip a bit of a file, cut it or remove it; return its name."""
    names = list(contents(out, NOT_KNOWN if fault == "delete" else ()))
    name = names[random.integers(len(names))]
    path = out / name
    content = bytearray(path.read_bytes())
    if fault == "delete":
        path.unlink()
    elif fault == "cut":
        path.write_bytes(content[: random.integers(len(content))])
    else:
        content[random.integers(len(content))] ^= 1 << int(random.integers(8))
        path.write_bytes(content)
    return name


def kill(random: np.random.Generator, subject: str, folder: Path, out: Path) -> str:
    """Kill the commands that make results at a random moment; tell when it was."""
    start = time.monotonic()
    in_child(lambda: commands(subject, folder, out), random.uniform(0.1, 1.0) * SECONDS[subject])
    return f"killed after {time.monotonic() - start:.2f} s of {SECONDS[subject]:.2f} s"


SECONDS: dict[str, float] = {}
"""Time that each of the subjects takes to be made."""


def mended(subject: str, folder: Path, out: Path, whole: dict[str, bytes]) -> list[str]:
    """Give the commands once more; return the ways in which the results are not whole then."""
    status, remarks = in_process(lambda: commands(subject, folder, out))
    if status or "Traceback" in remarks:
        return [f"not mended: {remarks[-300:]}"]
    after = contents(out)
    names = [name for name in whole.keys() | after.keys() if after.get(name) != whole.get(name)]
    ways = [f"other files: {names}"] if names else []
    return ways + (
        ["not whole in the end"] if in_process(partial(verified, out, "--repair"))[0] else []
    )


def main() -> int:
    """Do the trials of a part and print their counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--part", default="0/1", metavar="K/N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args()
    part, parts = map(int, options.part.split("/"))
    import_quietly("keras")
    import oip.batch.driver
    import oip.cli.batch
    import oip.cli.compare
    import oip.cli.gallery
    import oip.cli.rank
    import oip.cli.reconstruct
    import oip.cli.runs
    import oip.gallery.site
    import oip.workflows.rank  # noqa: F401

    counts: Counter[str] = Counter()
    silent: list[str] = []
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        in_child(lambda: prepared(folder))
        for subject in SUBJECTS:
            start = time.monotonic()
            if in_child(partial(commands, subject, folder, folder / subject)):
                sys.exit(f"the {subject} cannot be made")
            SECONDS[subject] = time.monotonic() - start
        whole = {subject: contents(folder / subject) for subject in SUBJECTS}
        numbers = range(part, options.trials, parts)
        kinds = {number: (SUBJECTS[number % 3], FAULTS[number // 3 % 4]) for number in numbers}
        done: dict[int, str] = {}
        # kills come first: a process that has used TensorFlow cannot be forked
        for number in sorted(numbers, key=lambda number: kinds[number][1] != "kill"):
            subject, fault = kinds[number]
            if time.monotonic() - started > 60 * options.minutes:
                break
            random = np.random.default_rng([options.seed, number])
            out = folder / str(number) / subject
            out.parent.mkdir()
            if fault == "kill":
                done[number] = kill(random, subject, folder, out)
            else:
                shutil.copytree(folder / subject, out)
                done[number] = f"{fault} of {harmed(random, out, fault)}"
        for number, text in done.items():
            subject, fault = kinds[number]
            out = folder / str(number) / subject
            ways = []
            if fault != "kill":
                status, remarks = in_process(partial(verified, out))
                ways += ["not noticed"] if not status else []
                ways += ["traceback"] if "Traceback" in remarks else []
            ways += mended(subject, folder, out, whole[subject])
            shutil.rmtree(out.parent)
            counts[fault] += 1
            counts[f"{fault}, silent"] += bool(ways)
            silent += [f"{number} {subject}: {text}: {way}" for way in ways]
    seconds = round(time.monotonic() - started)
    print(json.dumps({"seconds": seconds, **counts, "silent": silent}, indent=1))
    return 1 if silent else 0


if __name__ == "__main__":
    sys.exit(main())
