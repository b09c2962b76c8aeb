"""Every shipped configuration composes, means something, and says what it is."""

import inspect
import re
from contextlib import nullcontext
from functools import cache
from pathlib import Path

import lightning as L
import pytest
import torch
from hydra.utils import get_object

from lt_extrap import compose
from lt_extrap.compose import configure, configure_command, refuse_misnamed
from lt_extrap.config import (
    AuxiliaryClasses,
    Balanced,
    Decoder,
    NoAuxiliary,
    PretrainConfig,
    Sgd,
    Silencing,
    TargetExtra,
    TextHead,
    TrainConfig,
)
from lt_extrap.errors import ConfigError
from lt_extrap.model.preprocessing import IMAGENET_MEAN, preprocessing_of
from lt_extrap.paths import conf_dir
from lt_extrap.refusals import refuse_experiment, refuse_words, spelled
from lt_extrap.report.__main__ import ReportConfig  # noqa: F401 (brings the schema of the command)
from lt_extrap.trainer import OWN_TRAINER_KEYS

EVERY = sorted(path.stem for path in (conf_dir() / "experiment").glob("*.yaml"))
PRETRAININGS = [name for name in EVERY if name.endswith("_mgp")]  # of another command
EXPERIMENTS = [name for name in EVERY if name not in PRETRAININGS]
RECIPES = sorted(path.stem for path in (conf_dir() / "recipe/scripts").glob("*.yaml"))  # of the published experiments
LIFT = sorted(path.stem for path in (conf_dir() / "experiment").glob("*_lift.yaml"))
PUBLISHED = ("imagenet_lt_", "inat18_", "places_lt_")  # targets whose experiments are alike
COMPONENTS = sorted(path.stem for path in (conf_dir() / "component").glob("*.yaml"))


def words_of(experiment):
    """The command in an experiment's header, but for its component."""
    header = (conf_dir() / "experiment" / f"{experiment}.yaml").read_text().split("defaults:")[0]
    (words,) = re.findall(r"python -m lt_extrap\.train (experiment=.*)", header)
    return [word for word in words.split() if not word.startswith("component=") and word != "\\"]


@cache
def sets_of(experiment):
    """The list that a component adds to the target of an experiment; None where that target has no such list."""
    target = configure(*words_of(experiment)).target
    sets = {"neighbors": target.neighbors, "random": target.random}
    found = {name: files.train or files.folder for name, files in sets.items()}
    return found | dict.fromkeys(("silencing", "permuted"), found["neighbors"]) | {"target_extra": target.extra}


def pairs():
    """Every experiment with every component; one each is fast, of the published ones, alike in that, slow."""
    for number, experiment in enumerate(EXPERIMENTS):
        for component in COMPONENTS:
            once = component == COMPONENTS[number % len(COMPONENTS)]
            marks = [pytest.mark.slow, pytest.mark.long][: experiment.startswith(PUBLISHED) if once else 2]
            yield pytest.param(experiment, component, marks=marks)


@pytest.mark.parametrize(("experiment", "component"), [*pairs()])
def test_every_pair_composes(experiment, component):
    words = words_of(experiment)
    if sets_of(experiment).get(component, "nothing") is None:
        with pytest.raises(ConfigError, match="a target that comes without"):
            configure(*words, f"component={component}")
        return
    config = configure(*words, f"component={component}")
    assert isinstance(config, TrainConfig)
    assert config.name == experiment
    kinds = {
        "baseline": (NoAuxiliary, Balanced),
        "random": (AuxiliaryClasses, Balanced),
        "neighbors": (AuxiliaryClasses, Balanced),
        "silencing": (AuxiliaryClasses, Silencing),
        "permuted": (AuxiliaryClasses, Silencing),
        "target_extra": (TargetExtra, Balanced),
    }
    assert (type(config.auxiliary), type(config.loss)) == kinds[component]
    assert getattr(config.auxiliary, "permute", False) == (component == "permuted")


def published():
    """Every published experiment, component and recipe; one of each experiment and one of each recipe are not long."""
    for number, experiment in enumerate(RECIPES):
        own = (conf_dir() / f"recipe/scripts_baseline/{experiment}.yaml").is_file()
        triples = [
            (component, recipe)
            for component in COMPONENTS
            for recipe in ("scripts", "paper", *["scripts_baseline"] * own)
            if component != "target_extra"  # for which the published sets have no list
        ]
        for row, (component, recipe) in enumerate(triples):
            once = component == COMPONENTS[number % 5] or row == 2 * number % 9
            yield pytest.param(experiment, component, recipe, marks=[] if once else [pytest.mark.long])


