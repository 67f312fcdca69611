# The figures, films and tables that `snakemake --report` shows, stage by stage; captions in report/.
# consumes: what the stages made; of the rollouts some held-out ones
# produces: <logdir>/report/*


report: "../report/workflow.rst"


FILMS = [f"{REPORT}/{episode}.gif" for episode in ("best", "median", "worst")]
FIGURES += [f"{REPORT}/replays.npz", f"{REPORT}/dream.gif", *FILMS]


rule plot_vae:
    input:
        rollouts=ancient(held_out(CONFIG.vae)),
        summaries=ROLLOUT_SUMMARIES,
        vae=ancient(f"{V}.tar"),
        vae_summary=f"{V}.json",
    output:
        shown("V", "vae_reconstructions.png", "reconstructions"),
        shown("V", "vae_worst.png", "worst reconstructions"),
        shown("V", "vae_samples.png", "samples from the prior"),
        shown("V", "vae_traversals.png", "latent traversals"),
        shown("V", "vae_losses.png", "learning curves"),
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
        command=command("plot_vae.py"),
        options=options(),
        code=code("plot_vae.py", OF_VAE),
    shell:
        "{params.command} {params.options} --log {log:q} {input.rollouts:q}"


rule plot_mdrnn:
    input:
        rollouts=ancient(held_out(CONFIG.mdrnn)),
        summaries=ROLLOUT_SUMMARIES,
        models=ancient([f"{V}.tar", f"{M}.tar"]),
        model_summaries=[f"{V}.json", f"{M}.json"],
    output:
        shown("M", "mdrnn_dream.png", "a held-out episode, dreamt on"),
        shown("M", "mdrnn_horizon.png", "likelihood by horizon"),
        shown("M", "mdrnn_reward.png", "rewards"),
        shown("M", "mdrnn_losses.png", "learning curves"),
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
        command=command("plot_mdrnn.py"),
        options=options(),
        code=code("plot_mdrnn.py", OF_VAE),
    shell:
        "{params.command} {params.options} --log {log:q} {input.rollouts:q}"


rule plot_controller:
    input:
        history=ancient(f"{LOGDIR}/ctrl/history.csv"),
        weights=ancient(f"{C}.tar"),
        summary=f"{C}.json",
    output:
        shown("C", "ctrl_returns.png", "returns"),
        shown("C", "ctrl_search.png", "step size, episode lengths, time"),
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
        command=command("plot_controller.py"),
        code=code("plot_controller.py"),
    shell:
        "{params.command} --log {log:q}"


rule dream:
    input:
        models=ancient([f"{V}.tar", f"{M}.tar", f"{C}.tar"]),
        summaries=[f"{V}.json", f"{M}.json", f"{C}.json"],
    output:
        f"{REPORT}/dream.gif",
        shown("C", "dream.png", "C drives in M's dream, filmed"),
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
        command=command("dream.py", CONFIG.env),
        options=options(CONFIG.env),
        code=code("dream.py", OF_ENV, OF_VAE),
    shell:
        "{params.command} {params.options} --log {log:q} --output {output:q}"


rule replay_episodes:
    input:
        models=ancient([f"{V}.tar", f"{M}.tar", f"{C}.tar"]),
        summaries=[f"{V}.json", f"{M}.json", f"{C}.json"],
        test=f"{LOGDIR}/eval.json",
    output:
        FILMS,
        shown("test", "films.png", "best, median and worst, filmed"),
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
        command=command("replay_episodes.py", CONFIG.env),
        options=options(CONFIG.env),
        code=code("replay_episodes.py", OF_ENV, OF_VAE),
    shell:
        "{params.command} {params.options} --log {log:q}"


rule plot_evaluation:
    input:
        test=f"{LOGDIR}/eval.json",
        paths=f"{REPORT}/replays.npz",
    output:
        shown("test", "evaluation.html", "score and episodes"),
        shown("test", "evaluation_returns.png", "returns and published scores"),
        shown("test", "evaluation_tracks.png", "tracks from above"),
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
        command=command("plot_evaluation.py"),
        code=code("plot_evaluation.py"),
    shell:
        "{params.command} --log {log:q}"


# All values that shape a result under this configuration, as text: what a run was.
SETTINGS = to_text(
    {
        name: {
            f.name: getattr(getattr(CONFIG, name), f.name)
            for f in settings.settable(section)
            if f.name in compared_fields(getattr(CONFIG, name), CONFIG)
            or f.metadata["role"] == settings.COUNT
        }
        for name, section in sections.SECTIONS.items()
    }
)
JOBS = [
    *(f"collect_rollouts_{paths.shard_name(shard)}" for shard in SHARDS),
    "train_vae",
    *(["encode_latents"] if CONFIG.latents.precompute_latents else []),
    "train_mdrnn",
    "train_controller",
    *(f"evaluate_shard_{shard}" for shard in range(len(PLAYED))),
    "evaluate",
]


rule plot_run:
    input:
        shards=ROLLOUT_SUMMARIES,
        summaries=[f"{V}.json", f"{M}.json", f"{C}.json"],
        test=f"{LOGDIR}/eval.json",
    output:
        shown("run", "run.html", "versions, configuration, time"),
        shown("run", "stages.png", "what the stages took"),
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
        command=command("plot_run.py"),
        options=literally(f"{options_text()} --config {shlex.quote(SETTINGS)}"),
        # No input: a run that shares another's rollouts has no benchmark of them and need not collect them again.
        benchmarks=[f"{LOGDIR}/benchmarks/{job}.tsv" for job in JOBS],
        code=code("plot_run.py"),
    shell:
        "{params.command} {params.options} --log {log:q}"
        " --shards {input.shards:q} --benchmarks {params.benchmarks:q}"


rule figures:
    input:
        FIGURES,
