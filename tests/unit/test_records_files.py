"""Files of records: names inside one directory, whatever a remote caller writes."""

import os
from pathlib import Path

import pytest

from compute.records.errors import RecordsUnreadableError, SpecificationError
from compute.records.files import check_file_name, records_file


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "secret.csv").write_text("outside")
    inside = tmp_path / "records"
    inside.mkdir()
    (inside / "good.csv").write_text("inside")
    return inside


@pytest.mark.parametrize(
    "name",
    [
        "../secret.csv",
        "/etc/passwd.csv",
        "records/../secret.csv",
        "sub/file.csv",
        "sub\\file.csv",
        ".hidden.csv",
        "..csv",
        "..",
        "",
        "a\0.csv",
        "a\n.csv",
        "ä.csv",
        "x" * 125 + ".csv",
        "records.txt",
        "records.CSV",
        "records",
        "records.csv.gz",
        "~.csv",
        "$(x).csv",
    ],
)
def test_what_is_no_name_inside_the_directory_is_refused_before_anything_is_opened(directory, name):
    with pytest.raises(SpecificationError) as refused, records_file(directory, name):
        pass
    assert [field for field, _ in refused.value.violations] == ["file"]


def test_names_say_their_format():
    assert check_file_name("Kunden 2026-01.v2.csv") == "csv"
    assert check_file_name("x" * 120 + ".parquet") == "parquet"


def test_a_file_is_opened_and_read_from_the_start_each_time(directory):
    with records_file(directory, "good.csv") as file:
        assert (file.format, file.size) == ("csv", 6)
        for _ in range(2):
            with file.opened() as stream:
                assert stream.read() == b"inside"


@pytest.mark.parametrize("target", ["../secret.csv", "good.csv", "/etc/passwd", "nowhere"])
def test_a_symbolic_link_is_refused_wherever_it_leads(directory, target):
    (directory / "link.csv").symlink_to(target)
    with pytest.raises(RecordsUnreadableError, match="no symbolic link"), records_file(directory, "link.csv"):
        pass


def test_a_pipe_does_not_hang_the_node(directory):
    os.mkfifo(directory / "pipe.csv")
    with pytest.raises(RecordsUnreadableError, match="regular file"), records_file(directory, "pipe.csv"):
        pass


def test_a_directory_is_not_read(directory):
    (directory / "folder.csv").mkdir()
    with pytest.raises(RecordsUnreadableError, match="regular file"), records_file(directory, "folder.csv"):
        pass


def test_a_file_that_is_not_there_is_told_from_a_directory_that_is_not(directory):
    with (
        pytest.raises(RecordsUnreadableError, match="no file of this name"),
        records_file(directory, "no.csv"),
    ):
        pass
    with (
        pytest.raises(RecordsUnreadableError, match="operator"),
        records_file(directory / "no", "good.csv"),
    ):
        pass


def test_a_file_swapped_after_opening_is_still_the_one_that_was_opened(directory):
    with records_file(directory, "good.csv") as file:
        (directory / "good.csv").unlink()
        (directory / "good.csv").symlink_to("../secret.csv")
        with file.opened() as stream:
            assert stream.read() == b"inside"


def test_a_file_written_to_while_it_is_read_is_refused(directory):
    with records_file(directory, "good.csv") as file:
        file.check_unchanged()
        with (directory / "good.csv").open("ab") as writer:
            writer.write(b"more")
        with pytest.raises(RecordsUnreadableError, match="changed while it was read"):
            file.check_unchanged()


def test_every_descriptor_is_closed(directory):
    open_now = Path("/proc/self/fd")
    before = len(list(open_now.iterdir()))
    for name in ("good.csv", "no.csv"):
        try:
            with records_file(directory, name) as file, file.opened():
                pass
        except RecordsUnreadableError:
            pass
    assert len(list(open_now.iterdir())) == before
