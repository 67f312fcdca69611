#!/usr/bin/env python
"""Train C, the controller, in M's dreams: by CMA-ES, then by evolution strategies (Salimans et al., 2017).

Reads V and M from <logdir>, and from --start the C at which the search starts. Writes to <logdir>/ctrl:

    best.tar        the mean of the search distribution that did best in the dreams of the validation
    best.json       its summary
    history.csv     a row per generation
    checkpoint.tar  the state that a stopped run continues from
"""

from argparse import Namespace

from worldmodels.runtime.config import EnvConfig, WMControllerConfig
from worldmodels.runtime.curves import curves
from worldmodels.runtime.digests import file_digest
from worldmodels.runtime.flags import role_flags, section_from_args
from worldmodels.runtime.identity import product_origin, state_identity
from worldmodels.runtime.log import log
from worldmodels.runtime.paths import controller_file
from worldmodels.runtime.program import make_parser, run_config_from_args, run_program
from worldmodels.runtime.settings import RESULT
from worldmodels.runtime.workers import check_mpi_ranks
from worldmodels.storage.checkpoints import write_best
from worldmodels.storage.files import claim_folder
from worldmodels.training.controller_in_dream import train_controller_in_dream


def main(args: Namespace) -> None:
    run = run_config_from_args(args)
    env = section_from_args(args, EnvConfig)
    config = section_from_args(args, WMControllerConfig, env_name=env.id, env_kwargs=env.kwargs, logdir=run.logdir)
    check_mpi_ranks(config.workers)
    folder, models = f"{run.logdir}/ctrl", [f"{run.logdir}/{stage}/best" for stage in ("vae", "mdrnn")]
    if config.start:
        models.append(controller_file(config.start).removesuffix(".tar"))
    claim_folder(folder)
    digests = [file_digest(f"{model}.tar") for model in models]
    origin = product_origin(args, [f"{model}.json" for model in models])
    flags = (role_flags(env, (RESULT,)), role_flags(config, (RESULT,)))
    identity = state_identity(run.seed, *flags, *digests, user_modules=env.modules.values())
    best = train_controller_in_dream(env, config, run.seed, identity, run.device, args.threads)
    write_best(folder, best, origin=origin)
    curves.add_score("ctrl", {"score/dream": best["reward"]}, best["epoch"])
    log.info(
        "ctrl: best validated mean %.1f after generation %d, %d steps of dreams, %s/best.tar",
        best["reward"], best["epoch"], best["dream_steps"], folder,
    )  # fmt: skip


if __name__ == "__main__":
    run_program(make_parser(__doc__, EnvConfig, WMControllerConfig), main)
