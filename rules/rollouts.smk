# Rollouts: episodes under random policies, whole shards a job.
# consumes: nothing
# produces: <data_dir>/<shard>_<number>.npz, an episode each; <data_dir>/<shard>.json, their summary and digests


rule rollouts:
    input:
        ROLLOUTS,


rule rollouts_shard:
    output:
        episodes=wm.shard_files(DATA_DIR, "{shard}", CONFIG.rollouts.shard_size),
        summary=f"{DATA_DIR}/{{shard}}.json",
    log:
        f"{LOGDIR}/logs/rollouts_{{shard}}.log",
    benchmark:
        f"{LOGDIR}/benchmarks/rollouts_{{shard}}.tsv"
    wildcard_constraints:
        shard=r"\d{5}",
    conda:
        "../envs/worldmodels.yaml"
    threads: 1
    resources:
        mem_mb=500 + 30 * CONFIG.rollouts.shard_size,
        runtime=60,
    params:
        command=command("collect_rollouts.py"),
        options=options(CONFIG.env, CONFIG.rollouts),
        code=code("collect_rollouts.py"),
    shell:
        "{params.command} --shard {wildcards.shard} {params.options} --log {log:q}"
