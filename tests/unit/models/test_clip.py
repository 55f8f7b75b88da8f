"""A real CLIPModel of a few thousand weights, saved by the test and loaded as any other."""

from __future__ import annotations

import asyncio
import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from router.errors import ConfigurationError
from router.models.base import instructed
from router.models.spaces import open_space
from router.settings import ModelSettings, PictureSettings

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "tiny-clip"
    folder.mkdir()
    vocabulary = ["<|startoftext|>", "<|endoftext|>", *"abcdefghijklmnopqrstuvwxyz", *(f"{c}</w>" for c in "abcdefghijklmnopqrstuvwxyz")]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {"vocab_size": len(vocabulary), "max_position_embeddings": 24, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    config = transformers.CLIPConfig(text_config=shape | text, vision_config=shape | {"image_size": 32, "patch_size": 8}, projection_dim=12)
    transformers.CLIPModel(config).save_pretrained(folder)
    tokenizer = transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=24)
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    transformers.CLIPProcessor(transformers.CLIPImageProcessor(**size), tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture
async def space(folder: Path, tmp_path: Path):
    opened = await open_space(ModelSettings(pictures=PictureSettings(model=str(folder))), tmp_path, text=None)
    yield opened
    await opened.aclose()


def picture(colour: tuple[int, int, int]) -> np.ndarray:
    return np.full((40, 60, 3), colour, np.uint8)


async def test_words_and_pictures_of_one_space(space):
    words = await space.text.embed(["a red square", "a blue square"])
    pictures = await space.pictures.embed([picture((255, 0, 0)), picture((0, 0, 255)), picture((255, 0, 0))])
    assert (space.dimension, space.modalities, space.name) == (12, {"text", "image"}, "tiny-clip")
    assert words.shape == (2, 12)
    assert pictures.shape == (3, 12)
    assert np.linalg.norm(np.concatenate([words, pictures]), axis=1) == pytest.approx(1, abs=1e-5)
    assert np.abs(pictures[0] - pictures[2]).max() < 1e-5 < np.abs(pictures[0] - pictures[1]).max()
    assert np.abs(words[0] - words[1]).max() > 1e-5


async def test_equals_transformers(space, folder):
    import torch
    from PIL import Image

    model = transformers.CLIPModel.from_pretrained(folder).eval()
    processor = transformers.CLIPProcessor.from_pretrained(folder)
    with torch.no_grad():
        inputs = processor(text=["a red square"], images=[Image.fromarray(picture((255, 90, 0)))], return_tensors="pt")
        found = model(**inputs)
    assert np.abs(await space.text.embed(["a red square"]) - found.text_embeds.numpy()).max() < 1e-5
    assert np.abs(await space.pictures.embed([picture((255, 90, 0))]) - found.image_embeds.numpy()).max() < 1e-5


async def test_clip_takes_no_instructions(space):
    assert not instructed(space.text)
    assert not instructed(space.pictures)


@pytest.fixture(scope="module")
def chat_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LLaVA of a few thousand weights: a model that reads its inputs as a chat, as Qwen3-VL-Embedding does."""
    import tokenizers
    import torch

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "tiny-llava"
    letters = {letter: number for number, letter in enumerate([*map(chr, range(33, 127)), "\u0120", "\u010a"])}
    bytes_alone = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=letters, merges=[]))
    bytes_alone.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=bytes_alone, pad_token="<end>", eos_token="<end>", additional_special_tokens=["<image>"]
    )
    template = (
        "{% for message in messages %}{{ message.role }}: {% if message.content is string %}{{ message.content }}{% else %}"
        "{% for part in message.content %}{{ '<image>' if part.type == 'image' else part.text }}{% endfor %}{% endif %}\n{% endfor %}"
    )
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    transformers.LlavaProcessor(
        transformers.CLIPImageProcessor(**size),
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        chat_template=template,
        image_token="<image>",
        num_additional_image_tokens=1,
    ).save_pretrained(folder)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**shape, image_size=32, patch_size=8),
        text_config=transformers.LlamaConfig(**shape, vocab_size=len(tokenizer), num_key_value_heads=2, max_position_embeddings=512),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=16,
    )
    transformers.LlavaModel(config).save_pretrained(folder)
    return folder


async def test_a_model_that_reads_a_chat_is_told_the_instruction_with_pictures_and_words(chat_folder: Path, tmp_path: Path) -> None:
    space = await open_space(ModelSettings(pictures=PictureSettings(model=str(chat_folder))), tmp_path, text=None)
    for side, thing, other in ((space.pictures, picture((255, 0, 0)), picture((0, 0, 255))), (space.text, "pump", "valve")):
        assert instructed(side)
        # Together in one batch, as calls of many callers are.
        plain, behind, blue = await asyncio.gather(
            side.embed([thing]), side.embed_instructed([thing, other], "from behind"), side.embed_instructed([thing], "in blue")
        )
        different = [plain[0], behind[0], behind[1], blue[0]]
        assert min(np.abs(one - another).max() for one, another in combinations(different, 2)) > 1e-4
        assert np.abs(behind[0] - (await side.embed_instructed([thing], "from behind"))[0]).max() < 1e-5
        assert np.abs(plain - await side.embed([thing])).max() < 1e-5
    await space.aclose()


async def test_a_model_without_pictures_is_refused(tmp_path):
    config = transformers.BertConfig(vocab_size=10, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    transformers.BertModel(config).save_pretrained(tmp_path / "text")
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d", "e"]))
    transformers.BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "text")
    with pytest.raises(ConfigurationError, match="takes no image"):
        await open_space(ModelSettings(pictures=PictureSettings(model=str(tmp_path / "text"))), tmp_path, text=None)


async def test_another_digest_is_refused(folder, tmp_path):
    settings = ModelSettings(pictures=PictureSettings(model=str(folder), sha256="0" * 64))
    with pytest.raises(ConfigurationError, match="sha256"):
        await open_space(settings, tmp_path, text=None)
