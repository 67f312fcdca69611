# What all rules share: the checked configuration, and the strings that make a job stale.
#
# A job is stale if one of these changed: the set and contents of its input files, its options (params), the code that
# it runs (params). Large inputs are `ancient`: their time stamps mean nothing here, and the small .json beside each of
# them, which Snakemake compares by content, holds their digest. What cannot change a result (threads, workers, device,
# paths of logs) goes into the command through RUNTIME, which Snakemake does not track.

import shlex
import sys

sys.path.insert(0, f"{workflow.basedir}/scripts")

from worldmodels import config as wm
from worldmodels.fingerprint import fingerprint

try:
    CONFIG = wm.load(config)
except wm.UserError as error:
    sys.exit(f"config: {error}")

LOGDIR = CONFIG.logdir
DATA_DIR = CONFIG.data_dir
SHARDS = range(wm.num_shards(CONFIG.rollouts.num_rollouts, CONFIG.rollouts.shard_size))
ROLLOUTS = wm.rollout_files(DATA_DIR, CONFIG.rollouts.num_rollouts, CONFIG.rollouts.shard_size)
ROLLOUT_SUMMARIES = [f"{DATA_DIR}/{wm.shard_name(shard)}.json" for shard in SHARDS]
LATENTS = f"{LOGDIR}/latents/latents_{CONFIG.vae.latent_size}"

# The interpreter that has the dependencies: a conda environment's, or the one that runs Snakemake.
CONDA = "conda" in {str(method) for method in workflow.deployment_settings.deployment_method}
PYTHON = "python" if CONDA else shlex.quote(sys.executable)
SCRIPTS = shlex.quote(f"{workflow.basedir}/scripts")


def options(*sections):
    """The values that shape a job's result, as sorted flags: the same text for the same values."""
    return " ".join([f"--seed {CONFIG.seed}", *map(wm.options, sections)])


def runtime(*sections):
    """Flags that cannot change a result."""
    files = f"--logdir {shlex.quote(LOGDIR)} --data-dir {shlex.quote(DATA_DIR)} --device {shlex.quote(CONFIG.device)}"
    return " ".join([files, *(wm.options(section, (wm.RUNTIME,)) for section in sections)])


def code(script):
    """The fingerprint of all code that a script runs."""
    return fingerprint(f"{workflow.basedir}/scripts/{script}")


FROM_ROLLOUTS = f"--num-rollouts {CONFIG.rollouts.num_rollouts} --shard-size {CONFIG.rollouts.shard_size}"

RUNTIME = {
    "rollouts": runtime(),
    "vae": f"{runtime(CONFIG.vae)} {FROM_ROLLOUTS}",
    "latents": f"{runtime(CONFIG.latents)} {FROM_ROLLOUTS}",
    "mdrnn": f"{runtime(CONFIG.mdrnn)} {FROM_ROLLOUTS} --memory-gb {CONFIG.vae.memory_gb}",
    "ctrl": runtime(CONFIG.ctrl),
    "evaluate": runtime(),
}
