# What jobs ask for: memory in MB, time in minutes, and what a profile says of a stage.

import shutil

from worldmodels.workflow import ablation, temperatures
from worldmodels.workflow.resources import (
    collecting_memory,
    frame_memory,
    growing,
    latents_memory,
    loaded_memory,
    playing_memory,
)

FRAME_MB = frame_memory(CONFIG)
LOADED_MB = loaded_memory(CONFIG)  # frames that V's training holds
LATENTS_MB = latents_memory(CONFIG)

# C's workers are processes of the job, or the ranks of an MPI job. The first rank searches, and each other rank is a
# worker. A rank has one core, on any node.
MPI = CONFIG.ctrl.workers == "mpi"
MPI_RESOURCES = {
    "mpi": "srun --kill-on-bad-exit=1" if shutil.which("srun") else "mpiexec",
    "tasks": CONFIG.ctrl.max_workers + 1,
    "mem_mb_per_cpu": growing(1000),
}

if not IS_MODULE:
    # What a profile says of a rule holds for the last, smaller shard, for the runs of a sweep, for iterations and for
    # the variants of a run. Chains of a sweep have rules of their own: seed_1_compare_iterations.
    runs = {"": None, **RUNS, **{f"seed_{seed}_": None for seed in SEEDS}}
    variants = [
        "",
        *(f"ablation_{name}_" for name in ablation.VARIANTS),
        *(
            f"{temperatures.rule_prefix(name)}_"
            for name in temperatures.variants(TEMPERATURES)
        ),
    ]
    internals.extend_profile(
        workflow,
        same={
            "collect_rollouts": "collect_last_rollouts",
            "collect_agent_rollouts": "collect_last_agent_rollouts",
            "import_rollouts": "import_last_rollouts",
        },
        prefixes=[f"{run}{variant}" for run in runs for variant in variants],
    )
