# A variant of a run: the run's rules for M, C and the test, with a changed configuration and in a folder of its own, as
# <logdir>/ablation/<variant>. What the variant shares with the run is linked into its folder.

from pathlib import Path

SHARED = config.pop("shared")  # stages


include: "common/configuration.smk"
include: "common/staleness.smk"
include: "common/resources.smk"


RUN = Path(LOGDIR).parents[1]

if "mdrnn" not in SHARED:

    include: "mdrnn.smk"


include: "dream_ctrl.smk" if DREAMS else "ctrl.smk"
include: "evaluate.smk"


rule link_shared:
    """Link a product that a variant shares with the run."""
    input:
        f"{RUN}/{{stage}}/{{file}}",
    output:
        f"{LOGDIR}/{{stage}}/{{file}}",
    log:
        f"{LOGDIR}/logs/link_shared_{{stage}}_{{file}}.log",
    wildcard_constraints:
        stage="|".join(SHARED),
        file=r"best\.(tar|json)|latents_\d+\.(npz|json)",
    localrule: True
    conda:
        "../envs/train.yaml"
    shell:
        'ln -sf "../../../{wildcards.stage}/{wildcards.file}" {output:q} 2> {log:q}'
