# World Models: rollouts -> V -> latents -> M -> C -> official test.
#
#   snakemake --cores 8 --use-conda                 everything, on this machine
#   snakemake --cores 8 vae                         up to a stage: rollouts, vae, latents, mdrnn, ctrl, evaluate, figures
#   snakemake --cores 8 --configfile presets/smoke.yaml
#   snakemake --report report.html                  then: look at it
#
# Every knob is in config.yaml; a stage's rule is in rules/<stage>.smk.

from snakemake.utils import min_version

min_version("9.0")


configfile: f"{workflow.basedir}/config.yaml"


include: "rules/common.smk"


if SEEDS:

    include: "rules/sweep.smk"

else:

    include: "rules/rollouts.smk"
    include: "rules/vae.smk"
    include: "rules/latents.smk"
    include: "rules/mdrnn.smk"
    include: "rules/ctrl.smk"
    include: "rules/evaluate.smk"
    include: "rules/figures.smk"
    include: "rules/ablation.smk"


onstart:
    claim_folders(workflow.dag.needrun_jobs())


# What went wrong, in one line a job, is the last thing to be seen: after Snakemake's own last words.
onerror:
    atexit.register(report_errors)


# And the score, and where to look, if this run made one.
onsuccess:
    atexit.register(report_score)


rule all:
    default_target: True
    input:
        f"{LOGDIR}/seeds.json" if SEEDS else PRODUCTS + FIGURES,
