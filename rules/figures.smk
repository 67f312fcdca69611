# The figures, films and tables that `snakemake --report` shows, stage by stage; captions in report/.
# consumes: what the stages made; of the rollouts some held-out ones
# produces: <logdir>/report/*


report: "../report/workflow.rst"


rule plot_vae:
    """Draw V's reconstructions, samples, traversals and learning curves."""
    input:
        rollouts=ancient(held_out(CONFIG.vae)),
        summaries=ROLLOUT_SUMMARIES,
        vae=ancient(f"{V}.tar"),
        vae_summary=f"{V}.json",
    output:
        figure("vae_reconstructions.png"),
        figure("vae_worst.png"),
        figure("vae_samples.png"),
        figure("vae_traversals.png"),
        figure("vae_losses.png"),
    log:
        f"{LOGDIR}/logs/plot_vae.log",
    benchmark:
        f"{LOGDIR}/benchmarks/plot_vae.tsv"
    conda:
        "../envs/plot.yaml"
    threads: 2
    resources:
        mem_mb=growing(2000),
        runtime=growing(20),
    params:
        **PROGRAMS,
        options=options(),
        code=code("plot_vae.py", VAE_MODULES),
        runtime=runtime(),
    shell:
        "{params.python} {params.scripts}/plot_vae.py {params.options} {params.runtime}"
        " --log {log:q} --threads {threads} {input.rollouts:q}"


rule plot_mdrnn:
    """Draw M's dreams, rewards, endings, likelihoods and learning curves."""
    input:
        rollouts=ancient(held_out(CONFIG.mdrnn, most=32)),
        summaries=ROLLOUT_SUMMARIES,
        models=ancient([f"{V}.tar", f"{M}.tar"]),
        model_summaries=[f"{V}.json", f"{M}.json"],
    output:
        figure("mdrnn_dream.png"),
        figure("mdrnn_horizon.png"),
        figure("mdrnn_reward.png"),
        figure("mdrnn_terminal.png"),
        figure("mdrnn_losses.png"),
    log:
        f"{LOGDIR}/logs/plot_mdrnn.log",
    benchmark:
        f"{LOGDIR}/benchmarks/plot_mdrnn.tsv"
    conda:
        "../envs/plot.yaml"
    threads: 2
    resources:
        mem_mb=growing(2000),
        runtime=growing(20),
    params:
        **PROGRAMS,
        options=options(),
        code=code("plot_mdrnn.py", VAE_MODULES),
        runtime=runtime(),
    shell:
        "{params.python} {params.scripts}/plot_mdrnn.py {params.options} {params.runtime}"
        " --log {log:q} --threads {threads} {input.rollouts:q}"


rule plot_controller:
    """Draw the returns and the search of C's training."""
    input:
        history=ancient(f"{LOGDIR}/ctrl/history.csv"),
        weights=ancient(f"{C}.tar"),
        summary=f"{C}.json",
    output:
        figure("ctrl_returns.png"),
        figure("ctrl_search.png"),
    log:
        f"{LOGDIR}/logs/plot_controller.log",
    benchmark:
        f"{LOGDIR}/benchmarks/plot_controller.tsv"
    conda:
        "../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        **PROGRAMS,
        code=code("plot_controller.py"),
        runtime=runtime(),
    shell:
        "{params.python} {params.scripts}/plot_controller.py {params.runtime}"
        " --log {log:q} --threads {threads}"


rule dream:
    """Film C in M's dream and, beside it, in the environment."""
    input:
        models=ancient([f"{V}.tar", f"{M}.tar", f"{C}.tar"]),
        summaries=[f"{V}.json", f"{M}.json", f"{C}.json"],
    output:
        f"{REPORT}/dream.gif",
        figure("dream.png"),
    log:
        f"{LOGDIR}/logs/dream.log",
    benchmark:
        f"{LOGDIR}/benchmarks/dream.tsv"
    conda:
        "../envs/play.yaml"
    threads: 2
    resources:
        mem_mb=growing(2000),
        runtime=growing(20),
    params:
        **PROGRAMS,
        options=options(CONFIG.env),
        code=code("dream.py", ENV_MODULES, VAE_MODULES),
        runtime=runtime(CONFIG.env),
    shell:
        "{params.python} {params.scripts}/dream.py {params.options} {params.runtime}"
        " --output {output:q} --log {log:q} --threads {threads}"


rule replay_episodes:
    """Film the best, the median and the worst episode of the test."""
    input:
        models=ancient([f"{V}.tar", f"{M}.tar", f"{C}.tar"]),
        summaries=[f"{V}.json", f"{M}.json", f"{C}.json"],
        test=TEST,
    output:
        FILMS,
        figure("films.png"),
        paths=f"{REPORT}/replays.npz",
    log:
        f"{LOGDIR}/logs/replay_episodes.log",
    benchmark:
        f"{LOGDIR}/benchmarks/replay_episodes.tsv"
    conda:
        "../envs/play.yaml"
    threads: 3
    resources:
        mem_mb=playing_memory,
        runtime=growing(30),
    params:
        **PROGRAMS,
        options=options(CONFIG.env),
        code=code("replay_episodes.py", ENV_MODULES, VAE_MODULES),
        runtime=runtime(CONFIG.env),
    shell:
        "{params.python} {params.scripts}/replay_episodes.py {params.options} {params.runtime}"
        " --log {log:q} --threads {threads}"


rule plot_evaluation:
    """Draw the test: its score, returns and tracks."""
    input:
        test=TEST,
        paths=f"{REPORT}/replays.npz",
    output:
        figure("evaluation.html"),
        figure("evaluation_returns.png"),
        figure("evaluation_tracks.png"),
    log:
        f"{LOGDIR}/logs/plot_evaluation.log",
    benchmark:
        f"{LOGDIR}/benchmarks/plot_evaluation.tsv"
    conda:
        "../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        **PROGRAMS,
        code=code("plot_evaluation.py"),
        runtime=runtime(),
    shell:
        "{params.python} {params.scripts}/plot_evaluation.py {params.runtime}"
        " --log {log:q} --threads {threads}"


# The jobs whose time and memory are shown.
JOBS = [
    *(f"{COLLECT}_{shard}" for shard in SHARDS),
    "train_vae",
    *(["encode_latents"] if PRECOMPUTED else []),
    "train_mdrnn",
    *(["refit_controller"] if REFITS else []),
    "train_controller_in_dream" if DREAMS else "train_controller",
    *(f"evaluate_shard_{shard}" for shard in TEST_SHARDS),
    "evaluate",
]


rule plot_run:
    """Tabulate the run: versions, configuration, time and memory."""
    input:
        shards=ROLLOUT_SUMMARIES,
        summaries=[f"{V}.json", f"{M}.json", f"{C}.json"],
        test=TEST,
    output:
        figure("run.html"),
        figure("stages.png"),
    log:
        f"{LOGDIR}/logs/plot_run.log",
    benchmark:
        f"{LOGDIR}/benchmarks/plot_run.tsv"
    conda:
        "../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        **PROGRAMS,
        options=options(),
        settings=compared(shown_settings(CONFIG)),
        # No input: a run that shares another's rollouts has no benchmark of them and need not collect them again.
        benchmarks=[f"{LOGDIR}/benchmarks/{job}.tsv" for job in JOBS],
        code=code("plot_run.py"),
        runtime=runtime(),
    shell:
        "{params.python} {params.scripts}/plot_run.py {params.options} {params.runtime} --config {params.settings:q}"
        " --shards {input.shards:q} --benchmarks {params.benchmarks:q}"
        " --log {log:q} --threads {threads}"
