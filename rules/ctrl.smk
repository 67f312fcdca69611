# C: the controller, by CMA-ES in the environment.
# consumes: V, M
# produces: <logdir>/ctrl/best.tar, the weights; best.json, their digest and score; history.csv, a row a generation

# With workers on the ranks of an MPI job: one rank that asks and one for each worker, a core each, on any nodes.
MPI = CONFIG.ctrl.workers == "mpi"
MPI_JOB = {
    "mpi": "srun --kill-on-bad-exit=1" if shutil.which("srun") else "mpiexec",
    "tasks": CONFIG.ctrl.max_workers + 1,
    "mem_mb_per_cpu": growing(1000),
}


rule ctrl:
    """Train C, the controller (a target)."""
    input:
        f"{C}.tar",
        f"{C}.json",
        f"{LOGDIR}/ctrl/history.csv",


rule train_controller:
    input:
        models=ancient([f"{V}.tar", f"{M}.tar"]),
        summaries=[f"{V}.json", f"{M}.json"],
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
        **(MPI_JOB if MPI else {}),
        mem_mb=playing_memory,
        runtime=growing(1440),
    params:
        **recorded(
            command=command("train_controller.py", CONFIG.env, CONFIG.ctrl, mpi=MPI),
            options=options(CONFIG.env, CONFIG.ctrl),
            code=code("train_controller.py", OF_ENV, OF_VAE),
        ),
        launcher=lambda wildcards, resources: (
            f"{resources.mpi} -n {resources.tasks}" if MPI else ""
        ),
    shell:
        "{params.launcher} {params.command} {params.options} --log {log:q}"
