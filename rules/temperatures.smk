# The paper's table of temperatures: C learns in dreams of several temperatures, and each C is tested in the environment.
# consumes: this run, whose rollouts, V, latents and M the variants share
# produces: <logdir>/temperatures/<temperature>, a run's folder each; <logdir>/temperatures/temperatures.json, .md, .png

from worldmodels.workflow import temperatures
from worldmodels.workflow.variants import variant_config

TEMPERATURE_RUNS = temperatures.folders(TEMPERATURES, CONFIG)

for name, changes in temperatures.variants(TEMPERATURES).items():
    if TEMPERATURE_RUNS[name] == LOGDIR or not CONFIG.mdrnn.include_reward:
        continue
    variant = temperatures.rule_prefix(name)
    variant_ = f"{variant}_"  # the prefix of the variant's rules: `as variant_*` below

    module:
        name: variant
        snakefile:
            "variant.smk"
        config:
            variant_config(config, changes, TEMPERATURE_RUNS[name], DATA_DIR)

    # One job plays the test of a variant.
    use rule * from variant exclude evaluate_shard as variant_*


rule compare_temperatures:
    """Compare C's scores in dreams of several temperatures with its scores in the environment."""
    input:
        controllers=temperatures.controllers(TEMPERATURE_RUNS, CONFIG),
        tests=[f"{run}/eval.json" for run in TEMPERATURE_RUNS.values()],
        rollouts=ROLLOUT_SUMMARIES,
    output:
        multiext(f"{LOGDIR}/temperatures/temperatures", ".json", ".md"),
        figure=report(
            f"{LOGDIR}/temperatures/temperatures.png", category="Temperatures"
        ),
    log:
        f"{LOGDIR}/logs/compare_temperatures.log",
    benchmark:
        f"{LOGDIR}/benchmarks/compare_temperatures.tsv"
    conda:
        "../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        **PROGRAMS,
        temperatures=" ".join(TEMPERATURE_RUNS),
        code=code("compare_temperatures.py"),
        runtime=runtime(),
        folder=uncompared(f"{LOGDIR}/temperatures"),
    shell:
        "{params.python} {params.scripts}/compare_temperatures.py {params.runtime} --output {params.folder:q}"
        " --temperatures {params.temperatures} --controllers {input.controllers:q} --tests {input.tests:q}"
        " --rollouts {input.rollouts:q} --log {log:q} --threads {threads}"
        " --origin temperatures={params.temperatures:q} code={params.code}"
