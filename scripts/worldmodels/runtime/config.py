"""Every key of the workflow: name, type, default, bounds and meaning, in one place.

The Snakefile builds these dataclasses from config.yaml before any job starts. The command-line flags of the programs
are generated from them, too. So a value is checked by the same rules wherever it comes from.
`make config` writes them to config.yaml and docs/configuration.md.

Importing this module must stay cheap (no torch, no numpy): every dry run does it.
"""

import math
from dataclasses import dataclass

from worldmodels.runtime.cma_options import check_cma
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.paths import default_logdir
from worldmodels.runtime.settings import BUDGET, COUNT, RUNTIME, Section, elsewhere, extra, setting, suited

# CarRacing-v3 has other actions with these arguments, which its defaults do not suit.
DISCRETE = {"continuous": False}
LANES = {"environment": 16, "dream": 64}  # in which a worker steps episodes, by ctrl.world
REFIT = "agent"  # as ctrl.start: the C of rollouts.agent, refit by the rule refit_controller
POLICY_NAMES = ("random", "brownian", "ou", "agent")

# Help texts of settings that V's and M's training share.
NUM_TEST_FILES = "Number of rollouts, the last ones, that form the validation set. 0: no validation set."
SCHEDULER_PATIENCE = "Epochs without improvement before the learning rate drops."
SCHEDULER_FACTOR = "Factor by which the learning rate drops."
EARLY_STOPPING_PATIENCE = "Epochs without improvement before training stops."
NORELOAD = "Start over, even where a saved state could be continued."


@dataclass
class RunConfig(Section):
    """Shared by all stages."""

    seed: int = setting(1, "Seed of everything random in the run.", low=0)
    device: str = setting(
        "auto", "auto, cpu, cuda or cuda:N. auto: a GPU where there is one.", role=RUNTIME, metavar="DEVICE"
    )
    logdir: str = setting(
        None,
        "Folder of models, logs, figures and eval.json. null: results/<environment>, as results/carracing.",
        role=RUNTIME,
        suited={"": None},
        metavar="DIR",
    )
    data_dir: str = setting(
        None, "Folder of the rollouts. null: <logdir>/rollouts.", role=RUNTIME, suited={"": None}, metavar="DIR"
    )
    tensorboard: bool = setting(
        True,
        "Write the curves of every stage to <logdir>/tensorboard, where the tensorboard package is installed. "
        "See docs/watching.md.",
        role=RUNTIME,
    )
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
    prefix = "env-"  # distinguishes them from the flags of the stages
    id: str = setting(
        "CarRacing-v3", "Gymnasium id of the environment, or module:id. See `import` for the module.", metavar="ID"
    )
    kwargs: dict = setting({}, "Keyword arguments for gymnasium.make.")
    import_: str = setting(
        "",
        "Package or module that registers the environment. It is installed, or lies in the working directory.",
        metavar="MODULE",
    )
    height: int = setting(
        64,
        "Height of the frames that V sees, pixels. ConvVAE takes two multiples of 16 that are both at least 64, or "
        "else two multiples of 8 that are both at least 32.",
        low=1,
    )
    width: int = setting(64, "Width of the frames that V sees, pixels. See height.", low=1)
    crop: list[int] = setting(
        [],
        "Pixels that are cut off the environment's pictures before they are resized: [top, bottom, left, right]. "
        "[]: none.",
        low=0,
    )
    grey: bool = setting(False, "Frames in grey: one channel instead of three.")
    frame_skip: int = setting(
        1,
        "How many steps of the environment an action lasts. The workflow counts each action as one step, except in "
        "max_episode_steps.",
        low=1,
    )
    max_episode_steps: int = setting(
        0,
        "Longest episode, in the environment's own steps. An action takes frame_skip of them. "
        "0: as the environment is registered.",
        low=0,
    )
    frames: str = setting(
        "auto",
        "Source of the pictures. observation: what reset and step return. render: what render() returns. "
        "auto: the observations if they are pictures, else render. "
        "Choose render if the observations look like pictures and are codes, as of a board game.",
        choices=("auto", "observation", "render"),
    )
    backend: str = setting(
        "auto",
        "What steps the environment during rollouts and controller training. "
        "auto: envpool where it is installed and knows the environment, else gymnasium. "
        "With import, kwargs or rendered frames auto means gymnasium. The official test always runs in gymnasium.",
        choices=("auto", "gymnasium", "envpool"),
    )
    reuse: str = setting(
        "auto",
        "Whether an environment of gymnasium plays several episodes, with reset(seed=...) between them. "
        "never: each episode gets a new environment. auto: never with Box2D, or if two short episodes show that a "
        "reset keeps something of the past, else always.",
        choices=("auto", "always", "never"),
    )
    instances: int = setting(
        0,
        "Most environments of gymnasium that a process keeps open. Further episodes wait. "
        "0: one environment for each episode that is played side by side. "
        "For a simulator that allows a single instance, set 1 and run on one core.",
        low=0,
        role=RUNTIME,
    )

    def validate(self) -> bool:
        """Check all values, see Section.validate."""
        super().validate()
        if len(self.crop) not in (0, 4):
            raise UserError(f"env.crop: expected [top, bottom, left, right] or [], found {self.crop}")
        return True

    @property
    def modules(self) -> dict[str, str]:
        """The modules that register the environment, by key: `import`, and the module in `id`."""
        by_key = {"env.import": self.import_, "env.id": self.id.rpartition(":")[0]}
        return {key: module for key, module in by_key.items() if module}


