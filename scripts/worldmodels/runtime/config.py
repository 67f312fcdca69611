"""Every knob of the workflow: name, type, default, bounds and meaning, in one place.

The Snakefile builds these dataclasses from config.yaml before any job starts, and the command-line
flags of the scripts are generated from them, so a value is checked once and by the same rules wherever
it comes from. `cd scripts && python -m worldmodels.config` prints them as config.yaml.

Field names and defaults are those of the specification's tables (WMVAEConfig, WMMDNRNNConfig,
WMControllerConfig); a help text says so where a measured better default replaced one.
Importing this module must stay cheap (no torch, no numpy): every dry run does it.
"""

import math
from dataclasses import dataclass

from worldmodels.runtime.cma_options import check_cma
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.paths import default_logdir
from worldmodels.runtime.settings import BUDGET, COUNT, RUNTIME, Section, elsewhere, extra, setting, suited


@dataclass
class RunConfig(Section):
    """Shared by all stages."""

    seed: int = setting(1, "seed of everything random in the run", low=0)
    device: str = setting("auto", "auto, cpu, cuda or cuda:N; auto takes a GPU where there is one", role=RUNTIME)
    logdir: str = setting(
        None,
        "where models, logs, figures and eval.json go. null: results/<environment>, as results/carracing",
        role=RUNTIME,
        suited={"": None},
    )
    data_dir: str = setting(None, "where the rollouts go. null: <logdir>/rollouts", role=RUNTIME, suited={"": None})
    env_name: str = elsewhere("CarRacing-v3", "env.id")

    def __post_init__(self) -> None:
        if self.logdir is None:
            self.logdir = default_logdir(self.env_name)
        if self.data_dir is None:
            self.data_dir = f"{self.logdir}/rollouts"
        super().__post_init__()


@dataclass
class EnvConfig(Section):
    """The environment, and the frames that V sees of it."""

    section = "env"
    prefix = "env-"  # clear of the stages' own flags
    id: str = setting(
        "CarRacing-v3", "Gymnasium id of the environment, or module:id, where the module is found as `import` is"
    )
    kwargs: dict = setting({}, "keyword arguments for gymnasium.make")
    import_: str = setting(
        "", "package or module that registers the environment; found where it is installed or in the working directory"
    )
    height: int = setting(
        64,
        "height of the frames that V sees, pixels; ConvVAE takes 32, 40, 48, 56, 64, 80, 96, 112, 128, ...",
        low=1,
    )
    width: int = setting(64, "width of the frames that V sees, pixels, as the height", low=1)
    grey: bool = setting(False, "frames in grey: one channel instead of three")
    frame_skip: int = setting(
        1, "the environment's steps that an action lasts; all that the workflow calls a step is one action", low=1
    )
    max_episode_steps: int = setting(
        0, "longest episode, the environment's own steps; 0: as the environment is registered", low=0
    )
    frames: str = setting(
        "auto",
        "where pictures come from; observation: what reset and step return; render: what render() returns; auto: "
        "observations that are pictures, else rendering. Ask for rendering if observations look like pictures and are "
        "the codes of a board",
        choices=("auto", "observation", "render"),
    )
    backend: str = setting(
        "auto",
        "what steps the environment during rollouts and controller training; auto: envpool where it is installed and "
        "knows the environment, unless import, kwargs or rendered frames ask for gymnasium; else gymnasium. The "
        "official test always runs in gymnasium",
        choices=("auto", "gymnasium", "envpool"),
    )
    reuse: str = setting(
        "auto",
        "whether an environment of gymnasium plays one episode after another, with reset(seed=...) between; never: "
        "each episode gets a new one; auto: always, unless two short episodes before the first show that a reset does "
        "not forget all that was before, or it is built on Box2D, where that cannot be seen",
        choices=("auto", "always", "never"),
    )
    instances: int = setting(
        0,
        "environments of gymnasium that a process keeps open at most, as for a simulator that allows a single one "
        "(then use one core, too); the other episodes wait for their turn. 0: as many as are played side by side",
        low=0,
        role=RUNTIME,
    )

    @property
    def modules(self) -> dict[str, str]:
        """The modules that register the environment, by key: `import`, and what stands before a colon in `id`."""
        named = {"env.import": self.import_, "env.id": self.id.rpartition(":")[0]}
        return {key: module for key, module in named.items() if module}


def reason_against_envpool(env: EnvConfig) -> str:
    """What in the configuration EnvPool cannot do, or nothing."""
    return "env.kwargs" if env.kwargs else "env.frames: render" if env.frames == "render" else ""


