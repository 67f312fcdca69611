#!/usr/bin/env python3
"""Make a local conda channel of real conda packages, from this Python and PyPI's wheels.

usage: make_channel.py CHANNEL_DIR ENV.yaml ... [PIP_REQUIREMENT ...]
  `python` is packed from sys.base_prefix. pip and every other package that an env file names
  is taken from PyPI (PyPI_NAME), with all that it depends on; each wheel is installed
  into a staging prefix of its own and packed under its conda-forge name. Further
  requirements narrow what pip takes, say torch==2.13.0.
Needs conda-package-handling (so run it with the root prefix's python), and a
CPython whose files lie in one prefix (pyenv, python.org build; not Debian's).
"""

import hashlib
import json
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PathDistribution
from pathlib import Path

from conda_package_handling import api as cph
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

# must be long: conda replaces it inside binaries, padding with NULs
PLACEHOLDER = "/opt/" + "placehold_" * 20
SUBDIR = {"x86_64": "linux-64", "aarch64": "linux-aarch64"}[platform.machine()]
XY = f"{sys.version_info.major}.{sys.version_info.minor}"
# PyPI's name -> conda-forge's, where they differ
CONDA_NAME = {
    "torch": "pytorch",
    "box2d": "pybox2d",
    "matplotlib": "matplotlib-base",
    "typing-extensions": "typing_extensions",
}
# conda-forge's outputs that PyPI has as an extra: (requirement, what the output depends on)
METAS = {
    "gymnasium-box2d": ("gymnasium[box2d]", ["gymnasium", "pybox2d", "pygame-ce"]),
    "pytorch-cpu": ("torch", ["pytorch"]),
}
PYPI_NAME = {v: k for k, v in CONDA_NAME.items()} | {k: v[0] for k, v in METAS.items()}


def requirement(spec):
    """Return the name and pip's requirement of a conda spec: `name`, `name =1.2`, `name >=1,<2`."""
    name, version = re.fullmatch(r"([\w.-]+)\s*([=<>!~].*)?", spec.strip()).groups()
    parts = []
    for v in filter(None, (version or "").replace(" ", "").split(",")):
        parts.append(f"=={v[1:].removesuffix('.*')}.*" if re.match(r"=[^=]", v) else v)
    return name, PYPI_NAME.get(name, name) + ",".join(parts)


def conda_name(name):
    name = canonicalize_name(name)
    return CONDA_NAME.get(name, name)


def pack(channel, stage, name, version, depends, build="0"):
    """Pack one staging prefix into one .conda file. Return the file's name and its entry of repodata.json."""
    paths = []
    info = stage / "info"
    if info.exists():
        shutil.rmtree(info)
    for f in sorted(stage.rglob("*")):
        rel = f.relative_to(stage).as_posix()
        if f.is_symlink():
            paths.append(
                {"_path": rel, "path_type": "softlink", "sha256": hashlib.sha256(b"").hexdigest(), "size_in_bytes": 0}
            )
            continue
        if not f.is_file():
            continue
        data = f.read_bytes()
        entry = {"_path": rel, "path_type": "hardlink"}
        if PLACEHOLDER.encode() in data:
            entry |= {"prefix_placeholder": PLACEHOLDER, "file_mode": "binary" if b"\0" in data else "text"}
        entry |= {"sha256": hashlib.sha256(data).hexdigest(), "size_in_bytes": len(data)}
        paths.append(entry)
    info.mkdir()
    index = {
        "name": name,
        "version": version,
        "build": build,
        "build_number": 0,
        "depends": depends,
        "subdir": SUBDIR,
        "arch": platform.machine(),
        "platform": "linux",
        "timestamp": int(time.time() * 1000),
    }
    (info / "index.json").write_text(json.dumps(index))
    (info / "paths.json").write_text(json.dumps({"paths": paths, "paths_version": 1}))
    (info / "files").write_text("".join(p["_path"] + "\n" for p in paths))
    (info / "about.json").write_text("{}")
    out = channel / SUBDIR / f"{name}-{version}-{build}.conda"
    cph.create(
        str(stage), None, str(out), compression_tuple=(".conda", "conda-pkg-format-v2", "zstd:compression-level=3")
    )
    data = out.read_bytes()
    return out.name, index | {
        "sha256": hashlib.sha256(data).hexdigest(),
        "md5": hashlib.md5(data).hexdigest(),
        "size": len(data),
    }


