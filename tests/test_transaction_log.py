from lt_extrap.dashboard import Dashboard
from lt_extrap.runs import write_json
from lt_extrap.transaction_log import history, records

LONG = "long " * 20_000  # a record over four blocks


def test_what_w_and_b_wrote_is_read_back_whole_or_cut(tmp_path):
    write_json(tmp_path / "run.json", {"id": "0a1b2c3d"})
    with Dashboard(str(tmp_path)) as dashboard:
        dashboard.log_hyperparams({"text": LONG})
        for step in range(300):
            dashboard.log_metrics({"train/loss": float(step)}, step)
    (file,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    content, whole = file.read_bytes(), list(records(file))
    assert len(content) > 5 * 32 * 1024
    assert any(LONG in item.value_json for record in whole for item in record.config.update)
    assert [record.history.step.num for record in whole if record.HasField("history")] == list(range(300))
    assert history(tmp_path / "wandb", "0a1b2c3d") == 300
    assert history(tmp_path / "wandb", "another") == 0
    for length in (0, 5, 7, 50_000, 2 * 32 * 1024, 4 * 32 * 1024 + 3, len(content) - 1):
        file.write_bytes(content[:length])
        part = list(records(file))
        assert part == whole[: len(part)]
        assert len(part) < len(whole)
    assert len(part) == len(whole) - 1