def is_gymnasium_certain(env: EnvConfig) -> bool:
    """Whether the configuration rules EnvPool out, installed or not; envs.choose_backend looks further."""
    wanted = bool(reason_against_envpool(env) or env.import_)
    return env.backend == "gymnasium" or (env.backend == "auto" and wanted)


# The arguments with which CarRacing-v3 has other actions than those that its defaults are made for.
DISCRETE = {"continuous": False}
POLICY_NAMES = ("random", "brownian", "ou", "agent")


@dataclass
class RolloutsConfig(Section):
    """Rollouts: episodes under random policies, or under the agent of an earlier run."""

    section = "rollouts"
    num_rollouts: int = setting(128, "episodes to learn V and M from; exactly so many are collected", low=1, role=COUNT)
    shard_size: int = setting(32, "episodes a job collects; the last job collects what is left of num_rollouts", low=1)
    seq_len: int = setting(1000, "longest episode, steps", low=2)
    policy: str = setting(
        "mixture",
        "random: action_space.sample(); brownian: a random walk in the action space; "
        "ou: Ornstein-Uhlenbeck noise around ou_mean; of discrete actions the one whose walk or noise is highest; "
        "agent: the trained agent of another run; mixture: each episode draws one of them",
        choices=(*POLICY_NAMES, "mixture"),
    )
    env_name: str = elsewhere("CarRacing-v3", "env.id")
    env_kwargs: dict = elsewhere({}, "env.kwargs")
    mixture: dict = suited(
        {"CarRacing-v3": {"ou": 0.8, "brownian": 0.1, "random": 0.1}},
        {"ou": 0.5, "random": 0.5},
        "weights of the policies in the mixture",
    )
    ou_mean: list[float] = suited(
        {"CarRacing-v3": [0.0, 0.3, -0.2]},
        [],
        "where ou pulls each action to, in the environment's units; empty: the middle of the bounds",
        unless=DISCRETE,
    )
    ou_sigma: list[float] = suited(
        {"CarRacing-v3": [0.4, 0.3, 0.2]},
        [],
        "standard deviation of each action under ou; empty: a quarter of the range",
        unless=DISCRETE,
    )
    ou_theta: float = setting(0.1, "how fast ou forgets, 1/step", above=0.0, high=1.0)
    agent: str = setting("", "logdir of the run whose agent drives under the policy agent", role=RUNTIME)
    agent_noise: float = setting(
        0.5, "largest share of ou's noise on the agent's actions; each episode draws its own from 0 to this", low=0.0
    )
    gymnasium_share: float = setting(
        0.125,
        "share of the episodes that gymnasium renders although EnvPool collects, so that V knows both pictures",
        low=0.0,
        high=1.0,
    )
    compress: bool = setting(True, "deflate the .npz files (about 7 times smaller, 0.1 ms a frame)")

    def __post_init__(self) -> None:
        super().__post_init__()
        weights = self.mixture.values()
        sound = set(self.mixture) <= set(POLICY_NAMES) and all(
            type(w) in (int, float) and math.isfinite(w) and w >= 0 for w in weights
        )
        if self.policy == "mixture" and not (sound and any(weights)):
            names = ", ".join(POLICY_NAMES)
            raise UserError(f"rollouts.mixture: expected positive, finite weights of {names}, found {self.mixture}")


@dataclass
class WMVAEConfig(Section):
    """V, the ConvVAE."""

    section = "vae"
    height: int = elsewhere(64, "env.height")
    width: int = elsewhere(64, "env.width")
    model: str = setting(
        "ConvVAE",
        "the network: ConvVAE, or module:Class of your own, found where it is installed or in the working directory; "
        "see docs/extending.md",
    )
    latent_size: int = setting(32, "size of z", low=1)
    device: str = elsewhere("auto", "device")
    train_batch_size: int = setting(
        64, "images a batch (specification: 32; 64 trains a sixth more images a second on a CPU)", low=1
    )
    num_epochs: int = setting(8, "epochs at most (specification: 10)", low=1, role=BUDGET)
    images_per_epoch: int = setting(16384, "images drawn afresh for each epoch; 0: all of them", low=0)
    data_dir: str = elsewhere("results/carracing/rollouts", "data_dir")
    num_test_files: int = setting(8, "last rollouts held out for validation; 0: train on all", low=0)
    learning_rate: float = setting(1e-3, "Adam's learning rate", above=0.0)
    beta: float = setting(
        1.0,
        "weight of the KL term; less where pictures differ little. latent_size / (3 * height * width), 0.0026 here, "
        "would put both terms on one scale",
        low=0.0,
    )
    logdir: str = elsewhere("results/carracing", "logdir")
    noreload: bool = setting(False, "start over even if a saved state could be continued", role=RUNTIME)
    nosamples: bool = setting(False, "write no sample and reconstruction images", role=RUNTIME)
    scheduler_patience: int = setting(5, "epochs without improvement before the learning rate drops", low=0)
    scheduler_factor: float = setting(0.5, "what the learning rate is multiplied with then", above=0.0, high=0.999)
    early_stopping_patience: int = setting(30, "epochs without improvement before training stops", low=1)
    sample_interval: int = setting(5, "epochs between sample images", low=1, role=RUNTIME)
    memory_gb: float = setting(
        8.0,
        "frames are held in memory up to this, GB, else streamed from disk, in another random order",
        above=0.0,
    )
    extra: dict = extra()

    @property
    def modules(self) -> dict[str, str]:
        """The user's own network, module:Class, by key; none for ConvVAE."""
        return user_network_modules(self.model)


