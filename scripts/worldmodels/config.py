"""Every knob of the workflow: name, type, default, bounds and meaning, in one place.

The Snakefile builds these dataclasses from config.yaml before any job starts, and the command-line
flags of the scripts are generated from them, so a value is checked once and by the same rules wherever
it comes from. Importing this module must stay cheap (no torch, no numpy): every dry run does it.

Field names and defaults are those of the specification's tables (WMVAEConfig, WMMDNRNNConfig,
WMControllerConfig); where a measured better default replaced one, config.yaml says so.
"""

import argparse
import dataclasses
import difflib
import json
import math
import shlex
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin


class UserError(Exception):
    """A mistake the user can mend: its message names the file or key, what was expected, what was found."""


# How a field takes part in staleness.
RESULT = "result"  # changes the stage's result: a new value makes the stage stale
BUDGET = "budget"  # how long to go on: a new value makes the stage stale, but it continues from its saved state
RUNTIME = "runtime"  # cannot change a result: never makes anything stale
ELSEWHERE = "elsewhere"  # a field of the specification that is configured in another section, or read from a file


def option(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    choices: tuple | None = None,
    role: str = RESULT,
    home: str = "",
) -> Any:
    """A dataclass field with its documentation, its bounds (low <= value <= high, value > above) and its role."""
    metadata = dict(help=help, low=low, above=above, high=high, choices=choices, role=role, home=home)
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def elsewhere(default: Any, home: str) -> Any:
    """A field of the specification whose value comes from `home`, not from this section."""
    return option(default, f"comes from {home}", role=ELSEWHERE, home=home)


def extra() -> Any:
    return option({}, "additional parameters of your own, kept with the configuration and readable as its attributes")


@dataclass
class Section:
    """Base of all sections: checks its values when built; keys of `extra` read like attributes."""

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            setattr(self, f.name, check(f, getattr(self, f.name), f"{self.section}.{f.name}".lstrip(".")))

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__.get("extra", {})
        if name in values:
            return values[name]
        raise AttributeError(f"{type(self).__name__} has no field {name!r}")

    def to_dict(self) -> dict:
        return dataclasses.asdict(self)


@dataclass
class RunConfig(Section):
    """Top-level keys, shared by all stages."""

    section = ""
    seed: int = option(1, "seed of everything random in the run", low=0)
    device: str = option("auto", "auto, cpu, cuda or cuda:N; auto takes a GPU where there is one", role=RUNTIME)
    logdir: str = option("results/carracing", "where models, logs, figures and eval.json go", role=RUNTIME)
    data_dir: str = option("results/carracing/rollouts", "where the rollouts go", role=RUNTIME)


@dataclass
class EnvConfig(Section):
    section = "env"
    id: str = option("CarRacing-v3", "Gymnasium id of the environment")
    kwargs: dict = option({}, "keyword arguments for gymnasium.make")
    height: int = option(64, "height of the frames that V sees, pixels", low=64, high=64)
    width: int = option(64, "width of the frames that V sees, pixels", low=64, high=64)
    backend: str = option(
        "auto",
        "what steps the environment during rollouts and controller training; auto: envpool where it is installed and "
        "knows the environment, else gymnasium. The official test always runs in gymnasium",
        choices=("auto", "gymnasium", "envpool"),
    )


@dataclass
class RolloutsConfig(Section):
    section = "rollouts"
    num_rollouts: int = option(128, "episodes to learn V and M from", low=1, role=RUNTIME)
    shard_size: int = option(32, "episodes a job collects; whole shards are collected", low=1)
    seq_len: int = option(1000, "longest episode, steps", low=2)
    policy: str = option(
        "mixture",
        "random: action_space.sample(); brownian: a random walk in the action space; "
        "ou: Ornstein-Uhlenbeck noise around ou_mean; mixture: each episode draws one of them",
        choices=("random", "brownian", "ou", "mixture"),
    )
    mixture: dict = option({"ou": 0.8, "brownian": 0.1, "random": 0.1}, "weights of the policies in the mixture")
    ou_mean: list[float] = option(
        [0.0, 0.3, -0.2], "where ou pulls each action to, in the environment's units; empty: the middle of the bounds"
    )
    ou_sigma: list[float] = option(
        [0.4, 0.3, 0.2], "standard deviation of each action under ou; empty: a quarter of the range"
    )
    ou_theta: float = option(0.1, "how fast ou forgets, 1/step", above=0.0, high=1.0)
    gymnasium_share: float = option(
        0.125,
        "share of the episodes that gymnasium renders although EnvPool collects, so that V knows both pictures",
        low=0.0,
        high=1.0,
    )
    compress: bool = option(True, "deflate the .npz files (about 7 times smaller, 0.1 ms a frame)")


