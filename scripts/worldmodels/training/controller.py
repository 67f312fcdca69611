"""C's training in the environment: CMA-ES (paper, section 2.5 and appendix A.4), then ascent of the return."""

import csv
import io
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import torch

from worldmodels.envs import seeding
from worldmodels.envs.instances import Instances
from worldmodels.models.controller import flatten_parameters, load_parameters
from worldmodels.models.load_controller import make_controller
from worldmodels.playing.agent import load_world_model
from worldmodels.playing.workers import start_player
from worldmodels.runtime import interrupts
from worldmodels.runtime.config import EnvConfig, WMControllerConfig
from worldmodels.runtime.devices import choose_device
from worldmodels.runtime.interrupts import Interrupted
from worldmodels.runtime.log import log
from worldmodels.runtime.preflight import check_covariance
from worldmodels.runtime.progress import progress
from worldmodels.runtime.settings import result_values
from worldmodels.runtime.training_log import log_generation
from worldmodels.runtime.workers import worker_pool
from worldmodels.search.base import Search, check_returns
from worldmodels.search.cma_es import CMAES
from worldmodels.search.evaluator import CandidatePlayer, Evaluator, Result, share_cores
from worldmodels.search.gradient import EvolutionStrategiesGradient
from worldmodels.storage.checkpoints import save_checkpoint
from worldmodels.storage.files import write_atomically
from worldmodels.storage.states import keep_other_state, load_state

REMEMBERED_TRACKS = 40  # common tracks that hard ones are drawn from
MANY_PARAMETERS = 4000  # parameters from which on a full covariance matrix takes longer than the episodes
HISTORY = ("generation", "env_steps", "return_mean", "return_max", "validation_mean", "sigma", "seconds")


