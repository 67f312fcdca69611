#!/usr/bin/env python
"""Pack V, M and C of a finished run, its test and a film into a folder and a .zip that others can use (--output).

The folder has the layout that model hubs take: README.md (a model card), config.json, a .safetensors file for each
model, eval.json and episode.gif. No file holds code. Programs take the folder or the .zip in place of a run's logdir.
"""

import hashlib
import json
import zipfile
from argparse import Namespace
from pathlib import Path
from typing import IO

from worldmodels.playing.agent import load_agent
from worldmodels.runtime.config import EnvConfig
from worldmodels.runtime.devices import choose_device
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.flags import section_from_args
from worldmodels.runtime.log import log
from worldmodels.runtime.packages import FORMAT, STAGES, weights_file
from worldmodels.runtime.program import make_parser, run_config_from_args, run_program
from worldmodels.runtime.settings import config_key, settable
from worldmodels.showing.model_card import model_card
from worldmodels.storage.checkpoints import load_checkpoint
from worldmodels.storage.files import claim_folder, read_json, write_atomically
from worldmodels.storage.tensors import to_safetensors


def main(args: Namespace) -> None:
    run = run_config_from_args(args)
    env = section_from_args(args, EnvConfig)
    test_file, folder = Path(run.logdir, "eval.json"), Path(args.output or f"{run.logdir}/package")
    test = read_json(test_file, ("env", "env_kwargs", "mean", "std", "mean_95_interval", "episodes", "env_steps"))
    if (test["env"], test["env_kwargs"]) != (env.id, env.kwargs):
        raise UserError(
            f"env.id, env.kwargs: expected {test['env']} {test['env_kwargs']}, as {test_file} says, "
            f"found {env.id} {env.kwargs}"
        )
    load_agent(run.logdir, choose_device("cpu"))  # checks that the three belong together
    files, models = pack_models(run.logdir)
    files["eval.json"] = test_file.read_bytes()
    if args.film:
        if not Path(args.film).is_file():
            raise UserError(f"--film: expected a film (.gif), found no {args.film}")
        files["episode.gif"] = Path(args.film).read_bytes()
    configs = {stage: model["config"] for stage, model in models.items()}
    files["README.md"] = model_card(env, test, configs, has_film=bool(args.film)).encode()
    config = {
        "format": FORMAT,
        "env": {config_key(f): getattr(env, f.name) for f in settable(EnvConfig)},
        "models": models,
        "settings": json.loads(args.settings),
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    files["config.json"] = f"{json.dumps(config, indent=1)}\n".encode()
    claim_folder(folder)
    for name, content in files.items():
        write_atomically(folder / name, lambda file, content=content: file.write(content))
    write_atomically(f"{folder}.zip", lambda file: write_zip(file, files))
    size = sum(map(len, files.values())) / 1e6
    log.info("export: %d files, %.1f MB, in %s and %s.zip", len(files), size, folder, folder)


def pack_models(logdir: str) -> tuple[dict[str, bytes], dict[str, dict]]:
    """Return the weights of V, M and C as files by name, and what config.json says of each, by stage.

    M and C know the V and M that they were trained with by the digests of these files.
    """
    files, models, digests = {}, {}, {}
    for stage in STAGES:
        content = load_checkpoint(f"{logdir}/{stage}/best.tar")
        content |= {model: digest for model, digest in digests.items() if model in content}
        data = files[weights_file(stage)] = to_safetensors(content)
        digests[stage] = hashlib.sha256(data).hexdigest()
        numbers = {key: value for key, value in content.items() if isinstance(value, (int, float))}
        models[stage] = {"file": weights_file(stage), **numbers, "config": content["config"]}
    return files, models


def write_zip(file: IO[bytes], files: dict[str, bytes]) -> None:
    """Write a .zip of these files; the same files give the same bytes."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)


if __name__ == "__main__":
    parser = make_parser(__doc__, EnvConfig)
    parser.add_argument("--film", metavar="FILE", help="film of an episode, .gif (default: none)")
    parser.add_argument("--settings", default="{}", metavar="JSON", help="all settings of the run, for config.json")
    parser.add_argument(
        "--output", metavar="FOLDER", help="folder to write; the .zip stands beside it (default: <logdir>/package)"
    )
    run_program(parser, main)
