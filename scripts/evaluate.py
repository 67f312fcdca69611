#!/usr/bin/env python
"""The official test: the trained agent on held-out tracks of gymnasium's environment, no early stop.

Writes <logdir>/eval.json: the seeds, returns and lengths of the episodes, their mean, standard deviation and the 95 %
interval of the mean, versions, and the environment steps that training took.
"""

from worldmodels import checkpoint, cli, config, seeding, settings
from worldmodels.cli import log
from worldmodels.evaluation import evaluate, summarise


def main(args) -> None:
    run = cli.run_config(args)
    env = settings.from_args(args, config.EnvConfig)
    test = settings.from_args(args, config.EvaluateConfig)
    seeds = seeding.evaluation_seeds(test.num_episodes)
    result = summarise(run.logdir, env, seeds, *evaluate(run.logdir, env, seeds, run.device, args.threads))
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
