# SPDX-License-Identifier: Apache-2.0
import numpy as np
import torch

from imkd_core.training.logbook.pictures import HEIGHT_PX, camera_picture, heat_map_pair
from imkd_core.training.sampling import Share, StepBatches
from imkd_core.training.student_task import StudentTask
from tests.core.model.small import GRID
from tests.core.training.small_stage import CONFIG


def test_the_two_heat_maps_stand_side_by_side_and_forward_is_up():
    logits, target = torch.full((2, *GRID.shape), -20.0), torch.zeros(2, *GRID.shape)
    same = heat_map_pair(logits, target, GRID)
    width = same.shape[1] // 2
    logits[1, 3:6, -4:] = 20.0  # far ahead: the last columns of x
    picture = heat_map_pair(logits, target, GRID)
    changed = (picture != same).any(-1)
    rows, columns = np.nonzero(changed)
    assert columns.max() < width
    assert rows.max() < HEIGHT_PX // 2
    np.testing.assert_array_equal(picture[:, width:], same[:, width:])


def test_a_camera_picture_has_the_greys_of_the_image():
    image = torch.arange(24, dtype=torch.uint8).reshape(3, 2, 4)
    assert camera_picture(image).shape == (2, 4, 3)
    assert camera_picture(image)[1, 3].tolist() == [7, 15, 23]


def test_a_student_shows_its_heat_map_and_what_it_saw(dataset):
    batch = StepBatches(dataset, CONFIG.train, Share()).draw(0).batch
    task = StudentTask.from_config(CONFIG).eval()
    with torch.no_grad():
        pictures = task.pictures(batch)
    assert set(pictures) == {"heatmap", "first camera"}
    assert all(p.dtype == np.uint8 and p.shape[2] == 3 for p in pictures.values())
