"""C's training in the environment (paper, section 2.5 and appendix A.4)."""

from concurrent.futures import Executor
from pathlib import Path

import torch

from worldmodels.envs import seeding
from worldmodels.envs.instances import Instances
from worldmodels.models.controller import Controller, flatten_parameters, load_parameters
from worldmodels.models.load_controller import make_controller
from worldmodels.playing.agent import WorldModel, load_world_model
from worldmodels.playing.workers import start_player
from worldmodels.runtime.config import EnvConfig, WMControllerConfig
from worldmodels.runtime.devices import choose_device
from worldmodels.runtime.interrupts import Interrupted
from worldmodels.runtime.log import log
from worldmodels.runtime.preflight import check_covariance
from worldmodels.runtime.settings import result_values
from worldmodels.runtime.training_log import log_core_share, log_covariance, log_generation
from worldmodels.runtime.workers import worker_pool
from worldmodels.search.cma_es import CMAES
from worldmodels.search.evaluator import CandidatePlayer, Evaluator, share_cores
from worldmodels.storage.checkpoints import save_checkpoint
from worldmodels.storage.states import keep_other_state, load_state
from worldmodels.training.history import write_history
from worldmodels.training.search_loop import SearchLoop


def train_controller(
    env: EnvConfig, backend: str, config: WMControllerConfig, seed: int, identity: str, device: str, cores: int
) -> dict:
    """Train C. The state to continue from (checkpoint.tar) and history.csv go to <logdir>/ctrl.

    Args:
        backend: what steps the environment, see backends.choose_backend.
        identity: stamp of the configuration, code and models; a saved state with another stamp is not continued.
        device: of the workers, see devices.choose_device.
        cores: to use at most, beside config.max_workers.

    Returns:
        What best.tar holds: state_dict of the best validated mean, reward, epoch (its generation), config, env_steps,
        and the digests of V's and M's files (vae, mdrnn).

    Raises:
        UserError: a model is missing or damaged, or the settings do not suit the environment, the device or the memory.
    """
    choose_device(device)  # a wrong one ends here, not in a worker
    world = load_world_model(config.logdir, torch.device("cpu"))
    controller = make_controller(config.to_dict(), world.cell)
    env = settle_environment(env, backend, config, world)
    search = make_search(controller, config, seed)
    count, threads = share_cores(cores, config)
    if threads > 1:
        log_core_share(count, threads)
    player = (config.logdir, env, backend, config, device, threads)
    with worker_pool(count, start_player, CandidatePlayer.load, *player, kind=config.workers) as pool:
        loop = run_search(search, pool, config, seed, identity)
    log.info("ctrl: %s", loop.end_reason())
    load_parameters(loop.best["parameters"], controller)
    sizes = {"latent_size": world.cell.latents, "hidden_size": world.cell.hiddens, "action_size": world.cell.actions}
    return {
        "state_dict": controller.state_dict(),
        "reward": loop.best["reward"],
        "epoch": loop.best["epoch"],
        "config": sizes | result_values(config),
        "env_steps": {"rollouts": world.env_steps, "controller": loop.env_steps},
        **world.digests,
    }


def settle_environment(env: EnvConfig, backend: str, config: WMControllerConfig, world: WorldModel) -> EnvConfig:
    """Return the environment's configuration for the workers, in which env.frames and env.reuse are settled.

    Raises:
        UserError: the environment cannot be made, or M or ctrl.squash does not suit its actions.
    """
    instances = Instances(env)
    world.squash(config.squash, instances.space)
    if backend == "gymnasium":
        instances.settle_reuse()
    instances.close()
    return instances.config


def make_search(controller: Controller, config: WMControllerConfig, seed: int) -> CMAES:
    """Return CMA-ES over the controller's parameters.

    Raises:
        UserError: the covariance matrix does not fit the memory, or pycma fails with ctrl.cma.
    """
    size = len(flatten_parameters(controller))
    check_covariance(size, config.cma)
    if config.cma.get("CMA_diagonal") is not True:
        log_covariance(size)
    return CMAES(size, config.sigma0, config.pop_size, seeding.integer_seed(seed, "ctrl/strategy"), config.cma)


def run_search(search: CMAES, pool: Executor, config: WMControllerConfig, seed: int, identity: str) -> SearchLoop:
    """Run the search to the end of its budget, from the saved state if there is one.

    Raises:
        Interrupted: a signal came; the state is saved.
    """
    folder = Path(config.logdir) / "ctrl"
    state_file = folder / "checkpoint.tar"
    loop = SearchLoop(search, Evaluator(pool, config.lanes), config, seed)
    if config.noreload:
        keep_other_state(state_file, identity, log.info)
    elif state := load_state(state_file, identity, log.info):
        loop.load_state_dict(state)
        log.info("ctrl: continuing after generation %d", loop.generation)
    try:
        for _ in loop.run():
            save_loop(loop, folder, identity)
            log_generation(loop.history[-1], loop.best)
    except Interrupted:
        loop.keep_finished_pieces()
        save_loop(loop, folder, identity)
        raise
    write_history(folder / "history.csv", loop.history)
    return loop


def save_loop(loop: SearchLoop, folder: Path, identity: str) -> None:
    """Write the state and history.csv, unless a longer state is saved already."""
    if loop.generation < loop.saved_generations:
        return
    save_checkpoint(folder / "checkpoint.tar", {"identity": identity, **loop.state_dict()})
    write_history(folder / "history.csv", loop.history)
