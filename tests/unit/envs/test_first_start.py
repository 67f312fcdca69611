"""Simulators start one at a time."""

import threading
import time

from worldmodels.envs.first_start import first_start


def test_one_start_at_a_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inside, most = [], []

    def start() -> None:
        with first_start():
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.05)
            inside.pop()

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1, 1]


def test_without_a_place_for_the_lock_it_starts_all_the_same(monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/proc/nowhere")
    with first_start():
        pass
