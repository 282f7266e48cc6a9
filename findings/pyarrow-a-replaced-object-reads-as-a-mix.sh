#!/usr/bin/env bash
# pyarrow 26.0.1 on S3 (moto 5.2.5): an open file asks for ranges of whatever object has the name at that
# moment. A Parquet file of embeddings that is written anew between two row groups, with the same shape and
# so the same size, is read as a mix: the first rows of the old one, the rest of the new one, without an
# error. s3fs 2026.9.0 notices in open() (it names the ETag in each request: FileExpired), but not in
# cat_file() and cat_ranges(), which fetch many ranges at once. Seen on 2026-12-01.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  pyarrow==26.0.1 numpy==2.4.6 s3fs==2026.9.0 'moto[s3]==5.2.5' flask flask-cors
export AWS_ACCESS_KEY_ID=a AWS_SECRET_ACCESS_KEY=b AWS_DEFAULT_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true
"$folder/venv/bin/python" - <<'EOF2'
import io
import logging

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import s3fs
from moto.server import ThreadedMotoServer
from pyarrow.fs import S3FileSystem

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
arrow = S3FileSystem(
    access_key="a", secret_key="b", endpoint_override=f"{host}:{port}", scheme="http",
    region="us-east-1", allow_bucket_creation=True,
)
s3 = s3fs.S3FileSystem(
    endpoint_url=f"http://{host}:{port}", use_listings_cache=False, default_cache_type="none"
)
arrow.create_dir("bucket")


def file_of(value):
    """Return 20,000 rows of one number, in two row groups."""
    rows = np.full(20_000 * 32, value, dtype=np.float32)
    table = pa.table({"x": pa.FixedSizeListArray.from_arrays(rows, 32)})
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=10_000, use_dictionary=False, compression="none",
                   write_statistics=False)
    return sink.getvalue()


def write(value):
    with arrow.open_output_stream("bucket/x.parquet") as out:
        out.write(file_of(value))


def values(table):
    return np.unique(table["x"].combine_chunks().flatten().to_numpy()).tolist()


write(1)
assert len(file_of(1)) == len(file_of(2))
file = pq.ParquetFile("bucket/x.parquet", filesystem=arrow)
first = file.read_row_group(0)
write(2)
both = pa.concat_tables([first, file.read_row_group(1)])
print("pyarrow: one file of", both.num_rows, "rows with the values", values(both))
assert values(both) == [1.0, 2.0]

write(1)
with s3.open("bucket/x.parquet", "rb") as opened:
    size = opened.size
    opened.read(10)
    write(2)
    try:
        opened.read(10)
    except OSError as error:
        print("s3fs open():", type(error).__name__)
    else:
        raise AssertionError("s3fs no longer notices")
half = size // 2
write(1)
a = s3.cat_file("bucket/x.parquet", 0, half)
write(2)
b = s3.cat_file("bucket/x.parquet", half, size)
mixed = pq.read_table(io.BytesIO(a + b))
print("s3fs cat_file() in two ranges: values", values(mixed))
assert values(mixed) == [1.0, 2.0]
server.stop()
EOF2
