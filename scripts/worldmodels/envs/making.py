"""Gymnasium environments are made here, and what they offer and return is checked."""

import sys
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from worldmodels.envs.actions import check_action_space
from worldmodels.envs.pictures import are_codes, describe_value, is_image
from worldmodels.runtime.config import EnvConfig
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.log import log
from worldmodels.runtime.user_errors import describe_error, user_code
from worldmodels.runtime.user_modules import load_module, warn_about_unwatched_files

RAISED = "env.id: the environment"  # begins the message of an error that the environment raises
OWN_WRAPPERS = (gym.wrappers.PassiveEnvChecker, gym.wrappers.OrderEnforcing, gym.wrappers.TimeLimit)


def make_gymnasium(env: EnvConfig) -> gym.Env:
    """Make an environment. If its pictures are rendered, see env.frames, it gets the render mode rgb_array.

    Args:
        env: its configuration.

    Raises:
        UserError: it cannot be made, has no pictures, has actions of an unknown kind, or has no time limit.
    """
    import_modules(env)
    imported_before = set(sys.modules)
    gym_env = make_with_checks(env, {"render_mode": "rgb_array"} if env.frames == "render" else {})
    if is_rendered(env, gym_env) and gym_env.render_mode != "rgb_array":
        close_env(gym_env)
        gym_env = make_with_checks(env, {"render_mode": "rgb_array"})
    check_pictures(env, gym_env)
    if gym_env.spec is None or gym_env.spec.max_episode_steps is None:
        raise UserError(f"env.max_episode_steps: expected a number, since {env.id} is registered without, found 0")
    check_action_space(gym_env.action_space)
    modules_of_class = {cls.__module__ for cls in type(gym_env.unwrapped).__mro__}
    warn_about_unwatched_files(modules_of_class | set(sys.modules) - imported_before)
    return gym_env


def import_modules(env: EnvConfig) -> None:
    """Import the modules that register the environment.

    Raises:
        UserError: a module cannot be imported.
    """
    for key, module in env.modules.items():
        try:
            load_module(module)
        except (ImportError, SystemExit) as error:
            reason = describe_error(error.__cause__ or error)
            raise UserError(f"{key}: expected a module to import, found {module!r} ({reason})") from error


def make_with_checks(env: EnvConfig, keywords: dict[str, Any]) -> gym.Env:
    """Make an environment whose reset and step are checked below gymnasium's own wrappers.

    Args:
        env: its configuration.
        keywords: of gymnasium.make, beside env.kwargs.

    Raises:
        UserError: it cannot be made.
    """
    if env.max_episode_steps:
        keywords["max_episode_steps"] = env.max_episode_steps
    keywords = {"disable_env_checker": True, **env.kwargs, **keywords}  # InterfaceCheck's messages say more
    with user_code(RAISED):
        try:
            gym_env = gym.make(env.id, **keywords)
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
        check_attributes(gym_env)
    return insert_interface_check(gym_env)


def check_attributes(gym_env: gym.Env) -> None:
    """Raise AttributeError if the environment lacks one of the attributes that every environment must have."""
    for name in ("observation_space", "action_space", "metadata"):
        getattr(gym_env, name)


def insert_interface_check(gym_env: gym.Env) -> gym.Env:
    """Wrap the environment in InterfaceCheck, below gymnasium's own wrappers, which unpack its results."""
    above, below = None, gym_env
    while type(below) in OWN_WRAPPERS:
        above, below = below, below.env
    if above is None:
        return InterfaceCheck(below)
    above.env = InterfaceCheck(below)
    return gym_env


def unknown_hint(env: EnvConfig, error: Exception) -> str:
    """Return what the user may have forgotten, if gymnasium does not know the environment."""
    if not isinstance(error, (gym.error.NameNotFound, gym.error.NamespaceNotFound)):
        return ""
    if env.import_:
        return f"; {env.import_} was imported and does not register it"
    return "; env.import names the module that registers it, such as ale_py for ALE/Pong-v5"