@pytest.mark.slow
@pytest.mark.parametrize(("experiment", "component", "recipe"), [*published()])
def test_what_a_recipe_sets_survives_the_component(experiment, component, recipe):
    config = configure(f"experiment={experiment}", f"component={component}", f"recipe={recipe}")
    target, _, kind = experiment.rpartition("_")
    baseline = recipe == "scripts_baseline"  # on Places-LT without tau, with CLIP on iNaturalist with smoothing
    assert config.loss.tau == (1.05 if target == "places_lt" and not baseline else 1)
    assert config.loss.smoothing == (0 if experiment == "inat18_clip" and not baseline else 0.1)
    assert (
        config.budget.amount == {"scratch": 30, "livt": 30, "clip": 50, "dinov2": 50}[kind]
        if target == "places_lt"
        else 100
    )
    assert config.budget.head_warmup == (3 if kind == "dinov2" else 0)
    assert config.recipe.batch_size // config.recipe.accumulate == 256
    assert config.recipe.image_size == 224
    assert config.recipe.betas == ([0.9, 0.95] if recipe == "paper" else [0.9, 0.99])
    assert config.loss.bce == (kind == "livt")
    if recipe == "paper":
        assert (config.recipe.batch_size, config.recipe.mixup, config.recipe.cutmix) == (512, 0.8, 1.0)
        assert config.recipe.randaugment == [9, 0.5]
    assert (config.target.val is None) == (target == "inat18")


LR = {
    "imagenet_lt_scratch": 4e-3,
    "inat18_scratch": 4e-3,
    "places_lt_scratch": 4e-3,
    **dict.fromkeys(("imagenet_lt_livt", "inat18_livt", "places_lt_livt"), 4e-3),
    "imagenet_lt_dinov2": 1.75e-5,
    "inat18_dinov2": 7e-5,
    "places_lt_dinov2": 3.5e-5,
    "imagenet_lt_clip": 1e-5,
    "inat18_clip": 7e-4,
    "places_lt_clip": 2e-5,
}


# What images are normalised by: a masked autoencoder saw its own data set's, other weights those that they come with.
MEAN = {
    "imagenet_lt_scratch": (0.479672, 0.457713, 0.407721),
    "inat18_scratch": (0.466, 0.471, 0.380),
    "places_lt_scratch": IMAGENET_MEAN,
    "dinov2": IMAGENET_MEAN,
    "clip": (0.48145466, 0.4578275, 0.40821073),
}


@pytest.mark.slow
@pytest.mark.parametrize("experiment", RECIPES)
def test_recipes_have_the_published_rates_and_images(experiment):
    config = configure(f"experiment={experiment}")
    recipe = config.recipe
    assert recipe.lr == pytest.approx(LR[experiment])
    jitter = experiment == "imagenet_lt_clip"
    augmentation = (recipe.randaugment, recipe.erasing, recipe.color_jitter)
    assert augmentation == ((None, 0, 0.4) if jitter else ([9, 0.5], 0.25, 0))
    assert recipe.crop_fraction == 224 / 256
    kind = experiment.rpartition("_")[2]
    of_set = experiment.replace("_livt", "_scratch")
    assert preprocessing_of(config.backbone).mean == MEAN[of_set if of_set.endswith("_scratch") else kind]


@pytest.mark.slow
@pytest.mark.parametrize("experiment", PRETRAININGS)
def test_a_pretraining_is_that_of_what_starts_from_it(experiment):
    config = configure_command("pretrain", f"experiment={experiment}")
    assert isinstance(config, PretrainConfig)
    assert config.name == experiment
    header = (conf_dir() / "experiment" / f"{experiment}.yaml").read_text().split("defaults:")[0]
    assert f"python -m lt_extrap.pretrain experiment={experiment}" in header
    assert "Expected" in header
    of = experiment.removesuffix("_mgp")
    start = configure(f"experiment={of}_scratch", "component=baseline").backbone
    assert (start.model, start.options) == (config.backbone.model, config.backbone.options)
    assert preprocessing_of(start) == preprocessing_of(config.backbone)
    if of != "tiny_imagenet_lt":
        recipe, budget = config.recipe, config.budget
        assert recipe.lr == pytest.approx(2.4e-3)
        assert (recipe.batch_size, recipe.betas, recipe.weight_decay) == (4096, [0.9, 0.95], 0.05)
        assert (config.mask_ratio, config.normalised, config.decoder) == (0.75, True, Decoder(8, 512, 16))
        assert (budget.unit, budget.amount, budget.warmup) == ("epochs", 800, 40)
        assert recipe.image_size == (128 if of == "inat18" else 224)
        assert (recipe.crop_scale, recipe.flip, recipe.randaugment) == ([0.2, 1.0], 0.5, None)


