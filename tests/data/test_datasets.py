"""Opening prepared folders, ours and TransUNet's, and resizing for the network."""

from __future__ import annotations

import hashlib
import json
import os
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from msa2net_lib.data.contract.flips import FLIPS, apply_flip
from msa2net_lib.data.datasets import PreparedDataset
from msa2net_lib.data.labels import BTCV_IDS, ORGANS, SCHEMES
from msa2net_lib.data.resize import normalize, resize_image, resize_label
from msa2net_lib.evaluation import volumes as evaluation


def write_contract(root, label_scheme="A", flip="none"):
    """Write the part of a contract that is read, by hand."""
    files = {p.relative_to(root).as_posix(): p.stat() for p in root.glob("*/*.*") if p.suffix in (".npz", ".h5")}
    lines = "".join(f"{name} {files[name].st_size} {files[name].st_mtime_ns}\n" for name in sorted(files))
    content = {"format": 2, "label_scheme": label_scheme, "flip": flip}
    content["files"] = {
        "count": len(files),
        "bytes": sum(stat.st_size for stat in files.values()),
        "sha256": "0" * 64,
        "stamp": hashlib.sha256(lines.encode()).hexdigest(),
    }
    (root / "contract.json").write_text(json.dumps(content))


@pytest.fixture
def downloaded(tmp_path):
    """A folder as TransUNet's own preparation leaves it, and its contract: float labels, no manifest, no spacing."""
    root = tmp_path / "Synapse"
    rng = np.random.default_rng(5)
    (root / "train_npz").mkdir(parents=True)
    (root / "test_vol_h5").mkdir()
    (root / "lists" / "lists_Synapse").mkdir(parents=True)
    names = [f"case0031_slice{z:03d}" for z in (2, 0, 1)]
    for name in names:
        image = rng.random((20, 30), dtype=np.float32)
        np.savez(
            root / "train_npz" / f"{name}.npz",
            image=image,
            label=rng.integers(0, 9, (20, 30)).astype(np.float32),
        )
    with h5py.File(root / "test_vol_h5" / "case0008.npy.h5", "w") as file:
        file["image"] = rng.random((4, 20, 30), dtype=np.float32)
        file["label"] = rng.integers(0, 9, (4, 20, 30)).astype(np.float32)
    (root / "lists" / "lists_Synapse" / "train.txt").write_text("\n".join(names) + "\n")
    (root / "lists" / "lists_Synapse" / "test_vol.txt").write_text("case0008\n")
    write_contract(root)
    return root


def rewrite(path, **arrays):
    """Replace some arrays of an npz file; None drops one."""
    with np.load(path) as stored:
        merged = {**stored, **arrays}
    np.savez(path, **{key: value for key, value in merged.items() if value is not None})
    write_contract(path.parents[1])


def test_folder_prepared_by_others(downloaded):
    prepared = PreparedDataset.open(downloaded)
    assert prepared.train_slices == ["case0031_slice002", "case0031_slice000", "case0031_slice001"]
    assert prepared.test_cases == ["case0008"]
    assert prepared.manifest == {}
    image, label = prepared.load_slice("case0031_slice000")
    with np.load(downloaded / "train_npz" / "case0031_slice000.npz") as stored:
        np.testing.assert_array_equal(image, stored["image"])
        np.testing.assert_array_equal(label, stored["label"])
    assert (image.dtype, label.dtype) == (np.float32, np.uint8)
    case = prepared.load_case("case0008")
    with h5py.File(downloaded / "test_vol_h5" / "case0008.npy.h5") as file:
        np.testing.assert_array_equal(case.image, file["image"])
        np.testing.assert_array_equal(case.label, file["label"])
    assert (case.image.dtype, case.label.dtype, case.spacing) == (np.float32, np.uint8, None)


def test_lists_may_lie_one_folder_higher(downloaded):
    for path in (downloaded / "lists" / "lists_Synapse").iterdir():
        path.rename(downloaded / "lists" / path.name)
    assert len(PreparedDataset.open(downloaded).train_slices) == 3


