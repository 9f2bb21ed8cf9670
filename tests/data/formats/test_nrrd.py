"""NRRD files by pynrrd, compared with its own reading."""

from __future__ import annotations

import nrrd
import numpy as np
import pytest

from msa2net_lib.data.volumes import read_volume

TO_LPS = {"left-posterior-superior": (1, 1, 1), "RAS": (-1, -1, 1), "left-anterior-superior": (1, -1, 1)}


@pytest.fixture
def array():
    return np.random.default_rng(0).integers(-1024, 3000, (3, 4, 5)).astype(np.int16)


@pytest.fixture
def save(tmp_path, array):
    """Write the array (Z, Y, X) with pynrrd."""

    def write(name="scan.nrrd", dtype="<i2", **fields):
        header = {
            "space": "left-posterior-superior",
            "space directions": np.diag([0.7, 0.8, 2.5]),
            "space origin": [1.0, 2.0, 3.0],
            **fields,
        }
        header = {key: value for key, value in header.items() if value is not None}
        nrrd.write(str(tmp_path / name), array.astype(dtype), header, index_order="C")
        return tmp_path / name

    return write


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
@pytest.mark.parametrize("name", ["scan.nrrd", "scan.nhdr"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "<i2", ">i2", "<u2", "<i4", "<i8", "<f4", ">f8"])
def test_files_of_pynrrd(save, name, encoding, dtype):
    path = save(name, dtype, encoding=encoding)
    theirs, header = nrrd.read(str(path), index_order="C")
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, theirs)
    assert volume.array.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_allclose(volume.spacing[::-1], np.linalg.norm(header["space directions"], axis=1))
    np.testing.assert_allclose(volume.origin, header["space origin"])


@pytest.mark.parametrize("space", TO_LPS)
def test_every_space_is_brought_to_lps(save, array, space):
    """The file's axes point along its own space; turned to LPS, some run backwards."""
    volume = read_volume(save(space=space))
    steps = [slice(None, None, sign) for sign in TO_LPS[space]]
    np.testing.assert_array_equal(volume.array, array[steps[2], steps[1], steps[0]])
    first = np.array([1.0, 2.0, 3.0])
    last = np.array([1 + 4 * 0.7, 2 + 3 * 0.8, 3 + 2 * 2.5])
    np.testing.assert_allclose(volume.origin, np.minimum(first * TO_LPS[space], last * TO_LPS[space]))
    np.testing.assert_allclose(volume.direction, np.eye(3).ravel())


FIELDS = [
    ({"encoding": "ascii"}, "encoding `ascii` is not read"),
    ({"encoding": "bzip2"}, "encoding `bzip2` is not read"),
    ({"space": None, "space directions": None, "space origin": None}, "how the patient lies"),
    ({"space": "scanner-xyz"}, "how the patient lies (space `scanner-xyz`)"),
    ({"space directions": np.array([[1, 0.5, 0], [0, 1, 0], [0, 0, 1]])}, "sheared"),
    ({"space directions": np.array([[1, 0, 0], [1, 0, 0], [0, 0, 1]])}, "sheared"),
    ({"space directions": np.diag([1, 0, 1])}, "no grid"),
    ({"space directions": np.array([[1, 0, 0], [0, 1, 0], [np.nan] * 3])}, "`space directions` with 9 numbers"),
    ({"space units": ["cm", "cm", "cm"]}, "not in mm"),
    ({"kinds": ["vector", "domain", "domain"]}, "several values per voxel"),
    ({"old min": -5.0}, "`old min: -5` is not read"),
]


@pytest.mark.parametrize(("fields", "words"), FIELDS)
def test_fields_that_are_not_read(save, refused, fields, words):
    path = save(**fields)
    refused([path, words], read_volume, path)


LINES = [
    (b"sizes: 5 4 3", b"sizes: 5 4 300", "of the 12000 bytes"),
    (b"sizes: 5 4 3", b"sizes: 5 4 2", "more than the 80 bytes"),
    (b"sizes: 5 4 3", b"sizes: 5 4 3.0", "`sizes` with whole numbers"),
    (b"dimension: 3", b"dimension: 4", "another dimension"),
    (b"type: int16", b"type: block", "voxel type `block`"),
    (b"type: int16", b"t\xffpe: int16", r"damaged at `t\xffpe: int16`"),
    (b"endian: little", b"endian: middle", "`endian` with little or big"),
    (b"space origin: (1,2,3)", b"space origin: (1,2)", "`space origin` with 3 numbers"),
    (b"space origin: (1,2,3)", b"space origin: (1,2,39", "`space origin` with 3 numbers"),
    (b"(0.69999999999999996,0,0)", b"(0.69999999999999996,0,0 ", "`space directions` with 9 numbers"),
    (b"encoding: raw", b"encoding: raw\nbyte skip: 4", "`byte skip: 4` is not read"),
    (b"encoding: raw", b"encoding: raw\nsizes: 5 4 3", "damaged at `sizes"),
    (b"encoding: raw", b"encoding: raw\nwhat is \x1b this", r"damaged at `what is \x1b this`"),
    (b"encoding: raw", b"encoding: raw\ndatafile: ../scan.raw", "not in the same folder"),
    (b"encoding: raw", b"encoding: raw\ndata file: LIST", "`LIST` is missing"),
    (b"encoding: raw", b"encoding: raw\nnonsense: 4", "damaged at `nonsense: 4`"),
    (b"NRRD000", b"NARD000", "not a NRRD file"),
]


@pytest.mark.parametrize(("before", "after", "words"), LINES)
def test_header_that_makes_no_sense(save, refused, capfd, before, after, words):
    path = save(encoding="raw")
    content = path.read_bytes()
    assert before in content
    path.write_bytes(content.replace(before, after))
    refused([path.parent, words], read_volume, path)
    assert capfd.readouterr() == ("", "")


def test_two_and_four_dimensions(tmp_path, refused):
    for shape, words in (((4, 5), "2-D (5 x 4)"), ((2, 3, 4, 5), "4-D (5 x 4 x 3 x 2)")):
        nrrd.write(str(tmp_path / "scan.nrrd"), np.zeros(shape, np.int16), index_order="C")
        refused([tmp_path / "scan.nrrd", words], read_volume, tmp_path / "scan.nrrd")


@pytest.mark.parametrize(("name", "data"), [("scan.nrrd", "scan.nrrd"), ("scan.nhdr", "scan.raw.gz")])
def test_compressed_voxels_damaged(save, refused, name, data):
    path = save(name, encoding="gzip")
    data = path.parent / data
    whole = data.read_bytes()
    for damaged in (whole[:-9], whole[:-6] + bytes(6), whole[:-40] + b"\xff" + whole[-39:], whole + b"more"):
        data.write_bytes(damaged)
        refused([data, "corrupt"], read_volume, path)


@pytest.mark.parametrize(("name", "data"), [("scan.nrrd", "scan.nrrd"), ("scan.nhdr", "scan.raw")])
def test_raw_voxels_cut_short_or_too_many(save, refused, name, data):
    path = save(name, encoding="raw")
    data = path.parent / data
    whole = data.read_bytes()
    data.write_bytes(whole[:-5])
    refused([data, "truncated, 115 of the 120 bytes"], read_volume, path)
    data.write_bytes(whole + b"\0")
    refused([data, "more than the 120 bytes"], read_volume, path)
    if name.endswith(".nhdr"):
        data.unlink()
        refused([path, "`scan.raw` is missing"], read_volume, path)
