#!/usr/bin/env python
"""Train C, the controller, by CMA-ES and then by ascent of its return in the environment, with V and M from <logdir>.

Writes <logdir>/ctrl/best.tar (the mean of the search distribution that did best on the validation tracks), best.json
(its summary) and history.csv, a row a generation. <logdir>/ctrl/checkpoint.tar is the state that a stopped run
continues from.
"""

from worldmodels.envs.backends import choose_backend, log_backend, package_versions
from worldmodels.models.load_vae import user_network_of
from worldmodels.runtime.config import EnvConfig, WMControllerConfig
from worldmodels.runtime.digests import file_digest
from worldmodels.runtime.flags import role_flags, section_from_args
from worldmodels.runtime.identity import product_origin, state_identity
from worldmodels.runtime.log import log
from worldmodels.runtime.program import make_parser, run_config_from_args, run_program
from worldmodels.runtime.settings import RESULT
from worldmodels.runtime.workers import check_mpi_ranks
from worldmodels.storage.checkpoints import write_best
from worldmodels.storage.files import claim_folder
from worldmodels.training.controller import train_controller


def main(args) -> None:
    run = run_config_from_args(args)
    env = section_from_args(args, EnvConfig)
    ctrl = section_from_args(args, WMControllerConfig, env_name=env.id, env_kwargs=env.kwargs, logdir=run.logdir)
    backend = choose_backend(env)
    log_backend(env)
    check_mpi_ranks(ctrl.workers)
    claim_folder(f"{run.logdir}/ctrl")
    models = [file_digest(f"{run.logdir}/{stage}/best.tar") for stage in ("vae", "mdrnn")]
    origin = product_origin(args, [f"{run.logdir}/{stage}/best.json" for stage in ("vae", "mdrnn")])
    options = (role_flags(env, (RESULT,)), role_flags(ctrl, (RESULT,)))
    users = (env.modules | user_network_of(f"{run.logdir}/vae/best.tar")).values()
    identity = state_identity(run.seed, *options, package_versions(backend), *models, user_modules=users)
    best = train_controller(env, backend, ctrl, run.seed, identity, run.device, args.threads)
    write_best(f"{run.logdir}/ctrl", best, origin=origin)
    log.info(
        "ctrl: best validated mean %.1f after generation %d, %d environment steps, %s/ctrl/best.tar",
        best["reward"],
        best["epoch"],
        best["env_steps"]["controller"],
        run.logdir,
    )


if __name__ == "__main__":
    run_program(make_parser(__doc__, EnvConfig, WMControllerConfig), main)
