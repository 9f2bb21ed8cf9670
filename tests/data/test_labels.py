"""Label schemes against the published tables, written out here once more."""

from __future__ import annotations

import numpy as np
import pytest

from msa2net_lib.data.labels import BTCV_IDS, ORGANS, SCHEMES, convert_scheme, raw_to_scheme

# Raw BTCV id -> id in each scheme; raw ids without an entry are background.
RAW_TO = {
    "A": {8: 1, 4: 2, 3: 3, 2: 4, 6: 5, 11: 6, 1: 7, 7: 8},
    "B": {1: 1, 2: 2, 3: 3, 4: 4, 6: 5, 7: 6, 8: 7, 11: 8},
    "C": {1: 1, 2: 2, 3: 3, 4: 4, 11: 5, 6: 6, 7: 7, 8: 8},
}


def test_tables_are_complete():
    assert sorted(BTCV_IDS.values()) == list(range(1, 14))
    assert tuple(sorted(SCHEMES["A"], key=SCHEMES["A"].__getitem__)) == ORGANS
    assert [SCHEMES["A"][organ] for organ in ORGANS] == list(range(1, 9))
    for ids in SCHEMES.values():
        assert set(ids) == set(ORGANS)
        assert sorted(ids.values()) == list(range(1, 9))


@pytest.mark.parametrize("scheme", RAW_TO)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64])
def test_every_raw_id(scheme, dtype):
    raw = np.arange(14, dtype=dtype).reshape(2, 7)
    expected = [RAW_TO[scheme].get(number, 0) for number in range(14)]
    converted = raw_to_scheme(raw, scheme)
    assert converted.dtype == np.uint8
    assert converted.shape == raw.shape
    assert converted.ravel().tolist() == expected


@pytest.mark.parametrize("source", RAW_TO)
@pytest.mark.parametrize("target", RAW_TO)
def test_converting_equals_reading_in_the_target_scheme(source, target):
    raw = np.arange(14)
    converted = convert_scheme(raw_to_scheme(raw, source), source, target)
    assert converted.tolist() == raw_to_scheme(raw, target).tolist()


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ([0, 14], ["14"]),
        ([3, -1], ["-1"]),
        ([1.0, 2.5], ["2.5"]),
        ([0.0, np.nan], ["nan"]),
        ([255, 99], ["99", "255"]),
    ],
)
def test_bad_ids_are_named(refused, values, named):
    refused(named, raw_to_scheme, np.array(values))


def test_scheme_ids_stop_at_eight_and_schemes_are_known(refused):
    refused("9", convert_scheme, np.array([9]), "A", "B")
    refused("'D'", raw_to_scheme, np.array([1]), "D")
    refused("complex", raw_to_scheme, np.array([1j]))
