"""Charts of all runs of a W&B project, as a workspace: `python -m lt_extrap.workspace entity=<team> project=<name>`.

Panels name only what a run logs (`dashboard.py`). Published again under its name, the workspace replaces itself.
"""

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from lt_extrap import cli
from lt_extrap.compose import from_hydra
from lt_extrap.config import check
from lt_extrap.dashboard import COMPONENT, ROW, STEP
from lt_extrap.errors import ConfigError, RunError
from lt_extrap.paths import conf_dir
from lt_extrap.table import MEASURES

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace

SWEPT = (
    "loss.lambda_s",
    "auxiliary.neighbors_per_class",
    "auxiliary.samples_per_class",
    "target.world.distance",
    "auxiliary.sampling_ratio",  # the last, for it is no number
)
_FURTHER = {"harmonic mean": "acc_harmonic", "worst class": "acc_worst"}
_TIMES = ("data_wait", "forward", "backward", "optimizer", "logging", "validation")
_RUNS = 100  # a chart shows; W&B's own 10 would leave seeds out of a mean


@dataclass
class WorkspaceConfig:
    """What to publish, and where.

    Attributes:
        do: `publish`, or `show`: print what would be sent, without a network or an account.
        entity: user or team that owns the project; null = the account's own.
        project: that has the runs.
        name: of the workspace, by which it is found and replaced.
        experiments: show the runs of these W&B groups (`name=` of a run) only; null = all.
        components: show the runs of these components only; null = all.
    """

    do: str = "publish"
    entity: str | None = None
    project: str = "lt_extrap"
    name: str = "Long tail"
    experiments: list[str] | None = None
    components: list[str] | None = None

    def __post_init__(self) -> None:
        check(self.do in ("publish", "show"), "do", "publish or show", self.do)
        check(bool(self.project), "project", "a name", self.project)
        check(bool(self.name.strip()), "name", "a name", self.name)
        for key in ("experiments", "components"):
            check(getattr(self, key) != [], key, "at least one, or null", [])


def build(config: WorkspaceConfig) -> "Workspace":
    """The workspace, not published.

    Raises:
        ConfigError: wandb-workspaces is not installed.
    """
    try:
        from wandb_workspaces import expr
        from wandb_workspaces import workspaces as ws
        from wandb_workspaces.reports import v2
    except ModuleNotFoundError as error:
        remedy = "pip install 'lt-extrap[workspace]'"
        raise ConfigError("the package of W&B's workspaces", str(error), remedy) from error
    wr: Any = v2  # its names are not exported as mypy wants it
    sections = {
        "Accuracy by shot": _shots(wr),
        "Training": _training(wr),
        "Sweeps": _sweeps(wr),
        "Components": _components(wr),
        "Classes": _tables(wr),
    }
    filters = [
        # Config("name"), the key of a run, would become W&B's id of it (wandb-workspaces 0.4.13).
        *([expr.Metric("Group").isin(config.experiments)] if config.experiments else []),
        *([expr.Config(COMPONENT).isin(config.components)] if config.components else []),
    ]
    columns = [f"config:{ROW}.value", "summary:seed", *(f"summary:test/{measure}" for measure in MEASURES.values())]
    workspace = ws.Workspace(
        entity=config.entity or "",
        project=config.project,
        name=config.name,
        sections=[
            ws.Section(
                name=name,
                panels=panels,
                is_open=True,
                layout_settings=ws.SectionLayoutSettings(columns=3, rows=math.ceil(len(panels) / 3)),  # on one page
            )
            for name, panels in sections.items()
        ],
        settings=ws.WorkspaceSettings(max_runs=_RUNS),
        runset_settings=ws.RunsetSettings(filters=expr.And(*filters) if filters else "", pinned_columns=columns),
    )
    # The name that W&B knows it by and its address ends in: a function of the name that people read.
    workspace._internal_name = f"nw-{_key(config.name)}-v"
    return workspace


def serialised(workspace: "Workspace") -> str:
    """The workspace as JSON, as W&B is sent it."""
    spec: str = workspace._to_model().spec.model_dump_json(by_alias=True, exclude_none=True)
    return spec


