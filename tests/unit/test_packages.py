"""Packages of the library import only packages before them."""

import ast
import importlib

import pytest

from worldmodels.runtime.library import PACKAGE
from worldmodels.runtime.syntax import imports_of

# A package imports itself and those before it; workflow/ is for the Snakefile alone.
ORDER = ("runtime", "storage", "envs", "models", "playing", "data", "search", "training", "showing")
ALLOWED = {package: set(ORDER[: place + 1]) for place, package in enumerate(ORDER)} | {
    "workflow": {"runtime", "workflow"}
}
MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.parent != PACKAGE and path.name != "__init__.py"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_module_imports_only_packages_below_its_own(path):
    names = [name.split(".") for level, name in imports_of(path) if not level]
    packages = {parts[1] for parts in names if parts[0] == PACKAGE.name}
    assert packages <= ALLOWED[path.parent.name]


@pytest.mark.parametrize("package", ALLOWED)
def test_package_exports_names_that_its_modules_have(package):
    module = importlib.import_module(f"worldmodels.{package}")
    assert len(list((PACKAGE / package).glob("*.py"))) > 2
    assert module.__all__ and all(getattr(module, name).__name__ for name in module.__all__)


@pytest.mark.parametrize("package", ALLOWED)
def test_init_holds_a_docstring_and_exports_only(package):
    tree = ast.parse((PACKAGE / package / "__init__.py").read_text())
    assert ast.get_docstring(tree)
    assert [type(node) for node in tree.body] == [ast.Expr, ast.ImportFrom, ast.Assign]
