"""The gymnasium environments that a process plays: made once, checked at every reset and step, and reset for episodes.

Whatever an environment raises or gives that it should not ends with one line that names it, see `user_code`.
"""

import dataclasses
import logging
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from worldmodels import reuse, users
from worldmodels.actions import ActionCodec
from worldmodels.config import EnvConfig
from worldmodels.pictures import PictureError, Pictures, are_codes, describe_value, is_image
from worldmodels.settings import UserError
from worldmodels.user_code import describe_error, user_code

log = logging.getLogger("worldmodels")

RAISED = "env.id: the environment"
LARGEST = float(np.finfo(np.float32).max)
OWN_WRAPPERS = (gym.wrappers.PassiveEnvChecker, gym.wrappers.OrderEnforcing, gym.wrappers.TimeLimit)


def make_gymnasium(env: EnvConfig) -> gym.Env:
    """Make the environment; one whose pictures are rendered, see env.frames, gets the render mode rgb_array.

    Raises:
        UserError: it cannot be made, shows no pictures, has a kind of actions that is not known, or never ends.
    """
    for key, module in env.modules.items():
        try:
            users.load(module)
        except (ImportError, SystemExit) as error:
            reason = describe_error(error.__cause__ or error)
            raise UserError(f"{key}: expected a module to import, found {module!r} ({reason})") from error
    before = set(sys.modules)
    made = start(env, {"render_mode": "rgb_array"} if env.frames == "render" else {})
    if is_rendered(env, made) and made.render_mode != "rgb_array":
        close(made)
        made = start(env, {"render_mode": "rgb_array"})
    check_pictures(env, made)
    if made.spec is None or made.spec.max_episode_steps is None:
        raise UserError(f"env.max_episode_steps: expected a number, since {env.id} is registered without, found 0")
    ActionCodec(made.action_space)
    users.report_uncounted({cls.__module__ for cls in type(made.unwrapped).__mro__} | set(sys.modules) - before)
    return made


def start(env: EnvConfig, options: dict) -> gym.Env:
    """gymnasium.make with env.kwargs and these options, with the answers' form checked below gymnasium's wrappers."""
    if env.max_episode_steps:
        options["max_episode_steps"] = env.max_episode_steps
    options = {"disable_env_checker": True, **env.kwargs, **options}  # the checks here say more
    with user_code(RAISED):
        try:
            made = gym.make(env.id, **options)
        except (gym.error.Error, ModuleNotFoundError) as error:
            if isinstance(error, ModuleNotFoundError) and "Environment registration via" not in str(error):
                raise
            reason = " ".join(str(error).split()) + unknown_hint(env, error)
            raise UserError(f"env.id: expected an environment that can be made, found {env.id!r} ({reason})") from error
        except TypeError as error:
            if "unexpected keyword argument" not in str(error) or not env.kwargs:
                raise
            reason = str(error.__cause__ or error)
            raise UserError(
                f"env.kwargs: expected arguments that {env.id!r} can be made with, found {env.kwargs} ({reason})"
            ) from error
        _ = made.observation_space, made.action_space, made.metadata  # some environments forget one of them
    above, below = None, made
    while type(below) in OWN_WRAPPERS:
        above, below = below, below.env
    if above is None:
        return FormCheck(below)
    above.env = FormCheck(below)
    return made


def unknown_hint(env: EnvConfig, error: Exception) -> str:
    """What a user may have forgotten if gymnasium does not know the environment."""
    if not isinstance(error, (gym.error.NameNotFound, gym.error.NamespaceNotFound)):
        return ""
    if env.import_:
        return f"; {env.import_} was imported and does not register it"
    return "; env.import names the module that registers it, such as ale_py for ALE/Pong-v5"


def close(env: gym.Env) -> None:
    """Close an environment; one that cannot be closed is nobody's loss and told in a log line."""
    try:
        with user_code(f"{RAISED}'s close()"):
            env.close()
    except UserError as error:
        log.info("%s; ignored", error)


def is_rendered(env: EnvConfig, made: gym.Env) -> bool:
    """Whether pictures are rendered: with env.frames: auto, if observations are none, or codes that can be rendered."""
    if env.frames != "auto":
        return env.frames == "render"
    space = made.observation_space
    return not is_image(space) or (are_codes(space) and "rgb_array" in render_modes(made))


def render_modes(env: gym.Env) -> list:
    return (env.metadata or {}).get("render_modes") or []


