# SPDX-License-Identifier: Apache-2.0
"""What an evaluation found on each drive, for `imkd compare`."""

from collections.abc import Mapping, Sequence

import numpy as np

from imkd_core.data.nuscenes.reader import SampleRecord
from imkd_core.evaluation.boxes import BoxTable
from imkd_core.evaluation.drive_figures import DriveFigures, digest_of
from imkd_core.evaluation.drive_hits import match_drives
from imkd_core.evaluation.steadiness import drive_sums
from imkd_core.evaluation.tracks import placed
from imkd_core.types import Detections


def figures_of_drives(
    records: Sequence[SampleRecord],
    detections: Mapping[str, Detections],
    found: BoxTable,
    truth: BoxTable,
    about: Mapping[str, str],
) -> DriveFigures:
    """Return the figures of one run, drive by drive.

    Args:
        records: the samples that were judged, those of a drive in the order of time.
        detections: token -> what was found.
        found: the same that counts, by the samples' places in `records`.
        truth: true boxes that count, likewise.
        about: facts for the reader.

    Raises:
        DataError: the samples of a drive are not in the order of time.
    """
    drives = list(dict.fromkeys(record.scene for record in records))
    of_drive = {name: [one for one in records if one.scene == name] for name in drives}
    sums = [
        drive_sums(
            [placed(detections[one.token], one.global_from_reference) for one in of_drive[name]]
        )
        for name in drives
    ]
    return DriveFigures(
        about=dict(about),
        drives=tuple(drives),
        digests=tuple(digest_of(one.token for one in of_drive[name]) for name in drives),
        steady=np.stack(sums),
        hits=match_drives(found, truth, [drives.index(record.scene) for record in records]),
    )
