"""What steps the environment: gymnasium or EnvPool."""

import importlib.util
import json
import warnings

import numpy as np

from worldmodels.envs.pictures import is_image
from worldmodels.runtime.config import EnvConfig, is_gymnasium_certain, reason_against_envpool
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.log import log


def choose_backend(env: EnvConfig) -> str:
    """`envpool` or `gymnasium`, as the configuration and this machine have it.

    Raises:
        UserError: EnvPool is asked for but is not installed, or does not know the environment.
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
    if env.backend == "envpool":
        if known and not reason:
            return "envpool"
        what = f"{env.id} with {reason}" if reason else env.id
        raise UserError(f"env.backend: expected an environment that EnvPool knows and shows as images, found {what}")
    return "envpool" if known else "gymnasium"


def is_known_to_envpool(name: str) -> bool:
    """Whether EnvPool, which has to be installed, has this environment and shows it as pictures."""
    import envpool

    if name not in envpool.list_all_envs():
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        space = envpool.make_spec(name).observation_space
    return is_image(space) and space.dtype == np.uint8


def log_backend(env: EnvConfig) -> None:
    """Log why EnvPool, which would be faster, is not used, or that it does not run the module of env.import."""
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
    """The versions that the frames depend on."""
    from importlib.metadata import version

    return {name: version(name) for name in ("gymnasium", *(["envpool"] if backend == "envpool" else []))}


def describe_env(env: EnvConfig) -> str:
    return f"{env.id}{json.dumps(env.kwargs) if env.kwargs else ''}"
