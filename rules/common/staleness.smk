# What makes a job stale.
#
# A job runs again if one of these has changed:
#   inputs           The set of its input files, and the content of the small ones. Large inputs are `ancient`: their
#                    time stamps mean nothing here, and the small .json beside each of them holds its digest.
#   params.options   The values that shape its result, as flags.
#   params.rollouts  How many rollouts it reads, as flags.
#   params.code      The fingerprint of the code that it runs.
# What cannot change a result is in params.runtime and other `uncompared` params: folders, the device, memory, workers.
#
# Programs write the compared params into their summaries (--origin). There Snakemake finds them where it has no record
# of its own, see scripts/worldmodels/workflow/records.py.

import shlex
from pathlib import Path

from worldmodels.workflow.params import (
    code_fingerprint,
    compared,
    hparams,
    option_flags,
    runtime_flags,
    shown_settings,
    uncompared,
)

internals.complete_records()

# How programs are started: by the interpreter that has the dependencies. That is a conda environment's, or the one that
# runs Snakemake. They are params, because the linter refuses variables in shell lines.
PROGRAMS = {
    "python": uncompared(
        "python" if internals.uses_conda(workflow) else shlex.quote(sys.executable)
    ),
    "scripts": uncompared(shlex.quote(f"{workflow.basedir}/scripts")),
}

ROLLOUT_FLAGS = f"--num-rollouts {NUM_ROLLOUTS} --shard-size {SHARD_SIZE}"


def options(*sections):
    """The param with the values of these sections that shape a job's result."""
    return compared(option_flags(CONFIG, *sections))


def runtime(*sections):
    """The param with the run's folders, the device and the values of these sections that cannot change a result."""
    return uncompared(runtime_flags(CONFIG, *sections))


# The values that shape the run, for the curves of its stages.
HPARAMS = uncompared(shlex.quote(hparams(CONFIG)))


def code(script, *users):
    """The param with the fingerprint of all code that a script runs, the user's own modules (ENV_MODULES) included."""
    modules = [module for by_key in users for module in by_key.values()]
    return code_fingerprint(Path(workflow.basedir, "scripts", script), *modules)
