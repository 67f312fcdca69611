# World Models: rollouts -> V -> latents -> M -> C -> official test.
#
#   snakemake --cores 8 --use-conda                 everything, on this machine
#   snakemake --cores 8 vae                         up to a stage: rollouts, vae, latents, mdrnn, ctrl, evaluate, figures
#   snakemake --cores 8 --configfile presets/smoke.yaml
#   snakemake --report report.html                  then: look at it
#   snakemake --list                                every rule and what it does
#
# Every knob is in config.yaml. A stage's rules are in rules/<stage>.smk, what they share is in rules/common/.

from snakemake.utils import min_version

min_version("9.0")


configfile: f"{workflow.basedir}/config.yaml"


include: "rules/common/configuration.smk"
include: "rules/common/staleness.smk"
include: "rules/common/resources.smk"
include: "rules/common/report.smk"
include: "rules/common/last_words.smk"


if SEEDS:

    include: "rules/sweep.smk"

elif ITERATIONS:

    include: "rules/iterations.smk"

else:

    include: "rules/targets.smk"

    if INSTALLS:

        include: "rules/install_agent.smk"

    else:
        if CONFIG.rollouts.source:

            include: "rules/import_rollouts.smk"

        elif AGENT_DRIVES:

            include: "rules/common/agent.smk"
            include: "rules/agent_rollouts.smk"

        else:

            include: "rules/rollouts.smk"
        include: "rules/vae.smk"
        include: "rules/latents.smk"
        include: "rules/mdrnn.smk"

        if REFITS:

            include: "rules/refit.smk"
        include: "rules/ablation.smk"
        include: "rules/temperatures.smk"

    if REFITS or not INSTALLS:

        include: "rules/dream_ctrl.smk" if DREAMS else "rules/ctrl.smk"
    include: "rules/evaluate.smk"
    include: "rules/figures.smk"
    include: "rules/export_agent.smk"

    ALL = PRODUCTS + FIGURES


rule all:
    """Make everything: the agent, its test and all figures. Of a sweep: the tests of all runs, and their comparison."""
    default_target: True
    input:
        ALL,
