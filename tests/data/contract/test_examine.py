"""The data contract, on virtual patients stored as others would have, and with every fault planted that it names."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from msa2net_lib.data.contract.examine import WIDTH, Contract, examine
from msa2net_lib.data.contract.flips import apply_flip, undo_flip
from msa2net_lib.data.contract.rows import Row
from msa2net_lib.data.contract.survey import survey
from msa2net_lib.data.datasets import PreparedDataset
from msa2net_lib.data.labels import raw_to_scheme
from msa2net_lib.data.prepared_files import find_prepared
from msa2net_lib.data.splits import SYNAPSE_SLICES, SYNAPSE_TEST_CASES
from msa2net_lib.data.synapse import prepare_synapse
from msa2net_lib.data.virtual.patient import make_virtual_patient
from msa2net_lib.data.volumes import read_pair, window

pytestmark = pytest.mark.slow

TRAIN, TEST = ("1001", "1002"), ("2001",)


@pytest.fixture(scope="module")
def patients(example_ct):
    """Image in [0, 1] and raw labels of three virtual patients, from every other voxel: an eighth of the work."""
    pair = read_pair(example_ct / "img" / "img0001.nii.gz", example_ct / "label" / "label0001.nii.gz")
    half = [replace(each, array=each.array[::2, ::2, ::2].copy(), spacing=(6.0, 6.0, 6.0)) for each in pair]
    made = [make_virtual_patient(*half, seed) for seed in range(3)]
    return [(window(image.array), label.array) for image, label in made]


@pytest.fixture(scope="module")
def stored(patients, tmp_path_factory):
    """Write them as somebody else would: a scheme, a flip, float labels, no word on either."""

    def write(scheme="A", flip="none", names=(*TRAIN, *TEST)):
        root = tmp_path_factory.mktemp("stored") / "Synapse"
        for folder in ("train_npz", "test_vol_h5", "lists/lists_Synapse"):
            (root / folder).mkdir(parents=True)
        slices = []
        for (image, label), name in zip(patients, names, strict=True):
            labels = label if scheme == "raw" else raw_to_scheme(label, scheme)
            arrays = undo_flip(image, flip), undo_flip(labels.astype(np.float32), flip)
            if name in TEST or name in SYNAPSE_TEST_CASES:
                write_volume(root, f"case{name}", *arrays)
                continue
            for z, (image_2d, label_2d) in enumerate(zip(*arrays, strict=True)):
                slices.append(f"case{name}_slice{z:03d}")
                np.savez(root / "train_npz" / f"{slices[-1]}.npz", image=image_2d, label=label_2d)
        tests = [p.name.removesuffix(".npy.h5") for p in root.glob("test_vol_h5/*")]
        (root / "lists" / "lists_Synapse" / "train.txt").write_text("\n".join(slices) + "\n")
        (root / "lists" / "lists_Synapse" / "test_vol.txt").write_text("\n".join(tests) + "\n")
        return root

    return write


@pytest.fixture(scope="module")
def good(stored):
    """Scheme A, nothing turned. Read only."""
    return stored()


@pytest.fixture(scope="module")
def passed(good):
    """Its contract."""
    return examine(good, progress=False)


@pytest.fixture
def copy(good, tmp_path):
    """A copy of it to spoil."""
    return Path(shutil.copytree(good, tmp_path / "copy"))


def write_volume(root, name, image, label):
    with h5py.File(root / "test_vol_h5" / f"{name}.npy.h5", "w") as file:
        file["image"], file["label"] = image, label


def change(path, **changes):
    """Change arrays of an npz file: each keyword is a function of the array."""
    with np.load(path) as arrays:
        content = {key: changes.get(key, lambda a: a)(arrays[key]) for key in arrays.files}
    np.savez(path, **content)


def slices_of(root, case):
    return sorted(root.glob(f"train_npz/case{case}_*.npz"))


def row(contract: Contract, what: str) -> Row:
    return next(row for row in contract.rows if row.what == what)


def results(contract, *but):
    """Results of all rows except those named, and organ volumes, which need a spacing."""
    return {row.result for row in contract.rows if row.what not in (*but, "organ volumes")}


def test_good_data_pass(passed):
    assert passed.passed
    assert results(passed) == {"ok"}
    assert (passed.label_scheme, passed.flip, passed.own) == ("A", "none", False)
    assert row(passed, "organ volumes").result == "not checked"
    assert str(passed).endswith("passed: labels are read as scheme A, arrays with flip none")


def test_printed_table(passed, good):
    """Every line fits, columns stand below each other, and twice the same is the same."""
    lines = str(passed).splitlines()
    assert max(map(len, lines)) <= WIDTH == 120
    assert lines[0] == f"{good}: prepared by others"
    starts = [lines[1].index(word) for word in ("result", "asked", "expected", "found")]
    cells = next(line for line in lines if "label values" in line)
    assert [cells[start:].split("  ")[0] for start in starts] == [
        "ok",
        "label values",
        "0 to 8: the eight organs",
        "0 to 8",
    ]
    assert str(examine(good, progress=False)) == str(passed)


def test_long_findings_fit_the_table(passed):
    long = Row("x", "y " * 60, "/very/long/path" * 20, "wrong", "remedy " * 40, ("detail " * 40,))
    assert max(map(len, str(replace(passed, rows=(long,), root=Path("/a" * 100))).splitlines())) <= WIDTH


@pytest.mark.parametrize(("scheme", "flip"), [("B", "none"), ("C", "tyz"), ("raw", "x"), ("A", "xy")])
def test_others_schemes_and_orientations(stored, good, refused, scheme, flip):
    """The scheme is found; a flip is asked for, by its value; then the data read as the good ones do."""
    root = stored(scheme, flip)
    first = examine(root, progress=False)
    assert first.label_scheme == scheme
    if flip != "none":
        assert not first.passed
        assert row(first, "orientation").result == "wrong"
        assert row(first, "orientation").remedy == f"run `msa2net prepare synapse --prepared {root} --flip {flip}`"
        refused([root, "not passed: orientation"], first.write)
        assert not (root / "contract.json").exists()
    contract = examine(root, flip=flip, progress=False)
    assert contract.passed
    assert contract.write() == root / "contract.json"
    read, expected = PreparedDataset.open(root), PreparedDataset.open(good).read_as("A")
    for one, two in (
        (read.load_case("case2001"), expected.load_case("case2001")),
        (
            read.hold_out(["case1001"])[1].load_case("case1001"),
            expected.hold_out(["case1001"])[1].load_case("case1001"),
        ),
    ):
        np.testing.assert_array_equal(one.image, two.image)
        np.testing.assert_array_equal(one.label, two.label)


def test_what_is_given_must_agree(good, stored):
    wrong = examine(good, label_scheme="B", progress=False)
    assert not wrong.passed
    assert wrong.label_scheme is None
    assert "the organs say A" in row(wrong, "label scheme").found
    wrong = examine(good, flip="y", progress=False)
    assert (wrong.flip, row(wrong, "orientation").result) == (None, "wrong")
    assert "--flip none`" in row(wrong, "orientation").remedy
    right = examine(good, label_scheme="A", flip="none", progress=False)
    assert right.passed
    assert right.established == ("given, and seen from the organs",) * 2


def test_arguments_that_are_none(good, refused):
    refused("'D'", examine, good, label_scheme="D", progress=False)
    refused("'u'", examine, good, flip="u", progress=False)
    refused("no such folder", examine, good / "nowhere", progress=False)


@pytest.fixture
def kept(copy):
    """Keep some labels of the copy only."""

    def keep(*labels):
        for path in copy.glob("train_npz/*.npz"):
            change(path, label=lambda a: np.where(np.isin(a, labels), a, 0))
        with h5py.File(copy / "test_vol_h5" / "case2001.npy.h5", "r") as file:
            arrays = np.asarray(file["image"]), np.asarray(file["label"])
        write_volume(copy, "case2001", arrays[0], np.where(np.isin(arrays[1], labels), arrays[1], 0))
        return copy

    return keep


def test_undecided_scheme_stops_and_asks(kept, refused):
    """Liver and left kidney have the same numbers in A and B."""
    root = kept(3, 5)
    contract = examine(root, progress=False)
    assert not contract.passed
    assert contract.label_scheme is None
    assert "--label-scheme A` (or B, C, raw)" in row(contract, "label scheme").remedy
    assert row(contract, "orientation").result == "not checked"
    assert "not passed: label scheme, orientation" in str(contract)
    refused([root, "label scheme"], contract.write)
    given = examine(root, label_scheme="B", flip="none", progress=False)
    assert given.passed
    assert given.established[0] == "given"
    assert row(given, "label scheme").result == "warning"
    assert not examine(root, label_scheme="C", progress=False).passed


def test_undecided_orientation_stops_and_asks(kept):
    root = kept(3, 4)
    contract = examine(root, label_scheme="A", progress=False)
    assert not contract.passed
    found = row(contract, "orientation")
    assert found.result == "wrong"
    assert "plot_orientation" in found.remedy
    assert f"--prepared {root} --label-scheme A --flip VALUE" in found.remedy
    given = examine(root, label_scheme="A", flip="none", progress=False)
    assert (given.passed, given.established) == (True, ("given", "given"))


def test_contract_on_disk(copy, refused):
    contract = examine(copy, progress=False)
    contract.write()
    stored = json.loads((copy / "contract.json").read_text())
    assert (stored["label_scheme"], stored["flip"]) == ("A", "none")
    assert stored["label_scheme_from"] == stored["flip_from"] == "seen from the organs"
    count = len(list(copy.glob("train_npz/*"))) + 1
    assert stored["files"]["count"] == count
    assert len(stored["files"]["sha256"]) == 64
    assert len(stored["rows"]) == len(contract.rows)
    digest = PreparedDataset.open(copy).digest()
    # Another pixel in a file of the same size: only a new contract, and the digest by it, can tell.
    path = slices_of(copy, "1001")[0]
    size = path.stat().st_size
    change(path, image=lambda a: np.where(np.arange(a.size).reshape(a.shape) == 0, 0.5, a).astype(np.float32))
    assert path.stat().st_size == size
    examine(copy, progress=False).write()
    assert PreparedDataset.open(copy).digest() != digest
    assert not list(copy.glob(".partial-*"))
    path.unlink()
    refused("missing", PreparedDataset.open, copy)


def test_labels_changed_after_the_contract(copy, refused):
    """Rewritten in another scheme and the same size, they no longer load, and the next examination withdraws it."""
    examine(copy, progress=False).record()
    size = sum(path.stat().st_size for path in copy.glob("*/*.*"))
    for path in slices_of(copy, "1002"):
        change(path, label=lambda a: np.array([0, 7, 4, 3, 2, 5, 8, 1, 6], a.dtype)[a.astype(int)])
    assert sum(path.stat().st_size for path in copy.glob("*/*.*")) == size
    stale = PreparedDataset.open(copy)
    refused([copy / "contract.json", "since it was made"], stale.load_slice, "case1002_slice000")
    contract = examine(copy, progress=False)
    assert not contract.passed
    last = str(contract).splitlines()[-1]
    assert last == "not passed: label scheme, orientation; the contract.json from before no longer holds"
    assert contract.record() is None
    assert not (copy / "contract.json").exists()
    refused("nobody has checked", PreparedDataset.open(copy).load_slice, "case1002_slice000")
    assert "from before" not in str(examine(copy, progress=False))


def test_write_refuses_and_withdraws(copy, refused):
    """With the files as they were: who now says otherwise than the organs has no contract any more."""
    contract = examine(copy, progress=False)
    assert contract.write() == copy / "contract.json"
    assert PreparedDataset.open(copy).load_case("case2001").label.any()
    refused([copy, "not passed: label scheme"], examine(copy, label_scheme="B", progress=False).write)
    assert not (copy / "contract.json").exists()
    refused("nobody has checked", PreparedDataset.open(copy).load_case, "case2001")


def test_folder_that_cannot_be_written(good, refused):
    """As another user, for whom the folder is read-only; run as root, this test becomes one."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(shutil.copytree(good, Path(folder) / "data"))
        contract = examine(root, progress=False)
        contract.write()
        wrong = examine(root, label_scheme="B", progress=False)
        for path in (Path(folder), root):
            path.chmod(0o555)
        user = os.geteuid()
        try:
            if user == 0:
                os.seteuid(65534)
            assert (root / "train_npz").is_dir()  # readable
            refused([root / "contract.json", "cannot be written", "permissions"], contract.write)
            refused([root / "contract.json", "cannot be removed", "permissions"], wrong.record)
        finally:
            os.seteuid(user)
            for path in (Path(folder), root):
                path.chmod(0o755)


