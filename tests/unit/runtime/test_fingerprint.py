"""The code's fingerprint: blind to what cannot change a result, awake to everything else."""

import ast
import importlib.machinery
import importlib.util
import json
import os
import py_compile
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from helpers.programs import ROOT
from worldmodels import fingerprint as module


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    monkeypatch.setattr(module, "PACKAGE", tmp_path / "scripts/worldmodels")
    return tmp_path / "scripts"


def prints(scripts) -> dict[str, str]:
    return {path.stem: module.fingerprint(path) for path in scripts.glob("*.py")}


def changed(scripts, file, old, new) -> set[str]:
    """The scripts whose fingerprint an edit changes."""
    before = prints(scripts)
    path = scripts / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    after = prints(scripts)
    return {name for name in before if before[name] != after[name]}


COLLECT = {"collect_rollouts", "collect_agent_rollouts"}
TRAINED = {"train_mdrnn", "train_controller", "evaluate", "collect_agent_rollouts"}
DREAMT = {"plot_mdrnn", "dream", "replay_episodes"}


def test_comments_docstrings_and_layout_do_not_count(scripts):
    assert changed(scripts, "worldmodels/vae.py", "import torch\n", "import torch  # a comment\n\n\n") == set()
    assert changed(scripts, "worldmodels/vae.py", '"""Latents (B', '"""Codes (B') == set()
    assert changed(scripts, "train_vae.py", '"""Train V', '"""Teach V') == set()
    assert changed(scripts, "worldmodels/vae.py", "self.fc(z)", "(\n            self.fc(z)\n        )") == set()


def test_code_counts_where_it_is_used(scripts):
    assert changed(scripts, "train_vae.py", "def main", "X = 1\n\n\ndef main") == {"train_vae"}
    assert changed(scripts, "worldmodels/evaluation.py", "WIDTH = 8", "WIDTH = 9") == {"evaluate", "replay_episodes"}
    assert changed(scripts, "worldmodels/mdrnn_training.py", "alpha=0.9", "alpha=0.8") == {"train_mdrnn"}
    assert changed(scripts, "worldmodels/mdrnn.py", "0.5 * distance", "0.6 * distance") == TRAINED | DREAMT
    assert changed(scripts, "worldmodels/vae.py", "0.5 *", "0.4 *") == {
        "train_vae", "encode_latents", "plot_vae", *TRAINED, *DREAMT,
    }  # fmt: skip
    assert changed(scripts, "worldmodels/rollouts.py", "0.5 * sigma", "0.6 * sigma") == COLLECT


def test_modules_imported_indirectly_count(scripts):
    assert changed(scripts, "worldmodels/checkpoint.py", "compresslevel=1", "compresslevel=2") == set(prints(scripts))


def test_knobs_reach_the_programs_as_flags_and_do_not_count(scripts):
    assert changed(scripts, "worldmodels/config.py", "option(32,", "option(33,") == set()


# Of tests/samples/syntax.txt, which has every form that Python 3.11 knows.
SYNTAX = "6b609075bfb3c81108865e30acf87fbf959fd42f897d0dff29939c938b26138a"