def test_folder_that_is_not_prepared(tmp_path, refused):
    refused([tmp_path / "nowhere", "no such folder", "prepare"], PreparedDataset.open, tmp_path / "nowhere")
    refused([tmp_path, "no prepared data", "msa2net prepare"], PreparedDataset.open, tmp_path)


def test_unfinished_preparation(downloaded, refused):
    (downloaded / "cases").mkdir()
    refused([downloaded, "did not finish"], PreparedDataset.open, downloaded)


def test_broken_manifest(downloaded, refused):
    (downloaded / "dataset.json").write_text("{")
    refused([downloaded / "dataset.json", "not valid JSON"], PreparedDataset.open, downloaded)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"cases": ["liver_1"]}, "`cases`"),
        ({"cases": {"liver_1": [1, 2, 3]}}, "`cases`"),
        ({"cases": {"liver_1": {"spacing_mm": [1.0, 2.0]}}}, "`spacing_mm` of liver_1"),
        ({"cases": {"liver_1": {"spacing_mm": [1.0, 2.0, 0]}}}, "`spacing_mm` of liver_1"),
        ({"cases": {"liver_1": {"spacing_mm": [1.0, 2.0, float("nan")]}}}, "`spacing_mm` of liver_1"),
        ({"cases": {"liver_1": {"spacing_mm": "1 2 3"}}}, "`spacing_mm` of liver_1"),
        ({"validation": "liver_1"}, "`validation`"),
        ({"validation": [1]}, "`validation`"),
    ],
)
def test_records_of_cases_that_are_none(own, refused, content, words):
    (own / "dataset.json").write_text(json.dumps({"organs": {"liver": 1, "tumour": 2}, **content}))
    refused([own / "dataset.json", words], PreparedDataset.open, own)
    # What others call `cases` in a dataset.json of theirs is their affair.
    (own / "dataset.json").write_text(json.dumps(content))
    held = PreparedDataset.open(own).read_as("A").hold_out(["liver_1"])[1]
    assert held.load_case("liver_1").spacing is None


@pytest.mark.parametrize("name", ["train_npz/case0031_slice001.npz", "test_vol_h5/case0008.npy.h5"])
def test_listed_file_that_is_missing(downloaded, refused, name):
    (downloaded / name).unlink()
    refused([downloaded / name, "missing", ".txt"], PreparedDataset.open, downloaded)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"label": None}, "lacks an array"),
        ({"image": np.full((20, 30), 1.01)}, "leaves [0, 1]"),
        ({"image": np.full((20, 30), -0.01)}, "leaves [0, 1]"),
        ({"image": np.full((20, 30), np.nan)}, "leaves [0, 1]"),
        ({"label": np.full((20, 30), 9)}, "9"),
        ({"label": np.full((20, 30), 1 / 255)}, "0.00392157"),
        ({"label": np.zeros((20, 29))}, "one shape"),
        ({"image": np.zeros((1, 20, 30)), "label": np.zeros((1, 20, 30))}, "2-D"),
    ],
)
def test_slice_in_another_form(downloaded, refused, arrays, words):
    path = downloaded / "train_npz" / "case0031_slice000.npz"
    rewrite(path, **arrays)
    prepared = PreparedDataset.open(downloaded)
    refused([path, words], prepared.load_slice, "case0031_slice000")


def test_damaged_files(downloaded, refused):
    prepared = PreparedDataset.open(downloaded)
    for path in (prepared.slice_path("case0031_slice000"), prepared.case_path("case0008")):
        path.write_bytes(path.read_bytes()[:200])
    refused([prepared.slice_path("case0031_slice000"), "damaged"], prepared.load_slice, "case0031_slice000")
    refused([prepared.case_path("case0008"), "damaged"], prepared.load_case, "case0008")
    refused("no such file", prepared.load_slice, "case0099_slice000")


def test_volume_without_label_or_with_half_a_spacing(downloaded, refused):
    prepared = PreparedDataset.open(downloaded)
    with h5py.File(prepared.case_path("case0008"), "a") as file:
        file.attrs["spacing"] = [3.0, 1.0]
    refused([prepared.case_path("case0008"), "damaged"], prepared.load_case, "case0008")
    with h5py.File(prepared.case_path("case0008"), "a") as file:
        file.attrs["spacing"] = [3.0, 1.0, 0.5]
        assert prepared.load_case("case0008").spacing == (3.0, 1.0, 0.5)
        del file["label"]
    refused([prepared.case_path("case0008"), "lacks an array"], prepared.load_case, "case0008")


