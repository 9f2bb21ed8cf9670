"""What Slurm answers, as its commands print it; a real one is asked in tests/cluster."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from msa2net_lib.batch import slurm
from msa2net_lib.batch.slurm import Room, check_room, slurm_settings, status_options, told_queue, waiting

PLANNED = """Building DAG of jobs...

rule data:
    output: jobs/data-virtual/done
    jobid: 2
    wildcards: name=virtual
    resources: tmpdir=<TBD>, runtime=60, mem_mb=8000, mem_mib=7630

rule train:
    input: jobs/data-virtual/done
    output: jobs/train-1234/done
    jobid: 3
    threads: 4
    resources: tmpdir=<TBD>, runtime=1440, mem_mb=32000, mem_mib=30518, gpu=1

Job stats:
job      count
"""
LARGE = "normal*|64|257000|infinite|gpu:a100:4(S:0-1)\n"
PROFILE = Path("site")


@pytest.fixture
def answers(monkeypatch):
    """Let Slurm's commands print these; those that are left out fail."""

    def let(**printed: str) -> None:
        monkeypatch.setattr(slurm, "_ask", lambda command, *options: printed.get(command))

    return let


@pytest.mark.parametrize(
    ("sinfo", "settings"),
    [
        (LARGE, {}),
        ("small*|2|4000|30:00|(null)\n" + LARGE.replace("*", ""), {"default-resources": ["slurm_partition=normal"]}),
        ("normal*|2|4000|1:00:00|(null)\nnormal*|8|40000|1-00:00:00|gpu:1\n", {}),
        ("odd|1|1|n/a|(null)\n", {}),  # no default partition: the site decides, and the queue tells
    ],
)
def test_jobs_that_fit_some_node_are_submitted(answers, sinfo, settings):
    answers(sinfo=sinfo)
    check_room(PLANNED, settings, PROFILE)


@pytest.mark.parametrize(
    ("sinfo", "settings", "advice"),
    [
        (LARGE.replace("|64|", "|2|"), {}, "put cpus_per_task=2 under default-resources,"),
        (LARGE.replace("257000", "16000"), {}, "put train:mem_mb=16000 under set-resources,"),
        (LARGE.replace("infinite", "12:00:00"), {}, "put train:runtime=720 under set-resources,"),
        ("normal*|2|16000|infinite|gpu:1\n", {}, "put cpus_per_task=2 under default-resources and train:mem_mb=16000 "),
        (LARGE.replace("gpu:a100:4(S:0-1)", "(null)"), {}, "have it computed without so many GPUs at once,"),
        (
            LARGE + "tiny|1|9000|infinite|(null)\n",
            {"default-resources": {"slurm_partition": "tiny"}},
            "cpus_per_task=1",
        ),
    ],
)
def test_a_job_that_would_wait_for_ever_is_refused_with_what_to_change(answers, refused, sinfo, settings, advice):
    answers(sinfo=sinfo)
    said = refused(
        "has what a job of train asks for (4 CPUs, 32000 MB, 1 GPU, 1440 minutes",
        check_room,
        PLANNED,
        settings,
        PROFILE,
    )
    assert advice in said
    assert said.startswith("site/config.yaml: no node of partition ")


def test_where_slurm_is_not_and_where_a_partition_is_not(answers, refused):
    answers()
    refused("Slurm does not answer (sinfo)", check_room, PLANNED, {}, PROFILE)
    answers(sinfo=LARGE)
    missing = {"default-resources": ["slurm_partition=large"]}
    refused("slurm_partition=large: no such partition; there are normal", check_room, PLANNED, missing, PROFILE)


@pytest.mark.parametrize(
    ("limit", "minutes"), [("infinite", None), ("n/a", None), ("30:00", 30), ("1:30:00", 90), ("7-00:00:00", 10080)]
)
def test_limits_of_time(limit, minutes):
    assert slurm._minutes(limit) == minutes


@pytest.mark.parametrize(
    ("gres", "count"),
    [("(null)", 0), ("gpu:2", 2), ("gpu", 1), ("gpu:a100:4(S:0-1)", 4), ("gpu:a:1,gpu:b:2,shard:8", 3)],
)
def test_gpus_of_a_node(gres, count):
    assert slurm._gpus(gres) == count


def test_without_accounts_the_queue_is_asked(answers):
    answers()
    assert status_options({}) == ["--slurm-status-command", "squeue"]
    assert status_options({"slurm-status-command": "sacct"}) == []
    answers(sacct="")
    assert status_options({}) == []


