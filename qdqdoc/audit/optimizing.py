"""Let onnxruntime optimize a model, in a process of its own: some models end the process.

Prints one line of JSON: what became of it.
"""

from __future__ import annotations

import json
import sys


def optimize(model: str, made: str, *, int8_allowed: bool) -> dict[str, str]:
    """Write the graph that onnxruntime makes at ORT_ENABLE_EXTENDED; say why there is none."""
    import onnxruntime  # noqa: PLC0415 - the room is imported without it

    levels = onnxruntime.GraphOptimizationLevel
    answer = {"version": str(onnxruntime.__version__)}
    tries = {"refused": levels.ORT_ENABLE_EXTENDED, "invalid": levels.ORT_DISABLE_ALL}
    for key, level in tries.items():
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = level
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        if int8_allowed:
            options.add_session_config_entry("session.qdqisint8allowed", "1")
        if key == "refused":
            options.optimized_model_filepath = made
        try:
            onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001 - each status of onnxruntime has its own class
            answer[key] = (str(error).splitlines() or [type(error).__name__])[0]
        else:
            break
    return answer


if __name__ == "__main__":
    sys.stdout.write(json.dumps(optimize(*sys.argv[1:3], int8_allowed=sys.argv[3] == "1")))
