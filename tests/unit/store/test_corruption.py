"""A damaged file is refused, or gives the right rows; never others, and never another error."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from store.errors import StoreCorrupt, StoreError, StoreForeign, StoreTooNew

from .harness import make_database, open_database, puts, rows

PAGE = 4096
CONTENT = rows(120, size=200) | {b"big": random.Random(0).randbytes(20_000)}
REFUSALS = (StoreCorrupt, StoreForeign, StoreTooNew)
"""The last two: a flipped bit in the header may make a file look like another program's, or like tomorrow's."""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("image") / "weave.db"
    make_database(path, CONTENT)
    return path.read_bytes()


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """A database and its log, as a crash leaves them: ten commits of twelve rows each in the log."""
    path = tmp_path_factory.mktemp("logged") / "weave.db"
    database = open_database(path)
    for start in range(0, 120, 12):
        database.commit([puts("t", dict(list(CONTENT.items())[start : start + 12]))])
    images = path.read_bytes(), Path(f"{path}-wal").read_bytes()
    database.close()
    return images


def outcome(path: Path) -> dict[bytes, bytes] | None:
    """Open the damaged file, read it, and write to it; return its rows, None when it was refused."""
    try:
        database = open_database(path)
    except REFUSALS:
        return None
    try:
        content = database.read("t")
        database.commit([puts("u", {b"after": b"damage"})])
    finally:
        database.close()
    return content


def truncated(image: bytes, rng: random.Random) -> bytes:
    return image[: rng.randrange(len(image))]


def flipped_bit(image: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(image))
    return image[:place] + bytes([image[place] ^ 1 << rng.randrange(8)]) + image[place + 1 :]


def random_run(image: bytes, rng: random.Random) -> bytes:
    start, size = rng.randrange(len(image)), rng.choice([1, 8, 64, 512, 4096])
    return image[:start] + rng.randbytes(min(size, len(image) - start)) + image[start + size :]


def zeroed_page(image: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(image) // PAGE) * PAGE
    return image[:start] + bytes(PAGE) + image[start + PAGE :]


def swapped_pages(image: bytes, rng: random.Random) -> bytes:
    pages = [image[start : start + PAGE] for start in range(0, len(image), PAGE)]
    one, other = rng.sample(range(len(pages)), 2)
    pages[one], pages[other] = pages[other], pages[one]
    return b"".join(pages)


def copied_page(image: bytes, rng: random.Random) -> bytes:
    pages = [image[start : start + PAGE] for start in range(0, len(image), PAGE)]
    one, other = rng.sample(range(len(pages)), 2)
    pages[one] = pages[other]
    return b"".join(pages)


def inverted_page(image: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(image) // PAGE) * PAGE
    return image[:start] + bytes(byte ^ 0xFF for byte in image[start : start + PAGE]) + image[start + PAGE :]


DAMAGE: list[Callable[[bytes, random.Random], bytes]] = [
    truncated, flipped_bit, random_run, zeroed_page, swapped_pages, copied_page, inverted_page,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_damage_is_refused_or_harmless(image: bytes, damage: Callable[..., bytes], tmp_path: Path) -> None:
    refused = 0
    for seed in range(60):
        path = tmp_path / f"{seed}.db"
        path.write_bytes(damage(image, random.Random(seed)))
        found = outcome(path)
        refused += found is None
        assert found in (None, CONTENT), f"seed {seed}"
    assert refused > 0


@pytest.mark.parametrize("size", [0, 1, 15, 16, 99, 100, 101, 512, 4095, 4096, 4097, 8192, 12288])
def test_a_file_that_ends_too_early_is_refused(image: bytes, size: int, tmp_path: Path) -> None:
    path = tmp_path / "weave.db"
    path.write_bytes(image[:size])
    assert outcome(path) is None


def test_every_byte_of_the_header_may_be_wrong(image: bytes, tmp_path: Path) -> None:
    for place in range(100):
        path = tmp_path / f"{place}.db"
        path.write_bytes(image[:place] + bytes([image[place] ^ 0xFF]) + image[place + 1 :])
        assert outcome(path) in (None, CONTENT), f"byte {place}"


def test_damage_that_sqlite_quotes_as_broken_text_is_damage_all_the_same(image: bytes, tmp_path: Path) -> None:
    """Python's sqlite3 then raises a UnicodeDecodeError in place of its own error (found by fuzzing)."""
    path = tmp_path / "weave.db"
    path.write_bytes(image.replace(b"value BLOB NOT NULL,", b"value BLOB NOT NULL\xff"))
    assert outcome(path) is None


def test_a_stale_page_is_noticed(tmp_path: Path) -> None:
    """A page that went back to what it was before the last commit: every page is well formed, the whole is not."""
    path = tmp_path / "weave.db"
    make_database(path, CONTENT)
    before = path.read_bytes()
    make_database(path, {key: value[::-1] for key, value in CONTENT.items()})
    after = path.read_bytes()
    changed = [n for n in range(0, len(after), PAGE) if n and before[n : n + PAGE] != after[n : n + PAGE]]
    assert len(changed) > 5
    for start in changed:
        path.write_bytes(after[:start] + before[start : start + PAGE] + after[start + PAGE :])
        with pytest.raises(StoreCorrupt):
            open_database(path)


def test_a_damaged_log_gives_the_rows_of_some_commit(logged: tuple[bytes, bytes], tmp_path: Path) -> None:
    """What cannot be told from a power cut is treated as one: the log ends where it stops making sense."""
    main, log = logged
    items = list(CONTENT.items())
    states = [dict(items[:count]) for count in range(0, 121, 12)]
    for seed in range(120):
        rng = random.Random(seed)
        path = tmp_path / f"{seed}.db"
        path.write_bytes(main)
        Path(f"{path}-wal").write_bytes(rng.choice([truncated, flipped_bit, random_run])(log, rng))
        found = outcome(path)
        assert found is None or found in states, f"seed {seed}"


def test_an_intact_log_is_replayed(logged: tuple[bytes, bytes], tmp_path: Path) -> None:
    path = tmp_path / "weave.db"
    path.write_bytes(logged[0])
    Path(f"{path}-wal").write_bytes(logged[1])
    assert outcome(path) == dict(list(CONTENT.items())[:120])


def test_the_log_of_another_database_is_never_mixed_in(
    image: bytes, logged: tuple[bytes, bytes], tmp_path: Path
) -> None:
    path = tmp_path / "weave.db"
    path.write_bytes(image)
    Path(f"{path}-wal").write_bytes(logged[1])
    try:
        database = open_database(path)
    except StoreError:
        return
    assert database.read("t") in (CONTENT, dict(list(CONTENT.items())[:120]))
    database.close()
