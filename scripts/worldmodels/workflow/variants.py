"""Variants of a run: runs with a changed configuration, which share the run's first stages."""

from worldmodels.workflow.configuration import inherit


def variant_config(config: dict, changes: dict, logdir: str, data_dir: str) -> dict:
    """Return the configuration of a variant. One job plays its test, and C starts at 0: its inputs may be others.

    The key `shared` names the stages whose products the variant shares with the run.

    Args:
        config: Snakemake's object of this name.
        changes: what the variant's configuration changes, as in config.yaml.
        logdir: of the variant, two folders below the run's.
        data_dir: of the run, whose rollouts the variant shares.
    """
    shared = [stage for stage in ("vae", "latents", "mdrnn") if stage not in changes]
    places = {"logdir": logdir, "data_dir": data_dir}
    ctrl = {**changes.get("ctrl", {}), "start": ""}
    return inherit(config, {**changes, **places, "ctrl": ctrl, "evaluate": {"shards": 1}, "shared": shared})
