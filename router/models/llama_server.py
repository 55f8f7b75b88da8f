"""The child process that serves a GGUF file: llama.cpp's OpenAI-compatible HTTP server on 127.0.0.1, until it is terminated.

    python -m router.models.llama_server --model FILE --port N --threads N --context-tokens N

The key that callers must show comes in the environment, where `ps` does not show it.
"""

from __future__ import annotations

import argparse
import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xllamacpp

KEY_VARIABLE = "LLAMA_SERVER_KEY"


def parameters(arguments: argparse.Namespace) -> xllamacpp.CommonParams:
    import xllamacpp  # not at the top: the parent reads a constant of this file and needs no 100 MB library

    params = xllamacpp.CommonParams()
    params.model.path = arguments.model
    params.model_alias = {"local"}
    params.hostnames = ["127.0.0.1"]
    params.port = arguments.port
    params.api_keys = [os.environ[KEY_VARIABLE]]
    params.ui = False
    params.cache_ram_mib = 256  # of earlier prompts; the default is 8 GiB
    params.n_ctx = arguments.context_tokens
    params.n_parallel = 1
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = arguments.threads
    params.cpuparams_batch.n_threads = arguments.threads
    return params


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--context-tokens", type=int, required=True)
    arguments = parser.parse_args()
    import xllamacpp

    # Ctrl-C in a terminal reaches the whole process group; the parent says when it is time to go.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server = xllamacpp.Server(parameters(arguments))  # serves from its own threads
    while server:
        signal.pause()


if __name__ == "__main__":
    main()
