"""Opens the configured language model."""

from __future__ import annotations

from pathlib import Path

from router.models.base import LanguageModel
from router.settings import LLMSettings, OpenAILLM


async def open_language_model(settings: LLMSettings, cache_dir: Path, log_dir: Path) -> LanguageModel:
    """An endpoint (not contacted yet), or a GGUF file in a child process (started, loaded and answering).

    Raises:
        ConfigurationError: The local model is unknown or its file is not the expected one.
        ModelUnavailable: The local model must be downloaded and cannot be, or its process does not start.
        MissingExtra: A local model needs the extra `local-llm`.
    """
    if isinstance(settings, OpenAILLM):
        from router.models.llm import OpenAILanguageModel  # LlamaIndex takes seconds to import

        return OpenAILanguageModel(
            name=settings.model,
            base_url=lambda: settings.base_url,
            api_key=settings.api_key.get_secret_value(),
            timeout_s=settings.timeout_s,
            context_tokens=settings.context_tokens,
        )
    from router.models.local_llm import LocalLanguageModel

    return await LocalLanguageModel.open(settings, cache_dir, log_dir)
