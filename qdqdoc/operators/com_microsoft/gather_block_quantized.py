"""Look up slices of a table whose weights are quantized in blocks, and dequantize what was found.

An embedding table in a few bits per weight. The rule is that of DequantizeLinear with blocks; an
index outside the table gives zeros. Codes of 2 and 4 bits may come packed in bytes of uint8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.formula import Formula
from qdqdoc.numerics.formats import DTYPES, Array, integer_range, is_integer, tensor, type_name
from qdqdoc.numerics.layout import spread
from qdqdoc.numerics.packing import code_at, packed_length, unpack
from qdqdoc.numerics.rounding import cast, f32, multiply
from qdqdoc.registry import Call, Differs, Element, Version, operator, refuse
from qdqdoc.registry.linear import every_bit_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NAME = "GatherBlockQuantized"
FLOATS = ("float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz", "float4e2m1")
SMALLEST_BLOCK = 16

V1 = Version(
    since=1,
    inputs={"data": "T1", "indices": "Tind", "scales": "T2", "zero_points": "T1"},
    optional=("zero_points",),
    outputs={"output": "T2"},
    types={
        "T1": ("int4", "uint4", "uint8", *FLOATS),
        "T2": ("float32", "float16", "bfloat16"),
        "Tind": ("int32", "int64"),
    },
    attributes={"bits": 4, "block_size": 128, "quantize_axis": 1, "gather_axis": 0},
)

RULE = Formula(
    "y = T((q - z) * s) if -n <= k and k < n else 0",
    symbols={
        "q": "element of `data`, unpacked, that the index leads to",
        "z": "`zero_points` of its block; without them 0, or the middle code of packed `data`",
        "s": "`scales` of its block",
        "k": "index that is asked for",
        "n": "length of the axis that is gathered",
    },
    types={"T": "type of `scales`"},
)


def vectors() -> Iterator[Call]:
    """Yield each corner: types, packing, blocks, axes, indices of any shape, and outside."""
    for kind in V1.types["T1"]:
        for scale in V1.types["T2"]:
            yield from _type_vectors(kind, scale)
    yield from _axis_vectors()
    yield from _index_vectors()


def _type_vectors(kind: str, scale: str) -> Iterator[Call]:
    name = f"{kind} by {scale}"
    for bits in (2, 4, 8) if kind == "uint8" else (4,):
        data, width = _table(kind), 40 * 8 // bits if kind == "uint8" else 40
        blocks = -(-width // 16)
        scales = tensor(scale, np.linspace(0.1, 2.9, 3 * blocks).reshape(3, blocks))
        attributes = {"bits": bits, "block_size": 16}
        yield _call(f"{name}, {bits} bits", data, [2, 0, -3, 7], scales, None, **attributes)
        if is_integer(DTYPES[kind]):
            length = packed_length(blocks, bits) if kind == "uint8" else blocks
            zeros = _table(kind)[:, 1 : length + 1]
            given = f"{name}, {bits} bits, zero points"
            yield _call(given, data, [1, 2, -1, -4], scales, zeros, **attributes)


def _axis_vectors() -> Iterator[Call]:
    rng = np.random.default_rng(2)
    cube = tensor("int4", rng.integers(-8, 8, (3, 37, 5)))
    for gathered, along in ((0, 1), (1, 1), (2, 1), (-1, 0), (-3, -1), (1, -2)):
        shape: list[int] = [*cube.shape]
        shape[along] = -(-shape[along] // 32)
        scales = tensor("float32", rng.uniform(0.1, 2, shape))
        zeros = tensor("int4", rng.integers(-8, 8, shape))
        attributes = {"gather_axis": gathered, "quantize_axis": along, "block_size": 32}
        name = f"gather {gathered}, blocks along {along}"
        yield _call(name, cube, [1, -3, 2, 40, -38, 0], scales, zeros, **attributes)
    table, packed = tensor("float8e5m2", rng.uniform(-9, 9, (3, 20, 4))), _table("uint8")
    for outer, inner, axis in ((1, 1, 0), (3, 1, 2), (1, 4, 0), (3, 4, 1)):
        scales = tensor("float32", rng.uniform(0.1, 2, (outer, 1, inner)))
        name = f"scales {scales.shape} for gather {axis}"
        yield _call(name, table, [1, 0, -3], scales, None, block_size=0, gather_axis=axis)
    half = tensor("float32", np.full((3, 1), 0.5))
    yield _call("blocks of a byte", packed, [1], half, None, bits=8)
    scales = tensor("float32", rng.uniform(0.1, 2, (3, 5, 1)))
    deep = {"quantize_axis": 2, "gather_axis": -3}
    yield _call("a packed cube", packed.reshape(3, 5, 8), [2, -2], scales, None, **deep)
    flat, scale = tensor("uint4", range(16)), tensor("float32", [0.5])
    yield _call("a table of one row", flat, [1, -1, 16], scale, None, quantize_axis=0)


def _index_vectors() -> Iterator[Call]:
    table, scales = _table("uint4"), tensor("float32", [[0.5], [0.1], [np.nan]])
    for kind in V1.types["Tind"]:
        for indices in (1, -1, 3, [], [[0, 2], [1, 0]], [[[-3]], [[-4]]]):
            place = tensor(kind, indices)
            yield _call(f"{kind} {indices}", table, place, scales, None)
    yield _call("an empty table", table[:0], [0, 1], scales[:0], None)
    yield _call("a table without columns", table[:, :0], [0, 1], scales[:, :0], None)


def _table(kind: str) -> Array:
    """Return three rows of forty codes, as different as the type allows."""
    dtype = DTYPES[kind]
    if not is_integer(dtype):
        return np.resize(every_bit_pattern(kind)[::3], (3, 40))
    low, high = integer_range(dtype)
    return tensor(kind, low + (np.arange(120) * 37 + 5).reshape(3, 40) % (high - low + 1))


def _call(
    name: str, data: Array, indices: object, scales: Array, zeros: Array | None, **attributes: int
) -> Call:
    place = indices if isinstance(indices, np.ndarray) else tensor("int64", indices)
    inputs = {"data": data, "indices": place, "scales": scales}
    if zeros is not None:
        inputs["zero_points"] = zeros
    return Call(name=name, inputs=inputs, attributes=attributes)


def rejects() -> Iterator[Call]:
    """Yield axes, sizes and shapes that the text forbids."""
    scales, small = tensor("float32", np.ones((3, 1))), {"block_size": 16}
    ints, bytes_, floats = (_table(kind) for kind in ("int4", "uint8", "float8e5m2"))
    for size in (0, 8, 24, -16):
        yield _call(f"int4 in blocks of {size}", ints, [0], scales, None, block_size=size)
    yield _call("float8 in blocks of 8", floats, [0], scales, None, block_size=8)
    yield _call("int4 of 8 bits", ints, [0], scales, None, bits=8)
    yield _call("uint8 of 3 bits", bytes_, [0], scales, None, bits=3)
    for axis in (2, -3):
        yield _call(f"gather axis {axis}", ints, [0], scales, None, gather_axis=axis)
        yield _call(f"quantize axis {axis}", ints, [0], scales, None, quantize_axis=axis)
    yield _call("bytes gathered by columns", bytes_, [0], scales, None, bits=8, gather_axis=1)
    row = tensor("float32", np.ones((1, 80)))
    yield _call("packed bytes with blocks of rows", bytes_, [0], row, None, quantize_axis=0)
    yield _call("no table", ints[0, 0], [0], scales[0, 0], None, quantize_axis=0)
    yield _call("scales of rank 1", ints, [0], scales[:, 0], None)
    yield _call("scales for fewer rows", ints, [0], scales[:2], None)
    yield _call("one scale for all integers", ints, [0], scales[:1], None)
    yield _call("scales for fewer blocks", ints, [0], scales, None, **small)
    yield _call("scales for fewer blocks of floats", floats, [0], scales, None, **small)
    yield _call("scales for fewer bytes", bytes_, [0], np.ones((3, 3), "f"), None, **small)
    yield _call("zero points for fewer rows", ints, [0], scales, ints[:2, :1])
    yield _call("zero points for each code", ints, [0], scales, ints)
    five = tensor("float32", np.ones((3, 5)))
    yield _call("zero points not packed", bytes_, [0], five, bytes_[:, :5], **small)
    yield _call("zero points of float8", floats, [0], scales, floats[:, :1])


def element(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one output element."""
    data, indices, scales = (call.inputs[name] for name in ("data", "indices", "scales"))
    given = {**V1.attributes, **call.attributes}
    gathered = given["gather_axis"] % data.ndim
    asked = index[gathered : gathered + indices.ndim]
    k, n = int(indices[asked]), data.shape[gathered]
    values = {"q": np.nan, "z": 0, "s": 0, "k": k, "n": n}  # outside, there is no code
    if -n <= k < n:
        at = [*index[:gathered], k % n, *index[gathered + indices.ndim :]]
        along = given["quantize_axis"] % data.ndim
        block = [*at]
        block[along] //= given["block_size"] or data.shape[along]
        served = tuple(i if n > 1 else 0 for i, n in zip(block, scales.shape, strict=True))
        bits = given["bits"]
        values["q"], values["s"] = _code(data, at, bits), scales[served]
        if "zero_points" in call.inputs:
            values["z"] = _code(call.inputs["zero_points"], served, bits)
        elif _is_bytes(data):
            values["z"] = 2 ** (bits - 1)
    return Element(formula=RULE, values=values, types={"T": type_name(scales.dtype)})


