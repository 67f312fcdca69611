# The official test on held-out tracks, always in gymnasium; on a cluster in several jobs.
# consumes: V, M, C
# produces: <logdir>/eval.json


rule evaluate_shard:
    """Play a part of the official test (evaluate.shards), for a cluster."""
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
        **PROGRAMS,
        options=options(CONFIG.env, CONFIG.evaluate),
        code=code("evaluate.py", ENV_MODULES, VAE_MODULES),
        runtime=runtime(CONFIG.env, CONFIG.evaluate),
    shell:
        "{params.python} {params.scripts}/evaluate.py {params.options} {params.runtime}"
        " --shard {wildcards.shard} --log {log:q} --threads {threads}"
        " --origin options={params.options:q} code={params.code}"


rule evaluate:
    """Play the official test, or merge its parts, into eval.json (also a target)."""
    input:
        models=ancient([f"{V}.tar", f"{M}.tar", f"{C}.tar"]),
        summaries=[f"{V}.json", f"{M}.json", f"{C}.json"],
        parts=[
            f"{LOGDIR}/evaluate/shard_{shard}_of_{CONFIG.evaluate.shards}.json"
            for shard in TEST_SHARDS
        ],
    output:
        TEST,
    log:
        f"{LOGDIR}/logs/evaluate.log",
    benchmark:
        f"{LOGDIR}/benchmarks/evaluate.tsv"
    conda:
        "../envs/play.yaml"
    threads: 1 if TEST_SHARDS else 32
    resources:
        mem_mb=playing_memory,
        runtime=growing(240),
    params:
        **PROGRAMS,
        options=options(CONFIG.env, CONFIG.evaluate),
        code=code("evaluate.py", ENV_MODULES, VAE_MODULES),
        runtime=runtime(CONFIG.env, CONFIG.evaluate),
        hparams=HPARAMS,
    shell:
        "{params.python} {params.scripts}/evaluate.py {params.options} {params.runtime}"
        " --hparams {params.hparams} --log {log:q} --threads {threads}"
        " --origin options={params.options:q} code={params.code}"
