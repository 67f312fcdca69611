# C: the controller, by CMA-ES in the environment.
# consumes: V, M
# produces: <logdir>/ctrl/best.tar, the weights; best.json, their digest and score; history.csv grows beside them


rule ctrl:
    input:
        models=ancient([f"{V}.tar", f"{M}.tar"]),
        summaries=[f"{V}.json", f"{M}.json"],
    output:
        weights=f"{C}.tar",
        summary=f"{C}.json",
    log:
        f"{LOGDIR}/logs/ctrl.log",
    benchmark:
        f"{LOGDIR}/benchmarks/ctrl.tsv"
    conda:
        "../envs/worldmodels.yaml"
    threads: CONFIG.ctrl.max_workers
    resources:
        mem_mb=lambda wildcards, threads: 1000 + 700 * threads,
        runtime=1440,
    params:
        command=command("train_controller.py", CONFIG.ctrl),
        options=options(CONFIG.env, CONFIG.ctrl),
        code=code("train_controller.py"),
    shell:
        "{params.command} {params.options} --log {log:q}"
