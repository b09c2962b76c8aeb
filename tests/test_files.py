from lt_extrap.files import write_whole_folder


def test_of_two_that_make_a_folder_one_wins(tmp_path):
    folder = tmp_path / "a" / "b"

    def fill(temporary):
        (temporary / "mine").touch()
        write_whole_folder(folder, lambda other: (other / "theirs").touch())

    write_whole_folder(folder, fill)
    assert [path.name for path in folder.iterdir()] == ["theirs"]
    assert list(folder.parent.iterdir()) == [folder]
