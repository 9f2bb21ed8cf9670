"""Downloads from Google Drive, played by a local server under Drive's own host names (see ``conftest.py``).

The pages are written after what gdown's users report: a redirect to the host that serves files, a confirmation page
for files too large for Google's virus scan, a page for a used-up quota, a sign-in page, and 404.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import types
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import gdown
import pytest
import requests
from local_server import Served, send_page, visible

from msa2net_lib.data.download import drive
from msa2net_lib.data.download.drive import fetch_drive

FILE_ID = "1aB-cD_eF2gH3iJ4kL5mN6oP7qR8sT9uV"
BY_HAND = f"open https://drive.google.com/uc?id={FILE_ID} in a browser, save the file as "
CONFIRM = (
    "<html><head><title>Google Drive - Virus scan warning</title></head><body>"
    '<form id="download-form" action="https://drive.usercontent.google.com/download" method="get">'
    '<input type="submit" value="Download anyway"/><input type="hidden" name="id" value="{}">'
    '<input type="hidden" name="export" value="download"><input type="hidden" name="confirm" value="t">'
    '<input type="hidden" name="uuid" value="0-1-2"></form></body></html>'
)
QUOTA = (
    "<html><head><title>Google Drive - Quota exceeded</title></head><body>\n"
    '<p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently.</p>\n</body></html>'
)


class Drive:
    """The part of Drive that hands out one file."""

    def __init__(self, site, served):
        self.site, self.served, self.page, self.status = site, served, None, 200
        site.pages["drive.google.com/uc"] = self.redirect
        site.pages["drive.usercontent.google.com/download"] = self.download

    def redirect(self, handler):
        there = f"https://drive.usercontent.google.com/download?id={self._query(handler)['id'][0]}&export=download"
        send_page(handler, "", 303, Location=there)

    def download(self, handler):
        query = self._query(handler)
        if self.page:
            send_page(handler, self.page, self.status)
        elif "confirm" not in query:
            send_page(handler, CONFIRM.format(query["id"][0]))
        else:
            assert query["id"] == [FILE_ID]
            assert query["uuid"] == ["0-1-2"]
            self.served.answer(handler)

    @property
    def ranges(self):
        """The Range header of each request for the file itself or a page in its place."""
        return [wanted for path, wanted in self.site.asked if path.startswith("drive.usercontent")]

    @staticmethod
    def _query(handler):
        return parse_qs(urlsplit(handler.path).query)


@pytest.fixture
def body(zip_bytes, noise) -> bytes:
    return zip_bytes({"Synapse/train_npz/case0005_slice000.npz": noise(1_500_000)})


@pytest.fixture
def played(site, body, monkeypatch, tmp_path) -> Drive:
    """Drive with the archive."""
    monkeypatch.setattr(sys.modules["gdown.download"], "DEFAULT_COOKIES_FILE", str(tmp_path / "home" / "cookies.txt"))
    attachment = {
        "Content-Disposition": 'attachment; filename="Synapse.zip"',
        "Content-Type": "application/octet-stream",
    }
    return Drive(site, Served(body, headers=attachment))


@pytest.fixture
def get(tmp_path):
    def run():
        return fetch_drive(
            FILE_ID, tmp_path / "data.zip", manifest=tmp_path / "manifest.json", progress=False, say=lambda terms: None
        )

    return run


KEPT = 1 << 19
"""What gdown keeps of a connection that is cut after 600000 bytes: it writes in pieces of this size."""


def cut_for_good(played):
    """Let Drive break off in the middle, and then whenever it is asked."""
    played.served.cuts = [600_000, *[0] * 20]


def test_confirmation_page_is_passed_and_the_file_recorded(played, get, body, tmp_path):
    assert get().read_bytes() == body
    entry = json.loads((tmp_path / "manifest.json").read_text())["data.zip"]
    assert entry["source"] == f"https://drive.google.com/uc?id={FILE_ID}"
    assert visible(tmp_path) == ["data.zip", "manifest.json"]
    before = len(played.site.asked)
    get()
    assert len(played.site.asked) == before


def test_broken_connection_is_taken_up(played, get, body):
    played.served.cuts = [600_000]
    assert get().read_bytes() == body
    assert [wanted for wanted in played.ranges if wanted] == [f"bytes={KEPT}-"]


def test_next_run_goes_on(played, get, body, refused):
    cut_for_good(played)
    refused(["transfer broke off", "goes on from there", BY_HAND], get)
    played.site.asked.clear()
    played.served.cuts = []
    assert get().read_bytes() == body
    assert [wanted for wanted in played.ranges if wanted] == [f"bytes={KEPT}-"]


def test_kill_9_loses_nothing(played, get, body, tmp_path):
    played.served.pause = 0.03
    script = (
        "import sys, requests; sys.path.insert(0, sys.argv[1]); from local_server import google_at;"
        "requests.adapters.HTTPAdapter.send = google_at(sys.argv[2]);"
        "from msa2net_lib.data.download.drive import fetch_drive;"
        "fetch_drive(sys.argv[3], sys.argv[4], manifest=sys.argv[5], progress=False)"
    )
    paths = [tmp_path / "data.zip", tmp_path / "manifest.json"]
    arguments = [Path(__file__).parents[2] / "helpers", played.site.address, FILE_ID, *paths]
    process = subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (begun := [p for p in (tmp_path / ".download-data.zip").glob("*.part") if p.stat().st_size]):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    have = begun[0].stat().st_size
    assert 0 < have < len(body)
    assert not paths[0].exists()
    played.served.pause = 0
    assert get().read_bytes() == body
    assert played.ranges[-1] == f"bytes={have}-"


def test_whole_partial_file_is_used(played, get, body, tmp_path, refused):
    cut_for_good(played)
    refused("broke off", get)
    [partial] = (tmp_path / ".download-data.zip").glob("*.part")
    partial.write_bytes(body)
    played.served.cuts = []
    assert get().read_bytes() == body
    assert played.ranges[-1] == f"bytes={len(body)}-"  # and not from the beginning after that


def test_without_ranges_it_starts_over(played, get, body, refused):
    cut_for_good(played)
    refused("broke off", get)
    played.served.cuts = []
    played.served.ranges = False
    assert get().read_bytes() == body


def test_changed_file_is_not_spliced(played, get, body, zip_bytes, refused, tmp_path):
    cut_for_good(played)
    refused("broke off", get)
    played.served.cuts = []
    played.served.body = new = zip_bytes({"new.bin": bytes(range(256)) * 6000}, 0)
    assert len(new) > 1_500_000
    line = refused("removed", get)  # old beginning, new end: seen by the archive's checksum, never under the name
    assert "run the same command again to start over" in line
    assert not (tmp_path / "data.zip").exists()
    assert get().read_bytes() == new


@pytest.mark.parametrize(
    ("page", "status", "said"),
    [
        (QUOTA, 200, "it says: Too many users have viewed or downloaded this file recently; open"),
        (QUOTA, 429, "it says: Too many users have viewed or downloaded this file recently; open"),
        ("<html><title>Sign in - Google Accounts</title></html>", 200, "gone, or not shared with everyone"),
        ("<html><title>404</title></html>", 404, "gone, or not shared with everyone"),
        ("<html>Sorry...</html>", 503, "gone, or not shared with everyone"),
    ],
    ids=["quota", "quota as 429", "sign in", "404", "503"],
)
def test_refusals_say_what_drive_said_and_what_to_do(played, get, tmp_path, refused, page, status, said):
    played.page, played.status = page, status
    refused([tmp_path / "data.zip", said, f"{BY_HAND}{tmp_path / 'data.zip'} and run the same command again"], get)
    assert not (tmp_path / "data.zip").exists()


def test_refusal_in_the_middle_keeps_what_came(played, get, body, refused):
    cut_for_good(played)
    refused("broke off", get)
    played.page = QUOTA
    refused("Too many users", get)
    played.page, played.served.cuts = None, []
    played.site.asked.clear()
    assert get().read_bytes() == body
    assert f"bytes={KEPT}-" in played.ranges


def test_error_status_with_the_file_headers(played, get, refused):
    played.site.pages["drive.usercontent.google.com/download"] = lambda handler: send_page(
        handler, "no", 403, Content_Disposition="attachment", Content_Type="text/plain"
    )
    refused(["403", BY_HAND], get)


def test_confirmation_pages_without_end_are_given_up(played, get, monkeypatch, refused):
    monkeypatch.setattr(drive, "START_S", 0.3)
    played.page = CONFIRM.format(FILE_ID)
    refused(["nothing in 0.3 seconds", BY_HAND], get)


def test_no_connection(get, monkeypatch, refused):
    def offline(*args, **options):
        raise requests.ConnectionError("Name or service not known")

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", offline)
    refused(["no connection (Name or service not known)", BY_HAND], get)


def test_answer_without_a_content_type(played, get, refused):
    played.site.pages["drive.usercontent.google.com/download"] = lambda handler: (
        handler.send_response(200) or handler.end_headers()
    )
    refused(BY_HAND, get)


def test_web_page_declared_as_the_file(played, get, tmp_path, refused):
    played.served.body = b"<!DOCTYPE html><html>Sorry</html>"
    refused(["but a web page", "removed"], get)
    assert not (tmp_path / "data.zip").exists()


def test_wrong_bytes_and_wrong_size_against_the_manifest(played, get, body, tmp_path, refused):
    get().unlink()
    other = bytearray(body)
    other[100] ^= 1
    played.served.body = bytes(other)
    refused(["has sha256", "manifest.json says"], get)
    played.served.body = body + b"!"
    refused([f"offers {len(body) + 1} bytes", f"says {len(body)}"], get)
    assert not (tmp_path / "data.zip").exists()


def test_file_saved_by_hand_is_verified_and_used(played, get, body, tmp_path, refused):
    cut_for_good(played)
    refused(BY_HAND, get)
    played.site.asked.clear()
    (tmp_path / "data.zip").write_bytes(b"<html>Sign in</html>")
    refused(["a web page", "move it away"], get)
    (tmp_path / "data.zip").write_bytes(body)
    assert get().read_bytes() == body
    assert played.site.asked == []
    assert not (tmp_path / ".download-data.zip").exists()


def test_terms_come_first(played, tmp_path):
    said = []
    fetch_drive(
        FILE_ID,
        tmp_path / "data.zip",
        manifest=tmp_path / "m",
        progress=False,
        dataset="synapse-prepared",
        say=lambda text: said.append((text, len(played.site.asked))),
    )
    [(text, requests_before)] = said
    assert "BTCV" in text
    assert requests_before == 0


def test_full_disk_keeps_what_came(played, body, small_disk, tmp_path, refused):
    target = small_disk / "data.zip"
    line = refused(
        [target, "the disk is full", "kept"],
        fetch_drive,
        FILE_ID,
        target,
        manifest=tmp_path / "m",
        progress=False,
        say=len,
    )
    assert "Drive" not in line
    [partial] = (small_disk / ".download-data.zip").glob("*.part")
    assert partial.stat().st_size > 0
    assert body.startswith(partial.read_bytes())


def test_progress_counts_from_where_it_goes_on(played, get, body, refused, monkeypatch):
    bars = []

    class Bar:
        def __init__(self, total, initial, **_):
            self.total, self.n = total, initial
            bars.append((total, initial, self))

        def update(self, step):
            self.n += step

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr("msa2net_lib.data.download.arrival.progress_bar", lambda **options: Bar(**options))
    cut_for_good(played)
    refused("broke off", get)
    played.served.cuts = []
    get()
    assert [(total, initial, bar.n) for total, initial, bar in bars] == [
        (len(body), 0, KEPT),
        (len(body), KEPT, len(body)),
    ]


def test_nothing_is_written_to_the_home_folder(played, get, tmp_path):
    get()
    assert not (tmp_path / "home").exists()


def test_something_else_than_an_id(tmp_path, refused):
    refused("after id=", fetch_drive, "https://drive.google.com/x", tmp_path / "d.zip", manifest=tmp_path / "m")


@pytest.mark.parametrize("there", [None, types.ModuleType("old"), types.SimpleNamespace(DownloadError=OSError)])
def test_without_gdown_or_with_an_older_one_it_says_how_to_go_on(played, get, refused, monkeypatch, there):
    monkeypatch.setitem(sys.modules, "gdown.exceptions", there)
    refused("gdown 6.4 or newer is not installed: run pip install 'gdown>=6.4'", get)
    assert not played.site.asked


def test_gdown_itself_goes_through_the_played_drive(played, tmp_path):
    path = gdown.download(id=FILE_ID, output=str(tmp_path / "plain.zip"), quiet=True, use_cookies=False)
    assert path == str(tmp_path / "plain.zip")
    assert [path for path, _ in played.site.asked] == [
        "drive.google.com/uc",
        "drive.usercontent.google.com/download",
        "drive.usercontent.google.com/download",
    ]