def reason_against_envpool(env: EnvConfig) -> str:
    """Return the setting that EnvPool cannot satisfy, or "" if there is none."""
    if env.kwargs:
        return "env.kwargs"
    return "env.frames: render" if env.frames == "render" else ""


def is_gymnasium_certain(env: EnvConfig) -> bool:
    """Return whether the configuration excludes EnvPool, installed or not. envs.choose_backend looks further."""
    wants_gymnasium = bool(reason_against_envpool(env) or env.import_)
    return env.backend == "gymnasium" or (env.backend == "auto" and wants_gymnasium)


@dataclass
class RolloutsConfig(Section):
    """Rollouts: episodes under random policies, or under the agent of an earlier run."""

    section = "rollouts"
    num_rollouts: int = setting(
        128, "Number of episodes that V and M learn from. With source: at most this number.", low=1, role=COUNT
    )
    shard_size: int = setting(16, "Episodes per job. The last job collects the rest of num_rollouts.", low=1)
    seq_len: int = setting(1000, "Longest episode, actions.", low=2)
    source: str = setting(
        "",
        "Folder of episodes that others made, to learn from instead of collecting: .npz files, or a Minari dataset. "
        "See docs/sharing.md.",
        role=RUNTIME,
        metavar="DIR",
    )
    source_frames: str = setting(
        "before",
        "Which frame stands beside an action in the files of source. before: the frame before the action. "
        "after: the frame after it, as ctallec/world-models and Dreamer write.",
        choices=("before", "after"),
    )
    policy: str = setting(
        "mixture",
        "Who chooses the actions. random: action_space.sample(). brownian: a random walk in the action space. "
        "ou: Ornstein-Uhlenbeck noise around ou_mean. agent: the trained agent of another run. "
        "mixture: each episode draws one of these policies. "
        "With discrete actions, brownian and ou take the action whose walk or noise is highest.",
        choices=(*POLICY_NAMES, "mixture"),
    )
    env_name: str = elsewhere("CarRacing-v3", "env.id")
    env_kwargs: dict = elsewhere({}, "env.kwargs")
    mixture: dict = suited(
        {"CarRacing-v3": {"ou": 0.8, "brownian": 0.1, "random": 0.1}},
        {"ou": 0.5, "random": 0.5},
        "Weights of the policies in the mixture.",
    )
    ou_mean: list[float] = suited(
        {"CarRacing-v3": [0.0, 0.3, -0.2]},
        [],
        "Mean of each action under ou, in the environment's units. []: the middle of the bounds.",
        unless=DISCRETE,
    )
    ou_sigma: list[float] = suited(
        {"CarRacing-v3": [0.4, 0.3, 0.2]},
        [],
        "Standard deviation of each action under ou, in the environment's units. []: a quarter of the range.",
        unless=DISCRETE,
    )
    ou_theta: float = setting(0.1, "Rate at which ou returns to its mean, per step.", above=0.0, high=1.0)
    agent: str = setting(
        "", "logdir of the run, or package, whose agent drives under the policy agent.", role=RUNTIME, metavar="PATH"
    )
    agent_noise: float = setting(
        0.5,
        "Largest factor with which ou's noise is added to the agent's actions. Each episode draws its factor from 0 "
        "to this number.",
        low=0.0,
    )
    gymnasium_share: float = setting(
        0.125,
        "Share of the episodes that gymnasium renders while EnvPool collects the others, so that V knows the pictures "
        "of both.",
        low=0.0,
        high=1.0,
    )
    compress: bool = setting(True, "Deflate the .npz files: about 7 times smaller, 0.1 ms per frame.")

    def validate(self) -> bool:
        """Check all values, see Section.validate."""
        super().validate()
        if self.policy == "mixture":
            check_mixture(self.mixture)
        return True


