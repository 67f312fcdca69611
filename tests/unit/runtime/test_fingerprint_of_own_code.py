"""Every module that a user's code imports counts, in any layout and encoding."""

import importlib.machinery
import importlib.util
import py_compile
import sys
import zipfile
from pathlib import Path

import pytest

from helpers.files import write_files
from helpers.programs import ROOT
from worldmodels.runtime.fingerprint import program_fingerprint
from worldmodels.runtime.user_files import find_user_files, has_source


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory; `write_files` may write in it."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def count(*users: str) -> str:
    importlib.invalidate_caches()
    return program_fingerprint(ROOT / "scripts/train_vae.py", *users)


# What is named, the files, and the file that is edited.
OWN = {
    "a class of a module": ("nets:V", {"nets.py": "X = 1"}, "nets.py"),
    "a neighbor": ("nets:V", {"nets.py": "import torch, a.b", "a/__init__.py": "", "a/b.py": "X = 1"}, "a/b.py"),
    "a file of a package": ("games", {"games/__init__.py": "", "games/more.py": "X = 1"}, "games/more.py"),
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
    write_files(folder, files)
    before, plain = count(name), count()
    edited = folder / (edited or next(iter(files)))
    edited.write_bytes(edited.read_bytes() + b"\nY = 1\n")
    assert len({plain, before, count(name)}) == 3
    assert has_source(name)


def test_comments_in_own_code_do_not_count_in_any_encoding(folder):
    for encoding in ("utf-8", "latin-1", "utf-8-sig"):
        text = f"# coding: {encoding.removesuffix('-sig')}\nX = 'ä'\n"
        write_files(folder, {"b.py": text.encode(encoding)})
        before = count("b")
        write_files(folder, {"b.py": (text + "# ä").encode(encoding)})
        assert count("b") == before


def test_the_library_counts_where_own_code_imports_it(folder):
    write_files(folder, {"b.py": "X = 1", "c.py": "from worldmodels.showing import films"})
    library = {path.name for path in find_user_files("c").values()}
    assert {"c.py", "films.py"} <= library and "films.py" not in str(find_user_files("b"))


def test_an_unrelated_file_does_not_count(folder):
    write_files(folder, {"a/b.py": "import numpy, json, os.path", "a/plot.py": "X = 1", "json.py": "X = 1"})
    before = count("a.b")
    write_files(folder, {"a/plot.py": "X = 2", "json.py": "X = 2"})
    assert count("a.b") == before


def test_the_same_package_elsewhere_counts_the_same(folder, tmp_path, monkeypatch):
    files = {"a/__init__.py": "import b", "a/c/d.py": "X = 1", "b.py": "X = 2"}
    write_files(folder, files)
    before = count("a")
    write_files(tmp_path / "moved", files)
    monkeypatch.chdir(tmp_path / "moved")
    assert count("a") == before
    (tmp_path / "moved/a/c").rename(tmp_path / "moved/a/e")
    assert count("a") != before


def test_a_file_that_cannot_be_read_counts_as_empty(folder):
    """As the links do that Emacs leaves beside a file that is being edited, and a link to nowhere."""
    write_files(folder, {"a/__init__.py": ""})
    before = count("a")
    (folder / "a/.#b.py").symlink_to("somebody@somewhere")
    assert count("a") == before
    (folder / "a/c.py").symlink_to("nowhere.py")
    count("a")


def test_a_linked_folder_of_a_package_counts(folder, tmp_path):
    write_files(folder, {"a/__init__.py": ""})
    write_files(tmp_path, {"elsewhere/b.py": "X = 1"})
    (folder / "a/linked").symlink_to(tmp_path / "elsewhere")
    (folder / "a/itself").symlink_to(folder / "a")
    before = count("a")
    write_files(tmp_path, {"elsewhere/b.py": "X = 2"})
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
    write_files(tmp_path / "src", files | {"hooked/__init__.py": "X = 1"})
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Hook("hooked", tmp_path / "src/hooked")])
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "src")])  # as a .pth file does
    for name, edited in (("mine", "mine/more.py"), ("hooked", "hooked/__init__.py"), ("yours", "hooked/__init__.py")):
        before = count(name)
        write_files(tmp_path / "src", {edited: f"X = {name!r}"})
        assert count(name) != before and has_source(name)


def test_an_installed_package_counts_where_it_is_named(folder, tmp_path, monkeypatch):
    site = tmp_path / "lib/site-packages"
    write_files(site, {"theirs/__init__.py": "import helper", "helper.py": "X = 1"})
    write_files(folder, {"b.py": "import theirs"})
    monkeypatch.setattr(sys, "path", [*sys.path, str(site)])
    named, imported = count("theirs"), count("b")
    write_files(site, {"helper.py": "X = 2"})
    assert (count("theirs"), count("b")) == (named, imported)
    write_files(site, {"theirs/__init__.py": "import helper, os"})
    assert count("theirs") != named and count("b") == imported


def test_an_archive_counts(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "mine.egg")])
    digests = set()
    for text in ("X = 1", "X = 2"):
        with zipfile.ZipFile(tmp_path / "mine.egg", "w") as archive:
            archive.writestr("zipped/__init__.py", text)
        digests.add(count("zipped"))
        assert has_source("zipped")
    assert len(digests | {count()}) == 3


def test_a_module_without_a_source_counts(folder):
    digests = {count()}
    for text in ("X = 1", "X = 2"):
        write_files(folder, {"b.py": text})
        py_compile.compile("b.py", "b.pyc", invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
        (folder / "b.py").unlink()
        digests.add(count("b"))
    assert len(digests) == 3


def test_what_has_no_source_is_known(folder):
    write_files(folder, {"a/b.py": "X = 1", "empty/notes.txt": "", "c/__init__.py": ""})
    actual = {name: has_source(name) for name in (
        "a.b", "a.c", "a", "empty", "nowhere", "c", "c.d:E", "json",
        "worldmodels.models.vae:ConvVAE", "worldmodels.none:V",
    )}  # fmt: skip
    assert [name for name in actual if actual[name]] == ["a.b", "c", "c.d:E", "json", "worldmodels.models.vae:ConvVAE"]


def test_module_that_is_not_found_counts_as_nothing(folder):
    assert count("") == count("not_found_here:X") == count()


def test_class_of_the_library_counts():
    assert count("worldmodels.models.vae:ConvVAE") != count()
