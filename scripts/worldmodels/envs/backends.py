"""The choice between the two backends that step environments: gymnasium and EnvPool."""

import importlib.metadata
import importlib.util
import json
import warnings

import numpy as np

from worldmodels.envs.pictures import is_image
from worldmodels.runtime.config import EnvConfig, is_gymnasium_certain, reason_against_envpool
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.log import log


def choose_backend(env: EnvConfig) -> str:
    """Return `envpool` or `gymnasium`.

    With env.backend: auto that is EnvPool if it is installed and knows the environment.

    Raises:
        UserError: env.backend is envpool, but EnvPool is not installed or does not know the environment.
    """
    if is_gymnasium_certain(env):
        return "gymnasium"
    if importlib.util.find_spec("envpool") is None:
        if env.backend == "envpool":
            raise UserError(
                "env.backend: expected EnvPool to be installed (pip install -r requirements-envpool.txt), found none"
            )
        return "gymnasium"
    known, reason = is_known_to_envpool(env.id), reason_against_envpool(env)
    if env.backend == "envpool" and (reason or not known):
        found = f"{env.id} with {reason}" if reason else env.id
        raise UserError(f"env.backend: expected an environment that EnvPool knows and shows as images, found {found}")
    return "envpool" if known else "gymnasium"


def is_known_to_envpool(env_id: str) -> bool:
    """Return whether EnvPool, which must be installed, has this environment and shows it as uint8 pictures."""
    import envpool

    if env_id not in envpool.list_all_envs():
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        space = envpool.make_spec(env_id).observation_space
    return is_image(space) and space.dtype == np.uint8


def log_backend(env: EnvConfig) -> None:
    """Log why the faster EnvPool is not used, or that EnvPool does not run the module of env.import."""
    if env.backend == "gymnasium" or importlib.util.find_spec("envpool") is None or not is_known_to_envpool(env.id):
        return
    reason = reason_against_envpool(env) or ("env.import" if env.import_ else "")
    if env.backend == "envpool" and env.import_:
        log.warning(
            "env.backend: EnvPool plays its own %s, whatever %s registers; the official test plays gymnasium's",
            env.id, env.import_,
        )  # fmt: skip
    elif env.backend == "auto" and reason:
        log.info("env.backend: gymnasium, since EnvPool knows %s but not %s", env.id, reason)


def package_versions(backend: str) -> dict[str, str]:
    """Return the versions of the packages that draw the frames, by name."""
    names = ["gymnasium", "envpool"] if backend == "envpool" else ["gymnasium"]
    return {name: importlib.metadata.version(name) for name in names}


def describe_env(env: EnvConfig) -> str:
    """Return the environment's id, followed by its arguments as JSON if there are any."""
    return env.id + json.dumps(env.kwargs) if env.kwargs else env.id
