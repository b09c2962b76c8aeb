from lt_extrap.data.copies import _TAIL, find_copies


def test_equal_files_are_found_whatever_their_names(tmp_path):
    long = bytes(range(256)) * 40
    assert len(long) > _TAIL
    contents = {
        "a.png": b"same",
        "b.png": b"same",
        "c.png": b"some",  # of one size
        "long": long,
        "other start": b"!" + long[1:],  # of one size and one end
        "again": long,
        "empty": b"",
        "empty too": b"",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    files = [tmp_path / name for name in contents]
    assert find_copies(files, [len(content) for content in contents.values()]) == [[0, 1], [3, 5]]
    assert find_copies([], []) == []


def test_what_cannot_be_read_is_equal_to_none(tmp_path):
    assert find_copies([tmp_path / "no", tmp_path / "neither"], [3, 3]) == []
