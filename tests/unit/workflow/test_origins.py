"""Origins in summaries stand in for Snakemake's records where these are missing."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake.persistence import PersistenceBase
from snakemake.persistence.file import FilePersistence

from worldmodels.runtime.digests import file_digest
from worldmodels.runtime.identity import product_origin
from worldmodels.storage.files import write_json
from worldmodels.workflow import records, snakemake_internals

ORIGIN = {"options": "--seed 1 --beta 1.0", "code": "0123", "rollouts": "8 rollouts"}


@pytest.fixture
def persistence(tmp_path, monkeypatch) -> FilePersistence:
    """Snakemake's records of an empty working directory, completed."""
    monkeypatch.chdir(tmp_path)
    for name in ("metadata", "_input_changed"):
        monkeypatch.setattr(PersistenceBase, name, getattr(PersistenceBase, name))
    monkeypatch.setattr(PersistenceBase, "_get_key", lambda self, target: target)  # of plain paths
    forget_files()
    snakemake_internals.complete_records()
    return FilePersistence()


class SmallInput(str):
    """An input as Snakemake has it."""

    is_ancient = False


def forget_files() -> None:
    for read in (records.time_stamp, records.read_origin, records.content_digest):
        read.cache_clear()


def summarize(path: str, **more) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"sha256": "0", "origin": {**ORIGIN, "inputs": {}, **more}})


@pytest.mark.parametrize(
    ("product", "summary"),
    [
        ("run/vae/best.tar", "run/vae/best.json"),
        ("run/vae/best.json", "run/vae/best.json"),
        ("run/ctrl/history.csv", "run/ctrl/best.json"),
        ("run/latents/latents_32.npz", "run/latents/latents_32.json"),
        ("data/00003_0017.npz", "data/00003.json"),
        ("run/eval.json", "run/eval.json"),
        ("run/ablation/ablation.png", "run/ablation/ablation.json"),
    ],
)
def test_a_summary_stands_in_for_a_lost_record(persistence, product, summary):
    summarize(summary)
    Path(product).touch()
    assert persistence.metadata(product).params == sorted(map(repr, ORIGIN.values()))


def test_a_product_without_a_summary_or_an_origin_has_no_record(persistence):
    Path("run/vae").mkdir(parents=True)
    Path("run/vae/best.tar").touch()
    assert persistence.metadata("run/vae/best.tar") is None
    for name, text in (("a", "{}"), ("b", "damaged"), ("c", "[1]"), ("d", json.dumps({"origin": None}))):
        Path(f"run/{name}.json").write_text(text)
        assert persistence.metadata(f"run/{name}.json") is None
    summarize("run/mdrnn/best.json")
    Path("run/vae/best.json").symlink_to("../mdrnn/best.json")  # as what the variants of an ablation share
    assert persistence.metadata("run/vae/best.json") is None


def test_snakemakes_own_record_comes_first_until_the_file_is_written_again(persistence):
    summarize("run/eval.json")
    written = os.stat("run/eval.json").st_mtime
    own = snakemake_internals.MetadataRecord(params=["'own'"], record_format_version=6, endtime=written)
    persistence._write_record("run/eval.json", own)
    assert persistence.metadata("run/eval.json").params == ["'own'"]
    records.time_stamp.cache_clear()
    os.utime("run/eval.json", (written + 1, written + 1))
    assert persistence.metadata("run/eval.json").params == sorted(map(repr, ORIGIN.values()))


def test_completing_records_twice_is_completing_them_once(persistence):
    completed = PersistenceBase.metadata, PersistenceBase._input_changed
    snakemake_internals.complete_records()
    assert (PersistenceBase.metadata, PersistenceBase._input_changed) == completed


def test_small_inputs_without_a_record_are_compared_whatever_their_age(persistence, monkeypatch):
    for name in ("data/00000.json", "run/vae/best.json"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name)
    names = [Path(path) for path in ("data/00000.json", "run/vae/best.json")]
    summarize("run/mdrnn/best.json", **product_origin(SimpleNamespace(origin={}), names)["origin"])
    reads = []
    monkeypatch.setattr(Path, "read_bytes", lambda path: reads.append(str(path)) or path.open("rb").read())

    def is_changed(*inputs: str) -> bool:
        job = SimpleNamespace(input=[SmallInput(path) for path in inputs], output=["run/mdrnn/best.json"])
        return any(persistence.input_changed(job))

    def replace(path: str, text: str) -> None:
        Path(path).write_text(text)
        os.utime(path, (1e9, 1e9))
        forget_files()

    same = ["data/00000.json", "run/vae/best.json", "elsewhere/00000.json", "run/mdrnn/new.json"]
    assert not is_changed(*same) and sorted(reads) == sorted(set(reads))
    replace("data/00000.json", "other")
    assert is_changed(*same)
    replace("data/00000.json", "data/00000.json")
    assert not is_changed(*same)
    Path("other/vae").mkdir(parents=True)
    replace("other/vae/best.json", "other")
    assert is_changed("data/00000.json", "other/vae/best.json")


def test_digests_of_inputs_do_not_depend_on_their_folder(persistence):
    """The digests that a program writes are those that Snakemake computes."""
    for name in ("data/00000.json", "run/vae/best.json"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name)
    args = SimpleNamespace(origin=ORIGIN)
    origin = product_origin(args, ["data/00000.json", "run/vae/best.json", "data/00001.json"])
    assert origin["origin"].keys() == {*ORIGIN, "inputs"} and len(origin["origin"]["inputs"]) == 2
    write_json("run/latents_8.json", origin)
    job = SimpleNamespace(output=["run/latents_8.json"])
    for path in ("data/00000.json", "run/vae/best.json"):
        assert persistence.input_checksums(job, f"elsewhere/{path}") == {f"sha256:{file_digest(path)}"}
    assert persistence.input_checksums(job, "data/00001.json") == {None}
    assert product_origin(SimpleNamespace(origin=None), ["data/00000.json"]) == {}
