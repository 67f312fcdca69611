"""Every knob of the workflow: name, type, default, bounds and meaning, in one place.

The Snakefile builds these dataclasses from config.yaml before any job starts, and the command-line
flags of the scripts are generated from them, so a value is checked once and by the same rules wherever
it comes from. `cd scripts && python -m worldmodels.config` prints them as config.yaml.

Field names and defaults are those of the specification's tables (WMVAEConfig, WMMDNRNNConfig,
WMControllerConfig); a help text says so where a measured better default replaced one.
Importing this module must stay cheap (no torch, no numpy): every dry run does it.
"""

import base64
import dataclasses
import json
import math
import os
import re
import textwrap
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldmodels.cma_options import check_cma
from worldmodels.settings import (
    BUDGET,
    COUNT,
    RESULT,
    RUNTIME,
    Section,
    UserError,
    elsewhere,
    extra,
    key,
    nearest,
    option,
    settable,
    suited,
    to_text,
)


@dataclass
class RunConfig(Section):
    """Shared by all stages."""

    seed: int = option(1, "seed of everything random in the run", low=0)
    device: str = option("auto", "auto, cpu, cuda or cuda:N; auto takes a GPU where there is one", role=RUNTIME)
    logdir: str = option(
        None,
        "where models, logs, figures and eval.json go. null: results/<environment>, as results/carracing",
        role=RUNTIME,
        suited={"": None},
    )
    data_dir: str = option(None, "where the rollouts go. null: <logdir>/rollouts", role=RUNTIME, suited={"": None})
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
    id: str = option(
        "CarRacing-v3", "Gymnasium id of the environment, or module:id, where the module is found as `import` is"
    )
    kwargs: dict = option({}, "keyword arguments for gymnasium.make")
    import_: str = option(
        "", "package or module that registers the environment; found where it is installed or in the working directory"
    )
    height: int = option(
        64,
        "height of the frames that V sees, pixels; ConvVAE takes 32, 40, 48, 56, 64, 80, 96, 112, 128, ...",
        low=1,
    )
    width: int = option(64, "width of the frames that V sees, pixels, as the height", low=1)
    grey: bool = option(False, "frames in grey: one channel instead of three")
    frame_skip: int = option(
        1, "the environment's steps that an action lasts; all that the workflow calls a step is one action", low=1
    )
    max_episode_steps: int = option(
        0, "longest episode, the environment's own steps; 0: as the environment is registered", low=0
    )
    frames: str = option(
        "auto",
        "where pictures come from; observation: what reset and step return; render: what render() returns; auto: "
        "observations that are pictures, else rendering. Ask for rendering if observations look like pictures and are "
        "the codes of a board",
        choices=("auto", "observation", "render"),
    )
    backend: str = option(
        "auto",
        "what steps the environment during rollouts and controller training; auto: envpool where it is installed and "
        "knows the environment, unless import, kwargs or rendered frames ask for gymnasium; else gymnasium. The "
        "official test always runs in gymnasium",
        choices=("auto", "gymnasium", "envpool"),
    )
    reuse: str = option(
        "auto",
        "whether an environment of gymnasium plays one episode after another, with reset(seed=...) between; never: "
        "each episode gets a new one; auto: always, unless two short episodes before the first show that a reset does "
        "not forget all that was before, or it is built on Box2D, where that cannot be seen",
        choices=("auto", "always", "never"),
    )
    instances: int = option(
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
    num_rollouts: int = option(128, "episodes to learn V and M from; exactly so many are collected", low=1, role=COUNT)
    shard_size: int = option(32, "episodes a job collects; the last job collects what is left of num_rollouts", low=1)
    seq_len: int = option(1000, "longest episode, steps", low=2)
    policy: str = option(
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
    ou_theta: float = option(0.1, "how fast ou forgets, 1/step", above=0.0, high=1.0)
    agent: str = option("", "logdir of the run whose agent drives under the policy agent", role=RUNTIME)
    agent_noise: float = option(
        0.5, "largest share of ou's noise on the agent's actions; each episode draws its own from 0 to this", low=0.0
    )
    gymnasium_share: float = option(
        0.125,
        "share of the episodes that gymnasium renders although EnvPool collects, so that V knows both pictures",
        low=0.0,
        high=1.0,
    )
    compress: bool = option(True, "deflate the .npz files (about 7 times smaller, 0.1 ms a frame)")

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
    model: str = option(
        "ConvVAE",
        "the network: ConvVAE, or module:Class of your own, found where it is installed or in the working directory; "
        "see docs/extending.md",
    )
    latent_size: int = option(32, "size of z", low=1)
    device: str = elsewhere("auto", "device")
    train_batch_size: int = option(
        64, "images a batch (specification: 32; 64 trains a sixth more images a second on a CPU)", low=1
    )
    num_epochs: int = option(8, "epochs at most (specification: 10)", low=1, role=BUDGET)
    images_per_epoch: int = option(16384, "images drawn afresh for each epoch; 0: all of them", low=0)
    data_dir: str = elsewhere("results/carracing/rollouts", "data_dir")
    num_test_files: int = option(8, "last rollouts held out for validation; 0: train on all", low=0)
    learning_rate: float = option(1e-3, "Adam's learning rate", above=0.0)
    beta: float = option(
        1.0,
        "weight of the KL term; less where pictures differ little. latent_size / (3 * height * width), 0.0026 here, "
        "would put both terms on one scale",
        low=0.0,
    )
    logdir: str = elsewhere("results/carracing", "logdir")
    noreload: bool = option(False, "start over even if a saved state could be continued", role=RUNTIME)
    nosamples: bool = option(False, "write no sample and reconstruction images", role=RUNTIME)
    scheduler_patience: int = option(5, "epochs without improvement before the learning rate drops", low=0)
    scheduler_factor: float = option(0.5, "what the learning rate is multiplied with then", above=0.0, high=0.999)
    early_stopping_patience: int = option(30, "epochs without improvement before training stops", low=1)
    sample_interval: int = option(5, "epochs between sample images", low=1, role=RUNTIME)
    memory_gb: float = option(
        8.0,
        "frames are held in memory up to this, GB, else streamed from disk, in another random order",
        above=0.0,
    )
    extra: dict = extra()

    @property
    def modules(self) -> dict[str, str]:
        """The user's own network, module:Class, by key; none for ConvVAE."""
        return own_network(self.model)


def own_network(model: str) -> dict[str, str]:
    """The network of a V, as vae.model names it, by key, if it is the user's own."""
    return {"vae.model": model} if ":" in model else {}


@dataclass
class LatentsConfig(Section):
    """Latents: V's codes of all frames, which M learns from."""

    section = "latents"
    precompute_latents: bool = option(
        True, "encode all frames once, before M is trained; false: V encodes each of M's batches on the fly"
    )
    encode_batch_size: int = option(
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
    cell: str = option("lstm", "lstm or gru", choices=("lstm", "gru"))
    hidden_size: int = option(256, "units of a layer of the LSTM or GRU", low=1)
    num_layers: int = option(1, "layers of the LSTM or GRU; C is shown the last one's state", low=1)
    gmm_components: int = option(5, "Gaussians in the mixture", low=1)
    device: str = elsewhere("auto", "device")
    batch_size: int = option(
        32,
        "sequences a batch (specification: 16; 32 takes a fifth less time, loss 1.041, not 1.040, after 6 epochs)",
        low=1,
    )
    seq_len: int = option(32, "steps a sequence", low=2)
    num_epochs: int = option(30, "epochs at most; 0: M keeps its first, random weights", low=0, role=BUDGET)
    data_dir: str = elsewhere("results/carracing/rollouts", "data_dir")
    num_test_files: int = option(8, "last rollouts held out for validation; 0: train on all", low=0)
    learning_rate: float = option(1e-3, "RMSprop's learning rate (alpha 0.9)", above=0.0)
    grad_clip: float = option(1.0, "largest norm of the gradient", above=0.0)
    logdir: str = elsewhere("results/carracing", "logdir")
    noreload: bool = option(False, "start over even if a saved state could be continued", role=RUNTIME)
    include_reward: bool = option(True, "learn to predict the reward")
    scheduler_patience: int = option(5, "epochs without improvement before the learning rate drops", low=0)
    scheduler_factor: float = option(0.5, "what the learning rate is multiplied with then", above=0.0, high=0.999)
    early_stopping_patience: int = option(30, "epochs without improvement before training stops", low=1)
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
    features: str = option(
        "zh",
        "what C is shown: z, V's code; h, M's hidden state; c, the state of M's LSTM cells",
        choices=("z", "h", "zh", "zhc"),
    )
    hidden: list[int] = option([], "widths of C's hidden layers (tanh), as [40]; empty: C is linear", low=1)
    squash: list[str] = suited(
        {"CarRacing-v3": ["tanh", "tanh", "clip_tanh"]},
        [],
        "how each output of the controller becomes a continuous action, one entry for all or one an action; tanh: tanh "
        "scaled to the bounds; clip_tanh: tanh clipped to them; clip: the bare output clipped to them; empty: tanh "
        "where there are bounds, else clip",
        unless=DISCRETE,
        choices=("tanh", "clip_tanh", "clip"),
    )
    pop_size: int = option(64, "candidates a generation (specification: 10; the paper: 64)", low=2)
    n_samples: int = option(
        1, "episodes a candidate (specification: 4, the paper: 16; with common tracks one teaches most per step)", low=1
    )
    sample_growth: int = option(
        0,
        "one episode a candidate more after every so many environment steps, for the tracks that are rarely hard; "
        "0: never",
        low=0,
    )
    common_tracks: bool = option(True, "all candidates of a generation meet the same tracks (common random numbers)")
    hard_share: float = option(
        0.0,
        "share of a generation's common tracks, rounded down, that are drawn from the last 40 of them, the more often "
        "the worse the candidates drove there; it takes 2 episodes a candidate or more",
        low=0.0,
        high=1.0,
    )
    sigma0: float = option(0.1, "CMA-ES's first step size", above=0.0)
    ascent_after: int = option(
        400000,
        "environment steps, times n_samples, after which CMA-ES gives way to ascent of the expected return (evolution "
        "strategies), around its average; CMA-ES only asks who was better, which is the fastest who got round, not who "
        "fails least. 0: never",
        low=0,
    )
    ascent_rate: float = option(
        1.0,
        "how far that goes in a generation; its step size stays at sigma0, or what CMA-ES left if that is smaller",
        above=0.0,
    )
    cma: dict = option({}, "options of pycma that shape CMA-ES, as {CMA_diagonal: true}; docs/extending.md lists them")
    num_generations: int = option(1000, "generations at most", low=1, role=BUDGET)
    max_env_steps: int = option(1000000, "environment steps at most; 0: no limit", low=0, role=BUDGET)
    target_return: float = suited(
        {"CarRacing-v3": 950.0}, None, "stop once the validated mean return reaches this", role=BUDGET
    )
    average: float = option(
        0.25,
        "share of the generations, the last ones, over which the distribution's mean is averaged before it is "
        "validated and saved; 0: the last mean alone",
        low=0.0,
        high=1.0,
    )
    validation_interval: int = option(4, "generations between validations of the mean", low=1)
    validation_episodes: int = option(16, "fixed tracks a validation runs", low=1)
    time_limit: int = suited({"CarRacing-v3": 1000}, 0, "longest episode, steps; 0: as the environment has it", low=0)
    stall_limit: int = suited(
        {"CarRacing-v3": 30},
        0,
        "end an episode after so many steps without a positive reward, charged as if it had stalled on; 0: never",
        low=0,
    )
    lanes: int = option(
        16, "episodes a worker steps side by side as one batch; also the smallest piece of work a worker gets", low=1
    )
    workers: str = option(
        "processes",
        "processes: on this machine; mpi: on the ranks of an MPI job, over many machines",
        choices=("processes", "mpi"),
        role=RUNTIME,
    )
    max_workers: int = option(32, "workers at most", low=1, role=RUNTIME)
    display: bool = option(True, "show progress bars on a terminal", role=RUNTIME)
    noreload: bool = option(False, "start over even if a saved state could be continued", role=RUNTIME)
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
    num_episodes: int = option(32, "held-out tracks of the official test", low=1)
    shards: int = option(1, "jobs that the test is split into, for a cluster", low=1, role=RUNTIME)


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


def load(config: dict) -> types.SimpleNamespace:
    """The checked configuration: `.seed`, `.logdir`, ... and one dataclass a section.

    Args:
        config: what config.yaml holds; sections and keys left out take their defaults.

    Raises:
        UserError: an unknown key, a wrong type, a value out of bounds.
    """
    top = {f.name for f in settable(RunConfig)}
    for given in config:
        if given not in top and given not in SECTIONS:
            raise UserError(f"{given}: unknown key in the configuration{nearest(given, [*top, *SECTIONS])}")
    env = section_of(config, EnvConfig)
    run = RunConfig(**{k: v for k, v in config.items() if k in top}, env_name=env.id)
    run.logdir, run.data_dir = normal_path(run.logdir, "logdir"), normal_path(run.data_dir, "data_dir")
    loaded = types.SimpleNamespace(run=run, **run.to_dict())
    for name, cls in SECTIONS.items():
        setattr(loaded, name, section_of(config, cls, env))
    if loaded.rollouts.agent:
        loaded.rollouts.agent = normal_path(loaded.rollouts.agent, "rollouts.agent")
    check_together(loaded)
    return loaded


def section_of(config: dict, cls: type[Section], env: EnvConfig | None = None) -> Any:
    """A section from the part of the configuration that is named like it; its defaults suit the environment."""
    name, values = cls.section, config.get(cls.section, {})
    if not isinstance(values, dict):
        raise UserError(f"{name}: expected a section with keys, found {values!r}")
    fields = {key(f): f for f in dataclasses.fields(cls)}
    for given in values:
        if given not in fields:
            raise UserError(f"{name}.{given}: unknown key{nearest(given, fields)}")
        if fields[given].metadata["home"]:
            raise UserError(f"{name}.{given}: not set here, it comes from {fields[given].metadata['home']}")
    of_env = {"env_name": env.id, "env_kwargs": env.kwargs} if env else {}
    of_env = {name: value for name, value in of_env.items() if name in fields}
    return cls(**{fields[given].name: value for given, value in values.items()}, **of_env)


CODED = "base64//"  # begins a value that is written in base64


def for_jobs(entry: str) -> str:
    """An entry of --config as it may be passed on to the jobs of a cluster.

    Snakemake quotes it for their shell as Python would, which breaks backslashes and single quotes.
    """
    name, _, text = entry.partition("=")
    if repr(entry) == f"'{entry}'":
        return entry
    return f"{name}={CODED}{base64.b64encode(text.encode()).decode()}"


def command_line(entries: list[str]) -> dict:
    """What `--config key=value ...` says, each value read as YAML, quotes and types included.

    Snakemake's own reading loses the quotes and leaves nested values as text.

    Raises:
        UserError: a value that begins as YAML does, with a brace, bracket or quote, is none.
    """
    import yaml  # which comes with Snakemake; programs have no need of it

    values: dict = {}
    for entry in entries:
        name, _, text = entry.partition("=")
        if text.startswith(CODED):
            text = base64.b64decode(text.removeprefix(CODED)).decode()
        try:
            value = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError) as error:  # a ValueError: the 30th of February
            if text.lstrip()[:1] in ("{", "[", '"', "'"):
                problem = str(getattr(error, "problem", None) or error)
                raise UserError(f"{name}: expected YAML, found {text!r} ({problem}); quote text in it") from None
            value = text
        merge(values, {name: value})
    return values


def merge(config: dict, values: dict) -> None:
    """Overwrite the configuration with these values; of a mapping only the keys that are given."""
    for name, value in values.items():
        if isinstance(value, dict) and isinstance(config.get(name), dict):
            merge(config[name], value)
        else:
            config[name] = value


def normal_path(path: str, name: str) -> str:
    """The one spelling of a folder: relative if it lies in the working directory, else absolute.

    Snakemake keeps its records by a path's spelling. Symbolic links are kept, except where a `..` follows one.

    Args:
        name: the key in the configuration.

    Raises:
        UserError: the path has braces, which mark Snakemake's wildcards, or begins with a dash, as flags do.
    """
    for sign in "{}":
        if sign in path:
            raise UserError(
                f"{name}: expected a path without braces, which Snakemake takes for wildcards, found {path!r}"
            )
    absolute = os.path.abspath(os.path.expanduser(path))
    if ".." in Path(path).parts and os.path.realpath(path) != os.path.realpath(absolute):
        absolute = os.path.realpath(path)
    normal = within(absolute, os.getcwd())
    if normal.startswith("-"):
        raise UserError(f"{name}: expected a path that does not begin with a dash, found {path!r}")
    return normal


def within(absolute: str, folder: str) -> str:
    """The path relative to the folder if it lies in it, under whatever name of the folder; else as it is."""
    path = Path(absolute)
    for parent in (path, *path.parents):
        if str(parent) == folder or (parent.exists() and os.path.samefile(parent, folder)):
            return str(path.relative_to(parent))
    return absolute


def input_name(path: str | Path) -> str:
    """A small input's name in the summary of what was made from it, wherever the run lies.

    `vae/best.json`, `latents/latents_32.json`, or of rollouts, which may lie anywhere, `00001.json`.
    """
    path = Path(path)
    return path.name if re.fullmatch(r"\d{5}\.json", path.name) else f"{path.parent.name}/{path.name}"


def default_logdir(env_id: str) -> str:
    """results/carracing for CarRacing-v3, results/pong for ALE/Pong-v5 and for my_package:Pong-v5."""
    return f"results/{re.sub(r'-v[0-9]+$', '', re.split('[/:]', env_id)[-1]).lower()}"


def check_together(loaded: types.SimpleNamespace) -> None:
    """What no key can check alone."""
    there, longest = loaded.rollouts.num_rollouts, loaded.rollouts.seq_len
    for name in ("vae", "mdrnn"):
        held_out = getattr(loaded, name).num_test_files
        if held_out >= there:
            raise UserError(f"{name}.num_test_files: expected fewer than the {there} rollouts, found {held_out}")
    if needs_agent(loaded.rollouts) and not loaded.rollouts.agent:
        raise UserError("rollouts.agent: expected the logdir of an earlier run, whose agent is to drive, found none")
    if needs_agent(loaded.rollouts) and Path(loaded.rollouts.agent).resolve() == Path(loaded.logdir).resolve():
        raise UserError(f"rollouts.agent: expected another run's logdir, found this run's own, {loaded.logdir}")
    if loaded.mdrnn.seq_len > longest:
        raise UserError(f"mdrnn.seq_len: expected at most rollouts.seq_len, {longest}, found {loaded.mdrnn.seq_len}")
    if loaded.mdrnn.cell == "gru" and "c" in loaded.ctrl.features:
        raise UserError("ctrl.features: expected z, h or zh, since a GRU (mdrnn.cell) has no c, found 'zhc'")
    if loaded.vae.model != "ConvVAE" and not all(loaded.vae.model.partition(":")):
        raise UserError(f"vae.model: expected ConvVAE or module:Class, found {loaded.vae.model!r}")
    check_size(loaded)
    if loaded.evaluate.shards > loaded.evaluate.num_episodes:
        raise UserError(
            f"evaluate.shards: expected at most evaluate.num_episodes, {loaded.evaluate.num_episodes}, "
            f"found {loaded.evaluate.shards}"
        )
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps", loaded.device):
        raise UserError(f"device: expected auto, cpu, cuda or cuda:N, found {loaded.device!r}")


def check_size(loaded: types.SimpleNamespace) -> None:
    """Whether the built-in V takes the frames' size: its layers halve it until a few pixels are left."""
    if loaded.vae.model != "ConvVAE":
        return
    step, least = (16, 64) if min(loaded.env.height, loaded.env.width) >= 64 else (8, 32)
    for name in ("height", "width"):
        size = getattr(loaded.env, name)
        if size < least or size % step:
            raise UserError(
                f"env.{name}: expected 32, 40, 48 or 56, or, both sides, 64, 80, 96, 112, 128, ... for ConvVAE, "
                f"found {size}"
            )


def idle(section: Section, loaded: types.SimpleNamespace) -> set[str]:
    """The names of the fields that cannot change the result of their stage under the present configuration.

    Args:
        section: one of the configuration's, or a variant of it.
        loaded: the configuration.
    """
    conditions = {
        RolloutsConfig: idle_in_rollouts,
        WMVAEConfig: idle_in_vae,
        WMMDNRNNConfig: idle_in_mdrnn,
        WMControllerConfig: idle_in_ctrl,
    }
    if type(section) not in conditions:
        return set()
    return {name for name, without_effect in conditions[type(section)](section, loaded).items() if without_effect}


def idle_in_rollouts(rollouts: RolloutsConfig, loaded: types.SimpleNamespace) -> dict[str, bool]:
    def plays(policy: str) -> bool:
        return rollouts.policy == policy or (rollouts.policy == "mixture" and bool(rollouts.mixture.get(policy)))

    noise = plays("ou") or (plays("agent") and rollouts.agent_noise > 0)  # the agent's noise is ou's around 0
    return {
        "mixture": rollouts.policy != "mixture",
        "ou_mean": not plays("ou"),
        "ou_sigma": not noise,
        "ou_theta": not noise,
        "agent_noise": not plays("agent"),
        "gymnasium_share": is_gymnasium_certain(loaded.env),
    }


def idle_in_schedule(section: WMVAEConfig | WMMDNRNNConfig) -> dict[str, bool]:
    """The epochs' fields: a rate drops, and training stops, at the earliest after as many epochs as the patience."""
    rate = section.scheduler_patience >= section.num_epochs
    return {
        "scheduler_patience": rate,
        "scheduler_factor": rate,
        "early_stopping_patience": section.early_stopping_patience >= section.num_epochs,
    }


def idle_in_vae(vae: WMVAEConfig, loaded: types.SimpleNamespace) -> dict[str, bool]:
    frame = loaded.env.height * loaded.env.width * (1 if loaded.env.grey else 3)
    frames = loaded.rollouts.num_rollouts * loaded.rollouts.seq_len
    return {**idle_in_schedule(vae), "memory_gb": frames * frame <= vae.memory_gb * 1e9}


def idle_in_mdrnn(mdrnn: WMMDNRNNConfig, loaded: types.SimpleNamespace) -> dict[str, bool]:
    untrained = not mdrnn.num_epochs
    return {**idle_in_schedule(mdrnn), "learning_rate": untrained, "grad_clip": untrained}


def idle_in_ctrl(ctrl: WMControllerConfig, loaded: types.SimpleNamespace) -> dict[str, bool]:
    def never(steps: int) -> bool:
        return not steps or 0 < ctrl.max_env_steps <= steps

    constant = never(ctrl.sample_growth)
    return {
        "sample_growth": constant,
        "hard_share": constant and not int(ctrl.hard_share * ctrl.n_samples),
        "ascent_after": never(ctrl.ascent_after * ctrl.n_samples),
        "ascent_rate": never(ctrl.ascent_after * ctrl.n_samples),
    }


def counting(section: Section, loaded: types.SimpleNamespace) -> list[str]:
    """The names of the fields whose new value makes the stage stale."""
    without_effect = idle(section, loaded)
    roles = (RESULT, BUDGET)
    return [f.name for f in settable(type(section)) if f.metadata["role"] in roles and f.name not in without_effect]


def needs_agent(rollouts: RolloutsConfig) -> bool:
    """Whether the agent of an earlier run drives in some of the rollouts."""
    return rollouts.policy == "agent" or (rollouts.policy == "mixture" and bool(rollouts.mixture.get("agent")))


def agent_network(logdir: str) -> str | None:
    """The network of an earlier run's V, as its vae/best.json has it; None if that does not say."""
    try:
        return json.loads(Path(logdir, "vae/best.json").read_text(encoding="utf-8")).get("model")
    except (OSError, ValueError, AttributeError):
        return None


def shard_name(shard: int | str) -> str:
    return f"{shard:0>5}"


def shard_files(data_dir: str | Path, shard: int | str, shard_size: int) -> list[str]:
    """The rollout files of a whole shard: <data_dir>/<shard>_<number in the shard>.npz."""
    return [f"{data_dir}/{shard_name(shard)}_{i:04d}.npz" for i in range(shard_size)]


def rollout_files(data_dir: str | Path, num_rollouts: int, shard_size: int) -> list[str]:
    """The first num_rollouts files, in the order of their episodes: what V and M learn from."""
    shards = range(num_shards(num_rollouts, shard_size))
    return [file for shard in shards for file in shard_files(data_dir, shard, shard_size)][:num_rollouts]


def num_shards(num_rollouts: int, shard_size: int) -> int:
    """Return the number of shards; the last one is smaller where shard_size does not divide num_rollouts."""
    return -(-num_rollouts // shard_size)


def as_yaml() -> str:
    """All sections with their defaults, each key under its help: what config.yaml ships."""

    def entry(f: dataclasses.Field, indent: str) -> list[str]:
        default = f.default if f.default is not dataclasses.MISSING else f.default_factory()  # type: ignore[misc]
        comment = textwrap.wrap(
            f.metadata["help"], 110, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}#   "
        )
        text = '""' if default == "" else to_text(default)
        return [*comment, f"{indent}{key(f)}: {text}"]

    lines = [
        "# Every knob of the workflow, with its default. Written by: cd scripts && python -m worldmodels.config",
        "",
    ]
    for f in settable(RunConfig):
        lines += entry(f, "")
    for name, cls in SECTIONS.items():
        lines += ["", *textwrap.wrap(cls.__doc__ or "", 110, initial_indent="# ", subsequent_indent="# "), f"{name}:"]
        for f in settable(cls):
            lines += entry(f, "  ")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(as_yaml(), end="")
