# Latents: every frame through V's encoder, once.
# consumes: the rollouts, V
# produces: <logdir>/latents/latents_<latent_size>.npz; a .json with its digest and size


rule encode_latents:
    """Encode every frame of the rollouts by V."""
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
        **PROGRAMS,
        options=options(CONFIG.latents),
        rollouts=ROLLOUT_FLAGS,
        code=code("encode_latents.py", VAE_MODULES),
        runtime=runtime(CONFIG.latents),
    shell:
        "{params.python} {params.scripts}/encode_latents.py {params.options} {params.rollouts} {params.runtime}"
        " --log {log:q} --threads {threads}"
        " --origin options={params.options:q} rollouts={params.rollouts:q} code={params.code}"