ASK = """
import json, sys
sys.path.insert(0, "scripts")
from pathlib import Path
from worldmodels.fingerprint import fingerprint, parse
programs = {path.name: fingerprint(path) for path in sorted(Path("scripts").glob("*.py"))}
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
    programs = {path.name: module.fingerprint(path) for path in sorted((ROOT / "scripts").glob("*.py"))}
    for python in interpreters(minor):
        answer = subprocess.run([python, "-I", "-c", ASK], capture_output=True, text=True, cwd=ROOT)
        if answer.returncode == 0:
            assert json.loads(answer.stdout) == [[3, minor], False, SYNTAX, programs]
            return
        assert python != sys.executable, answer.stderr
    pytest.skip(f"no Python 3.{minor} here")


@pytest.mark.parametrize("length", [5, 2000])
def test_a_long_sum_is_no_problem(length):
    text = "x = " + " + ".join(["1"] * length)
    assert module.parse(text.encode()) != module.parse(f"{text} + 1".encode())


DIFFERENT = [
    "1", "1.0", "True", "'1'", "b'1'", "1j", "-1", "None", "False", "0", "...", "()", "[]", "{}", "x[1:]", "x[:1]",
    "f'{x}'", "f'{x!r}'", "f'{x:1}'", "f'{x:{1}}'", "'x'", "x", "lambda: x", "lambda x: x", "lambda *x: x", "(x,)",
    "x, x", "{1: 2}", "{**x}",
    "{1}", "f(x)", "f(*x)", "f(**x)", "f(x=x)", "not x", "x < x", "x < x < x", "x or x", "(x := x)",
]  # fmt: skip
CASES = [f"match x:\n case {case}: x" for case in ("None", "False", "True", "0", "x", "[]", "[*_]", "_", "x()", "{}")]
STATEMENTS = [
    "x: int", "x: int = 1", "(x): int", "x = int", "from a import b", "from .a import b", "from . import b", "import b",
    "import b as c", "def f(): x", "async def f(): x", "def f(a): x", "def f(a, /): x", "def f(*, a): x",
    "for x in y: x", "async def f():\n async for x in y: x", "try: x\nexcept: y", "try: x\nfinally: y",
    "try: x\nexcept x: y", "try: x\nexcept* x: y", "class A: x", "class A(x): x", "raise x", "raise x from None",
    "return", "return None",
]  # fmt: skip


def test_different_code_has_different_digests():
    texts = [f"x = {value}" for value in DIFFERENT] + CASES + STATEMENTS
    trees = {text: module.serialize(ast.parse(text)) for text in texts}
    assert len(set(trees.values())) == len(texts)


@pytest.mark.parametrize(
    "text, same",
    [
        ("x = 'ab'", 'x = "a" u"b"'),
        ("x = f'a{x}b'", "x = 'a' f'' f'{x}' \"b\""),
        ("x = 255", "x = 0xf_f"),
        ("class A:\n 'text'", "class A: pass"),
        ("async def f():\n 'text'\n x", "async def f(): x"),
    ],
)
def test_another_spelling_of_the_same_code_does_not_count(text, same):
    assert module.parse(text.encode()) == module.parse(same.encode())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory; it is writable to `write` in."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def write(folder: Path, files: dict[str, str | bytes]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)


def count(*users: str) -> str:
    importlib.invalidate_caches()
    return module.fingerprint(ROOT / "scripts/train_vae.py", *users)


# What is named; the files; what is edited.
OWN = {
    "a folder without __init__.py": ("games.ball", {"games/ball.py": "X = 1"}, "games/ball.py"),
    "a class in such a folder": ("games.nets:V", {"games/nets.py": "X = 1"}, "games/nets.py"),
    "folders in folders": ("a.b.ball", {"a/b/ball.py": "X = 1"}, "a/b/ball.py"),
    "a package in such a folder": ("a.b", {"a/b/__init__.py": "", "a/b/c/d.py": "X = 1"}, "a/b/c/d.py"),
    "a neighbor in such a folder": ("a.b", {"a/b.py": "from a import c", "a/c.py": "X = 1"}, "a/c.py"),
    "a relative neighbor in such a folder": ("a.b", {"a/b.py": "from . import c", "a/c.py": "X = 1"}, "a/c.py"),
    "a relative module in such a folder": ("a.b", {"a/b.py": "from .c import d", "a/c.py": "X = 1"}, "a/c.py"),
    "an uncle": ("a.b.c", {"a/b/c.py": "from ..d import e", "a/d.py": "X = 1"}, "a/d.py"),
    "a relative module of a package in a folder": (
        "a.b", {"a/b/__init__.py": "from ..c import d", "a/c.py": "X = 1"}, "a/c.py",
    ),
    "a neighbor's folder": ("b", {"b.py": "import c.d", "c/d.py": "X = 1"}, "c/d.py"),
    "a lazy import": ("b", {"b.py": "def f():\n    from c import d", "c.py": "X = 1"}, "c.py"),
    "import_module": ("b", {"b.py": "import_module('c.d')", "c/d.py": "X = 1"}, "c/d.py"),
    "a relative import_module": ("a.b", {"a/b.py": "f = importlib.import_module('.c', 'a')", "a/c.py": "X"}, "a/c.py"),
    "an entry point": ("b", {"b.py": "register('B-v0', entry_point='c.d:E')", "c/d.py": "X = 1"}, "c/d.py"),
    "a module beside one that adds its folder to sys.path": ("a.b", {"a/b.py": "import c", "a/c.py": "X"}, "a/c.py"),
    "Latin-1": ("b", {"b.py": "# coding: latin-1\nX = 'ä'".encode("latin-1")}, "b.py"),
    "UTF-8 with a mark": ("b", {"b.py": "X = 'ä'".encode("utf-8-sig")}, "b.py"),
    "another encoding's neighbor": (
        "b", {"b.py": "# coding: cp1251\nimport c\nX = 'ж'".encode("cp1251"), "c.py": "X"}, "c.py",
    ),
    "a broken file": ("b", {"b.py": "def ("}, "b.py"),
    "a broken neighbor": ("b", {"b.py": "import c", "c.py": "def ("}, "c.py"),
    "a zero byte": ("b", {"b.py": b"\0"}, "b.py"),
    "an encoding that does not exist": ("b", {"b.py": "# coding: nonsense\n"}, "b.py"),
    "a compiled part": ("b", {"b/__init__.py": "", "b/c.so": "machine code"}, "b/c.so"),
    "a compiled module": ("b", {f"b{importlib.machinery.EXTENSION_SUFFIXES[0]}": "machine code"}, None),
}  # fmt: skip


@pytest.mark.parametrize("case", OWN)
def test_own_code_counts(case, folder):
    name, files, edited = OWN[case]
    write(folder, files)
    before, plain = count(name), count()
    edited = folder / (edited or next(iter(files)))
    edited.write_bytes(edited.read_bytes() + b"\nY = 1\n")
    assert len({plain, before, count(name)}) == 3
    assert module.has_source(name)


def test_comments_in_own_code_do_not_count_in_any_encoding(folder):
    for encoding in ("utf-8", "latin-1", "utf-8-sig"):
        text = f"# coding: {encoding.removesuffix('-sig')}\nX = 'ä'\n"
        write(folder, {"b.py": text.encode(encoding)})
        before = count("b")
        write(folder, {"b.py": (text + "# ä").encode(encoding)})
        assert count("b") == before


def test_the_library_counts_where_own_code_imports_it(folder):
    write(folder, {"b.py": "X = 1", "c.py": "from worldmodels import films"})
    library = {path.name for path in module.users_files("c").values()}
    assert {"c.py", "films.py"} <= library and "films.py" not in str(module.users_files("b"))


def test_an_unrelated_file_does_not_count(folder):
    write(folder, {"a/b.py": "import numpy, json, os.path", "a/plot.py": "X = 1", "json.py": "X = 1"})
    before = count("a.b")
    write(folder, {"a/plot.py": "X = 2", "json.py": "X = 2"})
    assert count("a.b") == before


def test_the_same_package_elsewhere_counts_the_same(folder, tmp_path, monkeypatch):
    files = {"a/__init__.py": "import b", "a/c/d.py": "X = 1", "b.py": "X = 2"}
    write(folder, files)
    before = count("a")
    write(tmp_path / "moved", files)
    monkeypatch.chdir(tmp_path / "moved")
    assert count("a") == before
    (tmp_path / "moved/a/c").rename(tmp_path / "moved/a/e")
    assert count("a") != before


def test_a_file_that_cannot_be_read_counts_as_empty(folder):
    """As the links do that Emacs leaves beside a file that is being edited, and a link to nowhere."""
    write(folder, {"a/__init__.py": ""})
    before = count("a")
    (folder / "a/.#b.py").symlink_to("somebody@somewhere")
    assert count("a") == before
    (folder / "a/c.py").symlink_to("nowhere.py")
    count("a")


def test_a_linked_folder_of_a_package_counts(folder, tmp_path):
    write(folder, {"a/__init__.py": ""})
    write(tmp_path, {"elsewhere/b.py": "X = 1"})
    (folder / "a/linked").symlink_to(tmp_path / "elsewhere")
    (folder / "a/itself").symlink_to(folder / "a")
    before = count("a")
    write(tmp_path, {"elsewhere/b.py": "X = 2"})
    assert count("a") != before


class Hook:
    """Finds one package, as the hook of an editable install does."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path

    def find_spec(self, name, path=None, target=None):
        if name == self.name:
            return importlib.util.spec_from_file_location(name, self.path / "__init__.py")
        return None