@pytest.mark.parametrize("size", [32, (17, 53), 224, (20, 30)])
def test_resizing_gives_the_asked_shape_and_keeps_labels(size):
    rng = np.random.default_rng(0)
    image = rng.random((20, 30), dtype=np.float32)
    label = rng.choice(np.array([0, 2, 7], np.uint8), (20, 30))
    height, width = (size, size) if isinstance(size, int) else size
    resized, relabeled = resize_image(image, size), resize_label(label, size)
    assert resized.shape == relabeled.shape == (height, width)
    assert (resized.dtype, relabeled.dtype) == (np.float32, np.uint8)
    assert set(np.unique(relabeled)) == {0, 2, 7}
    # zoom maps the corners onto the corners.
    np.testing.assert_allclose(
        resized[[0, 0, -1, -1], [0, -1, 0, -1]], image[[0, 0, -1, -1], [0, -1, 0, -1]], atol=1e-5
    )
    assert relabeled[-1, 0] == label[-1, 0]


def test_cubic_resize_follows_a_smooth_function():
    y, x = np.mgrid[0:1:25j, 0:1:33j]
    fine_y, fine_x = np.mgrid[0:1:97j, 0:1:65j]
    resized = resize_image(np.sin(3 * y) * x**2, (97, 65))
    # Away from the border, where the mirror ending bends the spline. Linear resizing would be off by 2e-3.
    np.testing.assert_allclose(resized[12:-12, 8:-8], (np.sin(3 * fine_y) * fine_x**2)[12:-12, 8:-8], atol=5e-4)


def test_cubic_resize_overshoots_a_step():
    step = np.zeros((16, 16), np.float32)
    step[:, 8:] = 1
    resized = resize_image(step, 64)
    assert resized.min() < -0.05
    assert resized.max() > 1.05


@pytest.mark.parametrize("size", [0, (32, -1)])
def test_size_that_is_none(refused, size):
    refused("positive", resize_label, np.zeros((4, 4)), size)


def test_only_slices_are_resized(refused):
    refused("one slice", resize_image, np.zeros((2, 4, 4)), 8)


def test_normalize():
    normalized = normalize(np.array([0.0, 0.25, 1.0]))
    assert normalized.dtype == np.float32
    assert normalized.tolist() == [-1.0, -0.5, 1.0]


def test_manifest_is_read(downloaded):
    (downloaded / "dataset.json").write_text(json.dumps({"label_scheme": "A"}))
    assert PreparedDataset.open(downloaded).manifest == {"label_scheme": "A"}


def test_labels_that_nobody_has_checked(downloaded, refused):
    (downloaded / "contract.json").unlink()
    prepared = PreparedDataset.open(downloaded)
    words = [downloaded, "nobody has checked", f"msa2net prepare synapse --prepared {downloaded}"]
    refused(words, prepared.load_slice, "case0031_slice000")
    refused(words, prepared.load_case, "case0008")
    refused(words, prepared.training_sample, "case0031_slice000", 16)
    # Tried out, they load, and only there.
    assert prepared.read_as("B", "y").load_case("case0008").label.shape == (4, 20, 30)
    refused(words, prepared.load_case, "case0008")


@pytest.mark.parametrize("scheme", ["A", "B", "C", "raw"])
def test_labels_come_in_scheme_a(downloaded, scheme):
    ids = BTCV_IDS if scheme == "raw" else SCHEMES[scheme]
    label = np.zeros((20, 30))
    label[:8, 0] = [ids[organ] for organ in ORGANS]
    label[0, 1] = 5 if scheme == "raw" else 0  # the esophagus is not scored
    rewrite(downloaded / "train_npz" / "case0031_slice000.npz", label=label)
    write_contract(downloaded, scheme)
    _, read = PreparedDataset.open(downloaded).load_slice("case0031_slice000")
    assert read[:8, 0].tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert np.count_nonzero(read) == 8


