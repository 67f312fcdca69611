#!/usr/bin/env python3
"""Make a root prefix with the real conda client, from PyPI alone.

PyPI has no `conda`, but the wheel of conda-lock 4.0.3 carries conda 24.7.1
(the oldest that Snakemake 9 accepts), its imports renamed to
conda_lock._vendor.conda. This puts it back under its own name, with the
classic solver (pycosat) and our own bin/conda and bin/activate.

usage: make_conda.py ROOT [CHANNELS_DIR]
  CHANNELS_DIR: every channel name resolves below it (CHANNELS_DIR/conda-forge ...)
"""

import shutil
import stat
import subprocess
import sys
import venv
from pathlib import Path

PINS = ["conda-lock==4.0.3"]
DEPS = [
    "pycosat==0.6.6",
    "conda-package-handling>=2.2,<3",
    "archspec>=0.2.3",
    "boltons>=23",
    "frozendict>=2.4.2",
    "pluggy>=1",
    "truststore>=0.8",
    "platformdirs>=3.10",
    "packaging>=23",
    "requests>=2.28,<3",
    "ruamel.yaml>=0.17,<0.19",
    "tqdm>=4",
    "zstandard>=0.19",
    "distro>=1.5",
    "setuptools>=60",
]


def main(root: Path, channels: Path | None) -> None:
    root = root.absolute()
    venv.EnvBuilder(with_pip=True, symlinks=True).create(root)
    py = root / "bin/python"
    pip = [py, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, *DEPS], check=True)
    tmp = root / "conda-lock"
    subprocess.run([*pip, "--no-deps", "--no-compile", "--target", tmp, *PINS], check=True)
    site = Path(
        subprocess.check_output([py, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True).strip()
    )
    dest = site / "conda"
    shutil.copytree(tmp / "conda_lock/_vendor/conda", dest)
    shutil.rmtree(tmp)
    for f in dest.rglob("*.py"):
        text = f.read_text()
        new = text.replace("from conda_lock._vendor import conda", "import conda")
        new = new.replace("conda_lock._vendor.conda", "conda").replace("conda_lock.vendor.conda", "conda")
        if new != text:
            f.write_text(new)
    (root / "conda-meta").mkdir(exist_ok=True)
    (root / "conda-meta/history").touch()
    (root / "condabin").mkdir(exist_ok=True)

    def script(path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)

    # what an installed conda has as entry point
    script(
        root / "bin/conda",
        f"#!{py}\nimport sys\nif __name__ == '__main__':  # conda starts processes\n"
        "    from conda.cli import main\n    sys.exit(main())\n",
    )
    link = root / "condabin/conda"
    link.unlink(missing_ok=True)
    link.symlink_to("../bin/conda")
    # The shell files are not in the wheel: our own, which eval what conda's activator prints.
    profile = root / "etc/profile.d/conda.sh"
    for path in profile, dest / "shell/etc/profile.d/conda.sh":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"""\
export CONDA_EXE='{root}/bin/conda' _CE_M='' _CE_CONDA='' CONDA_PYTHON_EXE='{py}'
export CONDA_SHLVL="${{CONDA_SHLVL:-0}}"
conda() {{
    case "${{1-}}" in
        activate|deactivate|reactivate) eval "$("$CONDA_EXE" shell.posix "$@")" ;;
        *) "$CONDA_EXE" "$@" ;;
    esac
}}
""")
    script(root / "bin/activate", f"#!/bin/sh\n. '{profile}' || return $?\nconda activate \"$@\"\n")
    rc = "solver: classic\nchannel_priority: strict\nnotify_outdated_conda: false\noffline: true\n"
    if channels:
        rc += (
            f"channel_alias: file://{channels.absolute()}\n"
            f"channels: [conda-forge]\ndefault_channels: []\n"
            f"pkgs_dirs: ['{root}/pkgs']\nenvs_dirs: ['{root}/envs']\n"
        )
    (root / ".condarc").write_text(rc)
    print(subprocess.check_output([root / "bin/conda", "--version"], text=True).strip(), "in", root)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
