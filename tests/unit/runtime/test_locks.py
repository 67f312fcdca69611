"""A folder has one writer, files are whole whoever writes them, and programs end with their Snakemake."""

import errno
import fcntl
import os
import threading

import pytest

from worldmodels.runtime import interrupts, locks
from worldmodels.runtime.errors import UserError
from worldmodels.storage.files import claim_folder, open_temporary, read_json, write_json
from worldmodels.workflow.last_words import claim_folders


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


def test_a_folder_that_cannot_be_written_is_named_with_the_reason(tmp_path, monkeypatch):
    """Root may write everywhere, so the refusal is made up."""
    opened = os.open

    def open_file(file, flags, *more):
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(file, flags, *more)

    monkeypatch.setattr(os, "open", open_file)
    message = f"{tmp_path}: expected a folder to write to, found that it cannot be: Permission denied"
    with pytest.raises(UserError, match=message):
        locks.claim(tmp_path)


def test_snakemake_names_a_folder_that_it_cannot_make(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as ending:
        claim_folders([f"{tmp_path}/file/vae"])
    expected = "expected a folder to write to, found that it cannot be: Not a directory"
    assert ending.value.code == f"error: {tmp_path}/file/vae: {expected}"


def test_a_file_system_without_locks_is_told_of_once_and_works(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    for _ in range(2):
        claim_folder(tmp_path)
    write_json(tmp_path / "x.json", {})
    assert os.listdir(tmp_path) == ["x.json"]
    assert [record.message.split(": ", 1)[1] for record in caplog.records] == [
        "this file system has no locks (No locks available); make sure that no second program writes there"
    ]


def test_a_reader_never_sees_a_damaged_file_while_two_write_it(tmp_path):
    path, errors = tmp_path / "best.json", []
    write_json(path, {"numbers": []})

    def write(number: int) -> None:
        try:
            for _ in range(60):
                write_json(path, {"numbers": [number] * 20_000})
        except UserError as error:
            errors.append(error)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert len(set(read_json(path)["numbers"])) <= 1
        locks.remove_leftovers(tmp_path)  # what is being written is none
    assert not errors and os.listdir(tmp_path) == ["best.json"]


def test_the_next_owner_removes_what_a_killed_program_left(tmp_path):
    (tmp_path / "samples").mkdir()
    for name in ("best.tar", "samples/1.png"):
        open_temporary(tmp_path / name)[1].close()  # as the end of the program closes it
    mine = tmp_path / f".best.tar.{'0' * 16}.tmp"
    (tmp_path / ".notes.tmp").touch()
    assert len(list(tmp_path.rglob(".*.tmp"))) == 3
    with open(mine, "wb") as file:
        assert locks.lock_temporary(mine, file)
        claim_folder(tmp_path)
        assert {path.name for path in tmp_path.rglob(".*.tmp")} == {".notes.tmp", mine.name}


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