def relocate(stage, old):
    """Replace the old prefix by the placeholder in all text files."""
    for f in stage.rglob("*"):
        if f.is_file() and not f.is_symlink():
            data = f.read_bytes()
            if old.encode() in data and b"\0" not in data:
                f.write_bytes(data.replace(old.encode(), PLACEHOLDER.encode()))


def python_stage(stage):
    base = Path(sys.base_prefix)
    skip = {"test", "tests", "idle_test", "turtledemo", "__pycache__", "site-packages", "ensurepip"}

    def ignore(d, names):
        return [n for n in names if n in skip or (n.startswith("config-") and d.endswith(XY))]

    shutil.copytree(base / f"lib/python{XY}", stage / f"lib/python{XY}", ignore=ignore, symlinks=True)
    (stage / f"lib/python{XY}/site-packages").mkdir()
    (stage / f"lib/python{XY}/site-packages/README.txt").write_text("third-party modules\n")
    shutil.copytree(base / f"include/python{XY}", stage / f"include/python{XY}")
    for lib in (base / "lib").glob("libpython*.so*"):
        shutil.copy2(lib, stage / "lib", follow_symlinks=False)
    (stage / "bin").mkdir()
    shutil.copy2(base / f"bin/python{XY}", stage / f"bin/python{XY}")
    for n in ("python", "python3"):
        (stage / "bin" / n).symlink_to(f"python{XY}")
    relocate(stage, str(base))


def main(channel, args):
    (channel / SUBDIR).mkdir(parents=True, exist_ok=True)
    (channel / "noarch").mkdir(exist_ok=True)
    repodata = {}
    tmp = Path(tempfile.mkdtemp(dir=channel))
    stage = tmp / "python"
    stage.mkdir()
    python_stage(stage)
    name, rec = pack(channel, stage, "python", platform.python_version(), [], "0_cpython")
    repodata[name] = rec
    print(name, rec["size"] >> 20, "MiB", flush=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    wheels = tmp / "wheels"
    names = dict(
        requirement(d)
        for f in args
        if f.endswith((".yaml", ".yml"))
        for d in YAML(typ="safe").load(Path(f))["dependencies"]
        if isinstance(d, str)
    )
    names.pop("python")
    requirements = [*names.values(), *(a for a in args if not a.endswith((".yaml", ".yml")))]
    print("pip's part:", *requirements, flush=True)
    subprocess.run([*pip, "wheel", "-q", "-w", wheels, "pip", *requirements], check=True)
    env = default_environment() | {"extra": ""}
    for whl in sorted(wheels.iterdir()):
        stage = tmp / whl.name
        subprocess.run(
            [
                *pip,
                "install",
                "-q",
                "--no-deps",
                "--no-index",
                "--no-compile",
                "--no-warn-script-location",
                "--ignore-installed",
                "--prefix",
                stage,
                whl,
            ],
            check=True,
        )
        bindir = stage / "bin"
        if bindir.exists():  # shebangs
            for f in bindir.iterdir():
                data = f.read_bytes()
                f.write_bytes(re.sub(rb"\A#!\S+/python[\d.]*", b"#!" + PLACEHOLDER.encode() + b"/bin/python", data))
        (info,) = (stage / f"lib/python{XY}/site-packages").glob("*.dist-info")
        dist = PathDistribution(info)
        deps = [f"python {XY}.*"]
        for r in map(Requirement, dist.requires or []):
            if r.marker is None or r.marker.evaluate(env):
                deps.append(f"{conda_name(r.name)} {r.specifier}".strip())
        name, rec = pack(
            channel,
            stage,
            conda_name(dist.metadata["Name"]),
            dist.version.partition("+")[0],
            deps,
            f"py{XY.replace('.', '')}_0",
        )
        repodata[name] = rec
        print(name, rec["size"] >> 20, "MiB", flush=True)
        shutil.rmtree(stage)
    for mname in METAS.keys() & names.keys():
        deps = METAS[mname][1]
        version = next(r["version"] for r in repodata.values() if r["name"] == deps[0])
        stage = tmp / mname
        stage.mkdir()
        name, rec = pack(channel, stage, mname, version, deps)
        repodata[name] = rec
        print(name, flush=True)
    for sub, recs in ((SUBDIR, repodata), ("noarch", {})):
        (channel / sub / "repodata.json").write_text(
            json.dumps({"info": {"subdir": sub}, "packages": {}, "packages.conda": recs, "repodata_version": 1})
        )
    shutil.rmtree(tmp)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), sys.argv[2:])
