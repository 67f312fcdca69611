# A sweep over seeds: a whole run for each, their jobs side by side (config: seeds=[1,2,3]).
# consumes: what a run consumes
# produces: a run in each <logdir>/seed_<seed>, with rollouts of its own; <logdir>/seeds.json, their scores

extend_profile(lambda stage: [f"seed_{seed}_{stage}" for seed in SEEDS])

for seed in sorted(set(SEEDS)):
    run = f"seed_{seed}"
    run_ = f"{run}_"

    module:
        name: run
        snakefile:
            "../Snakefile"
        config:
            {
                **config,
                "complete": True,
                "seed": seed,
                "logdir": f"{LOGDIR}/{run}",
                "data_dir": f"{DATA_DIR}/{run}",
            }

    use rule * from run as run_*


rule compare_runs:
    input:
        [f"{LOGDIR}/seed_{seed}/eval.json" for seed in SEEDS],
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
        **recorded(
            command=command("compare_runs.py"),
            seeds=str(SEEDS),
            code=code("compare_runs.py"),
        ),
    shell:
        "{params.command} --output {output:q} --log {log:q} {input:q}"
