"""The paper's tables with the rows that a batch measured, from the files that its jobs left."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from msa2net_lib.batch.plan import Plan
from msa2net_lib.batch.work import ablation_runs, scores_file, training_folder
from msa2net_lib.lessons.execute import ROOT
from msa2net_lib.paper.reproduced.runs import ReproducedRun
from msa2net_lib.paper.reproduced.table_1 import reproduced_table_1
from msa2net_lib.paper.reproduced.table_3 import measured_by, measured_once, reproduced_table_3
from msa2net_lib.paper.reproduced.table_a import reproduced_table_a
from msa2net_lib.train_config import Selection
from msa2net_lib.training.files import RECORD_FILE
from msa2net_lib.utils.files import write_text

FOLDER = Path("tables")
MEASURED_ABLATION = Path("benchmarks", "results", "ablation.json")


def write_all_tables(plan: Plan) -> list[Path]:
    """Write Tables 1, 3 and A with the reproduced rows below to ``tables/`` of the working folder; return the paths.

    Table 2 is lesson 11's, which trains and scores on pictures. Table 3 has the batch's own ablation first, then the
    longer one that was measured once and lies in the checkout.
    """
    named = {"name": f"{plan.settings.preset}, recipe {plan.settings.recipe}", "data": plan.dataset}
    runs = [
        ReproducedRun.from_files(path, training_folder(plan, seed) / RECORD_FILE, selection=selection, **named)
        for seed in plan.seeds
        for selection in get_args(Selection)
        if (path := scores_file(seed, selection)).is_file()
    ]
    ablation, found = ablation_runs(plan)
    blocks = [measured_by(ablation, found), measured_once(ROOT / MEASURED_ABLATION, ablation.reading)]
    tables = {
        "table_1": reproduced_table_1(runs),
        "table_3": reproduced_table_3(blocks),
        "table_a": reproduced_table_a(),
    }
    return [write_text(FOLDER / f"{name}.csv", table.to_csv()) for name, table in tables.items()]
