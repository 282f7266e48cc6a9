#!/usr/bin/env bash
# pyarrow 26.0.1: of a column of fixed-shape tensors to_numpy_ndarray() and to_tensor() refuse a row
# that is null ("explicitly pass `allow_nulls=true`"), and one row's to_numpy() refuses a null in it.
# But of the whole column a null INSIDE a row comes out as whatever number lies below it, without a
# word: a value that a mask had taken away comes back, and a NaN of an embedding, which pandas turns
# into a null on its way to Arrow, becomes 0.0. null_count, which looks at rows, is 0.
# Seen on 2026-12-01:
#   masked 5.0: null_count 0, to_numpy_ndarray [4. 5. 6. 7.], to_tensor the same
#   one row: Cannot convert data with nulls to Tensor.
#   a null row: Array contains nulls, explicitly pass `allow_nulls=true` to leave them undefined.
#   NaN by way of pandas: [4. 0. 6. 7.]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pyarrow==26.0.1 pandas==3.1.1 numpy
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import pandas as pd
import pyarrow as pa

KIND = pa.fixed_shape_tensor(pa.float32(), (4,))
x = np.arange(8, dtype=np.float32).reshape(2, 4)


def tensors(lists):
    return pa.ExtensionArray.from_storage(KIND, lists)


def said(call):
    try:
        return call()
    except pa.ArrowInvalid as error:
        return str(error)


values = pa.array(x.ravel(), mask=np.arange(8) == 5)  # 5.0 is taken away
holed = tensors(pa.FixedSizeListArray.from_arrays(values, 4))
whole, tensor = holed.to_numpy_ndarray()[1], holed.to_tensor().to_numpy()[1]
one = said(lambda: holed[1].to_numpy())
gone = said(tensors(pa.array([x[0], None], KIND.storage_type)).to_numpy_ndarray)
bent = np.where(x == 5, np.float32(np.nan), x)
lists = pa.Table.from_pandas(pd.DataFrame({"e": list(bent)})).column("e").combine_chunks()
by_pandas = tensors(lists.cast(KIND.storage_type)).to_numpy_ndarray()[1]
print(f"masked 5.0: null_count {holed.null_count}, to_numpy_ndarray {whole}, to_tensor {tensor}")
print(f"one row: {one}\na null row: {gone}\nNaN by way of pandas: {by_pandas}")
assert holed.null_count == 0 and whole[1] == tensor[1] == 5.0
assert "nulls" in one and "nulls" in gone
assert by_pandas[1] == 0.0
PYTHON
