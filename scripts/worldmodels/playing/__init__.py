"""The agent at work: V, M and C play in the environment or in M's dream, and take the official test.

Code here uses trained networks. It trains nothing and collects no rollouts.
"""

from worldmodels import lazily

__getattr__, __all__ = lazily(
    __name__,
    {
        "agent": ["WorldModel", "load_agent", "load_world_model"],
        "episodes": ["play_episodes"],
        "evaluation": ["AgentPlayer", "evaluate"],
        "workers": ["run_with_player", "start_player"],
        "dream_episodes": ["play_dreams"],
        "dreams": ["dream", "sample_latent"],
        "watching": ["Moment", "watch"],
    },
)
