"""The names in what language models say."""

import json

import pytest

from lt_extrap.curate.llm.reply import MOST, Name, read

CARS = ["sedan", "coupe", "SUV", "luxury car", "electric car"]


def names(text, **more):
    return [name.name for name in read(text, **more).names]


LISTS = {
    "numbers with a stop": "\n".join(f"{at}. {name}" for at, name in enumerate(CARS, 1)),
    "numbers with a bracket": "\n".join(f"{at}) {name}" for at, name in enumerate(CARS, 1)),
    "numbers in brackets": "\n".join(f"({at}) {name}" for at, name in enumerate(CARS, 1)),
    "numbers in square brackets": "\n".join(f"[{at}] {name}" for at, name in enumerate(CARS, 1)),
    "letters": "\n".join(f"{letter}. {name}" for letter, name in zip("ABCDE", CARS, strict=True)),
    "dashes": "\n".join(f"- {name}" for name in CARS),
    "stars": "\n".join(f"* **{name}**" for name in CARS),
    "pluses": "\n".join(f"+ {name}" for name in CARS),
    "bullets": "\n".join(f"\u2022 {name}" for name in CARS),
    "a comma line": ", ".join(CARS),
    "a comma line with and": ", ".join(CARS[:-1]) + f", and {CARS[-1]}.",
    "semicolons": "; ".join(CARS),
    "lines": "\n".join(CARS),
    "the word Response": "Response: " + ", ".join(CARS),
    "further questions of its own": f"{', '.join(CARS)}\n\nQuery: dog\nResponse: wolf, fox, dingo",
    "a question before it": f"Query: sports car\nResponse: {', '.join(CARS)}",
    "prose before": "Sure! Here are five classes related to sports car: " + ", ".join(CARS),
    "prose without a colon": "Some related classes are " + ", ".join(CARS),
    "prose around": "Here you go:\n\n- " + "\n- ".join(CARS) + "\n\nI hope this helps, let me know!",
    "explanations": "\n".join(f"{at}. **{name}**: a kind, of road vehicle" for at, name in enumerate(CARS, 1)),
    "explanations after dashes": "\n".join(f"- {name} \u2013 it has wheels, too" for name in CARS),
    "quotation marks": ", ".join(f'"{name}"' for name in CARS),
    "HTML": "<ul>" + "".join(f"<li>{name}</li>" for name in CARS) + "</ul>",
    "numbers in a line": " ".join(f"{at}. {name}" for at, name in enumerate(CARS, 1)),
    "a table with numbers": "| # | name |\n|---|---|\n"
    + "".join(f"| {at} | {name} |\n" for at, name in enumerate(CARS)),
    "signs of a template": f"<|im_start|>assistant\n{', '.join(CARS)}<|im_end|>",
    "a remark after a comma": "\n".join(f"- {name}, a vehicle" for name in CARS),
    "synonyms": json.dumps([f"{name}, Currus currus" for name in CARS]),
    "a table": "\n".join(f"| {name} |" for name in CARS),
    "articles": ", ".join(f"a {name}" for name in CARS),
    "underscores": ", ".join(name.replace(" ", "_") for name in CARS),
    "thoughts": f"<think>dog, cat, cow</think>\n{', '.join(CARS)}",
    "the end of thoughts": f"dog, cat, cow\n</think>\n{', '.join(CARS)}",
    "JSON": json.dumps({"neighbors": CARS}),
    "JSON with lines": json.dumps({"neighbors": CARS}, indent=2),
    "a bare list": json.dumps(CARS),
    "another key": json.dumps({"query": "sports car", "related": CARS}),
    "a deeper key": json.dumps({"result": {"count": 5, "categories": CARS}}),
    "a key that is likelier": json.dumps({"others": ["dog"], "neighbors": CARS}),
    "objects": json.dumps({"neighbors": [{"reason": "it, has, wheels", "name": name} for name in CARS]}),
    "numbered keys": json.dumps({str(at): name for at, name in enumerate(CARS)}),
    "a text where a list was wanted": json.dumps({"neighbors": ", ".join(CARS)}),
    "a list of one text": json.dumps({"neighbors": [", ".join(CARS)]}),
    "a fence": f"```json\n{json.dumps(CARS)}\n```",
    "a fence and prose": f"Sure, here [as asked]:\n```\n{json.dumps({'neighbors': CARS})}\n```\nAnything else?",
    "a trailing comma": '["' + '",\n"'.join(CARS) + '",\n]',
    "a list of Python": str(CARS),
    "a list without quotation marks": f"[{', '.join(CARS)}]",
    "twice the same": json.dumps([*CARS, "Sedan", "COUPE", "luxury-car"]),
}