def test_an_editable_install_counts(folder, tmp_path, monkeypatch):
    files = {"mine/__init__.py": "from mine import more", "mine/more.py": "X = 1", "yours/__init__.py": "import hooked"}
    write(tmp_path / "src", files | {"hooked/__init__.py": "X = 1"})
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Hook("hooked", tmp_path / "src/hooked")])
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "src")])  # as a .pth file does
    for name, edited in (("mine", "mine/more.py"), ("hooked", "hooked/__init__.py"), ("yours", "hooked/__init__.py")):
        before = count(name)
        write(tmp_path / "src", {edited: f"X = {name!r}"})
        assert count(name) != before and module.has_source(name)


def test_an_installed_package_counts_where_it_is_named(folder, tmp_path, monkeypatch):
    site = tmp_path / "lib/site-packages"
    write(site, {"theirs/__init__.py": "import helper", "helper.py": "X = 1"})
    write(folder, {"b.py": "import theirs"})
    monkeypatch.setattr(sys, "path", [*sys.path, str(site)])
    named, imported = count("theirs"), count("b")
    write(site, {"helper.py": "X = 2"})
    assert (count("theirs"), count("b")) == (named, imported)
    write(site, {"theirs/__init__.py": "import helper, os"})
    assert count("theirs") != named and count("b") == imported


