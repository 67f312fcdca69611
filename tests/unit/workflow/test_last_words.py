"""A run ends with the scores that it was asked for, and with no others."""

from pathlib import Path

from worldmodels.storage.files import write_json
from worldmodels.workflow.last_words import report_score


def test_only_requested_scores_are_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    result = {"mean": 800.0, "std": 10.0, "episodes": [1, 2], "runs": [1]}
    for file in ("run/eval.json", "run/seed_1/eval.json", "run/seed_2/eval.json", "run/seeds.json"):
        write_json(file, result)

    def printed(runs: list[str], seeds: list[int], *files: str) -> list[str]:
        report_score("run", runs, seeds, {Path(file) for file in files})
        return [line.partition(" over ")[2] or line.partition(":")[0] for line in capsys.readouterr().err.splitlines()]

    assert printed(["run"], [], "run/vae/best.tar") == []
    assert printed(["run"], [], "run/eval.json", "run/report/run.html") == [
        "2 episodes, run/eval.json",
        "to look at it",
    ]
    assert printed(["run/lost"], [], "run/lost/eval.json") == []
    seeds = ["run/seed_1", "run/seed_2"]
    files = [f"{folder}/eval.json" for folder in seeds]
    assert printed(seeds, [1, 2], files[0]) == [f"2 episodes, {files[0]}"]
    assert printed(seeds, [1, 2], *files, "run/seeds.json") == [
        *(f"2 episodes, {file}" for file in files),
        "1 runs, run/seeds.json",
    ]
