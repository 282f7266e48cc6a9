# Memory is given by its address; a matrix is (address, rows, columns, elements between rows, type).

_Matrix = tuple[int, int, int, int, str]

def device_names() -> list[str]: ...
def inner_products(
    x: _Matrix, i: int, y: _Matrix, j: int, count: int, out: int, stream: int, /
) -> None: ...
def distance_matrix(x: _Matrix, sizes: int, cosine: bool, out: int, stream: int, /) -> None: ...
def kcenter_select(
    distances: int,
    rows: int,
    count: int,
    nearest: int,
    tau: float,
    border: int,
    radius: float,
    most: int,
    cosine: bool,
    centres: int,
    radii: int,
    selected: int,
    stream: int,
    /,
) -> None: ...
def components(i: int, j: int, count: int, n: int, roots: int, stream: int, /) -> None: ...
