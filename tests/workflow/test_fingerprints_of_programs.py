"""Every Python computes the same fingerprint of a program, and finds the modules that the program finds."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.files import write_files
from helpers.programs import ROOT
from worldmodels.runtime.fingerprint import program_fingerprint

# Of tests/samples/syntax.txt, which has every form that Python 3.11 knows.
SYNTAX = "6b609075bfb3c81108865e30acf87fbf959fd42f897d0dff29939c938b26138a"
ASK = """
import json, sys
sys.path.insert(0, "scripts")
from pathlib import Path
from worldmodels.runtime.fingerprint import program_fingerprint
from worldmodels.runtime.syntax import parse
programs = {path.name: program_fingerprint(path) for path in sorted(Path("scripts").glob("*.py"))}
digest = parse(Path("tests/samples/syntax.txt").read_bytes()).digest
print(json.dumps([list(sys.version_info[:2]), "torch" in sys.modules, digest, programs]))
"""


def interpreters(minor: int) -> list[str]:
    """Pythons of this version that the machine may have, the current one among them."""
    current = [sys.executable] if sys.version_info[:2] == (3, minor) else []
    pyenv = sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python"))
    return [*current, *map(str, pyenv), *filter(None, [shutil.which(f"python3.{minor}")])]


@pytest.mark.parametrize("minor", [11, 12, 13, 14])
def test_every_python_gives_the_same_fingerprint(minor):
    programs = {path.name: program_fingerprint(path) for path in sorted((ROOT / "scripts").glob("*.py"))}
    for python in interpreters(minor):
        answer = subprocess.run([python, "-I", "-c", ASK], capture_output=True, text=True, cwd=ROOT)
        if answer.returncode == 0:
            assert json.loads(answer.stdout) == [[3, minor], False, SYNTAX, programs]
            return
        assert python != sys.executable, answer.stderr
    pytest.skip(f"no Python 3.{minor} here")


def test_a_program_looks_where_the_fingerprint_does(tmp_path):
    """In its own folder, in PYTHONPATH, where packages are, and at last in the working directory."""
    write_files(
        tmp_path, {"work/b.py": "", "more/b.py": "", "work/c.py": "", "beside/c.py": "", "work/evaluate.py": ""}
    )
    code = (
        "import sys; sys.path[:0] = [{!r}, {!r}]; from worldmodels.runtime import user_files as f; "
        "print(*[p for n in ('b', 'c', 'evaluate') for p in f.find_user_files(n).values() if p.name[0] in n])"
    ).format(str(ROOT / "scripts"), str(tmp_path / "beside"))
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "more")}
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path / "work", env=environment, check=True)
    b, c, *program = answer.stdout.split()
    assert [b, c] == [str(tmp_path / "more/b.py"), str(tmp_path / "work/c.py")]
    assert str(ROOT / "scripts/evaluate.py") in program
