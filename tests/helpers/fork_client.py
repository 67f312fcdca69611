"""A stand-in for Python that lets the server of forked.py run a program, and passes signals and the exit code on.

    fork_client.py ADDRESS STAND-IN PYTHON SCRIPT [FLAG ...]

The server runs scripts and the workers that multiprocessing spawns. PYTHON itself runs any other command, as `-m`. This
module imports little, because each job starts with it.
"""

import json
import os
import signal
import socket
import sys


def start(address: str, command: list[str], cwd: str, files: dict[int, int]) -> tuple[socket.socket, int]:
    """Ask the server for a process.

    Args:
        command: the stand-in for Python, the script and its flags.
        files: this process's descriptor -> its number in the new process, for at most 64 files.

    Returns:
        The connection, and the process's id.

    Raises:
        ConnectionError: the server has ended.
    """
    request = {"command": command, "cwd": cwd, "environment": dict(os.environ), "numbers": list(files.values())}
    message = json.dumps(request).encode()
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    socket.send_fds(connection, [len(message).to_bytes(8, "little")], list(files))
    connection.sendall(message)
    pid = int.from_bytes(read(connection, 8), "little")
    if not pid:
        raise ConnectionError("the server that forks programs has ended")
    return connection, pid


def receive(connection: socket.socket) -> tuple[dict, list[int]]:
    """Return the request of `start` and the descriptors, and answer with this process's id."""
    size, files, _, _ = socket.recv_fds(connection, 8, 64)
    request = json.loads(read(connection, int.from_bytes(size, "little")))
    connection.sendall(os.getpid().to_bytes(8, "little"))
    return request, list(files)


def wait(connection: socket.socket) -> int | None:
    """Return the exit code of the process, or None if it was killed."""
    code = read(connection, 4)
    return int.from_bytes(code, "little", signed=True) if code else None


def read(connection: socket.socket, size: int) -> bytes:
    """Return this many bytes, or none if the connection ends."""
    parts = b""
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            return b""
        parts += part
    return parts


def is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def main() -> None:
    address, stand_in, python, *command = sys.argv[1:]
    files = {0: 0, 1: 1, 2: 2}
    if "--multiprocessing-fork" in command:  # The worker's code names descriptors that it inherits.
        files = {number: number for number in map(int, os.listdir("/dev/fd")) if is_open(number)}
    elif not command or not command[0].endswith(".py"):
        os.execv(python, [python, *command])
    connection, pid = start(address, [stand_in, *command], os.getcwd(), files)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: os.kill(pid, number))
    code = wait(connection)
    sys.exit(128 + signal.SIGKILL if code is None else code)


if __name__ == "__main__":
    main()