@pytest.mark.parametrize(
    ("changes", "what", "words"),
    [
        ({"image": lambda a: a * 255}, "gray values", "0 to 255"),
        ({"image": lambda a: a * 400 - 125}, "gray values", "HU"),
        ({"image": lambda a: a * 2 - 1}, "gray values", "-1 to 1"),
        ({"image": lambda a: a * 1.3 - 0.1}, "gray values", "overshoot"),
        ({"image": lambda a: a / 0}, "gray values", "not finite"),
        ({"image": lambda a: a * 0 + 0.5}, "contrast", "single gray"),
        ({"label": lambda a: a + 0.5}, "files", "whole numbers"),
        ({"label": lambda a: -a}, "files", "whole numbers"),
        ({"label": lambda a: a[:-1]}, "files", "one shape"),
        ({"label": lambda a: np.where(a == 5, 77, a)}, "label values", "77"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_arrays_in_another_form(copy, changes, what, words):
    for path in slices_of(copy, "1001"):
        change(path, **changes)
    contract = examine(copy, progress=False)
    found = row(contract, what)
    assert not contract.passed
    assert found.result == "wrong"
    assert words in found.found
    assert "1001" in found.found + found.remedy


def test_hardly_any_contrast(copy):
    for path in slices_of(copy, "1002"):
        change(path, image=lambda a: a / 4)
    contract = examine(copy, progress=False)
    assert row(contract, "contrast").result == "warning"
    assert "case1002 0 to 0.25" in row(contract, "contrast").found
    assert row(contract, "liver's gray").result == "warning"


def test_liver_s_gray_in_hu(passed, patients):
    means = [np.mean(image[label == 6]) * 400 - 125 for image, label in patients]
    assert row(passed, "liver's gray").found == f"{min(means):.0f} to {max(means):.0f} HU"


def test_damaged_files_are_told_and_the_rest_is_read(copy):
    first, second = slices_of(copy, "1001")[:2]
    first.write_bytes(first.read_bytes()[:100])
    np.savez(second, image=np.zeros((4, 4)))
    volume = copy / "test_vol_h5" / "case2001.npy.h5"
    volume.write_bytes(volume.read_bytes()[:3000])
    contract = examine(copy, progress=False)
    found = row(contract, "files")
    assert found.result == "wrong"
    assert found.found.startswith(f"3 of {contract.files.count} not")
    told = " ".join([found.found, *found.details])
    assert all(str(path) in told for path in (first, second, volume))
    assert "damaged" in told
    assert "lacks an array" in told
    assert row(contract, "label scheme").result == "ok"
    assert not contract.passed


def test_missing_and_unlisted_files(copy):
    paths = slices_of(copy, "1001")
    paths[5].unlink()
    np.savez(copy / "train_npz" / "case7777_slice000.npz", image=np.zeros((4, 4)), label=np.zeros((4, 4)))
    contract = examine(copy, progress=False)
    assert f"{paths[5]}: no such file" in row(contract, "files").found
    assert "case7777_slice000.npz" in row(contract, "lists").found
    assert row(contract, "lists").result == "warning"
    assert not contract.passed


@pytest.mark.parametrize("name", ["train", "test", "none"])
def test_one_scan_under_two_names(copy, name):
    """A test volume that is also a training case, whatever its labels, or a test case twice."""
    lists = copy / "lists" / "lists_Synapse"
    with h5py.File(copy / "test_vol_h5" / "case2001.npy.h5") as file:
        image, label = file["image"][...], file["label"][...]
    if name == "none":
        assert row(examine(copy, progress=False), "scans").result == "ok"
        return
    if name == "train":
        name = "case1999"
        for z, (one, other) in enumerate(zip(image, label, strict=True)):
            np.savez(copy / "train_npz" / f"{name}_slice{z:03d}.npz", image=one, label=np.where(other == 1, 2, other))
        with (lists / "train.txt").open("a") as file:
            file.write("".join(f"\n{name}_slice{z:03d}" for z in range(len(image))))
    else:
        name = "case2999"
        with h5py.File(copy / "test_vol_h5" / f"{name}.npy.h5", "w") as file:
            file.create_dataset("image", data=image, compression="gzip")
            file["label"] = label
        with (lists / "test_vol.txt").open("a") as file:
            file.write(f"\n{name}")
    found = row(examine(copy, progress=False), "scans")
    assert found.result == "warning"
    assert name in found.found
    assert "case2001 (test)" in found.found
    assert ("training data" in found.remedy) == (name == "case1999")


def test_lists(copy):
    lists = copy / "lists" / "lists_Synapse"
    slices = (lists / "train.txt").read_text().split()
    (lists / "train.txt").write_text("\n".join([*slices[:7], *slices[8:]]))
    contract = examine(copy, progress=False)
    assert row(contract, "slices per case").result == "wrong"
    assert row(contract, "slices per case").found.endswith("lacks 7")
    (lists / "train.txt").write_text("\n".join([*slices, slices[0]]))
    assert "listed twice" in row(examine(copy, progress=False), "lists").found
    (lists / "train.txt").write_text("\n".join([*slices, "case2001_slice000"]))
    contract = examine(copy, progress=False)
    assert "both to train and to test on" in row(contract, "lists").found
    assert not contract.passed
    for path in lists.iterdir():
        path.unlink()
    contract = examine(copy, progress=False)
    assert row(contract, "lists").found.startswith("no lists")
    assert contract.passed


def test_slices_of_several_sizes(copy):
    change(slices_of(copy, "1002")[0], image=lambda a: a[:-1], label=lambda a: a[:-1])
    found = row(examine(copy, progress=False), "slice size")
    assert (found.result, found.found) == ("wrong", "50 x 61, 51 x 61")
    assert "case1002" in found.remedy


def test_organs_missing_in_one_case(copy):
    for path in slices_of(copy, "1002"):
        change(path, label=lambda a: np.where(np.isin(a, (2, 4)), 0, a))
    contract = examine(copy, progress=False)
    assert row(contract, "organs").result == "warning"
    assert row(contract, "organs").found == "case1002 lacks gallbladder, right kidney"
    assert contract.passed


def test_one_case_in_another_scheme_or_turned(copy, patients):
    for z, path in enumerate(slices_of(copy, "1002")):
        change(path, label=lambda a, z=z: raw_to_scheme(patients[1][1][z], "B").astype(a.dtype))
    contract = examine(copy, progress=False)
    assert not contract.passed
    assert "case1002" in row(contract, "label scheme").found
    assert not examine(copy, label_scheme="A", progress=False).passed


def test_one_case_turned(copy):
    for path in slices_of(copy, "1002"):
        change(path, image=lambda a: apply_flip(a, "y"), label=lambda a: apply_flip(a, "y"))
    contract = examine(copy, progress=False)
    assert not contract.passed
    assert "case1002" in row(contract, "orientation").found


@pytest.fixture(scope="module")
def published(stored):
    """The names of the published data, for patients who are not in it: 2 of 18 cases, 1 of 12."""
    return stored(names=("0005", "0040", "0008"))


def test_published_names_are_held_to_the_published_numbers(published, patients):
    contract = examine(published, progress=False)
    assert row(contract, "training slices").expected == f"{sum(SYNAPSE_SLICES.values())} slices in 18 cases"
    assert row(contract, "training slices").result == row(contract, "test volumes").result == "warning"
    assert row(contract, "test volumes").expected == "12 volumes"
    assert row(contract, "slice size").result == "warning"
    assert row(contract, "split").result == "ok"
    found = row(contract, "slices per case")
    assert found.result == "wrong"
    numbers = len(patients[0][0]), len(patients[1][0])
    assert found.found.startswith(f"case0005 has {numbers[0]} and lacks {numbers[0]}, {numbers[0] + 1}, ")
    assert f"; case0040 has {numbers[1]} and lacks" in found.found
    # 216 mm3 a voxel, where BTCV's are at most 0.98 x 0.98 x 5: less than a fifth of each organ.
    found = row(contract, "organ volumes")
    assert found.result == "warning"
    kidney = np.count_nonzero(patients[0][1] == 3)
    assert f"case0005 left kidney {kidney * 0.54**2 * 2.5e-3:.3g} to {kidney * 0.98**2 * 5e-3:.3g} ml" in found.found


def test_more_slices_than_published(published, tmp_path):
    """A case that has its 195 slices and one more is another preparation, but whole."""
    root = Path(shutil.copytree(published, tmp_path / "more"))
    shutil.rmtree(root / "lists")
    for path in slices_of(root, "0005"):
        path.unlink()
    last = slices_of(root, "0040")[-1]
    for z in range(len(slices_of(root, "0040")), 196):
        shutil.copyfile(last, last.with_name(f"case0040_slice{z:03d}.npz"))
    found = row(examine(root, progress=False), "slices per case")
    assert (found.result, found.found) == ("warning", "case0040 has 196 instead of 195")


def test_test_case_in_the_training_list(published, tmp_path):
    root = Path(shutil.copytree(published, tmp_path / "leak"))
    for path in slices_of(root, "0005"):
        path.rename(path.with_name(path.name.replace("0005", "0001")))
    shutil.rmtree(root / "lists")
    found = row(examine(root, progress=False), "split")
    assert (found.result, found.found) == ("warning", "case0001 on the other side")


@pytest.fixture(scope="module")
def own(example_ct, tmp_path_factory):
    """What we prepare ourselves from patient 1, spacing and all."""
    destination = tmp_path_factory.mktemp("own") / "prepared"
    prepare_synapse(example_ct, destination, train_cases=["0001"], test_cases=[], workers=1, progress=False)
    return destination


def test_data_of_our_own(own, tmp_path, refused):
    before = PreparedDataset.open(own).digest()
    contract = examine(own, progress=False)
    assert contract.passed
    assert contract.own
    assert results(contract) <= {"ok", "not checked"}
    assert "the organs agree" in row(contract, "label scheme").found
    assert contract.write() is None
    assert not (own / "contract.json").exists()
    assert PreparedDataset.open(own).digest() == before
    refused("prepare the scans again with --flip", examine, own, flip="x", progress=False)
    refused("prepare the scans again with --flip", examine, own, label_scheme="A", progress=False)


def test_volumes_with_spacing(own, example_ct):
    """Patient 1 is 3 mm apart everywhere; of a patient 10 times as large nothing is plausible.

    Aorta, liver, spleen and stomach reach the top of the scan.
    """
    found = row(examine(own, progress=False), "organ volumes")
    assert (found.result, found.found[:11]) == ("ok", "4 plausible")
    manifest = json.loads((own / "dataset.json").read_text())
    manifest["cases"]["case0001"]["spacing_mm"] = [30.0, 30.0, 30.0]
    text = (own / "dataset.json").read_text()
    (own / "dataset.json").write_text(json.dumps(manifest))
    try:
        found = row(examine(own, progress=False), "organ volumes")
    finally:
        (own / "dataset.json").write_text(text)
    assert found.result == "warning"
    _, label = read_pair(example_ct / "img" / "img0001.nii.gz", example_ct / "label" / "label0001.nii.gz")
    assert f"case0001 gallbladder {np.count_nonzero(label.array == 4) * 27:.3g} ml" in found.found


def test_own_labels_that_are_not_what_they_are_said_to_be(own, tmp_path):
    root = Path(shutil.copytree(own, tmp_path / "wrong"))
    for path in root.glob("train_npz/*.npz"):
        change(path, label=lambda a: np.array([0, 7, 4, 3, 2, 5, 8, 1, 6], np.uint8)[a])
    contract = examine(root, progress=False)
    assert not contract.passed
    assert row(contract, "label scheme").result == "wrong"


def test_own_data_with_other_classes(tmp_path):
    root = tmp_path / "own"
    (root / "train_npz").mkdir(parents=True)
    (root / "lists").mkdir()
    rng = np.random.default_rng(0)
    label = np.zeros((8, 8), np.uint8)
    label[2:5, 2:5], label[6, 6] = 1, 2
    for z in range(3):
        image = rng.random((8, 8), dtype=np.float32)
        image[0, :2] = 0, 1
        np.savez(root / "train_npz" / f"a_slice{z:03d}.npz", image=image, label=label)
    (root / "lists" / "train.txt").write_text("".join(f"a_slice{z:03d}\n" for z in range(3)))
    (root / "dataset.json").write_text(json.dumps({"organs": {"liver": 1, "tumour": 2}}))
    contract = examine(root, progress=False)
    assert contract.passed
    assert contract.label_scheme is None
    assert row(contract, "label scheme").found == "liver, tumour"
    assert row(contract, "organs").expected == "all 2 in every case"


def test_checksum_is_the_files(good):
    """The survey's checksum, with coreutils' format and hashlib's digest of it."""
    paths = sorted([*good.glob("train_npz/*.npz"), *good.glob("test_vol_h5/*.h5")])
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(good).as_posix()}\n" for p in paths]
    text = "".join(sorted(lines, key=lambda line: line[66:]))
    found = survey(find_prepared(good), progress=False).files
    assert found.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert found.bytes == sum(path.stat().st_size for path in paths)