def user_network_modules(model: str) -> dict[str, str]:
    """The network of a V, as vae.model names it, by key, if it is the user's own."""
    return {"vae.model": model} if ":" in model else {}


@dataclass
class LatentsConfig(Section):
    """Latents: V's codes of all frames, which M learns from."""

    section = "latents"
    precompute_latents: bool = setting(
        True, "encode all frames once, before M is trained; false: V encodes each of M's batches on the fly"
    )
    encode_batch_size: int = setting(
        256,
        "frames encoded at a time; the last bits of a code may depend on how many others are encoded with it",
        low=1,
    )


@dataclass
class WMMDNRNNConfig(Section):
    """M, the MDN-RNN."""

    section = "mdrnn"
    latent_size: int = elsewhere(32, "V's checkpoint (set vae.latent_size)")
    action_size: int = elsewhere(3, "the rollouts")
    cell: str = setting("lstm", "lstm or gru", choices=("lstm", "gru"))
    hidden_size: int = setting(256, "units of a layer of the LSTM or GRU", low=1)
    num_layers: int = setting(1, "layers of the LSTM or GRU; C is shown the last one's state", low=1)
    gmm_components: int = setting(5, "Gaussians in the mixture", low=1)
    device: str = elsewhere("auto", "device")
    batch_size: int = setting(
        32,
        "sequences a batch (specification: 16; 32 takes a fifth less time, loss 1.041, not 1.040, after 6 epochs)",
        low=1,
    )
    seq_len: int = setting(32, "steps a sequence", low=2)
    num_epochs: int = setting(30, "epochs at most; 0: M keeps its first, random weights", low=0, role=BUDGET)
    data_dir: str = elsewhere("results/carracing/rollouts", "data_dir")
    num_test_files: int = setting(8, "last rollouts held out for validation; 0: train on all", low=0)
    learning_rate: float = setting(1e-3, "RMSprop's learning rate (alpha 0.9)", above=0.0)
    grad_clip: float = setting(1.0, "largest norm of the gradient", above=0.0)
    logdir: str = elsewhere("results/carracing", "logdir")
    noreload: bool = setting(False, "start over even if a saved state could be continued", role=RUNTIME)
    include_reward: bool = setting(True, "learn to predict the reward")
    scheduler_patience: int = setting(5, "epochs without improvement before the learning rate drops", low=0)
    scheduler_factor: float = setting(0.5, "what the learning rate is multiplied with then", above=0.0, high=0.999)
    early_stopping_patience: int = setting(30, "epochs without improvement before training stops", low=1)
    extra: dict = extra()


