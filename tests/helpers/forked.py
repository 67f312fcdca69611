"""Run programs in processes that are forked from a server, which has imported torch and Snakemake.

This saves the two seconds that each program takes to import them. The jobs of a workflow that runs so are forked, too:
Snakemake takes `fork_client.py` for Python. The server imports nothing of the workflow, because a program takes that
from the copy of the repository that it belongs to.
"""

import atexit
import contextlib
import fcntl
import functools
import gc
import importlib
import multiprocessing
import os
import runpy
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path

import threadpoolctl

from helpers import fork_client

TESTS = Path(__file__).parents[1]
PRELOAD = [
    "torch",
    "gymnasium",
    "matplotlib.figure",
    "PIL.Image",
    "cma",
    "smart_open",
    "snakemake.cli",
    "snakemake.report",
]


def run(command: list[str], cwd: Path | str | None, timeout: float) -> subprocess.CompletedProcess:
    """Run a program as subprocess.run does.

    Args:
        command: "snakemake", the path of a script, or "-m" and a module of the working directory; and its flags.
        cwd: Working directory; None for this process's own.
        timeout: Seconds.

    Raises:
        subprocess.TimeoutExpired: the program took longer, and was killed.
    """
    address, python = start_server()
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr, open(os.devnull) as stdin:
        files = {file.fileno(): number for number, file in enumerate((stdin, stdout, stderr))}
        connection, pid = fork_client.start(address, [python, *command], str(cwd or os.getcwd()), files)
        connection.settimeout(timeout)
        try:
            code = fork_client.wait(connection)
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(command, timeout) from None
        finally:
            connection.close()
        outputs = []
        for file in (stdout, stderr):
            file.seek(0)
            outputs.append(file.read().decode(errors="replace"))
    return subprocess.CompletedProcess(command, -signal.SIGKILL if code is None else code, *outputs)


@functools.cache
def start_server() -> tuple[str, str]:
    """Return the address of this process's server, and the path of a program that stands in for Python."""
    folder = Path(tempfile.mkdtemp(prefix="forked"))
    address, python = folder / "socket", folder / "python"
    client = [sys.executable, "-SE", str(TESTS / "helpers/fork_client.py"), str(address), str(python), sys.executable]
    python.write_text(f'#!/bin/sh\nexec {shlex.join(client)} "$@"\n')
    python.chmod(0o755)
    code = f"import sys; sys.path.insert(0, {str(TESTS)!r}); from helpers import forked; forked.serve({str(address)!r})"
    server = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdout.readline() == b"ready\n"
    atexit.register(stop_server, server, folder)
    return str(address), str(python)


def stop_server(server: subprocess.Popen, folder: Path) -> None:
    server.stdin.close()
    server.wait()
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def serve(address: str) -> None:
    """Fork a process for each connection, until the standard input ends."""
    os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"
    for name in PRELOAD:
        importlib.import_module(name)
    gc.freeze()  # A collection would copy the memory that the forked processes share.
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(16)
        os.write(1, b"ready\n")
        while True:
            readable, _, _ = select.select([listener, 0], [], [], 1.0)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            if 0 in readable:
                return
            if readable:
                connection, _ = listener.accept()
                if os.fork() == 0:
                    listener.close()
                    become(connection)
                connection.close()


def become(connection: socket.socket) -> None:
    """Run the program that a client asks for, tell the client the exit code, and end this process."""
    code = 1
    try:
        request, files = fork_client.receive(connection)
        copies = [fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 100) for file in files]
        connection = socket.socket(fileno=fcntl.fcntl(connection, fcntl.F_DUPFD_CLOEXEC, 100))
        for file in files:
            os.close(file)
        for copy, number in zip(copies, request["numbers"]):
            os.dup2(copy, number, inheritable=number < 3)
            os.close(copy)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["cwd"])
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        code = execute(request["command"])
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            threading._shutdown()
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        connection.sendall(code.to_bytes(4, "little", signed=True))
        os._exit(code & 0xFF)


def execute(command: list[str]) -> int:
    """Run a program in this process and return its exit code.

    Args:
        command: a stand-in for Python; "snakemake", the path of a script, "-m" and a module, or the words of
            multiprocessing that begin a worker; and its flags.
    """
    import torch

    python, *sys.argv = command
    if "OMP_NUM_THREADS" in os.environ:  # Python would have read it as it imported these libraries.
        threadpoolctl.threadpool_limits(int(os.environ["OMP_NUM_THREADS"]))
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    more = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    paths = [path for path in sys.path if path and not Path(path).resolve().is_relative_to(TESTS)]
    sys.path[:] = [*more, *paths]
    multiprocessing.set_executable(python)  # Its workers are forked as well, and so are the jobs of Snakemake.
    try:
        if sys.argv[0] == "snakemake":
            sys.executable = python
            from snakemake.cli import main

            main(sys.argv[1:])
        elif "--multiprocessing-fork" in sys.argv:
            code = sys.argv[sys.argv.index("-c") + 1]
            sys.argv = ["-c", "--multiprocessing-fork"]
            exec(code, {"__name__": "__main__"})
        elif sys.argv[0] == "-m":
            del sys.argv[0]
            sys.path.insert(0, os.getcwd())
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        else:
            sys.path.insert(0, str(Path(sys.argv[0]).parent))
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    return 0
