# V: the ConvVAE.
# consumes: the rollouts
# produces: <logdir>/vae/best.tar, the weights; best.json, their digest and the training's history


rule train_vae:
    """Train V, the ConvVAE, on the frames of the rollouts."""
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
        **PROGRAMS,
        options=options(CONFIG.vae),
        rollouts=ROLLOUT_FLAGS,
        start=compared(V_START),
        code=code("train_vae.py", VAE_MODULES),
        runtime=runtime(CONFIG.vae),
        hparams=HPARAMS,
    shell:
        "{params.python} {params.scripts}/train_vae.py {params.options} {params.rollouts} {params.runtime}"
        " --hparams {params.hparams} --log {log:q} --threads {threads}"
        " --origin options={params.options:q} rollouts={params.rollouts:q} start={params.start:q}"
        " code={params.code}"
