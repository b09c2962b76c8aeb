import pytest

from lt_extrap.errors import RunError
from lt_extrap.files import alone_in, link_or_copy, write_whole_folder


def test_of_two_that_make_a_folder_one_wins(tmp_path):
    folder = tmp_path / "a" / "b"

    def fill(temporary):
        (temporary / "mine").touch()
        write_whole_folder(folder, lambda other: (other / "theirs").touch())

    write_whole_folder(folder, fill)
    assert [path.name for path in folder.iterdir()] == ["theirs"]
    assert list(folder.parent.iterdir()) == [folder]


def test_a_copy_is_whole_or_none(tmp_path, tmpfs):
    """On another file system, where a file has no second name."""
    (tmp_path / "one").write_bytes(bytes(300_000))
    small, large = tmpfs("small", 100), tmpfs("large", 500)
    with pytest.raises(OSError, match="No space left"):
        link_or_copy(tmp_path / "one", small / "other")
    assert list(small.iterdir()) == []
    link_or_copy(tmp_path / "one", large / "other")
    assert (large / "other").read_bytes() == bytes(300_000)


def test_a_file_in_the_place_of_a_folder_is_told(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with (
            pytest.raises(RunError, match=r"(?s)a folder that can be written.*Error"),
            alone_in(folder, "a run", "wait"),
        ):
            pass
