# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Quickstart on a folder of your own
#
# You have a folder a class, some large, most small. This notebook checks it, trains a
# baseline, collects auxiliary classes for it from a pool of other images, trains the method
# on both, compares the two, and classifies new pictures.
#
# It runs as it is, on pictures that this machine draws: no data, no network, no GPU, about a
# minute on two cores. **Its runs last seconds, so its numbers say nothing about the method.**
# Every step is one command in a terminal too, which stands above its cell. What training and
# curation print while they work is left out of the page that you may be reading.
#
#     pip install 'lt-extrap[notebooks]'

# %%
import json
import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from PIL import Image

from lt_extrap.check import CheckConfig, check_data
from lt_extrap.compose import configure, configure_command
from lt_extrap.curate.__main__ import curate
from lt_extrap.data.embedded import World, neighbor_classes, target_classes, write_world
from lt_extrap.export import ExportConfig, export
from lt_extrap.predict import PredictConfig, predict
from lt_extrap.table import find_runs, read_rows, row_name, tabulate
from lt_extrap.train import train

work = Path("runs/quickstart")  # all that this notebook writes
pd.set_option("display.max_colwidth", None)  # whole words

# %% [markdown]
# ## The data
# `mine` is the folder to be recognised, `pool` holds images of other classes, a folder a
# class, and `photos` what is to be classified at the end. **For your own data replace this
# cell by**
#
#     mine, pool, photos = Path("/data/mine"), Path("/data/pool"), Path("/data/photos")
#
# What else there may be (ready `train/ val/ test/` folders, a table, lists, a Hugging Face
# imagefolder) is in docs/data.md.

# %%
world = World(
    families=3,
    classes=9,
    neighbors_per_family=3,
    random_classes=3,
    largest=170,
    smallest=8,
    val_per_class=1,
    test_per_class=1,
    auxiliary_images=25,
    extra_images=0,
)
drawn = write_world(world, work) / "images"
mine, pool, photos = work / "mine", work / "pool", work / "photos"
for folder, creatures in ((mine, target_classes(world)), (pool, neighbor_classes(world))):
    for creature in creatures:
        name = creature.name.replace(" ", "_")
        shutil.copytree(drawn / name, folder / name, dirs_exist_ok=True)
photos.mkdir(exist_ok=True)
for creature in target_classes(world)[
    :8
]:  # the first picture of some classes is not theirs any more
    (mine / creature.name.replace(" ", "_") / "0000.png").replace(
        photos / f"{creature.name.replace(' ', '_')}.png"
    )

# Two mistakes, as they happen: a cut file, and a picture that stands under two labels.
first, second = sorted(mine.iterdir())[:2]
(first / "0003.png").write_bytes((first / "0003.png").read_bytes()[:200])
shutil.copy(first / "0004.png", second / "a_copy.png")

images = pd.Series({folder.name: len(list(folder.iterdir())) for folder in mine.iterdir()})
images.sort_values(ascending=False).to_frame("images")

# %% [markdown]
# ## Is the data what you think it is?
#
#     python -m lt_extrap.check target=folder target.root=<mine>
#
# `data` is what every later command needs to know of your images. The check looks at each of
# them, and prints a page.

# %% tags=["progress"]
data = ("target=folder", f"target.root={mine}")
findings = check_data(
    CheckConfig(
        target=configure("experiment=folder", *data).target,
        auxiliary=configure("experiment=folder", *data).auxiliary,
        output=str(work / "check"),
        workers=0,
    )
)

# %%
found = json.loads((work / "check" / "check.json").read_text())
pd.DataFrame(found["findings"], columns=["severity", "kind", "summary", "remedy"])

# %% [markdown]
# Errors would make results wrong, or stop the training. The check wrote `exclude.txt`, which
# leaves images out of training and deletes nothing. It never changes what is tested on: the
# picture under two labels fell into the test images here, and is yours to correct in the
# folder. (We leave it, to go on.)

# %%
print((work / "check" / "exclude.txt").read_text())
data = (*data, f"target.exclude={(work / 'check' / 'exclude.txt').resolve()}")

# %% [markdown]
# ## A baseline
#
#     python -m lt_extrap.train experiment=folder target.root=<mine> \
#         target.exclude=<exclude.txt> component=baseline
#
# The split is made once, by a seed, and keeps copies together. `tiny` makes the run short:
# **leave it out for your own data**, where the budget is 100 epochs (`do=plan` tells what
# that takes). Few images? Start from pretrained weights: `backbone=dinov2 recipe=finetune`
# (docs/recipes.md).

# %% tags=["progress"]
tiny = (
    "recipe.image_size=32",
    "recipe.batch_size=64",
    "recipe.blr=0.03",
    "recipe.crop_scale=[0.7,1]",
    "backbone.widths=[16,32,64]",
    "budget={unit: steps, amount: 80, warmup: 10}",
    "data.resident=true",
    "data.workers=0",
)
run = work / "runs" / "component+baseline-seed+0"
results = train(
    configure("experiment=folder", *data, *tiny, "component=baseline", "logger=none"), run
)

# %% [markdown]
# The run folder has everything about the run (docs/runs.md). `results.json` holds the
# numbers: `acc` is the mean over classes, and many, medium and few are classes with more than
# 100, 20 to 100, and fewer than 20 *training* images.

