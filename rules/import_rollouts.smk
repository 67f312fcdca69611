# Rollouts that others made (rollouts.source), in the format of the workflow: in place of rules/rollouts.smk.
# consumes: the episodes in rollouts.source, which are no inputs, because their path must not count
# produces: <data_dir>/<shard>_<number>.npz, an episode each; <data_dir>/<shard>.json, their summary and digests

from worldmodels.runtime.effects import compared_fields
from worldmodels.runtime.flags import flags_text
from worldmodels.runtime.settings import settable
from worldmodels.runtime.sources import find_source
from worldmodels.workflow import controller_check

controller_check.check_against_earlier_rollouts(workflow, CONFIG, ROLLOUT_SUMMARIES[0])

SOURCE = find_source(CONFIG.rollouts.source)
# What an import depends on: the size of the frames, and the environment's actions.
IMPORTING = ["id", "kwargs", "import_", "height", "width", "crop", "grey"]
OTHERS = [f.name for f in settable(type(CONFIG.env)) if f.name not in IMPORTING]


rule import_rollouts:
    """Import a shard of the episodes in rollouts.source."""
    output:
        episodes=paths.shard_files(DATA_DIR, "{shard}", SHARD_SIZE),
        summary=f"{DATA_DIR}/{{shard}}.json",
    log:
        f"{LOGDIR}/logs/import_rollouts_{{shard}}.log",
    benchmark:
        f"{LOGDIR}/benchmarks/import_rollouts_{{shard}}.tsv"
    wildcard_constraints:
        shard=WHOLE_SHARD,
    conda:
        "../envs/play.yaml"
    threads: 1
    resources:
        mem_mb=growing(collecting_memory(FRAME_MB, CONFIG.rollouts, SHARD_SIZE)),
        runtime=growing(20 + SHARD_SIZE),
    params:
        **PROGRAMS,
        options=compared(
            f"{flags_text(CONFIG.env, IMPORTING)} "
            f"{flags_text(CONFIG.rollouts, compared_fields(CONFIG.rollouts, CONFIG))}"
        ),
        source=lambda wildcards: SOURCE.stamp(
            paths.shard_episodes(int(wildcards.shard), SHARD_SIZE, NUM_ROLLOUTS)
        ),
        code=code("import_rollouts.py", ENV_MODULES),
        runtime=runtime(CONFIG.rollouts),
        env=uncompared(flags_text(CONFIG.env, OTHERS)),
        controller=uncompared(controller_check.settings_text(workflow, CONFIG)),
    shell:
        "{params.python} {params.scripts}/import_rollouts.py {params.options} {params.runtime} {params.env}"
        " --shard {wildcards.shard} --controller {params.controller:q}"
        " --log {log:q} --threads {threads}"
        " --origin options={params.options:q} source={params.source} code={params.code}"


# Its params are the same as for whole shards, see rules/rollouts.smk.
if LAST_SIZE:

    use rule import_rollouts as import_last_rollouts with:
        output:
            episodes=paths.shard_files(DATA_DIR, "{shard}", LAST_SIZE),
            summary=f"{DATA_DIR}/{{shard}}.json",
        wildcard_constraints:
            shard=SHARDS[-1],
        resources:
            mem_mb=growing(collecting_memory(FRAME_MB, CONFIG.rollouts, LAST_SIZE)),
            runtime=growing(20 + LAST_SIZE),
