# SPDX-License-Identifier: Apache-2.0
import struct

import cv2
import numpy as np
import pytest

from imkd_core.training.logbook.board_file import BoardFile, crc32c


def masked(crc):
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(path):
    """Yield the events of a file, checking both checksums of each."""
    data = path.read_bytes()
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        event, rest = data[12 : 12 + length], data[12 + length :]
        assert struct.unpack("<I", data[8:12])[0] == masked(crc32c(data[:8]))
        assert struct.unpack("<I", rest[:4])[0] == masked(crc32c(event))
        yield fields(event)
        data = rest[4:]


def fields(message):
    """Return number -> value of a protobuf message whose fields do not repeat."""
    found, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    while at < len(message):
        key = varint()
        number, kind = key >> 3, key & 7
        if kind == 0:
            found[number] = varint()
            continue
        size = {1: 8, 5: 4}.get(kind) or varint()
        found[number] = message[at : at + size]
        at += size
    return found


def only_file(folder):
    (path,) = folder.iterdir()
    assert path.name.startswith("events.out.tfevents.")
    return path


def test_the_checksum_is_castagnolis():
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, appendix B.4


def test_scalars_come_back_with_tag_step_and_value(tmp_path):
    board = BoardFile(tmp_path, 1)
    board.scalar("loss", 2.5, 300)
    board.scalar("loss", float("inf"), 301)
    board.close()
    version, session, first, second = records(only_file(tmp_path))
    assert version[3] == b"brain.Event:2"
    assert (session[2], fields(session[7])[1]) == (1, 1)
    value = fields(fields(first[5])[1])
    assert (first[2], value[1], struct.unpack("<f", value[2])[0]) == (300, b"loss", 2.5)
    assert struct.unpack("<f", fields(fields(second[5])[1])[2])[0] == float("inf")


def test_pictures_come_back_as_they_were(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (5, 9, 3), dtype=np.uint8)
    board = BoardFile(tmp_path, 1)
    board.picture("heat", picture, 7)
    board.close()
    event = list(records(only_file(tmp_path)))[-1]
    image = fields(fields(fields(event[5])[1])[4])
    assert (image[1], image[2], image[3]) == (5, 9, 3)
    decoded = cv2.imdecode(np.frombuffer(image[4], np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(decoded, picture)


def test_tensorboard_itself_reads_the_file(tmp_path):
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    board = BoardFile(tmp_path, 1)
    board.scalar("loss", 2.5, 3)
    board.picture("heat", np.zeros((4, 6, 3), np.uint8), 3)
    board.close()
    seen = loader.EventAccumulator(str(tmp_path)).Reload()
    assert [(item.step, item.value) for item in seen.Scalars("loss")] == [(3, 2.5)]
    assert seen.Images("heat")[0].width == 6