# %%
test = results["test"]
shown = ("acc", "acc_many", "acc_medium", "acc_few", "acc_micro")
pd.Series({name: test[name] for name in shown}).round(3).to_frame("test")

# %% [markdown]
# `per_class.csv` has a row a class. Read `test_images` before you read `accuracy`: of a class
# with two test images the accuracy can be 0, 0.5 or 1, and a group of such classes jumps by
# whole points when one picture changes sides. If your tail looks like that, set more images
# apart (`target.test_fraction`), or split by hand.

# %%
pd.read_csv(run / "per_class.csv")[
    ["name", "shot", "train_images", "test_images", "accuracy"]
].round(2)

# %% [markdown]
# ## Auxiliary classes from a pool
#
#     python -m lt_extrap.curate target=folder target.root=<mine> source.root=<pool> ...
#
# Curation finds classes that are like yours and are none of yours, takes their images from
# the pool, and drops what is broken, unlike, or a near-copy of one of your images. With names
# that WordNet knows, leave out the three words after `pool`: WordNet then names the
# neighbors. Our creatures are in no dictionary, so the neighbors come from a file, which
# lists them for each class, nearest first. Who else can name them, and what to do where names
# have several senses, is in docs/curating.md.
#
# `features=run` compares images by the baseline that was just trained, because it is here. It
# is a poor judge of what it has never seen: **for real images leave out the two words with
# `features` and the one behind them**; then it is DINOv2.

# %% tags=["progress"]
family = {
    folder.name: folder.name.rpartition("_")[2] for folder in (*mine.iterdir(), *pool.iterdir())
}
neighbors = {
    ours.name: [
        other.name
        for other in sorted(pool.iterdir())
        if family[other.name] == family[ours.name]
    ]
    for ours in mine.iterdir()
}
(work / "neighbors.json").write_text(json.dumps(neighbors, indent=1))
words = (
    *data,
    f"source.root={pool}",
    "proposer=file",
    f"proposer.file={work / 'neighbors.json'}",
    "names.use_wordnet=false",
    "features=run",
    f"features.run={run}",
    "filter.suspects=keep",
    "workers=0",
    f"folder={work / 'curation'}",
)
status = curate(configure_command("curate", *words))
assert status == 0, "not done, or nothing was kept: it said why"

# %%
fates = pd.DataFrame(json.loads((work / "curation" / "status.json").read_text())["candidates"])
fates["reason"] = fates["reason"].fillna("kept")
fates["stage"] = pd.Categorical(fates["stage"], ["candidates", "images", "selection", "kept"])
fates.pivot_table(
    index=["stage", "reason"],
    columns="shot",
    values="count",
    aggfunc="sum",
    fill_value=0,
    observed=True,
)

# %% [markdown]
# The next notebook, *Reading a curated set critically*, is about this table.
#
# ## The method
#
#     python -m lt_extrap.train experiment=folder target.root=<mine> ... component=silencing \
#         target.neighbors.folder=<the set>
#
# The same words, the same seed and the same number of steps as the baseline. A part of each
# batch is now auxiliary images: see `target views` in the table below.

# %% tags=["progress"]
curated = f"target.neighbors.folder={(work / 'curation' / 'set').resolve()}"
method = work / "runs" / "component+silencing-seed+0"
train(
    configure("experiment=folder", *data, curated, *tiny, "component=silencing", "logger=none"),
    method,
)

# %% [markdown]
# ## Does it help?
#
#     python -m lt_extrap.report runs=<runs>

# %%
ended, _, _ = find_runs(work / "runs")
table = tabulate(read_rows((row_name(folder, work / "runs"), folder) for folder in ended))
pd.DataFrame(table[1:], columns=table[0])

# %% [markdown]
# One seed, and a handful of test images: this table cannot tell. For your own data run at
# least three seeds of both (`-m component=baseline,silencing seed=0,1,2`), beside the control
# `component=random`, which needs a set of classes that are nobody's neighbors. *From sweep to
# figure* is about reading that.
#
# ## New pictures
#
#     python -m lt_extrap.predict run=<run> images=<photos>

# %%
predict(
    PredictConfig(
        run=str(method),
        images=str(photos),
        output=str(work / "predictions"),
        workers=0,
        device="cpu",
    )
)
predicted = pd.read_csv(work / "predictions.csv")

figure, axes = plt.subplots(1, len(predicted), figsize=(12, 2.3), layout="constrained")
for place, row in zip(axes, predicted.itertuples(), strict=True):
    place.imshow(Image.open(photos / row.path))
    place.set_title(f"{Path(row.path).stem}\n→ {row.name}\n{row.probability:.0%}", fontsize=6.5)
    place.axis("off")

# %% [markdown]
# The probabilities are of a classifier that was trained to be fair to small classes and was
# not calibrated: `ece` in results.json tells how far off they are.
#
# ## Take it with you
#
#     python -m lt_extrap.export run=<run> format=onnx    # or torchscript, timm, safetensors
#
# The file has the target classes alone, with names and preprocessing inside, and was read
# back and compared before it got its name.

# %%
print(export(ExportConfig(run=str(method), format="safetensors")))
