"""Names of folders and files: where a run's results and its rollouts go.

Importing this module must stay cheap (no torch, no numpy): every dry run does it.
"""

import math
import os
import re
from pathlib import Path

from worldmodels.runtime.errors import UserError


def normal_path(path: str, name: str) -> str:
    """Return the one spelling of a folder: relative if it lies in the working directory, else absolute.

    Snakemake keeps its records by a path's spelling. Symbolic links are kept, except where a `..` follows one.

    Args:
        path: the folder as the user writes it.
        name: the key in the configuration.

    Raises:
        UserError: the path has braces, which mark Snakemake's wildcards, or begins with a dash, as flags do.
    """
    for sign in "{}":
        if sign in path:
            raise UserError(
                f"{name}: expected a path without braces, which Snakemake takes for wildcards, found {path!r}"
            )
    absolute = os.path.abspath(os.path.expanduser(path))
    if ".." in Path(path).parts and os.path.realpath(path) != os.path.realpath(absolute):
        absolute = os.path.realpath(path)
    normal = within(absolute, os.getcwd())
    if normal.startswith("-"):
        raise UserError(f"{name}: expected a path that does not begin with a dash, found {path!r}")
    return normal


def within(absolute: str, folder: str) -> str:
    """Return a path relative to a folder that it lies in, under any name of the folder, else unchanged."""
    path = Path(absolute)
    for parent in (path, *path.parents):
        if str(parent) == folder or (parent.exists() and os.path.samefile(parent, folder)):
            return str(path.relative_to(parent))
    return absolute


def input_name(path: str | Path) -> str:
    """Return the name of a small input in the summary of its product, wherever the run lies.

    It is `vae/best.json` or `latents/latents_32.json`, and `00001.json` for rollouts, which may lie anywhere. In a
    sweep over chains it is `seed_1/iteration_2/eval.json`.
    """
    path = Path(path)
    if re.fullmatch(r"seed_\d+/iteration_\d+", "/".join(path.parts[-3:-1])):
        return "/".join(path.parts[-3:])
    return path.name if re.fullmatch(r"\d{5}\.json", path.name) else f"{path.parent.name}/{path.name}"


def default_logdir(env_id: str) -> str:
    """Return the default logdir of an environment.

    It is results/carracing for CarRacing-v3, and results/pong for ALE/Pong-v5 and for my_package:Pong-v5.
    """
    name = re.split("[/:]", env_id)[-1]
    return f"results/{re.sub(r'-v[0-9]+$', '', name).lower()}"


def controller_file(start: str) -> str:
    """Return the checkpoint that ctrl.start names: itself if it is a file (.tar), else the C in the folder of a run."""
    return start if start.endswith(".tar") else f"{start}/ctrl/best.tar"


def start_file(start: str, stage: str) -> str:
    """Return the checkpoint that vae.start or mdrnn.start names.

    Args:
        start: itself if it is a file, else the folder or .zip of a run or package.
        stage: vae or mdrnn.
    """
    return start if start.endswith((".tar", ".pt", ".pth", ".safetensors")) else f"{start}/{stage}/best.tar"


def refit_file(logdir: str | Path) -> str:
    """Return the checkpoint in which a run keeps the C of an earlier agent, refit to its own V and M."""
    return f"{logdir}/ctrl/start.tar"


def shard_name(shard: int | str) -> str:
    """Return the name of a shard in file names: 5 digits, or a wildcard unchanged."""
    return f"{shard:0>5}"


def shard_files(data_dir: str | Path, shard: int | str, shard_size: int) -> list[str]:
    """Return the rollout files of a full shard: <data_dir>/<shard>_<number in the shard>.npz."""
    return [f"{data_dir}/{shard_name(shard)}_{i:04d}.npz" for i in range(shard_size)]


def shard_episodes(shard: int, shard_size: int, num_rollouts: int) -> range:
    """Return the numbers of a shard's episodes. The last shard has what is left of num_rollouts."""
    return range(shard * shard_size, min((shard + 1) * shard_size, num_rollouts))


def rollout_files(data_dir: str | Path, num_rollouts: int, shard_size: int) -> list[str]:
    """Return the files that V and M learn from: the first num_rollouts, in the order of their episodes."""
    shards = range(num_shards(num_rollouts, shard_size))
    return [file for shard in shards for file in shard_files(data_dir, shard, shard_size)][:num_rollouts]


def num_shards(num_rollouts: int, shard_size: int) -> int:
    """Return the number of shards; the last one is smaller where shard_size does not divide num_rollouts."""
    return math.ceil(num_rollouts / shard_size)
