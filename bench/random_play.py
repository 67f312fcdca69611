#!/usr/bin/env python
"""What random play scores on the tracks of the official test: the score that an agent has to beat.

python bench/random_play.py --env-id CartPole-v1
"""

import sys
from pathlib import Path

from worldmodels.data.policies import plan_actions
from worldmodels.envs import seeding
from worldmodels.envs.actions import ActionCodec
from worldmodels.envs.backends import describe_env
from worldmodels.envs.making import make_gymnasium
from worldmodels.playing.scores import summarize_returns
from worldmodels.runtime.config import EnvConfig, RolloutsConfig
from worldmodels.runtime.flags import section_from_args
from worldmodels.runtime.log import log
from worldmodels.runtime.program import make_parser, run_program
from worldmodels.runtime.score_text import score_text

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))


def play(env: EnvConfig, seed: int, policy: str) -> float:
    """The return of an episode; nothing is rendered unless the environment shows itself as pictures."""
    made = make_gymnasium(env)
    steps = made.spec.max_episode_steps  # type: ignore[union-attr]
    rollouts = RolloutsConfig(policy=policy, seq_len=max(2, steps), env_name=env.id, env_kwargs=env.kwargs)
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
    env = section_from_args(args, EnvConfig)
    for policy in ("random", "ou"):
        returns = [play(env, seed, policy) for seed in seeding.evaluation_seeds(args.episodes)]
        result = summarize_returns(returns)
        score = score_text(result["mean"], result["std"])
        log.info("%s, policy %s: %s over %d episodes", describe_env(env), policy, score, len(returns))


if __name__ == "__main__":
    made = make_parser(__doc__, EnvConfig)
    made.add_argument("--episodes", type=int, default=32, help="episodes (default: %(default)s)")
    run_program(made, main)
