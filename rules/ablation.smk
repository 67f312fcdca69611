# The paper's ablation: what V alone, a hidden layer, M and M's training are each worth to the controller.
#   snakemake --cores 8 ablation
# consumes: this run, whose rollouts, V, latents and M the variants share, and whose own agent is the one called full
# produces: <logdir>/ablation/<variant>, a run's folder each; <logdir>/ablation/ablation.json, .md and .png

ABLATION = f"{LOGDIR}/ablation"
VARIANTS = {
    "v_only": {"ctrl": {"features": "z", "hidden": []}},
    "v_hidden": {"ctrl": {"features": "z", "hidden": [40]}},
    "random_m": {"mdrnn": {"num_epochs": 0}},
}


# What a variant shares with the run is linked into its folder, which scripts then take for a run's.
rule ablation_share:
    input:
        f"{LOGDIR}/{{stage}}/{{file}}",
    output:
        f"{ABLATION}/{{variant}}/{{stage}}/{{file}}",
    log:
        f"{LOGDIR}/logs/ablation_{{variant}}_{{stage}}_{{file}}.log",
    wildcard_constraints:
        variant="|".join(VARIANTS),
        stage="vae|latents|mdrnn",
        file=r"best\.(tar|json)|latents_\d+\.(npz|json)",
    localrule: True
    conda:
        "../envs/train.yaml"
    shell:
        'ln -sf "../../../{wildcards.stage}/{wildcards.file}" {output:q} 2> {log:q}'


use rule train_mdrnn as ablation_train_mdrnn with:
    input:
        data=ancient(
            f"{ABLATION}/{{variant}}/latents/{Path(LATENTS).name}.npz"
            if CONFIG.latents.precompute_latents
            else ROLLOUTS
        ),
        summaries=(
            f"{ABLATION}/{{variant}}/latents/{Path(LATENTS).name}.json"
            if CONFIG.latents.precompute_latents
            else ROLLOUT_SUMMARIES
        ),
        vae=ancient(f"{ABLATION}/{{variant}}/vae/best.tar"),
        vae_summary=f"{ABLATION}/{{variant}}/vae/best.json",
    output:
        weights=f"{ABLATION}/{{variant}}/mdrnn/best.tar",
        summary=f"{ABLATION}/{{variant}}/mdrnn/best.json",
    log:
        f"{LOGDIR}/logs/ablation_{{variant}}_train_mdrnn.log",
    benchmark:
        f"{LOGDIR}/benchmarks/ablation_{{variant}}_train_mdrnn.tsv"
    wildcard_constraints:
        variant="|".join(name for name in VARIANTS if "mdrnn" in VARIANTS[name]),
    params:
        **recorded(
            command=command(
                "train_mdrnn.py",
                CONFIG.mdrnn,
                rollouts=True,
                more=f"--memory-gb {CONFIG.vae.memory_gb}",
                variant=ABLATION,
                variants=VARIANTS,
            ),
            options=varied(VARIANTS, "mdrnn", LATENTS_FOR_M),
            rollouts="" if CONFIG.latents.precompute_latents else ROLLOUTS_USED,
            code=code("train_mdrnn.py", OF_VAE),
        ),


ruleorder: ablation_train_mdrnn > ablation_share


use rule train_controller as ablation_train_controller with:
    input:
        models=ancient(
            [f"{ABLATION}/{{variant}}/{stage}/best.tar" for stage in ("vae", "mdrnn")]
        ),
        summaries=[
            f"{ABLATION}/{{variant}}/{stage}/best.json" for stage in ("vae", "mdrnn")
        ],
    output:
        weights=f"{ABLATION}/{{variant}}/ctrl/best.tar",
        summary=f"{ABLATION}/{{variant}}/ctrl/best.json",
    log:
        f"{LOGDIR}/logs/ablation_{{variant}}_train_controller.log",
    benchmark:
        f"{LOGDIR}/benchmarks/ablation_{{variant}}_train_controller.tsv"
    params:
        **recorded(
            command=command(
                "train_controller.py",
                CONFIG.env,
                CONFIG.ctrl,
                mpi=MPI,
                variant=ABLATION,
                variants=VARIANTS,
            ),
            options=varied(VARIANTS, "ctrl", CONFIG.env),
            code=code("train_controller.py", OF_ENV, OF_VAE),
        ),
        launcher=lambda wildcards, resources: (
            f"{resources.mpi} -n {resources.tasks}" if MPI else ""
        ),


use rule evaluate as ablation_evaluate with:
    input:
        models=ancient(
            [
                f"{ABLATION}/{{variant}}/{stage}/best.tar"
                for stage in ("vae", "mdrnn", "ctrl")
            ]
        ),
        summaries=[
            f"{ABLATION}/{{variant}}/{stage}/best.json"
            for stage in ("vae", "mdrnn", "ctrl")
        ],
    output:
        f"{ABLATION}/{{variant}}/eval.json",
    log:
        f"{LOGDIR}/logs/ablation_{{variant}}_evaluate.log",
    benchmark:
        f"{LOGDIR}/benchmarks/ablation_{{variant}}_evaluate.tsv"
    threads: 32
    params:
        **recorded(
            command=command(
                "evaluate.py", CONFIG.env, CONFIG.evaluate, variant=ABLATION
            ),
            options=options(CONFIG.env, CONFIG.evaluate),
            code=code("evaluate.py", OF_ENV, OF_VAE),
        ),


rule ablation:
    """Compare the agent with its ablation (a target)."""
    input:
        multiext(f"{ABLATION}/ablation", ".json", ".md", ".png"),


rule compare_agents:
    input:
        full=f"{LOGDIR}/eval.json",
        variants=variant_tests(ABLATION, VARIANTS),
    output:
        multiext(f"{ABLATION}/ablation", ".json", ".md"),
        figure=report(f"{ABLATION}/ablation.png", category="Ablation"),
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
        **recorded(
            command=command("compare_agents.py"),
            code=code("compare_agents.py"),
        ),
    shell:
        '{params.command} --log {log:q} --output "$(dirname {output.figure:q})" --full {input.full:q} --variants {input.variants:q}'
