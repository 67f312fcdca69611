# M: the MDN-RNN.
# consumes: V, and the latents or (latents.precompute_latents: false) the rollouts
# produces: <logdir>/mdrnn/best.tar, the weights; best.json, their digest and the training's history


rule mdrnn:
    """Train M, the MDN-RNN (a target)."""
    input:
        f"{M}.tar",
        f"{M}.json",


rule train_mdrnn:
    input:
        data=ancient(
            f"{LATENTS}.npz" if CONFIG.latents.precompute_latents else ROLLOUTS
        ),
        summaries=(
            f"{LATENTS}.json"
            if CONFIG.latents.precompute_latents
            else ROLLOUT_SUMMARIES
        ),
        vae=ancient(f"{V}.tar"),
        vae_summary=f"{V}.json",
    output:
        weights=f"{M}.tar",
        summary=f"{M}.json",
    log:
        f"{LOGDIR}/logs/train_mdrnn.log",
    benchmark:
        f"{LOGDIR}/benchmarks/train_mdrnn.tsv"
    conda:
        "../envs/train.yaml"
    threads: 8
    resources:
        # Measured: 480 MB with 31 MB of latents.
        mem_mb=growing(
            1500
            + (
                3 * LATENTS_MB
                if CONFIG.latents.precompute_latents
                else 1.3 * LOADED_MB
            )
        ),
        runtime=growing(360),
        gpu=1,
    params:
        **recorded(
            command=command(
                "train_mdrnn.py",
                CONFIG.mdrnn,
                rollouts=True,
                more=f"--memory-gb {CONFIG.vae.memory_gb}",
            ),
            options=options(LATENTS_FOR_M, CONFIG.mdrnn),
            rollouts="" if CONFIG.latents.precompute_latents else ROLLOUTS_USED,
            code=code("train_mdrnn.py", OF_VAE),
        ),
    shell:
        "{params.command} {params.options} --log {log:q}"