def check_pictures(env: EnvConfig, made: gym.Env) -> None:
    """Raise UserError if the environment has no pictures, with what was found and what would do."""
    space = made.observation_space
    if "rgb_array" in render_modes(made) if is_rendered(env, made) else is_image(space):
        return
    text = str(space) if len(str(space)) <= 120 else f"{str(space)[:120]}..."
    found = f"found observations {text} and the render modes {render_modes(made)} in {env.id}"
    advice = "a wrapper of yours, in a module that env.import names, can give either"
    if isinstance(space, gym.spaces.Box) and len(space.shape) == 3 and space.shape[0] in (1, 3):
        advice = "the channels come first: a wrapper, in a module that env.import names, can put them last"
    if env.frames == "render":
        raise UserError(f"env.frames: expected the render mode rgb_array, {found}")
    if env.frames == "observation":
        what = "env.frames: expected observations"
    else:
        what = "env.id: expected the render mode rgb_array or observations"
    images = "that are pictures, Box(0, 255, (H, W, 3 or 1), uint8), Box(0, 255, (H, W), uint8) or Box(0, 1, (H, W, 3"
    raise UserError(f"{what} {images} or 1), float), {found}; {advice}")


class FormError(Exception):
    """reset or step broke gymnasium's interface. The arguments: what was expected, from which call, what was found."""


class FormCheck(gym.Wrapper):
    """Sees that reset and step return tuples of two and five, before gymnasium's own wrappers unpack them."""

    def __getattr__(self, name: str) -> Any:  # wrappers above may reach for what is the environment's own
        if name == "env":  # not set yet
            raise AttributeError(name)
        return getattr(self.env, name)

    @property
    def spec(self):
        return self.env.spec

    def reset(self, **options: Any):
        try:
            result = self.env.reset(**options)
        except TypeError as error:
            if "unexpected keyword argument" not in str(error) or error.__traceback__.tb_next is not None:
                raise
            raise FormError("(observation, info)", "reset(seed=...)", str(error)) from error
        if not isinstance(result, tuple) or len(result) != 2:
            raise FormError("(observation, info)", "reset(seed=...)", describe_value(result))
        return result

    def step(self, action: Any):
        result = self.env.step(action)
        if not isinstance(result, tuple) or len(result) != 5:
            expected = "(observation, reward, terminated, truncated, info)"
            raise FormError(expected, "step()", describe_value(result))
        return result


class Instance:
    """One environment, whose answers are checked and converted, and whose errors name it."""

    def __init__(self, config: EnvConfig, env: gym.Env, pictures: Pictures) -> None:
        self.config, self.env, self.pictures = config, env, pictures
        self.seed, self.steps = 0, 0

    def reset(self, seed: int) -> np.ndarray:
        """Start the episode of this seed; its first frame."""
        self.seed, self.steps = seed, 0
        observation, _ = self.call(self.env.reset, seed=seed)
        return self.frame(observation)

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool]:
        """env.frame_skip of the environment's steps: the last frame, the sum of rewards, terminated, truncated."""
        total = 0.0
        for _ in range(self.config.frame_skip):
            self.steps += 1
            observation, reward, terminated, truncated, _ = self.call(self.env.step, action)
            total += self.number(reward)
            ended, cut = self.flag("terminated", terminated), self.flag("truncated", truncated)
            if ended or cut:
                break
        return self.frame(observation), total, ended, cut

    def call(self, function: Any, *arguments: Any, **options: Any) -> Any:
        with user_code(RAISED):
            try:
                return function(*arguments, **options)
            except FormError as error:
                raise self.error(*error.args) from error.__cause__

    def frame(self, observation: Any) -> np.ndarray:
        value = self.call(self.env.render) if self.pictures.rendered else observation
        try:
            return self.pictures.read(value)
        except PictureError as error:
            source = "render()" if self.pictures.rendered else "the observations"
            raise self.error(error.expected, source, error.found) from None

    def number(self, reward: Any) -> float:
        """A reward as a float; numpy's and torch's scalars and arrays of one element are numbers, too."""
        try:
            value = float(reward.item() if hasattr(reward, "item") else reward)
        except (TypeError, ValueError, RuntimeError):
            raise self.error("a number as reward", "step()", describe_value(reward)) from None
        if isinstance(reward, (str, bytes)) or not abs(value) <= LARGEST:  # nor NaN
            raise self.error("a finite number as reward", "step()", describe_value(reward))
        return value

    def flag(self, name: str, value: Any) -> bool:
        single = value.item() if getattr(value, "size", 0) == 1 else value
        if not isinstance(single, (bool, int, np.bool_)) or single not in (0, 1):
            raise self.error(f"True or False as {name}", "step()", describe_value(value))
        return bool(single)

    def error(self, expected: str, source: str, found: str) -> UserError:
        when = f"at step {self.steps} of the episode" if self.steps else "at reset"
        place = f"{source} of {self.config.id} {when} with seed {self.seed}"
        return UserError(f"env.id: expected {expected} from {place}, found {found}")