@dataclass
class WMVAEConfig(Section):
    section = "vae"
    height: int = elsewhere(64, "env.height")
    width: int = elsewhere(64, "env.width")
    latent_size: int = option(32, "size of z", low=1)
    device: str = elsewhere("auto", "device")
    train_batch_size: int = option(64, "images a batch", low=1)
    num_epochs: int = option(10, "epochs at most", low=1, role=BUDGET)
    images_per_epoch: int = option(16384, "images drawn afresh for each epoch; 0: all of them", low=0)
    data_dir: str = elsewhere("results/carracing/rollouts", "data_dir")
    num_test_files: int = option(8, "last rollouts held out for validation; 0: train on all", low=0)
    learning_rate: float = option(1e-3, "Adam's learning rate", above=0.0)
    beta: float = option(
        1.0,
        "weight of the KL term. latent_size / (3 * height * width), 0.0026 here, would put both terms on one scale",
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
        8.0, "frames are held in memory up to this, else streamed from disk, GB", above=0.0, role=RUNTIME
    )
    extra: dict = extra()


@dataclass
class LatentsConfig(Section):
    section = "latents"
    precompute_latents: bool = option(
        True, "encode all frames once, before M is trained; false: V encodes each of M's batches on the fly"
    )
    encode_batch_size: int = option(256, "frames encoded at a time", low=1, role=RUNTIME)


@dataclass
class WMMDNRNNConfig(Section):
    section = "mdrnn"
    latent_size: int = elsewhere(32, "V's checkpoint (set vae.latent_size)")
    action_size: int = elsewhere(3, "the rollouts")
    hidden_size: int = option(256, "units of the LSTM", low=1)
    gmm_components: int = option(5, "Gaussians in the mixture", low=1)
    device: str = elsewhere("auto", "device")
    batch_size: int = option(32, "sequences a batch", low=1)
    seq_len: int = option(32, "steps a sequence", low=2)
    num_epochs: int = option(30, "epochs at most", low=1, role=BUDGET)
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
    section = "ctrl"
    latent_size: int = elsewhere(32, "V's checkpoint (set vae.latent_size)")
    hidden_size: int = elsewhere(256, "M's checkpoint (set mdrnn.hidden_size)")
    action_size: int = elsewhere(3, "M's checkpoint")
    env_name: str = elsewhere("CarRacing-v3", "env.id")
    logdir: str = elsewhere("results/carracing", "logdir")
    squash: list[str] = option(
        ["tanh", "tanh", "clip_tanh"],
        "how each output of the controller becomes an action, one entry for all or one an action; tanh: tanh scaled to "
        "the bounds; clip_tanh: tanh clipped to them; clip: the bare output clipped to them",
        choices=("tanh", "clip_tanh", "clip"),
    )
    pop_size: int = option(64, "candidates a generation", low=2)
    n_samples: int = option(1, "episodes a candidate", low=1)
    common_tracks: bool = option(True, "all candidates of a generation meet the same tracks (common random numbers)")
    sigma0: float = option(0.1, "CMA-ES's first step size", above=0.0)
    num_generations: int = option(1000, "generations at most", low=1, role=BUDGET)
    max_env_steps: int = option(900000, "environment steps at most; 0: no limit", low=0, role=BUDGET)
    target_return: float = option(950.0, "stop once the validated mean return reaches this", role=BUDGET)
    validation_interval: int = option(4, "generations between validations of the distribution's mean", low=1)
    validation_episodes: int = option(16, "fixed tracks a validation runs", low=1)
    time_limit: int = option(1000, "longest episode, steps", low=1)
    stall_limit: int = option(
        30, "end an episode after so many steps without reward, charged as if it had stalled on; 0: never", low=0
    )
    lanes: int = option(
        16, "episodes a worker steps side by side as one batch; also the smallest piece of work a worker gets", low=1
    )
    max_workers: int = option(32, "worker processes at most", low=1, role=RUNTIME)
    display: bool = option(True, "show progress bars on a terminal", role=RUNTIME)
    noreload: bool = option(False, "start over even if a saved state could be continued", role=RUNTIME)
    extra: dict = extra()


@dataclass
class EvaluateConfig(Section):
    section = "evaluate"
    num_episodes: int = option(32, "held-out tracks of the official test", low=1)


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


def check(f: dataclasses.Field, value: Any, name: str) -> Any:
    """The value as the field's type, or UserError naming the key, what was expected and what was found."""
    meta, kind = f.metadata, get_origin(f.type) or f.type
    expected = kind.__name__ if not get_args(f.type) else f"list of {get_args(f.type)[0].__name__}"
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        hint = ""
        if isinstance(value, str) and kind in (int, float):
            hint = " (YAML reads 1e-3 as text: write 1.0e-3)" if "e" in value.lower() else ""
        raise UserError(f"{name}: expected {expected}, found {value!r}{hint}")
    if kind is list:
        item = get_args(f.type)[0]
        value = [float(v) if item is float and type(v) is int else v for v in value]
        for v in value:
            if type(v) is not item:
                raise UserError(f"{name}: expected a {expected}, found {v!r} in it")
    for v in value if kind is list else [value]:
        if meta["choices"] and v not in meta["choices"]:
            raise UserError(f"{name}: expected one of {', '.join(meta['choices'])}, found {v!r}{nearest(v, meta['choices'])}")
        if kind is float and not math.isfinite(v):
            raise UserError(f"{name}: expected a finite number, found {v}")
        for bound, words in (("low", "at least"), ("high", "at most"), ("above", "more than")):
            limit = meta[bound]
            if limit is None:
                continue
            if (bound == "low" and v < limit) or (bound == "high" and v > limit) or (bound == "above" and v <= limit):
                raise UserError(f"{name}: expected {words} {limit}, found {v}")
    return value


