"""Searches for C's parameters: CMA-ES, the evolution-strategies gradient, and the evaluation of their candidates.

A search asks for candidates and is told their returns. Which tracks they meet, and when training ends, is decided in
training/controller.py.
"""

from worldmodels import lazily

__getattr__, __all__ = lazily(
    __name__,
    {
        "base": ["Search"],
        "cma_es": ["CMAES"],
        "gradient": ["EvolutionStrategiesGradient"],
        "evaluator": ["CandidatePlayer", "Evaluator"],
        "environment_player": ["EnvironmentPlayer"],
        "dream_player": ["DreamPlayer"],
    },
)
