"""Finding the raw scans in what people have, and fetching them through a synapseclient that is played here."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from msa2net_lib.data.download.synapse import ARCHIVE, PAGE, RAW_ENTITY, fetch_raw, find_raw

LAYOUTS = ["", "Training", "RawData/Training", "Abdomen/RawData/Training"]


def scans(folder: Path) -> Path:
    for kind in ("img", "label"):
        (folder / kind).mkdir(parents=True)
        (folder / kind / f"{kind}0001.nii.gz").write_bytes(b"scan")
    return folder


def archive(path: Path, inside="RawData/Training") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        for kind in ("img", "label"):
            file.writestr(f"{inside}/{kind}/{kind}0001.nii.gz", b"scan")
    return path


@pytest.mark.parametrize("layout", LAYOUTS)
def test_folder_or_a_parent(tmp_path, layout):
    place = scans(tmp_path / layout)
    assert find_raw(tmp_path) == place
    assert find_raw(place) == place


@pytest.mark.parametrize("inside", ["RawData/Training", "Training", "Abdomen/RawData/Training"])
def test_archive_is_unpacked_beside_itself(tmp_path, inside):
    path = archive(tmp_path / ARCHIVE, inside)
    for source in (path, tmp_path, path):  # the second and third time it is there already
        found = find_raw(source, progress=False)
        assert found == tmp_path / "RawData" / inside
        assert (found / "img" / "img0001.nii.gz").read_bytes() == b"scan"


def test_nothing_there(tmp_path, refused):
    refused([tmp_path / "nowhere", "no such folder", PAGE], find_raw, tmp_path / "nowhere")
    (tmp_path / "img").mkdir()
    refused([tmp_path, "no img/ and label/"], find_raw, tmp_path)
    other = archive(tmp_path / "other" / "RawData.zip", "Testing/x")
    refused([other, "another archive"], find_raw, other, progress=False)
    text = tmp_path / "text.zip"
    text.write_text("no archive")
    refused([text], find_raw, text, progress=False)


class SynapseError(Exception):
    """As synapseclient's own base class."""


class UnmetError(SynapseError):
    pass


class AuthenticationError(SynapseError):
    pass


@pytest.fixture
def synapse(monkeypatch, tmp_path):
    """Put a synapseclient into the import system; set ``answer`` to what `File.get` is to do."""
    played = SimpleNamespace(answer=None, asked=[], logged_in=0)

    class Synapse:
        def login(self, *, silent):
            assert silent
            played.logged_in += 1

    class File:
        def __init__(self, *, id, path, if_collision):
            self.id, self.path = id, path

        def get(self, *, synapse_client):
            assert isinstance(synapse_client, Synapse)
            played.asked.append((self.id, self.path))
            if isinstance(played.answer, BaseException):
                raise played.answer
            return SimpleNamespace(path=played.answer(Path(self.path)))

    names = ("synapseclient", "synapseclient.core", "synapseclient.core.exceptions", "synapseclient.models")
    modules = {name: ModuleType(name) for name in names}
    modules["synapseclient"].Synapse = Synapse
    modules["synapseclient.models"].File = File
    errors = modules["synapseclient.core.exceptions"]
    errors.SynapseError, errors.SynapseAuthenticationError = SynapseError, AuthenticationError
    errors.SynapseUnmetAccessRestrictions = UnmetError
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("SYNAPSE_AUTH_TOKEN", "a token")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return played


def test_fetch(synapse, tmp_path):
    synapse.answer = lambda folder: str(archive(folder / ARCHIVE))
    said = []
    found = fetch_raw(tmp_path / "btcv", progress=False, say=said.append)
    assert found == tmp_path / "btcv" / "RawData" / "RawData" / "Training"
    assert synapse.asked == [(RAW_ENTITY, str(tmp_path / "btcv"))]
    assert "BTCV" in said[0]
    # Again: nothing is asked, nor when only the archive is there.
    assert fetch_raw(tmp_path / "btcv", progress=False, say=said.append) == found
    archive(tmp_path / "by hand" / ARCHIVE)
    fetch_raw(tmp_path / "by hand", progress=False, say=said.append)
    assert (len(said), synapse.logged_in) == (1, 1)


def test_config_file_instead_of_a_token(synapse, tmp_path, monkeypatch):
    monkeypatch.delenv("SYNAPSE_AUTH_TOKEN")
    synapse.answer = lambda folder: str(archive(folder / ARCHIVE))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".synapseConfig").write_text("[authentication]\n")
    assert fetch_raw(tmp_path / "btcv", progress=False, say=lambda line: None).is_dir()


def test_no_token(synapse, tmp_path, monkeypatch, refused):
    monkeypatch.delenv("SYNAPSE_AUTH_TOKEN")
    refused(["no Synapse token", "SYNAPSE_AUTH_TOKEN", PAGE, tmp_path / ARCHIVE], fetch_raw, tmp_path)
    assert not synapse.asked


def test_not_installed(tmp_path, monkeypatch, refused):
    monkeypatch.setitem(sys.modules, "synapseclient", None)  # how Python itself marks a module that cannot be imported
    monkeypatch.setenv("SYNAPSE_AUTH_TOKEN", "a token")
    words = ["not installed", "pip install synapseclient", "register at synapse.org", PAGE]
    refused(words, fetch_raw, tmp_path / "btcv")
    assert not (tmp_path / "btcv").exists()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (UnmetError("\nThis entity has\nrestrictions"), ["accept the terms", PAGE]),
        (AuthenticationError("no"), ["refuses the token", "SYNAPSE_AUTH_TOKEN"]),
        (SynapseError("503 Server\nError"), ["503 Server Error", "try again"]),
        (ConnectionError("unreachable"), ["unreachable", "try again"]),
        (lambda folder: None, ["gave None"]),
        (lambda folder: str(folder / "Other.zip"), ["Other.zip", ARCHIVE]),
    ],
)
def test_refusals_of_synapse(synapse, tmp_path, refused, answer, words):
    synapse.answer = answer
    refused([RAW_ENTITY, *words] if "token" not in words[0] else words, fetch_raw, tmp_path, say=lambda line: None)
