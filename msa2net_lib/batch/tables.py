"""The paper's tables with the rows that a batch measured, from the files that its jobs left."""

from __future__ import annotations

from pathlib import Path

from msa2net_lib.batch.plan import Plan
from msa2net_lib.batch.work import SCORES_FILE, ablation_runs, job_folder, training_folder
from msa2net_lib.paper.our_runs import OurRun
from msa2net_lib.paper.ours import write_tables
from msa2net_lib.paper.ours_table_3 import measured_by, table_3_with_ours
from msa2net_lib.training.run import RECORD_FILE

FOLDER = Path("tables")


def write_all_tables(plan: Plan) -> list[Path]:
    """Write Tables 1, 3 and A with our rows below to ``tables/`` of the working folder; return the paths.

    Table 2 is lesson 11's, which trains and scores on pictures.
    """
    name = f"{plan.settings.preset}, recipe {plan.settings.recipe}"
    runs = [
        OurRun.from_files(
            job_folder(f"evaluate-{seed}") / SCORES_FILE,
            training_folder(plan, seed) / RECORD_FILE,
            name=name,
            data=plan.dataset,
            selection="last",
        )
        for seed in plan.seeds
    ]
    ablation, found = ablation_runs(plan)
    return write_tables(FOLDER, runs, table_3=table_3_with_ours([measured_by(ablation, found)]))