@pytest.mark.parametrize("flip", FLIPS)
def test_arrays_come_turned(downloaded, flip):
    """Slices, volumes, spacing and stacked cases agree with turning the stored arrays."""
    with h5py.File(downloaded / "test_vol_h5" / "case0008.npy.h5", "a") as file:
        file.attrs["spacing"] = [3.0, 1.0, 0.5]
        stored = np.asarray(file["image"]), np.asarray(file["label"])
    write_contract(downloaded, "A", flip)
    prepared = PreparedDataset.open(downloaded)
    case = prepared.load_case("case0008")
    np.testing.assert_array_equal(case.image, apply_flip(stored[0], flip))
    np.testing.assert_array_equal(case.label, apply_flip(stored[1], flip))
    assert case.spacing == ((3.0, 0.5, 1.0) if "t" in flip else (3.0, 1.0, 0.5))
    image, label = prepared.load_slice("case0031_slice001")
    assert image.shape == label.shape == ((30, 20) if "t" in flip else (20, 30))
    with np.load(prepared.slice_path("case0031_slice001")) as arrays:
        np.testing.assert_array_equal(image, apply_flip(arrays["image"], flip))
        np.testing.assert_array_equal(label, apply_flip(arrays["label"], flip))


def refused_labels(downloaded, refused, *words):
    """The folder opens, no label loads, and trying a reading out is still possible."""
    prepared = PreparedDataset.open(downloaded)
    assert prepared.reading is None
    words = [downloaded / "contract.json", *words]
    refused(words, prepared.load_slice, "case0031_slice001")
    refused(words, prepared.load_case, "case0008")
    assert prepared.read_as("A").load_slice("case0031_slice001")[1].max() <= 8


def test_files_other_than_the_contract_s(downloaded, refused):
    path = downloaded / "train_npz" / "case0031_slice000.npz"
    path.write_bytes(path.read_bytes() + b" ")
    refused_labels(downloaded, refused, "was made for 4 files", "once more")


def test_file_written_again_in_the_same_size(downloaded, refused):
    """Neither number nor bytes of the files tell it; their times do, also one older than the newest."""
    path = downloaded / "train_npz" / "case0031_slice000.npz"
    content, before = path.read_bytes(), path.stat()
    with np.load(path) as arrays:
        np.savez(path, image=arrays["image"], label=8 - arrays["label"])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns - 10**9))
    assert path.stat().st_size == before.st_size
    digest = PreparedDataset.open(downloaded).digest()
    refused_labels(downloaded, refused, "written, renamed or copied since", "once more")
    # As it was, content and time: the contract holds again, and the data are told by what they hold, not by times.
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    held = PreparedDataset.open(downloaded)
    assert held.load_slice("case0031_slice000")[1].dtype == np.uint8
    assert held.digest() != digest
    os.utime(path)
    write_contract(downloaded)
    assert PreparedDataset.open(downloaded).digest() == held.digest()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "damaged"),
        ("[]", "damaged"),
        ('{"format": 2}', "damaged"),
        ('{"format": 1}', "has format 1"),
        ('{"format": 2, "label_scheme": "A", "flip": "none", "files": {"count": 4, "bytes": 1}}', "damaged"),
        ("""{"format": 2, "label_scheme": "D", "flip": "none", "files": FILES}""", "'D'"),
        ("""{"format": 2, "label_scheme": "A", "flip": "q", "files": FILES}""", "'q'"),
    ],
)
def test_damaged_contract(downloaded, refused, content, words):
    files = '{"count": 4, "bytes": 1, "sha256": "", "stamp": ""}'
    (downloaded / "contract.json").write_text(content.replace("FILES", files))
    refused_labels(downloaded, refused, words)


def test_digest_tells_readings_apart(downloaded):
    digests = {PreparedDataset.open(downloaded).digest()}
    for scheme, flip in (("B", "none"), ("A", "x"), ("B", "x")):
        write_contract(downloaded, scheme, flip)
        digests.add(PreparedDataset.open(downloaded).digest())
    assert len(digests) == 4


