"""The gymnasium environments that a process plays: made once, checked at every reset and step, and reset for episodes.

Whatever an environment raises or gives that it should not ends with one line that names it, see `user_code`.
"""

import dataclasses
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from worldmodels.envs import reuse
from worldmodels.envs.actions import ActionCodec
from worldmodels.envs.making import RAISED, InterfaceError, close_env, is_rendered, make_gymnasium
from worldmodels.envs.pictures import PictureError, Pictures, describe_value
from worldmodels.runtime.config import EnvConfig
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.log import log
from worldmodels.runtime.user_errors import user_code

LARGEST = float(np.finfo(np.float32).max)


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
            except InterfaceError as error:
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
        self.time_limit = time_limit_in_steps(env.spec.max_episode_steps, config)  # type: ignore[union-attr,arg-type]
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
            close_env(member.env)
        self.played = False


def time_limit_in_steps(max_episode_steps: int, env: EnvConfig) -> int:
    """Return the longest episode in steps. A step is env.frame_skip of the environment's own steps."""
    return -(-max_episode_steps // env.frame_skip)


def action_space(env: EnvConfig) -> gym.Space:
    """The environment's action space."""
    instances = Instances(env)
    instances.close()
    return instances.space