def check_mixture(mixture: dict) -> None:
    """Raise UserError if rollouts.mixture is not weights of policies."""
    are_names = set(mixture) <= set(POLICY_NAMES)
    are_weights = all(
        type(weight) in (int, float) and math.isfinite(weight) and weight >= 0 for weight in mixture.values()
    )
    if not (are_names and are_weights and any(mixture.values())):
        names = ", ".join(POLICY_NAMES)
        raise UserError(f"rollouts.mixture: expected positive, finite weights of {names}, found {mixture}")


@dataclass
class WMVAEConfig(Section):
    """V, the ConvVAE."""

    section = "vae"
    height: int = elsewhere(64, "env.height")
    width: int = elsewhere(64, "env.width")
    model: str = setting(
        "ConvVAE",
        "The network: ConvVAE, or module:Class of your own. Your module is installed, or lies in the working "
        "directory. See docs/extending.md.",
        metavar="NETWORK",
    )
    latent_size: int = setting(32, "Size of z.", low=1)
    device: str = elsewhere("auto", "device")
    train_batch_size: int = setting(
        64, "Images per batch. With 64 instead of 32, a CPU trains a sixth more images per second.", low=1
    )
    start: str = setting(
        "",
        'Where training starts. "": at random weights. A file (.tar, .pt, .pth or .safetensors): at the weights in '
        "this checkpoint, such as a published one. A folder or .zip: at the V of this run or package.",
        role=RUNTIME,
        metavar="PATH",
    )
    num_epochs: int = setting(8, "Most epochs. 0: V keeps the weights of start.", low=0, role=BUDGET)
    images_per_epoch: int = setting(16384, "Images per epoch, drawn anew for each epoch. 0: all images.", low=0)
    data_dir: str = elsewhere("results/carracing/rollouts", "data_dir")
    num_test_files: int = setting(8, NUM_TEST_FILES, low=0)
    learning_rate: float = setting(1e-3, "Learning rate of Adam.", above=0.0)
    beta: float = setting(
        1.0,
        "Weight of the KL term. Choose a smaller weight where pictures differ little. "
        "latent_size / (3 * height * width) makes both terms means: per number of z, and per pixel value. With the "
        "default sizes this is 0.0026.",
        low=0.0,
    )
    logdir: str = elsewhere("results/carracing", "logdir")
    noreload: bool = setting(False, NORELOAD, role=RUNTIME)
    nosamples: bool = setting(False, "Write no images of samples and reconstructions.", role=RUNTIME)
    scheduler_patience: int = setting(5, SCHEDULER_PATIENCE, low=0)
    scheduler_factor: float = setting(0.5, SCHEDULER_FACTOR, above=0.0, high=0.999)
    early_stopping_patience: int = setting(30, EARLY_STOPPING_PATIENCE, low=1)
    sample_interval: int = setting(5, "Epochs between sample images.", low=1, role=RUNTIME)
    memory_gb: float = setting(
        8.0,
        "Most memory for frames, GB. If they do not fit, they are streamed from disk, in another random order.",
        above=0.0,
    )
    extra: dict = extra()

    @property
    def modules(self) -> dict[str, str]:
        """The module:Class of a user's own network, by key; empty for ConvVAE."""
        return user_network_modules(self.model)


def user_network_modules(model: str) -> dict[str, str]:
    """Return {"vae.model": model} if vae.model names a user's own network, else {}."""
    return {"vae.model": model} if ":" in model else {}


@dataclass
class LatentsConfig(Section):
    """Latents: V's codes of all frames, which M learns from."""

    section = "latents"
    precompute_latents: bool = setting(
        True, "Encode all frames once, before M's training. false: V encodes each batch during M's training."
    )
    encode_batch_size: int = setting(
        256, "Frames per batch of the encoder. It may change the last bits of the codes.", low=1
    )


