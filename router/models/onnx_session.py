"""How every model of ours runs on ONNX Runtime, and what is multiplied beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from router.types import Matrix


def open_session(graph: bytes, threads: int, weights_file: Path | None = None) -> onnxruntime.InferenceSession:
    """A session on the CPU. Raises whatever ONNX Runtime does for a graph that it cannot take.

    Args:
        graph: The model.
        threads: Of one forward pass.
        weights_file: That the graph refers to by byte ranges; None where it holds its weights.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Idle threads would spin for work, and take it from everything else on the machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if weights_file is not None:
        # ONNX Runtime refuses a link that leaves this folder, so it gets the folder of the real file.
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(weights_file.resolve().parent))
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def product(rows: Matrix, columns: Matrix) -> Matrix:
    """As `@`, but not by BLAS: its idle threads spin for a while, and took a quarter of a session's time from it."""
    return np.asarray(np.einsum("ij,jk->ik", rows, columns), np.float32)