def _code(held: Array, at: Sequence[int], bits: int) -> object:
    return code_at(held[tuple(at[:-1])], at[-1], bits) if _is_bytes(held) else held[tuple(at)]


def _is_bytes(data: Array) -> bool:
    return type_name(data.dtype) == "uint8"


def _check_attributes(
    data: Array, bits: int, block_size: int, quantize_axis: int, gather_axis: int
) -> None:
    if not data.ndim:
        refuse(NAME, "data", "shape ()", "rank 1 or more")
    widths = (2, 4, 8) if _is_bytes(data) else (4,)
    if is_integer(data.dtype) and bits not in widths:
        refuse(NAME, "bits", bits, " or ".join(map(str, widths)))
    whole = not is_integer(data.dtype) and not block_size
    if not whole and (block_size < SMALLEST_BLOCK or block_size.bit_count() != 1):
        refuse(NAME, "block_size", block_size, "a power of 2 from 16; for floats also 0")
    for name, axis in (("quantize_axis", quantize_axis), ("gather_axis", gather_axis)):
        if not -data.ndim <= axis < data.ndim:
            refuse(NAME, name, axis, f"{-data.ndim} to {data.ndim - 1}")
    if _is_bytes(data) and gather_axis % data.ndim:
        refuse(NAME, "gather_axis", gather_axis, "0 for uint8")
    if _is_bytes(data) and bits != widths[-1] and not quantize_axis % data.ndim:
        refuse(NAME, "quantize_axis", quantize_axis, "another axis than gather_axis")


