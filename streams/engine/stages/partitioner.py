"""On which partition does a key belong? Where Java's default partitioner and librdkafka's
murmur2_random put it.

Every producer of a topic must agree on this, or the state of a key would be split in two.
"""

KEPT = 100_000
MASK = 0xFFFFFFFF


class Partitioner:
    """Places of keys among so many partitions; those of the keys seen lately are remembered."""

    def __init__(self, partitions: int):
        self._partitions = partitions
        self._known: dict[bytes, int] = {}

    def of(self, key: bytes) -> int:
        place = self._known.get(key)
        if place is None:
            if len(self._known) >= KEPT:
                self._known.clear()
            place = self._known[key] = (murmur2(key) & 0x7FFFFFFF) % self._partitions
        return place


def murmur2(data: bytes, seed: int = 0x9747B28C, m: int = 0x5BD1E995, r: int = 24) -> int:
    """Murmur2 as Kafka's clients have it: 32 bits, little-endian words, this seed."""
    length = len(data)
    h = (seed ^ length) & MASK
    whole = length & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & MASK
        k = (k ^ k >> r) * m & MASK
        h = (h * m & MASK) ^ k
    rest = data[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & MASK
    h = (h ^ h >> 13) * m & MASK
    return h ^ h >> 15
