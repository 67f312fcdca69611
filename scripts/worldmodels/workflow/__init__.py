"""What the Snakefile and the rules are built from: configuration, params, memory, messages, and Snakemake's internals.

No program imports this package, so an edit here makes nothing stale. Importing it must stay cheap (no torch, no
numpy), because every dry run does it.
"""

from worldmodels import lazily

__getattr__, __all__ = lazily(
    __name__,
    {
        "configuration": ["check_sources", "find_agent", "inherit"],
        "params": ["code_fingerprint", "compared", "option_flags", "runtime_flags", "uncompared"],
        "resources": ["collecting_memory", "growing", "playing_memory"],
        "records": ["read_origin", "summary_beside"],
        "last_words": ["claim_folders", "report_errors", "report_score"],
    },
)
