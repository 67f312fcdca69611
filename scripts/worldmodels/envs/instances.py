"""The gymnasium environments that a process plays in.

They are made once, checked at every reset and step, and reset for further episodes where env.reuse allows it. An
environment that raises an error or breaks gymnasium's interface ends the program with one line that names it.
"""

import dataclasses
import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from worldmodels.envs import reuse
from worldmodels.envs.actions import ActionCodec
from worldmodels.envs.first_start import first_start
from worldmodels.envs.making import RAISED, InterfaceError, close_env, is_rendered, make_gymnasium
from worldmodels.envs.pictures import PictureError, Pictures, describe_value
from worldmodels.runtime.config import EnvConfig
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.log import log
from worldmodels.runtime.user_errors import user_code

LARGEST = float(np.finfo(np.float32).max)


class Instance:
    """One environment. Its results are checked and converted, and its errors name it.

    Args:
        config: the environment's configuration.
        env: the environment.
        pictures: converts its pictures to frames.

    Attributes:
        seed, steps: of the present episode, for messages.
        started: whether an episode has begun.
    """

    def __init__(self, config: EnvConfig, env: gym.Env, pictures: Pictures) -> None:
        self.config, self.env, self.pictures = config, env, pictures
        self.seed, self.steps, self.started = 0, 0, False

    def reset(self, seed: int) -> np.ndarray:
        """Start the episode of this seed, and return its first frame, uint8."""
        self.seed, self.steps = seed, 0
        is_first = not self.started and bool(self.config.modules)
        with first_start() if is_first else nullcontext():
            observation, _ = self.call(self.env.reset, seed=seed)
        self.started = True
        return self.read_frame(observation)

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool]:
        """Take env.frame_skip of the environment's steps, fewer if the episode ends.

        Returns:
            The last frame, the sum of the rewards, terminated, truncated.

        Raises:
            UserError: the environment raised an error or broke gymnasium's interface.
        """
        total = 0.0
        for _ in range(self.config.frame_skip):
            self.steps += 1
            observation, reward, terminated, truncated, _ = self.call(self.env.step, action)
            total += self.read_reward(reward)
            terminated = self.read_flag("terminated", terminated)
            truncated = self.read_flag("truncated", truncated)
            if terminated or truncated:
                break
        return self.read_frame(observation), total, terminated, truncated

    def call(self, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        """Call a function of the environment. An error in it becomes a UserError that names the environment."""
        with user_code(RAISED):
            try:
                return function(*arguments, **keywords)
            except InterfaceError as error:
                raise self.error(*error.args) from error.__cause__

    def read_frame(self, observation: Any) -> np.ndarray:
        """Return the frame after a reset or step: the observation, or what the environment renders."""
        value = self.call(self.env.render) if self.pictures.rendered else observation
        try:
            return self.pictures.read(value)
        except PictureError as error:
            source = "render()" if self.pictures.rendered else "the observations"
            raise self.error(error.expected, source, error.found) from None

    def read_reward(self, reward: Any) -> float:
        """Return a reward as a float. Scalars and arrays of one element, numpy's and torch's, are numbers too."""
        try:
            value = float(reward.item() if hasattr(reward, "item") else reward)
        except (TypeError, ValueError, RuntimeError):
            raise self.error("a number as reward", "step()", describe_value(reward)) from None
        is_finite = abs(value) <= LARGEST  # False for NaN
        if isinstance(reward, (str, bytes)) or not is_finite:
            raise self.error("a finite number as reward", "step()", describe_value(reward))
        return value

    def read_flag(self, name: str, value: Any) -> bool:
        """Return a value that must be a truth value, 0 or 1."""
        scalar = value.item() if getattr(value, "size", 0) == 1 else value
        if not isinstance(scalar, (bool, int, np.bool_)) or scalar not in (0, 1):
            raise self.error(f"True or False as {name}", "step()", describe_value(value))
        return bool(scalar)

    def error(self, expected: str, source: str, found: str) -> UserError:
        """Return an error that says what was expected and found, and when in which episode."""
        when = f"at step {self.steps} of the episode" if self.steps else "at reset"
        place = f"{source} of {self.config.id} {when} with seed {self.seed}"
        return UserError(f"env.id: expected {expected} from {place}, found {found}")


class Instances:
    """The environments of one configuration that this process keeps, see env.instances and env.reuse.

    The first environment is made at once: its spaces and its time limit hold for all. After an error the environments
    are not closed, because a library that failed to draw may end the process in close(), before the error is logged.

    Attributes:
        config: in which env.frames is settled, and env.reuse once episodes are played.
        space: of the actions.
        codec: of these actions.
        time_limit: length of the longest episode, steps.
        members: the environments that are open.
        have_played: whether they have played episodes.
    """

    def __init__(self, config: EnvConfig) -> None:
        self.members: list[Instance] = []
        self.have_played = False
        env = make_gymnasium(config)
        rendered = is_rendered(config, env)
        self.config = dataclasses.replace(config, frames="render" if rendered else "observation")
        self.pictures = Pictures(None if rendered else env.observation_space)  # type: ignore[arg-type]
        self.space, self.codec = env.action_space, ActionCodec(env.action_space)
        self.time_limit = time_limit_in_steps(env.spec.max_episode_steps, config)  # type: ignore[union-attr,arg-type]
        self.members.append(Instance(self.config, env, self.pictures))

    def prepare(self, count: int) -> int:
        """Make environments for this many episodes, at most env.instances.

        If a further environment cannot be made, for example of a simulator that owns a port, episodes wait for their
        turn in those that could.

        Returns:
            How many episodes can be played side by side.

        Raises:
            UserError: not even one environment can be made.
        """
        self.close_used()  # first, because it would close the new ones too
        limit = min(count, self.config.instances or count)
        while len(self.members) < limit:
            try:
                self.add()
            except UserError as error:
                if not self.members:
                    raise
                limit = len(self.members)
                self.config = dataclasses.replace(self.config, instances=limit)
                log.warning("%s; the other episodes wait for their turn", error)
        return limit

    def take(self, count: int) -> list[Instance]:
        """Return this many environments. Each is for one episode."""
        self.close_used()
        while len(self.members) < count:
            self.add()
        self.have_played = True
        return self.members[:count]

    def close_used(self) -> None:
        """Close the environments if they have played and must not play again."""
        self.settle_reuse()
        if self.have_played and self.config.reuse == "never":
            self.close()  # all of them: a close() that shuts a library down would break those still playing

    def settle_reuse(self) -> None:
        """Find out what env.reuse: auto means here, and log why if environments cannot be reused."""
        if self.config.reuse != "auto":
            return
        if not self.members:
            self.add()
        reusable = not reuse.is_built_on_box2d(self.members[0].env) and not self.find_memory()
        self.config = dataclasses.replace(self.config, reuse="always" if reusable else "never")
        for member in self.members:
            member.config = self.config

    def find_memory(self) -> str:
        """Return what the first environment keeps from one episode to the next, and log it; "" if nothing."""
        numbers = torch.from_numpy(np.random.default_rng(1).normal(size=(reuse.STEPS, self.codec.size)))
        actions = [self.codec.decode(vector) for vector in self.codec.snap(numbers).float().numpy()]
        self.have_played = True
        memory = reuse.find_memory(self.members[0], actions)
        if memory:
            log.info(
                "env.reuse: each episode gets a new %s, since a reset does not forget all: %s",
                self.config.id, memory,
            )  # fmt: skip
        return memory

    def add(self) -> None:
        """Make one more environment.

        Raises:
            UserError: it cannot be made. Where others are open, the message says how to limit their number.
        """
        try:
            env = make_gymnasium(self.config)
        except UserError as error:
            if not self.members:
                raise
            message = f"{error}; {len(self.members)} play in this process already: env.instances limits them"
            raise UserError(message) from error.__cause__
        self.members.append(Instance(self.config, env, self.pictures))

    def close(self) -> None:
        """Close all environments. Further ones are made when they are needed."""
        members, self.members = self.members, []
        for member in members:
            close_env(member.env)
        self.have_played = False


def time_limit_in_steps(max_episode_steps: int, env: EnvConfig) -> int:
    """Return the length of the longest episode in steps. A step is env.frame_skip of the environment's own steps."""
    return math.ceil(max_episode_steps / env.frame_skip)


def action_space(env: EnvConfig) -> gym.Space:
    """Return the environment's action space."""
    instances = Instances(env)
    instances.close()
    return instances.space
