"""Measure the score of random play on the tracks of the official test: an agent has to beat it.

python -m bench.random_play --env-id CartPole-v1
"""

from argparse import Namespace

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


def main(args: Namespace) -> None:
    config = section_from_args(args, EnvConfig)
    for policy in ("random", "ou"):
        returns = [play_episode(config, seed, policy) for seed in seeding.evaluation_seeds(args.episodes)]
        result = summarize_returns(returns)
        score = score_text(result["mean"], result["std"])
        log.info("%s, policy %s: %s over %d episodes", describe_env(config), policy, score, len(returns))


def play_episode(config: EnvConfig, seed: int, policy: str) -> float:
    """Return the return of an episode under random actions. Nothing is rendered unless env.frames asks for it."""
    env = make_gymnasium(config)
    max_episode_steps = env.spec.max_episode_steps
    rollouts = RolloutsConfig(
        policy=policy, seq_len=max(2, max_episode_steps), env_name=config.id, env_kwargs=config.kwargs
    )
    codec, episode_return, ended = ActionCodec(env.action_space), 0.0, False
    env.reset(seed=seed)
    for vector in plan_actions(env.action_space, rollouts, seed, 0):
        for _ in range(config.frame_skip):
            if not ended:
                _, reward, terminated, truncated, _ = env.step(codec.decode(vector))
                episode_return += float(reward)
                ended = terminated or truncated
    env.close()
    return episode_return


if __name__ == "__main__":
    parser = make_parser(__doc__, EnvConfig)
    parser.add_argument("--episodes", type=int, default=32, help="episodes (default: %(default)s)")
    run_program(parser, main)
