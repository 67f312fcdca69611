"""The fingerprint of code ignores what cannot change a result, and nothing else."""

import ast
from pathlib import Path

import pytest

from helpers.programs import ROOT
from worldmodels.runtime import library
from worldmodels.runtime.fingerprint import program_fingerprint
from worldmodels.runtime.library import PACKAGE, program_modules
from worldmodels.runtime.syntax import parse, serialize

PROGRAMS = sorted((ROOT / "scripts").glob("*.py"))
ALL = {path.stem for path in PROGRAMS}
COLLECT = {"collect_rollouts", "collect_agent_rollouts"}
TRAINED = {
    "train_mdrnn", "train_controller", "train_controller_in_dream", "evaluate", "collect_agent_rollouts",
    "refit_controller", "install_agent", "export_agent",
}  # fmt: skip
DREAMT = {"plot_mdrnn", "dream", "play", "replay_episodes"}
# Module of the library -> the programs that run its code.
READERS = {
    "playing/evaluation": {"evaluate", "replay_episodes", "play", "dream"},
    "training/mdrnn": {"train_mdrnn"},
    "models/mdrnn": TRAINED | DREAMT,
    "models/vae": {"train_vae", "encode_latents", "plot_vae", *TRAINED, *DREAMT},
    "data/collection": COLLECT,
    "storage/files": ALL,
    "runtime/config": set(),
}


@pytest.mark.parametrize("name", READERS)
def test_module_counts_in_the_programs_that_run_it(name):
    path = PACKAGE / f"{name}.py"
    assert path.exists()
    assert {program.stem for program in PROGRAMS if path in program_modules(program)} == READERS[name]


NETWORK = '''"""A network."""
import math
from worldmodels.storage.files import save


def forward(x):
    """Codes of x."""
    return save(math.exp(x))
'''
SAMPLE = {
    "train.py": "from worldmodels.models import network\nfrom worldmodels.runtime import config\n",
    "show.py": "from worldmodels.models import forward\n",  # a name that the package exports
    "plot.py": "def draw():\n    from worldmodels.storage.files import save\n    return save(1)\n",
    "worldmodels/models/network.py": NETWORK,
    "worldmodels/storage/files.py": "def save(x):\n    return x\n",
    "worldmodels/runtime/config.py": "SIZE = 32\n",
    "worldmodels/models/unused.py": "X = 1\n",
}
# Edit -> the file, its new text, and the programs whose fingerprint changes.
EDITS = {
    "a comment": ("worldmodels/models/network.py", NETWORK.replace("math\n", "math  # for exp\n"), set()),
    "empty lines": ("worldmodels/models/network.py", NETWORK.replace("math\n", "math\n\n\n"), set()),
    "a docstring": ("worldmodels/models/network.py", NETWORK.replace("Codes of", "Latents of"), set()),
    "layout": ("worldmodels/models/network.py", NETWORK.replace("save(math", "save(\n        math"), set()),
    "code of a program": ("train.py", SAMPLE["train.py"] + "X = 1\n", {"train"}),
    "code of a module": ("worldmodels/models/network.py", NETWORK.replace("exp", "log"), {"train", "show"}),
    "code of a module imported indirectly": (
        "worldmodels/storage/files.py",
        "def save(x):\n    return -x\n",
        {"train", "plot", "show"},
    ),
    "code of a module that no program names": ("worldmodels/models/unused.py", "X = 2\n", {"show"}),
    "a key, which reaches the programs as a flag": ("worldmodels/runtime/config.py", "SIZE = 33\n", set()),
    "broken code of a program": ("train.py", "def (", {"train"}),
    "broken code of a module": ("worldmodels/storage/files.py", "def (", {"train", "plot", "show"}),
}


@pytest.fixture
def sample(tmp_path, monkeypatch) -> Path:
    """A folder with two programs and a library."""
    for package in ("models", "runtime", "storage"):
        (tmp_path / "worldmodels" / package).mkdir(parents=True)
        (tmp_path / "worldmodels" / package / "__init__.py").touch()
    for name, text in SAMPLE.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(library, "PACKAGE", tmp_path / "worldmodels")
    return tmp_path


def fingerprints(folder: Path) -> dict[str, str]:
    return {path.stem: program_fingerprint(path) for path in folder.glob("*.py")}


@pytest.mark.parametrize("edit", EDITS)
def test_edit_changes_the_fingerprints_of_the_programs_that_run_it(edit, sample):
    file, text, expected = EDITS[edit]
    before = fingerprints(sample)
    (sample / file).write_text(text)
    after = fingerprints(sample)
    assert {name for name in before if before[name] != after[name]} == expected


@pytest.mark.parametrize("length", [5, 2000])
def test_a_long_sum_is_no_problem(length):
    text = "x = " + " + ".join(["1"] * length)
    assert parse(text.encode()) != parse(f"{text} + 1".encode())


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
    trees = {text: serialize(ast.parse(text)) for text in texts}
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
    assert parse(text.encode()) == parse(same.encode())