class ControllerTraining:
    """The loop: ask, evaluate, tell; now and then validate the average mean on fixed tracks and keep the best.

    A mean is validated together with the next generation's candidates, so that no worker waits for it.
    """

    def __init__(self, strategy: Search, evaluator: Evaluator, config: WMControllerConfig, seed: int) -> None:
        self.strategy, self.evaluator, self.config, self.seed = strategy, evaluator, config, seed
        self.history: list[dict] = []
        self.validations: dict[int, tuple[float, int]] = {}  # generation -> return of its mean, steps that took
        self.best: dict = {"reward": float("-inf"), "epoch": 0, "parameters": strategy.average(config.average)}
        self.env_steps = 0
        self.returns: list[np.ndarray] = []  # of each generation, (pop_size, episodes a candidate)
        self.met: dict[int, float] = {}  # common tracks, the latest last -> mean return of the candidates on it
        self.saved = 0  # generations in the saved state, which a smaller budget must not cut
        self.jobs: list[Future] = []  # the pieces of the generation at work
        self.partial: dict[int, Result] = {}  # its finished pieces, if it was cut

    @property
    def generation(self) -> int:
        """Generations done."""
        return len(self.returns)

    def tracks(self) -> list[int]:
        """Environment seeds of all episodes of the next generation, candidate by candidate."""
        c, generation = self.config, self.generation + 1

        def fresh(owner: int) -> list[int]:
            return [
                seeding.track_seed(self.seed, "training", generation, owner, sample) for sample in range(self.samples)
            ]

        if not c.common_tracks:
            return [track for owner in range(c.pop_size) for track in fresh(owner)]
        hard = self.hard_tracks(int(c.hard_share * self.samples))
        return [*hard, *fresh(0)[len(hard) :]] * c.pop_size

    def hard_tracks(self, count: int) -> list[int]:
        """So many of the last common tracks, or fewer, a track the more likely the worse the candidates drove it.

        What decides the score late in training is a few tracks in a hundred, which fresh ones alone would seldom show
        (as prioritized level replay, Jiang et al., 2021).
        """
        last = list(self.met)[-REMEMBERED_TRACKS:]
        means = np.array([self.met[track] for track in last])
        lost = means.max(initial=-np.inf) - means
        count = min(count, np.count_nonzero(lost))
        if not count:
            return []
        rng = seeding.generator(self.seed, "ctrl/hard", self.generation + 1)
        return rng.choice(last, count, replace=False, p=lost / lost.sum()).tolist()

    def note_returns(self, returns: np.ndarray, tracks: list[int]) -> None:
        """Tell the strategy what the candidates got (pop_size, episodes) on these tracks, and remember it."""
        self.strategy.tell(returns.mean(axis=1))
        self.returns.append(returns)
        if self.config.common_tracks:
            for track, mean in zip(tracks, returns.mean(axis=0).tolist()):
                self.met.pop(track, None)
                self.met[track] = mean

    @property
    def samples(self) -> int:
        """Episodes a candidate in the next generation."""
        growth = self.config.sample_growth
        return self.config.n_samples + (self.env_steps // growth if growth else 0)

    def switch(self) -> None:
        """Leave CMA-ES for the ascent of the expected return, once it is time to."""
        c = self.config
        after = c.ascent_after * c.n_samples
        if after and self.env_steps >= after and isinstance(self.strategy, CMAES):
            sigma = min(self.strategy.sigma, c.sigma0)
            self.strategy = EvolutionStrategiesGradient(
                self.mean, sigma, c.ascent_rate, c.pop_size, self.strategy.random
            )

    @property
    def mean(self) -> np.ndarray:
        """What is validated and, if it is the best so far, kept."""
        return self.strategy.average(self.config.average)

    def validation_seeds(self) -> list[int]:
        """Environment seeds of a validation's episodes, the same every time."""
        return [seeding.track_seed(self.seed, "validation", i) for i in range(self.config.validation_episodes)]

    def submit_validation(self) -> list[Future]:
        """Start the validation of the present mean."""
        seeds = self.validation_seeds()
        return self.evaluator.submit(np.tile(self.mean, (len(seeds), 1)), seeds)

    def collect_validation(self, jobs: list[Future], generation: int) -> tuple[float, int]:
        """The mean return of a validation, and the environment steps that it took.

        Raises:
            UserError: a return is not finite.
        """
        returns, lengths = self.evaluator.collect(jobs)
        check_returns(returns, generation, self.validation_seeds(), validation=True)
        return float(returns.mean()), int(lengths.sum())

    def note_validation(self, generation: int, reward: float, steps: int, mean: np.ndarray) -> None:
        self.env_steps += steps
        self.validations[generation] = reward, steps
        self.history[generation - 1]["validation_mean"] = reward
        if reward > self.best["reward"]:
            self.best = {"reward": reward, "epoch": generation, "parameters": mean}

    @property
    def scheduled(self) -> bool:
        """Whether the present mean is one of those to be validated."""
        return self.generation > 0 and self.generation % self.config.validation_interval == 0

    def over(self) -> str:
        """Why training is over, or nothing."""
        c = self.config
        if c.target_return is not None and self.best["reward"] >= c.target_return:
            return f"target return {c.target_return:g} reached"
        if self.generation >= c.num_generations:
            return f"{c.num_generations} generations done"
        if c.max_env_steps and self.env_steps >= c.max_env_steps:
            return f"{c.max_env_steps} environment steps done"
        return ""

    def run(self) -> Iterator[None]:
        """Train; yields after every generation, when the state is to be saved.

        The last mean is validated too, after the last yield: a run that is continued with a larger budget knows
        nothing of that, and equals one long run.
        """
        while not self.over():
            start = time.monotonic()
            self.switch()
            candidates, mean, last = self.strategy.ask(), self.mean, self.generation
            tracks, samples = self.tracks(), self.samples
            stacked = np.repeat(candidates, samples, axis=0)
            jobs = self.evaluator.submit(stacked, tracks, self.partial)
            validation = self.submit_validation() if self.scheduled else []
            self.jobs = [*jobs, *validation]
            for job in progress(self.jobs, f"ctrl: generation {last + 1}", display=self.config.display):
                job.result()
            returns, lengths = self.evaluator.collect(jobs)
            returns = returns.reshape(-1, samples)
            check_returns(returns, last + 1, tracks)
            validated = self.collect_validation(validation, last) if validation else None
            fitness = returns.mean(axis=1)
            with interrupts.patiently():  # all of this or nothing is in the saved state
                if validated:
                    self.note_validation(last, *validated, mean)
                self.env_steps += int(lengths.sum())
                self.note_returns(returns, tracks)
                values = (last + 1, self.env_steps, float(fitness.mean()), float(fitness.max()), None)
                self.history.append(dict(zip(HISTORY, (*values, self.strategy.sigma, time.monotonic() - start))))
                self.jobs, self.partial = [], {}
                yield
            interrupts.check()
        validated = self.collect_validation(self.submit_validation(), self.generation)
        self.note_validation(self.generation, *validated, self.mean)

    def state_dict(self) -> dict:
        """Plain values and tensors only: the strategy is its seed and the returns of all generations."""
        return {
            "returns": [torch.from_numpy(returns) for returns in self.returns],
            "history": self.history,
            "validations": self.validations,
            "partial": {i: tuple(torch.from_numpy(part) for part in result) for i, result in self.partial.items()},
        }

    def cut(self) -> None:
        """Keep the finished pieces of the generation at work; its validation, if any, is played again."""
        if not self.jobs:
            return
        done = {i: job for i, job in enumerate(self.jobs) if job.done() and not job.cancelled() and not job.exception()}
        pieces = -(-self.config.pop_size * self.samples // self.evaluator.lanes)
        self.partial = {i: job.result() for i, job in done.items() if i < pieces}

    def load_state_dict(self, state: dict) -> None:
        """Live through the saved generations again, up to the present budget, which may be smaller than it was."""
        self.saved = len(state["returns"])
        for generation, returns in enumerate(state["returns"], 1):
            if self.over():
                return
            self.switch()
            tracks = self.tracks()
            if self.generation in state["validations"]:
                self.note_validation(self.generation, *state["validations"][self.generation], self.mean)
            self.strategy.ask()
            self.note_returns(returns.numpy(), tracks)
            self.history.append({**state["history"][generation - 1], "validation_mean": None})
            self.env_steps = self.history[-1]["env_steps"]
        self.partial = {i: tuple(part.numpy() for part in result) for i, result in state["partial"].items()}

    def write_history(self, path: Path) -> None:
        """The history as history.csv, a row a generation."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(HISTORY)
        rows.writerows(
            [f"{row[k]:.6g}" if isinstance(row[k], float) else row[k] for k in HISTORY] for row in self.history
        )
        write_atomically(path, lambda file: file.write(text.getvalue().encode()))


def train_controller(
    env: EnvConfig, backend: str, config: WMControllerConfig, seed: int, identity: str, device: str, cores: int
) -> dict:
    """Train C; history.csv and checkpoint.tar, the state to continue from, go to <logdir>/ctrl.

    Args:
        backend: what steps the environment, see envs.choose_backend.
        identity: stamp of the configuration, code and models; a saved state of another one is not continued.
        cores: to use at most, beside config.max_workers.

    Returns:
        What best.tar holds: state_dict of the best validated mean, reward, epoch (its generation), config, env_steps,
        and the digests of V's and M's files (vae, mdrnn).
    """
    folder = Path(config.logdir) / "ctrl"
    world = load_world_model(config.logdir, torch.device("cpu"))
    controller = make_controller(config.to_dict(), world.cell)
    choose_device(device)  # what is wrong should end here, not in a worker
    instances = Instances(env)
    world.squash(config.squash, instances.space)
    if backend == "gymnasium":
        instances.settle_reuse()
    instances.close()
    env = instances.config
    size = len(flatten_parameters(controller))
    check_covariance(size, config.cma)
    if size > MANY_PARAMETERS and config.cma.get("CMA_diagonal") is not True:
        told = "ctrl: %d parameters have a covariance matrix of %.1f GB; ctrl.cma: {CMA_diagonal: true} does without"
        log.info(told, size, 8e-9 * size**2)
    number = seeding.integer_seed(seed, "ctrl/strategy")
    strategy = CMAES(size, config.sigma0, config.pop_size, number, config.cma)
    count, threads = share_cores(cores, config)
    if threads > 1:
        told = "ctrl: a generation has work for %d processes, each of %d cores; a lower ctrl.lanes makes it more"
        log.info(told, count, threads)
    prepared = (config.logdir, env, backend, config, device, threads)
    with worker_pool(count, start_player, CandidatePlayer.load, *prepared, kind=config.workers) as pool:
        training = ControllerTraining(strategy, Evaluator(pool, config.lanes), config, seed)
        state = None
        if config.noreload:
            keep_other_state(folder / "checkpoint.tar", identity, log.info)
        else:
            state = load_state(folder / "checkpoint.tar", identity, log.info)
        if state:
            training.load_state_dict(state)
            log.info("ctrl: continuing after generation %d", training.generation)

        def save() -> None:
            if training.generation < training.saved:
                return
            save_checkpoint(folder / "checkpoint.tar", {"identity": identity, **training.state_dict()})
            training.write_history(folder / "history.csv")

        try:
            for _ in training.run():
                save()
                log_generation(training.history[-1], training.best)
        except Interrupted:
            training.cut()
            save()
            raise
        training.write_history(folder / "history.csv")
    log.info("ctrl: %s", training.over())
    load_parameters(training.best["parameters"], controller)
    sizes = {"latent_size": world.cell.latents, "hidden_size": world.cell.hiddens, "action_size": world.cell.actions}
    return {
        "state_dict": controller.state_dict(),
        "reward": training.best["reward"],
        "epoch": training.best["epoch"],
        "config": sizes | result_values(config),
        "env_steps": {"rollouts": world.env_steps, "controller": training.env_steps},
        **world.digests,
    }