@dataclass
class WMControllerConfig(Section):
    """C, the controller, by CMA-ES."""

    section = "ctrl"
    latent_size: int = elsewhere(32, "V's checkpoint (set vae.latent_size)")
    hidden_size: int = elsewhere(256, "M's checkpoint (set mdrnn.hidden_size)")
    action_size: int = elsewhere(3, "M's checkpoint")
    env_name: str = elsewhere("CarRacing-v3", "env.id")
    env_kwargs: dict = elsewhere({}, "env.kwargs")
    logdir: str = elsewhere("results/carracing", "logdir")
    features: str = setting(
        "zh",
        "what C is shown: z, V's code; h, M's hidden state; c, the state of M's LSTM cells",
        choices=("z", "h", "zh", "zhc"),
    )
    hidden: list[int] = setting([], "widths of C's hidden layers (tanh), as [40]; empty: C is linear", low=1)
    squash: list[str] = suited(
        {"CarRacing-v3": ["tanh", "tanh", "clip_tanh"]},
        [],
        "how each output of the controller becomes a continuous action, one entry for all or one an action; tanh: tanh "
        "scaled to the bounds; clip_tanh: tanh clipped to them; clip: the bare output clipped to them; empty: tanh "
        "where there are bounds, else clip",
        unless=DISCRETE,
        choices=("tanh", "clip_tanh", "clip"),
    )
    pop_size: int = setting(64, "candidates a generation (specification: 10; the paper: 64)", low=2)
    n_samples: int = setting(
        1, "episodes a candidate (specification: 4, the paper: 16; with common tracks one teaches most per step)", low=1
    )
    sample_growth: int = setting(
        0,
        "one episode a candidate more after every so many environment steps, for the tracks that are rarely hard; "
        "0: never",
        low=0,
    )
    common_tracks: bool = setting(True, "all candidates of a generation meet the same tracks (common random numbers)")
    hard_share: float = setting(
        0.0,
        "share of a generation's common tracks, rounded down, that are drawn from the last 40 of them, the more often "
        "the worse the candidates drove there; it takes 2 episodes a candidate or more",
        low=0.0,
        high=1.0,
    )
    sigma0: float = setting(0.1, "CMA-ES's first step size", above=0.0)
    ascent_after: int = setting(
        400000,
        "environment steps, times n_samples, after which CMA-ES gives way to ascent of the expected return (evolution "
        "strategies), around its average; CMA-ES only asks who was better, which is the fastest who got round, not who "
        "fails least. 0: never",
        low=0,
    )
    ascent_rate: float = setting(
        1.0,
        "how far that goes in a generation; its step size stays at sigma0, or what CMA-ES left if that is smaller",
        above=0.0,
    )
    cma: dict = setting({}, "options of pycma that shape CMA-ES, as {CMA_diagonal: true}; docs/extending.md lists them")
    num_generations: int = setting(1000, "generations at most", low=1, role=BUDGET)
    max_env_steps: int = setting(1000000, "environment steps at most; 0: no limit", low=0, role=BUDGET)
    target_return: float = suited(
        {"CarRacing-v3": 950.0}, None, "stop once the validated mean return reaches this", role=BUDGET
    )
    average: float = setting(
        0.25,
        "share of the generations, the last ones, over which the distribution's mean is averaged before it is "
        "validated and saved; 0: the last mean alone",
        low=0.0,
        high=1.0,
    )
    validation_interval: int = setting(4, "generations between validations of the mean", low=1)
    validation_episodes: int = setting(16, "fixed tracks a validation runs", low=1)
    time_limit: int = suited({"CarRacing-v3": 1000}, 0, "longest episode, steps; 0: as the environment has it", low=0)
    stall_limit: int = suited(
        {"CarRacing-v3": 30},
        0,
        "end an episode after so many steps without a positive reward, charged as if it had stalled on; 0: never",
        low=0,
    )
    lanes: int = setting(
        16, "episodes a worker steps side by side as one batch; also the smallest piece of work a worker gets", low=1
    )
    workers: str = setting(
        "processes",
        "processes: on this machine; mpi: on the ranks of an MPI job, over many machines",
        choices=("processes", "mpi"),
        role=RUNTIME,
    )
    max_workers: int = setting(32, "workers at most", low=1, role=RUNTIME)
    display: bool = setting(True, "show progress bars on a terminal", role=RUNTIME)
    noreload: bool = setting(False, "start over even if a saved state could be continued", role=RUNTIME)
    extra: dict = extra()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_cma(self.cma, self.pop_size)
        if self.hard_share and not self.common_tracks:
            raise UserError(f"ctrl.hard_share: expected 0 where common_tracks is off, found {self.hard_share:g}")


@dataclass
class EvaluateConfig(Section):
    """The official test, in gymnasium, on held-out tracks."""

    section = "evaluate"
    num_episodes: int = setting(32, "held-out tracks of the official test", low=1)
    shards: int = setting(1, "jobs that the test is split into, for a cluster", low=1, role=RUNTIME)


SECTIONS = {
    c.section: c
    for c in (
        EnvConfig,
        RolloutsConfig,
        WMVAEConfig,
        LatentsConfig,
        WMMDNRNNConfig,
        WMControllerConfig,
        EvaluateConfig,
    )
}


def needs_agent(rollouts: RolloutsConfig) -> bool:
    """Whether the agent of an earlier run drives in some of the rollouts."""
    return rollouts.policy == "agent" or (rollouts.policy == "mixture" and bool(rollouts.mixture.get("agent")))
