# The iterative procedure (paper, section 5; config: iterations=3): a chain of runs. The agent of a run drives in the
# rollouts of the next run. Each run trains V and M anew, and its C starts where the C of the run before ended.
# consumes: what a run consumes
# produces: a run in each <logdir>/iteration_<number>, with rollouts of its own; <logdir>/iterations.json, .md and .png,
#           their scores

for number in range(ITERATIONS):
    run = f"iteration_{number}"
    run_ = f"{run}_"  # the prefix of the run's rules: `as run_*` below

    module:
        name: run
        snakefile:
            "../Snakefile"
        config:
            configuration.inherit(
                config, iterations.iteration_changes(config, number, LOGDIR, DATA_DIR)
            )

    use rule * from run as run_*


rule compare_iterations:
    """Compare the scores of the iterations, in a table and a figure."""
    input:
        [f"{LOGDIR}/iteration_{number}/eval.json" for number in range(ITERATIONS)],
    output:
        multiext(f"{LOGDIR}/iterations", ".json", ".md"),
        figure=report(f"{LOGDIR}/iterations.png", category="Iterations"),
    log:
        f"{LOGDIR}/logs/compare_iterations.log",
    benchmark:
        f"{LOGDIR}/benchmarks/compare_iterations.tsv"
    conda:
        "../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        **PROGRAMS,
        code=code("compare_iterations.py"),
        runtime=runtime(),
        folder=uncompared(LOGDIR),
    shell:
        "{params.python} {params.scripts}/compare_iterations.py {params.runtime} --output {params.folder:q}"
        " --log {log:q} --threads {threads}"
        " --origin code={params.code}"
        " -- {input:q}"


ALL = [
    *rules.compare_iterations.output,
    *(getattr(rules, f"iteration_{number}_all").input for number in range(ITERATIONS)),
]
