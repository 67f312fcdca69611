# The start of C (ctrl.start: agent): the C of the agent in the rollouts, refit to this run's V and M.
# consumes: the rollouts, V and M; V, M and C of the agent
# produces: <logdir>/ctrl/start.tar, the weights; start.json, their digest and the error of the fit

from worldmodels.runtime.flags import flags_text


rule refit_controller:
    """Refit the C of the agent that drove to the new V and M: where C's search starts."""
    input:
        rollouts=ancient(ROLLOUTS),
        models=ancient([f"{file}.tar" for file in (V, M, *AGENT)]),
        # The last file of the agent holds the digests of the other two.
        summaries=[
            *ROLLOUT_SUMMARIES,
            f"{V}.json",
            f"{M}.json",
            *(f"{file}.json" for file in AGENT[-1:]),
        ],
    output:
        multiext(START, ".tar", ".json"),
    log:
        f"{LOGDIR}/logs/refit_controller.log",
    benchmark:
        f"{LOGDIR}/benchmarks/refit_controller.tsv"
    conda:
        "../envs/play.yaml"
    threads: 8
    resources:
        mem_mb=growing(2500 + 40 * FRAME_MB * CONFIG.rollouts.seq_len),
        runtime=growing(60),
    params:
        **PROGRAMS,
        options=compared(flags_text(CONFIG.ctrl, ["features", "hidden"])),
        rollouts=ROLLOUT_FLAGS,
        code=code("refit_controller.py", VAE_MODULES, AGENT_MODULES),
        runtime=runtime(),
        package=compared(AGENT_DIGEST),
        agent=uncompared(CONFIG.rollouts.agent),
    shell:
        "{params.python} {params.scripts}/refit_controller.py {params.options} {params.rollouts} {params.runtime}"
        " --agent {params.agent:q} --log {log:q} --threads {threads}"
        " --origin options={params.options:q} rollouts={params.rollouts:q} package={params.package:q}"
        " code={params.code}"
