"""One writer a folder, files that are whole whoever writes them, and programs that end with their Snakemake."""

import errno
import fcntl
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from helpers.programs import ROOT
from worldmodels import checkpoint, interrupts, locks
from worldmodels.settings import UserError

HOLD = "import sys, time; from worldmodels import locks; locks.claim({folder!r}, program='the first'); {more}"
REPORT = "print('ready', flush=True)"


@pytest.fixture
def python():
    """python(code): a process that runs the code, once it has printed its first line; it is killed after the test."""
    processes = []

    def start(code: str, wait: bool = True, **environment: str) -> subprocess.Popen:
        env = {**os.environ, "PYTHONPATH": str(ROOT / "scripts"), **environment}
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
        )
        processes.append(process)
        if wait:
            assert process.stdout.readline()
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture(autouse=True)
def no_claims():
    yield
    locks.release()


def test_a_second_program_is_told_of_the_first_and_touches_nothing(tmp_path, python):
    process = python(HOLD.format(folder=str(tmp_path), more=f"{REPORT}; time.sleep(60)"))
    before = (tmp_path / ".lock").read_bytes()
    expected = f"expected no other program that writes here, found the first \\(process {process.pid} on "
    ending = f"since 20.*\\); if it has ended, delete {tmp_path}/.lock"
    with pytest.raises(UserError, match=f"{expected}{socket.gethostname()}, {ending}"):
        checkpoint.claim_folder(tmp_path)
    assert (tmp_path / ".lock").read_bytes() == before and os.listdir(tmp_path) == [".lock"]
    checkpoint.claim_folder(tmp_path, "shard_1")  # which has a writer of its own


def test_a_folder_that_nobody_claims_keeps_its_files(tmp_path, python):
    """A film may go to any folder of the user's, and a second program's files are none of ours."""
    file = tmp_path / f".film.gif.{'0' * 16}.tmp"
    file.touch()
    checkpoint.prepare_folder(tmp_path)
    assert file.exists()
    python(HOLD.format(folder=str(tmp_path), more=f"{REPORT}; time.sleep(60)"))
    with pytest.raises(UserError, match="expected no other program"):
        checkpoint.claim_folder(tmp_path)
    assert file.exists()


def test_the_lock_of_a_killed_program_is_free(tmp_path, python):
    process = python(HOLD.format(folder=str(tmp_path), more=f"{REPORT}; time.sleep(60)"))
    process.kill()
    process.wait()
    checkpoint.claim_folder(tmp_path)
    checkpoint.claim_folder(tmp_path)  # once more is no second program
    assert locks.read_holder(tmp_path / ".lock")["pid"] == os.getpid()
    locks.release()
    assert os.listdir(tmp_path) == []


def test_a_program_that_was_told_to_end_is_waited_for(tmp_path, python):
    more = f"locks.mark_ending(); {REPORT}; time.sleep(0.5); open({str(tmp_path / 'saved')!r}, 'w')"
    python(HOLD.format(folder=str(tmp_path), more=more))
    checkpoint.claim_folder(tmp_path)
    assert (tmp_path / "saved").exists()


def test_a_forked_child_does_not_keep_the_lock(tmp_path, python):
    # The child reports: the lock is its parent's alone only once the child has run.
    fork = f"os.fork() or ({REPORT}, os.close(1), os.close(2))"
    process = python(HOLD.format(folder=str(tmp_path), more=f"import os; {fork}; time.sleep(5)"))
    process.kill()
    process.wait()
    checkpoint.claim_folder(tmp_path)


def test_another_users_lock_on_nfs_stays(tmp_path, monkeypatch):
    """NFS needs a file that is open for writing, which another user's may not be."""
    path = tmp_path / ".lock"
    path.write_text('{"program": "train_vae.py", "pid": 5, "host": "node7", "since": "noon"}')

    def open_file(file, flags, *more):
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(file, flags, *more)

    def refuse(*_):
        raise OSError(errno.EBADF, "Bad file descriptor")

    opened = os.open
    monkeypatch.setattr(fcntl, "flock", refuse)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", open_file)
        with pytest.raises(UserError, match=r"found train_vae.py \(process 5 on node7, since noon\); if it"):
            locks.claim(tmp_path)
    assert path.exists()