@pytest.mark.slow
@pytest.mark.parametrize("experiment", LIFT)
def test_lift_has_its_published_recipe_in_every_row(experiment):
    config = configure(f"experiment={experiment}", "component=silencing")
    recipe, epochs = config.recipe, 20 if experiment == "inat18_lift" else 10
    assert (type(recipe), recipe.lr, recipe.batch_size) == (Sgd, pytest.approx(0.01), 128)
    assert (recipe.momentum, recipe.weight_decay, recipe.milestones) == (0.9, 5e-4, [])
    assert (config.budget.unit, config.budget.amount, config.budget.warmup) == ("epochs", epochs, 0)
    assert (recipe.mixup, recipe.cutmix, recipe.randaugment, recipe.color_jitter, recipe.erasing) == (0, 0, None, 0, 0)
    assert (recipe.crop_scale, recipe.crop_ratio, recipe.flip) == ([0.08, 1], [3 / 4, 4 / 3], 0.5)
    assert (recipe.image_size, recipe.crop_fraction) == (224, 224 / 256)
    assert (config.head, config.backbone.projection) == (TextHead(scale=25.0, templates=["a photo of a {}."]), False)
    assert (config.loss.tau, config.loss.smoothing) == (1, 0)
    assert configure(f"experiment={experiment}", "component=baseline").recipe == recipe


def test_finetuning_ones_own_images_is_at_224_pixels():
    config = configure("experiment=folder", "target.root=/data/mine", "backbone=dinov2", "recipe=finetune")
    assert (config.recipe.image_size, config.backbone.weights) == (224, "hub")


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiments_say_their_command_and_what_to_expect(experiment):
    header = (conf_dir() / "experiment" / f"{experiment}.yaml").read_text().split("defaults:")[0]
    assert f"python -m lt_extrap.train experiment={experiment}" in header
    assert "Expected" in header


@pytest.mark.parametrize("file", sorted((conf_dir() / "trainer").glob("*.yaml")), ids=lambda file: file.stem)
def test_trainer_options_are_lightnings(file: Path):
    config = configure("experiment=demo", f"trainer={file.stem}")
    inspect.signature(L.Trainer).bind(**config.trainer)
    assert not OWN_TRAINER_KEYS.keys() & config.trainer.keys()
    assert OWN_TRAINER_KEYS.keys() <= inspect.signature(L.Trainer).parameters.keys()


@pytest.mark.parametrize("file", sorted((conf_dir() / "logger").glob("*.yaml")), ids=lambda file: file.stem)
def test_logger_options_are_the_loggers(file: Path):
    options = dict(configure("experiment=demo", f"logger={file.stem}").logger)
    assert ("_target_" in options) == (file.stem != "none")
    if options:
        inspect.signature(get_object(options.pop("_target_"))).bind(save_dir="x", **options)


def test_only_the_known_files_are_there():
    # Each of these is read by the code; a file more is a file that somebody has to explain.
    groups = {path.name for path in conf_dir().iterdir()}
    assert groups == {
        *("train.yaml", "report.yaml", "evaluate.yaml", "predict.yaml", "export.yaml", "pretrain.yaml"),
        *("check.yaml", "auxiliary_set.yaml", "pack.yaml", "curate.yaml", "workspace.yaml"),
        *("target", "auxiliary", "loss", "backbone", "adapter", "head", "recipe"),
        *("trainer", "logger", "component", "experiment", "sweep"),
        *("proposer", "prompt", "source", "features", "filter"),
        *("studies", "pool", "grid"),
    }


