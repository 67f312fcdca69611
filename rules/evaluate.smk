# The official test on held-out tracks, always in gymnasium; on a cluster in several jobs.
# consumes: V, M, C
# produces: <logdir>/eval.json

PLAYED = [
    f"{LOGDIR}/evaluate/shard_{shard}_of_{CONFIG.evaluate.shards}.json"
    for shard in range(CONFIG.evaluate.shards if CONFIG.evaluate.shards > 1 else 0)
]


rule evaluate_shard:
    input:
        models=ancient([f"{V}.tar", f"{M}.tar", f"{C}.tar"]),
        summaries=[f"{V}.json", f"{M}.json", f"{C}.json"],
    output:
        f"{LOGDIR}/evaluate/shard_{{shard}}_of_{CONFIG.evaluate.shards}.json",
    log:
        f"{LOGDIR}/logs/evaluate_shard_{{shard}}.log",
    benchmark:
        f"{LOGDIR}/benchmarks/evaluate_shard_{{shard}}.tsv"
    conda:
        "../envs/play.yaml"
    threads: 32
    resources:
        mem_mb=playing_memory,
        runtime=growing(240),
    params:
        **recorded(
            command=command("evaluate.py", CONFIG.env, CONFIG.evaluate),
            options=options(CONFIG.env, CONFIG.evaluate),
            code=code("evaluate.py", OF_ENV, OF_VAE),
        ),
    shell:
        "{params.command} --shard {wildcards.shard} {params.options} --log {log:q}"


rule evaluate:
    input:
        models=ancient([f"{V}.tar", f"{M}.tar", f"{C}.tar"]),
        summaries=[f"{V}.json", f"{M}.json", f"{C}.json"],
        played=PLAYED,
    output:
        f"{LOGDIR}/eval.json",
    log:
        f"{LOGDIR}/logs/evaluate.log",
    benchmark:
        f"{LOGDIR}/benchmarks/evaluate.tsv"
    conda:
        "../envs/play.yaml"
    threads: 1 if PLAYED else 32
    resources:
        mem_mb=playing_memory,
        runtime=growing(240),
    params:
        **recorded(
            command=command("evaluate.py", CONFIG.env, CONFIG.evaluate),
            options=options(CONFIG.env, CONFIG.evaluate),
            code=code("evaluate.py", OF_ENV, OF_VAE),
        ),
    shell:
        "{params.command} {params.options} --log {log:q}"
