"""What the page measures of each network's code, read out of its own words, against what the code must do."""

from __future__ import annotations

import re

import pytest

from msa2net_lib.baselines.table import NETWORKS
from msa2net_lib.lessons.l17_rival_networks import claims

SEED = 5
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")


def numbers(name):
    return [float(found) for found in NUMBER.findall(claims.measured_claim(name, SEED))]


def test_every_rival_has_three_claims_of_which_the_first_is_measured():
    table = claims.claims_table(SEED)
    assert {*table.network} == {NETWORKS[name].title for name in claims.CLAIMS}
    assert len(claims.CLAIMS) == 13
    for _, rows in table.groupby("network"):
        assert len(rows) == 3
        assert (rows.measured == "read in the code").tolist() == [False, True, True]


def test_pooling_without_padding_loses_a_row_and_a_column():
    pooled = (claims.SMALL // 2 - 3) // 2 + 1  # 3 x 3, stride 2, after a convolution of stride 2
    assert numbers("transunet")[:4] == [claims.SMALL / 4, claims.SMALL / 4, pooled, pooled]
    assert numbers("transunet")[-2:] == [(224 // 2 - 3) // 2 + 1, 56]


@pytest.mark.parametrize("name", ["daeformer", "missformer"])
def test_a_forgotten_result_costs_work_and_changes_nothing(name):
    share, _, change = numbers(name)
    assert share > 10
    assert change == 0


def test_what_enters_a_stage_is_the_skip():
    assert claims.measured_claim("swin_unet", SEED).endswith(": True")


def test_the_dropped_fusion_has_no_effect_unless_it_acts():
    dropped, acting = numbers("hiformer_b")[-2:]
    assert dropped == 0 < 0.01 < acting


def test_one_module_serves_four_levels_and_four_heads_are_summed():
    assert numbers("pvt_cascade") == [4, 0]


def test_adaptation_blocks_are_applied_again_and_a_step_never():
    assert numbers("fatnet") == [6, 4, 2, 0]


def test_the_gate_sees_both_inputs_on_one_grid():
    assert numbers("attunet") == [claims.SMALL] * 4


def test_rows_sum_to_one_and_columns_do_not():
    rows, least, most = numbers("scaleformer")
    assert rows == 1
    assert least < 0.99 < 1.01 < most


def test_a_division_that_a_norm_undoes():
    size, change = numbers("uctransnet")
    assert 0 < change < 1e-5 * size


def test_offsets_are_larger_than_the_kernels():
    assert numbers("dlka_2d")[0] > 50


def test_a_network_of_the_same_name_is_eighteen_times_smaller():
    usual, small = numbers("unet")
    assert usual / small == pytest.approx(18, rel=0.05)


def test_the_boundary_loss_is_off_and_would_count():
    weight, _, change = numbers("dermosegdiff")
    assert weight == 0
    assert change > 0