class Instances:
    """The environments of one configuration that this process keeps, see env.instances and env.reuse.

    The first one is made at once and tells what all have in common. After an error they are not closed: a library that
    could not draw may end the process there, before the error is told.

    Attributes:
        config: in which env.frames is settled, and env.reuse once they play.
        space: the actions. codec: of these. limit: the longest episode, steps.
        members: those alive.
    """

    def __init__(self, config: EnvConfig) -> None:
        self.members: list[Instance] = []
        self.played = False
        env = make_gymnasium(config)
        space, render = env.observation_space, is_rendered(config, env)
        self.config = dataclasses.replace(config, frames="render" if render else "observation")
        self.pictures = Pictures(None if render else space)  # type: ignore[arg-type]
        self.space, self.codec = env.action_space, ActionCodec(env.action_space)
        self.limit = steps_of(env.spec.max_episode_steps, config)  # type: ignore[union-attr,arg-type]
        self.members.append(Instance(self.config, env, self.pictures))

    def prepare(self, count: int) -> int:
        """Make environments, at most `count` and env.instances, and return how many episodes play side by side.

        Where a further one cannot be made, for example of a simulator that owns a port, episodes wait for their turn.
        """
        self.close_used()  # first, or those made now would be closed with them
        most = min(count, self.config.instances or count)
        while len(self.members) < most:
            try:
                self.add()
            except UserError as error:
                if not self.members:
                    raise
                most = len(self.members)
                self.config = dataclasses.replace(self.config, instances=most)
                log.warning("%s; the other episodes wait for their turn", error)
        return most

    def take(self, count: int) -> list[Instance]:
        """Return `count` environments, for one episode each."""
        self.close_used()
        while len(self.members) < count:
            self.add()
        self.played = True
        return self.members[:count]

    def close_used(self) -> None:
        """Close the environments that have played, unless they may play again."""
        self.settle_reuse()
        if self.played and self.config.reuse == "never":
            self.close()  # all of them: a close() that shuts a library down would break those still playing

    def settle_reuse(self) -> None:
        """Find out what env.reuse: auto means; for an environment with a memory, say what it keeps."""
        if self.config.reuse != "auto":
            return
        if not self.members:
            self.add()
        remembers = reuse.is_built_on_box2d(self.members[0].env)
        if not remembers:
            numbers = torch.from_numpy(np.random.default_rng(1).normal(size=(reuse.STEPS, self.codec.size)))
            actions = [self.codec.decode(vector) for vector in self.codec.snap(numbers).float().numpy()]
            self.played = True
            if memory := reuse.find_memory(self.members[0], actions):
                remembers = True
                log.info(
                    "env.reuse: each episode gets a new %s, since a reset does not forget all: %s",
                    self.config.id, memory,
                )  # fmt: skip
        self.config = dataclasses.replace(self.config, reuse="never" if remembers else "always")
        for member in self.members:
            member.config = self.config

    def add(self) -> None:
        try:
            env = make_gymnasium(self.config)
        except UserError as error:
            if not self.members:
                raise
            hint = f"{error}; {len(self.members)} play in this process already: env.instances limits them"
            raise UserError(hint) from error.__cause__
        self.members.append(Instance(self.config, env, self.pictures))

    def close(self) -> None:
        members, self.members = self.members, []
        for member in members:
            close(member.env)
        self.played = False


def steps_of(max_episode_steps: int, env: EnvConfig) -> int:
    """Return the longest episode in steps. A step is env.frame_skip of the environment's own steps."""
    return -(-max_episode_steps // env.frame_skip)


def action_space(env: EnvConfig) -> gym.Space:
    """The environment's action space."""
    instances = Instances(env)
    instances.close()
    return instances.space
