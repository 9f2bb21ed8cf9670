"""Every sample once an epoch; passes and processes split a batch without losing or repeating a sample."""

from __future__ import annotations

import pytest
import torch

from msa2net_lib.errors import InputError
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training.sampler import batch_indices, batch_length, check_divisible, step_parts


def test_every_epoch_sees_every_slice_once():
    config = TrainConfig(batch_size=4)
    for epoch in range(3):
        seen = torch.cat([batch_indices(10, 3 * epoch + batch, config) for batch in range(3)])
        assert sorted(seen.tolist()) == list(range(10))
    assert batch_indices(10, 0, config).tolist() != batch_indices(10, 3, config).tolist()


@pytest.mark.parametrize("accumulate", [1, 2, 3])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_passes_and_processes_share_out_exactly_the_batch(accumulate, processes):
    config = TrainConfig(batch_size=9, accumulate=accumulate)
    for step in range(6):
        batch = batch_indices(23, step, config)
        split = [step_parts(23, step, config, rank, processes) for rank in range(processes)]
        assert [len(parts) for parts in split] == [min(accumulate, len(batch))] * processes
        in_order = [part for parts in zip(*split, strict=True) for part in parts]
        assert torch.cat([part.indices for part in in_order]).tolist() == batch.tolist()
        assert all(batch[part.rows].tolist() == part.indices.tolist() for part in in_order)
        assert sum(part.share for part in split[0]) == pytest.approx(1)
        assert batch_length(23, step, config) == len(batch)


def test_a_pass_without_a_sample_for_every_process_is_refused():
    check_divisible(12, TrainConfig(batch_size=5), 2)
    with pytest.raises(InputError, match=r"accumulate=2: the smallest pass over 12 samples has 1 for 2 processes"):
        check_divisible(12, TrainConfig(batch_size=5, accumulate=2), 2)
    for count, fields in ((9, {"batch_size": 4}), (5, {"batch_size": 1}), (4, {"batch_size": 4, "accumulate": 3})):
        check_divisible(count, TrainConfig(**fields), 1)
        with pytest.raises(InputError, match=r"has one, whose deepest map is a single cell, too little for batch norm"):
            check_divisible(count, TrainConfig(**fields), 1, cells=1)
    check_divisible(9, TrainConfig(batch_size=3), 1, cells=1)
    with pytest.raises(InputError, match="no training sample"):
        check_divisible(0, TrainConfig(), 1)
