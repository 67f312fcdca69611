"""C's training (paper, section 2.4 and appendix A.4), wherever its candidates are evaluated."""

from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from worldmodels.envs import seeding
from worldmodels.models.controller import Controller, flatten_parameters, load_parameters
from worldmodels.models.load_controller import make_controller
from worldmodels.playing.agent import WorldModel
from worldmodels.playing.workers import start_player
from worldmodels.runtime.config import WMControllerConfig
from worldmodels.runtime.curves import curves
from worldmodels.runtime.interrupts import Interrupted
from worldmodels.runtime.log import log
from worldmodels.runtime.preflight import check_covariance
from worldmodels.runtime.settings import result_values
from worldmodels.runtime.training_log import log_covariance, log_generation
from worldmodels.runtime.workers import worker_pool
from worldmodels.search.cma_es import CMAES
from worldmodels.search.evaluator import CandidatePlayer, Evaluator
from worldmodels.storage.checkpoints import save_checkpoint
from worldmodels.storage.states import keep_other_state, load_state
from worldmodels.training.history import write_history
from worldmodels.training.search_loop import SearchLoop
from worldmodels.training.start import load_start


class Workers(NamedTuple):
    """How the worker processes evaluate candidates.

    Attributes:
        load: loads a worker's player: load(number, *arguments).
        arguments: further arguments of load.
        count: number of the worker processes.
    """

    load: Callable[..., CandidatePlayer]
    arguments: tuple
    count: int


def train_controller(
    world: WorldModel, workers: Workers, config: WMControllerConfig, seed: int, identity: str
) -> tuple[dict, int]:
    """Train C. The state to continue from (checkpoint.tar) and history.csv go to <logdir>/ctrl.

    Args:
        world: V and M.
        workers: evaluate the candidates, in the environment or in dreams.
        identity: stamp of the configuration, code and models; a saved state with another stamp is not continued.

    Returns:
        What best.tar holds, and the steps of all episodes of this training. best.tar holds state_dict, the best
        validated mean. reward and reward_std are the mean and the standard deviation of its validation. epoch is its
        generation. config has all settings. vae and mdrnn are the digests of V's and M's files. env_steps are the
        environment steps before this training.

    Raises:
        Interrupted: a signal came; the state is saved.
        UserError: the settings do not suit M, ctrl.start, the memory or the returns.
    """
    controller = make_controller(config.to_dict(), world.cell)
    start = load_start(config.start, controller, world)
    search = make_search(controller, config, seed, start.parameters)
    with worker_pool(workers.count, start_player, workers.load, *workers.arguments, kind=config.workers) as pool:
        loop = run_search(search, pool, config, seed, identity)
    log.info("ctrl: %s", loop.end_reason())
    load_parameters(loop.best["parameters"], controller)
    sizes = {"latent_size": world.cell.latents, "hidden_size": world.cell.hiddens, "action_size": world.cell.actions}
    best = {
        "state_dict": controller.state_dict(),
        "reward": loop.best["reward"],
        "reward_std": loop.best["reward_std"],
        "epoch": loop.best["epoch"],
        "config": sizes | result_values(config),
        "env_steps": {"rollouts": world.env_steps, **start.env_steps},
        **world.digests,
    }
    return best, loop.env_steps


def make_search(
    controller: Controller, config: WMControllerConfig, seed: int, first: np.ndarray | None = None
) -> CMAES:
    """Return CMA-ES over the controller's parameters.

    Args:
        first: the first mean, (P,). None: 0.

    Raises:
        UserError: the covariance matrix does not fit the memory, or pycma fails with ctrl.cma.
    """
    size = len(flatten_parameters(controller))
    check_covariance(size, config.cma)
    if config.cma.get("CMA_diagonal") is not True:
        log_covariance(size)
    strategy_seed = seeding.integer_seed(seed, "ctrl/strategy")
    return CMAES(size, config.sigma0, config.pop_size, strategy_seed, config.cma, first)


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
    curves.start("ctrl", identity, loop.history, "dream" if config.world == "dream" else "ctrl")
    try:
        for _ in loop.run():
            save_loop(loop, folder, identity)
            curves.add_rows(loop.history)
            log_generation(loop.history[-1], loop.best)
    except Interrupted:
        loop.keep_finished_pieces()
        save_loop(loop, folder, identity)
        raise
    write_history(folder / "history.csv", loop.history)
    curves.add_rows(loop.history)  # with the validation of the last mean
    return loop


def save_loop(loop: SearchLoop, folder: Path, identity: str) -> None:
    """Write the state and history.csv, unless a longer state is saved already."""
    if loop.generation < loop.saved_generations:
        return
    save_checkpoint(folder / "checkpoint.tar", {"identity": identity, **loop.state_dict()})
    write_history(folder / "history.csv", loop.history)
