"""Unpacking: whole or not at all, and only within its folder."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock
from local_server import FILES, KINDS, visible

from msa2net_lib.data.download.archives import MARK, _Zip, unpack, verify


@pytest.mark.parametrize("name", [*KINDS, "data.tgz", "no suffix at all"])
def test_files_come_out_as_they_went_in(archive, contents, tmp_path, name):
    assert contents(unpack(archive(name), tmp_path / "a folder" / "öut", progress=False)) == FILES
    assert visible(tmp_path / "a folder") == ["öut"]


def test_same_archive_again_is_left_as_it_is(archive, tmp_path, monkeypatch):
    out = unpack(archive("data.zip"), tmp_path / "out", progress=False)
    assert json.loads((out / MARK).read_text())["archive"] == "data.zip"
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert unpack(tmp_path / "data.zip", out, progress=False) == out
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_nothing_else_is_overwritten(archive, tmp_path, refused, tree):
    out = unpack(archive("data.zip"), tmp_path / "out", progress=False)
    before = tree(out)
    refused([out, "is there already"], unpack, archive("other.zip", {"img/x": b"x"}), out, progress=False)
    assert tree(out) == before
    (out / "empty.txt").write_bytes(b"changed")
    refused([out, "is there already"], unpack, tmp_path / "data.zip", out, progress=False)
    (tmp_path / "file").write_text("mine")
    refused([tmp_path / "file", "is there already"], unpack, tmp_path / "data.zip", tmp_path / "file", progress=False)
    assert (tmp_path / "file").read_text() == "mine"


def test_empty_folder_is_used(archive, contents, tmp_path):
    (tmp_path / "out").mkdir()
    assert contents(unpack(archive("data.tar"), tmp_path / "out", progress=False)) == FILES


def test_two_runs_at_once(archive, tmp_path, refused):
    with FileLock(tmp_path / ".out.lock"):
        refused([tmp_path / "out", "another run"], unpack, archive("data.zip"), tmp_path / "out", progress=False)


def link(kind, target):
    member = tarfile.TarInfo("link")
    member.type, member.linkname = kind, target
    return member


def special(kind):
    member = tarfile.TarInfo("odd")
    member.type = kind
    return member


BAD_TARS = {
    "symlink out": {"link": link(tarfile.SYMTYPE, "../../secret")},
    "symlink in": {"link": link(tarfile.SYMTYPE, "a")},
    "hard link out": {"link": link(tarfile.LNKTYPE, "/etc/passwd")},
    "device": {"odd": special(tarfile.CHRTYPE)},
    "pipe": {"odd": special(tarfile.FIFOTYPE)},
}


@pytest.mark.parametrize("case", BAD_TARS)
@pytest.mark.parametrize("name", ["bad.tar", "bad.tar.gz"])
def test_links_and_devices_are_refused_by_name(archive, tmp_path, refused, case, name):
    path = archive(name, {"good.txt": b"good", **BAD_TARS[case]})
    [member] = BAD_TARS[case]
    refused([path, repr(member), "not a file or folder"], unpack, path, tmp_path / "out", progress=False)
    assert visible(tmp_path) == [name]


@pytest.mark.parametrize(
    "mode", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFDIR], ids=["link", "device", "folder named as file"]
)
def test_links_and_devices_in_a_zip_are_refused_by_name(tmp_path, refused, mode):
    info = zipfile.ZipInfo("odd")
    info.create_system, info.external_attr = 3, (mode | 0o644) << 16
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as out:
        out.writestr("good.txt", b"good")
        out.writestr(info, "../../secret")
    refused(
        ["bad.zip", "'odd'", "not a file or folder"], unpack, tmp_path / "bad.zip", tmp_path / "out", progress=False
    )
    assert visible(tmp_path) == ["bad.zip"]


@pytest.mark.parametrize(
    "member",
    ["../out.txt", "a/../../out.txt", "/abs.txt", "C:/x.txt", "C:x.txt", "//server/share/x", "a\\..\\b", "a\nb"],
)
@pytest.mark.parametrize("name", ["bad.zip", "bad.tar"])
def test_names_that_lead_elsewhere_are_refused_before_anything_is_written(archive, tmp_path, refused, member, name):
    path = archive(name, {"good.txt": b"good", member: b"evil"})
    refused([path, repr(member), "nothing was unpacked"], unpack, path, tmp_path / "deep" / "out", progress=False)
    refused([path, repr(member)], verify, path, progress=False)
    assert visible(tmp_path) == sorted([name, "deep"])
    assert visible(tmp_path / "deep") == []


@pytest.mark.parametrize("name", ["bomb.zip", "bomb.tar.gz"])
def test_bomb_is_refused_by_what_it_declares(archive, tmp_path, refused, monkeypatch, name):
    path = archive(name, {f"{i}.bin": bytes(1 << 20) for i in range(4)})
    assert path.stat().st_size < 20_000
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=3 << 20))
    words = [path, "unpacks to 0.00419 GB", "only 0.00315 GB"]
    refused(words, unpack, path, tmp_path / "out", progress=False)
    assert visible(tmp_path) == [name]


@pytest.mark.parametrize("name", ["data.zip", "data.tar.gz"])
def test_kill_9_leaves_nothing_that_looks_finished(archive, contents, tmp_path, name):
    path = archive(name)
    script = (
        "import sys, time; from msa2net_lib.data.download import archives\n"
        "for kind in (archives._Zip, archives._Tar):\n"
        "    def slow(self, member, folder, fast=kind.extract):\n"
        "        fast(self, member, folder); print(member.name, flush=True); time.sleep(60)\n"
        "    kind.extract = slow\n"
        "archives.unpack(sys.argv[1], sys.argv[2], progress=False)"
    )
    command = [sys.executable, "-c", script, str(path), str(tmp_path / "out")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout.readline()
    process.kill()
    process.wait()
    process.stdout.close()
    assert visible(tmp_path) == sorted([".unpack-out", name])
    (tmp_path / ".unpack-out" / "stale.txt").write_text("of an older archive")
    assert contents(unpack(path, tmp_path / "out", progress=False)) == FILES
    assert visible(tmp_path) == sorted([name, "out"])


def test_folder_gets_its_name_by_one_renaming(archive, tmp_path, monkeypatch):
    folders = set()

    def extract(self, member, folder, fast=_Zip.extract):
        folders.add(folder.stat().st_ino)
        fast(self, member, folder)

    monkeypatch.setattr(_Zip, "extract", extract)
    out = unpack(archive("data.zip"), tmp_path / "out", progress=False)
    assert folders == {out.stat().st_ino}


def test_ctrl_c_leaves_nothing(archive, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_Zip, "extract", interrupt)
    path = archive("data.zip")
    with pytest.raises(KeyboardInterrupt):
        unpack(path, tmp_path / "out", progress=False)
    assert visible(tmp_path) == ["data.zip"]


@pytest.fixture(params=KINDS)
def crowd(request, archive) -> Path:
    """An archive of little content in many files, and one file of 150 kB: by its declared sizes it has room."""
    return archive(request.param, {**{f"{i}": b"x" for i in range(100)}, "large": bytes(150_000)})


def test_full_disk_leaves_nothing(crowd, small_disk, refused):
    refused([small_disk / "out", "the disk is full", crowd], unpack, crowd, small_disk / "out", progress=False)
    assert visible(small_disk) == []


def test_name_that_no_disk_can_have(archive, tmp_path, refused):
    path = archive("data.zip", {"x" * 300: b"x"})
    refused([tmp_path / "out", "cannot be written"], unpack, path, tmp_path / "out", progress=False)
    assert visible(tmp_path) == ["data.zip"]


def test_modes_of_files_are_those_of_new_files(archive, tmp_path):
    member = tarfile.TarInfo("tool")
    member.mode = 0o6777
    out = unpack(archive("data.tar", {"tool": member}), tmp_path / "out", progress=False)
    assert stat.S_IMODE(Path(out, "tool").stat().st_mode) & 0o7022 == 0