@pytest.mark.parametrize("list_name", ["train.txt", "test_vol.txt"])
@pytest.mark.parametrize("entry", ["../case0008", "/etc/case0008", "..", "a" * 250, "x/../case0008"])
def test_ids_that_lead_elsewhere(downloaded, refused, list_name, entry):
    path = downloaded / "lists" / "lists_Synapse" / list_name
    path.write_text(f"{path.read_text()}{entry}\n")
    refused([path, "id "], PreparedDataset.open, downloaded)


def test_ids_that_lead_elsewhere_from_python(downloaded, refused):
    dataset = PreparedDataset.open(downloaded)
    outside = downloaded.parent / "case0008"
    (downloaded / "test_vol_h5" / "case0008.npy.h5").rename(outside.with_suffix(".npy.h5"))
    refused(["separator"], dataset.load_case, "../../case0008")
    refused(["separator"], dataset.load_case, str(outside))
    refused(["separator"], dataset.load_slice, "../train_npz/case0031_slice000")


@pytest.mark.parametrize(
    ("list_name", "twice"),
    [("train.txt", "case0031_slice000"), ("train.txt", "case0031_slice002"), ("test_vol.txt", "case0008")],
)
def test_an_id_twice_in_a_list(downloaded, refused, list_name, twice):
    path = downloaded / "lists" / "lists_Synapse" / list_name
    path.write_text(f"{path.read_text()}{twice}\n")
    refused([path, f"lists {twice} twice"], PreparedDataset.open, downloaded)


@pytest.mark.parametrize(
    "text",
    [
        '{"organs": {"liver": 1, "spleen": 2}, "organs": {"spleen": 1, "liver": 2}}',
        '{"organs": {"liver": 1, "liver": 2}}',
        '{"label_scheme": "A", "cases": {"case0031": {"spacing_mm": [1, 1, 1], "spacing_mm": [5, 1, 1]}}}',
    ],
)
def test_a_name_twice_in_the_manifest(own, refused, text):
    (own / "dataset.json").write_text(text)
    refused([own / "dataset.json", "stands twice"], PreparedDataset.open, own)


def elsewhere(path, kind, other):
    """Make the label of a test volume something that lies in another file."""
    with h5py.File(path, "a") as file:
        label = file["label"][...]
        del file["label"]
        with h5py.File(other, "w") as outside:
            outside["label"] = label
        if kind == "external link":
            file["label"] = h5py.ExternalLink(str(other), "/label")
        elif kind == "link through a link":
            file["others"] = h5py.ExternalLink(str(other), "/")
            file["label"] = h5py.SoftLink("/others/label")
        elif kind == "virtual":
            layout = h5py.VirtualLayout(label.shape, label.dtype)
            layout[:] = h5py.VirtualSource(str(other), "label", label.shape)
            file.create_virtual_dataset("label", layout)
        else:
            raw = other.with_suffix(".raw")
            raw.write_bytes(label.tobytes())
            file.create_dataset("label", label.shape, label.dtype, external=[(str(raw), 0, label.nbytes)])


@pytest.mark.parametrize("kind", ["external link", "link through a link", "virtual", "external bytes"])
def test_a_volume_does_not_read_other_files(downloaded, tmp_path, refused, kind):
    path = downloaded / "test_vol_h5" / "case0008.npy.h5"
    elsewhere(path, kind, tmp_path / "other.h5")
    write_contract(downloaded)
    refused([path, "label", "copy the array into this one"], PreparedDataset.open(downloaded).load_case, "case0008")


def test_a_link_within_a_volume_is_read(downloaded):
    with h5py.File(downloaded / "test_vol_h5" / "case0008.npy.h5", "a") as file:
        file.move("label", "annotator_1")
        file["label"] = h5py.SoftLink("/annotator_1")
    write_contract(downloaded)
    assert PreparedDataset.open(downloaded).load_case("case0008").label.any()


