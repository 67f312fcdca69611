"""One writer per folder: a second program ends with one line, and programs end with their Snakemake."""

import os
import socket
import subprocess
import sys
import time

import pytest

from helpers.programs import ROOT
from worldmodels.runtime import interrupts, locks
from worldmodels.runtime.errors import UserError
from worldmodels.storage.files import claim_folder, prepare_folder

HOLD = "import sys, time; from worldmodels.runtime import locks; locks.claim({folder!r}, program='the first'); {more}"
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


def test_second_program_names_the_first_and_touches_nothing(tmp_path, python):
    process = python(HOLD.format(folder=str(tmp_path), more=f"{REPORT}; time.sleep(60)"))
    before = (tmp_path / ".lock").read_bytes()
    expected = f"expected no other program that writes here, found the first \\(process {process.pid} on "
    ending = f"since 20.*\\); if it has ended, delete {tmp_path}/.lock"
    with pytest.raises(UserError, match=f"{expected}{socket.gethostname()}, {ending}"):
        claim_folder(tmp_path)
    assert (tmp_path / ".lock").read_bytes() == before and os.listdir(tmp_path) == [".lock"]
    claim_folder(tmp_path, "shard_1")  # which has a writer of its own


def test_a_folder_that_nobody_claims_keeps_its_files(tmp_path, python):
    """A film may go to any folder of the user's, and a second program's files are none of ours."""
    file = tmp_path / f".film.gif.{'0' * 16}.tmp"
    file.touch()
    prepare_folder(tmp_path)
    assert file.exists()
    python(HOLD.format(folder=str(tmp_path), more=f"{REPORT}; time.sleep(60)"))
    with pytest.raises(UserError, match="expected no other program"):
        claim_folder(tmp_path)
    assert file.exists()


def test_lock_of_a_killed_program_is_free(tmp_path, python):
    process = python(HOLD.format(folder=str(tmp_path), more=f"{REPORT}; time.sleep(60)"))
    process.kill()
    process.wait()
    claim_folder(tmp_path)
    claim_folder(tmp_path)  # once more is no second program
    assert locks.read_holder(tmp_path / ".lock")["pid"] == os.getpid()
    locks.release()
    assert os.listdir(tmp_path) == []


def test_ending_program_is_waited_for(tmp_path, python):
    more = f"locks.mark_ending(); {REPORT}; time.sleep(0.5); open({str(tmp_path / 'saved')!r}, 'w')"
    python(HOLD.format(folder=str(tmp_path), more=more))
    claim_folder(tmp_path)
    assert (tmp_path / "saved").exists()


def test_forked_child_does_not_keep_the_lock(tmp_path, python):
    # The child reports: the lock is its parent's alone only once the child has run.
    fork = f"os.fork() or ({REPORT}, os.close(1), os.close(2))"
    process = python(HOLD.format(folder=str(tmp_path), more=f"import os; {fork}; time.sleep(5)"))
    process.kill()
    process.wait()
    claim_folder(tmp_path)


PROGRAM = """
import sys, time
from worldmodels.runtime import interrupts
try:
    interrupts.listen()
    interrupts.follow_starter()
    print("ready", flush=True)
    time.sleep(60)
except interrupts.Interrupted as signal:
    print("saved after", signal, flush=True)
"""


def test_program_ends_with_the_snakemake_that_started_it(python):
    starter = python(f"import time; {REPORT}; time.sleep(60)")
    program = python(PROGRAM, **{interrupts.STARTER: interrupts.process_stamp(starter.pid)})
    assert program.poll() is None
    starter.kill()
    started = time.monotonic()
    while interrupts.process_stamp(starter.pid):
        time.sleep(0.01)
    assert program.communicate(timeout=60)[0] == "saved after SIGTERM\n"
    assert time.monotonic() - started < 30


def test_program_ends_if_its_snakemake_ended_before(python):
    starter = python(f"import time; {REPORT}; time.sleep(60)")
    stamp = interrupts.process_stamp(starter.pid)
    starter.kill()
    starter.wait()
    assert interrupts.process_stamp(starter.pid) == ""
    program = python(PROGRAM, wait=False, **{interrupts.STARTER: stamp})
    assert program.communicate(timeout=60)[0].endswith("saved after SIGTERM\n")
