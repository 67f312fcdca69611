# Latents: every frame through V's encoder, once.
# consumes: the rollouts, V
# produces: <logdir>/latents/latents_<latent_size>.npz; the .json beside it, its digest and size


rule latents:
    """Encode every frame by V (a target)."""
    input:
        f"{LATENTS}.npz",
        f"{LATENTS}.json",


rule encode_latents:
    input:
        rollouts=ancient(ROLLOUTS),
        summaries=ROLLOUT_SUMMARIES,
        vae=ancient(f"{V}.tar"),
        vae_summary=f"{V}.json",
    output:
        latents=f"{LATENTS}.npz",
        summary=f"{LATENTS}.json",
    log:
        f"{LOGDIR}/logs/encode_latents.log",
    benchmark:
        f"{LOGDIR}/benchmarks/encode_latents.tsv"
    conda:
        "../envs/train.yaml"
    threads: 8
    resources:
        # Measured: 1,700 MB with 31 MB of latents.
        mem_mb=growing(2500 + 3 * LATENTS_MB),
        runtime=growing(60),
        gpu=1,
    params:
        **recorded(
            command=command("encode_latents.py", CONFIG.latents, rollouts=True),
            options=options(CONFIG.latents),
            rollouts=ROLLOUTS_USED,
            code=code("encode_latents.py", OF_VAE),
        ),
    shell:
        "{params.command} {params.options} --log {log:q}"
