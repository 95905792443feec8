"""What it costs a processor to write, read and compress messages, and how small compression makes them."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from sim.policies.payloads import PayloadSize
from sim.values import Duration, Ratio, Size, Spec

Algorithm = Literal["gzip", "zstd", "brotli"]

#: Bytes of a body without a schema that count as fresh to a compressor.
FRESH_OF_PLAIN: Final = 100
_KB: Final = 1000.0
#: The levels that compress, from the lowest to the highest: zlib, zstd, RFC 7932's encoder.
_LEVELS: Final[dict[Algorithm, tuple[int, int]]] = {"gzip": (1, 9), "zstd": (1, 22), "brotli": (0, 11)}


class Codec(Spec):
    """Processor time to write and to read a message: so much for each, and so much for every 1,000 bytes of it, uncompressed.

    `sim measure-codecs` measures them on your machine. Not for what an application does with the message.
    """

    encode_per_message: Duration = Field(description="to begin to write one")
    encode_per_kb: Duration = Field(description="to write 1,000 bytes")
    decode_per_message: Duration = Field(description="to begin to read one")
    decode_per_kb: Duration = Field(description="to read 1,000 bytes")

    def encode_s(self, size: float) -> float:
        """Seconds to write so many bytes; nothing for none."""
        return self.encode_per_message + self.encode_per_kb * size / _KB if size else 0.0

    def decode_s(self, size: float) -> float:
        """Seconds to read so many bytes; nothing for none."""
        return self.decode_per_message + self.decode_per_kb * size / _KB if size else 0.0


class Compression(Spec):
    """How bodies are compressed: `{algorithm: gzip, level: 6}`. What is absent is as the algorithm's profile has it.

    ::

        compressed = overhead + fresh_ratio · fresh + ratio · repeated

    `fresh` is what the compressor has not seen before: the message with one item in each list. What is `repeated`, the further
    items, shrinks to `ratio`. So small bodies grow, and long lists shrink most. Other encodings of a list carry the same
    information: what is left of it is about what is left of its JSON. A bare size counts as text of which 100 B are fresh, and
    shrinks alike. Incompressible (pictures): `ratio: 100 %`.

    It pays while the time saved on the link is more than the processor's; on a fast link it does not: `sim check` says so.
    """

    algorithm: Algorithm = Field(description="whose numbers: gzip, zstd or brotli")
    level: Annotated[int, Field(ge=0, le=22)] | None = Field(
        None,
        description="how hard it tries: gzip 1 to 9, zstd 1 to 22, brotli 0 to 11; measured: gzip 1, 6, 9, zstd 1, 3, 9, "
        "brotli 1, 4, 11, and others have the numbers of the nearest of these; absent: 6, 3 or 4",
    )
    minimum_size: Size = Field(0.0, description="bodies below it are sent as they are (nginx: gzip_min_length)")
    ratio: Ratio | None = Field(None, description="what is left of repeated JSON; absent: as the level has it")
    fresh_ratio: Ratio = Field(1.0, description="what is left of what the compressor sees for the first time")
    compress_per_kb: Duration | None = Field(
        None, description="processor time for 1,000 bytes of the body; absent: as the level has it"
    )
    decompress_per_kb: Duration | None = Field(
        None, description="processor time for 1,000 bytes of the body; absent: as the level has it"
    )

    @model_validator(mode="after")
    def _has_level(self) -> Compression:
        least, most = _LEVELS[self.algorithm]
        if self.level is not None and not least <= self.level <= most:
            raise ValueError(f"level = {self.level}: {self.algorithm} has levels from {least} to {most}; write one of these")
        return self


class Compressor(Spec):
    """A compression with all its numbers."""

    minimum_size: Size
    ratio: Ratio
    fresh_ratio: Ratio
    overhead: Size
    compress_per_kb: Duration
    decompress_per_kb: Duration

    def acts(self, size: float) -> bool:
        """Whether a body of this size is compressed at all."""
        return size > 0 and size >= self.minimum_size

    def compressed(self, body: PayloadSize, repeated: float | None = None) -> float:
        """Bytes that are left of a body, which may be more than before; all of one that is too small to be compressed.

        `repeated` is what its JSON would repeat, in bytes; absent: it is JSON.

        >>> gzip = Compressor(
        ...     minimum_size=0, ratio=0.27, fresh_ratio=1, overhead=23, compress_per_kb=1e-5, decompress_per_kb=3e-6
        ... )
        >>> [round(gzip.compressed(PayloadSize(*size))) for size in ((102, 102), (6578, 102), (65250, 102))]
        [125, 1874, 17715]
        """
        if not self.acts(body.bytes):
            return body.bytes
        repeated = body.bytes - body.fresh if repeated is None else repeated
        return self.overhead + self.fresh_ratio * body.fresh + self.ratio * repeated

    def compress_s(self, size: float) -> float:
        """Processor time to compress a body of this size, in seconds."""
        return self.compress_per_kb * size / _KB if self.acts(size) else 0.0

    def decompress_s(self, size: float) -> float:
        """Processor time to get a body of this size back, in seconds."""
        return self.decompress_per_kb * size / _KB if self.acts(size) else 0.0

    def pays(self, body: PayloadSize, bytes_per_s: float) -> bool:
        """Whether what it saves on a link of so many bytes per second is more than its processor time at both ends.

        >>> gzip = Compressor(
        ...     minimum_size=0, ratio=0.27, fresh_ratio=1, overhead=23, compress_per_kb=3e-5, decompress_per_kb=3e-6
        ... )
        >>> page = PayloadSize(65250, 102)
        >>> gzip.pays(page, 10e6 / 8), gzip.pays(page, 10e9 / 8), gzip.pays(PayloadSize(90, 90), 10e6 / 8)
        (True, False, False)
        """
        saved_s = (body.bytes - self.compressed(body)) / bytes_per_s
        return saved_s > self.compress_s(body.bytes) + self.decompress_s(body.bytes)
