"""A Python that has imported Keras and used nothing of it, forked for each command of a test.

An import of Keras takes seconds, more than most tests. One server does it for all workers of
pytest; whoever connects to its socket hands over arguments as for `python`, and open files, and
gets a process of its own. That process is killed when the connection ends. `CLIENT` is a script
that stands for `sys.executable`.
"""

from __future__ import annotations

import atexit
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
FOLDER = "OIP_TESTS_FORKED"
"""Names the environment variable of the server's folder."""
CLIENT = f"""#!{sys.executable} -ISs
import os, signal, sys
sys.path.append({str(Path(__file__).parent)!r})
import forked_python
process = forked_python.Forked(sys.argv[1:], forked_python.open_files(), os.path.dirname(__file__))
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, lambda number, frame: os.kill(process.pid, number))
code = process.wait()
if code < 0:
    signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
    os.kill(os.getpid(), -code)
os._exit(code)
"""


def open_files():
    """The numbers of all open files, each for itself."""
    paths = list(Path("/dev/fd").iterdir())
    return {int(path.name): int(path.name) for path in paths if path.exists()}


class Forked:
    """A process of the server.

    Args:
        arguments: as for `python`: `-c CODE ...`, `-m MODULE ...` or a script.
        files: number in the process -> open file here.
        folder: of the server.
        environment: this process's if None.
        file_size: bytes that it may write to a file; 0 for as many as it likes.
    """

    def __init__(self, arguments, files, folder, environment=None, file_size=0):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(f"{folder}/socket")
        request = {
            "arguments": arguments,
            "files": list(files),
            "environment": dict(os.environ) if environment is None else environment,
            "folder": str(Path.cwd()),
            "file_size": file_size,
        }
        text = json.dumps(request).encode()
        socket.send_fds(self._socket, [len(text).to_bytes(8, "big")], list(files.values()))
        self._socket.sendall(text)
        self._answers = self._socket.makefile("r")
        self.pid = int(self._answers.readline())

    def wait(self):
        """Return its exit code; minus the number of the signal that ended it."""
        code = int(self._answers.readline())
        self._answers.close()
        self._socket.close()
        return code


def begin_session():
    """Choose a folder for the server; it is begun when a test needs it."""
    os.environ[FOLDER] = tempfile.mkdtemp(prefix="oip-forked-")
    Path(os.environ[FOLDER], "session").write_text(str(os.getpid()))


def end_session():
    """End the server."""
    folder = Path(os.environ.pop(FOLDER))
    if (folder / "pid").exists():
        os.kill(int((folder / "pid").read_text()), signal.SIGTERM)
    shutil.rmtree(folder)


def server_folder():
    """Return the server's folder; the server is begun if there is none yet."""
    import fcntl

    folder = Path(os.environ[FOLDER])
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "pid").exists():
            (folder / "python").write_text(CLIENT)
            (folder / "python").chmod(0o700)
            server = subprocess.Popen(
                [sys.executable, __file__, str(folder), (folder / "session").read_text()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            while not (folder / "socket").exists():
                assert server.poll() is None, "the server could not begin"
                time.sleep(0.05)
            (folder / "pid").write_text(str(server.pid))
    return folder


def _serve(folder, session):
    """Fork for every connection, until this process or the session's is ended."""
    sys.path[0] = str(ROOT)
    from oip.core.frameworks import import_quietly

    import_quietly("keras")
    import oip.batch.driver
    import oip.cli.batch
    import oip.cli.main
    import oip.cli.reconstruct  # noqa: F401

    set_by_user = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [entry for entry in sys.path[1:] if entry not in set_by_user]
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{folder}/unready")
    listener.listen(64)
    ended, wake = socket.socketpair()
    for end in (ended, wake):
        end.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    Path(folder, "unready").rename(Path(folder, "socket"))
    connections = {}
    while True:
        ready, _, _ = select.select([listener, ended, *connections.values()], [], [], 5.0)
        try:
            os.kill(int(session), 0)
        except ProcessLookupError:
            return
        if ended in ready:
            ended.recv(4096)
            for pid, connection in list(connections.items()):
                number, status = os.waitpid(pid, os.WNOHANG)
                if number:
                    with suppress(OSError):
                        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
                    connections.pop(pid).close()
            continue
        for pid, connection in connections.items():
            if connection in ready:  # it was closed
                os.kill(pid, signal.SIGKILL)
        if listener in ready:
            connection, _ = listener.accept()
            length, files, _, _ = socket.recv_fds(connection, 8, 200)
            request = json.loads(connection.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL))
            pid = os.fork()
            if not pid:
                try:
                    _become(request, files)
                finally:
                    os._exit(1)
            for file in files:
                os.close(file)
            connections[pid] = connection
            connection.sendall(f"{pid}\n".encode())


def _become(request, files):
    """Do in this process what `python` would do with the arguments, and end it."""
    import fcntl
    import resource

    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    high = [fcntl.fcntl(file, fcntl.F_DUPFD, 500) for file in files]
    for file in files:
        os.close(file)
    for file, number in zip(high, request["files"], strict=True):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.dont_write_bytecode = True  # a limit of file sizes would leave half of a compiled module
    if request["file_size"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_size"],) * 2)
    try:
        code = _run(request["arguments"])
        threading._shutdown()
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


def _run(arguments):
    """Run arguments as `python` does, and return the exit code."""
    number = next(n for n, text in enumerate(arguments) if text in ("-c", "-m") or text[0] != "-")
    options, (kind, *rest) = arguments[:number], arguments[number:]
    safe = any(option[1] in "IP" for option in options) or os.environ.get("PYTHONSAFEPATH")
    entries = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:0] = [*([] if safe else [""]), *entries]
    try:
        if kind == "-m":
            sys.argv[:] = rest
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv[:] = ["-c", *rest[1:]] if kind == "-c" else [kind, *rest]
            text = rest[0] if kind == "-c" else Path(kind).read_text(encoding="utf-8")
            main = sys.modules["__main__"] = ModuleType("__main__")
            exec(compile(text, "<string>" if kind == "-c" else kind, "exec"), vars(main))
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        print(error.code, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    _serve(*sys.argv[1:])
