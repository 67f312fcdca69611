#!/usr/bin/env python
"""Train C, the controller, by CMA-ES and then by ascent of its return in the environment, with V and M from <logdir>.

Writes <logdir>/ctrl/best.tar (the mean of the search distribution that did best on the validation tracks), best.json
(its summary) and history.csv, a row a generation. <logdir>/ctrl/checkpoint.tar is the state that a stopped run
continues from.
"""

from worldmodels import checkpoint, cli, config, settings, workers
from worldmodels.cli import log
from worldmodels.envs import choose_backend, tell_backend, versions
from worldmodels.evolution import train_controller
from worldmodels.vae import own_network_in


def main(args) -> None:
    run = cli.run_config(args)
    env = settings.from_args(args, config.EnvConfig)
    ctrl = settings.from_args(
        args, config.WMControllerConfig, env_name=env.id, env_kwargs=env.kwargs, logdir=run.logdir
    )
    backend = choose_backend(env)
    tell_backend(env)
    workers.check_ranks(ctrl.workers)
    checkpoint.claim_folder(f"{run.logdir}/ctrl")
    models = [checkpoint.digest(f"{run.logdir}/{stage}/best.tar") for stage in ("vae", "mdrnn")]
    origin = cli.origin(args, [f"{run.logdir}/{stage}/best.json" for stage in ("vae", "mdrnn")])
    options = (settings.options(env, (settings.RESULT,)), settings.options(ctrl, (settings.RESULT,)))
    users = (env.modules | own_network_in(f"{run.logdir}/vae/best.tar")).values()
    identity = cli.identity(run.seed, *options, versions(backend), *models, users=users)
    best = train_controller(env, backend, ctrl, run.seed, identity, run.device, args.threads)
    checkpoint.write_best(f"{run.logdir}/ctrl", best, origin=origin)
    log.info(
        "ctrl: best validated mean %.1f after generation %d, %d environment steps, %s/ctrl/best.tar",
        best["reward"],
        best["epoch"],
        best["env_steps"]["controller"],
        run.logdir,
    )


if __name__ == "__main__":
    cli.main(cli.parser(__doc__, config.EnvConfig, config.WMControllerConfig), main)
