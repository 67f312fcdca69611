"""Snakemake that looks at the queue every second.

Its SLURM plugin waits ten seconds longer after each look that found no job finished, which is kind to a scheduler that
many users share. A job of these tests would be waited for longer than it runs.
"""

import sys

from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

SECONDS = 1
RemoteExecutor.next_seconds_between_status_checks = property(lambda executor: SECONDS, lambda executor, seconds: None)

if __name__ == "__main__":
    sys.exit(main())
