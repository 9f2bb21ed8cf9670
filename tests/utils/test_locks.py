"""Locks: refuse, wait, and where none can be had."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest
from filelock import FileLock

from msa2net_lib.errors import InputError
from msa2net_lib.utils.locks import BusyError, exclusive, hold


def test_a_second_run_is_refused_and_the_first_goes_on(tmp_path):
    with exclusive(tmp_path / "new" / "data"):
        with pytest.raises(BusyError, match="new/data: another run is at work on it"), exclusive(tmp_path / "new/data"):
            pass
        with exclusive(tmp_path / "other"), pytest.raises(BusyError), exclusive(tmp_path / "other", busy="taken"):
            pass
    with exclusive(tmp_path / "new" / "data"):
        assert [path.name for path in (tmp_path / "new").iterdir()] == [".data.lock"]


def test_a_claim_ends_with_an_error(tmp_path):
    with pytest.raises(KeyError), exclusive(tmp_path / "data"):
        raise KeyError
    with exclusive(tmp_path / "data"):
        pass


@pytest.mark.parametrize("wait", [-1, 10])
def test_waiting_for_another_run_that_ends(tmp_path, wait):
    taken, ended = threading.Event(), threading.Event()

    def run():
        with FileLock(tmp_path / "mine"):
            taken.set()
            time.sleep(0.1)
            ended.set()

    other = threading.Thread(target=run)
    other.start()
    taken.wait()
    with exclusive(tmp_path / "data", lock=tmp_path / "mine", wait=wait):
        assert ended.is_set()
    other.join()


def test_where_no_lock_can_be_had(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write there"), exclusive(tmp_path / "file" / "data"):
        pass

    def refuse(self, *_, **__):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    message = r"data: cannot be locked \(No locks available\); name another folder"
    with pytest.raises(InputError, match=message), exclusive(tmp_path / "data"):
        pass
    told = pytest.warns(UserWarning, match=r"data: cannot be locked .*let no other run write there")
    with told, pytest.raises(KeyError), exclusive(tmp_path / "data", needed=False):
        raise KeyError


@pytest.mark.parametrize("end", ["release", "kill"])
def test_what_a_process_holds_is_its_own_until_it_ends(tmp_path, end, refused):
    """To claim it again is no conflict; another process is refused, and a killed one leaves nothing behind."""
    lock = tmp_path / "lesson" / ".lock"
    mine = hold(tmp_path / "lesson", lock, "taken")
    assert hold(tmp_path / "lesson", lock, "taken") is mine
    mine.release()
    script = "import sys, filelock; held = filelock.FileLock(sys.argv[1]); held.acquire(); print(flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", script, str(lock)], **pipes) as other:
        assert other.stdout is not None
        other.stdout.readline()
        refused("lesson: taken", hold, tmp_path / "lesson", lock, "taken")
        if end == "kill":
            other.kill()
        else:
            other.communicate(b"\n")
        other.wait()
    hold(tmp_path / "lesson", lock, "taken").release()
