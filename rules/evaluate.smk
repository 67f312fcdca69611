# The official test on held-out tracks, always in gymnasium.
# consumes: V, M, C
# produces: <logdir>/eval.json


rule evaluate:
    input:
        models=ancient([f"{V}.tar", f"{M}.tar", f"{C}.tar"]),
        summaries=[f"{V}.json", f"{M}.json", f"{C}.json"],
    output:
        f"{LOGDIR}/eval.json",
    log:
        f"{LOGDIR}/logs/evaluate.log",
    benchmark:
        f"{LOGDIR}/benchmarks/evaluate.tsv"
    conda:
        "../envs/worldmodels.yaml"
    threads: 32
    resources:
        mem_mb=lambda wildcards, threads, attempt: (1000 + 700 * threads) * attempt,
        runtime=growing(240),
    params:
        command=command("evaluate.py"),
        options=options(CONFIG.env, CONFIG.evaluate),
        code=code("evaluate.py"),
    shell:
        "{params.command} {params.options} --log {log:q}"
