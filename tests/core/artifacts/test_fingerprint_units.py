"""Files of fingerprints: what is written is read, by unit and by document; damage is seen."""

import numpy as np
import pytest

from llmctl.core.artifacts import fingerprint_units as subject
from llmctl.core.artifacts.fingerprint_units import FingerprintUnit, FingerprintUnits
from llmctl.core.errors import DataError, MissingInputError, StorageError


def unit(first, num_documents, num_hashes=3):
    """Documents whose number is in everything that is kept of them."""
    numbers = np.arange(first, first + num_documents)
    sizes = numbers % 4
    ids = [f"文{number}" for number in numbers]
    return FingerprintUnit(
        digests_N2=np.stack([numbers, numbers + 1], axis=1).astype(np.uint64),
        lengths_N=numbers.astype(np.uint32),
        signatures_NH=np.repeat(numbers[:, None], num_hashes, axis=1).astype(np.uint16),
        shingle_ends_N=np.cumsum(sizes),
        shingles_S=np.repeat(numbers, sizes).astype(np.uint32),
        line_ends_N=np.cumsum(sizes[::-1]),
        lines_L=np.repeat(numbers, sizes[::-1]).astype(np.uint64),
        id_ends_N=np.cumsum([len(each.encode()) for each in ids], dtype=np.int64),
        ids=np.frombuffer("".join(ids).encode(), np.uint8),
    )


def written(tmp_path, *sizes, num_hashes=3):
    paths, first = [], 0
    for number, size in enumerate(sizes):
        paths.append(tmp_path / f"{number}.fingerprints")
        unit(first, size, num_hashes).write(paths[-1])
        first += size
    return paths


@pytest.mark.parametrize(("size", "num_hashes"), [(7, 3), (1, 0), (0, 3), (0, 0)])
def test_what_is_written_is_read(tmp_path, size, num_hashes):
    expected = unit(0, size, num_hashes)

    (path,) = written(tmp_path, size, num_hashes=num_hashes)
    found = FingerprintUnit.read(path)

    assert len(found) == size
    for name in FingerprintUnit.__dataclass_fields__:
        value, wanted = getattr(found, name), getattr(expected, name)
        assert value.shape == wanted.shape, name
        assert value.tolist() == wanted.tolist(), name
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_documents_by_number(tmp_path, monkeypatch):
    monkeypatch.setattr(subject, "_MAX_OPEN", 1)
    units = FingerprintUnits(written(tmp_path, 3, 0, 5, 1))

    assert len(units) == 9
    for number in (8, 0, 2, 3, 7, 2):
        assert units.identifier(number) == f"文{number}"
        assert units.shingles(number).tolist() == [number] * (number % 4)
    rows = units.signatures_NH([8, 0, 3, 0])
    assert rows.tolist() == [[8] * 3, [0] * 3, [3] * 3, [0] * 3]
    assert [(first, len(each)) for first, each in units] == [(0, 3), (3, 0), (3, 5), (8, 1)]
    assert units.num_shingles == sum(number % 4 for number in range(9)) == units.num_lines
    assert len(units._open) == 1


def test_a_file_cut_while_it_is_read_is_refused(tmp_path):
    (path,) = written(tmp_path, 4)
    units = FingerprintUnits([path])
    path.write_bytes(path.read_bytes()[:100])

    with pytest.raises(DataError, match="damaged"):
        units.shingles(3)


def test_no_units():
    units = FingerprintUnits([])

    assert len(units) == 0
    assert list(units) == []
    assert units.signatures_NH([]).shape[0] == 0


@pytest.mark.parametrize("place", [0, 8, 47, 48])
def test_a_damaged_header_is_refused(tmp_path, place):
    (path,) = written(tmp_path, 4)
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)

    with pytest.raises(DataError, match="damaged; remove it and run the same command again"):
        FingerprintUnit.read(path)
    with pytest.raises(DataError, match="damaged"):
        FingerprintUnits([path])


@pytest.mark.parametrize("size", [0, 20, 56, -1])
def test_a_cut_file_is_refused(tmp_path, size):
    (path,) = written(tmp_path, 4)
    path.write_bytes(path.read_bytes()[:size])

    with pytest.raises(DataError, match="damaged"):
        FingerprintUnit.read(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(MissingInputError, match="not there; run the same command again"):
        FingerprintUnits([tmp_path / "none"])


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)

    with pytest.raises(StorageError, match="No space left"):
        unit(0, 1).write(tmp_path / "unit")