def test_an_archive_counts(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "mine.egg")])
    digests = set()
    for text in ("X = 1", "X = 2"):
        with zipfile.ZipFile(tmp_path / "mine.egg", "w") as archive:
            archive.writestr("zipped/__init__.py", text)
        digests.add(count("zipped"))
        assert module.has_source("zipped")
    assert len(digests | {count()}) == 3


def test_a_module_without_a_source_counts(folder):
    digests = {count()}
    for text in ("X = 1", "X = 2"):
        write(folder, {"b.py": text})
        py_compile.compile("b.py", "b.pyc", invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
        (folder / "b.py").unlink()
        digests.add(count("b"))
    assert len(digests) == 3


def test_what_has_no_source_is_known(folder):
    write(folder, {"a/b.py": "X = 1", "empty/notes.txt": "", "c/__init__.py": ""})
    found = {name: module.has_source(name) for name in (
        "a.b", "a.c", "a", "empty", "nowhere", "c", "c.d:E", "json", "worldmodels.vae:ConvVAE", "worldmodels.none:V",
    )}  # fmt: skip
    assert [name for name in found if found[name]] == ["a.b", "c", "c.d:E", "json", "worldmodels.vae:ConvVAE"]


def test_a_program_looks_where_the_fingerprint_does(tmp_path):
    """In its own folder, in PYTHONPATH, where packages are, and at last in the working directory."""
    write(tmp_path, {"work/b.py": "", "more/b.py": "", "work/c.py": "", "beside/c.py": "", "work/evaluate.py": ""})
    code = (
        "import sys; sys.path[:0] = [{!r}, {!r}]; from worldmodels import fingerprint as f; "
        "print(*[p for n in ('b', 'c', 'evaluate') for p in f.users_files(n).values() if p.name[0] in n])"
    ).format(str(ROOT / "scripts"), str(tmp_path / "beside"))
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "more")}
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path / "work", env=environment, check=True)
    b, c, *program = answer.stdout.split()
    assert [b, c] == [str(tmp_path / "more/b.py"), str(tmp_path / "work/c.py")]
    assert str(ROOT / "scripts/evaluate.py") in program


def test_a_broken_program_does_not_stop_the_dry_run(scripts):
    before = prints(scripts)
    (scripts / "worldmodels/vae.py").write_text("def (")
    (scripts / "train_vae.py").write_text("def (")
    after = prints(scripts)
    assert before["evaluate"] != after["evaluate"] and before["train_vae"] != after["train_vae"]
