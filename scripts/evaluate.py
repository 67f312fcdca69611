#!/usr/bin/env python
"""The official test: the trained agent on held-out tracks of gymnasium's environment, no early stop.

Writes <logdir>/eval.json: the seeds, returns and lengths of the episodes, their mean, standard deviation and the 95 %
interval of the mean, versions, and the environment steps that training took. Finished episodes are kept in
<logdir>/evaluate/checkpoint.tar, from which a stopped test goes on.
"""

from worldmodels import checkpoint, cli, config, seeding, settings
from worldmodels.cli import log
from worldmodels.envs import versions
from worldmodels.evaluation import evaluate, summarise


def main(args) -> None:
    run = cli.run_config(args)
    env = settings.from_args(args, config.EnvConfig)
    test = settings.from_args(args, config.EvaluateConfig)
    checkpoint.prepare_folder(f"{run.logdir}/evaluate")
    seeds = seeding.evaluation_seeds(test.num_episodes)
    agent = [checkpoint.digest(f"{run.logdir}/{stage}/best.tar") for stage in ("vae", "mdrnn", "ctrl")]
    identity = cli.identity(settings.options(env, (settings.RESULT,)), versions("gymnasium"), *agent)
    played = evaluate(run.logdir, env, seeds, identity, run.device, args.threads)
    result = summarise(run.logdir, env, seeds, *played)
    checkpoint.write_json(f"{run.logdir}/eval.json", result)
    log.info(
        "evaluate: %.1f +- %.1f over %d tracks (95 %% interval of the mean %.1f to %.1f), %s/eval.json",
        result["mean"],
        result["std"],
        len(seeds),
        *result["mean_95_interval"],
        run.logdir,
    )


if __name__ == "__main__":
    cli.main(cli.parser(__doc__, config.EnvConfig, config.EvaluateConfig), main)
