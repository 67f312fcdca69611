# Rollouts: episodes under random policies or an earlier run's agent, a shard a job.
# consumes: nothing; with an agent, the V, M and C of the earlier run
# produces: <data_dir>/<shard>_<number>.npz, an episode each; <data_dir>/<shard>.json, their summary and digests

AGENT = sections.needs_agent(CONFIG.rollouts)
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
# What the environment contradicts in C's settings is told before any training: by the rollouts' job and, where earlier
# rollouts have recorded the environment's actions, now.
CONTROLLER = preflight.controller_settings(CONFIG, controller_memory())
try:
    # A job on another machine parses this file again, where it is too late.
    if not workflow.remote_exec:
        preflight.check_recorded_actions(ROLLOUT_SUMMARIES[0], CONTROLLER, CONFIG.env)
except UserError as error:
    sys.exit(f"config: {error}")

# The code of the earlier V's network, if it is the user's own.
OF_AGENT = {}
if AGENT:
    network = loading.agent_network(CONFIG.rollouts.agent)
    if network is None:
        print(
            f"config: rollouts.agent: {CONFIG.rollouts.agent}/vae/best.json does not name V's network: "
            "if it is your own, collect again yourself after an edit of it",
            file=sys.stderr,
        )
    OF_AGENT = sections.user_network_modules(network or "ConvVAE")
    check_sources(OF_AGENT)
COLLECT = "collect_agent_rollouts.py" if AGENT else "collect_rollouts.py"

# Where shard_size does not divide num_rollouts, the last shard has fewer files. A rule's outputs are a fixed list, so
# that shard has a rule of its own. Both rules have the same params and shell line: a shard that is whole in one
# configuration and the last in another is not collected again for that.
WHOLE, LAST_SIZE = divmod(CONFIG.rollouts.num_rollouts, CONFIG.rollouts.shard_size)
LAST_SHARD = paths.shard_name(WHOLE)


rule rollouts:
    input:
        ROLLOUTS,


rule collect_rollouts:
    input:
        models=ancient([f"{file}.tar" for file in AGENT_FILES]),
        summaries=[f"{file}.json" for file in AGENT_FILES],
    output:
        episodes=paths.shard_files(DATA_DIR, "{shard}", CONFIG.rollouts.shard_size),
        summary=f"{DATA_DIR}/{{shard}}.json",
    log:
        f"{LOGDIR}/logs/collect_rollouts_{{shard}}.log",
    benchmark:
        f"{LOGDIR}/benchmarks/collect_rollouts_{{shard}}.tsv"
    wildcard_constraints:
        shard=rf"(?!{LAST_SHARD})\d{{5}}" if LAST_SIZE else r"\d{5}",
    conda:
        "../envs/play.yaml"
    threads: 1
    resources:
        mem_mb=growing(collecting_memory(CONFIG.rollouts.shard_size)),
        runtime=growing(20 + CONFIG.rollouts.shard_size),
    params:
        **recorded(
            command=command(
                COLLECT,
                CONFIG.env,
                CONFIG.rollouts,
                more=f"--controller {flag_json(CONTROLLER)}",
            ),
            options=options(CONFIG.env, CONFIG.rollouts),
            code=code(COLLECT, OF_ENV, OF_AGENT),
        ),
    shell:
        "{params.command} --shard {wildcards.shard} {params.options} --log {log:q}"


if LAST_SIZE:

    use rule collect_rollouts as collect_last_rollouts with:
        output:
            episodes=paths.shard_files(DATA_DIR, "{shard}", LAST_SIZE),
            summary=f"{DATA_DIR}/{{shard}}.json",
        wildcard_constraints:
            shard=LAST_SHARD,
        resources:
            mem_mb=growing(collecting_memory(LAST_SIZE)),
            runtime=growing(20 + LAST_SIZE),
