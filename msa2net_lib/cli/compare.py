"""``msa2net compare``: systems compared case by case, from the files that ``evaluate`` and ``score`` wrote."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msa2net_lib.cli.evaluate import PROTOCOLS, check_output
from msa2net_lib.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


def add_compare(commands: Any) -> None:
    """Add the command to the command line's subparsers."""
    parser = commands.add_parser("compare", help="compare systems case by case: differences, intervals, tests")
    parser.set_defaults(run=run)
    scores = "scores by case, as --output of evaluate or score writes them; the first is compared with each other"
    parser.add_argument("scores", type=Path, nargs="+", metavar="CSV", help=scores)
    parser.add_argument("--names", nargs="+", metavar="NAME", help="what to call them; default: the files' names")
    columns = "dsc (default), hd95, hd95_voxels, hd95_mm of scans; dsc, se, sp, acc of images"
    parser.add_argument("--column", default="dsc", metavar="SCORE", help=columns)
    parser.add_argument("--protocol", choices=PROTOCOLS, help="where files hold both; default: paper")
    chosen = "where files hold several weights, such as 'last step'; seeds are averaged case by case"
    parser.add_argument("--selection", metavar="LABEL", help=chosen)
    parser.add_argument("--common", action="store_true", help="compare only the cases and organs that all have")
    parser.add_argument("--output", type=Path, metavar="CSV", help="also write the table")
    parser.add_argument("--figure", type=Path, metavar="PNG", help="also draw every case's difference")


def run(arguments: argparse.Namespace) -> int:
    """Compare, print the table, write what was asked for, and return the exit code."""
    names = arguments.names or [path.stem for path in arguments.scores]
    if len(names) != len(arguments.scores) or len(set(names)) < len(names):
        raise InputError(f"--names {' '.join(names)}: give one name for each of the files, no two alike")
    check_output(arguments.output, *arguments.scores)
    check_output(arguments.figure, *arguments.scores, table=False)
    if arguments.output is not None and arguments.output == arguments.figure:
        raise InputError(f"{arguments.output}: is to get both the table and the figure; name a file for each")
    from msa2net_lib.evaluation.paired import compare_cases, read_scores
    from msa2net_lib.utils.files import atomic_path, write_text

    options = arguments.column, arguments.protocol, arguments.selection
    tables = {name: read_scores(path, *options) for name, path in zip(names, arguments.scores, strict=True)}
    table = compare_cases(tables, common=arguments.common)
    print(_told(table, names[0], arguments.column))
    if arguments.output is not None:
        print(f"table: {write_text(arguments.output, table.drop(columns='dots').to_csv(index=False))}")
    if arguments.figure is not None:
        with atomic_path(arguments.figure) as temporary:
            _figure(table, names[0], arguments.column).savefig(temporary, format="png", dpi=150)
        print(f"figure: {arguments.figure}")
    return 0


def _told(table: pd.DataFrame, first: str, column: str) -> str:
    """The table as text, with what its columns are."""
    cases, tests = max(table["cases"]), sum(not math.isnan(p) for p in table["p"])
    better = "lower is better" if column.startswith("hd95") else "higher is better"
    shown = table.drop(columns=["dots"]).rename(columns={"first": first, "second": "other", "holm": "p (Holm)"})
    lines = [
        f"{column}, {better}; differences are other minus {first}, case by case ({cases} cases; seeds averaged first)",
        shown.to_string(index=False, float_format="%.4f", na_rep="not measured"),
        "low, high: 95 % by Student's t; boot_: by bootstrap over cases (BCa); p: Wilcoxon's signed-rank test;",
        f"least_p: the smallest that so many cases can reach; p (Holm): corrected for the {tests} tests of this table.",
        "detectable: what so many cases show in four of five studies. An interval that holds 0 does not show that two",
        "systems are equal, only that these cases cannot tell them apart.",
    ]
    return "\n".join(lines)


def _figure(table: pd.DataFrame, first: str, column: str):
    from msa2net_lib.viz.intervals import plot_intervals

    panels = {f"{name} minus {first}": rows.set_index("organ") for name, rows in table.groupby("system", sort=False)}
    source = "A dot is one case; the line is the 95 % interval of the mean difference by Student's t."
    return plot_intervals(panels, source, f"difference in {column.upper()}", share=True)
