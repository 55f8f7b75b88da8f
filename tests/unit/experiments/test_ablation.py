"""Variants of the settings: each must be one that the settings take, and change nothing that another corpus would be needed for."""

from __future__ import annotations

import pytest

from router.configuration import overridden
from router.errors import ConfigurationError, InvalidInput
from router.experiments.ablation import VARIANTS, Variant, parse_variant, planned_variants
from router.experiments.dataset import Dataset
from router.experiments.scratch import scratch_folder
from router.settings import GraphSource, RerankSettings, Settings, VectorSource


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    return Dataset("set", tmp_path, (), None, None, None)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_a_variant_is_of_the_settings_and_shares_the_corpus(variant: Variant, dataset: Dataset) -> None:
    changed = variant.of(Settings())
    assert changed.sources.keys() == Settings().sources.keys()
    assert scratch_folder(changed, dataset) == scratch_folder(Settings(), dataset)


def test_what_shapes_the_corpus_leads_to_another(dataset: Dataset) -> None:
    smaller = parse_variant("small passages=corpus.chunk_tokens=100,corpus.chunk_overlap_tokens=10").of(Settings())
    folders = {scratch_folder(Settings(), dataset), scratch_folder(smaller, dataset), scratch_folder(Settings(), dataset.without_titles())}
    assert len(folders) == 3


def test_only_what_changes_something_is_planned() -> None:
    names = [variant.name for variant, _ in planned_variants(Settings(), [], [])]
    assert "no entities" in names
    assert "no rerank" in names
    as_fused = Settings(rerank=RerankSettings(method="none"))
    assert "no rerank" not in [variant.name for variant, _ in planned_variants(as_fused, [], [])]


def test_own_variants_join_and_some_can_be_chosen() -> None:
    own = parse_variant("far=fusion.walk.damping=0.9,fusion.walk.iterations=50")
    (known, _), (variant, settings) = planned_variants(Settings(), [own], ["no entities", "no entities"])
    assert known.name == "no entities"
    assert variant is own
    assert (settings.fusion.walk.damping, settings.fusion.walk.iterations) == (0.9, 50)
    with pytest.raises(InvalidInput, match="no cellar"):
        planned_variants(Settings(), [], ["no cellar"])


@pytest.mark.parametrize("text", ["", "name", "name=path", "=path=1", "name==1", "name=a.b=1,c"])
def test_what_is_no_variant_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"NAME=path=value"):
        parse_variant(text)


@pytest.mark.parametrize(
    "override", [{"fusion.walk.damping": "7"}, {"fusion.walk.no": "1"}, {"fusion.method.x": "1"}, {"fusion.method": "["}]
)
def test_a_variant_that_the_settings_do_not_take_is_named(override: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="'odd'"):
        Variant("odd", override).of(Settings())


def test_an_override_leads_into_a_source_and_leaves_the_rest_be() -> None:
    changed = overridden(Settings(), {"sources.vector.lexical_weight": "0", "models.llm": "{kind: openai, base_url: b, model: m}"})
    vector, graph = changed.sources["vector"], changed.sources["graph"]
    assert isinstance(vector, VectorSource)
    assert vector.lexical_weight == 0
    assert graph == GraphSource()
    assert changed.models.llm is not None
    assert overridden(changed, {}) == changed
