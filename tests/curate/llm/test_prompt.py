"""What language models are asked."""

import re

import pytest

from lt_extrap.curate.llm.prompt import PLACEHOLDERS, Prompt, read_prompt
from lt_extrap.errors import ConfigError
from lt_extrap.paths import conf_dir

ALL = {name: f"<{name}>" for name in PLACEHOLDERS}


@pytest.mark.parametrize("file", sorted((conf_dir() / "prompt").iterdir()), ids=lambda file: file.stem)
def test_the_prompts_that_are_shipped_ask_for_a_class(file):
    text = read_prompt(file.stem).fill(ALL)
    assert "<name>" in text
    assert "<named>" in text
    bare = read_prompt(file.stem).fill({"name": "tench", "k": "5"})
    assert "tench" in bare
    assert "5" in bare
    assert "$" not in bare
    assert "hese" not in bare.rpartition("tench")[2]  # nothing is excluded where nothing is to be


def test_the_default_is_the_papers_with_all_that_is_known():
    text = read_prompt("structured").fill(ALL)
    assert "Query: sports car" in text
    assert '"sedan", "coupe", "SUV", "luxury car", "electric car"' in text
    assert "JSON" in text  # which OpenAI wants to read where JSON is asked for
    assert all(f"<{name}>" in text for name in PLACEHOLDERS)
    assert text.endswith("Response:")


def test_a_line_of_which_something_is_not_known_is_left_out():
    prompt = Prompt("Of $name:\nit is $gloss, a kind of $parent\nnot $named\n$$5 for ${name}s")
    assert prompt.fill({"name": "a $gloss", "gloss": "x", "parent": ""}) == "Of a $gloss:\n$5 for a $glosss"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Name $k of $nmae", r"\$nmae"),
        ("Name $name", r"no \$named"),
        ("Not $named", r"no \$name$"),
        ("$name $named costs 5 $", "no placeholder"),
        ("", r"no \$name$"),
    ],
)
def test_a_prompt_that_cannot_be_filled_in_is_refused(tmp_path, text, said):
    file = tmp_path / "mine.txt"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"(?s)naive, paper, structured.*mine.txt") as told:
        read_prompt(str(file))
    assert re.search(said, told.value.found)


def test_a_prompt_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        read_prompt("structurd")
    (tmp_path / "mine.txt").write_bytes(b"\xff$name $named")
    with pytest.raises(ConfigError, match="utf-8"):
        read_prompt(f"{tmp_path}/mine.txt")
