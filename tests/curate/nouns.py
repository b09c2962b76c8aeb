"""A few nouns in the format of WordNet's data.noun, with their real ids (which are not their places in this file)."""

from pathlib import Path

from lt_extrap.curate.records import TargetClass
from lt_extrap.curate.wordnet import WordNet, read_wordnet
from lt_extrap.model.shots import Shot

LICENCE = (
    "  1 This software is provided under a licence.  \n  2 WordNet 3.0 Copyright 2006 by Princeton University.  \n"
)
NOUNS = {  # wnid: lemmas, hypernyms (an individual's with an i), gloss
    "n00001740": ("entity", "", "that which is"),
    "n00003553": ("whole unit", "n00001740", "an assemblage of parts"),
    "n00007846": ("person individual", "n00003553", "a human being"),
    "n00015388": ("animal beast", "n00003553", "a living organism"),
    "n01317541": ("domestic_animal", "n00015388", "an animal that was tamed"),
    "n01503061": ("bird", "n00015388", "a feathered animal"),
    "n02083346": ("canine canid", "n00015388", "a mammal with nonretractile claws"),
    "n02114100": ("grey_wolf gray_wolf timber_wolf", "n02083346", "a wolf of northern forests"),
    "n02084071": ("dog domestic_dog Canis_familiaris", "n02083346 n01317541", "a tame canid; a pet"),
    "n02087122": ("hunting_dog", "n02084071", "a dog for the hunt"),
    "n02088364": ("beagle", "n02087122", "a small hound"),
    "n02090379": ("redbone", "n02087122", "a speedy hound"),
    "n02090475": ("wolfhound", "n02087122", "the largest dogs"),
    "n02090721": ("Irish_wolfhound", "n02090475", "a large hound"),
    "n02108089": ("boxer", "n02084071", "a stocky dog"),
    "n02113335": ("poodle poodle_dog", "n02084071", "an intelligent dog"),
    "n02113624": ("toy_poodle", "n02113335", "the smallest poodle"),
    "n02012849": ("crane", "n01503061", "a large long-necked bird"),
    "n02000954": ("stork", "n01503061", "a large wading bird"),
    "n03664675": ("lifting_device", "n00003553", "a device for lifting"),
    "n03126707": ("crane", "n03664675", "lifts heavy objects"),
    "n09870208": ("boxer pugilist", "n00007846", "someone who fights with his fists"),
    "n10019552": ("diver frogman", "n00007846", "someone who works under water"),
    "n10914447": ("Crane Stephen_Crane", "in00007846", "a writer"),
    "n11111111": ("Lassie", "in02084071", "a dog of films"),
}


def line(wnid: str) -> str:
    """A noun as data.noun has it, with a pointer of another kind than the reader wants."""
    lemmas, hypernyms, gloss = NOUNS[wnid]
    words = lemmas.split()
    above = [f"@{'i' if h[0] == 'i' else ''} {h[-8:]} n 0000" for h in hypernyms.split()]
    below = [f"~ {other[1:]} n 0000" for other, (_, up, _) in NOUNS.items() if wnid in up.split()]
    pointers = [*above, "%p 00001740 n 0000", *below]
    return (
        f"{wnid[1:]} 03 n {len(words):02x} {' '.join(f'{word} 0' for word in words)} {len(pointers):03d} "
        f"{' '.join(pointers)} | {gloss}  \n"
    )


def write_nouns(folder: Path, *, head: str = LICENCE, more: str = "") -> Path:
    """Write data.noun into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data.noun").write_text(head + "".join(map(line, NOUNS)) + more)
    return folder


def small_wordnet(folder: Path) -> WordNet:
    """These nouns, read."""
    return read_wordnet(write_nouns(folder))


def target(label: int, name: str, wnid: str | None = None, spellings: tuple[str, ...] = (), images: int = 5):
    """A target class whose id is its wnid or its name."""
    return TargetClass(label, wnid or name, name, (name, *spellings), wnid, None, images, Shot.FEW)
