# The words to ask for: `snakemake vae` makes V and all that it needs. `evaluate` is a rule of rules/evaluate.smk.


rule rollouts:
    """Collect the rollouts."""
    input:
        ROLLOUTS,


rule vae:
    """Go as far as V."""
    input:
        multiext(V, ".tar", ".json"),


rule latents:
    """Go as far as the latents, where they are precomputed."""
    input:
        multiext(LATENTS, ".npz", ".json"),


rule mdrnn:
    """Go as far as M."""
    input:
        multiext(M, ".tar", ".json"),


rule ctrl:
    """Go as far as C."""
    input:
        multiext(C, ".tar", ".json"),
        f"{LOGDIR}/ctrl/history.csv",


rule figures:
    """Draw the figures and films of the report."""
    input:
        FIGURES,


rule ablation:
    """Train and test the variants of the ablation, and compare them with the agent."""
    input:
        multiext(f"{LOGDIR}/ablation/ablation", ".json", ".md", ".png"),


rule temperatures:
    """Train C in dreams of several temperatures, test each C, and compare the scores in the dream and out of it."""
    input:
        multiext(f"{LOGDIR}/temperatures/temperatures", ".json", ".md", ".png"),


rule export:
    """Pack the agent into a folder and a .zip that others can use."""
    input:
        f"{LOGDIR}/package.zip",
