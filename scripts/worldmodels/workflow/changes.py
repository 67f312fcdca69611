"""What has changed since a product was made, in one line: values by their keys, and files of the code.

Snakemake compares the texts of a job's params, and prints the whole texts. For the code that is a fingerprint, which
names no file. Each run therefore keeps the digests of the files behind its fingerprints, in <logdir>/logs/code.json.
Nothing but this line reads code.json. Without it, the line names the program.
"""

import ast
import contextlib
import json
import os
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from worldmodels.runtime.config import SECTIONS, RunConfig
from worldmodels.runtime.fingerprint import CodeFile
from worldmodels.runtime.flags import flag_name
from worldmodels.runtime.library import PACKAGE, label
from worldmodels.runtime.settings import config_key, settable
from worldmodels.runtime.values import from_text, to_text
from worldmodels.workflow.printing import shorten_files

MOST_PROGRAMS = 300  # in a code.json
PLAIN = re.compile(r"[\w./:@+-]+")  # text that is clear without quotes
DIGEST = re.compile(r"((?:sha256:)?[0-9a-f]{8})[0-9a-f]{24,}")

# The programs of this workflow by fingerprint: the name, and the digest of each file's code by the file's path.
PROGRAMS: dict[str, tuple[str, dict[str, str]]] = {}


# ---- The line


def describe_change(before: Iterable[str], now: Iterable[str], names: dict[str, str], code_file: str) -> str | None:
    """Return what has changed in a job's params, as `mdrnn.hidden_size: 256 -> 32; code: scripts/train_mdrnn.py`.

    Args:
        before: the params that the job no longer has, as Python writes them (repr).
        now: the params that are new, in the same way.
        names: the names of the job's params, by what Python writes.
        code_file: path of code.json.

    Returns:
        The line; None if a param is of no known kind.
    """
    try:
        old, new = read_params(before, names), read_params(now, names)
        code = describe_code(old.pop("code", ""), new.pop("code", ""), code_file)
    except (ValueError, SyntaxError, LookupError, AttributeError):
        return None
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    values = [describe_value(key, old.get(key), new.get(key)) for key in keys if old.get(key) or new.get(key)]
    files = [describe_value(key, old.get(key), new.get(key)) for key in keys if not (old.get(key) or new.get(key))]
    return "; ".join(filter(None, [", ".join(values), ", ".join(shorten_files(files)), code])) or None


def read_params(params: Iterable[str], names: dict[str, str]) -> dict[str, str]:
    """Return the values in params by key. Files of a list are keys without a value. See describe_change.

    Raises:
        ValueError, SyntaxError, LookupError, AttributeError: a param is of no known kind.
    """
    values: dict[str, str] = {}
    for text in sorted(params):
        param = ast.literal_eval(text)
        if isinstance(param, list):
            found = dict.fromkeys(param, "")
        elif param.startswith("--"):
            found = read_flags(param)
        elif param.startswith("{"):
            sections = json.loads(param).items()
            found = {f"{section}.{key}": to_text(value) for section, pairs in sections for key, value in pairs.items()}
        elif re.fullmatch(r"[0-9a-f]{16}", param):
            found = {"code": param}
        else:
            found = {names[text]: param} if param else {}
        if any(values.get(key, value) != value for key, value in found.items()):
            raise ValueError(f"two values of one key: {params}")
        values |= found
    return values


def read_flags(text: str) -> dict[str, str]:
    """Return the values in a text of flags (runtime.flags.as_flag), by key of the configuration.

    Sections share some flags. Such a flag belongs to the one section that has another flag of the text for itself.
    Otherwise the flag itself is the key.
    """
    words, pairs = shlex.split(text), []
    while words:
        flag, sign, value = words.pop(0).partition("=")
        pairs.append((flag, value if sign else words.pop(0)))
    owners: dict[str, dict[str, str]] = {flag: {} for flag, _ in pairs}
    for cls in (RunConfig, *SECTIONS.values()):
        for f in settable(cls):
            owners.get(flag_name(cls, f), {})[cls.section] = f"{cls.section}.{config_key(f)}".lstrip(".")
    certain = {section for sections in owners.values() if len(sections) == 1 for section in sections}

    def key_of(flag: str) -> str:
        keys = [key for section, key in owners[flag].items() if section in certain]
        return keys[0] if len(keys) == 1 else flag

    return {key_of(flag): value for flag, value in pairs}


def describe_value(key: str, old: str | None, new: str | None) -> str:
    """Return a value's change, as `key: old -> new`, or a file's."""
    if old is None or new is None:
        value = old or new
        return f"{key}{f': {show(value)}' if value else ''} ({'new' if old is None else 'gone'})"
    return f"{key}: {show(old)} -> {show(new)}"


def show(text: str) -> str:
    """Return a value for the line: the start of a digest, JSON as it stands, and text in quotes where it needs them."""
    if digest := DIGEST.fullmatch(text):
        return f"{digest[1]}..."
    try:
        is_clear = not isinstance(from_text(text), str)
    except ValueError:
        is_clear = PLAIN.fullmatch(text)
    return text if is_clear else json.dumps(text, ensure_ascii=False)


# ---- The code


def describe_code(old: str, new: str, code_file: str) -> str:
    """Return the files whose code has changed between two fingerprints; "" if these are the same."""
    if old == new:
        return ""
    name, digests = PROGRAMS[new]
    earlier = read_programs(code_file).get(old, {})
    files = [
        f"{path}{' (gone)' if path not in digests else '' if path in earlier else ' (new)'}"
        for path in sorted({**earlier, **digests})
        if earlier.get(path) != digests.get(path)
    ]
    return f"code: {', '.join(shorten_files(files))}" if earlier and files else f"code of {name}"


def remember_program(name: str, fingerprint: str, files: Iterable[CodeFile]) -> None:
    """Remember the files of a program by its fingerprint, for describe_code and save_programs."""
    PROGRAMS[fingerprint] = name, {shown_path(file): file.digest[:8] for file in files}


def shown_path(file: CodeFile) -> str:
    """Return a file's path for the line. It depends on no place of the repository or of a user's module."""
    module, space, name = file.name.partition(" ")
    if not space:
        return f"scripts/{module}"
    if file.path.is_relative_to(PACKAGE):  # A user's module imports it.
        return f"scripts/{label(file.path)}"
    return name if file.path.as_posix().endswith(f"/{name}") else file.path.name


def read_programs(code_file: str) -> dict[str, dict[str, str]]:
    """Return the digests of the files of earlier programs, by fingerprint; {} where there is no code.json."""
    try:
        programs = json.loads(Path(code_file).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return programs if isinstance(programs, dict) else {}


def save_programs(code_file: str) -> None:
    """Add this workflow's programs to code.json. A folder that cannot be written is no error: the jobs name it."""
    present = {fingerprint: digests for fingerprint, (_, digests) in PROGRAMS.items()}
    earlier = {key: digests for key, digests in read_programs(code_file).items() if key not in present}
    programs = dict([*earlier.items(), *present.items()][-MOST_PROGRAMS:])
    path, temporary = Path(code_file), Path(f"{code_file}.{os.getpid()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(programs), encoding="utf-8")
        temporary.replace(path)
