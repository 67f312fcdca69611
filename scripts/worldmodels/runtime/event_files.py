"""TensorBoard's event files, written and read back with the tensorboard package.

SummaryWriter of torch.utils.tensorboard is not used, because it writes from a thread. Where the disk is full, that
thread prints a traceback of its own.
"""

import io
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Modules of tensorboard are imported where they are needed. A program without curves does without them.


def event_files(folder: Path, ending: str = "") -> list[Path]:
    """Return the event files in a folder whose names have this ending, the oldest first."""
    return sorted(folder.glob(f"events.out.tfevents.*{ending}"))


class EventFile:
    """An event file that grows with each flush.

    A flush opens and closes the file, so that readers on other machines of a network file system see what it adds.

    Args:
        folder: of the file. The first flush of a summary makes both.
        ending: of the file's name.

    Attributes:
        path: the file.
        pending: the records since the last flush.
        has_summary: whether there is a summary among them.
    """

    def __init__(self, folder: Path, ending: str) -> None:
        seconds, fraction = divmod(time.time_ns(), 10**9)
        # TensorBoard reads the files of a folder in the order of their names.
        name = f"{seconds:010d}.{socket.gethostname()}.{fraction:09d}.{os.getpid()}{ending}"
        self.path = folder / f"events.out.tfevents.{name}"
        self.pending, self.has_summary = io.BytesIO(), False
        self.write(file_version="brain.Event:2")

    def write(self, **fields: Any) -> None:
        """Add an event with these fields, as tensorboard's Event has them."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.has_summary |= "summary" in fields
        RecordWriter(self.pending).write(Event(wall_time=time.time(), **fields).SerializeToString())

    def purge(self, step: int) -> None:
        """Have readers forget what earlier files say of this step and later steps, as purge_step of SummaryWriter."""
        from tensorboard.compat.proto.event_pb2 import SessionLog

        self.write(step=step, session_log=SessionLog(status=SessionLog.START))

    def flush(self) -> None:
        """Append the pending records to the file, if there is a summary among them.

        Raises:
            OSError: the file cannot be written.
        """
        if not self.has_summary:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab") as file:
            file.write(self.pending.getvalue())
        self.pending, self.has_summary = io.BytesIO(), False


def read_events(paths: list[Path]) -> Iterator[Any]:
    """Yield the events in some files. A file that a killed program left incomplete ends with its last whole event."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.tensorflow_stub.errors import DataLossError, OutOfRangeError
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New

    for path in paths:
        reader = PyRecordReader_New(str(path))
        while True:
            try:
                reader.GetNext()
            except (DataLossError, OutOfRangeError):
                break
            yield Event.FromString(reader.record())


def last_steps(paths: list[Path]) -> dict[str, int]:
    """Return the last step of each curve in some files, by tag."""
    steps: dict[str, int] = {}
    for event in read_events(paths):
        if event.HasField("session_log"):  # see EventFile.purge
            steps = {tag: min(step, event.step - 1) for tag, step in steps.items()}
        steps |= {value.tag: event.step for value in event.summary.value}
    return steps