def nearest(word: Any, known: Any) -> str:
    close = difflib.get_close_matches(str(word), list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def settable(cls: type[Section]) -> list[dataclasses.Field]:
    """The fields that are configured in this section."""
    return [f for f in dataclasses.fields(cls) if f.metadata["role"] != ELSEWHERE]


def load(config: dict) -> types.SimpleNamespace:
    """The checked configuration: `.seed`, `.logdir`, ... and one dataclass a section.

    Args:
        config: what config.yaml holds; sections and keys left out take their defaults.

    Raises:
        UserError: an unknown key, a wrong type, a value out of bounds.
    """
    top = {f.name for f in dataclasses.fields(RunConfig)}
    for key in config:
        if key not in top and key not in SECTIONS:
            raise UserError(f"{key}: unknown key in the configuration{nearest(key, [*top, *SECTIONS])}")
    run = RunConfig(**{k: v for k, v in config.items() if k in top})
    loaded = types.SimpleNamespace(run=run, **run.to_dict())
    for name, cls in SECTIONS.items():
        values = config.get(name, {})
        if not isinstance(values, dict):
            raise UserError(f"{name}: expected a section with keys, found {values!r}")
        homes = {f.name: f.metadata["home"] for f in dataclasses.fields(cls)}
        for key in values:
            if key not in homes:
                raise UserError(f"{name}.{key}: unknown key{nearest(key, homes)}")
            if homes[key]:
                raise UserError(f"{name}.{key}: not set here, it comes from {homes[key]}")
        setattr(loaded, name, cls(**values))
    return loaded


def flag(cls: type[Section], name: str) -> str:
    """The command-line flag of a field; those of `env` carry the prefix, to stay clear of the stages' own."""
    prefix = "env-" if cls is EnvConfig else ""
    return f"--{prefix}{name.replace('_', '-')}"


def to_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def options(section: Section, roles: tuple[str, ...] = (RESULT, BUDGET)) -> str:
    """The section as shell-quoted `--flag value` pairs, sorted: one value, one spelling, whatever YAML said."""
    pairs = {
        flag(type(section), f.name): to_text(getattr(section, f.name))
        for f in settable(type(section))
        if f.metadata["role"] in roles
    }
    return " ".join(f"{name} {shlex.quote(value)}" for name, value in sorted(pairs.items()))


def result_values(section: Section) -> dict:
    """The section's values that shape its result, as a checkpoint keeps them: no paths, no devices."""
    return {f.name: getattr(section, f.name) for f in settable(type(section)) if f.metadata["role"] == RESULT}


def parse_text(f: dataclasses.Field, text: str, name: str) -> Any:
    if f.type is str:
        return check(f, text, name)
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    return check(f, value, name)


def add_flags(parser: argparse.ArgumentParser, cls: type[Section]) -> None:
    """Add one flag a field, with the field's help, default and checks."""

    def reader(f: dataclasses.Field, name: str):
        def read(text: str) -> Any:
            try:
                return parse_text(f, text, name)
            except UserError as error:
                raise argparse.ArgumentTypeError(str(error).removeprefix(f"{name}: ")) from None

        return read

    group = parser.add_argument_group(f"options of {cls.section or 'the run'}")
    for f in settable(cls):
        default = f.default if f.default is not dataclasses.MISSING else f.default_factory()
        name = flag(cls, f.name)
        group.add_argument(
            name,
            dest=f"{cls.section}.{f.name}",
            type=reader(f, name),
            default=default,
            metavar="|".join(f.metadata["choices"]) if f.metadata["choices"] else "VALUE",
            help=f"{f.metadata['help']} (default: {to_text(default)})".replace("%", "%%"),
        )


def from_args(args: argparse.Namespace, cls: type[Section], **others: Any) -> Any:
    """The dataclass from parsed flags; `others` are the fields configured elsewhere."""
    return cls(**{f.name: getattr(args, f"{cls.section}.{f.name}") for f in settable(cls)}, **others)


def shard_name(shard: int | str) -> str:
    return f"{shard:0>5}"


def shard_files(data_dir: str | Path, shard: int | str, shard_size: int) -> list[str]:
    """The rollout files of a shard: <data_dir>/<shard>_<number in the shard>.npz."""
    return [f"{data_dir}/{shard_name(shard)}_{i:04d}.npz" for i in range(shard_size)]


def rollout_files(data_dir: str | Path, num_rollouts: int, shard_size: int) -> list[str]:
    """The first num_rollouts files, in the order of their episodes: what V and M learn from."""
    shards = range(num_shards(num_rollouts, shard_size))
    return [file for shard in shards for file in shard_files(data_dir, shard, shard_size)][:num_rollouts]


def num_shards(num_rollouts: int, shard_size: int) -> int:
    return -(-num_rollouts // shard_size)