def test_command_line_beats_component_beats_experiment():
    config = configure("experiment=demo", "component=silencing", "loss.lambda_s=0.5")
    assert config.loss.lambda_s == 0.5
    assert (
        configure("experiment=demo", "component=baseline", "loss=ce").loss
        == configure("experiment=demo", "loss=ce").loss
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["+loss.lamda_s=0.5"], "loss.lamda_s"),
        (["+zed=3", "+recipe.foo=1"], "recipe.foo, zed"),
        (["loss.lambda_s=1.5"], "loss.lambda_s to be in 0..1"),
        (["loss.lambda_s=-0.1"], "loss.lambda_s"),
        (["loss.tau=-1"], "loss.tau"),
        (["loss.silence=both"], "pair, target_only, aux_only, none"),
        (["loss.mixing=released"], "loss.lambda_s to be 0"),
        (["loss.bce=true", "loss.lambda_s=0", "loss.mixing=released"], "loss.mixing to be exact"),
        (["auxiliary.samples_per_class=0"], "auxiliary.samples_per_class to be at least 1"),
        (["auxiliary.neighbors_per_class=0"], "neighbors_per_class"),
        (["auxiliary.sampling_ratio=[1,1]"], "three numbers"),
        (["auxiliary.sampling_ratio=[1,-1,3]"], "three numbers"),
        (["recipe.betas=[0.9]"], "recipe.betas"),
        (["recipe.crop_scale=[0.9,0.1]"], "recipe.crop_scale"),
        (["recipe.crop_ratio=[2,1]"], "recipe.crop_ratio"),
        (["budget.amount=0"], "budget.amount"),
        (["budget.unit=hours"], "epochs, steps, target_views"),
        (["budget={unit: epochs, amount: 3, warmup: 3}"], "budget.warmup"),
        (["recipe.head_warmup_factor=60"], "recipe.head_warmup_factor to be a number with budget.head_warmup"),
        (["budget={head_warmup: 3}"], "recipe.head_warmup_factor to be a number with budget.head_warmup"),
        (["recipe.head_warmup_factor=60", "budget={head_warmup: 3, warmup: 0}"], "with budget.warmup, whose slope"),
        (["recipe.head_warmup_factor=60", "budget={head_warmup: 3, warmup: 2, amount: 5}"], "less than budget.amount"),
        (["features_from=x", "recipe.freeze=1"], "recipe.freeze to be 0 with features_from"),
        (
            ["features_from=x", "recipe.head_warmup_factor=60", "budget={head_warmup: 3}"],
            "budget.head_warmup to be 0 with features_from",
        ),
        (["head=batchnorm", "recipe.accumulate=128"], "recipe.accumulate to be less than recipe.batch_size"),
        (["recipe.fused=true", "trainer.precision=16-mixed"], "recipe.fused to be false with recipe.clip"),
        (["data.on_unreadable=ignore"], "error, skip"),
        (["data.prefetch=0"], "data.prefetch to be at least 1"),
        (["data.workers=0", "data.prefetch=2"], "data.prefetch to be null"),
        (["data.resident=true", "data.prefetch=2"], "data.prefetch to be null"),
        (["seed=-1"], "seed"),
        (["target.neighbors.train=null"], "a target that comes without"),
        (["auxiliary.sampling_ratio=[inf,1,1]"], "three numbers"),
        (["auxiliary.neighbors_per_class=null", "auxiliary.scale=largest"], "auxiliary.scale"),
        (["budget.amount=inf"], "budget.amount"),
        (["seed=9223372036854775808"], "seed"),
        (["recipe.blr=inf"], "recipe.blr"),
        (["target.root=/tmp"], "target.root to be null"),
    ],
)
def test_values_out_of_range_are_named(overrides, said):
    with pytest.raises(ConfigError) as error:
        configure("experiment=demo", "component=silencing", *overrides)
    assert said in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ["loss.lamda_s=0.5"],
        ["component=baseline", "loss.lambda_s=0.5"],
        ["component=baseline", "auxiliary.samples_per_class=3"],
        ["recipe.batch_size=many"],
        ["auxiliary.sampling_ratio=1"],
        ["backbone.drop_path=0.1"],
        ["recipe.momentum=0.9"],
        ["recipe=cifar", "recipe.fused=true"],
    ],
)
def test_keys_that_change_nothing_and_wrong_types_are_refused_by_name(overrides):
    with pytest.raises(ConfigError) as error:
        configure("experiment=demo", "component=silencing", *overrides)
    key = overrides[-1].split("=")[0].lstrip("+")
    assert key in str(error.value)


@pytest.mark.parametrize("word", ["{depth: 2}", ".depth=2"])
def test_arguments_of_timm_need_no_plus(word):
    word = f"backbone.options{word if word[0] == '.' else '=' + word}"
    assert configure("experiment=demo", "backbone=scratch", word).backbone.options == {"depth": 2}


def test_sampling_ratio_takes_fractions_and_zeros():
    ratio = configure(
        "experiment=demo", "component=silencing", "auxiliary.sampling_ratio=[0,0.5,3]"
    ).auxiliary.sampling_ratio
    assert ratio == [0, 0.5, 3]


