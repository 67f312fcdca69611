"""Making gymnasium environments, with checks of what they offer and return."""

import sys
from typing import Any

import gymnasium as gym

from worldmodels.envs.actions import ActionCodec
from worldmodels.envs.pictures import are_codes, describe_value, is_image
from worldmodels.runtime.config import EnvConfig
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.log import log
from worldmodels.runtime.user_errors import describe_error, user_code
from worldmodels.runtime.user_modules import load_module, warn_about_unwatched_files

RAISED = "env.id: the environment"
OWN_WRAPPERS = (gym.wrappers.PassiveEnvChecker, gym.wrappers.OrderEnforcing, gym.wrappers.TimeLimit)


def make_gymnasium(env: EnvConfig) -> gym.Env:
    """Make the environment; one whose pictures are rendered, see env.frames, gets the render mode rgb_array.

    Raises:
        UserError: it cannot be made, shows no pictures, has a kind of actions that is not known, or never ends.
    """
    for key, module in env.modules.items():
        try:
            load_module(module)
        except (ImportError, SystemExit) as error:
            reason = describe_error(error.__cause__ or error)
            raise UserError(f"{key}: expected a module to import, found {module!r} ({reason})") from error
    before = set(sys.modules)
    made = make_checked(env, {"render_mode": "rgb_array"} if env.frames == "render" else {})
    if is_rendered(env, made) and made.render_mode != "rgb_array":
        close_env(made)
        made = make_checked(env, {"render_mode": "rgb_array"})
    check_pictures(env, made)
    if made.spec is None or made.spec.max_episode_steps is None:
        raise UserError(f"env.max_episode_steps: expected a number, since {env.id} is registered without, found 0")
    ActionCodec(made.action_space)
    warn_about_unwatched_files({cls.__module__ for cls in type(made.unwrapped).__mro__} | set(sys.modules) - before)
    return made


def make_checked(env: EnvConfig, options: dict) -> gym.Env:
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
        return InterfaceCheck(below)
    above.env = InterfaceCheck(below)
    return made


def unknown_hint(env: EnvConfig, error: Exception) -> str:
    """What a user may have forgotten if gymnasium does not know the environment."""
    if not isinstance(error, (gym.error.NameNotFound, gym.error.NamespaceNotFound)):
        return ""
    if env.import_:
        return f"; {env.import_} was imported and does not register it"
    return "; env.import names the module that registers it, such as ale_py for ALE/Pong-v5"


def close_env(env: gym.Env) -> None:
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


class InterfaceError(Exception):
    """reset or step broke gymnasium's interface. The arguments: what was expected, from which call, what was found."""


class InterfaceCheck(gym.Wrapper):
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
            raise InterfaceError("(observation, info)", "reset(seed=...)", str(error)) from error
        if not isinstance(result, tuple) or len(result) != 2:
            raise InterfaceError("(observation, info)", "reset(seed=...)", describe_value(result))
        return result

    def step(self, action: Any):
        result = self.env.step(action)
        if not isinstance(result, tuple) or len(result) != 5:
            expected = "(observation, reward, terminated, truncated, info)"
            raise InterfaceError(expected, "step()", describe_value(result))
        return result
