# The checked configuration, and the paths of all that a run makes.
#
# Rules name these paths instead of `rules.train_vae.output`, which Snakemake resolves in quadratic time beside 10,000
# rollouts.

import os
import sys

if f"{workflow.basedir}/scripts" not in sys.path:
    sys.path.insert(0, f"{workflow.basedir}/scripts")

from worldmodels.runtime import interrupts, paths
from worldmodels.runtime.config import needs_agent
from worldmodels.workflow import configuration, iterations
from worldmodels.workflow import snakemake_internals as internals

# A run of a sweep, an iteration and a variant of a run are modules. They inherit the configuration of the main
# workflow.
IS_MODULE = config.pop("inherited", False)
ITERATION = config.pop("iteration", None)  # the number of this run in a chain
CONFIG, SEEDS, TEMPERATURES, ITERATIONS = configuration.load(
    workflow, config, IS_MODULE
)
LOGDIR = CONFIG.logdir
DATA_DIR = CONFIG.data_dir

# The folder of each run by the prefix of its rules, see rules/sweep.smk and rules/iterations.smk.
RUNS = iterations.run_folders(LOGDIR, SEEDS, ITERATIONS)

# The user's own modules by key of the configuration: the code of the environment, and of V's network.
ENV_MODULES = CONFIG.env.modules
VAE_MODULES = CONFIG.vae.modules
configuration.check_sources(workflow, ENV_MODULES | VAE_MODULES)

# ---- Rollouts: num_rollouts files in shards of shard_size, and a summary of each shard

NUM_ROLLOUTS = CONFIG.rollouts.num_rollouts
SHARD_SIZE = CONFIG.rollouts.shard_size
SHARDS = [
    paths.shard_name(i) for i in range(paths.num_shards(NUM_ROLLOUTS, SHARD_SIZE))
]
ROLLOUTS = paths.rollout_files(DATA_DIR, NUM_ROLLOUTS, SHARD_SIZE)
ROLLOUT_SUMMARIES = [f"{DATA_DIR}/{shard}.json" for shard in SHARDS]

# Where shard_size does not divide num_rollouts, the last shard is smaller. A rule's outputs are a fixed list, so that
# shard has a rule of its own.
LAST_SIZE = NUM_ROLLOUTS % SHARD_SIZE
WHOLE_SHARD = rf"(?!{SHARDS[-1]})\d{{5}}" if LAST_SIZE else r"\d{5}"

# Whether the agent of an earlier run drives in some rollouts, and the rule that makes the rollouts.
AGENT_DRIVES = needs_agent(CONFIG.rollouts)
COLLECT = "collect_agent_rollouts" if AGENT_DRIVES else "collect_rollouts"
if CONFIG.rollouts.source:
    COLLECT = "import_rollouts"

# Whether C starts at an earlier C, which a rule refits to this run's V and M, or installs with them.
REFITS = CONFIG.ctrl.start == paths.refit_file(LOGDIR)

# Whether V, M and C are taken over from a package or a finished run. C may then be trained further (REFITS).
INSTALLS = bool(CONFIG.agent)

# Whether C learns in M's dreams.
DREAMS = CONFIG.ctrl.world == "dream"

# ---- Products of the stages, without endings: a large file, and a small .json that holds its digest

V = f"{LOGDIR}/vae/best"
LATENTS = f"{LOGDIR}/latents/latents_{CONFIG.vae.latent_size}"
M = f"{LOGDIR}/mdrnn/best"
START = f"{LOGDIR}/ctrl/start"  # where REFITS
C = f"{LOGDIR}/ctrl/best"
TEST = f"{LOGDIR}/eval.json"

# Where training starts: as a digest, since the path of a file of another run must not count. The C that a run refits is
# an input.
V_START = configuration.start_digest(CONFIG.vae.start, "vae.start", "V")
M_START = configuration.start_digest(CONFIG.mdrnn.start, "mdrnn.start", "M")
START_FILES = [f"{START}.tar", f"{START}.json"] if REFITS else []
START_DIGEST = (
    "" if REFITS else configuration.start_digest(CONFIG.ctrl.start, "ctrl.start", "C")
)

# The jobs that play the official test, if one job is not enough.
TEST_SHARDS = range(CONFIG.evaluate.shards if CONFIG.evaluate.shards > 1 else 0)

PRECOMPUTED = CONFIG.latents.precompute_latents

# Everything a run makes beside its figures. Snakemake makes a lost file again only if it is asked for.
PRODUCTS = [
    *ROLLOUTS,
    *ROLLOUT_SUMMARIES,
    *(f"{stage}.{ending}" for stage in (V, M, C) for ending in ("tar", "json")),
    *START_FILES,
    *([f"{LATENTS}.npz", f"{LATENTS}.json"] if PRECOMPUTED else []),
    f"{LOGDIR}/ctrl/history.csv",
    TEST,
]
if INSTALLS:
    learned = (START, C) if REFITS else (C,)
    PRODUCTS = [
        *(f"{each}.{end}" for each in (V, M, *learned) for end in ("tar", "json")),
        *([f"{LOGDIR}/ctrl/history.csv"] if REFITS else []),
        TEST,
    ]

# ---- Programs

# The programs inherit this, so that they end with this Snakemake, also when it is killed.
os.environ[interrupts.STARTER] = interrupts.process_stamp(os.getpid())
# When a cluster's job is told to end, its program saves first.
internals.keep_shells_alive(workflow)
