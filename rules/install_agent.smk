# V, M and C of a package or of a finished run (the key agent), in place of training them.
# consumes: the agent, which is no input, because its path must not count
# produces: <logdir>/vae/best, mdrnn/best and ctrl/best, each .tar and .json. With ctrl.start: agent, ctrl/start in place
#           of ctrl/best.


rule install_agent:
    """Install V, M and C of a package or of a finished run as those of this run."""
    output:
        multiext(V, ".tar", ".json"),
        multiext(M, ".tar", ".json"),
        multiext(START if REFITS else C, ".tar", ".json"),
    log:
        f"{LOGDIR}/logs/install_agent.log",
    benchmark:
        f"{LOGDIR}/benchmarks/install_agent.tsv"
    conda:
        "../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(20),
    params:
        **PROGRAMS,
        digest=compared(CONFIG.agent_digest),
        code=code("install_agent.py"),
        runtime=runtime(),
        agent=uncompared(CONFIG.agent),
        name=compared("start" if REFITS else "best"),
    shell:
        "{params.python} {params.scripts}/install_agent.py {params.runtime}"
        " --agent {params.agent:q} --controller {params.name} --log {log:q} --threads {threads}"
        " --origin digest={params.digest:q} name={params.name} code={params.code}"
