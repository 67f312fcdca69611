# A sweep over seeds (config: seeds=[1,2,3]): a whole run for each seed, their jobs side by side.
# consumes: what a run consumes
# produces: a run in each <logdir>/seed_<seed>, with rollouts of its own; <logdir>/seeds.json, their scores

for seed in sorted(set(SEEDS)):
    run = f"seed_{seed}"
    run_ = f"{run}_"  # the prefix of the run's rules: `as run_*` below

    module:
        name: run
        snakefile:
            "../Snakefile"
        config:
            configuration.inherit(
                config,
                {
                    "seed": seed,
                    "logdir": f"{LOGDIR}/{run}",
                    "data_dir": f"{DATA_DIR}/{run}",
                    "iterations": ITERATIONS or None,
                },
            )

    use rule * from run as run_*


# Of a chain of iterations the last one counts.
LAST = f"iteration_{ITERATIONS - 1}/" if ITERATIONS else ""


rule compare_runs:
    """Write the mean and the spread of the runs' scores."""
    input:
        [f"{LOGDIR}/seed_{seed}/{LAST}eval.json" for seed in SEEDS],
    output:
        f"{LOGDIR}/seeds.json",
    log:
        f"{LOGDIR}/logs/compare_runs.log",
    benchmark:
        f"{LOGDIR}/benchmarks/compare_runs.tsv"
    conda:
        "../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        **PROGRAMS,
        seeds=str(SEEDS),
        code=code("compare_runs.py"),
        runtime=runtime(),
    shell:
        "{params.python} {params.scripts}/compare_runs.py {params.runtime} --output {output:q}"
        " --log {log:q} --threads {threads}"
        " --origin seeds={params.seeds:q} code={params.code}"
        " -- {input:q}"


ALL = [
    f"{LOGDIR}/seeds.json",
    *(f"{LOGDIR}/seed_{seed}/iterations.json" for seed in SEEDS if ITERATIONS),
]
