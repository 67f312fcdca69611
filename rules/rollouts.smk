# Rollouts: episodes under random policies or an earlier run's agent, whole shards a job.
# consumes: nothing; with an agent, the V, M and C of the earlier run
# produces: <data_dir>/<shard>_<number>.npz, an episode each; <data_dir>/<shard>.json, their summary and digests

AGENT = wm.needs_agent(CONFIG.rollouts)
AGENT_FILES = (
    [f"{CONFIG.rollouts.agent}/{stage}/best" for stage in ("vae", "mdrnn", "ctrl")]
    if AGENT
    else []
)
for file in AGENT_FILES:
    if not Path(f"{file}.tar").exists():
        sys.exit(
            f"config: rollouts.agent: expected the logdir of a finished run, found no {file}.tar"
        )
COLLECT = "collect_agent_rollouts.py" if AGENT else "collect_rollouts.py"


rule rollouts:
    input:
        ROLLOUTS,


rule rollouts_shard:
    input:
        models=ancient([f"{file}.tar" for file in AGENT_FILES]),
        summaries=[f"{file}.json" for file in AGENT_FILES],
    output:
        episodes=wm.shard_files(DATA_DIR, "{shard}", CONFIG.rollouts.shard_size),
        summary=f"{DATA_DIR}/{{shard}}.json",
    log:
        f"{LOGDIR}/logs/rollouts_{{shard}}.log",
    benchmark:
        f"{LOGDIR}/benchmarks/rollouts_{{shard}}.tsv"
    wildcard_constraints:
        shard=r"\d{5}",
    conda:
        "../envs/play.yaml"
    threads: 1
    resources:
        # Measured: 710 MB and 45 s for 32 episodes of 1000 frames, which are held until they end.
        mem_mb=growing(
            600 + 1.3 * FRAME_MB * CONFIG.rollouts.seq_len * CONFIG.rollouts.shard_size
        ),
        runtime=growing(20 + CONFIG.rollouts.shard_size),
    params:
        **recorded(
            command=command(COLLECT, CONFIG.rollouts),
            options=options(CONFIG.env, CONFIG.rollouts),
            code=code(COLLECT, OF_ENV),
        ),
    shell:
        "{params.command} --shard {wildcards.shard} {params.options} --log {log:q}"