@pytest.mark.parametrize("text", LISTS.values(), ids=LISTS.keys())
def test_a_list_is_read_in_each_form(text):
    assert names(text) == CARS
    assert read(text).whole


@pytest.mark.parametrize("form", ["{}", "{}, dace, roach", "1. {}\n2. dace", '{{"neighbors": ["{}"]}}', "- {}\n- dace"])
@pytest.mark.parametrize(
    "name",
    [
        *("1957 Chevrolet Bel Air", "3D printer", "7-Eleven store", "Boeing 747", "St. Bernard", "C. elegans"),
        *("1.5 inch pipe", "T-shirt", "king's crown", "black-and-tan coonhound", "Crème brûlée", "红腹锦鸡"),
    ],
)
def test_digits_stops_and_dashes_of_a_name_stay(name, form):
    assert names(form.format(name))[0] == name


@pytest.mark.parametrize(
    "form", ["{}", "1. {}", '["{}", "dace"]', "dace, {}, roach", "- **{}**: it flies, and well\n- dace"]
)
def test_what_stands_in_brackets_is_a_note(form):
    assert Name("kite", "bird of prey, red") in read(form.format("kite (bird of prey, red)")).names
    assert Name("sedan") in read(form.format("sedan (2)")).names


def test_two_names_below_a_heading_are_two():
    assert names("Here are two:\ndace, carp") == ["dace", "carp"]


def test_names_with_other_notes_are_others():
    assert len(read("crane (bird), crane (machine), Crane (bird), crane").names) == 3


TALK = [
    *("", " \n", "[]", "{}", '{"neighbors": []}', "```json\n```", "null", "N/A", "None", "...", "Response:"),
    *("I'm sorry, I can't help with that.", "I\u2019m sorry, but I cannot assist, as an AI, with this request."),
    *("Sorry, no.", "I cannot name any categories, classes, or kinds.", "As an AI language model, I have no opinion."),
    *(
        "Unfortunately, there are none",
        '{"neighbors": ["I\'m sorry, but I can\'t"]}',
        '{"error": "cannot, will not, no"}',
    ),
    "There are many fishes. I think that the dace is nice, and so is the other one, too.",
    "<think>dace, carp, roach",
    "Sure! Here is what you asked for:",
    "x" * 500,
    "Let me think about which classes of fish are similar to a tench before I answer.",
]


@pytest.mark.parametrize("text", TALK)
def test_refusals_and_talk_have_no_names(text):
    assert names(text) == []


def test_the_end_of_a_list_that_was_cut_is_left_out():
    whole = json.dumps({"neighbors": CARS})
    for end in range(whole.index("[") + 1, len(whole) - 2):
        found = read(whole[:end])
        assert list(CARS[: len(found.names)]) == [name.name for name in found.names]
        assert not found.names or not found.whole
    objects = json.dumps([{"name": name, "why": "it has wheels"} for name in CARS])
    assert names(objects[: objects.index("SUV") + 2]) == CARS[:2]
    assert not read(objects[:-1]).whole
    for text in (", ".join(CARS)[:-3], "\n".join(f"- {name}" for name in CARS)[:-3]):
        assert read(text, cut=True) == (tuple(map(Name, CARS[:-1])), False)
    assert read(whole, cut=True).whole is False


def test_the_keys_of_an_object_that_was_cut_are_no_names():
    """As SmolLM2 has answered."""
    text = '{\n    "name": "police wagon",\n    "kindsOfCarType": {\n        "SubtypeExcludes_Police" : false\n    },'
    assert read(text, cut=True) == ((), False)
    assert read(text + '\n    "additionsToList') == ((), False)


@pytest.mark.slow  # hours, where an expression goes back and forth
def test_a_reply_is_read_in_bounded_time_and_to_a_bounded_length():
    hostile = (
        '"',
        "[",
        "(",
        "{",
        "a, ",
        "- ",
        "<think>",
        " ",
        "a ",
        '{"a":',
        '"a" :',
        "[{",
        '["a",',
        "</think>",
        "Response:",
    )
    for text in hostile:
        assert len(read(text * 9_000).names) <= 1
    assert len(read(json.dumps([f"name {chr(97 + at % 26)}{at}" for at in range(500)])).names) == MOST