def _check_scales(scales: Array, shape: Sequence[int], along: int, block: int, wide: bool) -> None:
    """Refuse scales that are not one for each block; ``wide``: those of length one broadcast."""
    allowed = [-(-n // block) if k == along else n for k, n in enumerate(shape)]
    found = scales.shape
    fits = len(found) == len(shape) and all(
        n == m or (wide and n == 1 and k != along)
        for k, (n, m) in enumerate(zip(found, allowed, strict=True))
    )
    if not fits:
        refuse(NAME, "scales", f"shape {found}", tuple(allowed))


def _shifts(data: Array, zero_points: Array | None, scales: Array, bits: int) -> Array:
    """Return the zero points, unpacked, or what stands for them."""
    if zero_points is None:
        return np.full(scales.shape, fill_value=2 ** (bits - 1) if _is_bytes(data) else 0)
    if not is_integer(data.dtype):
        refuse(NAME, "zero_points", "a tensor", f"nothing for {type_name(data.dtype)}")
    *outer, count = scales.shape
    allowed = (*outer, packed_length(count, bits) if _is_bytes(data) else count)
    if zero_points.shape != allowed:
        refuse(NAME, "zero_points", f"shape {zero_points.shape}", f"shape {allowed}")
    return unpack(zero_points, bits)[..., :count] if _is_bytes(data) else zero_points


_ROW = tensor("uint4", range(16))
_BYTES = tensor("uint8", [[129, 130], [131, 132]])

DIFFERS = (
    Differs(
        "onnxruntime",
        _call("one row", _ROW, [2], tensor("float32", [0.5]), None, quantize_axis=0),
        None,
        "A table of rank 1 is refused.",
        "The rank of data is 1 or more.",
        lambda call: call.inputs["data"].ndim == 1,
    ),
    Differs(
        "onnxruntime",
        _call("blocks of rows", _BYTES, [1], np.ones((1, 2), "f"), None, bits=8, quantize_axis=0),
        None,
        "Bytes must be quantized along the last axis.",
        "Says so of gather_axis alone: it must be 0, and for packed codes quantize_axis another.",
        lambda call: _is_bytes(call.inputs["data"]) and not _along_last(call),
    ),
)


def _along_last(call: Call) -> bool:
    axis, rank = call.attributes.get("quantize_axis", 1), call.inputs["data"].ndim
    return bool(axis % rank == rank - 1)


@operator(
    name=NAME,
    domain="com.microsoft",
    versions=(V1,),
    formulas=(RULE,),
    cites=("ort-contrib", "onnx-gather", "onnx-dequantizelinear", "onnx-float8", "onnx-float4"),
    vectors=vectors,
    element=element,
    differs=DIFFERS,
    rejects=rejects,
)
def gather_block_quantized(
    data: Array,
    indices: Array,
    scales: Array,
    zero_points: Array | None = None,
    *,
    bits: int = 4,
    block_size: int = 128,
    quantize_axis: int = 1,
    gather_axis: int = 0,
) -> Array:
    """Take slices of the table; subtract each code's zero point, multiply by its scale.

    Parameters
    ----------
    data
        The table, rank 1 or more: codes, or floats of eight bits or less. In uint8, codes of 2
        and 4 bits are packed along the last axis, the first in the lowest bits.
    indices
        Which slices, any shape, int32 or int64; negative counts from the end.
    scales
        One for each block, in the rank of ``data``. For floats an axis of length one serves all
        of the axis of ``data``.
    zero_points
        One for each block, of the type of ``data`` and packed like it; none for floats. Without
        them the zero point is 0, and of uint8 the middle code: 2, 8 or 128.
    bits
        How many bits a code of uint8 has: 2, 4 or 8. Others are what their type says.
    block_size
        How many neighbours along ``quantize_axis`` share a scale: a power of two from 16. For
        floats 0 makes one block of the whole axis.
    quantize_axis
        Axis along which the blocks lie; negative counts from the back.
    gather_axis
        Axis that the indices go along; 0 for uint8.

    Returns
    -------
    output
        Real values of the type of ``scales``: the shape of unpacked ``data``, with the shape of
        ``indices`` in place of the axis that was gathered.

    Raises
    ------
    OperatorError
        For a missing input, a type that is not allowed, an axis outside the rank, an attribute
        out of its range, or scales or zero points that are not one for each block.

    Notes
    -----
    The product of a code and a float16 or bfloat16 scale is exact in float32, so that each value
    is rounded once. Bytes are 4 bits each by default, so a table of 8 bits without ``bits`` is
    read as one twice as wide.

    Examples
    --------
    Two codes to a byte, the low one first. The middle code, 8, is zero:

    >>> import numpy as np
    >>> table, scales = np.uint8([[0x21, 0x43], [0x80, 0xFF]]), np.float32([[1], [0.5]])
    >>> gather_block_quantized(table, np.int64([1, 0]), scales)
    array([[-4. ,  0. ,  3.5,  3.5],
           [-7. , -6. , -5. , -4. ]], dtype=float32)

    Zero points are packed as well; and four codes of two bits fit into a byte:

    >>> gather_block_quantized(table, np.int64(0), scales, np.uint8([[0x01], [0x02]]))
    array([0., 1., 2., 3.], dtype=float32)
    >>> gather_block_quantized(table, np.int64(0), scales, bits=2)
    array([-1., -2.,  0., -2.,  1., -2., -2., -1.], dtype=float32)

    An index may count from the end. One that leads nowhere finds zeros:

    >>> gather_block_quantized(table, np.int64([[-1], [2]]), scales, bits=8)
    array([[[ 0. , 63.5]],
    <BLANKLINE>
           [[ 0. ,  0. ]]], dtype=float32)

    Along another axis each element of a slice may have a scale of its own:

    >>> import ml_dtypes
    >>> codes = np.array([[1, -2, 3], [4, -5, 6]], ml_dtypes.int4)
    >>> gather_block_quantized(codes, np.int32([2, 0]), np.float16([[1], [10]]), gather_axis=1)
    array([[ 3.,  1.],
           [60., 40.]], dtype=float16)
    """
    _check_attributes(data, bits, block_size, quantize_axis, gather_axis)
    gathered, along = gather_axis % data.ndim, quantize_axis % data.ndim
    shape = [*data.shape]
    if _is_bytes(data):
        shape[-1] = shape[-1] * 8 // bits
    block = block_size or max(shape[along], 1)
    _check_scales(scales, shape, along, block, wide=not is_integer(data.dtype))
    zeros = _shifts(data, zero_points, scales, bits)

    place = np.where(indices < 0, indices + shape[gathered], indices)
    inside = (place >= 0) & (place < shape[gathered])
    rows = place[inside]
    codes = np.take(data, rows, gathered)
    if _is_bytes(data):
        codes = unpack(codes, bits)

    def served(parameter: Array) -> Array:
        """Bring a parameter to the shape of what was found."""
        if gathered == along:
            return np.asarray(np.take(parameter, rows // block, gathered))
        part = np.take(parameter, np.minimum(rows, parameter.shape[gathered] - 1), gathered)
        return spread(part, codes.shape, along, block)

    found = cast(multiply(f32(codes) - served(zeros), served(scales)), scales.dtype)
    shape[gathered : gathered + 1] = indices.shape
    output = np.zeros(shape, found.dtype)
    output[(*[slice(None)] * gathered, inside)] = found
    return output
