"""Downloads over HTTP from a server that breaks off, forgets, changes its mind or lies."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from filelock import FileLock
from local_server import Served, visible

from msa2net_lib.data.download import fetch as fetch_module
from msa2net_lib.data.download.fetch import fetch
from msa2net_lib.errors import InputError

SIZE = 600_000
MONDAY, TUESDAY = "Mon, 01 Jun 2020 00:00:00 GMT", "Tue, 02 Jun 2020 00:00:00 GMT"


@pytest.fixture
def body(zip_bytes, noise) -> bytes:
    return zip_bytes({"images/scan.bin": noise(SIZE)})


@pytest.fixture
def get(site, body, tmp_path):
    """Offer the archive under the given conditions and fetch it, silently."""

    def run(name="data.zip", content=body, **options):
        return fetch(
            site.offer("/data.zip", content, **options),
            tmp_path / name,
            manifest=tmp_path / "manifest.json",
            progress=False,
            say=lambda terms: None,
        )

    return run


def test_first_download_enters_the_manifest(get, site, body, tmp_path):
    assert get().read_bytes() == body
    entry = json.loads((tmp_path / "manifest.json").read_text())["data.zip"]
    assert entry["size"] == len(body)
    assert entry["sha256"] == hashlib.sha256(body).hexdigest()
    assert entry["source"] == f"{site.address}/data.zip"
    assert entry["verified"].count("-") == 2
    assert visible(tmp_path) == ["data.zip", "manifest.json"]


def test_a_file_that_is_there_needs_no_request(get, site):
    get()
    before = len(site.asked)
    get()
    assert len(site.asked) == before == 1


def test_terms_come_before_the_first_byte(site, body, tmp_path):
    said = []

    def say(text):
        said.append((text, len(site.asked)))

    url = site.offer("/data.zip", body)
    for _ in range(2):
        fetch(url, tmp_path / "d.zip", manifest=tmp_path / "m", dataset="isic2018", progress=False, say=say)
    [(text, requests_before)] = said
    assert "CC0" in text
    assert requests_before == 0


def test_unknown_terms_are_a_line_too(site, body, tmp_path, capsys):
    url = site.offer("/data.zip", body)
    fetch(url, tmp_path / "d.zip", manifest=tmp_path / "m", progress=False)
    assert f"{url}: read its terms there" in capsys.readouterr().out


def test_broken_connections_are_taken_up_where_they_broke(get, site, body):
    assert get(cuts=[100_000, 100_000, 100_000]).read_bytes() == body
    assert site.ranges == [None, "bytes=100000-", "bytes=200000-", "bytes=300000-"]


@pytest.mark.parametrize("etag", ['"v1"', 'W/"v1"', ""])
def test_every_attempt_brings_it_further(get, site, body, etag):
    # From the beginning each time, four cuts at the same place would be the end of it.
    assert get(cuts=[150_000] * 4, etag=etag).read_bytes() == body
    assert site.ranges[-1] == "bytes=600000-"


def test_server_that_sends_a_range_in_portions(get, site, body):
    assert get(cuts=[150_000], portion=150_000).read_bytes() == body
    assert site.ranges[-2:] == ["bytes=450000-", "bytes=600000-"]


def test_it_goes_on_in_the_next_run(get, site, body, tmp_path, refused):
    refused(
        [tmp_path / "data.zip", "after 100000 bytes", "kept", "run the same command again"],
        get,
        cuts=[100_000, *[0] * 9],
    )
    assert not (tmp_path / "data.zip").exists()
    site.asked.clear()
    assert get().read_bytes() == body
    assert site.ranges == ["bytes=100000-"]


def test_kill_9_loses_nothing(site, body, tmp_path):
    url = site.offer("/data.zip", body, pause=0.05)
    script = (
        "import sys; from msa2net_lib.data.download.fetch import fetch;"
        "fetch(sys.argv[1], sys.argv[2], manifest=sys.argv[3], progress=False)"
    )
    arguments = [url, tmp_path / "data.zip", tmp_path / "manifest.json"]
    process = subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)], stdout=subprocess.DEVNULL)
    partial = tmp_path / ".download-data.zip" / "partial"
    deadline = time.monotonic() + 60
    while not (partial.exists() and partial.stat().st_size):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    have = partial.stat().st_size
    assert 0 < have < len(body)
    assert not (tmp_path / "data.zip").exists()
    site.pages["/data.zip"].pause = 0
    assert fetch(url, arguments[1], manifest=arguments[2], progress=False).read_bytes() == body
    assert site.ranges == [None, f"bytes={have}-"]


def test_ctrl_c_keeps_what_came(get, site, body, tmp_path, monkeypatch):
    def interrupt(seconds):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fetch_module, "time", SimpleNamespace(sleep=interrupt))
        with pytest.raises(KeyboardInterrupt):
            get(cuts=[100_000])
    assert get().read_bytes() == body
    assert site.ranges == [None, "bytes=100000-"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"etag": '"v2"'}),
        ({}, {"etag": '"v2"', "if_range": False}),
        ({"etag": 'W/"v1"'}, {"etag": 'W/"v2"'}),
        (
            {"etag": "", "modified": "Mon, 01 Jun 2020 00:00:00 GMT"},
            {"etag": "", "modified": "Tue, 02 Jun 2020 00:00:00 GMT"},
        ),
        ({"etag": ""}, {"etag": ""}),
    ],
    ids=["etag", "etag, If-Range ignored", "weak etag", "date", "size alone"],
)
def test_a_file_that_changed_in_between_starts_over(get, site, zip_bytes, noise, before, after):
    new = zip_bytes({"other.bin": noise(SIZE // 2)})
    with pytest.raises(InputError):
        get(cuts=[100_000, *[0] * 9], **before)
    site.asked.clear()
    assert get(content=new, **after).read_bytes() == new
    assert site.ranges[0] == "bytes=100000-"


def test_server_that_ignores_range_starts_over_instead_of_appending(get, site, body, refused):
    refused("after 100000 bytes", get, cuts=[100_000, *[0] * 9])
    site.asked.clear()
    assert get(ranges=False).read_bytes() == body
    assert site.ranges == ["bytes=100000-"]


def test_server_that_never_finishes_is_given_up(get, site, refused):
    refused("after 100000 bytes", get, cuts=[100_000] * 50, ranges=False)
    assert len(site.asked) == 5  # the first brought something, then as many as there are pauses, and one


def test_last_byte_without_the_rename_needs_no_byte_more(get, site, body, tmp_path, refused):
    refused("kept", get, cuts=[len(body) - 1, *[0] * 9])
    with open(tmp_path / ".download-data.zip" / "partial", "ab") as partial:
        partial.write(body[-1:])
    site.asked.clear()
    assert get().read_bytes() == body
    assert site.ranges == [f"bytes={len(body)}-"]  # answered by 416


def test_too_long_a_partial_file_starts_over(get, body, tmp_path, refused):
    refused("kept", get, cuts=[len(body) - 1, *[0] * 9])
    with open(tmp_path / ".download-data.zip" / "partial", "ab") as partial:
        partial.write(b"more than there is")
    assert get().read_bytes() == body


def test_partial_file_of_another_address_starts_over(get, site, body, tmp_path, refused):
    refused("kept", get, cuts=[100_000, *[0] * 9])
    site.asked.clear()
    url = site.offer("/mirror.zip", body)
    fetch(url, tmp_path / "data.zip", manifest=tmp_path / "m", progress=False, say=len)
    assert site.ranges == [None]


def test_a_cut_without_any_length_said_is_seen_in_the_archive(get, tmp_path, refused):
    refused(["data.zip", "damaged or cut short", "removed"], get, cuts=[100_000], says_length=False)
    assert visible(tmp_path) == []


def test_empty_file_is_no_archive(get, tmp_path, refused):
    refused(["data.zip", "no .zip", "removed"], get, content=b"")
    assert visible(tmp_path) == []


def test_length_may_stay_unsaid(get, body):
    assert get(says_length=False).read_bytes() == body


def test_bytes_are_stored_as_they_lie_on_the_server(get, tar_bytes, noise):
    archive = tar_bytes({"scan.bin": noise(5000)}, "w:gz")
    assert get("data.tar.gz", archive, headers={"Content-Encoding": "gzip"}).read_bytes() == archive


def test_compressed_answers_are_not_asked_for(site, body, tmp_path):
    asked = []

    def page(handler):
        asked.append(handler.headers["Accept-Encoding"])
        Served(body).answer(handler)

    site.pages["/data.zip"] = page
    fetch(f"{site.address}/data.zip", tmp_path / "d.zip", manifest=tmp_path / "m", progress=False, say=len)
    assert asked == ["identity"]


def test_web_page_instead_of_the_file_is_refused(get, tmp_path, refused):
    page = b"<!DOCTYPE html><html>Please sign in</html>"
    refused(["data.zip", "is a web page"], get, content=page, headers={"Content-Type": "text/html; charset=utf-8"})
    refused(["data.zip", "but a web page"], get, content=page)  # declared as a zip
    assert visible(tmp_path) == []


def test_web_page_does_not_cost_what_had_come(get, site, body, refused):
    refused("kept", get, cuts=[100_000, *[0] * 9])
    refused("is a web page", get, content=b"<html>", headers={"Content-Type": "text/html"}, ranges=False)
    site.asked.clear()
    assert get().read_bytes() == body
    assert site.ranges == ["bytes=100000-"]


@pytest.mark.parametrize(("status", "requests"), [(403, 1), (404, 1), (503, 4)])
def test_refusals_name_the_status(site, tmp_path, refused, status, requests):
    site.pages["/gone.zip"] = lambda handler: handler.send_error(status)
    url = f"{site.address}/gone.zip"
    refused([tmp_path / "d.zip", url, str(status)], fetch, url, tmp_path / "d.zip", manifest=tmp_path / "m", say=len)
    assert len(site.asked) == requests


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/d.zip", "127.0.0.1/d.zip", "ftp://127.0.0.1/d.zip", "http:///d"])
def test_addresses_that_lead_nowhere(tmp_path, refused, url):
    line = refused([tmp_path / "d.zip", url], fetch, url, tmp_path / "d.zip", manifest=tmp_path / "m", say=len)
    assert " object at 0x" not in line
    assert visible(tmp_path) in ([], [".download-d.zip"])


def test_wrong_bytes_never_get_the_name(get, zip_bytes, noise, tmp_path, refused):
    good = get().read_bytes()
    (tmp_path / "data.zip").unlink()
    other = bytearray(good)
    other[50] ^= 1
    values = [hashlib.sha256(good).hexdigest(), hashlib.sha256(other).hexdigest(), tmp_path / "manifest.json"]
    refused(["data.zip", *values], get, content=bytes(other), etag='"v2"')
    assert visible(tmp_path) == ["manifest.json"]


def test_another_size_is_refused_before_it_comes(get, body, tmp_path, refused):
    get().unlink()
    refused([f"offers {len(body) + 1} bytes", f"says {len(body)}"], get, content=body + b"!")
    assert not (tmp_path / ".download-data.zip" / "partial").exists()


def test_file_put_there_by_hand_is_verified_and_used(get, site, body, tmp_path, refused):
    (tmp_path / "data.zip").write_bytes(body[:-9])
    refused([tmp_path / "data.zip", "damaged", "move it away"], get)
    assert (tmp_path / "data.zip").exists()  # the user's own
    (tmp_path / "data.zip").write_bytes(body)
    get()
    assert site.asked == []
    assert "data.zip" in json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "data.zip").write_bytes(body + b"!")
    refused([f"has {len(body) + 1} bytes", f"says {len(body)}", "move it away"], get)


def test_damaged_manifest_costs_nothing(get, site, body, tmp_path, refused):
    refused("kept", get, cuts=[100_000, *[0] * 9])
    (tmp_path / "manifest.json").write_text("{")
    refused([tmp_path / "manifest.json", "restore"], get)
    (tmp_path / "data.zip").write_bytes(body)
    line = refused([tmp_path / "manifest.json", "restore"], get)
    assert "move it away" not in line
    (tmp_path / "data.zip").unlink()
    (tmp_path / "manifest.json").unlink()
    site.asked.clear()
    get()
    assert site.ranges == ["bytes=100000-"]


def test_two_runs_at_once(get, tmp_path, refused):
    with FileLock(tmp_path / ".data.zip.lock"):
        refused([tmp_path / "data.zip", "another run"], get)
    get()


def test_full_disk_keeps_what_came(site, body, small_disk, tmp_path, refused):
    url = site.offer("/data.zip", body)
    manifest = tmp_path / "manifest.json"
    target = small_disk / "data.zip"
    refused([target, "the disk is full", "kept"], fetch, url, target, manifest=manifest, progress=False, say=len)
    partial = small_disk / ".download-data.zip" / "partial"
    kept = partial.read_bytes()
    assert kept
    assert body.startswith(kept)
    assert not target.exists()
    assert not manifest.exists()


def test_unwritable_folder(site, body, tmp_path, refused):
    (tmp_path / "file").write_text("")
    url = site.offer("/data.zip", body)
    refused(tmp_path / "file", fetch, url, tmp_path / "file" / "d.zip", manifest=tmp_path / "m", say=len)
    assert site.asked == []
