from lt_extrap.data.spelling import alike, contained, plain, same


def test_case_underscores_and_blanks_make_no_other_name():
    assert plain(" Golden_Retriever  dog") == "golden retriever dog"
    assert same(["crane", "owl", "Crane", "sea_lion", "sea lion"]) == [[0, 2], [3, 4]]


def pairs(*names):
    return [(names[i], names[j]) for i, j in alike(names)]


def test_hyphens_plurals_and_one_letter_are_alike():
    assert pairs("teddy bear", "teddy-bear", "teddybear") == [
        ("teddy bear", "teddy-bear"),
        ("teddy bear", "teddybear"),
        ("teddy-bear", "teddybear"),
    ]
    for one, other in (("bus", "buses"), ("daisy", "daisies"), ("sunglass", "sunglasses"), ("Horse", "horses")):
        assert pairs(one, other) == [(one, other)]
    for one, other in (("conch", "couch"), ("acorn", "corn"), ("nail", "snail"), ("screwdriver", "screwdrivers")):
        assert pairs(one, other) == [(one, other)]
        assert pairs(other, one) == [(other, one)]


def test_other_names_are_not_alike():
    assert pairs("cat", "bat", "car") == []  # short words are one letter apart by nature
    assert pairs("Crane", "crane") == []  # the same, not alike
    assert pairs("goldfish", "golfdish", "eastern cave gokin", "eastern fern gokin") == []


def test_word_sequences_within_others():
    names = ["lion", "sea lion", "sea", "stallion", "lion's mane", "mountain sea-lion", "sea lion"]
    assert contained(names) == [(0, 1), (0, 5), (0, 6), (1, 5), (2, 1), (2, 5), (2, 6), (6, 5)]