@pytest.mark.parametrize("lr", ["1e-3", "0.001", ".001"])
def test_numbers_are_numbers_in_every_spelling(lr):
    assert configure("experiment=demo", f"recipe.blr={lr}").recipe.blr == 0.001


def test_a_target_of_ones_own_needs_no_experiment():
    """The commands of the README for lists of one's own."""
    mine = ("name=mine", "target=lists", "target.root=/data", "target.train=a.txt", "target.test=b.txt")
    assert isinstance(configure(*mine, "component=baseline").auxiliary, NoAuxiliary)
    neighbors = ("target.neighbors.train=aux.txt", "target.neighbors.names=n.txt", "target.neighbors.pairs=p.json")
    auxiliary = configure(*mine, *neighbors, "component=silencing").auxiliary
    assert (auxiliary.train, auxiliary.names, auxiliary.pairs) == ("aux.txt", "n.txt", "p.json")


@pytest.mark.parametrize("command", ["train", "pretrain"])
def test_no_experiment_prints_those_of_the_command(command):
    with pytest.raises(ConfigError) as error:
        configure_command(command)
    for name in EVERY:
        lines = [line for line in str(error.value).splitlines() if f"experiment={name} " in line]
        assert [len(line.split()) > 3 for line in lines] == [True] * (name.endswith("_mgp") == (command == "pretrain"))


def test_an_experiment_of_train_is_none_of_pretrain():
    for name in (None, "tiny_imagenet_lt_mgp", "my_own"):
        refuse_experiment(name)
    with pytest.raises(ConfigError, match="lt_extrap.train experiment=tiny_imagenet_lt"):
        refuse_experiment("tiny_imagenet_lt")


@pytest.mark.parametrize(
    ("overrides", "wanted", "found", "remedy"),
    [
        (["experiment=dmo"], "conf/experiment/", "dmo", "did you mean demo? choose an experiment:"),
        (["experiment=demo", "loss=silence"], "loss to be one of", "silence", "did you mean silencing?"),
        (["experiment=demo", "loss=silencing", "loss.lamda_s=1"], "keys that", "loss.lamda_s", "mean loss.lambda_s?"),
        (["experiment=demo", "+loss.lamda_s=1"], "keys that the schema", "loss.lamda_s", "mean loss.lambda_s?"),
        (["experiment=demo", "loss.lambda_s=1"], "keys that the chosen", "loss.lambda_s", "has it: loss=silencing"),
        (
            ["experiment=demo", "auxiliary.permute=true"],
            "keys that the chosen options",
            "auxiliary.permute",
            "auxiliary=neighbors, auxiliary=permuted, auxiliary=random",
        ),
        (["experiment=demo", "recipe.batch_size=many"], "right type for recipe.batch_size", "many", "of type int"),
        (
            ["experiment=demo", "component=silencing", "auxiliary.sampling_ratio=3"],
            "right type for auxiliary.sampling_ratio",
            "3",
            "'auxiliary.sampling_ratio=[...]'",
        ),
        (
            ["experiment=demo", "component=silencing", "auxiliary.sampling_ratio=[1:1:3]"],
            "right type for auxiliary.sampling_ratio",
            "1:1:3",
            "list",
        ),
        (["experiment=demo", "budget=10"], "right type for budget", "10", "budget.unit, budget.amount"),
        (["experiment=demo", "budget={amount"], "key=value", "budget={amount", "quote"),
        (["experiment=demo", "nonsense"], "key=value", "nonsense", "quote"),
        (["target=folder", "target.root=~/mine"], "key=value", "~/mine", "write target.root=$HOME/mine"),
        (["target=folder", "target.root=/a=b/c"], "key=value", "/a=b/c", "'target.root=\"/a=b/c\"'"),
        (["experiment=demo", "seeds=1"], "keys that", "seeds", "did you mean seed?"),
        (["experiment=demo", "recipe=paper"], "recipe in conf/recipe/scripts/", "experiment=demo", "recipe=finetune"),
        (["target=embedded", "recipe=scripts"], "recipe in conf/recipe/scripts/", "no experiment", "imagenet_lt_clip"),
        (
            ["experiment=inat18_scratch", "recipe=scripts_baseline"],
            "recipe in conf/recipe/scripts_baseline/",
            "inat18_scratch",
            "experiment=imagenet_lt_clip, imagenet_lt_dinov2",
        ),
        (
            ["experiment=places_lt_dinov2", "loss=ce"],
            "every key which conf/recipe/scripts/places_lt_dinov2.yaml sets",
            "loss.tau, which Loss",
            "loss=balanced",
        ),
        (["name=x", "target=lists"], "a value for every key", "target.test", "target."),
        (
            ["experiment=inat18_mgp"],
            "experiment of this",
            "which sets mask_ratio",
            "lt_extrap.pretrain experiment=inat18",
        ),
    ],
)
def test_mistakes_are_told_in_our_words(overrides, wanted, found, remedy):
    with pytest.raises(ConfigError) as error:
        configure(*overrides)
    told = error.value
    assert wanted in told.wanted
    assert found in told.found
    assert remedy in told.remedy


