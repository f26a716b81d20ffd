"""Exported networks that are tables, made in no time: a site's posterior depends on the call there alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from snpimpute.impute.export import exported_folder, write_exported
from snpimpute.impute.windows import WindowedModel
from snpimpute.imputers._exported import CALLS, POSTERIOR, Exported


def export_tables(folder: Path, home: Path) -> list[np.ndarray]:
    """Write the export of a model, whatever its imputer, beside it; return each window's table, float32 (4, n_sites, 3)."""
    model = WindowedModel(folder)
    tables = []
    for number, window in enumerate(model.windows):
        drawn = np.random.default_rng(number).random((4, window.stop - window.start, 3)).astype(np.float32) + 0.05
        tables.append(drawn / drawn.sum(axis=2, keepdims=True))
        write_table(home / "table.onnx", tables[-1])
        Exported.from_file(home / "table.onnx", model.imputer(number)).save(WindowedModel.place(home, number))
    write_exported(model, home / "windows", exported_folder(folder))
    return tables


def write_table(file: Path, table: np.ndarray) -> None:
    """Write a network whose posterior at a site depends on the call there alone: float32 (4, n_sites, 3) for -1, 0, 1, 2."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    n_sites = table.shape[1]
    constants = {"table": table.transpose(1, 0, 2).reshape(-1, 3), "first": np.arange(n_sites, dtype=np.int64) * 4 + 1}
    nodes = [
        helper.make_node("Cast", [CALLS], ["whole"], to=TensorProto.INT64),
        helper.make_node("Add", ["whole", "first"], ["row"]),
        helper.make_node("Gather", ["table", "row"], [POSTERIOR]),
    ]
    graph = helper.make_graph(
        nodes,
        "table",
        [helper.make_tensor_value_info(CALLS, TensorProto.INT8, ["samples", n_sites])],
        [helper.make_tensor_value_info(POSTERIOR, TensorProto.FLOAT, ["samples", n_sites, 3])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), file)