def test_headers_that_claim_gigabytes(downloaded, refused, monkeypatch):
    path = downloaded / "test_vol_h5" / "case0008.npy.h5"
    with h5py.File(path, "a") as file:
        del file["label"]
        file.create_dataset("label", (4000, 20000, 30000), np.float32, chunks=(1, 100, 100))
    write_contract(downloaded)
    dataset = PreparedDataset.open(downloaded)
    refused([path, "label", "MB, more than the file can hold"], dataset.load_case, "case0008")
    monkeypatch.setattr("msa2net_lib.data.prepared_files._MOST", 2000)
    refused(["case0031_slice000.npz", "image is said to have"], dataset.load_slice, "case0031_slice000")


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_lists_with_a_byte_order_mark(downloaded, ending):
    for path in (downloaded / "lists" / "lists_Synapse").iterdir():
        path.write_bytes(path.read_text().replace("\n", ending).encode("utf-8-sig"))
    prepared = PreparedDataset.open(downloaded)
    assert prepared.train_slices == ["case0031_slice002", "case0031_slice000", "case0031_slice001"]
    assert prepared.test_cases == ["case0008"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_lists_in_another_encoding(downloaded, refused, encoding):
    path = downloaded / "lists" / "lists_Synapse" / "test_vol.txt"
    path.write_bytes("Schädel\n".encode(encoding) if encoding == "latin-1" else path.read_text().encode(encoding))
    refused([path, "not UTF-8", "save it as UTF-8"], PreparedDataset.open, downloaded)


def test_manifest_with_a_byte_order_mark(own):
    (own / "dataset.json").write_text((own / "dataset.json").read_text(), encoding="utf-8-sig")
    assert PreparedDataset.open(own).class_names == ("liver", "tumour")


def test_lists_may_be_missing(downloaded, refused):
    for path in (downloaded / "lists" / "lists_Synapse").iterdir():
        path.unlink()
    prepared = PreparedDataset.open(downloaded)
    assert prepared.train_slices == [f"case0031_slice{z:03d}" for z in range(3)]
    assert prepared.test_cases == ["case0008"]
    refused([downloaded.parent, str(downloaded), "give that folder"], PreparedDataset.open, downloaded.parent)
    # Data of our own never come without.
    (downloaded / "dataset.json").write_text(json.dumps({"label_scheme": "A"}))
    refused([downloaded, "no lists"], PreparedDataset.open, downloaded)


@pytest.fixture
def own(tmp_path):
    """A folder as our recipes write it: two classes, three cases of 2, 3 and 4 slices, spacing recorded."""
    root = tmp_path / "own"
    (root / "train_npz").mkdir(parents=True)
    (root / "lists").mkdir()
    rng = np.random.default_rng(6)
    names = []
    for case, slices in (("liver_1", 2), ("liver_2", 3), ("liver_3", 4)):
        for z in range(slices):
            names.append(f"{case}_slice{z:03d}")
            image, label = rng.random((5, 6), dtype=np.float32), rng.integers(0, 3, (5, 6)).astype(np.uint8)
            np.savez(root / "train_npz" / f"{names[-1]}.npz", image=image, label=label)
    (root / "lists" / "train.txt").write_text("\n".join(reversed(names)) + "\n")
    cases = {"liver_2": {"spacing_mm": [5.0, 0.5, 0.6]}}
    manifest = {"organs": {"tumour": 2, "liver": 1}, "cases": cases}
    (root / "dataset.json").write_text(json.dumps(manifest))
    return root


def test_classes_of_the_manifest(own, refused):
    prepared = PreparedDataset.open(own)
    assert prepared.class_names == ("liver", "tumour")
    assert prepared.load_slice("liver_1_slice000")[1].max() <= 2
    path = own / "train_npz" / "liver_1_slice000.npz"
    np.savez(path, image=np.zeros((5, 6)), label=np.full((5, 6), 3))
    refused([path, "3", "0 to 2"], prepared.load_slice, "liver_1_slice000")
    refused([own, "leave label scheme and flip out"], prepared.read_as, "A")


def test_scheme_a_s_eight_where_the_manifest_names_none(downloaded):
    assert PreparedDataset.open(downloaded).class_names == ORGANS


@pytest.mark.parametrize("organs", [{"a": 1, "b": 3}, {"a": 0}, {"a": 1.0}, {"a": True, "b": 2}, {}, ["a"], None])
def test_classes_that_are_none(own, refused, organs):
    (own / "dataset.json").write_text(json.dumps({"organs": organs}))
    refused([own / "dataset.json", "organs"], PreparedDataset.open, own)


def test_hold_out(own):
    prepared = PreparedDataset.open(own)
    rest, held = prepared.hold_out(["liver_2"])
    assert held.test_cases == ["liver_2"]
    assert held.class_names == ("liver", "tumour")
    assert sorted(rest.train_slices) == sorted(name for name in prepared.train_slices if "liver_2" not in name)
    assert rest.train_slices == [name for name in prepared.train_slices if name in rest.train_slices]
    assert rest.digest() != prepared.digest()
    case = held.load_case("liver_2")
    assert (case.name, case.image.shape, case.image.dtype, case.label.dtype) == ("liver_2", (3, 5, 6), "f4", "u1")
    assert case.spacing == (5.0, 0.5, 0.6)
    for z in range(3):
        with np.load(own / "train_npz" / f"liver_2_slice{z:03d}.npz") as stored:
            np.testing.assert_array_equal(case.image[z], stored["image"])
            np.testing.assert_array_equal(case.label[z], stored["label"])
    assert prepared.hold_out(["liver_1"])[1].load_case("liver_1").spacing is None


def test_held_out_cases_are_scored_like_test_cases(own, monkeypatch):
    """A network that predicts the stored label reaches a Dice of 1 on every case held out, and on no other."""
    _, held = PreparedDataset.open(own).hold_out(["liver_3", "liver_1"])
    truths = {}
    for name, slices in (("liver_1", 2), ("liver_3", 4)):
        files = [np.load(own / "train_npz" / f"{name}_slice{z:03d}.npz") for z in range(slices)]
        truths[np.stack([file["image"] for file in files]).tobytes()] = np.stack([file["label"] for file in files])
    monkeypatch.setattr(evaluation, "predict_volume", lambda _, image, **options: truths[image.tobytes()])
    network = SimpleNamespace(config=SimpleNamespace(num_classes=3, height_width=(5, 6)))
    result = evaluation.evaluate(network, held, protocols=("paper",), progress=False)  # pyright: ignore[reportArgumentType]
    assert list(result.predictions) == ["liver_3", "liver_1"]
    assert result.scores["case"].tolist() == ["liver_3", "liver_3", "liver_1", "liver_1"]
    assert result.scores["dsc"].tolist() == [1.0] * 4


@pytest.mark.parametrize("flip", ["z", "txz", "y"])
def test_hold_out_of_turned_data(own, flip):
    """Without dataset.json the folder is somebody else's; stacking and turning is turning the stack."""
    (own / "dataset.json").unlink()
    prepared = PreparedDataset.open(own).read_as("A", flip)
    case = prepared.hold_out(["liver_3"])[1].load_case("liver_3")
    stored = [np.load(own / "train_npz" / f"liver_3_slice{z:03d}.npz") for z in range(4)]
    np.testing.assert_array_equal(case.image, apply_flip(np.stack([arrays["image"] for arrays in stored]), flip))
    np.testing.assert_array_equal(case.label, apply_flip(np.stack([arrays["label"] for arrays in stored]), flip))
    assert case.spacing is None


def test_hold_out_refuses(own, refused):
    prepared = PreparedDataset.open(own)
    refused(["liver_9", "no training case"], prepared.hold_out, ["liver_9"])
    refused("at least one", prepared.hold_out, [])
    refused("each once", prepared.hold_out, ["liver_1", "liver_1"])
    refused("leaves none", prepared.hold_out, ["liver_1", "liver_2", "liver_3"])
    lists = own / "lists" / "train.txt"
    lists.write_text(lists.read_text().replace("liver_3_slice001\n", ""))
    refused(["liver_3", "slice 1 is missing"], PreparedDataset.open(own).hold_out, ["liver_3"])
    np.savez(own / "train_npz" / "liver_2_slice001.npz", image=np.zeros((4, 6)), label=np.zeros((4, 6)))
    held = PreparedDataset.open(own).hold_out(["liver_2"])[1]
    refused(["liver_2", "shape"], held.load_case, "liver_2")


def test_slice_ids_of_another_form(own, refused):
    prepared = PreparedDataset(own, ["slice1"], [], {"label_scheme": "A"})
    refused("'slice1'", prepared.hold_out, ["slice1"])
