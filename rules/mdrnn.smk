# M: the MDN-RNN.
# consumes: V, and the latents or (latents.precompute_latents: false) the rollouts
# produces: <logdir>/mdrnn/best.tar, the weights; best.json, their digest and the training's history

import dataclasses

# How the latents were encoded shows in the latents themselves, and does not matter where V encodes M's batches.
LATENTS_FOR_M = dataclasses.replace(
    CONFIG.latents, encode_batch_size=type(CONFIG.latents).encode_batch_size
)


rule train_mdrnn:
    """Train M, the MDN-RNN, on the latents."""
    input:
        data=ancient(f"{LATENTS}.npz" if PRECOMPUTED else ROLLOUTS),
        summaries=f"{LATENTS}.json" if PRECOMPUTED else ROLLOUT_SUMMARIES,
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
        mem_mb=growing(1500 + (3 * LATENTS_MB if PRECOMPUTED else 1.3 * LOADED_MB)),
        runtime=growing(360),
        gpu=1,
    params:
        **PROGRAMS,
        options=options(LATENTS_FOR_M, CONFIG.mdrnn),
        rollouts="" if PRECOMPUTED else ROLLOUT_FLAGS,
        start=compared(M_START),
        code=code("train_mdrnn.py", VAE_MODULES),
        runtime=runtime(CONFIG.mdrnn),
        hparams=HPARAMS,
        memory=uncompared(CONFIG.vae.memory_gb),
    shell:
        "{params.python} {params.scripts}/train_mdrnn.py {params.options} {params.rollouts} {params.runtime}"
        " --memory-gb {params.memory} --hparams {params.hparams} --log {log:q} --threads {threads}"
        " --origin options={params.options:q} rollouts={params.rollouts:q} start={params.start:q}"
        " code={params.code}"
