"""What the Snakefile and the rules are built from: configuration, params, memory, messages, and Snakemake's internals.

No program imports this package, so an edit here makes nothing stale. Importing it must stay cheap (no torch, no
numpy), because every dry run does it.
"""