@dataclass
class WMMDNRNNConfig(Section):
    """M, the MDN-RNN."""

    section = "mdrnn"
    latent_size: int = elsewhere(32, "V's checkpoint (set vae.latent_size)")
    action_size: int = elsewhere(3, "the rollouts")
    cell: str = setting("lstm", "Kind of the recurrent cell: lstm or gru.", choices=("lstm", "gru"))
    hidden_size: int = setting(256, "Units per layer of the LSTM or GRU.", low=1)
    num_layers: int = setting(1, "Layers of the LSTM or GRU. C sees the state of the last layer.", low=1)
    gmm_components: int = setting(5, "Gaussians in the mixture.", low=1)
    device: str = elsewhere("auto", "device")
    batch_size: int = setting(
        32,
        "Sequences per batch. With 32 instead of 16, training takes a fifth less time, and the loss after 6 epochs is "
        "1.041 instead of 1.040.",
        low=1,
    )
    seq_len: int = setting(32, "Actions per sequence, at most rollouts.seq_len.", low=2)
    start: str = setting(
        "",
        "Where training starts, as vae.start: at random weights, or at the M of a checkpoint, run or package.",
        role=RUNTIME,
        metavar="PATH",
    )
    num_epochs: int = setting(
        30, "Most epochs. 0: M keeps its first weights, which are random, or the weights of start.", low=0, role=BUDGET
    )
    data_dir: str = elsewhere("results/carracing/rollouts", "data_dir")
    num_test_files: int = setting(8, NUM_TEST_FILES, low=0)
    learning_rate: float = setting(1e-3, "Learning rate of RMSprop (alpha 0.9).", above=0.0)
    grad_clip: float = setting(1.0, "Largest norm of the gradient.", above=0.0)
    logdir: str = elsewhere("results/carracing", "logdir")
    noreload: bool = setting(False, NORELOAD, role=RUNTIME)
    include_reward: bool = setting(True, "Learn to predict the reward.")
    terminal_weight: float = setting(
        1.0,
        "Weight of the terminal's loss. Endings are rare, so this loss is small beside the loss of the latents. A "
        "larger weight makes M learn endings sooner, and overfit them sooner. See docs/dreams.md.",
        low=0.0,
    )
    scheduler_patience: int = setting(5, SCHEDULER_PATIENCE, low=0)
    scheduler_factor: float = setting(0.5, SCHEDULER_FACTOR, above=0.0, high=0.999)
    early_stopping_patience: int = setting(30, EARLY_STOPPING_PATIENCE, low=1)
    extra: dict = extra()