def test_why_jobs_wait_is_said_when_it_changes(monkeypatch, capsys):
    line = "msa2net-1_8f0e|{}|rule_train_wildcards_{}\n"
    queue = "".join(line.format("Resources", seed) for seed in range(5)) + line.format("None", 9) + "other|Priority|x\n"
    assert waiting(queue + "msa2net-1_8f0e|Priority|rule_report", "msa2net-1") == [
        "waiting in Slurm's queue (Priority): report",
        "waiting in Slurm's queue (Resources): train-0, train-1, train-2 and 2 more",
    ]
    asked = threading.Semaphore(0)
    line = line.format("QOSMaxCpuPerUserLimit", 1)
    monkeypatch.setattr(slurm, "_ask", lambda *command: asked.release() or line)
    with told_queue("msa2net-1", seconds=0.001):
        assert all(asked.acquire(timeout=5) for _ in range(3))
    assert capsys.readouterr().out == "waiting in Slurm's queue (QOSMaxCpuPerUserLimit): train-1\n"


@pytest.mark.parametrize("text", [None, "", "executor", "jobs: 3\n", "a: [\n"])
def test_a_profile_without_settings_is_refused(refused, tmp_path, text):
    if text is not None:
        (tmp_path / "config.yaml").write_text(text)
    refused("config.yaml: no settings of Snakemake with an executor", slurm_settings, tmp_path)


def test_another_executor_is_not_asked(tmp_path):
    (tmp_path / "config.yaml").write_text("executor: local\n")
    assert slurm_settings(tmp_path) is None
    (tmp_path / "config.yaml").write_text("executor: slurm\n")
    assert slurm_settings(tmp_path) == {"executor": "slurm"}


def test_room():
    node = Room(8, 1000, None, 1)
    assert node.holds(Room(8, 1000, 1e9, 1))
    assert node.holds(Room(1, 0, None, 0))
    for more in (Room(9, 0, 1, 0), Room(1, 1001, 1, 0), Room(1, 0, 1, 2)):
        assert not node.holds(more)
    assert Room(8, 1000, 60, 1).holds(Room(1, 0, None, 0)), "the partition's own limit holds"


SPLIT = PLANNED.replace("mem_mib=7630", "mem_mib=7630, slurm_partition=cpu").replace(
    "mem_mib=30518", "slurm_partition=gpu, mem_mib=30518"
)
CPU = "cpu*|4|16000|infinite|(null)\n"


@pytest.mark.parametrize(
    ("plan", "sinfo"),
    [
        (SPLIT, CPU + LARGE.replace("normal*", "gpu")),
        (SPLIT.replace("=gpu,", "=cpu,gpu,"), CPU + LARGE.replace("normal*", "gpu")),
        (
            SPLIT.replace("slurm_partition=gpu, mem_mib=30518", "slurm_partition=gpu"),
            CPU + "gpu|4|32000|infinite|gpu:1\n",
        ),
    ],
)
def test_each_rule_is_compared_with_its_own_partition(answers, plan, sinfo):
    answers(sinfo=sinfo)
    check_room(plan, {"default-resources": ["slurm_partition=cpu"]}, PROFILE)


def test_the_partition_of_the_rule_that_does_not_fit_is_named(answers, refused):
    answers(sinfo=CPU + "gpu|2|16000|infinite|gpu:1\n")
    refused("no node of partition gpu has what a job of train asks for", check_room, SPLIT, {}, PROFILE)
    answers(sinfo=CPU)
    refused("slurm_partition=gpu: no such partition; there are cpu", check_room, SPLIT, {}, PROFILE)


def test_where_the_site_chooses_the_partition_nothing_is_compared(answers, refused, monkeypatch):
    answers(sinfo="small*|1|1000|30:00|(null)\n")
    check_room(PLANNED, {"slurm-partition-config": "partitions.yaml"}, PROFILE)
    refused("no node of partition small", check_room, PLANNED, {}, PROFILE)
    monkeypatch.setenv("SNAKEMAKE_SLURM_PARTITIONS", "partitions.yaml")
    check_room(PLANNED, {}, PROFILE)


@pytest.mark.parametrize("given", [["slurm_partition"], "runtime=60", [None], {"slurm_partition": None}])
def test_odd_default_resources_are_left_to_snakemake(answers, given):
    answers(sinfo=LARGE)
    check_room(PLANNED, {"default-resources": given}, PROFILE)


def test_jobs_of_a_batch_whose_number_begins_alike_are_others():
    assert waiting("msa2net-12_8f0e|Priority|rule_report", "msa2net-1") == []
