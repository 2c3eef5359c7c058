"""What full rows weigh in Redis, and what it would give and cost to pack their values tighter."""

import importlib
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

import pyarrow as pa

from features import shoppers as rows_of
from tests.benchmarks.streams_figures import Found
from tests.benchmarks.streams_folding import prepare
from tests.benchmarks.streams_shop import Shoppers, release_random
from tests.benchmarks.streams_stage import PARTITIONS, Ground, Stage, stage

DAY: Final = 10  # events of the last day in a row
_MILLION: Final = 1_000_000
_GIB: Final = 2**30
_SAMPLE: Final = 300
_LEARNT: Final = 1_000  # values that a dictionary is made of; others are packed with it
_DICTIONARY: Final = 32_768
_FAMILIES: Final = {"rows": "daogou:*:row:*", "shelves": "daogou:*:shelf:*", "Feast's rows": "*shopper*daogou_live*"}


class _Packing(NamedTuple):
    """A way to pack the values; the functions take and give bytes."""

    name: str
    pack: Callable[[bytes], bytes]
    unpack: Callable[[bytes], bytes]


def memory(ground: Ground) -> Found:
    """Full rows, each with ten events of the last day, their Feast rows and shelves: used_memory before and after."""
    many = 2_000 if ground.quick else 20_000
    with stage(ground, "memory") as on:
        release_random(on.settings, ground.seed)
        before = _used(on)
        shoppers = Shoppers(ground.names(many), ground.seed, PARTITIONS)
        missed = prepare(on, shoppers, live=True)
        total = on.fill(islice(shoppers.all_different(), DAY * many))
        with on.worker() as worker:
            on.until_applied(worker, total)
        gib = (_used(on) - before) / many * _MILLION / _GIB
        print(f"{'memory':<10} {many:,} shoppers: {gib:.2f} GiB a million with all that is there once", end="")
        alone = 0.0
        for family, pattern in _FAMILIES.items():
            count, size = _weighed(on, pattern)
            alone += size
            print(f"; {family} {size:,.0f} bytes", end="")
            if count != many:
                missed.append(f"memory: {count:,} of {many:,} {family}")
        alone *= _MILLION / _GIB
        print(f"; these keys alone {alone:.2f} GiB a million")
        rows = on.rows(2 * _LEARNT)
        print(f"{'':<10} {_parts(rows)}")
        for what, values in (("a row", rows), ("a list", _values(on, _FAMILIES["shelves"], 2 * _LEARNT))):
            for line in _packings(what, values):
                print(f"{'':<10} {line}", flush=True)
    return Found(f"{alone:.2f} GiB per million shoppers by their keys", missed)


def _used(on: Stage) -> int:
    """After the servers' buffers are given back."""
    time.sleep(2.0)
    info: Any = on.client.info("memory")
    return int(info["used_memory"])


def _weighed(on: Stage, pattern: str) -> tuple[int, float]:
    """How many keys there are, and what one of them weighs with all that Redis needs for it."""
    keys = list(on.client.scan_iter(match=pattern, count=5_000))
    pipe = on.client.pipeline(transaction=False)
    for key in keys[:_SAMPLE]:
        pipe.memory_usage(key)
    sizes = pipe.execute()
    return len(keys), sum(sizes) / max(1, len(sizes))


def _values(on: Stage, pattern: str, most: int) -> list[bytes]:
    keys = list(islice(on.client.scan_iter(match=pattern, count=5_000), most))
    values: Any = on.client.mget(keys)
    return [value for value in values if value is not None]


def _parts(rows: Sequence[bytes]) -> str:
    opened = [rows_of.decode(raw) for raw in rows]
    size = sum(map(len, rows)) / len(rows)
    recent = sum(len(bytes(row.recent)) for row in opened) / len(opened)
    settled = sum(len(bytes(row.settled)) for row in opened) / len(opened)
    return f"a row's value: {size:,.0f} bytes, of which recent events {recent:,.0f}, settled state {settled:,.0f}"


def _packings(what: str, values: Sequence[bytes]) -> Iterator[str]:
    """One line for each way: what is left of the bytes, and the processor's time that one takes."""
    learnt, tried = values[: len(values) // 2], values[len(values) // 2 :]
    size = sum(map(len, tried)) / len(tried)
    for way in _ways(learnt):
        begin = time.process_time()
        packed = [way.pack(raw) for raw in tried]
        middle = time.process_time()
        back = [way.unpack(raw) for raw in packed]
        end = time.process_time()
        if back != list(tried):
            raise SystemExit(f"{way.name} does not give back what it took")
        left = sum(map(len, packed)) / len(packed)
        us = ((middle - begin) / len(tried) * 1e6, (end - middle) / len(tried) * 1e6)
        yield f"{what}, {way.name}: {left:,.0f} bytes ({left / size:.0%}), pack {us[0]:.0f} µs, unpack {us[1]:.0f} µs"


def _ways(learnt: Sequence[bytes]) -> Iterator[_Packing]:
    for name, level in (("lz4_raw", None), ("zstd", 1)):
        codec = pa.Codec(name, level) if level else pa.Codec(name)
        yield _Packing(f"{name} without a dictionary", _packer(codec), _unpacker(codec))
    words = b"".join(learnt)[-_DICTIONARY:]
    yield _Packing("zlib 1 with raw rows as dictionary", _zlib_packer(words), _zlib_unpacker(words))
    try:
        zstd: Any = importlib.import_module("zstandard")  # no dependency of ours: tried where it is installed
    except ImportError:
        return
    trained = zstd.train_dictionary(_DICTIONARY, list(learnt))
    for level in (1, 3):
        packer = zstd.ZstdCompressor(level=level, dict_data=trained, write_content_size=True)
        unpacker = zstd.ZstdDecompressor(dict_data=trained)
        name = f"zstd {level} with a trained dictionary of {_DICTIONARY:,} bytes"
        yield _Packing(name, packer.compress, unpacker.decompress)


def _packer(codec: Any) -> Callable[[bytes], bytes]:
    return lambda raw: len(raw).to_bytes(4, "little") + codec.compress(raw, asbytes=True)


def _unpacker(codec: Any) -> Callable[[bytes], bytes]:
    return lambda raw: codec.decompress(raw[4:], int.from_bytes(raw[:4], "little"), asbytes=True)


def _zlib_packer(words: bytes) -> Callable[[bytes], bytes]:
    def pack(raw: bytes) -> bytes:
        one = zlib.compressobj(1, zdict=words)
        return one.compress(raw) + one.flush()

    return pack


def _zlib_unpacker(words: bytes) -> Callable[[bytes], bytes]:
    return lambda raw: zlib.decompressobj(zdict=words).decompress(raw)
