# SPDX-License-Identifier: Apache-2.0
"""Random boxes, and the figures that nuscenes-devkit gives for them."""

import numpy as np

from imkd_core.config import NUSCENES_CLASSES
from imkd_core.evaluation.boxes import ATTRIBUTES, BoxTable
from imkd_core.evaluation.nuscenes_metrics import DetectionMetrics

#: Our name of an error -> the devkit's.
DEVKIT_ERRORS = {
    "translation_m": "trans_err",
    "scale": "scale_err",
    "orientation_rad": "orient_err",
    "velocity_mps": "vel_err",
    "attribute": "attr_err",
}


def random_boxes(rng, n, samples, *, true=False, classes=range(10), nan_velocity=0.1, ties=False):
    center = np.column_stack([rng.uniform(-30, 30, (n, 2)), rng.uniform(-1, 2, n)])
    velocity = rng.normal(0, 4, (n, 2))
    velocity[rng.random(n) < nan_velocity] = np.nan
    score = rng.choice(np.linspace(0.1, 0.9, 5), n) if ties else rng.uniform(0.01, 1, n)
    return BoxTable(
        sample=np.sort(rng.integers(0, samples, n)),
        label=rng.choice(list(classes), n) if n else np.zeros(0, np.int64),
        center_m=center,
        size_m=rng.uniform(0.4, 5, (n, 3)),
        yaw_rad=rng.uniform(-np.pi, np.pi, n),
        velocity_mps=velocity,
        score=np.ones(n) if true else score,
        attribute=rng.integers(-1, 8, n),
        points=rng.integers(0, 4, n) if true else np.full(n, -1),
        ego_distance_m=np.hypot(*center[:, :2].T),
    )


def noisy_copies(rng, truth, *, miss=0.2, spread_m=0.8, ties=False):
    """Detections near the true boxes, some missed, some of another class, some of nothing."""
    kept = truth.select(rng.random(len(truth)) > miss)
    n = len(kept)
    clutter = random_boxes(rng, n // 2 + 1, int(truth.sample.max(initial=0)) + 1, ties=ties)
    center = kept.center_m + rng.normal(0, spread_m, (n, 3))
    score = np.round(rng.random(n), 1 if ties else 12).clip(0.01, 1)
    other = random_boxes(rng, n, 1)
    copies = BoxTable(
        sample=kept.sample,
        label=np.where(rng.random(n) < 0.9, kept.label, other.label),
        center_m=center,
        size_m=kept.size_m * rng.uniform(0.8, 1.3, (n, 3)),
        yaw_rad=kept.yaw_rad + rng.normal(0, 0.4, n),
        velocity_mps=kept.velocity_mps + rng.normal(0, 0.5, (n, 2)),
        score=score,
        attribute=other.attribute,
        points=np.full(n, -1),
        ego_distance_m=np.hypot(*center[:, :2].T),
    )
    both = BoxTable.joined([copies, clutter])
    return both.select(np.argsort(both.sample, kind="stable"))


def devkit_metrics(found: BoxTable, truth: BoxTable, samples: int):
    """`DetectionMetrics` of the devkit, by its own accumulate, calc_ap and calc_tp."""
    return devkit_judge(found, truth, samples).evaluate()[0]


def devkit_judge(found: BoxTable, truth: BoxTable, samples: int):
    """The devkit's `DetectionEval` with its boxes in place, without a data folder."""
    from nuscenes.eval.common.config import config_factory
    from nuscenes.eval.detection import evaluate

    judge = object.__new__(evaluate.DetectionEval)
    judge.cfg, judge.verbose = config_factory("detection_cvpr_2019"), False
    judge.gt_boxes, judge.pred_boxes = eval_boxes(truth, samples), eval_boxes(found, samples)
    return judge


def eval_boxes(table: BoxTable, samples: int):
    from nuscenes.eval.common.data_classes import EvalBoxes
    from nuscenes.eval.detection.data_classes import DetectionBox

    boxes = EvalBoxes()
    for sample in range(samples):
        boxes.add_boxes(str(sample), [])
    for i in range(len(table)):
        length, width, height = table.size_m[i].tolist()
        yaw, attribute = float(table.yaw_rad[i]), int(table.attribute[i])
        token = str(int(table.sample[i]))
        boxes.add_boxes(
            token,
            [
                DetectionBox(
                    sample_token=token,
                    translation=tuple(table.center_m[i].tolist()),
                    size=(width, length, height),
                    rotation=(np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)),
                    velocity=tuple(table.velocity_mps[i].tolist()),
                    detection_name=NUSCENES_CLASSES[table.label[i]],
                    detection_score=float(table.score[i]),
                    attribute_name=ATTRIBUTES[attribute] if attribute >= 0 else "",
                )
            ],
        )
    return boxes


def assert_equal_to_devkit(ours: DetectionMetrics, devkit, atol=1e-6):
    """Every AP, every error, every mean and NDS agree."""
    for name, figures in ours.classes.items():
        for limit, ap in figures.ap_at_m.items():
            np.testing.assert_allclose(ap, devkit.get_label_ap(name, limit), atol=atol)
        for error, value in figures.errors.items():
            other = devkit.get_label_tp(name, DEVKIT_ERRORS[error])
            np.testing.assert_allclose(value, other, atol=atol, err_msg=f"{name} {error}")
    for error, value in ours.errors.items():
        np.testing.assert_allclose(value, devkit.tp_errors[DEVKIT_ERRORS[error]], atol=atol)
    np.testing.assert_allclose(ours.mean_ap, devkit.mean_ap, atol=atol)
    np.testing.assert_allclose(ours.nds, devkit.nd_score, atol=atol)
