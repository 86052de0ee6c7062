"""Models of recordings: new ones are read, resampled and scaled as those of training."""

from pathlib import Path

import numpy as np
import pytest

from builders import study
from in_process import swept
from orchestrator.errors import BadInput
from orchestrator.models.fitting import evaluated, fit_model
from orchestrator.models.folder import load_model
from workloads import WORKLOADS


def test_a_folder_gives_the_predictions_of_the_ledger_to_the_bit_from_recordings(tmp_path: Path) -> None:
    fixture = WORKLOADS["ecg-k-dir"].fixture
    assert fixture is not None
    fixture(tmp_path)
    made = study(
        workloads=["ecg-k-dir"],
        recipes={"also": ["l1"]},
        tune={"trials": 1, "rescore": 1},
        evaluate={"seeds": 1},
        train={"epochs": 1},
        space={},
        data=str(tmp_path),
        storage=str(tmp_path / "results"),
    )
    swept(made)
    chosen = evaluated(made, "l1")
    assert fit_model(chosen, tmp_path / "model").about.equal
    model = load_model(tmp_path / "model")
    folder = tmp_path / "ecg-k-dir"
    names = [line.split(",")[0] for line in (folder / "labels.csv").read_text().splitlines() if ",test," in line]
    new = tmp_path / "new"
    (new / "records").mkdir(parents=True)
    with np.load(folder / "records.npz") as file:
        for name in names:
            np.save(new / "records" / f"{name}.npy", file[name])
    (new / "new.csv").write_text("\n".join(["ward,record", *(f"7,{name}" for name in names)]) + "\n")
    known = chosen.ledger.predictions(chosen.record)["pred"].to_pylist()
    assert model.predict(new / "new.csv")["prediction"].to_pylist() == known
    (new / "records" / f"{names[1]}.npy").unlink()
    with pytest.raises(BadInput, match=rf"new.csv:3: record '{names[1]}' cannot be used: it is missing"):
        model.predict(new / "new.csv")
