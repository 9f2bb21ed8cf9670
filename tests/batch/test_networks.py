"""Rows of Tables 1 and 2 in a batch: trained, scored and read back; one that fails says why and stops nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small_networks import small_network
from small_run import Slices

from msa2net_lib.baselines.table import NETWORKS
from msa2net_lib.batch import networks as batch_networks
from msa2net_lib.batch.job import is_marked, run_job
from msa2net_lib.batch.plan import Plan
from msa2net_lib.data.datasets import Case
from msa2net_lib.errors import InputError
from msa2net_lib.paper.reproduced.side_by_side import found_runs, side_by_side

pytestmark = pytest.mark.slow
ROW = "network-1-swin_unet-1234"
JOBS = Path("jobs")


class Scans(Slices):
    """Slices to train on, and two volumes to score."""

    test_cases = ("a", "b")

    def load_case(self, name):
        rng = np.random.default_rng(ord(name))
        label = rng.integers(0, len(self.class_names) + 1, (2, 64, 64)).astype(np.uint8)
        return Case(name, rng.random((2, 64, 64), dtype=np.float32), label, None)


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = small_network("swin_unet", 1 + len(Scans.class_names)).config
    monkeypatch.setattr(batch_networks, "open_scans", lambda *_: Scans())
    monkeypatch.setattr(batch_networks, "row_config", lambda *_: config)
    return Plan(networks=("swin_unet",))


def record(name: str) -> dict:
    return json.loads((JOBS / name / "record.json").read_text(encoding="utf-8"))


def test_a_row_is_trained_scored_and_found_again(plan, root):
    assert run_job(plan, plan.jobs[ROW], root) == 0
    done = record(ROW)
    assert (done["status"], done["numbers"]["steps"]) == ("done", 30)
    assert {"scores.csv", "weights.safetensors"} <= set(done["data_sha256"])
    (run,) = found_runs(Path())
    assert (run.network, run.seed, run.steps, set(run.cases)) == ("swin_unet", 1234, 30, {"a", "b"})
    assert run.dsc == pytest.approx(done["numbers"]["mean DSC, last step"])
    assert np.mean(list(run.cases.values())) == pytest.approx(run.dsc)


def test_a_row_that_fails_says_why_stops_nothing_and_is_tried_again(plan, root, monkeypatch, capfd):
    def refuse(*_):
        raise InputError("data/synapse: prepare it first")

    good = batch_networks.open_scans
    monkeypatch.setattr(batch_networks, "open_scans", refuse)
    job = plan.jobs[ROW]
    assert run_job(plan, job, root) == 0, "Snakemake goes on"
    assert (JOBS / ROW / "done").is_file()
    assert not is_marked(JOBS / ROW, job), "and the command names it, and does it again"
    assert record(ROW)["error"] == "data/synapse: prepare it first"
    assert "failed: data/synapse: prepare it first" in capfd.readouterr().out
    note = side_by_side("1", found_runs(Path())).loc["Swin-UNet", "note"]
    assert note == "failed: data/synapse: prepare it first"
    monkeypatch.setattr(batch_networks, "open_scans", good)
    assert run_job(plan, job, root) == 0
    assert (record(ROW)["status"], record(ROW)["failed_before"]) == ("done", 1)
    (run,) = found_runs(Path())
    assert not run.why


def test_every_network_is_tried_and_those_that_fail_are_named(plan, root, monkeypatch, capfd):
    monkeypatch.setattr("msa2net_lib.baselines.table.NETWORKS", {name: NETWORKS[name] for name in ("fatnet", "unet")})
    real = batch_networks._tried

    def one_fails(name):
        if name == "fatnet":
            raise RuntimeError("no kernel\nof this kind")
        return real(name)

    monkeypatch.setattr(batch_networks, "_tried", one_fails)
    job = plan.jobs["networks-all"]
    assert run_job(plan, job, root) == 0
    said = record("networks-all")
    assert said["status"] == "failed"
    assert said["error"] == "could not be built, counted and stepped: fatnet (RuntimeError: no kernel)"
    assert "unet: built, counted, stepped" in capfd.readouterr().out
    monkeypatch.setattr("msa2net_lib.baselines.table.NETWORKS", {"unet": NETWORKS["unet"]})
    assert run_job(plan, job, root) == 0
    numbers = record("networks-all")["numbers"]
    assert numbers["unet: parameters, M"] == 34.53
    assert 0 < numbers["unet: loss"] < 2
