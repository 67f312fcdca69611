"""The agent at work: V, M and C in the environment or in M's dream, the official test, and what is seen of both.

It plays with trained networks. It collects and trains nothing.
"""

from worldmodels import lazily

__getattr__, __all__ = lazily(
    __name__,
    {
        "agent": ["WorldModel", "load_agent", "load_world_model"],
        "episodes": ["play_episodes"],
        "evaluation": ["AgentPlayer", "evaluate"],
        "workers": ["run_with_player", "start_player"],
        "dreams": ["dream", "sample_latent"],
    },
)