def close_env(env: gym.Env) -> None:
    """Close an environment. An error in its close() is logged and ignored, since nothing depends on it."""
    try:
        with user_code(f"{RAISED}'s close()"):
            env.close()
    except UserError as error:
        log.info("%s; ignored", error)


def is_rendered(env: EnvConfig, gym_env: gym.Env) -> bool:
    """Return whether the frames are rendered.

    With env.frames: auto they are if the observations are no pictures, or are codes and the environment can render.
    """
    if env.frames != "auto":
        return env.frames == "render"
    space = gym_env.observation_space
    return not is_image(space) or (are_codes(space) and can_render(gym_env))


def can_render(gym_env: gym.Env) -> bool:
    """Return whether the environment has the render mode rgb_array."""
    return "rgb_array" in render_modes(gym_env)


def render_modes(gym_env: gym.Env) -> list[str]:
    """Return the render modes that the environment's metadata lists."""
    return (gym_env.metadata or {}).get("render_modes") or []


def check_pictures(env: EnvConfig, gym_env: gym.Env) -> None:
    """Check that the environment has pictures.

    Raises:
        UserError: it has none. The message names its observations and render modes, and what would do.
    """
    space = gym_env.observation_space
    has_pictures = can_render(gym_env) if is_rendered(env, gym_env) else is_image(space)
    if has_pictures:
        return
    space_text = str(space) if len(str(space)) <= 120 else f"{str(space)[:120]}..."
    found = f"found observations {space_text} and the render modes {render_modes(gym_env)} in {env.id}"
    if env.frames == "render":
        raise UserError(f"env.frames: expected the render mode rgb_array, {found}")
    if env.frames == "observation":
        expected = "env.frames: expected observations"
    else:
        expected = "env.id: expected the render mode rgb_array or observations"
    images = "Box(0, 255, (H, W, 3 or 1), uint8), Box(0, 255, (H, W), uint8) or Box(0, 1, (H, W, 3 or 1), float)"
    advice = "a wrapper of yours, in a module that env.import names, can give either"
    if isinstance(space, gym.spaces.Box) and len(space.shape) == 3 and space.shape[0] in (1, 3):
        advice = "the channels come first: a wrapper, in a module that env.import names, can put them last"
    raise UserError(f"{expected} that are pictures, {images}, {found}; {advice}")


class InterfaceError(Exception):
    """reset or step broke gymnasium's interface.

    Args:
        expected: the value that was expected.
        source: the call that returned another one.
        found: the value that it returned.
    """


class InterfaceCheck(gym.Wrapper):
    """Checks that reset and step return tuples of two and five values.

    It lies below gymnasium's own wrappers, which unpack these tuples.
    """

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the environment, which wrappers above may ask for."""
        if name == "env":  # not set yet
            raise AttributeError(name)
        return getattr(self.env, name)

    @property
    def spec(self) -> EnvSpec | None:
        """The environment's own spec, without this wrapper in it."""
        return self.env.spec

    def reset(self, **keywords: Any) -> tuple[Any, dict[str, Any]]:
        """Reset the environment.

        Raises:
            InterfaceError: it does not take a seed, or returns no tuple of two.
        """
        try:
            result = self.env.reset(**keywords)
        except TypeError as error:
            if "unexpected keyword argument" not in str(error) or error.__traceback__.tb_next is not None:
                raise
            raise InterfaceError("(observation, info)", "reset(seed=...)", str(error)) from error
        if not isinstance(result, tuple) or len(result) != 2:
            raise InterfaceError("(observation, info)", "reset(seed=...)", describe_value(result))
        return result

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step the environment.

        Raises:
            InterfaceError: it returns no tuple of five.
        """
        result = self.env.step(action)
        if not isinstance(result, tuple) or len(result) != 5:
            expected = "(observation, reward, terminated, truncated, info)"
            raise InterfaceError(expected, "step()", describe_value(result))
        return result