@dataclass
class WMControllerConfig(Section):
    """C, the controller: CMA-ES, then evolution strategies."""

    section = "ctrl"
    world: str = setting(
        "environment",
        "Where the candidates are evaluated and the mean is validated. environment: in the environment. "
        "dream: in M's dreams. The official test is always in the environment.",
        choices=("environment", "dream"),
    )
    temperature: float = setting(
        1.0,
        "Temperature of the dreams. The logits of the mixture are divided by it, and sigma is multiplied by its square "
        "root. 1: as M predicts. More: a less certain world. 0: no randomness.",
        low=0.0,
    )
    latent_size: int = elsewhere(32, "V's checkpoint (set vae.latent_size)")
    hidden_size: int = elsewhere(256, "M's checkpoint (set mdrnn.hidden_size)")
    action_size: int = elsewhere(3, "M's checkpoint")
    env_name: str = elsewhere("CarRacing-v3", "env.id")
    env_kwargs: dict = elsewhere({}, "env.kwargs")
    logdir: str = elsewhere("results/carracing", "logdir")
    features: str = setting(
        "zh",
        "What C sees. z: V's code. h: M's hidden state. c: the state of M's LSTM cells.",
        choices=("z", "h", "zh", "zhc"),
    )
    hidden: list[int] = setting([], "Widths of C's hidden layers (tanh), as [40]. []: C is linear.", low=1)
    squash: list[str] = suited(
        {"CarRacing-v3": ["tanh", "tanh", "clip_tanh"]},
        [],
        "How an output of C becomes a continuous action: one entry for all actions, or one entry per action. "
        "tanh: tanh, scaled to the bounds. clip_tanh: tanh, clipped to the bounds. "
        "clip: the output, clipped to the bounds. []: tanh where there are bounds, else clip.",
        unless=DISCRETE,
        choices=("tanh", "clip_tanh", "clip"),
    )
    pop_size: int = setting(64, "Candidates per generation. The paper has 64, too.", low=2)
    n_samples: int = setting(
        1,
        "Episodes per candidate and generation. The paper has 16. "
        "On common tracks, one episode gives the most information per step.",
        low=1,
    )
    sample_growth: int = setting(
        0,
        "Each time this number of environment steps is played, candidates play one more episode per generation. "
        "Hard tracks are rare, and more episodes meet them more often. 0: never.",
        low=0,
    )
    common_tracks: bool = setting(True, "All candidates of a generation drive the same tracks (common random numbers).")
    hard_share: float = setting(
        0.0,
        "Share of the common tracks, rounded down, that is redrawn from the last 40 tracks. The probability of a track "
        "grows with how badly the candidates drove there. It needs at least 2 episodes per candidate.",
        low=0.0,
        high=1.0,
    )
    start: str = setting(
        "",
        'Where the search starts. "": at parameters of 0. A file: at the C in this checkpoint (.tar). A folder or '
        ".zip: at the C of this run or package. agent: at the C of rollouts.agent, refit to the V and M of this run. "
        "With the top-level key agent: at the C of that agent, whose V and M the run has, too, so nothing is refit.",
        role=RUNTIME,
        metavar="PATH",
    )
    sigma0: float = setting(0.1, "First step size of CMA-ES.", above=0.0)
    ascent_after: int = setting(
        1000000,
        "Evolution strategies replace CMA-ES after ascent_after * n_samples environment steps, and start from its "
        "average. CMA-ES uses only the ranks of the candidates, so it prefers fast driving to safe driving. Evolution "
        "strategies (Salimans et al., 2017) also use how much a crash costs. 0: never.",
        low=0,
    )
    ascent_rate: float = setting(
        2.0,
        "Learning rate of evolution strategies. Their step size is sigma0, or the last one of CMA-ES if that is "
        "smaller.",
        above=0.0,
    )
    cma: dict = setting(
        {}, "Options of pycma that shape CMA-ES, as {CMA_diagonal: true}. docs/extending.md lists them."
    )
    num_generations: int = setting(1000, "Most generations.", low=1, role=BUDGET)
    max_env_steps: int = setting(
        2500000, "Most steps of the environment or of dreams, see world. 0: no limit.", low=0, role=BUDGET
    )
    target_return: float = suited(
        {"CarRacing-v3": 950.0}, None, "Stop once the validated mean return reaches this return.", role=BUDGET
    )
    average: float = setting(
        0.25,
        "The mean of the distribution is averaged over the last generations, this share of them. The average is "
        "validated and saved. 0: the last mean alone.",
        low=0.0,
        high=1.0,
    )
    validation_interval: int = setting(4, "Generations between validations of the mean.", low=1)
    validation_episodes: int = setting(16, "Tracks of each validation, always the same.", low=1)
    time_limit: int = suited(
        {"CarRacing-v3": 1000}, 0, "Longest episode, actions. 0: as the environment has it.", low=0
    )
    stall_limit: int = suited(
        {"CarRacing-v3": 30},
        0,
        "Steps without a positive reward after which an episode ends. The episode is charged as if it had gone on like "
        "this to its time limit. 0: never.",
        low=0,
    )
    lanes: int = setting(
        0,
        "Episodes that a worker steps side by side as one batch. A worker gets at least this many episodes. Another "
        "number changes C, so choose it before the first run. "
        "0: 16 in the environment, 64 in dreams.",
        low=0,
    )
    workers: str = setting(
        "processes",
        "processes: on this machine. mpi: the ranks of an MPI job, on many machines.",
        choices=("processes", "mpi"),
        role=RUNTIME,
    )
    max_workers: int = setting(32, "Most workers.", low=1, role=RUNTIME)
    display: bool = setting(True, "Show progress bars on a terminal.", role=RUNTIME)
    noreload: bool = setting(False, NORELOAD, role=RUNTIME)
    extra: dict = extra()

    def __post_init__(self) -> None:
        super().__post_init__()
        self.lanes = self.lanes or LANES[self.world]

    def validate(self) -> bool:
        """Check all values, see Section.validate."""
        super().validate()
        check_cma(self.cma, self.pop_size)
        if self.hard_share and not self.common_tracks:
            raise UserError(f"ctrl.hard_share: expected 0 where common_tracks is off, found {self.hard_share:g}")
        return True


@dataclass
class EvaluateConfig(Section):
    """The official test, in gymnasium, on held-out tracks."""

    section = "evaluate"
    num_episodes: int = setting(32, "Held-out tracks of the official test.", low=1)
    shards: int = setting(
        1, "Jobs that share the test, for a cluster. Another number of jobs plays the test again.", low=1, role=RUNTIME
    )


SECTIONS = {
    cls.section: cls
    for cls in (
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
    """Return whether the agent of an earlier run drives in some of the rollouts."""
    return rollouts.policy == "agent" or (rollouts.policy == "mixture" and bool(rollouts.mixture.get("agent")))
