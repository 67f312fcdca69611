"""Log lines of the three trainings. They are not in training/, so new wording retrains nothing."""

from worldmodels.runtime.log import log


def log_vae_epoch(row: dict) -> None:
    """Log an epoch of V's training.

    Args:
        row: a row of the history: epoch, and the mean losses per image.
    """
    log.info(
        "vae: epoch %d: training %.2f + %.2f, validation %.2f + %.2f per image (squared error + KL)",
        *(row[key] for key in ("epoch", "train_mse", "train_kl", "mse", "kl")),
    )


def warn_about_kl(kl: float) -> None:
    """Warn that V's codes carry no information about the pictures.

    Args:
        kl: KL divergence per image, nats.
    """
    log.warning("vae: z tells nothing of the pictures (KL %.2f); try a smaller vae.beta, or more epochs", kl)


def log_mdrnn_epoch(row: dict) -> None:
    """Log an epoch of M's training.

    Args:
        row: a row of the history: epoch, and the mean losses.
    """
    log.info(
        "mdrnn: epoch %d: training %.4f, validation %.4f (latents %.2f, terminal %.5f, reward %.4f)",
        *(row[key] for key in ("epoch", "train_loss", "loss", "gmm", "bce", "mse")),
    )


def log_generation(row: dict, best: dict) -> None:
    """Log a generation of C's training.

    Args:
        row: a row of history.csv.
        best: the best validated mean so far: reward (-inf: none), and epoch (its generation).
    """
    validated = "not validated yet"
    if best["reward"] > float("-inf"):
        validated = f"best validated mean {best['reward']:.0f} (generation {best['epoch']})"
    log.info(
        "ctrl: generation %d: mean %.0f, best %.0f, %s, sigma %.3f, %d steps, %.0f s",
        row["generation"], row["return_mean"], row["return_max"], validated,
        row["sigma"], row["env_steps"], row["seconds"],
    )  # fmt: skip


MANY_PARAMETERS = 4000  # parameters from which on a full covariance matrix takes longer than the episodes


def log_covariance(parameters: int) -> None:
    """Log how large the covariance matrix is, if it is large, and how to do without it."""
    if parameters > MANY_PARAMETERS:
        log.info(
            "ctrl: the covariance matrix of %d parameters takes %.1f GB; ctrl.cma: {CMA_diagonal: true} avoids it",
            parameters, 8e-9 * parameters**2,
        )  # fmt: skip


def log_core_share(processes: int, cores: int) -> None:
    """Log that there are more cores than pieces of a generation."""
    log.info(
        "ctrl: a generation has work for %d processes, each of %d cores; a lower ctrl.lanes gives more processes",
        processes, cores,
    )  # fmt: skip