def test_a_file_system_without_locks_is_told_of_once_and_works(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    for _ in range(2):
        checkpoint.claim_folder(tmp_path)
    checkpoint.write_json(tmp_path / "x.json", {})
    assert os.listdir(tmp_path) == ["x.json"]
    assert [record.message.split(": ", 1)[1] for record in caplog.records] == [
        "this file system has no locks (No locks available); make sure that no second program writes there"
    ]


def test_a_reader_never_sees_a_damaged_file_while_two_write_it(tmp_path):
    path, errors = tmp_path / "best.json", []
    checkpoint.write_json(path, {"numbers": []})

    def write(number: int) -> None:
        try:
            for _ in range(60):
                checkpoint.write_json(path, {"numbers": [number] * 20_000})
        except UserError as error:
            errors.append(error)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert len(set(checkpoint.read_json(path)["numbers"])) <= 1
        locks.remove_leftovers(tmp_path)  # what is being written is none
    assert not errors and os.listdir(tmp_path) == ["best.json"]


def test_the_next_owner_removes_what_a_killed_program_left(tmp_path):
    (tmp_path / "samples").mkdir()
    for name in ("best.tar", "samples/1.png"):
        checkpoint.open_temporary(tmp_path / name)[1].close()  # as the end of the program closes it
    mine = tmp_path / f".best.tar.{'0' * 16}.tmp"
    (tmp_path / ".notes.tmp").touch()
    assert len(list(tmp_path.rglob(".*.tmp"))) == 3
    with open(mine, "wb") as file:
        assert locks.lock_temporary(mine, file)
        checkpoint.claim_folder(tmp_path)
        assert {path.name for path in tmp_path.rglob(".*.tmp")} == {".notes.tmp", mine.name}


PROGRAM = """
import sys, time
from worldmodels import interrupts
try:
    interrupts.listen()
    interrupts.follow_starter()
    print("ready", flush=True)
    time.sleep(60)
except interrupts.Interrupted as signal:
    print("saved after", signal, flush=True)
"""


def test_a_program_ends_with_the_snakemake_that_started_it(python):
    starter = python(f"import time; {REPORT}; time.sleep(60)")
    program = python(PROGRAM, **{interrupts.STARTER: interrupts.process_stamp(starter.pid)})
    assert program.poll() is None
    starter.kill()
    started = time.monotonic()
    while interrupts.process_stamp(starter.pid):
        time.sleep(0.01)
    assert program.communicate(timeout=60)[0] == "saved after SIGTERM\n"
    assert time.monotonic() - started < 30


def test_a_program_whose_snakemake_ended_before_it_began_ends(python):
    starter = python(f"import time; {REPORT}; time.sleep(60)")
    stamp = interrupts.process_stamp(starter.pid)
    starter.kill()
    starter.wait()
    assert interrupts.process_stamp(starter.pid) == ""
    program = python(PROGRAM, wait=False, **{interrupts.STARTER: stamp})
    assert program.communicate(timeout=60)[0].endswith("saved after SIGTERM\n")


@pytest.mark.parametrize("stamp", ["", "1 2 another-machine pid:[3]", "x"])
def test_a_program_started_by_hand_or_from_another_machine_follows_nobody(stamp, monkeypatch):
    monkeypatch.setenv(interrupts.STARTER, stamp)
    before = threading.active_count()
    interrupts.follow_starter()
    assert threading.active_count() == before


def test_a_number_that_was_given_anew_is_another_process():
    mine = interrupts.process_stamp(os.getpid())
    assert mine == interrupts.process_stamp(os.getpid()) != interrupts.process_stamp(os.getppid())
    assert mine.startswith(f"{os.getpid()} ")