def publish(config: WorkspaceConfig) -> str:
    """Save the workspace, over the one of its name if there is one.

    Returns:
        Its address.

    Raises:
        ConfigError: wandb-workspaces is not installed, or there is no account.
        RunError: W&B cannot be reached, or refuses.
    """
    workspace = build(config)
    import wandb
    from wandb.sdk.lib.service.service_connection import WandbApiFailedError
    from wandb_workspaces.workspaces import internal
    from wandb_workspaces.workspaces.errors import SpecVersionError

    wandb.setup(wandb.Settings(show_info=False))
    try:
        workspace.entity = config.entity or wandb.Api().default_entity or ""
        try:
            view = internal.get_view_dict(workspace.entity, config.project, _key(config.name))
            workspace._internal_id = view["id"]
        except ValueError as error:
            if not str(error).startswith("Workspace"):  # the project it is, that is not there
                raise
        workspace.save()  # type: ignore[no-untyped-call]
        return str(workspace.url)
    except wandb.errors.UsageError as error:
        raise ConfigError("an account at W&B", str(error), "wandb login, or export WANDB_API_KEY=<key>") from error
    except SpecVersionError as error:
        remedy = "delete that workspace on W&B, or give name=<another>"
        raise RunError("a workspace of the version of wandb-workspaces", str(error), remedy) from error
    except ValueError as error:
        remedy = "upload a run first (wandb sync), or give entity= and project="
        raise RunError(f"the project {workspace.entity}/{config.project}", str(error), remedy) from error
    except (wandb.errors.Error, WandbApiFailedError, TimeoutError) as error:
        remedy = "look at the network, WANDB_BASE_URL and the key (wandb login --relogin)"
        raise RunError("W&B to take the workspace", str(error), remedy) from error
    finally:
        wandb.teardown()


def _key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:11]  # as long as W&B's own


def _shots(wr: Any) -> list[Any]:
    """Validation accuracy over epochs: a line a row, mean and deviation over seeds."""
    return [_line(wr, title, "epoch", f"val/{measure}") for title, measure in {**MEASURES, **_FURTHER}.items()]


def _training(wr: Any) -> list[Any]:
    return [
        _line(wr, "loss", STEP, "train/loss"),
        _line(wr, "probability on auxiliary classes", "epoch", "val/aux_mass"),
        _line(wr, "calibration error", "epoch", "val/ece"),
        _bars(wr, "images a second", ["time/images_per_second"], ROW),
        _bars(wr, "seconds", [f"time/{part}" for part in _TIMES], ROW),
        _bars(wr, "peak memory, bytes", ["time/peak_memory"], ROW),
    ]


def _sweeps(wr: Any) -> list[Any]:
    """Test accuracy over each swept key; a ratio is no number, so that it has bars."""
    *numbers, ratio = SWEPT
    measures = ["test/acc_few", "test/acc"]
    columns = [wr.ParallelCoordinatesPlotColumn(metric=wr.Config(key), display_name=key) for key in SWEPT]
    columns += [wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric(key)) for key in measures]
    return [
        wr.ParallelCoordinatesPlot(title="a run a line", columns=columns),
        *(
            wr.ScatterPlot(title=f"{measure} over {key}", x=wr.Config(key), y=wr.SummaryMetric(measure))
            for key in numbers
            for measure in measures
        ),
        _bars(wr, f"by {ratio}", measures, ratio),
        *(wr.ParameterImportancePlot(with_respect_to=measure) for measure in measures),
    ]


def _components(wr: Any) -> list[Any]:
    """Rows are runs that differ in nothing but the seed; a component has all that is shown of it, sweeps too."""
    return [
        _bars(wr, "by component, all its runs shown", [f"test/{key}" for key in MEASURES.values()], COMPONENT),
        *(_bars(wr, f"{title}, by row", [f"test/{key}"], ROW) for title, key in MEASURES.items()),
    ]


def _tables(wr: Any) -> list[Any]:
    return [wr.WeavePanelSummaryTable(table_name=name) for name in ("gains", "per_class", "confusions")]


def _line(wr: Any, title: str, x: str, y: str) -> Any:
    return wr.LinePlot(
        title=title, x=x, y=[y], groupby=wr.Config(ROW), groupby_aggfunc="mean", groupby_rangefunc="stddev"
    )


def _bars(wr: Any, title: str, metrics: list[str], by: str) -> Any:
    return wr.BarPlot(
        title=title,
        metrics=metrics,
        groupby=wr.Config(by),
        groupby_aggfunc="mean",
        groupby_rangefunc="stddev",
        max_runs_to_show=_RUNS,
        max_bars_to_show=_RUNS,
    )


ConfigStore.instance().store(group="schema", name="workspace", node=WorkspaceConfig)


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="workspace")
def task(config: DictConfig) -> None:
    """Hydra's entry: print the address of the workspace, or its serialised form."""
    options: WorkspaceConfig = from_hydra(config)
    print(serialised(build(options)) if options.do == "show" else publish(options))


def main() -> None:
    """The command."""
    cli.run(task)


if __name__ == "__main__":
    main()
