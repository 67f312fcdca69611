# Rollouts: episodes under random policies. A job collects a shard of them.
# consumes: nothing
# produces: <data_dir>/<shard>_<number>.npz, an episode each; <data_dir>/<shard>.json, their summary and digests

from worldmodels.workflow import controller_check

# The job checks C's settings against the environment that it makes. A dry run checks them against earlier rollouts.
controller_check.check_against_earlier_rollouts(workflow, CONFIG, ROLLOUT_SUMMARIES[0])


rule collect_rollouts:
    """Collect a shard of episodes under random policies."""
    output:
        episodes=paths.shard_files(DATA_DIR, "{shard}", SHARD_SIZE),
        summary=f"{DATA_DIR}/{{shard}}.json",
    log:
        f"{LOGDIR}/logs/collect_rollouts_{{shard}}.log",
    benchmark:
        f"{LOGDIR}/benchmarks/collect_rollouts_{{shard}}.tsv"
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
        options=options(CONFIG.env, CONFIG.rollouts),
        code=code("collect_rollouts.py", ENV_MODULES),
        runtime=runtime(CONFIG.env, CONFIG.rollouts),
        controller=uncompared(controller_check.settings_text(workflow, CONFIG)),
    shell:
        "{params.python} {params.scripts}/collect_rollouts.py {params.options} {params.runtime}"
        " --shard {wildcards.shard} --controller {params.controller:q}"
        " --log {log:q} --threads {threads}"
        " --origin options={params.options:q} code={params.code}"


# Its params are the same as for whole shards. So a shard that was whole in one configuration and is the last in another
# is not collected again.
if LAST_SIZE:

    use rule collect_rollouts as collect_last_rollouts with:
        output:
            episodes=paths.shard_files(DATA_DIR, "{shard}", LAST_SIZE),
            summary=f"{DATA_DIR}/{{shard}}.json",
        wildcard_constraints:
            shard=SHARDS[-1],
        resources:
            mem_mb=growing(collecting_memory(FRAME_MB, CONFIG.rollouts, LAST_SIZE)),
            runtime=growing(20 + LAST_SIZE),
