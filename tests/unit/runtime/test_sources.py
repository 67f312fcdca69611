"""The episodes of others are found, and their stamps change with their content alone."""

import os

import numpy as np
import pytest

from worldmodels.runtime.errors import UserError
from worldmodels.runtime.loading import load_config
from worldmodels.runtime.sources import find_source


def write(folder, *values: int) -> str:
    for number, value in enumerate(values):
        (folder / f"part_{number % 2}").mkdir(parents=True, exist_ok=True)
        np.savez(folder / f"part_{number % 2}/{number}.npz", rewards=np.full(5, value))
    return str(folder)


def test_files_are_sorted_and_counted_in_subfolders(tmp_path):
    source = find_source(write(tmp_path, 1, 2, 3))
    assert [path.relative_to(tmp_path).as_posix() for path in source.files] == [
        "part_0/0.npz", "part_0/2.npz", "part_1/1.npz",
    ]  # fmt: skip
    rollouts = {"source": str(tmp_path), "num_rollouts": 2}
    few = {"vae": {"num_test_files": 1}, "mdrnn": {"num_test_files": 1}}
    assert load_config({"rollouts": rollouts, **few}).rollouts.num_rollouts == 2
    assert load_config({"rollouts": {"source": str(tmp_path)}, **few}).rollouts.num_rollouts == 3


def test_a_stamp_changes_with_the_content_alone(tmp_path):
    source = find_source(write(tmp_path / "a", 1, 2, 3))
    first, second = source.stamp(range(0, 2)), source.stamp(range(2, 3))
    for path in source.files:
        os.utime(path, (1, 1))
    assert source.stamp(range(0, 2)) == first
    assert find_source(write(tmp_path / "b", 1, 2, 3)).stamp(range(0, 2)) == first
    changed = find_source(write(tmp_path / "c", 1, 2, 4))
    assert changed.stamp(range(0, 2)) != first and changed.stamp(range(2, 3)) == second


def test_folders_without_episodes_end_with_one_line(tmp_path):
    with pytest.raises(UserError, match=r"rollouts\.source: expected a folder of episodes .*, found no folder nowhere"):
        find_source("nowhere")
    with pytest.raises(UserError, match=r"rollouts\.source: expected a folder of episodes .*, found none in"):
        find_source(str(tmp_path))
    (tmp_path / "metadata.json").write_text("{}")
    with pytest.raises(UserError, match=r"metadata\.json: expected the total_episodes of a Minari dataset, found none"):
        find_source(str(tmp_path))


def test_an_agent_cannot_drive_in_the_episodes_of_others(tmp_path):
    rollouts = {"source": write(tmp_path, *range(9)), "policy": "agent", "agent": "run"}
    with pytest.raises(UserError, match=r"rollouts\.source: expected none beside the policy agent"):
        load_config({"rollouts": rollouts})