# The option of conf/auxiliary/ that each component chooses.
AUXILIARY = {
    file.stem: re.search(r"override /auxiliary: (\w+)", file.read_text()).group(1)
    for file in (conf_dir() / "component").glob("*.yaml")
}


@pytest.mark.parametrize(
    ("component", "loss", "refused"),
    [
        ("silencing", "focal", True),
        ("permuted", "balanced_bce", True),
        ("silencing", "silencing", False),
        ("neighbors", "focal", False),
    ],
)
def test_a_row_that_says_silencing_silences(component, loss, refused):
    config = configure("experiment=demo", f"component={component}", f"loss={loss}")
    with pytest.raises(ConfigError, match="silences none") if refused else nullcontext():
        refuse_misnamed({"component": component, "auxiliary": AUXILIARY[component]}, config)


@pytest.mark.parametrize(
    ("component", "auxiliary"),
    [*AUXILIARY.items(), ("silencing", "random"), (None, "random"), ("mine", "random"), ("silencing", "mine")],
)
def test_a_row_has_the_auxiliary_classes_that_it_says(small, component, auxiliary):
    config, choices = small("component=silencing"), {"component": component, "auxiliary": auxiliary}
    refused = (component, auxiliary) == ("silencing", "random")
    with pytest.raises(ConfigError, match="=random") if refused else nullcontext():
        refuse_misnamed(choices, config)


@pytest.mark.parametrize("group", ["logger", "component", "loss"])
def test_a_group_without_an_option_is_refused(group):
    with pytest.raises(ConfigError, match=f"conf/{group}/"):
        refuse_words([f"{group}=null"])


@pytest.mark.parametrize(
    "word", ["auxiliary.sampling_ratio=1,1,3", "backbone.widths=8,16", "recipe.betas=choice(0.9,0.95)"]
)
def test_an_unbracketed_list_is_refused_with_the_right_spelling(word):
    key, _, values = word.partition("=")
    with pytest.raises(ConfigError) as error:
        refuse_words(["-m", "experiment=demo", word])
    if "choice" not in word:
        assert f"'{key}=[{values}]'" in error.value.remedy


def test_lists_of_lists_and_other_sweeps_pass():
    refuse_words(["-m", "auxiliary.sampling_ratio=[1,1,3],[1,1,1]", "seed=0,1", "component=a,b", "nonsense", "--x"])


def test_no_key_is_its_own_correction():
    """Other commands than train do not have its keys."""
    for key, command in {"logger": "train", "component": "train", "mask_ratio": "pretrain"}.items():
        assert spelled(key) == f"leave it out: lt_extrap.{command} has that key, and this command has not"


def test_a_command_is_composed_as_on_its_command_line():
    report = configure_command("report", "runs=elsewhere", "weights=last")
    assert (report.runs, report.weights) == ("elsewhere", "last")
    with pytest.raises(ConfigError, match="weights"):
        configure_command("report", "weights=best")
    with pytest.raises(ConfigError, match="sums"):
        configure_command("report", "sums=1")


@pytest.mark.parametrize(("native", "precision"), [(True, "bf16-mixed"), (False, "32-true")])
def test_experiments_for_a_cpu_take_the_precision_that_it_has(monkeypatch, native, precision):
    asked = []
    monkeypatch.setattr(compose, "computes_in_bfloat16", lambda device: asked.append(device) or native)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for accelerator in ("cpu", "auto"):
        config = configure("experiment=tiny_imagenet_lt", f"trainer.accelerator={accelerator}")
        assert config.trainer["precision"] == precision
    assert asked == ["cpu", "cuda"]
    config = configure("experiment=tiny_imagenet_lt", "trainer.precision=16-mixed")
    assert config.trainer["precision"] == "16-mixed"
