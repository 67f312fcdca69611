# C: the controller, in the environment, by CMA-ES and then evolution strategies.
# consumes: V, M; ctrl.start, if there is one
# produces: <logdir>/ctrl/best.tar, the weights; best.json, their digest and score; history.csv, a row a generation


rule train_controller:
    """Train C, the controller, in the environment, by CMA-ES and then evolution strategies."""
    input:
        models=ancient([f"{V}.tar", f"{M}.tar", *START_FILES[:1]]),
        summaries=[f"{V}.json", f"{M}.json", *START_FILES[1:]],
    output:
        weights=f"{C}.tar",
        summary=f"{C}.json",
        history=f"{LOGDIR}/ctrl/history.csv",
    log:
        f"{LOGDIR}/logs/train_controller.log",
    benchmark:
        f"{LOGDIR}/benchmarks/train_controller.tsv"
    conda:
        "../envs/play.yaml"
    threads: 1 if MPI else CONFIG.ctrl.max_workers
    resources:
        **(MPI_RESOURCES if MPI else {}),
        mem_mb=playing_memory,
        runtime=growing(1440),
    params:
        **PROGRAMS,
        options=options(CONFIG.env, CONFIG.ctrl),
        start=compared(START_DIGEST),
        code=code("train_controller.py", ENV_MODULES, VAE_MODULES),
        runtime=runtime(CONFIG.env, CONFIG.ctrl),
        hparams=HPARAMS,
        launcher=lambda wildcards, resources: (
            f"{resources.mpi} -n {resources.tasks}" if MPI else ""
        ),
        mpi_pool=uncompared("-m mpi4py.futures" if MPI else ""),
    shell:
        "{params.launcher} {params.python} {params.mpi_pool} {params.scripts}/train_controller.py"
        " {params.options} {params.runtime}"
        " --hparams {params.hparams} --log {log:q} --threads {threads}"
        " --origin options={params.options:q} start={params.start:q} code={params.code}"
