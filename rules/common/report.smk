# The figures of a run and their places in the report of `snakemake --report`.

# Folder of the report -> figure -> what it shows. Its caption is report/<name of the figure>.rst.
REPORTED = {
    "1 This run": {
        "run.html": "versions, configuration, time",
        "stages.png": "what the stages took",
    },
    "2 Official test": {
        "evaluation.html": "score and episodes",
        "evaluation_returns.png": "returns and published scores",
        "evaluation_tracks.png": "tracks from above",
        "films.png": "best, median and worst, filmed",
    },
    "3 V, vision": {
        "vae_reconstructions.png": "reconstructions",
        "vae_worst.png": "worst reconstructions",
        "vae_samples.png": "samples from the prior",
        "vae_traversals.png": "latent traversals",
        "vae_losses.png": "learning curves",
    },
    "4 M, memory": {
        "mdrnn_dream.png": "a held-out episode, dreamt on",
        "mdrnn_horizon.png": "likelihood by horizon",
        "mdrnn_reward.png": "rewards",
        "mdrnn_terminal.png": "endings",
        "mdrnn_losses.png": "learning curves",
    },
    "5 C, controller": {
        "ctrl_returns.png": "returns",
        "ctrl_search.png": "step size, episode lengths, time",
        "dream.png": "C in M's dream and in the environment, filmed",
    },
}
CATEGORIES = {file: category for category, files in REPORTED.items() for file in files}

REPORT = f"{LOGDIR}/report"
FILMS = [f"{REPORT}/{episode}.gif" for episode in ("best", "median", "worst")]
FIGURES = [
    *(f"{REPORT}/{file}" for file in CATEGORIES),
    *FILMS,
    f"{REPORT}/dream.gif",
    f"{REPORT}/replays.npz",
]

if INSTALLS:  # No rollouts and no training: what shows the agent at work is left.
    shown = ["2 Official test", "5 C, controller"] if REFITS else ["2 Official test"]
    FIGURES = [
        *(f"{REPORT}/{file}" for part in shown for file in REPORTED[part]),
        *FILMS,
        *multiext(f"{REPORT}/dream", ".gif", ".png"),
        f"{REPORT}/replays.npz",
    ]


def figure(file):
    """The path of a figure, with its place in the report."""
    category = CATEGORIES[file]
    return report(
        f"{REPORT}/{file}",
        category=category,
        subcategory=None if ITERATION is None else f"Iteration {ITERATION}",
        labels={"figure": REPORTED[category][file]},
        caption=f"../report/{file.rpartition('.')[0]}.rst",
    )


def held_out(section, most=8):
    """Some rollouts that a stage was not trained on, or of those that it was if it held out none."""
    return ROLLOUTS[-section.num_test_files :][:most]
