"""Reading archives: of Python, GNU tar and Info-ZIP, and damaged in every way, which the libraries do not all see."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import tarfile
import zipfile

import pytest
from local_server import FILES, KINDS, visible

from msa2net_lib.data.download.archives import unpack, verify
from msa2net_lib.errors import InputError


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("progress", [True, False])
def test_verify_accepts_and_writes_nothing(archive, tmp_path, name, progress):
    verify(archive(name), progress=progress)
    assert visible(tmp_path) == [name]


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("tar", ["tar", "-czf", "../made", "."]),
        ("tar", ["tar", "-cf", "../made", "img", "label", "empty.txt"]),
        ("zip", ["zip", "-qr", "../made.zip", "."]),
    ],
)
def test_archives_of_other_tools(contents, tmp_path, tool, arguments):
    if not shutil.which(tool):
        pytest.skip(f"the program {tool} is not on this machine")
    for name, data in FILES.items():
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    subprocess.run(arguments, cwd=tmp_path / "source", check=True)
    [made] = tmp_path.glob("made*")
    verify(made, progress=False)
    assert contents(unpack(made, tmp_path / "out", progress=False)) == FILES


def test_names_in_utf8_that_do_not_say_so(contents, zip_bytes, tmp_path):
    # macOS writes names like this; zipfile sets the flag, so the name is put in afterwards.
    raw = zip_bytes({"Bl--t.txt": b"leaf"}).replace(b"Bl--t.txt", "Blät.txt".encode())
    (tmp_path / "mac.zip").write_bytes(raw)
    assert contents(unpack(tmp_path / "mac.zip", tmp_path / "out", progress=False)) == {"Blät.txt": b"leaf"}


def test_names_in_an_old_code_page(contents, zip_bytes, tmp_path):
    raw = zip_bytes({"Bl-tt.txt": b"leaf"}).replace(b"Bl-tt.txt", "Blätt.txt".encode("cp437"))
    (tmp_path / "dos.zip").write_bytes(raw)
    assert contents(unpack(tmp_path / "dos.zip", tmp_path / "out", progress=False)) == {"Blätt.txt": b"leaf"}


def test_tar_that_ends_in_a_zip_is_a_tar(contents, zip_bytes, archive, tmp_path):
    files = {"a.txt": b"a", "inner.zip": zip_bytes({"b.txt": b"b" * 9000}, zipfile.ZIP_STORED)}
    assert contents(unpack(archive("data.tar", files), tmp_path / "out", progress=False)) == files


@pytest.mark.parametrize(
    ("size", "said"), [(1 << 60, "make room"), (1 << 80, "says that it has"), (-512, "-512"), (-(1 << 70), "-118")]
)
def test_tar_that_declares_nonsense(tmp_path, refused, size, said):
    member = tarfile.TarInfo("huge.bin")
    member.size = size
    (tmp_path / "bomb.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(20480))
    refused(["bomb.tar", said], unpack, tmp_path / "bomb.tar", tmp_path / "out", progress=False)
    refused("bomb.tar", verify, tmp_path / "bomb.tar", progress=False)
    assert visible(tmp_path) == ["bomb.tar"]


def test_zip_whose_table_of_contents_swallows_a_member(archive, tmp_path, refused):
    path = archive("data.zip", {"a": b"a", "b": b"b"})
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\1\2") + 32] = 47  # the length of the first entry's comment: now that of the second entry
    path.write_bytes(raw)
    with zipfile.ZipFile(path) as file:
        assert file.namelist() == ["a"]  # zipfile sees nothing wrong
    refused([path, "as many members as it says"], verify, path, progress=False)


def test_zip_whose_member_is_longer_than_declared(archive, tmp_path, refused):
    path = archive("liar.zip", {"a.bin": bytes(100_000)})
    raw = path.read_bytes().replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    path.write_bytes(raw)
    refused([path, "damaged"], verify, path, progress=False)
    refused([path, "damaged"], unpack, path, tmp_path / "out", progress=False)
    assert visible(tmp_path) == ["liar.zip"]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("function", [verify, unpack])
def test_every_cut_is_seen(archive, tmp_path, refused, name, function):
    path = archive(name)
    whole = path.read_bytes()
    end = len(whole)
    if name == "data.tar":  # what follows the first block of zeros is padding
        end = whole.rindex(b"empty.txt") + 2 * tarfile.BLOCKSIZE
    arguments = [path] if function is verify else [path, tmp_path / "out"]
    cuts = sorted({0, 1, end - 1, *range(512, end, max(512, end // 2560 * 512))})
    for cut in cuts:
        path.write_bytes(whole[:cut])
        refused(path, function, *arguments, progress=False)
    assert visible(tmp_path) == [name]


def test_tar_cut_between_two_members_is_seen(archive, tmp_path, refused):
    path = archive("data.tar", {"a": b"a" * 512, "b": b"b" * 512})
    path.write_bytes(path.read_bytes()[:1024])
    with tarfile.open(path) as file:
        assert file.getnames() == ["a"]  # tarfile takes it for whole
    refused([path, "the mark of its end is missing"], verify, path, progress=False)


def test_tar_with_a_block_of_zeros_before_its_end_is_seen(archive, tmp_path, refused):
    path = archive("data.tar", {"a": b"a" * 512, "b": b"b" * 512})
    raw = path.read_bytes()
    path.write_bytes(raw[:1024] + bytes(512) + raw[1536:])  # in place of the header of b
    with tarfile.open(path) as file:
        assert file.getnames() == ["a"]
    refused([path, "more after the mark of its end"], verify, path, progress=False)


def test_zip_member_whose_name_python_would_cut(archive, tmp_path, refused):
    path = archive("data.zip", {"good.txt--evil": b"a"})
    path.write_bytes(path.read_bytes().replace(b"good.txt--evil", b"good.txt\0.evil"))
    with zipfile.ZipFile(path) as file:
        assert file.namelist() == ["good.txt"]
    refused([path, "control character"], verify, path, progress=False)


def test_zip_that_says_it_is_empty(archive, tmp_path, refused):
    path = archive("data.zip", {"a": b"a"})
    raw = path.read_bytes()
    path.write_bytes(raw[:-14] + bytes(14))  # numbers, size and place of the table of contents
    with zipfile.ZipFile(path) as file:
        assert file.namelist() == []
    refused([path, "holds no file"], verify, path, progress=False)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_under_every_compression_is_told(zip_bytes, tmp_path, refused, contents, method):
    path = tmp_path / "data.zip"
    path.write_bytes(raw := zip_bytes({"a.bin": bytes(range(256)) * 8}, method))
    assert contents(unpack(path, tmp_path / "out", progress=False)) == {"a.bin": bytes(range(256)) * 8}
    for at in (45, 60, 90):
        path.write_bytes(raw[:at] + bytes(255 - byte for byte in raw[at : at + 3]) + raw[at + 3 :])
        refused([path, "again"], unpack, path, tmp_path / "new", progress=False)


def complaint(path):
    """Return what ``verify`` has to say against an archive."""
    try:
        verify(path, progress=False)
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", ["data.zip", "data.tar.gz"])
def test_damaged_bytes_are_seen_or_do_no_harm(archive, contents, tmp_path, refused, name):
    """An archive with checksums comes out as it was or not at all, whichever byte is wrong."""
    files = {"a/x.bin": bytes(range(64)), "b.txt": b"text" * 40}
    path = archive(name, files)
    whole = path.read_bytes()
    refusals = 0
    for at in range(len(whole)):
        broken = bytearray(whole)
        broken[at] ^= 1 << at % 8
        path.write_bytes(broken)
        if line := complaint(path):
            assert line.startswith(f"{path}: ")
            assert "\n" not in line
            refusals += 1
            if at % 20 == 0:  # whoever does not verify first is told the same
                refused(path, unpack, path, tmp_path / "out", progress=False)
        else:
            assert contents(unpack(path, tmp_path / "out", progress=False)) == files
            shutil.rmtree(tmp_path / "out")
    assert refusals > len(whole) / 2
    assert visible(tmp_path) == [name]


def test_bad_checksum_of_a_member(zip_bytes, tmp_path, refused):
    path = tmp_path / "data.zip"
    path.write_bytes(zip_bytes({"a.bin": b"a" * 100}, zipfile.ZIP_STORED).replace(b"aaaa", b"aaab", 1))
    refused([path, "CRC"], verify, path, progress=False)
    refused([path, "CRC"], unpack, path, tmp_path / "out", progress=False)
    assert visible(tmp_path) == ["data.zip"]


def test_encrypted_zip(archive, tmp_path, refused):
    path = archive("data.zip", {"a.bin": b"a" * 100})
    raw = bytearray(path.read_bytes())
    raw[6] |= 1  # the flag in the member's own header
    raw[raw.index(b"PK\1\2") + 8] |= 1  # and in the table of contents
    path.write_bytes(raw)
    refused([path, "encrypted"], verify, path, progress=False)
    refused([path, "encrypted"], unpack, path, tmp_path / "out", progress=False)


def test_compression_that_python_does_not_read(archive, tmp_path, refused):
    path = archive("data.zip", {"a.bin": b"a" * 100})
    raw = bytearray(path.read_bytes())
    raw[8] = raw[raw.index(b"PK\1\2") + 10] = 9  # Deflate64
    path.write_bytes(raw)
    refused([path, "another tool"], unpack, path, tmp_path / "out", progress=False)
    assert visible(tmp_path) == ["data.zip"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "something else"),
        (b"\n <!DOCTYPE html><html></html>", "a web page"),
        (b"just text" * 100, "something else"),
        (gzip.compress(b"just text"), "something else"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(600), "something else"),
    ],
    ids=["empty", "web page", "text", "gzip of text", "7z"],
)
def test_something_else_than_an_archive(tmp_path, refused, content, said):
    (tmp_path / "data.zip").write_bytes(content)
    refused([tmp_path / "data.zip", said], verify, tmp_path / "data.zip", progress=False)
    refused([tmp_path / "data.zip", said], unpack, tmp_path / "data.zip", tmp_path / "out", progress=False)
    refused([tmp_path / "none.zip", "no such file"], unpack, tmp_path / "none.zip", tmp_path / "out", progress=False)
