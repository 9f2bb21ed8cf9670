"""Damaged files of every format: refused in one line, or read as every other reader reads them.

Formats without checksums cannot notice a changed voxel, and no reader of them can. So what we read is compared, values
and places, with what readers that are not ours make of the very same bytes, where they read them; and a result that
differs from the good file's is allowed only where one does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from fuzz_formats import FORMATS, Arrays
from fuzz_process import Reader
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from msa2net_lib.data.formats.grid import displacement

pytestmark = pytest.mark.slow

EXAMPLES = 60
DISTINCT = 40
"""How many different damaged files of a format there are at least; some examples of the 60 are alike."""

REPEATABLE = settings(
    max_examples=EXAMPLES, derandomize=True, database=None, deadline=None, suppress_health_check=[*HealthCheck]
)
HEADERS_BYTE_BY_BYTE = ("nii", "nrrd raw", "mha raw", "mhd header")


class Damage(NamedTuple):
    """What is done to a file at byte ``place``: ``kind`` with ``content``, ``length`` bytes long."""

    kind: str
    place: int
    content: bytes

    def to(self, good: bytes) -> bytes:
        """Return the damaged file."""
        before, after = good[: self.place], good[self.place :]
        length = len(self.content)
        match self.kind:
            case "flip":
                changed = bytes(old ^ new for old, new in zip(after, self.content, strict=False))
                return before + changed + after[length:]
            case "overwrite":
                return (before + self.content + after[length:])[: len(good)]
            case "zero":
                return (before + bytes(length) + after[length:])[: len(good)]
            case "insert":
                return before + self.content + after
            case "remove":
                return before + after[length:]
            case "cut":
                return before
        raise AssertionError(self.kind)


def damages(size: int, header: int) -> st.SearchStrategy[Damage]:
    """Draw damages of a file of ``size`` bytes, half of them in its first ``header`` bytes."""
    place = st.integers(0, min(header, size) - 1) | st.integers(0, size - 1)
    some = st.binary(min_size=1, max_size=16) | st.binary(min_size=64, max_size=64)
    one_bit = st.integers(0, 7).map(lambda bit: bytes([1 << bit]))
    return st.one_of(
        st.builds(Damage, st.just("flip"), place, one_bit),
        st.builds(Damage, st.just("flip"), place, st.binary(min_size=1, max_size=1)),
        st.builds(Damage, st.sampled_from(["overwrite", "zero", "insert", "remove"]), place, some),
        st.builds(Damage, st.just("cut"), place, st.just(b"")),
    )


class Trial:
    """Reads damaged versions of one good file and judges what comes of them."""

    def __init__(self, name: str, folder: Path, ours: Reader, theirs: Reader, second: Reader) -> None:
        self.format = FORMATS[name]
        self._ours, self._others = ours, (theirs, second) if self.format.second else (theirs,)
        self._damaged, self._target = self.format.write(folder)
        self.good = self._damaged.read_bytes()
        self._expected = self._read(ours)
        for other in self._others:
            assert self._alike(self._expected, self._read(other), self.format.tolerance)
        self.outcomes: Counter[str] = Counter()
        self.distinct: set[bytes] = set()

    def run(self, damage: Damage) -> None:
        """Read the file with this damage; fail unless the result is as it may be."""
        content = damage.to(self.good)
        self.distinct.add(content)
        self._damaged.write_bytes(content)
        answer, result = self._ours.read(self.format.name, self._target)
        assert answer != "failed", f"{self.format.name}, {damage}: {result}"
        self.outcomes[self._judge(damage, answer, result)] += 1

    def _judge(self, damage: Damage, answer: str, result: Arrays | str) -> str:
        if isinstance(result, str):
            assert answer == "refused"
            assert result.isprintable(), result
            assert self._damaged.name in result or str(self._target) in result, result
            return "refused"
        answers = [other.read(self.format.name, self._target) for other in self._others]
        read = [other for answer, other in answers if answer == "read"]
        for other in read:
            assert self._alike(result, other, self.format.tolerance), (
                f"{self.format.name}, {damage}: they read it otherwise"
            )
        as_it_was = self._alike(result, self._expected)
        assert as_it_was or read, f"{self.format.name}, {damage}: we read it, they do not: {answers}"
        return ("as it was" if as_it_was else "changed") + (", as they read it" if read else "")

    def _read(self, reader: Reader) -> Arrays:
        answer, result = reader.read(self.format.name, self._target)
        assert answer == "read", result
        return result

    def _alike(self, first: Arrays, second: Arrays, tolerance: float = 0.0) -> bool:
        """Compare what two readers make of a file; places in space to a tenth of a voxel, as the library does."""
        if [array.shape for array in first] != [array.shape for array in second]:
            return False
        for ours, theirs in zip(first, second, strict=True):
            if ours.shape == (3, 4):
                alike = displacement(ours, theirs, first[0].shape[::-1]) <= 0.1
            else:
                alike = np.allclose(
                    ours.astype(float), theirs.astype(float), rtol=1e-6, atol=max(tolerance, 1e-6), equal_nan=True
                )
            if not alike:
                return False
        return True


@pytest.fixture(scope="module")
def readers() -> Iterator[list[Reader]]:
    """Our readers and the others', each in a process of its own."""
    started = [Reader(whose) for whose in ("ours", "theirs", "second")]
    yield started
    for one in started:
        one.close()


@pytest.fixture
def trial(request, tmp_path, readers) -> Trial:
    return Trial(request.param, tmp_path, *readers)


def test_there_are_enough_damaged_files():
    assert DISTINCT * len(FORMATS) >= 500


@pytest.mark.parametrize("trial", FORMATS, indirect=True)
def test_damaged_file_is_refused_or_read_right(trial):
    @REPEATABLE
    @given(damage=damages(len(trial.good), trial.format.header))
    def check(damage: Damage) -> None:
        trial.run(damage)

    check()
    print(trial.format.name, dict(trial.outcomes))
    assert len(trial.distinct) >= DISTINCT
    assert trial.outcomes["refused"] > 0
    assert sum(count for outcome, count in trial.outcomes.items() if outcome.endswith("they read it")) > 0


@pytest.mark.parametrize("trial", HEADERS_BYTE_BY_BYTE, indirect=True)
def test_header_damaged_at_every_byte(trial):
    for place in range(min(trial.format.header, len(trial.good))):
        trial.run(Damage("flip", place, bytes([1 << place % 8])))
    print(trial.format.name, dict(trial.outcomes))


def test_process_that_crashes_or_hangs_is_noticed(tmp_path, monkeypatch):
    """The test of the test: without this, a segmentation fault in a decoder would end pytest itself."""
    monkeypatch.setattr("fuzz_process.SECONDS", 1.0)
    reader = Reader("misbehavior")
    assert reader.read("crash", tmp_path) == ("failed", "the process died with exit code -11")
    assert reader.read("hang", tmp_path) == ("failed", "no answer in 1.0 s")
    assert "MemoryError" in reader.read("allocate", tmp_path)[1]
    reader.close()
