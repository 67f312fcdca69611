#!/usr/bin/env python
"""What random play scores on the tracks of the official test: the score that an agent has to beat.

python bench/random_play.py --env-id CartPole-v1
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import numpy as np

from worldmodels import cli, config, seeding, settings
from worldmodels.actions import ActionCodec
from worldmodels.cli import log
from worldmodels.envs import describe
from worldmodels.instances import make_gymnasium
from worldmodels.rollouts import plan_actions


def play(env: config.EnvConfig, seed: int, policy: str) -> float:
    """The return of an episode; nothing is rendered unless the environment shows itself as pictures."""
    made = make_gymnasium(env)
    steps = made.spec.max_episode_steps  # type: ignore[union-attr]
    rollouts = config.RolloutsConfig(policy=policy, seq_len=max(2, steps), env_name=env.id)
    codec, total, over = ActionCodec(made.action_space), 0.0, False
    made.reset(seed=seed)
    for vector in plan_actions(made.action_space, rollouts, seed, 0):
        for _ in range(env.frame_skip):
            if not over:
                _, reward, terminated, truncated, _ = made.step(codec.decode(vector))
                total, over = total + float(reward), terminated or truncated
    made.close()
    return total


def main(args) -> None:
    env = settings.from_args(args, config.EnvConfig)
    for policy in ("random", "ou"):
        returns = [play(env, seed, policy) for seed in seeding.evaluation_seeds(args.episodes)]
        name, spread = describe(env), np.std(returns, ddof=1)
        log.info("%s, policy %s: %.1f +- %.1f over %d episodes", name, policy, np.mean(returns), spread, len(returns))


if __name__ == "__main__":
    made = cli.parser(__doc__, config.EnvConfig)
    made.add_argument("--episodes", type=int, default=32, help="episodes (default: %(default)s)")
    cli.main(made, main)
