#!/usr/bin/env python
"""What random play scores on the tracks of the official test: the score that an agent has to beat.

python bench/random_play.py --env-id CartPole-v1
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

from worldmodels import cli, config, seeding, settings
from worldmodels.actions import ActionCodec
from worldmodels.cli import log
from worldmodels.envs import describe
from worldmodels.instances import make_gymnasium
from worldmodels.rollouts import plan_actions
from worldmodels.scores import score_text, summarize


def play(env: config.EnvConfig, seed: int, policy: str) -> float:
    """The return of an episode; nothing is rendered unless the environment shows itself as pictures."""
    made = make_gymnasium(env)
    steps = made.spec.max_episode_steps  # type: ignore[union-attr]
    rollouts = config.RolloutsConfig(policy=policy, seq_len=max(2, steps), env_name=env.id, env_kwargs=env.kwargs)
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
        result = summarize(returns)
        score = score_text(result["mean"], result["std"])
        log.info("%s, policy %s: %s over %d episodes", describe(env), policy, score, len(returns))


if __name__ == "__main__":
    made = cli.parser(__doc__, config.EnvConfig)
    made.add_argument("--episodes", type=int, default=32, help="episodes (default: %(default)s)")
    cli.main(made, main)
