# V: the ConvVAE.
# consumes: the rollouts
# produces: <logdir>/vae/best.tar, the weights; best.json, their digest and the training's history


rule vae:
    """Train V, the ConvVAE (a target)."""
    input:
        f"{V}.tar",
        f"{V}.json",


rule train_vae:
    input:
        rollouts=ancient(ROLLOUTS),
        summaries=ROLLOUT_SUMMARIES,
    output:
        weights=f"{V}.tar",
        summary=f"{V}.json",
    log:
        f"{LOGDIR}/logs/train_vae.log",
    benchmark:
        f"{LOGDIR}/benchmarks/train_vae.tsv"
    conda:
        "../envs/train.yaml"
    threads: 8
    resources:
        # Measured: 2,033 MB with 1,500 MB of frames.
        mem_mb=growing(1500 + 1.3 * LOADED_MB),
        runtime=growing(360),
        gpu=1,
    params:
        **recorded(
            command=command("train_vae.py", CONFIG.vae, rollouts=True),
            options=options(CONFIG.vae),
            rollouts=ROLLOUTS_USED,
            code=code("train_vae.py", OF_VAE),
        ),
    shell:
        "{params.command} {params.options} --log {log:q}"
