# M: the MDN-RNN.
# consumes: V, and the latents or (latents.precompute_latents: false) the rollouts
# produces: <logdir>/mdrnn/best.tar, the weights; best.json, their digest and the training's history


def sequences(wildcards):
    """What M is trained on, and the small files that hold its digests."""
    if CONFIG.latents.precompute_latents:
        return {"data": ancient(rules.latents.output.latents), "summaries": rules.latents.output.summary}
    return {"data": ancient(ROLLOUTS), "summaries": ROLLOUT_SUMMARIES}


rule mdrnn:
    input:
        unpack(sequences),
        vae=ancient(rules.vae.output.weights),
        vae_summary=rules.vae.output.summary,
    output:
        weights=f"{LOGDIR}/mdrnn/best.tar",
        summary=f"{LOGDIR}/mdrnn/best.json",
    params:
        options=options(CONFIG.latents, CONFIG.mdrnn),
        code=code("train_mdrnn.py"),
    log:
        f"{LOGDIR}/logs/mdrnn.log",
    benchmark:
        f"{LOGDIR}/benchmarks/mdrnn.tsv"
    threads: 8
    resources:
        mem_mb=8000,
        runtime=720,
    conda:
        "../envs/worldmodels.yaml"
    shell:
        "{PYTHON} {SCRIPTS}/train_mdrnn.py {params.options} {RUNTIME[mdrnn]} --threads {threads} --log {log:q}"
