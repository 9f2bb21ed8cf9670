"""Each job of a batch run sees one GPU, and no two the same; only the environment is asked, so no GPU is needed."""

from __future__ import annotations

import os
import threading

import pytest

from msa2net_lib.batch import gpus
from msa2net_lib.batch.gpus import one_gpu
from msa2net_lib.batch.plan import Plan

PLAN = Plan(lessons=("00_start_here",), gpus=2)


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpus, "WAIT_SECONDS", 0.01)


def test_two_jobs_get_two_gpus_and_a_third_waits(tmp_path, monkeypatch):
    third: list[str | None] = []

    def ask():
        with one_gpu(PLAN, tmp_path) as number:
            third.append(number)

    with one_gpu(PLAN, tmp_path) as first:
        assert os.environ["CUDA_VISIBLE_DEVICES"] == first == "0"
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")  # as another process has it
        with one_gpu(PLAN, tmp_path) as second:
            assert os.environ["CUDA_VISIBLE_DEVICES"] == second == "1"
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
            asking = threading.Thread(target=ask)
            asking.start()
            asking.join(0.2)
            assert not third, "did not wait"
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
        asking.join()
        assert third == ["1"]
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_only_those_that_were_allowed(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    with one_gpu(PLAN, tmp_path) as first:
        assert first == "5"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5,7"


def test_clusters_and_machines_without_gpu_are_left_alone(tmp_path):
    for changes in ({"gpus": 0}, {"gpus": 2, "on_cluster": True}):
        with one_gpu(Plan(lessons=("00_start_here",), **changes), tmp_path) as number:
            assert number is None
    assert not list(tmp_path.iterdir())


def test_jobs_side_by_side_in_one_allocation_of_slurm_share_its_gpus(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "1")  # as in an interactive one, in which the whole batch is started
    with one_gpu(PLAN, tmp_path) as number:
        assert number == "0"
