# A package of the agent, for others: `snakemake export`.
# consumes: V, M, C, the test and a film of its median episode
# produces: <logdir>/package/, a folder for model hubs; <logdir>/package.zip, the same in one file

PACKAGE = f"{LOGDIR}/package"
PACKED = ["README.md", "config.json", "eval.json", "episode.gif"]


rule export_agent:
    """Pack V, M, C, the test and a film into a folder and a .zip."""
    input:
        models=ancient([f"{V}.tar", f"{M}.tar", f"{C}.tar"]),
        summaries=[f"{V}.json", f"{M}.json", f"{C}.json"],
        test=TEST,
        film=f"{REPORT}/median.gif",
    output:
        [f"{PACKAGE}/{file}" for file in PACKED],
        expand(f"{PACKAGE}/{{stage}}.safetensors", stage=["vae", "mdrnn", "ctrl"]),
        f"{PACKAGE}.zip",
    log:
        f"{LOGDIR}/logs/export_agent.log",
    benchmark:
        f"{LOGDIR}/benchmarks/export_agent.tsv"
    conda:
        "../envs/play.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(20),
    params:
        **PROGRAMS,
        options=options(CONFIG.env),
        settings=compared(shown_settings(CONFIG)),
        code=code("export_agent.py", VAE_MODULES),
        runtime=runtime(CONFIG.env),
        folder=uncompared(PACKAGE),
    shell:
        "{params.python} {params.scripts}/export_agent.py {params.options} {params.runtime}"
        " --settings {params.settings:q} --film {input.film:q} --output {params.folder:q}"
        " --log {log:q} --threads {threads}"
