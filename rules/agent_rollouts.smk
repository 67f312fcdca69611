# Rollouts where the agent of an earlier run drives in some episodes: in place of rules/rollouts.smk.
# consumes: V, M and C of the earlier run, or of a package
# produces: <data_dir>/<shard>_<number>.npz, an episode each; <data_dir>/<shard>.json, their summary and digests

from worldmodels.workflow import controller_check

# The job checks C's settings against the environment that it makes. A dry run checks them against earlier rollouts.
controller_check.check_against_earlier_rollouts(workflow, CONFIG, ROLLOUT_SUMMARIES[0])


rule collect_agent_rollouts:
    """Collect a shard of episodes, some of them under the agent of an earlier run."""
    input:
        models=ancient([f"{file}.tar" for file in AGENT]),
        summaries=[f"{file}.json" for file in AGENT],
    output:
        episodes=paths.shard_files(DATA_DIR, "{shard}", SHARD_SIZE),
        summary=f"{DATA_DIR}/{{shard}}.json",
    log:
        f"{LOGDIR}/logs/collect_agent_rollouts_{{shard}}.log",
    benchmark:
        f"{LOGDIR}/benchmarks/collect_agent_rollouts_{{shard}}.tsv"
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
        agent=compared(AGENT_DIGEST),
        code=code("collect_agent_rollouts.py", ENV_MODULES, AGENT_MODULES),
        runtime=runtime(CONFIG.env, CONFIG.rollouts),
        controller=uncompared(controller_check.settings_text(workflow, CONFIG)),
    shell:
        "{params.python} {params.scripts}/collect_agent_rollouts.py {params.options} {params.runtime}"
        " --shard {wildcards.shard} --controller {params.controller:q}"
        " --log {log:q} --threads {threads}"
        " --origin options={params.options:q} agent={params.agent:q} code={params.code}"


# Its params are the same as for whole shards, see rules/rollouts.smk.
if LAST_SIZE:

    use rule collect_agent_rollouts as collect_last_agent_rollouts with:
        output:
            episodes=paths.shard_files(DATA_DIR, "{shard}", LAST_SIZE),
            summary=f"{DATA_DIR}/{{shard}}.json",
        wildcard_constraints:
            shard=SHARDS[-1],
        resources:
            mem_mb=growing(collecting_memory(FRAME_MB, CONFIG.rollouts, LAST_SIZE)),
            runtime=growing(20 + LAST_SIZE),
