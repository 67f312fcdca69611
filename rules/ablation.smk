# The paper's ablation: how much a hidden layer, M and M's training add to a controller that sees V's code only.
# consumes: this run. The variants share its rollouts, V, latents and M. Its own agent is the one called full.
# produces: <logdir>/ablation/<variant>, a run's folder each
#           <logdir>/ablation/ablation.json, .md and .png

from worldmodels.workflow.variants import variant_config

for name, changes in ablation.VARIANTS.items():
    variant = f"ablation_{name}"
    variant_ = f"{variant}_"  # the prefix of the variant's rules: `as variant_*` below

    module:
        name: variant
        snakefile:
            "variant.smk"
        config:
            variant_config(config, changes, f"{LOGDIR}/ablation/{name}", DATA_DIR)

    # One job plays the test of a variant.
    use rule * from variant exclude evaluate_shard as variant_*


rule compare_agents:
    """Compare the agent with the variants of its ablation, in a table and a figure."""
    input:
        full=TEST,
        variants=ablation.variant_tests(workflow, CONFIG, ROLLOUT_SUMMARIES[0]),
    output:
        multiext(f"{LOGDIR}/ablation/ablation", ".json", ".md"),
        figure=report(f"{LOGDIR}/ablation/ablation.png", category="Ablation"),
    log:
        f"{LOGDIR}/logs/compare_agents.log",
    benchmark:
        f"{LOGDIR}/benchmarks/compare_agents.tsv"
    conda:
        "../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        **PROGRAMS,
        code=code("compare_agents.py"),
        runtime=runtime(),
        folder=uncompared(f"{LOGDIR}/ablation"),
    shell:
        "{params.python} {params.scripts}/compare_agents.py {params.runtime} --output {params.folder:q}"
        " --full {input.full:q} --variants {input.variants:q}"
        " --log {log:q} --threads {threads}"
        " --origin code={params.code}"
