"""What surrounds the work and never changes a result.

These are the configuration and its flags, messages, signals, locks, processes, errors, and the fingerprint that says
which results are stale. An edit anywhere in this folder makes nothing stale. Code that can change a number in a result
belongs elsewhere.
"""

from worldmodels import lazily

__getattr__, __all__ = lazily(
    __name__,
    {
        "errors": ["UserError"],
        "config": [
            "EnvConfig",
            "EvaluateConfig",
            "LatentsConfig",
            "RolloutsConfig",
            "RunConfig",
            "WMControllerConfig",
            "WMMDNRNNConfig",
            "WMVAEConfig",
        ],
        "loading": ["load_config"],
        "fingerprint": ["program_fingerprint"],
        "program": ["make_parser", "run_program"],
    },
)
